"""Progress lines with the estimated time left."""

from __future__ import annotations

import sys
import time


class ProgressPrinter:
    """Progress with an estimate: one live line on a terminal, a line every ten seconds in a log.

    The time left is reckoned when something was done, and falls with the clock until more is done. What the first call
    states was done before, by an earlier run or while nobody counted: it says nothing about the speed of this one.
    """

    EVERY_S = 10.0
    LIVE_EVERY_S = 0.5

    def __init__(self, what: str, unit: str = "samples") -> None:
        self.what = what
        self.unit = unit
        self.start = time.monotonic()
        self.last = 0.0
        self.live = sys.stderr.isatty()
        self.said_all = False
        self._first: tuple[int, float] | None = None
        """What the first call stated, and when it came."""
        self._done, self._left_s, self._since = 0, 0.0, self.start

    def __call__(self, done: int, total: int) -> None:
        """Print if there is something new to say."""
        now = time.monotonic()
        before, began = self._first = self._first or (done, now)
        if done > max(self._done, before):
            self._done, self._left_s, self._since = done, (now - began) / (done - before) * (total - done), now
        finished = done >= total
        if finished and self.said_all:
            return
        self.said_all = finished
        if not finished and now - self.last < (self.LIVE_EVERY_S if self.live else self.EVERY_S):
            return
        self.last = now
        elapsed = now - self.start
        left_s = max(0.0, self._left_s - (now - self._since))
        left = f", about {duration(left_s)} left" if 0 < done < total and left_s >= 1.0 else ""
        line = f"{self.what}: {done:,} of {total:,} {self.unit}, {duration(elapsed)}{left}"
        sys.stderr.write(f"\r\033[K{line}" if self.live else f"{line}\n")
        if self.live and finished:
            sys.stderr.write("\n")
        sys.stderr.flush()


def counted(number: float, noun: str) -> str:
    """'1 pair' or '1,234 pairs'."""
    text = f"{number:,.0f}"
    return f"{text} {noun}" if text == "1" else f"{text} {noun}s"


def duration(seconds: float) -> str:
    """'3 h 07 min', '2 min 05 s' or '12 s'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
