"""Builds listed shards of a planned dataset on a Flink cluster: submits, watches, cancels when interrupted.

    python -m deploy.flink.submit data/mine work.txt failures/ --flink-master 10.0.0.7:8081 --parallelism 64

The dataset's folder, the checkout and both Pythons are at the same paths on every host: one image, one shared file
system. Exit status: 0 if every shard was tried (the folder of failures lists the failed ones), else 1 with one line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.flink.builder import CHECKOUT, code_version
from deploy.flink.install import InstallError, cache_folder, install_flink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.flink.install import Flink

POLL_S = 0.5
"""Interval of status requests to the job, seconds."""
LOST_S = 120.0
"""Time that the jobmanager may be unreachable (restarting) before the submission fails, seconds."""
MOST_FILES = 4096
"""Files of the work list at most: beyond, several shards share a file and are taken by one reader together."""
FLINK_SETTINGS = {
    # One shard a bundle: the next is taken when the last is built, so that slow shards do not hold others behind them.
    "python.fn-execution.bundle.size": "1",
    # A reader that runs ahead would keep shards from idle ones.
    "source.reader.element.queue.capacity": "1",
    "pipeline.object-reuse": "true",
    # Lost hosts are ordinary, a job that only fails is not: more than 30 restarts in 10 minutes end it.
    "restart-strategy.type": "failure-rate",
    "restart-strategy.failure-rate.max-failures-per-interval": "30",
    "restart-strategy.failure-rate.failure-rate-interval": "10 min",
    "restart-strategy.failure-rate.delay": "1 s",
}
"""Settings of the job; `--flink-config` adds to them and wins."""
ENDED = {"FINISHED", "FAILED", "CANCELED"}
UNREACHABLE = (urllib.error.URLError, ConnectionError, TimeoutError)


class SubmitError(RuntimeError):
    """The job was not accepted, was refused by a worker or failed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Settings of a build on a Flink cluster."""

    master: str
    """host:port of the jobmanager's REST interface."""
    parallelism: int
    """Shards built at a time; needs as many slots."""
    builder: Sequence[str]
    """Command that builds the shards whose numbers it reads (deploy/flink/builder.py)."""
    deadline_s: float = 7200.0
    """Time limit for one shard, seconds."""
    start_s: float = 300.0
    """Time limit for the start of a builder, seconds."""
    config: Sequence[str] = ()
    """More settings of Flink, as key=value."""


def run(flink: Flink, submission: Submission, shards: Sequence[int], out: Path, failures: Path) -> None:
    """Build shards; returns when all were tried.

    Args:
        flink: the installed Flink, for its client.
        submission: where and how.
        shards: numbers of the shards.
        out: folder of the dataset, on a file system that all hosts share.
        failures: takes NUMBER.txt for each shard that could not be built.

    Raises:
        SubmitError: the job was not accepted, was refused by a worker, or failed.
    """
    _check_cluster(flink, submission.master)
    staging = out / ".staging"
    staging.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="flink-", dir=staging) as name:
        folder = Path(name)
        (folder / "failures").mkdir()
        _write_work(folder / "work", shards)
        job = _submit(flink, submission, folder, out.name)
        try:
            _watch(submission.master, job, folder)
        finally:
            for path in (folder / "failures").glob("*.txt"):
                shutil.move(path, failures / path.name)


def _check_cluster(flink: Flink, master: str) -> None:
    """Say at once what Flink's client would say after a minute, or in a page."""
    try:
        version = _ask(master, "/overview")["flink-version"]
    except UNREACHABLE as error:
        reason = getattr(error, "reason", error)
        raise SubmitError(f"no Flink answers at {master} ({reason}); is --flink-master its REST address?") from None
    if not list((flink.home / "lib").glob(f"flink-dist*-{version}.jar")):
        raise SubmitError(
            f"Flink at {master} is {version}, but the client here has another version: install the same on both sides"
        )


def _write_work(folder: Path, shards: Sequence[int]) -> None:
    folder.mkdir()
    together = -(-len(shards) // MOST_FILES)
    for start in range(0, len(shards), together):
        lines = "".join(f"{shard}\n" for shard in shards[start : start + together])
        (folder / f"{shards[start]}.txt").write_text(lines)


def _submit(flink: Flink, submission: Submission, folder: Path, name: str) -> str:
    """Hand the job to the jobmanager; returns its id."""
    settings = {
        "builder": list(submission.builder),
        "checkout": str(CHECKOUT),
        "results": str(folder),
        "start_s": submission.start_s,
        "deadline_s": submission.deadline_s,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    config = [f"-D{k}={v}" for k, v in FLINK_SETTINGS.items()] + [f"-D{x}" for x in submission.config]
    python = str(flink.python)
    command = [str(flink.home / "bin" / "flink"), "run", "--detached", "--jobmanager", submission.master, *config]
    command += ["--pyClientExecutable", python, "--pyExecutable", python]
    command += ["--python", str(Path(__file__).with_name("job.py")), "--work", str(folder / "work")]
    command += ["--settings", str(folder / "settings.json"), "--name", f"landweave {name}"]
    command += ["--parallelism", str(submission.parallelism)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"FLINK_LOG_DIR": str(folder)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"JobID ([0-9a-f]{32})", result.stdout)
    if result.returncode or found is None:
        raise SubmitError(
            f"Flink at {submission.master} did not accept the job: {_cause(result.stderr + result.stdout)}"
        )
    return found[1]


def _watch(master: str, job: str, folder: Path) -> None:
    """Wait for the job's end; cancel it when a worker refuses, or when we are interrupted."""
    try:
        state = _await_end(master, job, folder / "refused.txt")
    except BaseException:
        with contextlib.suppress(*UNREACHABLE):
            _cancel(master, job)
        raise
    if state != "FINISHED":
        failure = _ask(master, f"/jobs/{job}/exceptions")
        history = failure.get("exceptionHistory", {}).get("entries", [])
        cause = failure.get("root-exception") or next((entry.get("stacktrace") or "" for entry in history), "")
        raise SubmitError(f"the Flink job {state.lower()}: {_cause(cause)}")


def _await_end(master: str, job: str, refused: Path) -> str:
    """The state in which the job ended."""
    seen = time.monotonic()
    while True:
        try:
            state: str = _ask(master, f"/jobs/{job}")["state"]
            seen = time.monotonic()
        except UNREACHABLE as error:
            if time.monotonic() - seen > LOST_S:
                raise SubmitError(f"Flink at {master} has not answered for {LOST_S:g} s: {error}") from None
            state = "UNKNOWN"
        if refused.exists():
            raise SubmitError(refused.read_text())
        if state in ENDED:
            return state
        time.sleep(POLL_S)


def _cancel(master: str, job: str) -> None:
    """End the job and wait until its workers let go of the dataset."""
    request = urllib.request.Request(f"http://{master}/jobs/{job}", method="PATCH")
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - http, above
        pass
    deadline = time.monotonic() + LOST_S
    while _ask(master, f"/jobs/{job}")["state"] not in ENDED and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _ask(master: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://{master}{path}", timeout=10) as response:
        return json.load(response)


def _cause(trace: str) -> str:
    """The innermost cause of a Java trace, in one line."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    return (causes[-1] if causes else lines[0]) if lines else "it gave no reason; see the jobmanager's log"


def main() -> int:
    """Submit what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m deploy.flink.submit", description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of a planned dataset, shared by all hosts")
    parser.add_argument("work", type=Path, help="text file with the numbers of the shards to build, one per line")
    parser.add_argument("failures", type=Path, help="folder for a file NUMBER.txt per shard that could not be built")
    parser.add_argument("--flink-master", default="127.0.0.1:8081", help="host:port of the jobmanager")
    parser.add_argument(
        "--parallelism", type=int, default=1, help="number of shards built in parallel; needs as many slots"
    )
    parser.add_argument("--shard-deadline-s", type=float, default=7200.0, help="time limit of one shard")
    parser.add_argument("--factory-python", default=sys.executable, help="the Python of the pipelines on the workers")
    parser.add_argument("--flink-config", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache_folder(),
        help="folder in which Flink's client is installed (it is installed if missing)",
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = asked.dataset.resolve()
    builder = [asked.factory_python, "-m", "deploy.flink.builder", str(out), "--code", code_version()]
    submission = Submission(
        master=asked.flink_master,
        parallelism=asked.parallelism,
        builder=[*builder, "--workers", str(asked.parallelism)],
        deadline_s=asked.shard_deadline_s,
        config=asked.flink_config,
    )
    try:
        shards = [int(line) for line in asked.work.read_text().split()]
        run(install_flink(asked.cache.resolve()), submission, shards, out, asked.failures)
    except (InstallError, SubmitError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the Flink job was cancelled\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
