"""`python -m pipelines` as a user runs it, and the bytes that it leaves."""

from __future__ import annotations

import hashlib
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import testbed
from tests.forks import forks

CHECKOUT = Path(__file__).parents[2]
Tree = dict[str, str]
Done = subprocess.CompletedProcess[str]


def with_checkout() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def run(services: testbed.Services, *words: str | Path, fresh: bool = False, **variables: str | None) -> Done:
    """`python -m pipelines ...` in a process of its own, to its end.

    Args:
        services: the archives that the recipe names.
        words: the command and its arguments.
        fresh: start a new interpreter, as a user's shell does. Otherwise the process is forked from one that has
            read the libraries already, which saves three seconds of CPU time per command.
        variables: for the environment; None takes one away.
    """
    if fresh:
        started = start(services, *words, **variables)
        out, err = started.communicate(timeout=600)
        return Done(started.args, started.returncode, out, err)
    return forked(["pipelines", *map(str, words)], environment_of(services, variables), CHECKOUT)


def forked(words: list[str], environment: Mapping[str, str], folder: Path) -> Done:
    """`python -m MODULE ...`, or the file of Python that `words` begins with, in such a fork, to its end."""
    with tempfile.TemporaryDirectory() as kept:
        said = [Path(kept) / name for name in ("out", "err")]
        process = forks().Process(target=_become, args=(words, dict(environment), folder, said))
        process.start()
        process.join()
        out, err = (path.read_text() for path in said)
    return Done(words, process.exitcode or 0, out, err)


def environment_of(services: testbed.Services, variables: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment with the checkout, the archives and `variables`; None takes a variable away."""
    known = {**with_checkout(), "LANDWEAVE_TESTBED": services.base_url, **variables}
    return {name: value for name, value in known.items() if value is not None}


def start(services: testbed.Services, *words: str | Path, **variables: str | None) -> subprocess.Popen[str]:
    """`python -m pipelines ...` in a new interpreter and a process group of its own; does not wait."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", *map(str, words)],
        env=environment_of(services, variables),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
        start_new_session=True,
    )


def _become(words: list[str], environment: dict[str, str], folder: Path, said: list[Path]) -> None:
    """In the fork: become the command."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in zip((1, 2), said, strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = words
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
        return
    sys.modules.pop(f"{words[0]}.__main__", None)  # so that it runs anew, as the main module
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def tree_of(out: Path) -> Tree:
    """Every file of a dataset -> SHA-256; caches and locks of the build left aside."""
    aside = (".work", ".staging", ".lock")
    files = [p for p in sorted(out.rglob("*")) if p.is_file() and p.relative_to(out).parts[0] not in aside]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
