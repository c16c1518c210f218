"""Runs one loader in its own process: jobs are JSON lines, answers give seconds, CPU, memory, time to first batch.

The process knows one class with the methods of `benchmarks.loading_peer.Peer`, named as 'module:Class'; only reading is
in the times. So peak memory is a loader's own, and every loader can have its own environment.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import landweave
from benchmarks import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Answer = dict[str, Any]
    """'wall_s'; 'cpu_s', children included; 'samples'; 'peak_bytes', of this process, and 'peak_child_bytes', of its
    largest child, both since they began; for streams 'first_s', until the first batch came; for batches and streams
    'p50_s' and 'p99_s' of one batch, where there were 20 or more."""


class Loader:
    """A loader's process, from outside."""

    def __init__(self, python: Path | str, loader: str, source: Path, folder: Path) -> None:
        """Start it.

        Args:
            python: interpreter that has its packages.
            loader: 'benchmarks.loading_peers:Mosaic'.
            source: the landweave dataset.
            folder: where its own form lies or is to be written.
        """
        home = {"PYTHONPATH": str(workers.ROOT), "PYTHONWARNINGS": "ignore"}
        command = (str(python), "-m", "benchmarks.loading_worker", loader, str(source), str(folder))
        self._worker = workers.Worker(*command, environment=home)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._worker.__exit__()

    def about(self) -> Answer:
        """'name', 'compressed', 'can', 'missing'; asked first, nothing is imported before."""
        return self._worker.ask({"job": "about"})

    def make(self) -> Answer:
        """Write its form, where it is not there."""
        return self._worker.ask({"job": "make"})

    def size(self) -> int:
        """Bytes at rest, and of what its reader has put beside them so far."""
        return int(self._worker.ask({"job": "size"})["size"])

    def open(self, url: str | None = None) -> Answer:
        """Open it here, or under the address that serves the parent of `folder`."""
        return self._worker.ask({"job": "open", "url": url})

    def one(self, indices: Sequence[int]) -> Answer:
        """Read samples, one at a time."""
        return self._worker.ask({"job": "one", "indices": [int(i) for i in indices]})

    def batch(self, batches: Sequence[Sequence[int]]) -> Answer:
        """Read batches, one at a time."""
        return self._worker.ask({"job": "batch", "batches": [[int(i) for i in b] for b in batches]})

    def stream(self, *, batch_size: int, epoch: int, epochs: int = 1, workers: int, limit: int | None = None) -> Answer:
        """Read shuffled epochs, from number `epoch` on, or their first `limit` batches."""
        asked = {"batch_size": batch_size, "epoch": epoch, "epochs": epochs, "workers": workers, "limit": limit}
        return self._worker.ask({"job": "stream", **asked})

    def pixels(self, indices: Sequence[int]) -> dict[str, list[str]]:
        """Array -> checksum of each of these samples, as `one` and as `batch` give it: two a sample. Not timed."""
        found: dict[str, list[str]] = self._worker.ask({"job": "pixels", "indices": [int(i) for i in indices]})
        return found


def checksum(pixels: Any) -> str:
    """Of dtype, shape and numbers."""
    array = np.ascontiguousarray(pixels)
    return hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode() + array.tobytes(), digest_size=8).hexdigest()


class _Inside:
    """The process, from inside."""

    def __init__(self, loader: str, source: Path, folder: Path) -> None:
        module, _, name = loader.partition(":")
        self._source, self._folder = source, folder
        self._class = getattr(importlib.import_module(module), name)
        self._peer: Any = None

    def answer(self, job: dict[str, Any]) -> Any:
        """Do a job."""
        doing: Callable[[dict[str, Any]], Any] = getattr(self, f"do_{job['job']}")
        return doing(job)

    def do_about(self, _: dict[str, Any]) -> Answer:
        c = self._class
        can = c.can | {"workers"} if "stream" in c.can and not c.own_threads else c.can
        return {"name": c.name, "compressed": c.compressed, "can": sorted(can), "missing": c.missing()}

    def do_make(self, _: dict[str, Any]) -> Answer:
        self._peer = self._class(landweave.open(self._source), self._source, self._folder)
        return {}

    def do_size(self, _: dict[str, Any]) -> Answer:
        return {"size": self._peer.size}

    def do_open(self, job: dict[str, Any]) -> Answer:
        return self._timed(lambda: self._peer.open(job["url"]) or 0)

    def do_one(self, job: dict[str, Any]) -> Answer:
        return self._timed(lambda: sum(1 for i in job["indices"] if self._peer.one(i)))

    def do_batch(self, job: dict[str, Any]) -> Answer:
        each: list[float] = []

        def read() -> int:
            for indices in job["batches"]:
                began = time.perf_counter()
                self._peer.batch(indices)
                each.append(time.perf_counter() - began)
            return sum(map(len, job["batches"]))

        return {**self._timed(read), **_tail(each)}

    def do_stream(self, job: dict[str, Any]) -> Answer:
        more: dict[str, Any] = {}
        each: list[float] = []

        def read() -> int:
            began = last = time.perf_counter()
            samples = 0
            wanted = {k: job[k] for k in ("batch_size", "epoch", "epochs", "workers")}
            for number, batch in enumerate(self._peer.stream(**wanted)):
                samples += len(next(v for v in batch.values() if hasattr(v, "shape")))
                now = time.perf_counter()
                more.setdefault("first_s", now - began)
                each.append(now - last)
                last = now
                more.setdefault("first_samples", samples)
                if number + 1 == job["limit"]:
                    break
            return samples

        took = self._timed(read)
        if (timing := getattr(self._peer, "timing", None)) is not None:
            more["timing"] = timing.shares
        return {**took, **more, **_tail(each[1:])}

    def do_pixels(self, job: dict[str, Any]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        batch = self._peer.batch(job["indices"])
        for k, i in enumerate(job["indices"]):
            for path, pixels in self._peer.one(i).items():
                found.setdefault(path, []).extend([checksum(pixels), checksum(batch[path][k])])
        return found

    def _timed(self, work: Callable[[], int]) -> Answer:
        busy, began = _cpu_s(), time.perf_counter()
        samples = work()
        wall = time.perf_counter() - began
        peaks = {
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "peak_child_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        }
        return {"wall_s": wall, "cpu_s": _cpu_s() - busy, "samples": samples, **peaks}


def _tail(each: list[float]) -> dict[str, float]:
    """Median and 99th percentile of the seconds of a batch."""
    if len(each) < 20:
        return {}
    return {"p50_s": float(np.quantile(each, 0.5)), "p99_s": float(np.quantile(each, 0.99))}


def _cpu_s() -> float:
    """Seconds of CPU of this process and of the children that have ended."""
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + gone.ru_utime + gone.ru_stime


def main() -> None:
    """Answer jobs until there are no more; what a library prints goes elsewhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    inside = _Inside(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    for line in sys.stdin:
        print(json.dumps(inside.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
