"""Options and limits around a value, so that nothing but the data tells which is right.

Options are a ladder of equal steps on which the value takes each rank as often; limits lie as often above the value as
below it. A value whose ladder does not fit at every rank is not asked about: otherwise the rank would tell.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.questions.dice import Dice

OPTIONS = 4
_LEAST_POINTS = 3.0
"""Percentage points between a share and a limit, or between two options."""


def _ladder(value: int, at: Callable[[int], float], rank: int, step: int, least: int) -> tuple[int, ...] | None:
    """Options of `at(steps from the value)`, rounded; None if any rank of the value does not fit."""
    whole = [round(at(k) / step) * step if k else value for k in range(-OPTIONS + 1, OPTIONS)]
    near = any(b - a < least for a, b in pairwise(whole))
    return None if near else tuple(whole[OPTIONS - 1 - rank : 2 * OPTIONS - 1 - rank])


def shares(value: int, dice: Dice, name: str) -> tuple[int, ...] | None:
    """Four whole percentages, one of them the value."""
    rank = int(dice.roll(f"{name}/rank") * OPTIONS)
    step = 0.45 + 0.45 * dice.roll(f"{name}/step")
    if not 0 < value < 100:
        return None
    found = _ladder(value, lambda k: _percent(_odds(value) + k * step), rank, 1, int(_LEAST_POINTS))
    return None if found is None or min(found) < 1 or max(found) > 99 else found


def ratios(value: int, dice: Dice, name: str, step: int = 1) -> tuple[int, ...] | None:
    """Four numbers, each a fixed factor above the last, one of them the value."""
    if value < 4 * step:
        return None
    rank, factor = int(dice.roll(f"{name}/rank") * OPTIONS), 1.3 + 0.5 * dice.roll(f"{name}/step")
    return _ladder(value, lambda k: value * factor**k, rank, step, step)


def steps(value: int, dice: Dice, name: str, gap: int) -> tuple[int, ...]:
    """Four numbers with equal gaps, one of them the value."""
    rank = int(dice.roll(f"{name}/rank") * OPTIONS)
    return tuple(value + (k - rank) * gap for k in range(OPTIONS))


def share_limit(value: float, dice: Dice, name: str) -> float | None:
    """A whole percentage that the share exceeds as often as not; None if there is no room on either side."""
    if not 0 < value < 100:
        return None
    far = 0.35 + 0.75 * dice.roll(f"{name}/far")
    low, high = round(_percent(_odds(value) - far)), round(_percent(_odds(value) + far))
    if low < 1 or high > 99 or min(value - low, high - value) < _LEAST_POINTS:
        return None
    return float(low if dice.coin(f"{name}/side") else high)


def ratio_limit(value: float, dice: Dice, name: str, step: float = 1.0) -> float | None:
    """A number that the value exceeds as often as not."""
    factor = 1.25 + 0.75 * dice.roll(f"{name}/far")
    low, high = round(value / factor / step) * step, round(value * factor / step) * step
    if low < step or min(value - low, high - value) < step:
        return None
    return low if dice.coin(f"{name}/side") else high


def _odds(percent: float) -> float:
    return math.log(percent / (100.0 - percent))


def _percent(odds: float) -> float:
    return 100.0 / (1.0 + math.exp(-odds))
