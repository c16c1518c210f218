"""Texts of a file, by sample: data that nobody interprets, with limits on their length and characters."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from sampling.errors import SamplingError
from sampling.frames import rows_of
from schemas.texts import MOST_TEXT_BYTES, MOST_TEXTS, ColumnCaptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sampling.located import Located
    from schemas.texts import FileCaptions, GivenCaptions

_LAYOUT = "\n\t"
"""Control characters that a text may have."""
_HIDDEN = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Characters that change the order in which a text is shown, so that it reads otherwise than it is."""
_LONGEST_LINE = 8_388_608
"""Bytes of a line of JSON."""


def texts_of(
    captions: GivenCaptions, located: Located, points: str | None, recipe_dir: Path
) -> Iterator[tuple[int, list[str]]]:
    """(number of a sample, texts of it in the order of the file); a sample may come several times, or never.

    Args:
        captions: the recipe's section.
        located: the samples.
        points: file that the samples come from, as the recipe names it.
        recipe_dir: folder of the recipe.

    Raises:
        SamplingError: the file, a column or a text cannot be used; names the row.
    """
    if isinstance(captions, ColumnCaptions):
        if points is None:
            raise SamplingError(f"captions.column {captions.column!r}: the samples come from no file")
        yield from _of_column(captions.column, located, points, recipe_dir)
        return
    names = located.names(located.key)
    numbers = {name: number for number, name in enumerate(names)}
    for name, value, where in _by_id(captions, recipe_dir):
        number = numbers.get(str(name))
        if number is not None:
            yield number, checked_texts(value, captions.file, where, captions.column)


def _of_column(column: str, located: Located, points: str, recipe_dir: Path) -> Iterator[tuple[int, list[str]]]:
    order = np.argsort(located.key[:, 0], kind="stable")
    rows = located.key[order, 0]
    for part in rows_of(points, recipe_dir, (column,), shapes=False):
        low, high = np.searchsorted(rows, [part.first, part.first + len(part.where)]).tolist()
        for sample, row in zip(order[low:high].tolist(), rows[low:high].tolist(), strict=True):
            at = int(row) - part.first
            yield sample, checked_texts(part.columns[column][at], points, part.where[at], column)


def _by_id(captions: FileCaptions, recipe_dir: Path) -> Iterator[tuple[Any, Any, str]]:
    """(sample id, value, where it stands)."""
    path = recipe_dir / captions.file
    if not path.is_file():
        raise SamplingError(f"{captions.file!r} (captions.file) does not exist; its path is relative to the recipe")
    if path.suffix.lower() == ".jsonl":
        yield from _lines(captions, path)
        return
    for part in rows_of(captions.file, recipe_dir, (captions.id, captions.column), shapes=False):
        columns = (part.columns[captions.id], part.columns[captions.column])
        for i, (name, value) in enumerate(zip(*columns, strict=True)):
            yield name, value, part.where[i]


def _lines(captions: FileCaptions, path: Path) -> Iterator[tuple[Any, Any, str]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            where = f"line {number}"
            if len(line) > _LONGEST_LINE:
                raise SamplingError(f"{captions.file!r}, {where}: is longer than {_LONGEST_LINE:,} bytes")
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise SamplingError(f"{captions.file!r}, {where}: is not JSON") from None
            if not isinstance(row, dict) or captions.id not in row or captions.column not in row:
                raise SamplingError(
                    f"{captions.file!r}, {where}: expected an object with the keys {captions.id!r} and "
                    f"{captions.column!r} (captions.id, captions.column)"
                )
            yield row[captions.id], row[captions.column], where


def checked_texts(value: Any, file: str, where: str, column: str) -> list[str]:
    """The texts of a cell: one, several of a list, or none.

    Raises:
        SamplingError: one is no text, too long, or has characters that a caption must not have.
    """
    given: Sequence[Any] = value if isinstance(value, list) else [value]
    found = []
    for text in given:
        if text is None or (isinstance(text, str) and not text.strip()):
            continue
        wrong = _wrong_with(text)
        if wrong is not None:
            raise SamplingError(f"{file!r}, {where}: {column} {wrong}")
        found.append(text.strip())
    if len(found) > MOST_TEXTS:
        raise SamplingError(f"{file!r}, {where}: {column} has {len(found)} texts; at most {MOST_TEXTS} are allowed")
    return found


def _wrong_with(text: Any) -> str | None:
    if not isinstance(text, str):
        return f"is {ascii(text)[:40]}, expected a text or a list of texts"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if size > MOST_TEXT_BYTES:
        return f"has {size:,} bytes of text; at most {MOST_TEXT_BYTES:,} are allowed"
    bad = next((c for c in text if c in _HIDDEN or (unicodedata.category(c) == "Cc" and c not in _LAYOUT)), None)
    return None if bad is None else f"has the control character U+{ord(bad):04X}; remove it"
