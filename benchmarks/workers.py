"""One reading process per method; it runs all jobs of the method, so that times exclude imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class WorkerFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """A method could not do a job: its package is not there, or it failed."""


class Worker:
    """A process that takes jobs as lines of JSON."""

    def __init__(self, *command: str, environment: dict[str, str] | None = None) -> None:
        """Start `command`; `environment` is added to this process's own."""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do a job.

        Raises:
            WorkerFailed: with the last line that the process wrote.
        """
        assert self._process.stdin is not None  # noqa: S101 - asked for
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise WorkerFailed((self._errors.read().strip().splitlines() or ["no word"])[-1])
        answer: dict[str, Any] = json.loads(line)
        return answer


OWN_ENVIRONMENT = ("stackstac", "rslearn")
"""Methods whose packages do not go with ours: stackstac wants pandas below 3, rslearn pins much."""


def worker(method: str, peer_python: str | None = None) -> Worker:
    """The process of a method; those of OWN_ENVIRONMENT run under `peer_python` where it is given.

    Methods: 'landweave', 'limit', or a name of `benchmarks.peers`, with ' cold' (GDAL forgets between requests what it
    knew of a file, as where each load runs in its own process) or ' pool=N' (N threads a load).
    """
    if method in ("landweave", "limit"):
        return Worker(sys.executable, "-m", f"benchmarks.{'ours' if method == 'landweave' else method}")
    name, *options = method.split(" ")
    environment = {"BENCHMARK_POOL": "0"}
    for option in options:
        if option == "cold":
            environment["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/http:"
        else:
            environment["BENCHMARK_POOL"] = option.removeprefix("pool=")
    python = peer_python if name in OWN_ENVIRONMENT and peer_python else sys.executable
    return Worker(python, str(ROOT / "benchmarks" / "peers.py"), name, environment=environment)
