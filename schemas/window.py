"""Windows of time: the periods that a recipe wants observations from."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.primitives import Day
from schemas.strict import MisplacedError, Name, Strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_SLOTS = 366
"""Date slots that one window may have."""
ATTRIBUTE = "attr_"
"""Before the name of an attribute, where a window is around it."""
_LEAP_YEAR = 2000
_LENGTH = re.compile(r"([0-9]{1,4})([dh])")
_UNITS = {"d": dt.timedelta(days=1), "h": dt.timedelta(hours=1)}

Pick = Literal["nearest", "before", "after", "newest"]


def _length(text: str) -> str:
    if _LENGTH.fullmatch(text) is None:
        raise ValueError(f"expected a number of days or hours, for example 30d or 12h, found {text!r}")
    return text


def _calendar_day(text: str) -> str:
    month, dash, day = text.partition("-")
    digits = dash and month.isascii() and day.isascii() and month.isdigit() and day.isdigit()
    if not digits or not 1 <= int(month) <= 12 or not 1 <= int(day) <= calendar.monthrange(_LEAP_YEAR, int(month))[1]:
        raise ValueError(f"expected month-day, for example 03-20, found {text!r}")
    return f"{int(month):02d}-{int(day):02d}"


Length = Annotated[str, AfterValidator(_length)]
"""A length of time: whole days ('180d') or hours ('12h')."""
CalendarDay = Annotated[str, AfterValidator(_calendar_day)]
"""Month and day, 'MM-DD'."""


def length_of(text: str | None) -> dt.timedelta:
    """'180d' -> 180 days; None -> nothing."""
    found = None if text is None else _LENGTH.fullmatch(text)
    return dt.timedelta() if found is None else int(found[1]) * _UNITS[found[2]]


class Layered(Strict):
    """Another layer of the recipe, whose chosen scenes a window is around."""

    layer: str = Field(min_length=1, max_length=64, description="name of the layer")


def _absent(value: object) -> bool:
    return value is None or value == ()


class Window(Strict):
    """A period from which observations are wanted: the same for all samples, or around a date of each.

    Five forms: `start` and `end`; the same with `every: month` or `every: scene`; `dates` of a `year`; `around` an
    attribute of the sample; `around` the scenes chosen for another layer.
    """

    name: Name
    start: Day | None = Field(default=None, description="first day, UTC")
    end: Day | None = Field(default=None, description="last day, UTC, inclusive")
    target: Day | None = Field(default=None, description="prefer scenes near this day; the middle if absent")
    count: int = Field(
        default=1,
        ge=1,
        le=MOST_SLOTS,
        description="number of observations (date slots): the window is cut into this many equal parts, with one "
        "observation from each; with `every: scene` the most dates, not cut",
    )
    every: Literal["month", "scene"] | None = Field(
        default=None,
        exclude_if=_absent,
        description="month: one observation from each calendar month; scene: every acquisition of the window, in order "
        "of time, at most `count`",
    )
    dates: tuple[CalendarDay, ...] = Field(
        default=(),
        max_length=MOST_SLOTS,
        exclude_if=_absent,
        description="days of `year` as 'MM-DD'; one observation near each day; needs `within`, or `before` and `after`",
    )
    year: int | None = Field(default=None, ge=1900, le=2200, exclude_if=_absent, description="year of `dates`")
    around: str | Layered | None = Field(
        default=None,
        exclude_if=_absent,
        description="attr_NAME: a date of each sample, an attribute of the points file; {layer: NAME}: the scene that "
        "was chosen for another layer, one observation for each of its dates",
    )
    within: Length | None = Field(
        default=None, exclude_if=_absent, description="reach of the window to both sides, '30d' or '12h'"
    )
    before: Length | None = Field(
        default=None, exclude_if=_absent, description="reach of the window before the date, '180d'"
    )
    after: Length | None = Field(
        default=None, exclude_if=_absent, description="reach of the window after the date, '30d'"
    )
    pick: Pick | None = Field(
        default=None,
        exclude_if=_absent,
        description="choose by time alone among scenes that keep the limits on cloud and valid pixels: nearest to the "
        "date, the last one before it, the first one after it, or the newest of the window; if absent, a clear scene "
        "may win over a nearer one",
    )
    shift: Length | None = Field(
        default=None,
        exclude_if=_absent,
        description="move the window by a whole number of days from 0 to below this, drawn for each sample from the "
        "seed and its id: the same for all windows of a sample",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        problem = next(filter(None, (check(self) for check in _CHECKS)), None)
        if problem is not None:
            raise ValueError(f"window {self.name!r}: {problem}")
        return self

    @property
    def attribute(self) -> str | None:
        """Name of the attribute whose date the window is around; None for other windows."""
        return self.around.removeprefix(ATTRIBUTE) if isinstance(self.around, str) else None

    @property
    def follows(self) -> str | None:
        """Name of the layer whose chosen scenes the window is around; None for other windows."""
        return self.around.layer if isinstance(self.around, Layered) else None

    @property
    def own(self) -> bool:
        """Whether each sample has a period of its own, known from the sample alone."""
        return self.attribute is not None or self.shift is not None

    @property
    def reach(self) -> tuple[dt.timedelta, dt.timedelta]:
        """(before, after) the date that the window is around."""
        if self.within is not None:
            return length_of(self.within), length_of(self.within)
        return length_of(self.before), length_of(self.after)

    @property
    def period(self) -> tuple[date, date] | None:
        """First and last day, for all samples; None where samples have periods of their own, or a layer is followed."""
        if self.start is None or self.end is None or self.shift is not None:
            return None
        return self.start, self.end

    def parts(self) -> tuple[Window, ...]:
        """The window as windows with `start` and `end`: its months or its `dates`; itself where it has neither."""
        if self.every == "month" and self.start is not None and self.end is not None:
            return tuple(self._part(first, last, None) for first, last in _months(self.start, self.end))
        if self.dates:
            before, after = (reach.days for reach in self.reach)
            days = [date(self.year or 0, *map(int, text.split("-"))) for text in self.dates]
            return tuple(
                self._part(day - dt.timedelta(days=before), day + dt.timedelta(days=after), day) for day in days
            )
        return (self,)

    def _part(self, start: date, end: date, target: date | None) -> Window:
        return Window(name=self.name, start=start, end=end, target=target, pick=self.pick, shift=self.shift)


def _months(start: date, end: date) -> list[tuple[date, date]]:
    """First and last day of each calendar month, cut at both ends."""
    found, first = [], start
    while first <= end:
        last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        found.append((first, min(last, end)))
        first = last + dt.timedelta(days=1)
    return found


def _form(window: Window) -> str | None:
    """Exactly one of `start` and `end`, `dates`, `around`."""
    if window.around is not None or window.dates:
        form = "around" if window.around is not None else "dates"
        wrong = [n for n in ("start", "end", "target", "every") if getattr(window, n) is not None]
        if form == "around" and window.every == "scene":
            wrong.remove("every")
        wrong += ["dates"] if form == "around" and window.dates else []
        if wrong:
            return f"`{form}` says when, so `{wrong[0]}` has no meaning; remove one of the two"
        return None
    missing = [n for n in ("start", "end") if getattr(window, n) is None]
    if missing:
        return f"needs `{missing[0]}` (or `dates` with `year`, or `around`)"
    return None


def _order(window: Window) -> str | None:
    if window.start is None or window.end is None:
        return None
    if window.end < window.start:
        return f"ends {window.end} before it starts {window.start}"
    if window.target is not None and not window.start <= window.target <= window.end:
        return f"target {window.target} is outside {window.start}..{window.end}"
    return None


def _reach(window: Window) -> str | None:
    """`within`, or `before` and `after`, for windows around something, and for no others."""
    sides = [n for n in ("before", "after") if getattr(window, n) is not None]
    said = [*(["within"] if window.within is not None else []), *sides]
    if window.around is None and not window.dates:
        return f"`{said[0]}` needs a date to reach from: `dates` or `around`" if said else None
    if not said:
        return "how far from the date? Write `within: 30d`, or `before: 180d`, or `after: 30d`"
    if len(said) > len(sides) and sides:
        return f"`within` reaches to both sides; remove it or `{sides[0]}`"
    if window.dates and any(reach % _UNITS["d"] for reach in window.reach):
        return "`dates` are whole days: write their reach in days, for example 15d"
    if window.reach == (dt.timedelta(), dt.timedelta()) and window.follows is not None:
        return f"`{said[0]}: {getattr(window, said[0])}` leaves no time"
    return None


def _dates(window: Window) -> str | None:
    if window.dates and window.year is None:
        return "`dates` need a `year`"
    if window.year is not None and not window.dates:
        return "`year` belongs to `dates`; remove it, or add `dates`"
    twice = next((d for d in window.dates if window.dates.count(d) > 1), None)
    if twice is not None:
        return f"date {twice} is listed twice"
    if "02-29" in window.dates and not calendar.isleap(window.year or _LEAP_YEAR):
        return f"there is no 29 February in {window.year}"
    return None


def _slots(window: Window) -> str | None:
    """`count` cuts only what is not cut otherwise."""
    if window.every == "month" and window.start is not None and window.end is not None:
        months = len(_months(window.start, window.end))
        if months > MOST_SLOTS:
            return f"has {months} months; a window has at most {MOST_SLOTS} dates"
        if window.count > 1:
            return f"`every: month` gives {months} dates already; remove `count: {window.count}`"
    if window.every == "scene" and window.count == 1:
        return "`every: scene` needs `count`: the most dates that a sample may have, up to 366"
    if window.dates and window.count > 1:
        return f"`dates` gives {len(window.dates)} dates already; remove `count: {window.count}`"
    if window.follows is not None and (window.count > 1 or window.every is not None):
        return f"has one date for each of {window.follows}; remove `{'every' if window.every else 'count'}`"
    return None


def _picked(window: Window) -> str | None:
    if window.pick is not None and window.every == "scene":
        return f"`every: scene` takes all scenes, so `pick: {window.pick}` has no meaning; remove one of the two"
    return _sided(window) if window.pick in ("before", "after") else None


def _sided(window: Window) -> str | None:
    """`pick: before` and `pick: after` look to one side of a date."""
    dated = window.target is not None or window.dates or window.around is not None
    if not dated:
        return f"`pick: {window.pick}` needs a date: `target`, `dates` or `around`"
    if window.count > 1:
        return f"`pick: {window.pick}` gives one date; remove `count: {window.count}`"
    before, after = window.reach
    other, beyond, side = ("after", after, before) if window.pick == "before" else ("before", before, after)
    if window.within is None and beyond:
        return f"`{other}: {getattr(window, other)}` is never used with `pick: {window.pick}`; remove one of them"
    if side == dt.timedelta() and (window.dates or window.around is not None):
        return f"`pick: {window.pick}` needs `{window.pick}`: how far from the date"
    return None


def _moved(window: Window) -> str | None:
    if window.shift is None:
        return None
    if window.around is not None:
        return "`shift` moves a window that all samples share; one that is `around` something follows that"
    if length_of(window.shift) < _UNITS["d"] or length_of(window.shift) % _UNITS["d"]:
        return f"`shift: {window.shift}`: expected whole days, at least 1d"
    return None


def _around(window: Window) -> str | None:
    if isinstance(window.around, str) and not re.fullmatch(ATTRIBUTE + r"[A-Za-z][A-Za-z0-9_]{0,63}", window.around):
        return f"`around: {window.around}`: expected attr_NAME (an attribute of the samples) or {{layer: NAME}}"
    return None


_CHECKS = (_around, _form, _order, _dates, _reach, _slots, _picked, _moved)
"""Each gives the first mistake of its kind, or None."""


def check_windows(
    windows: Sequence[Window], attributes: Sequence[str], layers: Mapping[str, Sequence[str] | None]
) -> None:
    """What windows name must be there, and each new form of window must be used.

    Args:
        windows: of the recipe.
        attributes: names of the samples' attributes.
        layers: dated layer -> names of the windows that it asks for; None = all.

    Raises:
        MisplacedError: says which window, what is missing and what to do.
    """
    for number, window in enumerate(windows):
        problem = _unknown(window, windows, attributes, layers) or _unused(window, layers)
        if problem is not None:
            raise MisplacedError(f"window {window.name!r} {problem}", ("windows", number))


def _unknown(
    window: Window,
    windows: Sequence[Window],
    attributes: Sequence[str],
    layers: Mapping[str, Sequence[str] | None],
) -> str | None:
    if window.attribute is not None and window.attribute not in attributes:
        has = f"which has {list(attributes)}" if attributes else "which has none"
        return (
            f"is around {window.around}, but {window.attribute!r} is not in sampling.attributes, {has}; add the column "
            "of the points file there"
        )
    return None if window.follows is None else _unanchored(window, windows, layers)


def _unanchored(window: Window, windows: Sequence[Window], layers: Mapping[str, Sequence[str] | None]) -> str | None:
    """A layer that a window is around must have dates of its own."""
    if window.follows is None or window.follows not in layers:
        return f"is around layer {window.follows!r}, which is no layer with dates; those are {sorted(layers)}"
    asked = layers[window.follows]
    if asked is not None and window.name in asked:
        return f"is around layer {window.follows!r}, which itself asks for it; remove it from that layer's `windows`"
    other = [w for w in windows if w.follows is not None and w.follows != window.follows]
    chained = next((w for w in other if asked is None or w.name in asked), None)
    if chained is not None:
        return (
            f"is around layer {window.follows!r}, whose window {chained.name!r} is around another layer; name the "
            f"`windows` of {window.follows} without it"
        )
    if asked is None and not any(w.follows is None for w in windows):
        return f"is around layer {window.follows!r}, which has no window of its own; add one"
    return None


def _unused(window: Window, layers: Mapping[str, Sequence[str] | None]) -> str | None:
    """Windows of `start` and `end` alone were always allowed to stand unused."""
    plain = window.start is not None and window.every is None and window.shift is None and window.pick is None
    used = any(
        window.name in asked if asked is not None else window.follows != layer for layer, asked in layers.items()
    )
    return None if plain or used else f"is used by no layer; add it to the `windows` of one of {sorted(layers)}"
