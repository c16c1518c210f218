"""Progress for who waits: the time left falls with the clock, whether or not something is done meanwhile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pipelines import progress
from pipelines.progress import ProgressPrinter, counted

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock that progress reads, seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def at(seconds: float) -> None:
        now[0] = 1000.0 + seconds

    return at


def test_the_time_left_falls_while_nothing_ends(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    told = ProgressPrinter("building x")
    for seconds, done in ((0, 0), (60, 100), (75, 100), (90, 100), (120, 200), (300, 200), (310, 400)):
        clock(seconds)
        told(done, 400)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "building x: 100 of 400 samples, 1 min 00 s, about 3 min 00 s left"
    assert [re.sub(r".*about ", "", line) for line in lines[2:4]] == ["2 min 45 s left", "2 min 30 s left"]
    assert lines[4].endswith("200 of 400 samples, 2 min 00 s, about 2 min 00 s left")
    assert "left" not in lines[5], "longer than expected: nothing is promised"
    assert lines[6] == "building x: 400 of 400 samples, 5 min 10 s"


def test_what_an_earlier_run_has_done_says_nothing_about_the_time_left(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    told = ProgressPrinter("planning x", "locations")
    for seconds, done in ((5, 600), (65, 700), (125, 1000)):
        clock(seconds)
        told(done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "planning x: 600 of 1,000 locations, 5 s",
        "planning x: 700 of 1,000 locations, 1 min 05 s, about 3 min 00 s left",
        "planning x: 1,000 of 1,000 locations, 2 min 05 s",
    ]


def test_numbers_of_things() -> None:
    assert [counted(n, "pair") for n in (0, 1, 2, 1234, 0.6)] == [
        "0 pairs",
        "1 pair",
        "2 pairs",
        "1,234 pairs",
        "1 pair",
    ]
