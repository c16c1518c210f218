"""Builds a planned dataset: passes the missing shards to the engine, and watches."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineState, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from pipelines.engines import LOCAL
from pipelines.passes import named
from pipelines.shards import address_of, arrive, staging
from pipelines.shards.desk import is_url, store_of
from pipelines.stages.shards import BuildShards, fill_queue
from pipelines.tables import WORK_FOLDER
from pipelines.worker import Built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from apache_beam.runners.runner import PipelineResult, PipelineRunner

    from pipelines.engines import Engine

POLL_S = 0.5
"""Interval of checks for finished shards, seconds."""

WORKER_LOG = f"{WORK_FOLDER}/workers.log"
"""File for the output of worker processes, in the dataset's folder."""

CHECKOUT = Path(__file__).resolve().parents[1]
"""Root of the checkout: workers import the factory from here."""


class EngineError(RuntimeError):
    """The engine failed; the text says why."""


def run_shards(out: Path, shards: Sequence[int], engine: Engine, watch: Callable[[], None]) -> list[Built]:
    """Build shards on Beam; returns when all were tried.

    Args:
        out: folder of the dataset, which holds the plan.
        shards: numbers of the shards to build.
        engine: the runner and its options.
        watch: called every POLL_S seconds while it goes on, and once at the end.

    Returns:
        The shards that failed, with tracebacks; [] when all were built.

    Raises:
        EngineError: the engine itself failed.
    """
    local = engine.beam == LOCAL and not engine.command
    aside = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # interrupted, workers may write there still
    with staging(out.resolve(), "run") as shared, aside as here:
        # What failed because the dataset's disk is full would not find room on it.
        failures = (Path(here) if local else shared) / "failures"
        failures.mkdir()
        run = _Command(out, shards, engine, failures) if engine.command else _Beam(out, shards, engine, failures)
        thread = threading.Thread(target=run, name="engine", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                watch()
        finally:
            run.stop()
        if run.error is not None:
            raise run.error
        _fetch_failures(out, failures)
        return sorted((_read_failure(path) for path in failures.iterdir()), key=lambda built: built.shard)


class _Beam:
    """The Beam pipeline, in its own thread so that the main thread can watch and be interrupted."""

    def __init__(self, out: Path, shards: Sequence[int], engine: Engine, failures: Path) -> None:
        self.out, self.engine = out, engine
        self.error: EngineError | None = None
        _checkout_on_path()
        logging.getLogger("apache_beam").setLevel(logging.ERROR)
        try:
            self.pipeline = beam.Pipeline(runner=beam_runner(engine, out / WORKER_LOG), options=beam_options(engine))
        except ValueError as error:  # options that are missing or wrong
            raise EngineError(f"{engine.beam} cannot be started: {' '.join(str(error).split())}") from None
        place = str(out) if engine.beam == LOCAL else address_of(out)
        queue = failures.with_name("queue") if engine.beam == LOCAL else None
        if queue is not None:
            fill_queue(queue, shards)
        build = BuildShards(place, engine.workers, None if queue is None else str(queue))
        built = self.pipeline | "shards" >> beam.Create(list(shards)) | build
        failed = built | "failed" >> beam.Filter(lambda b: b.error is not None)
        _ = failed | "keep" >> beam.Map(_write_failure, str(failures), place)
        self.result: PipelineResult | None = None
        if engine.beam != LOCAL:  # starts a job server, which only the main thread may; FnApiRunner runs to the end
            with self._told():
                self.result = self.pipeline.run()

    def __call__(self) -> None:
        if self.error is None:
            with self._told():
                (self.result or self.pipeline.run()).wait_until_finish()

    def stop(self) -> None:
        """Cancel what is under way elsewhere; local workers end with this process."""
        if self.result is not None and not PipelineState.is_terminal(self.result.state):
            self.result.cancel()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self._keep(f"{type(error).__name__}: {error}")

    def _keep(self, words: str) -> None:
        """The last line, which names the cause, for the user; the rest, tracebacks of workers, for the log."""
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        log = ""
        if len(lines) > 1 or self.engine.workers > 1:
            with (self.out / WORKER_LOG).open("a") as file:
                file.write(f"{words}\n")
            log = f"; the full output is in {named(self.out)}/{WORKER_LOG}"
        self.error = EngineError(f"the Beam runner failed: {lines[-1]}{log}")


def beam_runner(engine: Engine, log: Path) -> PipelineRunner:
    """Beam's runner of an engine; `log` takes what local worker processes print."""
    if engine.beam != LOCAL:
        return create_runner(engine.beam)
    if engine.workers == 1:
        return FnApiRunner()
    worker = [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"]
    # Ctrl-C reaches them too: deaf to it they end with this process, and Beam has no traceback of theirs to tell
    command = f"trap '' INT; exec {shlex.join(worker)} >>{shlex.quote(str(log))} 2>&1"
    return FnApiRunner(default_environment=SubprocessSDKEnvironment.from_command_string(command))


def beam_options(engine: Engine) -> PipelineOptions:
    """Beam's options of an engine."""
    local = [f"--direct_num_workers={engine.workers}"] if engine.beam == LOCAL else []
    return PipelineOptions([*local, *engine.options], save_main_session=False)


class _Command:
    """An engine that is a separate program, such as deploy/flink/submit.py."""

    def __init__(self, out: Path, shards: Sequence[int], engine: Engine, failures: Path) -> None:
        self.error: EngineError | None = None
        work = failures.with_name("shards.txt")
        work.write_text("".join(f"{shard}\n" for shard in shards))
        program = [sys.executable if part == "python" else part for part in engine.command]
        places = [str(out.resolve()), str(work), str(failures)]
        try:
            self.process = subprocess.Popen(  # noqa: S603 - the runner file's own command
                [*program, *places, *engine.options], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            why = f"{engine.command[0]}: {error.strerror}; mend `command` in the runner file"
            raise EngineError(f"the runner cannot be started: {why}") from None

    def __call__(self) -> None:
        _, output = self.process.communicate()
        if self.process.returncode:
            lines = output.strip().splitlines() or [f"it ended with exit status {self.process.returncode}"]
            self.error = EngineError(lines[-1])

    def stop(self) -> None:
        """Have the program cancel what it has under way."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def _checkout_on_path() -> None:
    """Worker processes find the factory where this process found it."""
    known = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    if str(CHECKOUT) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *known])


def _write_failure(built: Built, folder: str, place: str) -> None:
    """Keep what failed where the submitter finds it: in his folder, or in the store where workers have none."""
    path, text = Path(folder) / f"{built.shard}.txt", built.error or ""
    store = store_of(arrive(place)) if is_url(place) else None
    if store is None:
        path.write_text(text)
    else:
        store.put(_kept(path.parent, path.name), text.encode())


def _fetch_failures(out: Path, folder: Path) -> None:
    """Bring what `_write_failure` left in the store."""
    store = store_of(out)
    if store is None:
        return
    for path in store.sizes(_kept(folder)):
        (folder / Path(path).name).write_bytes(store.get(path) or b"")
        store.delete(path)


def _kept(failures: Path, name: str = "") -> str:
    """Path of a run's failures in a store, until they are fetched."""
    return f".failures/{failures.parent.name}/{name}"


def _read_failure(path: Path) -> Built:
    return Built(int(path.stem), error=path.read_text())
