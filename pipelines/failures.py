"""What a command prints when it fails: one line for a user's mistake, a refusing archive, or too little memory."""

from __future__ import annotations

import errno
import os
import resource
import sys
from typing import NoReturn

import typer

from pipelines.recipes import RecipeError

OK, ERROR, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes: done; failed; wrong command line (typer's own); planned or built, but a whole layer is empty or an
archive did not deliver something; stopped by the user."""
LEAST_BYTES = 2 << 30
"""Address space without which no command is begun, bytes: Arrow reserves 1 GiB of it, and ends the process by a signal
where none is left for its threads."""
BUILD_BYTES = 4 << 30
"""Address space that a build's process maps, bytes: the quick start ends well with 3.5 GB and not with 3."""


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Prints a line; text from archives, maps and files is made safe for a terminal first."""
    from landweave.plain import printable

    typer.echo(printable(text, lines=True), err=err, nl=nl)


class one_line_errors:  # noqa: N801 - reads as a statement
    """Turns a user's mistake, a refusing archive and too little memory into one line; a bug keeps its traceback."""

    def __enter__(self) -> None:
        check_address_space(LEAST_BYTES)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.stderr.write("\ninterrupted; finished shards are kept: run the same command again to continue\n")
            sys.stderr.flush()
            os._exit(INTERRUPTED)  # Beam's worker threads would hold the process
        if isinstance(error, RecipeError):
            for line in error.lines:
                echo(f"error: {line}", err=True)
            raise typer.Exit(ERROR)
        if error is not None and is_out_of_memory(error):
            stop(ERROR, f"error: {memory_text()}")
        if isinstance(error, _expected()):
            stop(ERROR, f"error: {error}")


def check_address_space(least_bytes: int) -> None:
    """Refuse a limit under which libraries would end the process instead of raising."""
    limit = _address_space()
    if limit is not None and limit < least_bytes:
        stop(ERROR, f"error: {memory_text()}")


def _address_space() -> int | None:
    """The soft limit that `ulimit -v` sets, bytes; None = unlimited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def is_out_of_memory(error: BaseException) -> bool:
    """True if memory ran out; also if a library could not be loaded or a thread could not start for this reason."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    if _address_space() is None:
        return False
    words = ("failed to map", "cannot allocate memory", "can't start new thread", "without exception set")
    return isinstance(error, ImportError | RuntimeError | SystemError) and any(w in str(error).lower() for w in words)


def memory_text() -> str:
    """The line about too little memory, with what a command needs."""
    limit = _address_space()
    said = "" if limit is None else f" under `ulimit -v {limit >> 10}`"
    return (
        f"not enough memory{said}: a process of a build needs {BUILD_BYTES >> 10} kB of address space, more for "
        f"large shards, other commands {LEAST_BYTES >> 10}; raise the limit (`ulimit -v unlimited`), or use fewer "
        "--workers or smaller shards"
    )


def _expected() -> tuple[type[Exception], ...]:
    """Errors whose message is written for users."""
    from pipelines.access.holdings import NotHeldError
    from pipelines.access.http.client import AccessError, SettingError
    from pipelines.access.openstreetmap.extract import BadExtractError
    from pipelines.captions.prompts import PromptError
    from pipelines.engines import RunnerError
    from pipelines.fusion.families import FusionError
    from pipelines.jobs import BuildError
    from pipelines.journal import JournalError, PricesError
    from pipelines.metrics import PortError
    from pipelines.shards import (
        AddError,
        DamagedError,
        FullError,
        IncompleteError,
        LandweaveError,
        OtherDatasetError,
        StoreError,
    )
    from pipelines.tables import PlanError
    from pipelines.texts.errors import TextsError
    from sampling import SamplingError

    known = (
        AddError,
        AccessError,
        BadExtractError,
        BuildError,
        FusionError,
        DamagedError,
        FullError,
        IncompleteError,
        LandweaveError,
        NotHeldError,
        JournalError,
        OtherDatasetError,
        PlanError,
        PortError,
        PricesError,
        PromptError,
        RunnerError,
        SamplingError,
        TextsError,
    )
    return (*known, StoreError, SettingError, *_engine_errors())


def _engine_errors() -> tuple[type[Exception], ...]:
    """Beam's failures, if Beam was needed."""
    build = sys.modules.get("pipelines.build")
    return () if build is None else (build.EngineError,)


def stop(code: int, message: str) -> NoReturn:
    """Print a message to standard error and end the command."""
    echo(message, err=True)
    raise typer.Exit(code)
