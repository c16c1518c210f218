"""The Flink job: free readers take shard numbers, and a builder builds each shard.

Runs in Flink's Python (PyFlink); of landweave it imports only `pipelines.durable`, which needs nothing but the standard
library. `deploy.flink.submit` writes its work list and starts it.

Each slot is a chain source -> build, without exchange between slots: a lost slot loses only the shards it was building,
and Flink transports only shard numbers. Building is idempotent (a published shard does not change), so Flink's
at-least-once restart gives each shard exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pyflink.common import Configuration, Types, WatermarkStrategy  # type: ignore[import-not-found]
from pyflink.datastream import MapFunction, RuntimeExecutionMode, StreamExecutionEnvironment  # type: ignore[import-not-found]
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat  # type: ignore[import-not-found]

TRIES = 3
"""Attempts per shard: how often its builder may die (killed, out of memory, over its deadline)."""
LAST_WORDS_BYTES = 4000
"""Bytes of a dead builder's log that are kept with its shard."""


class BuilderDiedError(RuntimeError):
    """A builder ended, or did not answer in time; the text says so and ends with its last words."""


class RefusedError(RuntimeError):
    """A builder says that nothing can be built here, and why."""


@dataclass(frozen=True)
class Settings:
    """Settings of a worker."""

    builder: list[str]
    """Command that builds the shards whose numbers it reads: see deploy/flink/builder.py."""
    checkout: str
    """Folder that the builder imports the factory from."""
    results: str
    """Folder that takes failures/NUMBER.txt, a text for each shard that could not be built, and refused.txt."""
    start_s: float
    """Time limit for the start of a builder, seconds."""
    deadline_s: float
    """Time limit for one shard, seconds."""


class Builder:
    """A builder process: one shard at a time, killed when it is late."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.rest = b""
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "_PYTHON", "BEAM_", "FLINK_"))
        }
        self.process = subprocess.Popen(  # noqa: S603 - the command the operator configured
            settings.builder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=settings.checkout,
            env={**environment, "PYTHONPATH": settings.checkout},
        )
        ready = self._answer(settings.start_s)
        if "refused" in ready:
            self.close()
            raise RefusedError(ready["refused"])

    def build(self, shard: int) -> str | None:
        """Build one shard; returns the traceback of a mistake, or None."""
        assert self.process.stdin is not None  # noqa: S101 - a pipe, above
        try:
            self.process.stdin.write(b"%d\n" % shard)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise BuilderDiedError(self._last_words("ended")) from None
        error: str | None = self._answer(self.settings.deadline_s)["error"]
        return error

    def close(self) -> None:
        """End the builder."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line, as JSON."""
        assert self.process.stdout is not None  # noqa: S101 - a pipe, above
        handle, deadline = self.process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self.rest:
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BuilderDiedError(self._last_words(f"gave no answer for {seconds:g} s"))
            received = os.read(handle, 1 << 16)
            if not received:
                raise BuilderDiedError(self._last_words("ended"))
            self.rest += received
        line, _, self.rest = self.rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self, what: str) -> str:
        self.process.kill()
        status = self.process.wait()
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
        return f"the builder {what} (exit status {status})\n{self.log.read().decode(errors='replace')}".rstrip()


class BuildShard(MapFunction):  # type: ignore[misc] # pyflink has no types
    """Shard number -> a line for the worker's log. What fails becomes a file, and does not hold the others."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.builder: Builder | None = None

    def map(self, value: str) -> str:
        """Build one shard, with a new builder where the last one died."""
        shard, error, start = int(value), None, time.monotonic()
        for tries in range(1, TRIES + 1):
            try:
                error = self._ready().build(shard)
                break
            except BuilderDiedError as died:
                self.close()
                error = f"shard {shard}: {died} ({tries} of {TRIES} tries)"
        if error is not None:
            self._keep(f"failures/{shard}.txt", error)
        return f"shard {shard} {'failed' if error else 'done'} after {time.monotonic() - start:.1f} s"

    def close(self) -> None:
        """End the builder."""
        if self.builder is not None:
            self.builder.close()
            self.builder = None

    def _ready(self) -> Builder:
        if self.builder is None:
            try:
                self.builder = Builder(self.settings)
            except RefusedError as refused:
                self._keep("refused.txt", str(refused))
                raise
        return self.builder

    def _keep(self, name: str, text: str) -> None:
        """Write a file of the results: completely or not at all, even if other workers write it too."""
        if self.settings.checkout not in sys.path:
            sys.path.append(self.settings.checkout)
        from pipelines.durable import write_durably

        write_durably(Path(self.settings.results) / name, text)


def main(arguments: list[str]) -> None:
    """Submit the job: work list, settings (JSON), parallelism, name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True, help="folder of text files with shard numbers, one per line")
    parser.add_argument("--settings", type=Path, required=True, help="JSON of `Settings`")
    parser.add_argument("--parallelism", type=int, required=True)
    parser.add_argument("--name", required=True)
    asked = parser.parse_args(arguments)
    settings = Settings(**json.loads(asked.settings.read_text()))
    environment = StreamExecutionEnvironment.get_execution_environment(Configuration())
    environment.set_runtime_mode(RuntimeExecutionMode.BATCH)
    environment.set_parallelism(asked.parallelism)
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), asked.work).build()
    shards = environment.from_source(source, WatermarkStrategy.no_watermarks(), "shards")
    shards.map(BuildShard(settings), Types.STRING()).name("build").print().name("log")
    environment.execute_async(asked.name)


if __name__ == "__main__":
    main(sys.argv[1:])
