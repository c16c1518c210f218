"""Periods of windows: calendar months, days of a year, a shift of each place, and reach around a date of it."""

from __future__ import annotations

import calendar
import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sampling.times import Moment, around, moment_of, own_period, period_of, shift_of
from schemas.place import GeoBox, Place
from schemas.window import Window

BOX = GeoBox(epsg=32632, x_min=600_000, y_max=5_300_000, resolution_m=10, width=10, height=10)
DAYS = st.dates(dt.date(1950, 1, 1), dt.date(2150, 12, 31))


def place(sample_id: str = "a", **attributes: Any) -> Place:
    where = {"lon": 11.0, "lat": 48.0, "geobox": BOX, "split": "train", "block": "b", "cell": "c"}
    return Place(sample_id=sample_id, attributes=tuple(attributes.items()), **where)


def window(**said: Any) -> Window:
    return Window.model_validate({"name": "w", **said})


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@given(DAYS, st.integers(0, 4000))
def test_months_are_the_calendars_and_leave_no_day_out(start: dt.date, days: int) -> None:
    end = start + dt.timedelta(days=days)
    parts = window(start=start, end=end, every="month").parts()
    assert parts[0].start == start
    assert parts[-1].end == end
    for one, two in itertools.pairwise(parts):
        assert one.end is not None
        assert one.end.day == calendar.monthrange(one.end.year, one.end.month)[1]
        assert two.start == one.end + dt.timedelta(days=1)
    assert all(part.start and part.end and part.start.month == part.end.month for part in parts)


def test_days_of_a_year_are_reached_from_both_sides() -> None:
    seasons = window(dates=["03-20", "12-21"], year=2021, within="30d", pick="newest").parts()
    assert [(w.start, w.end, w.target, w.pick) for w in seasons] == [
        (dt.date(2021, 2, 18), dt.date(2021, 4, 19), dt.date(2021, 3, 20), "newest"),
        (dt.date(2021, 11, 21), dt.date(2022, 1, 20), dt.date(2021, 12, 21), "newest"),
    ]
    newest = period_of(seasons[0], 0)
    assert (newest.target, newest.by_time) == (newest.end, True)


@pytest.mark.parametrize(
    ("said", "date", "start", "end", "target"),
    [
        ({"before": "180d", "pick": "nearest"}, "2020-07-01", "2020-01-03", "2020-07-02", "2020-07-01T12:00"),
        ({"before": "180d", "pick": "before"}, "2020-07-01", "2020-01-03", "2020-07-02", "2020-07-02"),
        ({"within": "6d", "pick": "after"}, "2020-07-01", "2020-07-01", "2020-07-08", "2020-07-01"),
        ({"within": "12h"}, "2020-07-01T10:00:00Z", "2020-06-30T22:00", "2020-07-01T22:00:00.000001", None),
        ({"before": "6d", "after": "2d", "pick": "newest"}, "2020-07-05", "2020-06-29", "2020-07-08", "2020-07-08"),
        ({"within": "1d"}, "2020-07-01T23:30:00-05:00", "2020-07-01T04:30", "2020-07-03T04:30:00.000001", None),
    ],
)
def test_reach_around_a_date(said: dict[str, Any], date: str, start: str, end: str, target: str | None) -> None:
    found = own_period(window(around="attr_date", **said), 0, place(date=date), 1)
    assert found is not None
    assert (found.start, found.end) == (utc(start), utc(end))
    assert found.by_time == ("pick" in said)
    if target is not None:
        assert found.target == utc(target)


def test_a_place_without_a_date_has_no_period() -> None:
    assert own_period(window(around="attr_date", before="6d"), 0, place(date=None), 1) is None


@given(st.text("abcdefg0123-_", min_size=1, max_size=20), st.integers(0, 2**62), st.integers(1, 400))
def test_a_shift_is_the_samples_own_and_the_same_for_all_its_windows(sample: str, seed: int, days: int) -> None:
    one = window(start="2021-03-01", end="2021-03-31", shift=f"{days}d")
    two = one.model_copy(update={"name": "other", "start": dt.date(2021, 6, 1), "end": dt.date(2021, 6, 30)})
    by = shift_of(one, sample, seed)
    assert 0 <= by.days < days
    assert by == dt.timedelta(days=by.days) == shift_of(two, sample, seed)
    moved, common = own_period(one, 0, place(sample), seed), period_of(one, 0)
    assert moved is not None
    assert (moved.start - by, moved.end - by, moved.target - by) == (common.start, common.end, common.target)


def test_shifts_spread_over_their_days() -> None:
    one = window(start="2021-03-01", end="2021-03-31", shift="365d")
    drawn = [shift_of(one, f"p{i:07d}", 7).days for i in range(4000)]
    assert (min(drawn), max(drawn)) == (0, 364)
    assert abs(sum(drawn) / len(drawn) - 182) < 6  # the standard error is 1.7 days
    assert drawn != [shift_of(one, f"p{i:07d}", 8).days for i in range(4000)]


@given(st.integers(-(5 * 10**8), 5 * 10**9), st.integers(0, 400), st.integers(0, 400))
def test_a_moment_is_inside_its_window(moment: int, before: int, after: int) -> None:
    when = dt.datetime.fromtimestamp(moment, dt.UTC)
    found = around(window(around={"layer": "sentinel2"}, before=f"{before + 1}d", after=f"{after}d"),
                   Moment(first=when, last=when))  # fmt: skip
    assert found.start <= when < found.end
    assert found.start <= when + dt.timedelta(days=after) < found.end


@pytest.mark.parametrize("text", ["", "2021", "2021-13-01", "2021-02-30", "01.02.2021", "20210630", "1066-10-14", "x"])
def test_what_is_no_date(text: str) -> None:
    assert moment_of(text) is None


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "needs `start` (or `dates` with `year`, or `around`)"),
    "half": ({"start": "2021-01-01"}, "needs `end`"),
    "two forms": ({"around": "attr_d", "within": "3d", "start": "2021-01-01"}, "`around` says when, so `start`"),
    "dates and every": ({"dates": ["03-20"], "year": 2021, "within": "3d", "every": "month"}, "`dates` says when"),
    "no reach": ({"around": "attr_d"}, "how far from the date? Write `within: 30d`"),
    "two reaches": ({"around": "attr_d", "within": "3d", "after": "3d"}, "`within` reaches to both sides"),
    "reach of nothing": ({"start": "2021-01-01", "end": "2021-02-01", "within": "3d"}, "`within` needs a date"),
    "bad length": ({"around": "attr_d", "within": "3 weeks"}, "expected a number of days or hours"),
    "hours of days": ({"dates": ["03-20"], "year": 2021, "within": "3h"}, "write their reach in days"),
    "no year": ({"dates": ["03-20"], "within": "3d"}, "`dates` need a `year`"),
    "no dates": ({"start": "2021-01-01", "end": "2021-02-01", "year": 2021}, "`year` belongs to `dates`"),
    "no day": ({"dates": ["02-30"], "year": 2021, "within": "3d"}, "expected month-day, for example 03-20"),
    "no leap": ({"dates": ["02-29"], "year": 2021, "within": "3d"}, "there is no 29 February in 2021"),
    "twice": ({"dates": ["03-20", "03-20"], "year": 2021, "within": "3d"}, "date 03-20 is listed twice"),
    "count of months": (
        {"start": "2021-01-01", "end": "2021-03-01", "every": "month", "count": 3},
        "remove `count: 3`",
    ),
    "many months": ({"start": "1950-01-01", "end": "2050-03-01", "every": "month"}, "1203 months"),
    "series of one": ({"start": "2021-01-01", "end": "2021-03-01", "every": "scene"}, "`every: scene` needs `count`"),
    "picked series": (
        {"start": "2021-01-01", "end": "2021-03-01", "every": "scene", "count": 5, "pick": "newest"},
        "takes all scenes",
    ),
    "before nothing": ({"start": "2021-01-01", "end": "2021-03-01", "pick": "before"}, "needs a date"),
    "never used": ({"around": "attr_d", "before": "9d", "after": "3d", "pick": "before"}, "`after: 3d` is never used"),
    "no side": ({"around": "attr_d", "after": "3d", "pick": "before"}, "is never used"),
    "count before": ({"around": "attr_d", "before": "9d", "pick": "before", "count": 2}, "gives one date"),
    "shifted date": ({"around": "attr_d", "within": "9d", "shift": "9d"}, "`shift` moves a window that all"),
    "shifted hours": ({"start": "2021-01-01", "end": "2021-03-01", "shift": "30h"}, "expected whole days"),
    "no attribute": ({"around": "date", "within": "9d"}, "expected attr_NAME"),
    "counted pair": ({"around": {"layer": "sentinel2"}, "within": "9d", "count": 2}, "has one date for each of"),
    "no time": ({"around": {"layer": "sentinel2"}, "within": "0d"}, "leaves no time"),
}


@pytest.mark.parametrize(("said", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_a_window_cannot_honour_is_refused_in_one_line(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        window(**said)
    errors = caught.value.errors()
    assert len(errors) == 1, errors
    assert message in errors[0]["msg"]
