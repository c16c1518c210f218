"""Memory that each thread uses again: new pages for every read would cost as much as decoding it."""

from __future__ import annotations

import mmap
import threading


class Scratch(threading.local):
    """One block of memory per thread, in whole pages, which the kernel fills fastest; never shared with a fork."""

    def __init__(self, least: int) -> None:
        """Begin without memory; blocks have at least this many bytes."""
        self._least = least
        self._memory = memoryview(bytearray())

    def of(self, length: int) -> memoryview:
        """Memory of this many bytes: what the thread got before is in it or lost."""
        if len(self._memory) < length:
            self._memory = memoryview(mmap.mmap(-1, max(length, self._least), mmap.MAP_PRIVATE))
        return self._memory[:length]
