"""Columns of a points file that are copied to its samples: one type per column, every value checked.

Text is data: landweave never interprets it. GeoJSON and Parquet state the type of a value. In a CSV, a column has the
narrowest type that fits all its cells; digits that do not fit in int64 (a leading zero, too many digits) are a code,
and a column with a code is text.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sampling.errors import SamplingError
from sampling.times import moment_of
from schemas.attribute import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pyarrow as pa

    from schemas.attribute import AttributeType, AttributeValue

Kind = Literal["bool", "int64", "float64", "string", "code"]
_TELL: dict[Kind, str] = {
    "bool": "true/false",
    "int64": "an integer",
    "float64": "a number",
    "string": "text",
    "code": "text",
}
_TRUTH = {"true": True, "false": False}
_DIGITS = re.compile(r"[+-]?[0-9]+")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SHOWN = 40
"""Characters of a value, and names of columns, that a message shows."""


@dataclass(frozen=True, eq=False, slots=True)
class Attribute:
    """One column of a points file."""

    name: str
    """As the file names it."""
    kind: AttributeType
    """Type of its values."""
    values: pa.Array
    """(rows of the file,) of that type; null where the file has no value."""


def attributes_of(
    file: str, wanted: Iterable[str], columns: Mapping[str, Sequence[Any]], where: Sequence[str], *, typed: bool
) -> tuple[Attribute, ...]:
    """Columns by name, sorted.

    Args:
        file: the file as the recipe names it, for messages.
        wanted: names of columns.
        columns: all that the file has.
        where: how to find a row in the file: 'line 3'.
        typed: whether values say of what type they are; else they are the texts of cells, '' for none.

    Raises:
        SamplingError: no such column, values of more than one type, or one that cannot be carried.
    """
    import pyarrow as pa

    found = []
    for name in sorted(wanted):
        if name not in columns:
            raise SamplingError(f"{file!r} has no column {name!r} for sampling.attributes; it has {_names(columns)}")
        read = [_typed(v) if typed else _cell(v) for v in columns[name]]
        kind = _one_kind(file, name, [k for k, _ in read], columns[name], where, typed=typed)
        values = [v or None for v in columns[name]] if kind == "string" and not typed else [v for _, v in read]
        carried = []
        for value, at in zip(values, where, strict=True):
            try:
                carried.append(_carried(kind, value))
            except _RefusedError as error:
                raise SamplingError(f"{file!r}, {at}: attribute {name!r} {error}") from None
        found.append(Attribute(name, kind, pa.array(carried, pa.type_for_alias(kind))))
    return tuple(found)


def check_dates(file: str, columns: Iterable[Attribute], dates: Collection[str], where: Sequence[str]) -> None:
    """Values of the columns `dates`, which windows are around and labels are made for, must be dates, or absent.

    Raises:
        SamplingError: names the first that is none.
    """
    for column in (c for c in columns if c.name in dates):
        for value, at in zip(column.values.to_pylist(), where, strict=True):
            if value is not None and (isinstance(value, bool) or moment_of(str(value)) is None):
                raise SamplingError(
                    f"{file!r}, {at}: attribute {column.name!r} is {_shown(value)}, and the recipe takes it for a "
                    "date: expected a date (2021-06-30), or a date and time (2021-06-30T10:20:00Z)"
                )


def _typed(value: Any) -> tuple[Kind | str | None, Any]:
    """(kind, value); None if there is no value; the name of its type if it is not supported."""
    match value:
        case None:
            return None, None
        case bool():
            return "bool", value
        case int():
            return "int64", value
        case float():
            return (None, None) if math.isnan(value) else ("float64", value)
        case str() | dt.date():
            return "string", value if isinstance(value, str) else _date_text(value)
    return type(value).__name__, value


def _date_text(value: dt.date) -> str:
    """A date or a moment as text: ISO 8601, moments in UTC (where a file states no zone, its times are UTC)."""
    if not isinstance(value, dt.datetime):
        return value.isoformat()
    moment = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _cell(text: str) -> tuple[Kind | None, AttributeValue]:
    """Possible type of a CSV cell."""
    if not text:
        return None, None
    if text.lower() in _TRUTH:
        return "bool", _TRUTH[text.lower()]
    if _DIGITS.fullmatch(text):
        code = _LEADING_ZERO.fullmatch(text) or len(text) > 20 or not -(2**63) <= int(text) < 2**63
        return ("code", text) if code else ("int64", int(text))
    return ("float64", float(text)) if _NUMBER.fullmatch(text) else ("string", text)


def _one_kind(
    file: str, name: str, kinds: Sequence[Any], values: Sequence[Any], where: Sequence[str], *, typed: bool
) -> AttributeType:
    """The type of a column."""
    first = next((row for row, kind in enumerate(kinds) if kind is not None), None)
    if first is None:
        raise SamplingError(f"{file!r}: column {name!r} has no value in any row; remove it from sampling.attributes")
    strange = next((row for row, kind in enumerate(kinds) if kind is not None and kind not in _TELL), None)
    if strange is not None:
        raise SamplingError(
            f"{file!r}, {where[strange]}: attribute {name!r} is {_shown(values[strange])} (a {kinds[strange]}), "
            "expected true/false, a number or text"
        )
    kind = _common({k for k in kinds if k is not None}, typed=typed)
    if kind is not None:
        return kind
    other = next(row for row, k in enumerate(kinds) if k and _common({k, kinds[first]}, typed=typed) is None)
    raise SamplingError(
        f"{file!r}, {where[other]}: attribute {name!r} is {_shown(values[other])} ({_TELL[kinds[other]]}), in "
        f"{where[first]} it is {_shown(values[first])} ({_TELL[kinds[first]]}); a column has one type"
        + ("" if typed else " (leave a cell without a value empty; GeoJSON and Parquet allow a text column)")
    )


def _common(kinds: set[Kind], *, typed: bool) -> AttributeType | None:
    """The one type for values of these kinds, None if there is none."""
    if kinds == {"int64", "float64"}:
        return "float64"
    if not typed and ("code" in kinds or kinds == {"bool", "string"}):
        return "string"
    kind = next(iter(kinds))
    return None if len(kinds) > 1 or kind == "code" else kind


class _RefusedError(ValueError):
    """A value that cannot be carried; the text says why."""


def _carried(kind: AttributeType, value: Any) -> AttributeValue:
    """A value as its column holds it."""
    if value is None or kind == "bool":
        return None if value is None else bool(value)
    if kind == "int64":
        if not -(2**63) <= value < 2**63:
            raise _RefusedError(f"is {_shown(value)}, which does not fit in int64")
        return int(value)
    if kind == "float64":
        if not abs(value) <= sys.float_info.max:
            raise _RefusedError(f"is {_shown(value)}, expected a finite number")
        return float(value)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise _RefusedError(f"is {_shown(value)}, which is not valid Unicode") from None
    if size > MOST_BYTES:
        raise _RefusedError(f"has {size:,} bytes of text; at most {MOST_BYTES:,} are allowed")
    return str(value)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _names(columns: Iterable[str]) -> str:
    names = list(columns)
    some = [n if n.isprintable() and len(n) <= _SHOWN else _shown(n) for n in names[:_SHOWN]]
    return ", ".join([*some, *(["..."] if len(names) > _SHOWN else [])]) or "(none)"
