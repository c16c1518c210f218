"""`python -m benchmarks.loading`: reading samples from disk with landweave, with other loaders, and with plain C.

The same samples in one run, each loader in its own process, jobs of all loaders in turn: single random samples,
batches of 32 random samples, a shuffled stream in a torch DataLoader with 0, 1 and 2 workers, and both over HTTP with
20 ms latency: on a link of 125 MB/s, which the best loader should fill, and on one of 500 MB/s, which holds nobody up.
Peers that need packages of their own run in the environments that `python -m benchmarks.loading_venv` makes; what
cannot run is named in the summary. zarr-python's fused pipeline and insitubatch need Python 3.12.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import loading_venv
from benchmarks.loading_data import make_dataset
from benchmarks.loading_goals import goals
from benchmarks.loading_worker import Loader
from benchmarks.server import serve
from benchmarks.workers import ROOT, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.server import Server

Row = dict[str, Any]
OURS = {
    "landweave": "benchmarks.loading_ours:Ours",
    "decode in C": "benchmarks.loading_ours:Limit",
    "unchecked, in C": "benchmarks.loading_ours:Unchecked",
}
PEERS = {
    "memmap raw": "Memmap", "mosaicml raw": "Mosaic", "mosaicml zstd": "MosaicZstd", "litdata raw": "LitData",
    "litdata zstd": "LitDataZstd", "webdataset": "Webdataset", "hf datasets": "Datasets", "parquet": "Parquet",
    "h5py": "H5py", "zarr-python": "ZarrPython", "zarrs": "Zarrs", "tensorstore": "TensorStore", "lance": "Lance",
    "lance raw": "LanceRaw",
    "streaming-community raw": "Community", "zarr fused": "ZarrFused", "insitubatch": "Insitubatch",
}  # fmt: skip
NEWEST = ("hf datasets", "lance", "lance raw", "streaming-community raw", "zarr fused", "insitubatch")
"""Those of the second environment."""
QUICK = ("memmap raw", "parquet", "zarr-python", "tensorstore")
"""The ceiling, the strongest compressed peers, and what Zarr's users have."""
BATCH, LATENCY_MS, LINKS_MB_S = 32, 20, (125, 500)
ROUND_S, WORKERS_S = 0.5, 1.5
"""What a measured round takes; with workers, so that their start is a part of it and not most of it."""
SLOW_S = 2.0
"""A loader that takes so long for a batch over HTTP is asked for one, and for no stream."""
QUICK_S, FULL_S = 3.0, 20.0
"""A loader that has spent so long on a job has one measured round of it."""


@dataclass
class Bench:
    """One run: the loaders' processes, the rows so far."""

    source: Path
    samples: int
    rounds: int
    server: Server
    loaders: dict[str, Loader] = field(default_factory=dict)
    about: dict[str, Row] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Loader or loader and task -> why it could not run."""
    as_json: bool = False
    patience_s: float = FULL_S
    """See `QUICK_S`."""
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def start(self, wanted: Sequence[tuple[str, str, str]], stack: ExitStack) -> None:
        """Start loaders (name, python, class): all processes at once; each then writes its form and opens it."""
        begun = []
        for name, python, where in wanted:
            folder = self.source.parent / name.replace(" ", "-")
            begun.append((name, stack.enter_context(Loader(python, where, self.source, folder))))
        for name, loader in begun:
            self.opened(name, loader)

    def opened(self, name: str, loader: Loader) -> None:
        """Take a loader in, or say why not."""
        try:
            about = loader.about()
            if about["missing"]:
                self.failed[name] = about["missing"]
                return
            loader.make()
            about["open_s"] = loader.open()["wall_s"]
            self.about[name], self.loaders[name] = about, loader
        except WorkerFailed as error:
            self.failed[name] = str(error)[:160]

    def task(self, what: str, able: str, ask: Any, least: int = 1, round_s: float = ROUND_S) -> None:
        """A job of every loader that can do it, in turn, some rounds; a row each.

        Args:
            what: name of the job.
            able: what a loader must be able to do.
            ask: (loader, number of the round, how much) -> answer.
            least: how much is asked for in the round that warms up; after it so much as takes a loader `round_s`
                from the first batch on, or this again where it is slower: a virtual machine may need tens of
                milliseconds to give a loader all its cores.
            round_s: see `least`.
        """
        found: dict[str, list[Row]] = {}
        spent: dict[str, float] = {}
        much: dict[str, int] = {}
        for number in range(self.rounds + 1):  # the first warms up
            for name, loader in list(self.loaders.items()):
                if able not in self.about[name]["can"] or f"{name}: {what}" in self.failed:
                    continue
                if number > 1 and spent.get(name, 0.0) > self.patience_s:
                    continue
                began = time.perf_counter()
                try:
                    answer = ask(loader, number, much.get(name, least))
                except WorkerFailed as error:
                    self.failed[f"{name}: {what}"] = str(error)[:160]
                    self.loaders.pop(name)
                    continue
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
                if not number:
                    steady_s = answer["wall_s"] - answer.get("first_s", 0.0)
                    much[name] = max(least, min(least * 20, round(least * round_s / max(steady_s, 1e-3))))
                if number:
                    found.setdefault(name, []).append(answer)
        for name, answers in found.items():
            self.add(name, what, answers)

    def add(self, name: str, what: str, answers: Sequence[Row], **more: Any) -> None:
        """A row: medians over rounds."""
        about = self.about[name]
        if "size" not in about:  # after its first job
            about["size"] = self.loaders[name].size()
        row = {
            "task": what,
            "loader": name,
            "compressed": about["compressed"],
            "samples_s": round(statistics.median(a["samples"] / a["wall_s"] for a in answers), 1),
            "cpu_ms": round(statistics.median(a["cpu_s"] / a["samples"] * 1e3 for a in answers), 3),
            "peak_mb": round(max(a["peak_bytes"] + a["peak_child_bytes"] for a in answers) / 1e6),
            "disk_mb": round(about["size"] / 1e6, 1),
            **more,
        }
        each = [a["p99_s"] / a["p50_s"] for a in answers if a.get("p50_s")]
        if each:
            row["p99_of_median"] = round(statistics.median(each), 2)
        starved = [a["timing"] for a in answers if a.get("timing")]
        if starved:
            row["threads_spent"] = {k: round(statistics.median(t[k] for t in starved), 2) for k in starved[0]}
        if "first_s" in answers[0]:
            row["first_batch_ms"] = round(statistics.median(a["first_s"] for a in answers) * 1e3, 1)
        if what == "one":
            row["open_ms"] = round(about["open_s"] * 1e3, 1)
        self.rows.append(row)

    def compare(self, what: str) -> None:
        """Print the rows of a task, each with its ratio to ours."""
        rows = [r for r in self.rows if r["task"] == what]
        ours = next((r for r in rows if r["loader"] == "landweave"), None)
        for row in sorted(rows, key=lambda r: -r["samples_s"]):
            if ours is not None:
                row["ours_is"] = round(ours["samples_s"] / row["samples_s"], 2)
                row["ours_cpu_is"] = round(ours["cpu_ms"] / row["cpu_ms"], 2) if row["cpu_ms"] else None
            print(json.dumps(row) if self.as_json else shown(row), flush=True)


def same_pixels(bench: Bench) -> None:
    """Loaders that give other pixels than ours are named and taken out."""
    wanted = [int(i) for i in bench.rng.choice(bench.samples, 3, replace=False)]
    expected = bench.loaders["landweave"].pixels(wanted)
    for name, loader in list(bench.loaders.items()):
        if "one" in bench.about[name]["can"] and name != "landweave":
            try:
                if loader.pixels(wanted) != expected:
                    bench.failed[name] = "gives other pixels"
                    del bench.loaders[name]
            except WorkerFailed as error:
                bench.failed[name] = str(error)[:160]
                del bench.loaders[name]


def local(bench: Bench, singles: int, batches: int, workers: Sequence[int]) -> None:
    """Samples, batches and streams of a warm local disk."""

    def draws(number: int, count: int) -> list[int]:
        rng = np.random.default_rng([3, number])
        return [int(i) for i in rng.integers(0, bench.samples, count)]

    def batched(number: int, count: int) -> list[list[int]]:
        rng = np.random.default_rng([4, number])
        return [[int(i) for i in rng.permutation(bench.samples)[:BATCH]] for _ in range(count)]

    bench.task("batch", "batch", lambda loader, number, much: loader.batch(batched(number, much)), batches)
    bench.compare("batch")
    bench.task("one", "one", lambda loader, number, much: loader.one(draws(number, much)), singles)
    bench.compare("one")
    for count in workers:
        what = f"stream {count} workers"

        def ask(loader: Loader, number: int, much: int, workers: int = count) -> Row:
            return loader.stream(batch_size=BATCH, epoch=number, epochs=much, workers=workers)

        bench.task(what, "workers" if count else "stream", ask, round_s=WORKERS_S if count else ROUND_S)
        bench.compare(what)


def remote(bench: Bench, batches: int) -> None:
    """Over HTTP, each link and job from the start: batches of random samples, then a shuffled stream."""
    for link in LINKS_MB_S:
        for job in ("batch", "stream"):
            for name in [name for name in bench.loaders if {"http", job} <= set(bench.about[name]["can"])]:
                slow = any(r["loader"] == name and r["samples_s"] * SLOW_S < BATCH for r in bench.rows)
                if f"{name}: http" in bench.failed or (slow and job == "stream"):
                    continue
                try:
                    over(bench, name, link, job, batches)
                except WorkerFailed as error:
                    bench.failed[f"{name}: http"] = str(error)[:160]
                    del bench.loaders[name]
            bench.compare(f"http {job} {link} MB/s")


def over(bench: Bench, name: str, link: int, job: str, batches: int) -> None:
    """One loader over one link; a row."""
    loader, tag = bench.loaders[name], f"http-{link}-{job}-{name.replace(' ', '-')}"
    rng = np.random.default_rng(5)
    wanted = [[int(i) for i in rng.permutation(bench.samples)[:BATCH]] for _ in range(batches)]
    loader.open(bench.server.url(tag, LATENCY_MS, link))
    before = bench.server.counted(tag)
    if job == "batch":
        answer = loader.batch(wanted[:1])
        if answer["wall_s"] < SLOW_S:
            rest = loader.batch(wanted[1:])
            answer = {k: max(v, rest[k]) if k.startswith("peak") else v + rest[k] for k, v in answer.items()}
    else:
        answer = loader.stream(batch_size=BATCH, epoch=0, workers=0, limit=batches)
    after = bench.server.counted(tag)
    used = (after[1] - before[1]) / answer["wall_s"] / 1e6 / link
    asked = round((after[0] - before[0]) / answer["samples"], 2)
    bench.add(name, f"http {job} {link} MB/s", [answer], link_used=round(used, 3), requests=asked)


def shown(row: Row) -> str:
    """One line for people."""
    line = f"{row['task']:<20} {row['loader']:<14} {row['samples_s']:>8.1f} samples/s {row['cpu_ms']:>8.2f} ms CPU "
    line += f"{row['disk_mb']:>7.1f} MB on disk {row['peak_mb']:>6} MB peak"
    more = (
        "first_batch_ms",
        "p99_of_median",
        "open_ms",
        "link_used",
        "requests",
        "ours_is",
        "ours_cpu_is",
        "threads_spent",
    )
    return line + "".join(f"  {name} {row[name]}" for name in more if row.get(name) is not None)


def main() -> None:
    """Run, print, decide the goals."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loading",
        description=__doc__,
        epilog="example: python -m benchmarks.loading --quick --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one object a row, last a summary")
    parser.add_argument(
        "--quick", action="store_true", help="fewer samples, loaders and rounds: under a minute once all forms are made"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / ".benchmarks" / "data", help="folder for all forms, 5 GB")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of each job")
    parser.add_argument("--only", nargs="*", help="peers to run, of: " + ", ".join(PEERS))
    asked = parser.parse_args()
    samples = 64 if asked.quick else 256
    source = make_dataset(asked.cache / str(samples), samples)
    first, newest = loading_venv.python(), loading_venv.python("newest", loading_venv.NEWEST)
    wanted = asked.only if asked.only is not None else list(QUICK if asked.quick else PEERS)
    with serve(source.parent) as server, ExitStack() as stack:
        bench = Bench(source, samples, 2 if asked.quick else asked.rounds, server, as_json=asked.json)
        ours = [(name, sys.executable, where) for name, where in OURS.items()]
        theirs = [
            (n, str((newest if n in NEWEST else first) or sys.executable), f"benchmarks.loading_peers:{PEERS[n]}")
            for n in wanted
        ]
        bench.start([*ours, *theirs], stack)
        same_pixels(bench)
        with suppress(KeyboardInterrupt):
            if asked.quick:
                bench.patience_s = QUICK_S
                local(bench, 32, 2, (0,))
                bench.loaders.pop("zarr-python", None)  # a batch takes it some 4 seconds
                remote(bench, 4)
            else:
                local(bench, 100, 12, (0, 1, 2))
                remote(bench, 8)
    judged = goals(bench.rows, bench.failed)
    if asked.json:
        print(json.dumps({"summary": True, **judged, "not_run": bench.failed}))
    else:
        for name, found in judged.items():
            print(f"\n{name}:", *found, sep="\n  ")
        for who, why in bench.failed.items():
            print(f"not run: {who}: {why}")


if __name__ == "__main__":
    main()
