"""`python -m testbed run EARTH -- python -m benchmarks.openstreetmap`: what OpenStreetMap costs in a build.

Builds the recipe in this process with one worker, counts the CPU time of all its threads, and repeats the labelling of
all samples by itself: its share of the build's CPU time is to be below 8 %. Preparing the extract is told beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pipelines.assemble
import pipelines.plan.places
from benchmarks.report import print_goals, print_row
from pipelines.__main__ import app

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 0.08
"""Share of the build's CPU time that labelling may take."""
_TIMES = 5
"""Repetitions of the labelling, of which the median counts."""
_Call = tuple[tuple[Any, ...], dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.openstreetmap", description=__doc__)
    parser.add_argument("recipe", nargs="?", default="recipes/quickstart.yaml", help="a recipe with OpenStreetMap")
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    asked = parser.parse_args()
    building, planning = vars(pipelines.assemble), vars(pipelines.plan.places)
    label, labelled, prepared = building["gather_objects"], list[_Call](), list[float]()
    building["gather_objects"] = _recording(label, labelled)
    planning["map_extract"] = _timed(planning["map_extract"], prepared)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        app(["build", asked.recipe, str(Path(folder) / "out"), "--workers", "1"], standalone_mode=False)
        whole = time.process_time() - began
        if not labelled:
            raise SystemExit(f"benchmarks.openstreetmap: {asked.recipe} has no samples with OpenStreetMap")
        times = [_cpu(lambda: [label(*args, **more) for args, more in labelled]) for _ in range(_TIMES)]
    spent = {"build": whole, "preparing the extract": sum(prepared), "labelling": statistics.median(times)}
    for what, seconds in spent.items():
        print_row({"what": what, "cpu_s": seconds, "share": seconds / whole}, as_json=asked.json)
    share = spent["labelling"] / whole
    line = f"labelling takes {share:.1%} of the build's CPU time (below {_MOST:.0%})"
    print_goals({"met": [line] * (share < _MOST), "missed": [line] * (share >= _MOST)}, as_json=asked.json)


def _recording(function: Callable[..., Any], calls: list[_Call]) -> Callable[..., Any]:
    def recorded(*args: Any, **more: Any) -> Any:
        calls.append((args, more))
        return function(*args, **more)

    return recorded


def _timed(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **more: Any) -> Any:
        found: list[Any] = []
        times.append(_cpu(lambda: found.append(function(*args, **more))))
        return found[0]

    return timed


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of all threads of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
