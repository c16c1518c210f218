"""Periods of date slots: the same for all samples, moved by a draw of each, or around a date of each."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.window import length_of

if TYPE_CHECKING:
    from schemas.place import Place
    from schemas.window import Window

_DAY = dt.timedelta(days=1)
_TICK = dt.timedelta(microseconds=1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].+)?")
_YEARS = (1900, 2200)


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """One date slot's part of a window."""

    start: dt.datetime
    """First moment, UTC."""
    end: dt.datetime
    """First moment after it."""
    target: dt.datetime
    """The moment to be near to."""
    by_time: bool = False
    """True: candidates are ordered by their distance to `target` alone."""

    @property
    def days(self) -> tuple[dt.date, dt.date]:
        """First and last day, UTC."""
        return self.start.date(), (self.end - _TICK).date()


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A date of a sample: a moment, or a whole day."""

    first: dt.datetime
    """UTC."""
    last: dt.datetime
    """UTC; the first moment after the day, or the moment itself."""


def period_of(window: Window, occurrence: int) -> Period:
    """The `occurrence`-th (0-based) of the equal parts of a window that all samples share."""
    assert window.start is not None  # noqa: S101 - the recipe's check
    assert window.end is not None  # noqa: S101
    start, end = _midnight(window.start), _midnight(window.end) + _DAY
    target = None if window.target is None else _midnight(window.target) + _DAY / 2
    if window.every == "scene":
        return Period(start=start, end=end, target=start + (end - start) / 2)
    return _part(window, occurrence, start, end, target)


def own_period(window: Window, occurrence: int, place: Place, seed: int) -> Period | None:
    """The part of a window that a sample has for itself; None if the sample has no date.

    Args:
        window: with `shift`, or around an attribute.
        occurrence: which of its equal parts, 0-based.
        place: the sample.
        seed: the recipe's seed.
    """
    if window.attribute is None:
        common = period_of(window, occurrence)
        by = shift_of(window, place.sample_id, seed)
        return Period(start=common.start + by, end=common.end + by, target=common.target + by, by_time=common.by_time)
    stated = dict(place.attributes).get(window.attribute)
    moment = None if stated is None else moment_of(str(stated))
    return None if moment is None else around(window, moment, occurrence)


def around(window: Window, moment: Moment, occurrence: int = 0) -> Period:
    """The part of a window that lies around a moment or a day."""
    before, after = window.reach
    middle = moment.first + (moment.last - moment.first) / 2
    end = moment.last + after
    end += _TICK if moment.first == moment.last else dt.timedelta()
    if window.every == "scene":
        return Period(start=moment.first - before, end=end, target=middle)
    return _part(window, occurrence, moment.first - before, end, middle, moment)


def shift_of(window: Window, sample_id: str, seed: int) -> dt.timedelta:
    """Whole days that a sample's windows are moved by: uniform from 0 to below `shift`.

    The draw is BLAKE2b of seed and sample id (8 bytes, big-endian) times the days, divided by 2**64 and rounded down.
    """
    days = length_of(window.shift) // _DAY
    draw = hashlib.blake2b(f"{seed}|shift|{sample_id}".encode(), digest_size=8).digest()
    return dt.timedelta(days=int.from_bytes(draw, "big") * days >> 64)


def day_of_label(said: dt.date | str, place: Place) -> dt.datetime | None:
    """The moment that a label is made for: noon of a day, or a date of the sample; None if the sample has none."""
    if isinstance(said, dt.date):
        return _midnight(said) + _DAY / 2
    stated = dict(place.attributes).get(said.removeprefix("attr_"))
    moment = None if stated is None else moment_of(str(stated))
    return None if moment is None else moment.first + (moment.last - moment.first) / 2


def moment_of(text: str) -> Moment | None:
    """'2021-06-30' (the whole day, UTC) or '2021-06-30T10:20:00Z' (UTC if it states no zone); None for other text."""
    if _DATE.fullmatch(text.strip()) is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if not _YEARS[0] <= found.year <= _YEARS[1]:
        return None
    found = found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
    whole = len(text.strip()) == len("2021-06-30")
    return Moment(first=found, last=found + _DAY if whole else found)


def _part(
    window: Window,
    occurrence: int,
    start: dt.datetime,
    end: dt.datetime,
    target: dt.datetime | None,
    moment: Moment | None = None,
) -> Period:
    """One of the equal parts of [start, end), and the time that is preferred in it."""
    pick = window.pick
    if pick in ("before", "after") and target is not None:
        day = target - _DAY / 2, target + _DAY / 2
        moment = moment or Moment(first=day[0], last=day[1])
        exact = _TICK if moment.first == moment.last else dt.timedelta()
        if pick == "before":
            return Period(start=start, end=moment.last + exact, target=moment.last, by_time=True)
        return Period(start=moment.first, end=end, target=moment.first, by_time=True)
    step = (end - start) / window.count
    first, last = start + occurrence * step, start + (occurrence + 1) * step
    if pick == "newest":
        return Period(start=first, end=last, target=last, by_time=True)
    if target is None or not first <= target < last:
        target = first + step / 2
    return Period(start=first, end=last, target=target, by_time=pick is not None)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
