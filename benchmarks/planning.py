"""Measures planning of ten thousand to ten million locations: time, memory, search requests, plan size.

    python -m benchmarks.planning                  10^4, 10^5 and 10^6 locations x 4 seasons; sampling alone of 10^7
    python -m benchmarks.planning --quick --json   10^3 and 10^4, as JSON

Against `testbed anywhere`, in its own process, over HTTP. Each size is planned in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.access.archives import Archives
from pipelines.plan import make_plan
from pipelines.plan.blocks import KM_A_DEG, days_of, requests_at_most
from pipelines.progress import ProgressPrinter
from pipelines.recipes import RecipeFile
from sampling import locate
from sampling.splits import SPLITS
from schemas.modality import SENTINEL2
from schemas.recipe import Recipe
from schemas.sampling import UniformSampling

AREA = [0.0, 42.0, 20.0, 55.0]
"""Central Europe: 2 million square kilometres, mostly land."""
SEASONS = (("spring", "03-01", "05-31"), ("summer", "06-01", "08-31"), ("autumn", "09-01", "11-30"))
WINTER = {"name": "winter", "start": "2021-12-01", "end": "2022-02-28"}


def recipe_of(count: int, url: str, *, everywhere: bool = False) -> Recipe:
    """Sentinel-2 in four seasons at `count` uniform places of the area, or of all land."""
    windows = [{"name": name, "start": f"2021-{a}", "end": f"2021-{b}"} for name, a, b in SEASONS]
    return Recipe.model_validate(
        {
            "name": "planning", "seed": 1, "grid": {"size_m": 600},
            "sampling": {"kind": "uniform", "count": count, "area": {} if everywhere else {"bbox": AREA}},
            "windows": [*windows, WINTER],
            "providers": {"anywhere": {"url": url, "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["anywhere"]}],
        }
    )  # fmt: skip


def bound_of(recipe: Recipe, parts: int) -> int:
    """Requests that planning is to stay within (`requests_at_most`): all windows of Sentinel-2, over the area once for
    each split."""
    west, south, east, north = AREA
    middle = math.cos(math.radians((south + north) / 2.0))
    area = len(SPLITS) * (east - west) * KM_A_DEG * middle * (north - south) * KM_A_DEG
    days = [days_of(window.period) for window in recipe.windows]
    count = recipe.sampling.count if isinstance(recipe.sampling, UniformSampling) else 0
    return sum(requests_at_most(count, area, parts, SENTINEL2.density, d) for d in days)


def measured(job: dict[str, Any]) -> dict[str, Any]:
    """Plan (or place only) in this process."""
    recipe = recipe_of(job["count"], job["url"], everywhere=job["everywhere"])
    wall, cpu = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if job["sampling"]:
        located = locate(recipe, Path())
        found = {"locations": len(located), "shards": len(located.packed(recipe.shards))}
    else:
        out = Path(job["folder"]) / f"plan-{job['count']}"
        with Archives(recipe.providers) as archives:
            file = RecipeFile(recipe=recipe, folder=Path())
            summary = make_plan(file, archives, out / "plan", out, ProgressPrinter("planning", "locations"))
        size = sum(p.stat().st_size for p in (out / "plan").rglob("*") if p.is_file())
        found = {
            "locations": summary.samples, "shards": summary.shards, "parts": summary.parts,
            "searches": summary.searches, "bound": bound_of(recipe, summary.parts),
            "scenes": sum(summary.scenes.values()), "plan_bytes": size,
        }  # fmt: skip
    return found | {
        "wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "what": "sampling" if job["sampling"] else "plan",
    }  # fmt: skip


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.planning", "--job", json.dumps(job)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def jobs_of(sizes: list[int], sampling: list[int], folder: str, url: str) -> list[dict[str, Any]]:
    base = {"folder": folder, "url": url, "everywhere": False}
    plans = [{**base, "count": n, "sampling": False} for n in sizes]
    return plans + [{**base, "count": n, "sampling": True, "everywhere": True} for n in sampling]


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
    parser.add_argument("--quick", action="store_true", help="10^3 and 10^4 only")
    parser.add_argument("--sizes", type=int, nargs="*", help="locations to plan, instead")
    parser.add_argument("--sampling", type=int, nargs="*", help="locations to place without planning, instead")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        print(json.dumps(measured(json.loads(asked.job))))
        return
    sizes = asked.sizes if asked.sizes is not None else [1_000, 10_000] if asked.quick else [10_000, 100_000, 1_000_000]
    sampling = asked.sampling if asked.sampling is not None else [100_000] if asked.quick else [1_000_000, 10_000_000]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([sys.executable, "-m", "testbed", "anywhere"], stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            rows = []
            for job in jobs_of(sizes, sampling, folder, url):
                rows.append(in_a_process(job))
                if not asked.json:
                    show(rows[-1:])
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(rows, indent=1)) if asked.json else show(rows)


if __name__ == "__main__":
    main()
