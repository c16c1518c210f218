"""What a newcomer gets wrong, by the real commands: each ends in one helpful line and a non-zero exit."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ruamel.yaml import YAML

import landweave
import testbed
from testbed.messages import Fault, Request
from tests.flow.job import CHECKOUT, run, start

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]

SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 3,
    "sampling": {"kind": "grid", "spacing_m": 1100, "count": 4, "area": {"file": "aoi.geojson"}},
    "grid": {"size_m": 500},  # no whole number of 60 m pixels, nor of 30 m ones
    "windows": [{"name": "summer", "start": "2021-06-01", "end": "2021-09-15"}],
    "providers": {
        "earth-search": {"url": "$LANDWEAVE_TESTBED/earth-search/v1", "dialect": "earth-search", "retries": 0},
        "pc": {"url": "$LANDWEAVE_TESTBED/pc/stac", "dialect": "planetary-computer", "retries": 0},
    },
    "sources": [
        {"kind": "sentinel2", "providers": ["earth-search"], "max_cloud": 1.0, "min_valid": 0.5},
        {"kind": "dem", "providers": ["earth-search"]},
    ],
    "labels": [{"kind": "worldcover", "providers": ["pc"]}],
    "splits": {"train": 0.6, "val": 0.2, "test": 0.2, "block_m": 2000, "buffer_m": 100},
    "shards": {"samples": 2},
}


CDSE = {"url": "https://stac.dataspace.copernicus.eu", "dialect": "copernicus-data-space"}


@pytest.fixture(scope="module")
def services(earth: Path) -> Iterator[testbed.Services]:
    with testbed.serve(earth) as served:
        yield served


@pytest.fixture
def desk(tmp_path: Path, earth: Path) -> Path:
    """A folder with a recipe that works, and the area that it names."""
    shutil.copy(earth / "aoi.geojson", tmp_path)
    write(tmp_path, SMALL)
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, services: testbed.Services, earth: Path) -> Path:
    """A recipe and the dataset that was built from it: to be copied."""
    desk = tmp_path_factory.mktemp("built")
    shutil.copy(earth / "aoi.geojson", desk)
    done = run(services, "build", write(desk, SMALL), desk / "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return desk


def write(folder: Path, tree: dict[str, Any]) -> Path:
    path = folder / "recipe.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return path


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The small recipe with one entry changed."""
    tree = copy.deepcopy(SMALL)
    node: Any = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = to
    return tree


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of the error stream that are no progress; there is never a traceback."""
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "Warning" not in done.stdout + done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if not line.startswith(("planning ", "building "))]


def refused(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """One line with all these words, and this exit code."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = told(done)
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


RECIPES = {
    "an unknown key, nearly right": (changed("sampling", "cuont", to=3), ["sampling.cuont", "did you mean 'count'"]),
    "an unknown key": (changed("colour", to=3), ["colour", "unknown key", "sampling"]),
    "a wrong type": (changed("grid", "size_m", to="large"), ["grid.size_m", "number", "'large'"]),
    "a missing provider": (changed("sources", 0, "providers", to=["esa"]), ["'esa'", "not defined", "earth-search"]),
    "an unknown kind": (changed("sources", 0, "kind", to="sentinel5"), ["'sentinel5'", "sentinel2"]),
    "a collection that is not held": (
        changed("sources", 0, "collection", to="sentinel-2-l2b"),
        ["sentinel2", "'earth-search' lists no collection 'sentinel-2-l2b'", "did you mean 'sentinel-2-l2a'"],
    ),
    "a variable that is not set": (
        changed("providers", "pc", "url", to="$LANDWEAVE_NO_SUCH/pc"),
        ["provider 'pc'", "LANDWEAVE_NO_SUCH"],
    ),
    "an area file that is not there": (changed("sampling", "area", "file", to="no.geojson"), ["no.geojson"]),
    "a points file that is not there": (
        changed("sampling", to={"kind": "points", "file": "no.csv"}),
        ["no.csv"],
    ),
    "an area at sea": (
        changed("sampling", "area", to={"bbox": [-30, 0, -29, 1]}),
        ["no land", "area.land_only: false", "longitude -30.00 to -29.00"],
    ),
    "coordinates swapped, at sea": (
        changed("sampling", "area", to={"bbox": [48.45, 11.85, 48.55, 12.1]}),
        ["no land", "longitude comes first", "swapped"],
    ),
    "coordinates swapped, out of range": (
        changed("sampling", "area", to={"bbox": [48.0, 100.0, 49.0, 110.0]}),
        ["bbox", "90"],
    ),
    "a window that ends before it starts": (
        changed("windows", 0, "end", to="2021-01-01"),
        ["'summer'", "ends 2021-01-01 before it starts"],
    ),
    "a footprint of parts of pixels": (changed("grid", "size_m", to=505), ["size_m 505", "size_m: 500 or 510"]),
    "no login": (
        changed("providers", "pc", to=CDSE),
        ["provider 'pc'", "needs a login", "CDSE_S3_ACCESS_KEY"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_cannot_be_used(services: testbed.Services, desk: Path, name: str) -> None:
    tree, words = RECIPES[name]
    done = run(services, "plan", write(desk, tree), desk / "out")
    if name == "coordinates swapped, out of range":  # two numbers of the box are wrong: a line each
        assert done.returncode == 1
        assert all(all(word in line for word in words) for line in told(done))
        return
    refused(done, *words)


def test_a_recipe_file_that_is_none(services: testbed.Services, desk: Path) -> None:
    refused(run(services, "plan", desk / "nope.yaml", desk / "out"), "nope.yaml", "no such recipe file")
    refused(run(services, "plan", desk, desk / "out"), "is a folder")
    (desk / "bad.yaml").write_text("name: [x\nseed: 3\n")
    refused(run(services, "plan", desk / "bad.yaml", desk / "out"), "bad.yaml line ", "YAML")


def test_a_set_that_fits_nothing(services: testbed.Services, desk: Path) -> None:
    recipe, out = desk / "recipe.yaml", desk / "out"
    refused(run(services, "plan", recipe, out, "--set", "sampling.cuont=3"), "sampling.cuont", "'count'")
    refused(run(services, "plan", recipe, out, "--set", "sampling.count"), "--set", "key=value")
    refused(run(services, "plan", recipe, out, "--set", "sources.7.required=true"), "sources.7", "0..1")


def test_a_place_that_cannot_be_written(services: testbed.Services, desk: Path) -> None:
    recipe = desk / "recipe.yaml"
    refused(run(services, "plan", recipe, recipe), "recipe.yaml", "it is a file", "name another place")
    refused(run(services, "build", recipe, recipe / "below"), "below", "cannot be written as a folder")
    refused(run(services, "plan", recipe, "/proc/landweave"), "/proc/landweave", "cannot be written as a folder")
    refused(run(services, "status", desk / "nothing"), "nothing", "contains no plan")
    refused(run(services, "status", recipe), "recipe.yaml", "contains no plan")
    refused(run(services, "add", desk / "nothing", desk), "nothing", "no dataset")
    refused(run(services, "build", recipe, desk / "out", "--runner", "sparkle"), "sparkle", "flink")


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            changed("providers", "earth-search", "url", to="$LANDWEAVE_TESTBED/earth-search/v9"),
            ["not_found", "HTTP 404 from ", "/v9/search"],
        ),
        (changed("windows", 0, to={"name": "late", "start": "2031-06-01", "end": "2031-06-30"}), ["no_scene", "2031"]),
    ],
    ids=["a wrong address", "a period in the future"],
)
def test_a_layer_that_nothing_is_found_for(
    services: testbed.Services, desk: Path, tree: dict[str, Any], words: list[str]
) -> None:
    tree["sources"].pop(1)  # one layer is asked of the archive that holds nothing
    tree["quality"] = {"min_modalities": 0}
    done = run(services, "plan", write(desk, tree), desk / "out")
    refused(done, "sentinel2: nothing was found for any of 4 requested observations", code=3)
    row = next(line for line in done.stdout.splitlines() if line.startswith("  sentinel2"))
    assert "0 of 4" in row
    assert all(word in row for word in words), row
    assert ("in the future" in done.stdout) == ("no_scene" in row)
    done = run(services, "build", desk / "recipe.yaml", desk / "out", "--workers", "1")
    refused(done, "sentinel2: nothing was obtained of 4 requested observations", words[0], code=3)
    assert len(landweave.open(desk / "out")) == 4


def test_an_archive_that_is_down(services: testbed.Services, desk: Path) -> None:
    with socket.socket() as free:  # nobody listens on a port that is held and not listened on
        free.bind(("127.0.0.1", 0))
        tree = changed("providers", "pc", "url", to=f"http://127.0.0.1:{free.getsockname()[1]}/stac")
        done = run(services, "plan", write(desk, tree), desk / "out")
    what = "worldcover: 4 of 4 requested observations could not be planned: pc: "
    refused(done, what, "refused the connection", "--again", code=3)


def test_nothing_at_all_is_kept_and_said_why(services: testbed.Services, desk: Path) -> None:
    tree = changed("providers", "earth-search", "url", to="$LANDWEAVE_TESTBED/earth-search/v9")
    tree["labels"][0]["required"] = tree["sources"][0]["required"] = True
    done = run(services, "build", write(desk, tree), desk / "out", "--workers", "1")
    refused(done, "no sample was kept: ", "sentinel2 not_found 4 (earth-search: HTTP 404", "dem not_found 4 (")


def test_swapped_coordinates_on_land_are_suspected(services: testbed.Services, desk: Path) -> None:
    area = {"bbox": [48.45, 11.85, 48.55, 12.1], "land_only": False}
    done = run(services, "plan", write(desk, changed("sampling", "area", to=area)), desk / "out")
    assert done.returncode == 3
    assert [line.split(":")[0] for line in told(done)] == ["dem", "sentinel2", "worldcover"]
    assert "longitude comes first" in done.stdout
    assert "no archive has data here: the samples lie at 48.4" in done.stdout


def test_more_dates_than_days_are_suspected(services: testbed.Services, desk: Path) -> None:
    window = {"name": "dense", "start": "2021-06-01", "end": "2021-06-02", "count": 5}
    done = run(services, "plan", write(desk, changed("windows", 0, to=window)), desk / "out")
    assert "window 'dense' asks for 5 dates (count) but has only 2 days" in done.stdout


def test_another_recipe_is_told_key_by_key(services: testbed.Services, built: Path, tmp_path: Path) -> None:
    out = shutil.copytree(built / "out", tmp_path / "out")
    before = sorted(p for p in out.rglob("*") if ".staging" not in p.parts)
    done = run(services, "build", built / "recipe.yaml", out, "--set", "sampling.allow_overlap=true", "--set", "seed=4")
    refused(
        done, "out holds ", " shards of another recipe. Different: seed (3 there, 4 here), ",
        "sampling.allow_overlap (false there, true here). Repeat the --set you used, or name another folder",
    )  # fmt: skip
    assert sorted(p for p in out.rglob("*") if ".staging" not in p.parts) == before
    refused(run(services, "add", out, built / "out"), "nothing to add", "already")


def test_a_plan_that_was_copied_without_its_work_builds(
    services: testbed.Services, earth: Path, desk: Path, tmp_path: Path
) -> None:
    tree = changed("labels", to=[{"kind": "openstreetmap", "pbf": "planet.osm.pbf"}])
    shutil.copy(earth / "osm" / "planet.osm.pbf", desk)
    tree["sources"] = tree["sources"][1:]
    recipe, out = write(desk, tree), desk / "out"
    assert run(services, "plan", recipe, out).returncode == 0
    shutil.copytree(out / "plan", tmp_path / "copy" / "plan")
    done = run(services, "build", recipe, tmp_path / "copy", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert not told(done)
    for broken in ("candidates/part-00000.parquet", "shards.parquet", "recipe.json"):
        half = shutil.copytree(out / "plan", tmp_path / broken / "out" / "plan").parent
        (half / "plan" / broken).unlink()
        refused(run(services, "build", recipe, half, "--workers", "1"), f"plan/{broken} is missing", "incomplete")
    (half / "plan" / "plan.json").write_text("{")
    refused(run(services, "build", recipe, half, "--workers", "1"), "plan/plan.json is damaged")
    (desk / "planet.osm.pbf").write_bytes((desk / "planet.osm.pbf").read_bytes() + b"\0" * 3)
    shutil.copytree(out / "plan", tmp_path / "other" / "plan")
    refused(run(services, "build", recipe, tmp_path / "other", "--workers", "1"), "planet.osm.pbf")


def test_status_knows_a_planning_that_was_interrupted(earth: Path, desk: Path) -> None:
    out = desk / "out"
    let_go = threading.Event()

    def held(request: Request) -> Fault | None:
        if request.path.endswith("/search"):
            let_go.wait()
        return None

    tree = copy.deepcopy(SMALL)
    for provider in tree["providers"].values():
        provider["timeout_s"] = 3600
    write(desk, tree)
    with testbed.serve(earth) as slow:
        slow.faults.append(held)
        started = start(slow, "plan", desk / "recipe.yaml", out)
        deadline = time.monotonic() + 120
        while not list(out.glob("**/places.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        done = run(slow, "status", out)
        assert done.returncode == 0, done.stderr
        assert "is being planned, 0 of 1 partition planned, 4 samples placed" in done.stdout
        os.killpg(started.pid, signal.SIGINT)
        _, err = started.communicate(timeout=300)
        let_go.set()
        assert started.returncode == 130, err
        done = run(slow, "status", out)
        assert done.returncode == 0
        assert "planning was interrupted" in done.stdout
        assert json.loads(run(slow, "status", out, "--json").stdout)["state"] == "planning interrupted"
        refused(
            run(slow, "plan", desk / "recipe.yaml", out, "--set", "seed=9"),
            "out holds an unfinished plan of another recipe. Different: seed (3 there, 9 here)",
        )


def test_show_makes_no_folders(built: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "landweave", "show", built / "out", tmp_path / "no" / "sheet.png"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert not (tmp_path / "no").exists()


def test_layers_of_coarser_pixels_cover_the_footprint(built: Path) -> None:
    """500 m: 50 pixels of 10 m, 25 of 20 m, 9 of 60 m, 17 of 30 m; from the same corner, none cut or stretched."""
    dataset = landweave.open(built / "out")
    shapes = {a.path: a.sample_shape[-1] for a in dataset.spec.arrays}
    assert shapes["sentinel2/bands_10m"] == 50
    assert shapes["sentinel2/bands_60m"] == 9
    assert shapes["dem/elevation"] == 17
    assert shapes["worldcover/classes"] == 50
    sample = dataset[0]
    assert sample.transform("sentinel2/bands_60m")[:3] == (60.0, 0.0, sample.item["x_min"])


def test_coarse_pixels_are_those_of_a_footprint_that_they_divide(
    services: testbed.Services, built: Path, tmp_path: Path
) -> None:
    """The same corners with 540 m, which 60 m and 30 m divide: every pixel that both have is the same."""
    uneven = landweave.open(built / "out")
    rows = [",".join(str(s.item[c]) for c in ("id", "lon", "lat", "epsg", "x_min", "y_max")) for s in uneven]
    (tmp_path / "points.csv").write_text("\n".join(["sample_id,lon,lat,epsg,x_min,y_max", *rows]))
    tree = changed("sampling", to={"kind": "points", "file": "points.csv", "allow_overlap": True})
    tree |= {"grid": {"size_m": 540}, "splits": SMALL["splits"] | {"allow_overlap": True}}
    done = run(services, "build", write(tmp_path, tree), tmp_path / "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    even = landweave.open(tmp_path / "out")
    compared = 0
    for sample in uneven:
        other = even.sample(sample.id)
        if sample.item["sentinel2_items"] == other.item["sentinel2_items"]:
            compared += 1
            for path in ("sentinel2/bands_60m", "sentinel2/bands_20m", "sentinel2/bands_10m"):
                mine, theirs = sample[path], other[path]
                np.testing.assert_array_equal(mine, theirs[..., : mine.shape[-2], : mine.shape[-1]], err_msg=path)
            heights, theirs = sample["dem/elevation"], other["dem/elevation"]  # warped: GDAL's error is part of a pixel
            np.testing.assert_allclose(heights, theirs[..., :17, :17], atol=0.5)
    assert compared >= 2
