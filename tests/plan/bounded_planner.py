"""Plans two thousand places spread over central Europe under a memory limit, and says how much it took.

Run as a module: `python -m tests.plan.bounded_planner STAC_URL LIMIT_BYTES FOLDER`.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from pipelines.access.archives import Archives
from pipelines.plan import make_plan
from pipelines.recipes import RecipeFile
from schemas.recipe import Recipe

PLACES = 2_000


def recipe_of(url: str, count: int = PLACES) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "wide", "seed": 5, "grid": {"size_m": 600},
            "sampling": {"kind": "uniform", "count": count, "area": {"bbox": [0.0, 42.0, 20.0, 55.0]}},
            "windows": [{"name": "spring", "start": "2021-03-01", "end": "2021-05-31"}],
            "providers": {"far": {"url": url, "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["far"]}],
        }
    )  # fmt: skip


def peak_kib() -> int:
    """Largest resident set since this program began (VmHWM, proc_pid_status(5)); ru_maxrss counts the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def main() -> None:
    url, limit, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # brk and private writable mappings, getrlimit(2)
    recipe = recipe_of(url)
    with Archives(recipe.providers) as archives:
        plan = make_plan(RecipeFile(recipe=recipe, folder=Path()), archives, out / "plan", out, lambda *_: None)
    said = {"samples": plan.samples, "unavailable": plan.unavailable, "searches": plan.searches}
    sys.stdout.write(json.dumps({**said, "peak_bytes": peak_kib() * 1024}) + "\n")


if __name__ == "__main__":
    main()
