"""Quota of the service: concurrent requests, requests per second and compute time, and their use so far."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.earthengine.errors import EeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOO_MANY = "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."
_TOO_FAST = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per user' "
    "of service 'earthengine.googleapis.com' for consumer 'project_number:100000000001'."
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one project may do."""

    slots: int = 40
    """Concurrent requests (https://developers.google.com/earth-engine/guides/usage: 40)."""
    requests_per_s: float | None = None
    """Requests a second (same page: 100); None = no limit."""
    eecu_hours: float | None = None
    """Compute time after which the project is in restricted mode; None = no limit."""
    restricted_slots: int = 2
    """Concurrent requests in restricted mode."""
    retry_after_s: float | None = None
    """Retry-After of refusals, seconds; None = no such header."""
    service_s: float = 0.0
    """Least time that a request takes, seconds."""


class Quota:
    """Counts one project's requests; used by all threads of the server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refused = 0
        """Requests answered with 429 so far."""
        self.eecu_s = 0.0
        """Compute time used, EECU-seconds."""
        self._lock = threading.Lock()
        self._under_way = 0
        self._recent: deque[float] = deque()

    @property
    def restricted(self) -> bool:
        """Whether the compute time is used up."""
        return self.limits.eecu_hours is not None and self.eecu_s > self.limits.eecu_hours * 3600

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one slot.

        Raises:
            EeError: 429.
        """
        self._enter()
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _enter(self) -> None:
        with self._lock:
            now = time.monotonic()
            slots = self.limits.restricted_slots if self.restricted else self.limits.slots
            if self._under_way >= slots:
                self._refuse(_TOO_MANY)
            rate = self.limits.requests_per_s
            if rate is not None:
                while self._recent and now - self._recent[0] >= 1.0:
                    self._recent.popleft()
                if len(self._recent) >= rate:
                    self._refuse(_TOO_FAST)
                self._recent.append(now)
            self._under_way += 1

    def _refuse(self, message: str) -> None:
        self.refused += 1
        raise EeError(429, message)

    def charge(self, eecu_s: float) -> None:
        """Add compute time."""
        with self._lock:
            self.eecu_s += eecu_s
