"""Measures planning of ten thousand to ten million locations: time, memory, search requests, plan size.

    python -m benchmarks.planning                  10^4, 10^5 and 10^6 locations x 4 seasons; sampling alone of 10^7;
                                                   10^5 and 10^6 points, with a common window and a window around a
                                                   date of each
    python -m benchmarks.planning --quick --json   10^3 and 10^4, as JSON
    python -m benchmarks.planning --sizes --sampling --points 100000    the points alone
    python -m benchmarks.planning --sizes 1000000 --sampling --points --workers 1 2    planned by 1 and 2 processes

Against `testbed anywhere`, in its own process, over HTTP. Each size is planned in a fresh process. Where several
numbers of workers are compared, a first run that is not shown makes the API's answers, and the API keeps them: making
them takes as long as planning does, and it would share the cores with the workers.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as pacsv

from benchmarks.building_meter import Meter
from benchmarks.ours import peak_bytes
from pipelines.access.archives import Archives
from pipelines.engines import Engine
from pipelines.jobs import plan_dataset
from pipelines.plan import make_plan
from pipelines.plan.blocks import KM_A_DEG, days_of, requests_at_most
from pipelines.progress import ProgressPrinter
from pipelines.recipes import RecipeFile
from sampling import locate
from sampling.splits import SPLITS
from schemas.modality import SENTINEL2
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

AREA = [0.0, 42.0, 20.0, 55.0]
"""Central Europe: 2 million square kilometres, mostly land."""
SEASONS = (("spring", "03-01", "05-31"), ("summer", "06-01", "08-31"), ("autumn", "09-01", "11-30"))
WINTER = {"name": "winter", "start": "2021-12-01", "end": "2022-02-28"}
SPRING_DAYS = 92
CROWDED = 2_000_000
"""More locations than this do not find room in the area with footprints of 600 m."""
KINDS = ("common window", "window of each")
"""What is planned at points of a file."""


USUAL = ([10_000, 100_000, 1_000_000], [1_000_000, 10_000_000], [100_000, 1_000_000])
"""Locations that are planned, only placed, and planned from a file in both ways."""


def recipe_of(count: int, url: str, *, everywhere: bool = False) -> Recipe:
    """Sentinel-2 in four seasons at `count` uniform places of the area, or of all land."""
    windows = [{"name": name, "start": f"2021-{a}", "end": f"2021-{b}"} for name, a, b in SEASONS]
    return Recipe.model_validate(
        {
            "name": "planning", "seed": 1, "grid": {"size_m": 600 if count <= CROWDED else 240},
            "sampling": {"kind": "uniform", "count": count, "area": {} if everywhere else {"bbox": AREA}},
            "windows": [*windows, WINTER],
            "providers": {"anywhere": {"url": url, "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["anywhere"]}],
        }
    )  # fmt: skip


def write_points(path: Path, count: int, area: Sequence[float] = AREA) -> None:
    """One point per cell of a lattice over the area, near the middle of its cell, with a date in spring.

    Footprints of 600 m do not overlap up to 1.5 million points: cells are then 1.2 km wide, and a point lies in the
    middle half of its cell.
    """
    rng = np.random.default_rng([7, count])
    west, south, east, north = area
    bottom, top = np.sin(np.radians([south, north]))  # rows of equal area
    rows = math.ceil(math.sqrt(count * (north - south) / (east - west) / math.cos(math.radians((south + north) / 2))))
    columns = math.ceil(count / rows)
    row, column = np.divmod(rng.permutation(rows * columns)[:count], columns)
    moved = rng.uniform(0.25, 0.75, (2, count))
    lon = west + (column + moved[0]) * (east - west) / columns
    lat = np.degrees(np.arcsin(bottom + (row + moved[1]) * (top - bottom) / rows))
    dates = np.datetime64("2021-03-01") + rng.integers(0, SPRING_DAYS, count)
    table = pa.table({"lon": lon, "lat": lat, "date": pa.array(dates).cast(pa.string())})
    pacsv.write_csv(table, path)


def points_recipe(url: str, *, own: bool) -> Recipe:
    """Sentinel-2 at the points of `write_points`: one spring for all, or 15 days around the date of each."""
    spring = {"start": "2021-03-01", "end": "2021-05-31"}
    window = {"around": "attr_date", "within": "15d"} if own else spring
    return Recipe.model_validate(
        {
            "name": "planning", "seed": 1, "grid": {"size_m": 600},
            "sampling": {"kind": "points", "file": "points.csv", "attributes": ["date"]},
            "windows": [{"name": "spring", **window}],
            "providers": {"anywhere": {"url": url, "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["anywhere"]}],
        }
    )  # fmt: skip


def bound_of(recipe: Recipe, count: int, parts: int) -> int:
    """Requests that planning is to stay within (`requests_at_most`): all windows of Sentinel-2, over the area once for
    each split."""
    west, south, east, north = AREA
    middle = math.cos(math.radians((south + north) / 2.0))
    area = len(SPLITS) * (east - west) * KM_A_DEG * middle * (north - south) * KM_A_DEG
    days = [days_of(window.period) for window in recipe.windows]
    return sum(requests_at_most(count, area, parts, SENTINEL2.density, d) for d in days)


def measured(job: dict[str, Any]) -> dict[str, Any]:
    """Plan (or place only) in this process."""
    folder = Path(job["folder"])
    if job["what"] in KINDS:
        write_points(folder / "points.csv", job["count"])
        recipe = points_recipe(job["url"], own=job["what"] == KINDS[1])
    else:
        recipe = recipe_of(job["count"], job["url"], everywhere=job["everywhere"])
    wall, meter = time.perf_counter(), Meter()
    found: dict[str, Any] = {}
    if job["what"] == "sampling":
        located = locate(recipe, Path())
        found = {"locations": len(located), "shards": len(located.packed(recipe.shards))}
    else:
        out = folder / f"plan-{job['what']}-{job['count']}-{job.get('workers')}"
        file = RecipeFile(recipe=recipe, folder=folder)
        if job.get("workers"):
            summary = plan_dataset(file, out, again=False, engine=Engine(workers=job["workers"]))
            job["what"] = f"plan, workers: {job['workers']}"
        else:
            with Archives(recipe.providers) as archives:
                summary = make_plan(file, archives, out / "plan", out, ProgressPrinter("planning", "locations"))
        size = sum(p.stat().st_size for p in (out / "plan").rglob("*") if p.is_file())
        found = {
            "locations": summary.samples, "shards": summary.shards, "parts": summary.parts,
            "searches": summary.searches,
            **({} if job["what"] == KINDS[1] else {"bound": bound_of(recipe, summary.samples, summary.parts)}),
            "scenes": sum(summary.scenes.values()), "plan_bytes": size,
        }  # fmt: skip
    return found | {
        "wall_s": round(time.perf_counter() - wall, 1), "cpu_s": meter.read()["cpu_s"],
        "peak_mib": peak_bytes() >> 20,
        "what": job["what"],
    }  # fmt: skip


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.planning", "--job", json.dumps(job)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def jobs_of(sizes: list[int], sampling: list[int], points: list[int], folder: str, url: str) -> list[dict[str, Any]]:
    base = {"folder": folder, "url": url, "everywhere": False}
    plans = [{**base, "count": n, "what": "plan"} for n in sizes]
    plans += [{**base, "count": n, "what": "sampling", "everywhere": True} for n in sampling]
    return plans + [{**base, "count": n, "what": kind} for n in points for kind in KINDS]


def on_workers(jobs: list[dict[str, Any]], workers: Sequence[int]) -> list[dict[str, Any]]:
    """The jobs, those that plan sizes once for each number of workers."""
    before = [0] if len(workers) > 1 else []
    many = [job | {"workers": n} for job in jobs if job["what"] == "plan" for n in (*before, *workers)]
    return many + [job for job in jobs if not (many and job["what"] == "plan")]


def show(rows: list[dict[str, Any]]) -> None:
    columns = ("what", "locations", "wall_s", "cpu_s", "peak_mib", "parts", "searches", "bound", "scenes", "plan_bytes")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print(
            "| "
            + " | ".join(f"{row[c]:,}" if isinstance(row.get(c), int) else str(row.get(c, "")) for c in columns)
            + " |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planning", description=(__doc__ or "").split("\n", 1)[0],
        epilog="Example: python -m benchmarks.planning --quick --json",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--sizes", type=int, nargs="*", help="locations to plan, instead")
    parser.add_argument("--sampling", type=int, nargs="*", help="locations to place without planning, instead")
    parser.add_argument("--points", type=int, nargs="*", help="points of a file to plan in both ways, instead")
    parser.add_argument("--workers", type=int, nargs="*", help="processes that plan the sizes, one run for each number")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        print(json.dumps(measured(json.loads(asked.job))))
        return
    usual = ([1_000, 10_000], [100_000], [10_000]) if asked.quick else USUAL
    given = (asked.sizes, asked.sampling, asked.points)
    sizes, sampling, points = (known if said is None else said for said, known in zip(given, usual, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        keep = ["--keep", f"{folder}/answers"] if len(asked.workers or []) > 1 else []
        command = [sys.executable, "-m", "testbed", "anywhere", *keep]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            rows = []
            jobs = jobs_of(sizes, sampling, points, folder, url)
            for job in on_workers(jobs, asked.workers or []):
                row = in_a_process(job)
                if job.get("workers") == 0:
                    continue
                rows.append(row)
                if not asked.json:
                    show(rows[-1:])
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(rows, indent=1)) if asked.json else show(rows)


if __name__ == "__main__":
    main()
