"""Overhead of the engines: time per shard, speed-up with two slots, time to the first shard.

    python -m benchmarks.engines                 # local, prism, flink; Flink and Prism are installed on first use
    python -m benchmarks.engines --quick --json

Shards only wait, so that a busy machine changes little. Overhead of a shard = the time between two shards of one slot.
`share` sets it against the work of a shard of the quick start (QUICKSTART_SHARD_S).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam

from benchmarks.engines_work import wait
from deploy.flink.cluster import FlinkCluster
from deploy.flink.install import InstallError, cache_folder, install_flink, install_prism
from deploy.flink.submit import Submission, run
from pipelines.build import beam_options, beam_runner
from pipelines.engines import Engine
from pipelines.stages.shards import _taken, fill_queue

if TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[[Path, int, int, float], None]

QUICKSTART_SHARD_S = 10.0
"""CPU time of one shard of recipes/quickstart.yaml (64 samples) on one core, rounded down: docs/cluster.md."""
SLOTS = (1, 2)


@dataclass(frozen=True)
class Cost:
    """One run of one engine."""

    engine: str
    slots: int
    overhead_s: float
    """Between two shards of a slot, mean."""
    rate: float
    """Shards a second while all slots were busy."""
    first_s: float
    """From the command to the first shard."""
    last_s: float
    """From the last shard to the end of the command."""


def on_beam(engine: Callable[[int], Engine], *, queued: bool) -> Build:
    """Shards through the pipeline of pipelines/stages/shards.py, with a wait in place of the factory."""

    def build(out: Path, shards: int, slots: int, seconds: float) -> None:
        chosen = engine(slots)
        with beam.Pipeline(runner=beam_runner(chosen, out / "log"), options=beam_options(chosen)) as pipeline:
            spread = pipeline | beam.Create(list(range(shards))) | beam.Reshuffle()
            if queued:
                fill_queue(out / "queue", range(shards))
                spread = spread | "take" >> beam.FlatMap(_taken, str(out / "queue"))
            _ = spread | "wait" >> beam.Map(wait, seconds, str(out / "done"))

    return build


def _on_prism(options: tuple[str, ...]) -> Build:
    return on_beam(lambda _: Engine(beam="PrismRunner", options=options), queued=False)


def on_flink(stack: ExitStack, folder: Path) -> Build:
    """Shards on a standalone cluster of two taskmanagers, through deploy/flink/submit.py."""
    flink = install_flink(cache_folder().resolve())
    cluster = stack.enter_context(FlinkCluster(flink, folder, taskmanagers=max(SLOTS)))

    def build(out: Path, shards: int, slots: int, seconds: float) -> None:
        builder = [sys.executable, "-m", "benchmarks.engines_work", str(out / "done"), str(seconds)]
        submission = Submission(master=cluster.address, parallelism=slots, builder=builder)
        run(flink, submission, range(shards), out, out / "failures")

    return build


def measure(name: str, build: Build, slots: int, shards: int, seconds: float) -> Cost:
    """One run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for part in ("done", "failures"):
            (out / part).mkdir()
        began = time.monotonic()
        build(out, shards, slots, seconds)
        ended = time.monotonic()
        rows = sorted(json.loads(path.read_text()) for path in (out / "done").glob("*.json"))
    if len(rows) != shards:
        raise RuntimeError(f"{name}: {len(rows)} of {shards} shards came back")
    by_slot = slots_of(rows)
    gaps = [later[0] - earlier[1] for of in by_slot for earlier, later in itertools.pairwise(of)]
    begin, end = max(of[0][0] for of in by_slot), min(of[-1][1] for of in by_slot)
    rate = sum(begin < stop <= end for _, stop, _ in rows) / (end - begin)
    last = max(stop for _, stop, _ in rows)
    return Cost(name, slots, statistics.mean(gaps), rate, rows[0][0] - began, ended - last)


def slots_of(rows: list[list[float]]) -> list[list[list[float]]]:
    """Shards by slot, in order of time; threads of one process are told apart by who was free."""
    found: list[list[list[float]]] = []
    for row in rows:
        free = [of for of in found if of[-1][2] == row[2] and of[-1][1] <= row[0]]
        if free:
            max(free, key=lambda of: of[-1][1]).append(row)
        else:
            found.append([row])
    return found


def main() -> int:
    """Measure what can be had here, print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__.splitlines()[0])
    parser.add_argument("--engine", action="append", choices=["local", "prism", "flink"], help="default: all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter shards, one round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    shards, seconds, rounds = (10, 0.5, 1) if asked.quick else (20, 1.0, 3)
    costs: list[Cost] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        builds: dict[str, Build] = {}
        for name in asked.engine or ["local", "prism", "flink"]:
            try:
                match name:
                    case "local":
                        builds[name] = on_beam(lambda slots: Engine(workers=slots), queued=True)
                    case "prism":
                        where = f"--prism_location={install_prism(cache_folder().resolve())}"
                        options = (where, "--environment_type=LOOPBACK", "--prism_log_level=error")
                        builds[name] = _on_prism(options)
                    case _:
                        builds[name] = on_flink(stack, folder)
            except InstallError as error:
                sys.stderr.write(f"{name} is left out: {error}\n")
        for _ in range(rounds):
            costs += [measure(name, build, slots, shards, seconds) for name, build in builds.items() for slots in SLOTS]
    report = [summary(costs, name) for name in builds]
    print(
        json.dumps({"runs": [asdict(c) for c in costs], "engines": report}, indent=1) if asked.json else table(report)
    )
    return 0


def summary(costs: list[Cost], name: str) -> dict[str, float | str]:
    """Medians of an engine's runs."""
    one, two = ([c for c in costs if c.engine == name and c.slots == slots] for slots in SLOTS)
    overhead = statistics.median(c.overhead_s for c in one + two)
    return {
        "engine": name,
        "overhead_s": round(overhead, 4),
        "share": round(overhead / QUICKSTART_SHARD_S, 4),
        "two_slots": round(statistics.median(c.rate for c in two) / statistics.median(c.rate for c in one), 2),
        "first_s": round(statistics.median(c.first_s for c in one + two), 1),
        "last_s": round(statistics.median(c.last_s for c in one + two), 1),
    }


def table(report: list[dict[str, float | str]]) -> str:
    """As a table for a person."""
    heads = {"engine": "engine", "overhead_s": "s per shard", "share": "of a quick start's shard"}
    heads |= {"two_slots": "two slots to one", "first_s": "s to first shard", "last_s": "s after the last"}
    rows = [list(heads.values()), *([str(row[key]) for key in heads] for row in report)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
