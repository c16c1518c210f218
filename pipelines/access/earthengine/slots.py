"""Number of concurrent requests of a worker at Earth Engine: its share of the slots, and AIMD below it."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT_SLOTS = 40
"""Concurrent requests of a project, standard and high-volume endpoint each
(https://developers.google.com/earth-engine/guides/usage)."""
PROJECT_REQUESTS_PER_S = 100.0
"""Requests per second of a project (the same page)."""
_RATE_MARGIN = 0.95
"""The service counts arrivals, we count departures: a request may arrive sooner after another than it left."""
_CUT = 0.5
"""Multiplicative decrease."""
_PROBE_S = 60.0
"""After this long without a refusal one more slot is tried, up to the worker's share."""


def share_of(slots: int, workers: int, number: int = 0) -> int:
    """Slots of worker `number` (0-based) when `slots` are divided among `workers`; the rest goes to the first ones.

    Raises:
        ValueError: more workers than slots: each needs one.
    """
    if not 1 <= workers <= slots:
        raise ValueError(
            f"{slots} Earth Engine slots cannot be divided among {workers} workers: run at most {slots} workers, "
            "or set more concurrent requests (`slots`)"
        )
    if not 0 <= number < workers:
        raise ValueError(f"worker number {number} is not within 0..{workers - 1}")
    return slots // workers + (1 if number < slots % workers else 0)


class Slots:
    """Requests under way of one worker, held by its threads together.

    A worker starts with its whole share: where all workers hold to theirs, nothing is ever refused. A 429 (somebody
    else uses the project too) halves the limit once for all requests that were under way; each limit's worth of
    successes adds one, up to one below the limit that was refused; beyond that one more slot is tried per minute.
    """

    def __init__(
        self,
        share: int,
        *,
        requests_per_s: float | None = PROJECT_REQUESTS_PER_S,
        probe_s: float = _PROBE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`share`: slots of this worker; `requests_per_s`: its share of the rate, None = not limited."""
        self.share = share
        self.refusals = 0
        """429 answers so far."""
        self._gap_s = 0.0 if requests_per_s is None else 1.0 / (requests_per_s * _RATE_MARGIN)
        self._probe_s = probe_s
        self._clock = clock
        self._changed = threading.Condition()
        self._limit = float(share)
        self._ceiling = float(share)
        self._under_way = 0
        self._next_start_s = 0.0
        self._resume_s = 0.0
        self._cut_s = float("-inf")
        self._calm_s = float("-inf")

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        with self._changed:
            return int(self._limit)

    @contextmanager
    def hold(self, timeout_s: float) -> Iterator[float]:
        """Wait for a slot and hold it; yields the start time; pass it to `refused`.

        Raises:
            AccessError: UNAVAILABLE, no slot within `timeout_s`.
        """
        started_s = self._take(timeout_s)
        try:
            yield started_s
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def _take(self, timeout_s: float) -> float:
        deadline_s = self._clock() + timeout_s
        with self._changed:
            while True:
                now_s = self._clock()
                free = self._under_way < int(self._limit)
                wait_s = max(self._resume_s, self._next_start_s) - now_s
                if free and wait_s <= 0.0:
                    self._under_way += 1
                    self._next_start_s = max(now_s, self._next_start_s + self._gap_s)
                    self._changed.notify()
                    return now_s
                left_s = deadline_s - now_s
                if left_s <= 0.0:
                    raise AccessError(
                        Reason.UNAVAILABLE, f"no Earth Engine slot became free within {timeout_s:g} s", retryable=True
                    )
                self._changed.wait(min(left_s, wait_s) if free else left_s)

    def refused(self, started_s: float, retry_after_s: float | None) -> None:
        """The service answered 429 to a request that started at `started_s`."""
        with self._changed:
            self.refusals += 1
            now_s = self._clock()
            if retry_after_s is not None:
                self._resume_s = max(self._resume_s, now_s + retry_after_s)
            if started_s <= self._cut_s:
                return  # sent before the last cut: the same congestion
            self._ceiling = max(1.0, min(self._ceiling, self._limit) - 1.0)
            self._limit = max(1.0, self._limit * _CUT)
            self._cut_s = self._calm_s = now_s

    def succeeded(self) -> None:
        """The service took a request."""
        with self._changed:
            if self._limit >= self.share:
                return
            if self._limit + 1.0 / self._limit > self._ceiling and self._clock() - self._calm_s > self._probe_s:
                self._ceiling = min(float(self.share), self._ceiling + 1.0)
                self._calm_s = self._clock()
            before = int(self._limit)
            self._limit = min(self._ceiling, self._limit + 1.0 / self._limit)
            if int(self._limit) > before:
                self._changed.notify()
