"""A worker's log: one JSON object per line, with the ids of the run, the shard and, if there is one, the sample."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import structlog

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "LANDWEAVE_LOG"
"""Environment variable: 'stderr' sends the log there (containers), anything else leaves it in the run's folder."""


def silent() -> Any:
    """A logger that keeps nothing: for builds that belong to no run."""
    return structlog.wrap_logger(None, processors=[_drop], wrapper_class=structlog.BoundLogger)


def log_of(folder: Path, run: str) -> Any:
    """A logger that writes `<folder>/log-<host>-<pid>.jsonl`, or to standard error where $LANDWEAVE_LOG says so.

    Values are data: they are written as JSON strings, so that no text from outside can make its own line.
    """
    return structlog.wrap_logger(
        structlog.WriteLogger(_target(folder)),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.BoundLogger,
    ).bind(run=run)


def _drop(*_: Any) -> NoReturn:
    raise structlog.DropEvent


def _target(folder: Path) -> TextIO:
    if os.environ.get(TARGET) == "stderr":
        return sys.stderr
    return (folder / f"log-{socket.gethostname()}-{os.getpid()}.jsonl").open("a", buffering=1, encoding="utf-8")
