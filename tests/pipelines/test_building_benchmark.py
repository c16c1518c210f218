"""`benchmarks.building`: its figures mean what they say, and our method runs on a miniature Earth."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyproj
import pytest

from benchmarks.building import further, goals
from benchmarks.building_cost import Prices, cost_of_million
from benchmarks.building_profile import Profile, stage_goals, stage_rows
from benchmarks.building_scenes import PLACES, points, rasters

CHECKOUT = Path(__file__).parents[2]


def row(method: str, samples: int, cpu_s: float, latency_ms: int = 30) -> dict[str, object]:
    rate = 3600 * samples / cpu_s
    return {
        "scenes": "miniature",
        "method": method,
        "latency_ms": latency_ms,
        "samples": samples,
        "cpu_s": cpu_s,
        "samples_per_core_hour": rate,
    }


def test_a_million_samples_cost_what_a_run_cost_times_their_number() -> None:
    figures = {"samples": 50.0, "cpu_s": 36.0, "requests": 1_000.0, "bytes": 2e9, "disk_bytes": 1e9}
    prices = Prices(vcpu_hour=0.05, request=4e-7, gb_out=0.1, gb_month=0.02)
    assert cost_of_million(figures, prices) == {
        "usd_compute": 10.0,  # 0.01 hours for 50 samples
        "usd_requests": 8.0,
        "usd_transfer": 4_000.0,
        "usd_storage_month": 400.0,
    }


def test_goals_compare_with_the_best_peer_and_say_what_could_not_run() -> None:
    rows = [row("landweave", 10, 6), row("odc-stac", 10, 10), row("rslearn", 10, 9)]
    rows += [row("landweave", 50, 10), row("odc-stac", 50, 34), row("rslearn", 50, 49)]
    assert further(rows) == pytest.approx({"landweave": 36_000, "odc-stac": 6_000, "rslearn": 3_600})
    rows += [row("landweave", 50, 1, latency_ms=0)]  # the longest latency is judged
    rows += [row("landweave", 64, 10) | {"scenes": "full"}, row("odc-stac", 64, 50) | {"scenes": "full"}]
    rows += [
        {
            "scenes": "miniature",
            "method": "odc-stac",
            "equal_to_ours": True,
            "sentinel2_10m": 1.0,
            "sentinel2_20m": 0.99,
            "dem": 0.1,
        }
    ]
    rate = "samples per core-hour at 30 ms"
    said = goals(rows, {"other": "it is not installed"})
    assert said["met"] == [
        f"miniature scenes, {rate}, further samples of the same scenes: 6.0 times odc-stac's (goal 5)",
        f"full scenes, {rate}, whole run: 5.0 times odc-stac's (goal 5)",
    ]
    assert said["missed"] == [
        f"miniature scenes, {rate}, whole run: 3.4 times odc-stac's (goal 5)",
        "miniature scenes, pixels of Sentinel-2 equal to odc-stac's: 99.00% at least of an array",
    ]
    assert said["unjudged"] == ["other: it is not installed"]


def test_what_is_done_once_has_no_share() -> None:
    stages = {"once: land mask": 90.0, "warping": 6.0, "texts": 3.0, "writing": 1.0}
    assert stage_goals(stages)["missed"] == ["texts takes 30% of the CPU"]
    assert stage_rows(stages, 10)[:2] == [
        {"stage": "once: land mask", "s": 90.0},
        {"stage": "warping", "ms_per_sample": 600.0, "share": 0.6},
    ]


def test_a_profile_gives_each_thread_the_cpu_that_it_took() -> None:
    """Waiting costs nothing; native code that runs without the interpreter counts."""
    numbers = np.random.default_rng(0).random(200_000)

    def works(until: float) -> None:
        while time.thread_time() < until:
            np.sort(numbers)

    def waits() -> None:
        time.sleep(0.2)

    with Profile() as profile:
        threads = [threading.Thread(target=works, args=(0.4,)), threading.Thread(target=waits)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    spent = dict.fromkeys(("works", "waits"), 0.0)
    for places, seconds in profile.seconds.items():
        for name in spent:
            spent[name] += seconds if name in [function for _, function in places] else 0.0
    assert 0.2 < spent["works"] < 0.5
    assert spent["waits"] < 0.05


@pytest.mark.slow
def test_without_a_miniature_earth_it_says_how_to_make_one(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "benchmarks.building", "--earth", str(tmp_path / "earth"), "--json"]
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "earth: holds no miniature Earth; make one: python -m testbed make earth"


@pytest.mark.slow
def test_the_profile_of_our_build_names_its_stages(earth: Path) -> None:
    line = [sys.executable, "-m", "benchmarks.building", "--earth", str(earth), "--profile", "--json"]
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    *rows, summary = [json.loads(text) for text in done.stdout.splitlines()]
    stages = {found["stage"] for found in rows}
    assert {"warping", "inflating", "compressing", "captions", "questions", "statistics", "once: map extract"} <= stages
    assert sum(found.get("share", 0.0) for found in rows) == pytest.approx(1.0, abs=0.02)
    assert summary["summary"]
    assert summary.keys() == {"summary", "met", "missed", "unjudged"}


def test_footprints_of_scenes_of_real_size_lie_apart_and_whole_in_every_product() -> None:
    lon, lat = np.array([row.split(",") for row in points().splitlines()[1:]], float).T
    assert len(lon) == PLACES
    x, y = pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(lon, lat)
    apart = np.maximum(np.abs(x[:, None] - x), np.abs(y[:, None] - y))
    assert apart[~np.eye(PLACES, dtype=bool)].min() > 2_560
    covered: dict[str, int] = {}
    for raster in rasters():
        at = pyproj.Transformer.from_crs(32632, raster.epsg, always_xy=True).transform
        inside = np.ones(PLACES, bool)
        for dx, dy in ((-1_340, -1_340), (-1_340, 1_340), (1_340, -1_340), (1_340, 1_340)):
            columns, rows = ~raster.transform * at(x + dx, y + dy)
            inside &= (columns > 0) & (columns < raster.width) & (rows > 0) & (rows < raster.height)
        product = raster.names[0].partition("/")[0]
        covered[product] = covered.get(product, 0) + int(inside.sum())
    assert covered.pop("sentinel2") == 4 * PLACES  # 10, 20, 60 m and classes
    assert covered.pop("landsat") == 2 * PLACES
    assert covered.pop("dem") > 0.8 * PLACES  # others lie across an edge between tiles
    assert covered == {"sentinel1": PLACES, "worldcover": PLACES}
