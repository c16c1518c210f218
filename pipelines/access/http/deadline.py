"""Closes connections at their deadline, even if a server keeps sending single bytes.

A socket's timeout starts again with every byte; this watches complete exchanges, including headers.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Watch:
    """One exchange: its deadline and the connection it uses now."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.socket: socket.socket | None = None


class Deadlines:
    """Cuts the connections of exchanges that outlive their deadline."""

    def __init__(self, tick_s: float) -> None:
        """`tick_s`: how late a cut may come."""
        self._tick_s = tick_s
        self._lock = threading.Lock()
        self._watched: set[Watch] = set()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def until(self, deadline_s: float) -> Iterator[Watch]:
        """Watch the connection that is put into what this gives until the block ends; on the monotonic clock."""
        watch = Watch(deadline_s)
        with self._lock:
            self._watched.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
        try:
            yield watch
        finally:
            with self._lock:
                watch.socket = None
                self._watched.discard(watch)

    def _run(self) -> None:
        """Ends by itself some ticks after the last exchange."""
        idle = 0
        while True:
            time.sleep(self._tick_s)
            now_s = time.monotonic()
            with self._lock:
                idle = 0 if self._watched else idle + 1
                if idle > 20:
                    self._thread = None
                    return
                for watch in self._watched:
                    if watch.socket is not None and now_s > watch.deadline_s:
                        with contextlib.suppress(OSError):  # not SSLSocket's own: it is in use by the other thread
                            socket.socket.shutdown(watch.socket, socket.SHUT_RDWR)
