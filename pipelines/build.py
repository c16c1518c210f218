"""Build a planned dataset: hand the shards that are not there yet to Beam, watch, finish."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.stages.shards import BuildShards, Built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from apache_beam.runners.runner import PipelineRunner

POLL_S = 0.5
"""How often the watcher looks for finished shards, seconds."""

CHECKOUT = Path(__file__).resolve().parents[1]
"""Root of the checkout: workers import the factory from here."""


class BuildError(RuntimeError):
    """The build cannot go on; the text says why and what to do."""


class Progress(Protocol):
    """Told how far the build is."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` shards are published."""
        ...


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Which Beam runner builds, and with what."""

    workers: int
    """Worker processes on this machine; 1 = inside this process."""
    options: tuple[str, ...] = ()
    """Beam pipeline options, passed on as they are."""

    def runner(self) -> PipelineRunner:
        """The runner, named explicitly: Beam's default one tries to fetch a binary from the network."""
        return FnApiRunner()

    def pipeline_options(self) -> PipelineOptions:
        """Options for `runner`."""
        local = ["--direct_running_mode=in_memory"]
        if self.workers > 1:
            local = ["--direct_running_mode=multi_processing", f"--direct_num_workers={self.workers}"]
        return PipelineOptions([*local, *self.options], save_main_session=False)


@contextlib.contextmanager
def sole_builder(out: Path) -> Iterator[None]:
    """Hold the dataset's folder while building.

    Raises:
        BuildError: another build of this folder is running on this machine.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(f"{out.name}: another build of this dataset is running; wait for it or stop it") from None
        yield


def run_shards(
    out: Path, shards: Sequence[int], engine: Engine, done: Callable[[], int], progress: Progress
) -> list[Built]:
    """Build shards on Beam; returns when all were tried.

    Args:
        out: folder of the dataset, which holds the plan.
        shards: numbers of the shards to build.
        engine: the runner and its options.
        done: counts the shards that are published now.
        progress: told about it every POLL_S seconds.

    Returns:
        The shards that failed by a mistake of ours, with tracebacks; [] when all were built.

    Raises:
        BuildError: the engine itself failed.
    """
    before, total = done(), len(shards)
    failures = out / ".staging" / "failures"
    failures.mkdir(parents=True, exist_ok=True)
    for old in failures.iterdir():
        old.unlink()
    run = _Run(out=out, shards=shards, engine=engine)
    thread = threading.Thread(target=run, name="beam", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        progress(done() - before, total)
    if run.error is not None:
        raise BuildError(f"the Beam runner failed: {type(run.error).__name__}: {run.error}") from run.error
    return [_read_failure(path) for path in sorted(failures.iterdir())]


class _Run:
    """The Beam pipeline, in a thread of its own so that the main thread can watch and be interrupted."""

    def __init__(self, *, out: Path, shards: Sequence[int], engine: Engine) -> None:
        self.out, self.shards, self.engine = out, shards, engine
        self.error: Exception | None = None

    def __call__(self) -> None:
        _checkout_on_path()
        logging.getLogger("apache_beam").setLevel(logging.ERROR)
        failures = str(self.out / ".staging" / "failures")
        try:
            with beam.Pipeline(runner=self.engine.runner(), options=self.engine.pipeline_options()) as pipeline:
                built = pipeline | "shards" >> beam.Create(list(self.shards)) | BuildShards(str(self.out))
                _ = (
                    built
                    | "failed" >> beam.Filter(lambda b: b.error is not None)
                    | "keep" >> beam.Map(_write_failure, failures)
                )
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error


def _checkout_on_path() -> None:
    """Worker processes find the factory where this process found it."""
    known = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if str(CHECKOUT) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *known])


def _write_failure(built: Built, folder: str) -> None:
    path = Path(folder) / f"{built.shard:05d}.txt"
    path.write_text(built.error or "")


def _read_failure(path: Path) -> Built:
    return Built(shard=int(path.stem), samples=0, error=path.read_text())


class ProgressPrinter:
    """Progress with an estimate: one live line on a terminal, a line every ten seconds in a log."""

    EVERY_S = 10.0

    def __init__(self, what: str, unit: str = "shards") -> None:
        self.what = what
        self.unit = unit
        self.start = time.monotonic()
        self.last = 0.0
        self.live = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Print if there is something new to say."""
        now = time.monotonic()
        finished = done >= total
        if not finished and now - self.last < (POLL_S if self.live else self.EVERY_S):
            return
        self.last = now
        elapsed = now - self.start
        left = f", about {_time(elapsed / done * (total - done))} left" if 0 < done < total else ""
        line = f"{self.what}: {done} of {total} {self.unit}, {_time(elapsed)}{left}"
        sys.stderr.write(f"\r\033[K{line}" if self.live else f"{line}\n")
        if self.live and finished:
            sys.stderr.write("\n")
        sys.stderr.flush()


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
