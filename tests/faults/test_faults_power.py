"""Power is lost at each step of a build: what was not synced is gone, and the next build goes on all the same."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import landweave
from landweave.check import check
from landweave.manifest import shard_from_bytes
from pipelines.shards.publish import checksum
from tests.faults.conftest import WHOLE, World
from tests.faults.steps import MODELS, Command, Model, Ran, lay_down, run
from tests.flow.job import tree_of

WRITERS = """
import os
from pathlib import Path
from pipelines.durable import sync, write_durably
out = Path({out!r})
out.mkdir()
(out / "a").mkdir()
def put(name, content, *, synced):
    aside = out / "aside"
    aside.write_bytes(content)
    if synced:
        sync(aside)
    aside.rename(out / "a" / name)
put("careless", b"all", synced=False)
put("half", b"synced", synced=True)
with (out / "a" / "half").open("ab") as file:
    file.write(b" and not")
put("no-folder", b"all", synced=True)
write_durably(out / "b" / "below" / "sound", b"all")
(out / "a" / "sound").write_bytes(b"all")
sync(out / "a" / "sound")
os.mkdir(out / "end")
"""
SAMPLE = 5
"""Steps that are tried in CI; `make test-faults` tries all."""
PARTS = 8
"""Tests that the steps are divided among."""


@pytest.mark.slow
def test_the_recorder_drops_what_was_not_synced_and_keeps_what_was(tmp_path: Path) -> None:
    """The judge is judged: a writer that does not sync is caught, in every way to forget it."""
    script, out = tmp_path / "steps.py", tmp_path / "out"
    script.write_text(WRITERS.format(out=str(out)))
    done = run(Command(module="script", words=(str(script),), watched=out), record=range(100))
    assert done.code == 0, done.said
    kept = {model: done.disks[max(key for key in done.disks if key[1] == model)] for model in MODELS}  # equal ones once
    assert kept["names kept"] == {
        "a": None,
        "a/careless": b"",
        "a/half": b"synced",
        "a/sound": b"all",
        "a/no-folder": b"all",
        "b": None,
        "b/below": None,
        "b/below/sound": b"all",
    }
    assert kept["names dropped"] == {"a": None, "b": None, "b/below": None, "b/below/sound": b"all"}


def states(world: World, folder: Path, part: int) -> list[tuple[int, Model, Path]]:
    """What a loss of power leaves at some steps of a build, laid down in folders."""
    count = len(world.steps)
    steps = range(1 + part, count, PARTS) if WHOLE else random.Random(part).sample(range(1, count), SAMPLE)
    done = run(world.build(folder / "recorded"), record=set(steps))
    assert done.code == 0, done.said
    found = []
    for (step, model), disk in done.disks.items():
        place = folder / f"{step}-{MODELS.index(model)}"
        lay_down(disk, place)
        found.append((step, model, place))
    return found


def holds_what_it_says(out: Path) -> None:
    """Every manifest that can be seen is of objects that are whole; a dataset that can be opened has no fault."""
    for path in out.glob("shards/*.json"):
        if path.stat().st_size:
            for name, told in shard_from_bytes(path.read_bytes(), path.name).objects.items():
                assert checksum(out / name) == told, (path.name, name)
    manifest = out / "landweave.json"
    if manifest.is_file() and manifest.stat().st_size:
        assert list(check(landweave.open(out))) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS if WHOLE else 1))
def test_after_a_loss_of_power_the_next_build_ends_the_same(
    part: int, world: World, tmp_path: Path, tried: Callable[[Command], Ran]
) -> None:
    tries = states(world, tmp_path, part)
    assert len(tries) >= SAMPLE
    for step, model, out in tries:
        holds_what_it_says(out)
        tried(world.command("status", out))
        done = tried(world.build(out))
        assert done.code == 0, (step, world.steps[step - 1], model, done.said)
        assert tree_of(out) == world.tree, (step, world.steps[step - 1], model)
        shutil.rmtree(out)


KINDS = (
    "plan/plan.json", "plan/recipe.json", "plan/places.json", "plan/shards.parquet", "plan/samples/part-00000.parquet",
    "plan/scenes/part-00000.parquet", "plan/parts/part-00000.json", ".work/osm-*.parquet", ".work/*/planet.osm.pbf",
    ".work/*/planet.osm.pbf.json", ".work/runs/*/00000.json", ".work/runs/*/run.json", "recipe.json",
    "shards/00000.json", "parts/items/00000.parquet", "parts/ledger/00000.parquet", "parts/statistics/00000.parquet",
    "data.zarr/zarr.json", "catalogue/items.parquet", "landweave.json",
)  # fmt: skip
"""Files of a build, one of each kind."""
HEALED = {
    "half built": (".work", "shards", "data.zarr/zarr.json", "recipe.json"),
    "finished": (".work", "shards", "landweave.json"),
}
"""Those that the next build makes anew by itself; of a finished dataset `landweave check` names the others."""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["half built", "finished"])
def test_an_emptied_file_is_made_anew_or_is_one_line(
    state: str, world: World, tmp_path: Path, tried: Callable[[Command], Ran]
) -> None:
    """Whatever file it is: `status` and the next build say what to do, or go on."""
    for number, kind in enumerate(KINDS):
        out = shutil.copytree(world.clean, tmp_path / str(number))
        if state == "half built":
            for path in ("landweave.json", "shards/00001.json"):
                (out / path).unlink()
        (victim,) = list(out.glob(kind)) or [None]
        if victim is None:
            assert (state, kind) == ("half built", "landweave.json")
            continue
        os.truncate(victim, 0)
        told = tried(world.command("status", out))
        done = tried(world.build(out))
        for ran in (told, done):
            if ran.code:
                said = [line for line in ran.said.splitlines() if "error:" in line or "damaged" in line]
                assert len(said) == 1, (kind, ran.said)
        if kind.startswith(HEALED[state]):
            assert done.code == 0, (kind, done.said)
            assert tree_of(out) == world.tree, kind
        shutil.rmtree(out)


def test_journal_entries_of_any_content_are_left_out(
    world: World, tmp_path: Path, tried: Callable[[Command], Ran]
) -> None:
    out = shutil.copytree(world.clean, tmp_path / "out")
    before = tried(world.command("status", out)).said
    run_folder = next((out / ".work" / "runs").iterdir())
    odd = ["", "null", "[]", "{", '{"run": 1}', "\x00" * 9, '{"spent": {"seconds": NaN}}', "9" * 5000]
    for number, content in enumerate(odd, 900):
        (run_folder / f"{number:05d}.json").write_text(content)
    whole = (run_folder / "00000.json").read_text()
    (run_folder / "00908.json").write_text(whole)  # says that it is shard 0
    (run_folder / "00909.json").write_text(
        whole.replace('"shard": 0', '"shard": 909').replace('"began": "', '"began": "x')
    )
    (run_folder / "00910.json").mkdir()
    os.mkfifo(run_folder / "00911.json")
    (run_folder / "00912.json").symlink_to("/dev/zero")
    (run_folder / "junk.json").write_text("{}")
    (out / ".work" / "runs" / "a-file").write_text("")
    assert tried(world.command("status", out)).said == before
