"""Limits one worker's load on a service: requests per second, requested pauses, and a circuit breaker."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_TRIES = 6
"""A breaker never opens after fewer failures in a row: a service that hiccups is not dead."""
_LONGEST = 20
"""The pause before the next probe doubles with each failed one, up to this many times the first."""


class Pace:
    """Starts of requests, held apart for all threads of a worker together."""

    def __init__(self, per_s: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_s`: this worker's share of the provider's rate, requests per second; None = not limited."""
        self._gap_s = 0.0 if per_s is None else 1.0 / per_s
        self._clock = clock
        self._lock = threading.Lock()
        self._next_s = 0.0

    def turn(self) -> float:
        """Seconds that this request has to wait for its turn."""
        if self._gap_s == 0.0:
            return 0.0
        with self._lock:
            now_s = self._clock()
            start_s = max(now_s, self._next_s)
            self._next_s = start_s + self._gap_s
        return start_s - now_s


class Breaker:
    """Whether a service is worth asking, shared by all threads of a worker.

    It opens when `tries` requests in a row have failed and the first of them began `patience_s` ago: at least two
    whole operations with all their retries, and nothing came through meanwhile. While it is open nothing is asked.
    After `cooldown_s` one request goes out as a probe: if it comes through all is well, otherwise the pause doubles.
    """

    def __init__(
        self, tries: int, patience_s: float, cooldown_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """See the class."""
        self._tries = max(_LEAST_TRIES, tries)
        self._patience_s = patience_s
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._since_s = 0.0
        self._pause_s = cooldown_s
        self._probe_s: float | None = None
        """Time of the next probe; None = closed."""
        self._quiet_s = 0.0
        self.ever_opened = False
        """True once the service has counted as dead."""

    def admits(self) -> bool:
        """Whether a request may go out now. The one that is let through an open breaker is the probe."""
        with self._lock:
            if self._probe_s is None:
                return True
            if self._clock() < self._probe_s:
                return False
            self._probe_s = self._clock() + self._pause_s  # the next probe, should this one be lost
            return True

    def pause(self, seconds: float) -> None:
        """The service asked for a pause of this length (Retry-After); all threads keep it."""
        with self._lock:
            self._quiet_s = max(self._quiet_s, self._clock() + seconds)

    def quiet(self) -> float:
        """Seconds until the service accepts requests again."""
        with self._lock:
            return max(0.0, self._quiet_s - self._clock())

    def succeeded(self) -> None:
        """The service answered."""
        with self._lock:
            self._failures, self._probe_s, self._pause_s = 0, None, self._cooldown_s

    def failed(self, began_s: float) -> None:
        """The service did not answer, or answered that it cannot, to a request that began at `began_s`."""
        with self._lock:
            self._failures += 1
            if self._failures == 1:
                self._since_s = began_s
            now_s = self._clock()
            if self._probe_s is not None:
                self._pause_s = min(2.0 * self._pause_s, _LONGEST * self._cooldown_s)
                self._probe_s = now_s + self._pause_s
            elif self._failures >= self._tries and now_s - self._since_s >= self._patience_s:
                self._probe_s = now_s + self._pause_s
                self.ever_opened = True
