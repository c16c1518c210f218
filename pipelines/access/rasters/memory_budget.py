"""Memory budget of the readers in one process: a large request waits until memory is free."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Room:
    """A number of bytes that all threads share."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._taken = 0
        self._free = threading.Condition()

    @contextmanager
    def taken(self, amount_bytes: int) -> Iterator[None]:
        """Reserve this much memory, and wait for it. A request above the total runs alone."""
        amount = min(amount_bytes, self._total)
        with self._free:
            self._free.wait_for(lambda: self._taken + amount <= self._total)
            self._taken += amount
        try:
            yield
        finally:
            with self._free:
                self._taken -= amount
                self._free.notify_all()
