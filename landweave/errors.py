"""Errors of the reader, each with a message of one clear line.

::

    LandweaveError                every error below, so that one `except` is enough
    ├── NotADatasetError          there are no files of landweave
    │   └── UnfinishedError       a build is running or was interrupted: shards, but no landweave.json
    ├── LayoutError               written in a layout that this version cannot read
    ├── UnknownNameError          no such sample, modality, array, column (also a KeyError)
    ├── AbsentError               the sample has no such observation (also a KeyError)
    ├── CorruptError              bytes are missing, truncated, changed or disagree with their manifest
    ├── AccessError               the place could not be reached: network, credentials, permissions
    ├── ExportError               an export failed: format, library, folder
    └── QueryError                an invalid query: bad syntax, wrong type (also a ValueError)
"""

from __future__ import annotations

import difflib
import importlib
import operator
from typing import TYPE_CHECKING, Any

from landweave.plain import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


class LandweaveError(Exception):
    """Every error of the reader."""

    def __str__(self) -> str:
        """The message, without KeyError's quotes; safe to show, although it may contain names from data."""
        return printable(self.args[0], lines=True) if self.args else ""


class NotADatasetError(LandweaveError):
    """Nothing that landweave wrote is at the path or URL."""


class UnfinishedError(NotADatasetError):
    """A dataset is being built there, or its build was interrupted: `landweave.json` is written last."""


class LayoutError(LandweaveError):
    """The dataset's layout version is not one that this reader knows."""


class UnknownNameError(LandweaveError, KeyError):
    """A sample, modality, array or column of that name does not exist in the dataset."""


class AbsentError(LandweaveError, KeyError):
    """The sample exists but has no such observation; the ledger has the reason."""


class CorruptError(LandweaveError):
    """Bytes are missing, truncated or changed, or two files of the dataset disagree."""


class AccessError(LandweaveError):
    """The dataset's place could not be reached."""


class QueryError(LandweaveError, ValueError):
    """A query that cannot be parsed or does not match the columns."""


class ExportError(LandweaveError):
    """An export failed: unknown format, missing library, existing folder."""


def first_line(error: BaseException) -> str:
    """The message of an error of another library, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_MANY = 10_000
"""With more names than this, no nearest name is searched, because it would take seconds."""


def near(name: Any, names: Iterable[str], most: int = 5) -> str:
    """Suggestions for a misspelt `name`: names that contain it, then the most similar ones."""
    asked, known = str(name).lower(), list(names)
    holding = [n for n in known if asked and asked in n.lower()]
    alike = difflib.get_close_matches(asked, [n.lower() for n in known], n=most, cutoff=0.6)
    spelt = [n for like in alike for n in known if n.lower() == like]
    return ", ".join(repr(n) for n in list(dict.fromkeys([*spelt[:1], *holding, *spelt]))[:most])


def unknown(what: str, name: Any, names: Iterable[str]) -> str:
    """One line about an unknown name: similar names, or all names."""
    known = list(names)
    meant = near(name, known) if len(known) <= _MANY else ""
    if len(known) <= 8:
        there = ", ".join(repr(n) for n in known) or "none"
        return f"no {what} {name!r}" + (f"; did you mean {meant}?" if meant else ";") + f" there are {there}"
    shown = meant or ", ".join(repr(n) for n in known[:8]) + ", ..."
    return f"no {what} {name!r}; " + (f"did you mean {shown}?" if meant else f"there are {len(known)}: {shown}")


def to_install(extra: str) -> str:
    """The command that installs an extra. No index has the name landweave: a stranger could register it."""
    return f"in a checkout of landweave, run pip install '.[{extra}]'"


def needed(module: str, extra: str, purpose: str) -> Any:
    """An optional library.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{purpose} needs {error.name}, which is not installed: {to_install(extra)}", name=error.name
        ) from error


def whole_number(name: str, value: Any, least: int = 0) -> int:
    """An integer setting; QueryError if it is not an integer, or below `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise QueryError(f"{name} must be an integer of at least {least}, got {value!r}")
    return number
