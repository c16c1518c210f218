"""Hands parts of a batch to a few threads as their bytes come from a store."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")


class Arrivals(Generic[T]):
    """Parts that are expected; each is decoded once, by a thread of the pool or by the one that waits."""

    def __init__(
        self, expected: int, decode: Callable[[T], None], pool: ThreadPoolExecutor | None, threads: int
    ) -> None:
        """Expect some parts.

        Args:
            expected: how many will be put.
            decode: called with each.
            pool: whose threads decode; None: `wait` decodes all.
            threads: how many of them at a time.
        """
        self._left, self._decode, self._pool, self._threads = expected, decode, pool, threads
        self._here: deque[T] = deque()
        self._busy = 0
        self._changed = threading.Condition()
        self._failed: BaseException | None = None

    def put(self, part: T) -> None:
        """A part has come; returns at once."""
        with self._changed:
            if self._failed is not None:  # nobody will ask for the batch
                return
            self._here.append(part)
            start = self._pool is not None and self._busy < self._threads
            self._busy += start
            if self._pool is None:
                self._changed.notify()
        if start and self._pool is not None:
            try:
                self._pool.submit(self._work)
            except RuntimeError as error:  # the pool is shut down: nobody will ask for the batch
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        """A part will not come: `wait` raises this."""
        with self._changed:
            self._failed = self._failed or error
            self._here.clear()
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when every part is decoded.

        Raises:
            what a part failed with.
        """
        while True:
            with self._changed:
                while not (self._failed or not self._left or (self._here and self._pool is None)):
                    self._changed.wait()
                if self._failed is not None:
                    raise self._failed
                if not self._left:
                    return
                part = self._here.popleft()
            self._take(part)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._here:
                    self._busy -= 1
                    return
                part = self._here.popleft()
            self._take(part)

    def _take(self, part: T) -> None:
        try:
            self._decode(part)
        except BaseException as error:  # noqa: BLE001 - raised again where the batch is asked for
            self.fail(error)
        with self._changed:
            self._left -= 1
            if not self._left:
                self._changed.notify_all()
