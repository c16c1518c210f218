"""Build a planned dataset: hand the shards that are not there yet to Beam, watch, finish."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipelines.stages.shards import BuildShards, Built

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apache_beam.runners.runner import PipelineRunner

POLL_S = 0.5
"""How often the watcher looks for finished shards, seconds."""

WORKER_LOG = ".work/workers.log"
"""What worker processes print, inside the dataset's folder."""

CHECKOUT = Path(__file__).resolve().parents[1]
"""Root of the checkout: workers import the factory from here."""


class EngineError(RuntimeError):
    """The Beam runner failed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Which Beam runner builds, and with what."""

    workers: int
    """Worker processes on this machine; 1 = inside this process."""
    options: tuple[str, ...] = ()
    """Beam pipeline options, passed on as they are."""

    def runner(self, log: Path) -> PipelineRunner:
        """The runner, named explicitly: Beam's default one tries to fetch a binary from the network.

        Args:
            log: file that worker processes write their messages to.
        """
        if self.workers == 1:
            return FnApiRunner()
        worker = [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"]
        command = f"exec {shlex.join(worker)} >>{shlex.quote(str(log))} 2>&1"
        return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command))

    def pipeline_options(self) -> PipelineOptions:
        """Options for `runner`."""
        return PipelineOptions([f"--direct_num_workers={self.workers}", *self.options], save_main_session=False)


def run_shards(
    out: Path, shards: Sequence[int], engine: Engine, done: Callable[[], int], progress: Callable[[int, int], None]
) -> list[Built]:
    """Build shards on Beam; returns when all were tried.

    Args:
        out: folder of the dataset, which holds the plan.
        shards: numbers of the shards to build.
        engine: the runner and its options.
        done: counts the shards that are published now.
        progress: told (done, total) every POLL_S seconds.

    Returns:
        The shards that failed by a mistake of ours, with tracebacks; [] when all were built.

    Raises:
        EngineError: the engine itself failed.
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
        log = f"; what the workers said is in {out.name}/{WORKER_LOG}" if engine.workers > 1 else ""
        raise EngineError(f"the Beam runner failed: {type(run.error).__name__}: {run.error}{log}") from run.error
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
            with beam.Pipeline(
                runner=self.engine.runner(self.out / WORKER_LOG), options=self.engine.pipeline_options()
            ) as pipeline:
                built = (
                    pipeline
                    | "shards" >> beam.Create(list(self.shards))
                    | BuildShards(str(self.out), self.engine.workers)
                )
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
