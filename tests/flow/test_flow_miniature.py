"""The whole job on a small miniature Earth, by its commands, as a user runs it: build, look, break it, go on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import landweave
import testbed
from notebooks.executed import NAMES, executed
from testbed.llm import serve_language_model
from tests.flow.job import CHECKOUT, run, start, tree_of, with_checkout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]


def test_it_holds_five_sensors_three_labels_their_fusion_and_captions(clean: Path) -> None:
    dataset = landweave.open(clean)
    assert list(dataset.modalities) == ["sentinel2", "sentinel1", "landsat", "enmap", "dem"]
    assert list(dataset.labels) == ["worldcover", "dynamicworld", "openstreetmap", "fused"]
    assert len(dataset) >= 15
    assert all(dataset.splits.get(split, 0) > 0 for split in ("train", "val", "test"))
    for name in (*dataset.modalities, *dataset.labels):
        share = sum(any(sample.present[name]) for sample in dataset) / len(dataset)
        assert share > 0.9, name
    assert all(len(sample.captions) == 2 for sample in dataset)
    rows = dataset.catalogue.read(["openstreetmap_present", "openstreetmap_edited_since"]).to_pylist()
    edited = [row["openstreetmap_edited_since"] for row in rows if row["openstreetmap_present"] == [True]]
    assert all(0.0 <= share <= 1.0 for share in edited), "the map and all images have times"
    assert any(0.0 < share < 1.0 for share in edited)
    assert sum(len(batch["id"]) for batch in dataset.stream(batch_size=4, arrays=["dem"])) == len(dataset)


def test_the_plan_said_what_it_would_cost(clean: Path) -> None:
    """Requests and bytes of rasters within a fifth, EnMAP's 224 planes in one file among them."""
    said = json.loads((clean / "plan" / "plan.json").read_text())["estimate"]
    asked = json.loads((clean.parent / "asked.json").read_text())
    assert said["requests"] == pytest.approx(asked["requests"], rel=0.2)
    assert said["bytes"] == pytest.approx(asked["bytes"], rel=0.2)


def test_check_finds_no_fault_and_a_contact_sheet_is_drawn(clean: Path, tmp_path: Path) -> None:
    for words in (
        ["check", str(clean)],
        ["prove", str(clean)],
        ["show", str(clean), str(tmp_path / "sheet.png"), "--count", "2"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "landweave", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_of_the_quick_start_reads_a_sample(clean: Path) -> None:
    subprocess.run([sys.executable, "docs/read_a_sample.py", str(clean)], cwd=CHECKOUT, env=with_checkout(), check=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_draws_pictures(clean: Path, name: str) -> None:
    shown = [out for cell in executed(name, clean).cells for out in cell.get("outputs", ())]
    assert any("image/png" in out.get("data", {}) for out in shown)
    assert str(CHECKOUT) not in str(shown), "the site shows no path of the machine that built it"


def test_a_second_build_asks_nothing_and_changes_nothing(clean: Path, earth: Path, recipe: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in clean.rglob("*") if p.is_file() and p.name != ".lock"}
    with testbed.serve(earth) as services:
        done = run(services, "build", recipe, clean)
        assert done.returncode == 0, done.stderr
        assert not services.log
    assert {p: p.stat().st_mtime_ns for p in clean.rglob("*") if p.is_file() and p.name != ".lock"} == before


def test_one_worker_inside_the_process_makes_the_same_bytes(
    clean: Path, earth: Path, recipe: Path, tmp_path: Path
) -> None:
    with testbed.serve(earth) as services:
        done = run(services, "build", recipe, tmp_path / "dataset", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert tree_of(tmp_path / "dataset") == tree_of(clean)


def test_killed_at_random_moments_and_run_again_it_makes_the_same_bytes(
    clean: Path, earth: Path, recipe: Path, tmp_path: Path
) -> None:
    out, chance = tmp_path / "dataset", random.Random(5)
    with testbed.serve(earth) as services:
        for _ in range(4):
            started = start(services, "build", recipe, out)
            time.sleep(chance.uniform(2.0, 9.0))
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            if (out / "landweave.json").exists():
                break
            with pytest.raises(landweave.NotADatasetError):
                landweave.open(out)
        done = run(services, "build", recipe, out)
    assert done.returncode == 0, done.stderr
    assert tree_of(out) == tree_of(clean)


def test_interrupted_it_says_how_to_go_on(earth: Path, recipe: Path, tmp_path: Path) -> None:
    """After the first shard the services hold their answers until the interrupt is sent: it always comes midway."""
    out, held, let_go = tmp_path / "dataset", threading.Event(), threading.Event()

    def hold(_: object) -> None:
        if list(out.glob("shards/*.json")):
            held.set()
            let_go.wait()

    with testbed.serve(earth) as services:
        services.faults.append(hold)
        started = start(services, "build", recipe, out)
        while not held.is_set() and started.poll() is None:
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGINT)
        let_go.set()
        _, err = started.communicate()
    assert started.returncode == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err


def test_an_unplugged_provider_is_named_and_can_be_asked_again(
    clean: Path, earth: Path, recipe: Path, tmp_path: Path
) -> None:
    out, quick = tmp_path / "dataset", ["--set", "providers.dlr.retries=0"]
    with testbed.serve(earth) as services:
        services.take_down("dlr-eoc")
        done = run(services, "build", recipe, out, *quick)
        assert done.returncode == 3, done.stderr
        assert "enmap: provider 'dlr' did not deliver" in done.stderr
        assert "Traceback" not in done.stderr
        dataset = landweave.open(out)
        assert not any(any(sample.present["enmap"]) for sample in dataset)
        with pytest.raises(landweave.AbsentError, match="enmap"):
            dataset.sample(0)["enmap/bands_30m"]
        rows = [r for r in dataset.ledger.to_pylist() if r["layer"] == "enmap"]
        assert {r["reason"] for r in rows} == {"unavailable"}
        assert {r["provider"] for r in rows} == {"dlr"}
        services.bring_up("dlr-eoc")
        done = run(services, "build", recipe, out, *quick, "--retry-failed")
        assert done.returncode == 0, done.stderr
        again = run(services, "build", recipe, tmp_path / "whole", *quick)
        assert again.returncode == 0, again.stderr
    pixels = {k: v for k, v in tree_of(out).items() if not k.startswith("plan/")}
    assert pixels == {k: v for k, v in tree_of(tmp_path / "whole").items() if not k.startswith("plan/")}


def test_a_provider_that_breaks_while_building_leaves_an_absence_with_its_reason(
    earth: Path, recipe: Path, tmp_path: Path
) -> None:
    out, quick = tmp_path / "dataset", ["--set", "providers.planetary-computer.retries=0"]
    with testbed.serve(earth) as services:
        assert run(services, "plan", recipe, out, *quick).returncode == 0
        services.take_down("planetary-computer", "reset")
        done = run(services, "build", recipe, out, *quick)
    assert done.returncode == 3, done.stderr
    for layer in ("sentinel1", "landsat", "worldcover"):
        assert f"{layer}: provider 'planetary-computer' did not deliver" in done.stderr
    dataset = landweave.open(out)
    assert all(any(sample.present["sentinel2"]) for sample in dataset)
    assert not any(any(sample.present["landsat"]) for sample in dataset)


def test_plan_tells_the_cost_and_reads_metadata_only(earth: Path, recipe: Path, tmp_path: Path) -> None:
    with testbed.serve(earth) as services:
        done = run(services, "plan", recipe, tmp_path / "dataset")
        assert done.returncode == 0, done.stderr
        rasters = [entry for entry in services.log if entry.path.lower().endswith((".tif", ".tiff"))]
        assert len({entry.path for entry in rasters}) <= 14, "more than one header of each layer was looked at"
        assert sum(entry.bytes for entry in rasters) < 2_000_000
    for word in ("samples", "scenes", "requests", "MB", "one worker"):
        assert word in done.stdout
    done = run(services, "status", tmp_path / "dataset", "--json")
    status = json.loads(done.stdout)
    assert status["done"] == 0
    assert not status["finished"]


def test_nothing_written_names_this_machine(clean: Path, earth: Path) -> None:
    written = [p for p in clean.rglob("*") if p.is_file() and p.relative_to(clean).parts[0] != ".work"]
    assert {"landweave.json", "items.parquet", "zarr.json"} <= {p.name for p in written}
    for path in written:
        content = path.read_bytes()
        for word in (b"127.0.0.1", b"localhost", str(CHECKOUT).encode(), str(earth).encode()):
            assert word not in content, path


def test_another_recipe_does_not_touch_the_dataset(clean: Path, earth: Path, recipe: Path) -> None:
    before = tree_of(clean)
    with testbed.serve(earth) as services:
        done = run(services, "build", recipe, clean, "--set", "seed=8")
    assert done.returncode == 1
    assert "another recipe" in done.stderr
    assert done.stderr.count("\n") == 1
    assert tree_of(clean) == before


def test_a_missing_variable_is_one_line_before_anything_is_fetched(recipe: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "LANDWEAVE_TESTBED"}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "build", str(recipe), str(tmp_path / "dataset")],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "LANDWEAVE_TESTBED" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["plan", "build", "status", "schema"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", command, "--help"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Example: python -m pipelines " + command in " ".join(done.stdout.split())


def asking(recipe: Path, folder: Path) -> Path:
    """A recipe of four samples whose captions come from a language model."""
    tree = YAML(typ="safe").load(recipe.read_text())
    tree["name"] = "asking"
    tree["sampling"] |= {"count": 4}
    tree["sources"] = [s for s in tree["sources"] if s["kind"] == "dem"]
    tree["labels"] = [x for x in tree["labels"] if x["kind"] == "worldcover"]
    tree["quality"] = {"min_modalities": 1}
    tree["captions"] = {"kind": "llm", "model": "loopback", "attempts": 2}
    shutil.copy(recipe.parent / "aoi.geojson", folder)
    path = folder / "asking.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return path


@pytest.mark.parametrize("mode", ["good", "invents", "obeys-injection"])
def test_a_language_models_captions_are_checked_kept_and_not_paid_for_twice(
    earth: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    path = asking(recipe, tmp_path)
    with testbed.serve(earth) as services, serve_language_model(mode) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
        done = run(services, "build", path, tmp_path / "dataset", "--workers", "1")
        assert done.returncode == 0, done.stderr
        asked = len(model.requests)
        shards = tmp_path / "dataset" / "shards"
        before = tree_of(tmp_path / "dataset")
        for manifest in shards.iterdir():  # build the shards again: the answers are kept
            manifest.unlink()
        done = run(services, "build", path, tmp_path / "dataset", "--workers", "1")
        assert done.returncode == 0, done.stderr
        assert len(model.requests) == asked
    assert tree_of(tmp_path / "dataset") == before
    dataset = landweave.open(tmp_path / "dataset")
    for sample in dataset:
        (caption,) = sample.captions
        assert caption.fallback == (mode == "invents")
        assert "harbour" not in caption.text
        assert caption.model == "loopback" or caption.fallback
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"sk-secret" not in file.read_bytes(), file
    assert "sk-secret" not in done.stdout + done.stderr


def test_a_missing_key_is_told_before_anything_is_fetched(
    earth: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with testbed.serve(earth) as services:
        done = run(services, "build", asking(recipe, tmp_path), tmp_path / "dataset")
        assert not services.log
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in done.stderr
    assert done.stderr.count("\n") == 1
