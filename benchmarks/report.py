"""Prints what a benchmark found: one row after the other, and last what was met and missed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def print_row(row: Mapping[str, Any], *, as_json: bool, digits: int = 4) -> None:
    """One row: an object of JSON, or its values after their names, numbers with some significant digits."""
    words = (
        f"{key} {value:.{digits}g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
    )
    print(json.dumps(row) if as_json else "  ".join(words), flush=True)


def print_goals(said: Mapping[str, Sequence[str]], *, as_json: bool) -> None:
    """The summary: kind ('met', 'missed', 'unjudged') -> lines."""
    if as_json:
        print(json.dumps({"summary": True, **said}))
        return
    for kind, lines in said.items():
        print(f"\n{kind}:", *lines, sep="\n  ")
