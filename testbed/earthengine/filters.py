"""Filters of collections, by metadata, time and place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapely.geometry.base import BaseGeometry

from testbed.earthengine.errors import bad

if TYPE_CHECKING:
    from testbed.earthengine.images import Image

Passes = Callable[["Image"], bool]


@dataclass(frozen=True, slots=True)
class Moment:
    """A date: milliseconds since 1970, UTC."""

    ms: float


@dataclass(frozen=True, slots=True)
class Period:
    """A range of dates, the end excluded."""

    start: Moment
    end: Moment


def moment(value: Any) -> Moment:
    """A date from a date, milliseconds or text.

    Raises:
        EeError: 400.
    """
    if isinstance(value, Moment):
        return value
    if isinstance(value, (int, float)):
        return Moment(float(value))
    if isinstance(value, str):
        try:
            when = dt.datetime.fromisoformat(value)
        except ValueError:
            raise bad(f"Date: Bad date/time '{value[:40]}'.") from None
        return Moment((when if when.tzinfo else when.replace(tzinfo=dt.UTC)).timestamp() * 1000)
    raise bad("Date: Cannot read the value as a date.")


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        left, right = (x.ms if isinstance(x, Moment) else x for x in (left, right))
        if isinstance(left, str) != isinstance(right, str):
            return False
        return test(left, right)

    return compare


def _in_period(period: Any, when: Any) -> bool:
    if not isinstance(period, Period):
        raise bad("Filter.dateRangeContains: expected a DateRange.")
    return when is not None and period.start.ms <= moment(when).ms < period.end.ms


def _touches(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return True  # unbounded
    return bool(left.intersects(right))


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": _ordered(lambda a, b: a == b),
    "eq": _ordered(lambda a, b: a == b),
    "neq": _ordered(lambda a, b: a != b),
    "notEquals": _ordered(lambda a, b: a != b),
    "lessThan": _ordered(lambda a, b: a < b),
    "lt": _ordered(lambda a, b: a < b),
    "lessThanOrEquals": _ordered(lambda a, b: a <= b),
    "lte": _ordered(lambda a, b: a <= b),
    "greaterThan": _ordered(lambda a, b: a > b),
    "gt": _ordered(lambda a, b: a > b),
    "greaterThanOrEquals": _ordered(lambda a, b: a >= b),
    "gte": _ordered(lambda a, b: a >= b),
    "inList": lambda a, b: a in b,
    "listContains": lambda a, b: b in a,
    "stringContains": lambda a, b: b in a,
    "stringStartsWith": lambda a, b: str(a).startswith(b),
    "stringEndsWith": lambda a, b: str(a).endswith(b),
    "dateRangeContains": _in_period,
    "intersects": _touches,
}


def field_of(image: Image, name: str) -> Any:
    """A property, or the footprint for '.all' and '.geo'."""
    return image.footprint if name in (".all", ".geo") else image.properties.get(name)


def make(name: str, arguments: Mapping[str, Any]) -> Passes | None:  # noqa: PLR0911 - one line a filter
    """The filter of that name; None if there is none."""
    if name == "and":
        parts = list(arguments["filters"])
        return lambda image: all(part(image) for part in parts)
    if name == "or":
        parts = list(arguments["filters"])
        return lambda image: any(part(image) for part in parts)
    if name == "not":
        inner: Passes = arguments["filter"]
        return lambda image: not inner(image)
    if name == "calendarRange":
        return _calendar(arguments)
    if name == "notNull":
        names = list(arguments["properties"])
        return lambda image: all(image.properties.get(n) is not None for n in names)
    if name not in _COMPARISONS:
        return None
    return _comparison(_COMPARISONS[name], arguments)


def _comparison(test: Callable[[Any, Any], bool], arguments: Mapping[str, Any]) -> Passes:
    def side(image: Image, which: str) -> Any:
        if arguments.get(f"{which}Field") is not None:
            return field_of(image, str(arguments[f"{which}Field"]))
        value = arguments.get(f"{which}Value")
        if value is not None and not isinstance(value, BaseGeometry) and hasattr(value, "geometry"):
            return value.geometry
        return value

    def passes(image: Image) -> bool:
        left, right = side(image, "left"), side(image, "right")
        if test is not _touches and (left is None or right is None):
            return False  # a missing property never passes
        return bool(test(left, right))

    return passes


def _calendar(arguments: Mapping[str, Any]) -> Passes:
    start = int(arguments["start"])
    end = start if arguments.get("end") is None else int(arguments["end"])
    unit = str(arguments.get("field") or "day_of_year")
    parts: dict[str, Callable[[dt.datetime], int]] = {
        "year": lambda t: t.year,
        "month": lambda t: t.month,
        "day_of_year": lambda t: t.timetuple().tm_yday,
        "day_of_month": lambda t: t.day,
        "hour": lambda t: t.hour,
    }
    if unit not in parts:
        raise bad(f"Filter.calendarRange: Unknown calendar field '{unit}'.")

    def passes(image: Image) -> bool:
        ms = image.properties.get("system:time_start")
        if ms is None:
            return False
        value = parts[unit](dt.datetime.fromtimestamp(ms / 1000, dt.UTC))
        return start <= value <= end if start <= end else value >= start or value <= end

    return passes
