"""Keeps a budget while several questions are under way: nothing is asked whose worst case does not fit any more.

Questions are admitted in one order, and a question that does not fit waits for those before it. So what is admitted
depends on what answers cost and not on how fast they come.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.texts.job import Allotment
    from schemas.text_sets import TokenPrices


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of questions and of answers."""

    prompt: int = 0
    """Of questions."""
    completion: int = 0
    """Of answers."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.completion + other.completion)

    @property
    def tokens(self) -> int:
        """Of both."""
        return self.prompt + self.completion

    def cost(self, prices: TokenPrices | None) -> float:
        """In the currency of the prices; 0 without prices."""
        return 0.0 if prices is None else (self.prompt * prices.input + self.completion * prices.output) / 1e6


@dataclass
class Allowance:
    """What one shard may spend."""

    limit: Allotment
    """Most that it may spend."""
    prices: TokenPrices | None = None
    """Of tokens."""
    spent: Usage = field(default_factory=Usage)
    """By answers that came."""
    stopped: bool = False
    """Whether a question was not admitted: later ones are not either."""
    _open: dict[int, Usage] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def admit(self, number: int, worst: Usage, *, wait: bool = True) -> bool | None:
        """Whether a question may be asked; it is open until `settle`. Call it in the order of the numbers.

        Args:
            number: of the question.
            worst: most that it can cost, repetitions included.
            wait: whether to wait for open questions if they decide.

        Returns:
            True or False; None without `wait` if open questions decide.
        """
        with self._changed:
            while not self.stopped:
                if self._fits(worst):
                    self._open[number] = worst
                    return True
                if not self._open:
                    self.stopped = True
                elif not wait:
                    return None
                else:
                    self._changed.wait()
            return False

    def settle(self, number: int, spent: Usage) -> None:
        """An admitted question is answered, or was given up."""
        with self._changed:
            self._open.pop(number, None)
            self.spent += spent
            self._changed.notify_all()

    def _fits(self, worst: Usage) -> bool:
        total = sum(self._open.values(), self.spent) + worst
        within = self.limit.tokens is None or total.tokens <= self.limit.tokens
        return within and (self.limit.cost is None or total.cost(self.prices) <= self.limit.cost)
