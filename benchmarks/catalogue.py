"""`python -m benchmarks.catalogue`: what a catalogue of 10^6 and of 10^7 samples costs to finish and to use.

    python -m benchmarks.catalogue                 both sizes (20 minutes, 30 GB of disk below the temporary folder)
    python -m benchmarks.catalogue --samples 1e6   one size
    python -m benchmarks.catalogue --quick --json  2 * 10^5 samples, as JSON

Each figure is taken in a fresh process, from a local disk and over HTTP with 30 ms per request and 100 MB/s. `read_mb`
is what came over the link; memory is the largest resident size of the process, Python and its packages included. The
goals are those for 10^7 samples; smaller sizes are held against them too.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue_data import EACH, make_parts, spec_of
from benchmarks.report import print_goals, print_row
from benchmarks.server import serve
from pipelines.shards import finalise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Row = dict[str, Any]

QUICK = 200_000
LATENCY_MS, LINK_MB_S = 30, 100
TASKS = ("open", "split", "query", "item", "stream", "sql", "texts")
GOALS: dict[tuple[str, str], float] = {
    ("open", "seconds"): 0.3,
    ("open", "read_mb"): 1.0,
    ("open", "memory_mb"): 150.0,
    ("query", "seconds"): 1.0,
    ("query", "read_mb"): 5.0,
    ("item", "seconds"): 0.1,
    ("stream", "seconds"): 0.5,
    ("finish", "memory_mb"): 1024.0,
}
"""(task, measure) -> at most."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.catalogue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=float, action="append", help="size; may be given several times")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} samples alone")
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--folder", type=Path, help="where datasets are made and kept (default: a temporary folder)")
    parser.add_argument("--finish", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.finish:
        print(json.dumps(_finish(Path(asked.finish[0]), int(asked.finish[1]))))
        return
    sizes = [QUICK] if asked.quick else [int(n) for n in asked.samples or (1e6, 1e7)]
    with tempfile.TemporaryDirectory() as scratch:
        rows = []
        for row in _measured(asked.folder or Path(scratch), sizes):
            rows.append(row)
            print_row(row, as_json=asked.json, digits=3)
    print_goals(goals(rows), as_json=asked.json)


def _measured(folder: Path, sizes: Sequence[int]) -> Iterator[Row]:
    for samples in sizes:
        out = folder / f"catalogue-{samples}"
        if not (out / "landweave.json").exists():
            start_s = time.perf_counter()
            make_parts(out, samples)
            yield {"task": "parts", "samples": samples, "seconds": time.perf_counter() - start_s}
            yield {
                "task": "finish",
                "samples": samples,
                **_alone("benchmarks.catalogue", "--finish", str(out), str(samples)),
            }
        use, known = "benchmarks.catalogue_use", _known(out)
        with serve(folder) as server:
            for task in TASKS:
                yield {"task": task, "samples": samples, "from": "disk", **_alone(use, task, str(out), known)}
                tag = f"{task}-{samples}"
                row = _alone(use, task, f"{server.url(tag, LATENCY_MS, LINK_MB_S)}/{out.name}", known)
                requests, size = server.counted(tag)
                row |= {"read_mb": size / 1e6, "requests": requests}
                yield {"task": task, "samples": samples, "from": "http", **row}
        if folder.name.startswith("tmp"):
            shutil.rmtree(out)


def _alone(*command: str) -> Row:
    """A task in a fresh process."""
    done = subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout))


def _finish(out: Path, samples: int) -> Row:
    spent_s, start_s = time.process_time(), time.perf_counter()
    finalise(out, spec_of(-(-samples // EACH)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": time.perf_counter() - start_s,
        "cpu_s": time.process_time() - spent_s,
        "memory_mb": peak_mb,
    }


def _known(out: Path) -> str:
    """The id of a sample in the middle of the dataset, as its shard's manifest says it."""
    shards = sorted((out / "shards").iterdir())
    return str(json.loads(shards[len(shards) // 2].read_text())["samples"][2_000])


def goals(rows: Sequence[Row]) -> dict[str, list[str]]:
    """'met', 'missed' and 'unjudged'."""
    found: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for row in rows:
        for (task, measure), bound in GOALS.items():
            if task != row["task"] or (measure == "read_mb" and row.get("from") == "disk"):
                continue
            where = f"{task}, {row['samples']:,} samples" + (f", {row['from']}" if "from" in row else "")
            text = f"{where}: {measure} {row[measure]:.3g} (goal: at most {bound:g})"
            found["met" if row[measure] <= bound else "missed"].append(text)
    finished = [r for r in rows if r["task"] == "finish"]
    if len(finished) > 1:
        each = [r["cpu_s"] / r["samples"] for r in finished]
        ratio = max(each) / min(each)
        found["met" if ratio <= 1.25 else "missed"].append(
            f"finish: CPU per sample, ratio of sizes {ratio:.3g} (linear)"
        )
    else:
        found["unjudged"].append("finish: linear time needs two sizes that are made in this run")
    return found


if __name__ == "__main__":
    main()
