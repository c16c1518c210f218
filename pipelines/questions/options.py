"""Limits and ranges that questions name: fixed scales, so that different samples are asked the same.

A number near a sample's own value would tell the value. On fixed scales the words of a question are those of many
samples, and a shard asks them as often where one answer is right as where another is.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.questions.dice import Dice

SHARE_LIMITS = (5, 10, 20, 30, 40, 50, 60, 70, 80)
"""Percent."""
SHARE_RANGES = ((0.0, 10.0, 30.0, 60.0, 100.0), (0.0, 5.0, 15.0, 30.0, 50.0), (0.0, 2.0, 6.0, 12.0, 25.0))
"""Percent; the ends of four ranges."""
REACH = 25.0
"""Percentage points: shares farther from a limit are not asked about, they are too easy."""
COUNTS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0, 144.0, 233.0, 377.0)
LENGTHS = (250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0, 32_000.0, 64_000.0)
RELIEF = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0)
SLOPES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 18.0, 25.0)
DAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Numbers of objects, metres of road, metres of height, degrees, days."""
RANGES = 3
"""Ranges that a question on a long scale has as options."""


def near(scale: tuple[float, ...], value: float, dice: Dice, name: str) -> float | None:
    """The limit next below the value or next above it, each as likely; None at the end of the scale."""
    above = bisect_right(scale, value)
    if not 0 < above < len(scale):
        return None
    return scale[above - 1] if dice.coin(name) else scale[above]


def ranges(scale: tuple[float, ...], value: float, dice: Dice, name: str) -> tuple[float, ...] | None:
    """Ends of some neighbouring ranges, one of which holds the value, each as likely; None near the scale's ends."""
    first = bisect_right(scale, value) - 1 - int(dice.roll(name) * RANGES)
    return scale[first : first + RANGES + 1] if first >= 0 and first + RANGES < len(scale) else None


def steps(value: float, step: float) -> tuple[float, ...]:
    """A scale of equal steps around a value, its numbers whole multiples of the step."""
    middle = int(value // step)
    return tuple(step * k for k in range(middle - RANGES - 1, middle + RANGES + 3))
