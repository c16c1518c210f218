"""Reuses the memory of released batches, because new pages cost as much time as decoding.

A batch owns its memory: nothing writes to its arrays while an array, a view or a tensor over them exists. If you keep a
batch, the next batch gets other memory.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SMALL_BYTES = 1 << 16
"""Below this size malloc is as good."""


class Buffers:
    """Blocks of memory by size; safe in threads. Each child of a fork has its own."""

    def __init__(self, keep: int = 8) -> None:
        """Keep at most this many free blocks of each size."""
        self._keep = keep
        self._free: dict[int, deque[NDArray[np.uint8]]] = {}

    def __reduce__(self) -> tuple[type[Buffers], tuple[int]]:
        return (Buffers, (self._keep,))

    def arrays(self, wanted: Sequence[tuple[tuple[int, ...], str | np.dtype[Any]]]) -> list[NDArray[Any]]:
        """Arrays of a batch, of these shapes and dtypes; see `empty`."""
        return [self.empty(shape, dtype) for shape, dtype in wanted]

    def empty(self, shape: tuple[int, ...], dtype: str | np.dtype[Any]) -> NDArray[Any]:
        """An array of undefined content, like numpy.empty; its memory is reused after the array is released."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size < _SMALL_BYTES:
            return np.empty(shape, kind)
        free = self._free.setdefault(size, deque(maxlen=self._keep))
        try:
            block = free.pop()
        except IndexError:
            block = np.empty(size, np.uint8)
        # over a memoryview, so that numpy keeps `owner` (and not `block`) alive for every view of it
        owner = np.frombuffer(memoryview(block), np.uint8)  # type: ignore[arg-type]
        weakref.finalize(owner, free.append, block).atexit = False
        return owner.view(kind).reshape(shape)
