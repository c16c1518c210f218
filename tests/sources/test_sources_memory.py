"""A worker keeps to the memory that it states, and works where it is given no more."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import pyproj
import pytest

from pipelines.access.archives import Archives
from pipelines.assemble import STACKS_BYTES
from pipelines.plan import make_plan
from pipelines.recipes import read_recipe
from pipelines.sources.read_shard import PEAK_BYTES
from testbed.services import serve_catalogue
from tests.sources.bounded_reader import SAMPLES
from tests.sources.test_sources_gather import LEFT, TOP, item, write_scene

WORKER_BYTES = PEAK_BYTES + STACKS_BYTES
"""What a worker may hold: what reading needs, and the pixels that are held until a sample is whole."""
_ALLOCATOR = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
"""pyarrow's own allocator maps a gibibyte at its first allocation and holds little of it; the system's does not."""


@pytest.mark.slow
def test_a_shard_of_256_samples_is_read_within_the_stated_memory(tmp_path: Path) -> None:
    for name, cloudy, seed in (("a", "", 1), ("b", "west", 2), ("c", "east", 3), ("d", "", 4)):
        write_scene(tmp_path, name, cloudy=cloudy, seed=seed)
    listed = [item(name, day) for name, day in (("a", 15), ("b", 16), ("c", 14), ("d", 17))]
    with serve_catalogue(listed, {"/s/": tmp_path}) as services:
        done = subprocess.run(
            [sys.executable, "-m", "tests.sources.bounded_reader", services.stac_url("catalogue"), str(PEAK_BYTES)],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["observations"] == SAMPLES
    assert said["peak_bytes"] <= PEAK_BYTES, said


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("window", "source", "scenes"),
    [("every: scene, count: 366, ", "", 365), ("", "composite: median, max_scenes: 30, ", 30)],
    ids=["series of 366 dates", "composite of 30"],
)
def test_series_and_composites_of_256_pixels_build_within_the_memory_of_a_worker(
    window: str, source: str, scenes: int, tmp_path: Path
) -> None:
    for seed, name in enumerate("abcd"):
        write_scene(tmp_path, name, cloudy="west" if name == "b" else "", seed=seed)
    listed = []
    for day in range(scenes):
        one = item("abcd"[day % 4], 15)
        when = dt.date(2022, 1, 1) + dt.timedelta(days=day)
        listed.append(
            {**one, "id": f"s{day:03d}", "properties": {**one["properties"], "datetime": f"{when}T10:00:00Z"}}
        )
    lonlat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(LEFT + 1280, TOP - 1280)
    (tmp_path / "p.csv").write_text("lon,lat\n{:.6f},{:.6f}\n".format(*lonlat))
    with serve_catalogue(listed, {"/s/": tmp_path}) as services:
        (tmp_path / "recipe.yaml").write_text(
            "name: m\nseed: 1\nsampling: { kind: points, file: p.csv }\ngrid: { size_m: 2560 }\n"
            f"windows: [{{ name: year, {window}start: 2022-01-01, end: 2022-12-31 }}]\n"
            f"providers: {{ p: {{ url: {services.stac_url('catalogue')} }} }}\n"
            f"sources: [{{ kind: sentinel2, {source}providers: [p], max_cloud: 1.0, min_valid: 0.0 }}]\n"
        )
        file, out = read_recipe(tmp_path / "recipe.yaml"), tmp_path / "out"
        with Archives(file.recipe.providers) as archives:
            plan = make_plan(file, archives, out / "plan", out / ".work", lambda *_: None)
        assert plan.layers["sentinel2"].found == (scenes if "every" in window else 1)
        done = subprocess.run(
            [sys.executable, "-m", "tests.sources.bounded_builder", str(out), str(WORKER_BYTES)],
            env=os.environ | _ALLOCATOR, capture_output=True, text=True, check=False, timeout=1500,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["samples"] == 1
    assert said["peak_bytes"] <= WORKER_BYTES, said
