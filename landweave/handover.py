"""Memory of batches that a worker passes to the main process without a copy, and gets back for the next batch.

New shared memory costs three times as much time as decoding into it. So a worker keeps its blocks: the receiver of a
batch maps its block, and marks it as free when no array, view or tensor over it is left. A block is a file in memory
(memfd, Linux): it has no name, uses no space in /dev/shm, which is small in containers, and disappears when no process
maps it.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
import weakref
from functools import cache
from multiprocessing.reduction import DupFd
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Place = tuple[int, str, tuple[int, ...]]
    """Start of an array in a block, its dtype and shape."""

_FREE, _TAKEN = 0, 1
"""First byte of a block: a process that had the batch has let go of it; somebody has it."""
_HEADER_BYTES = mmap.PAGESIZE
_ALIGN_BYTES = 64
_SPARE = 2
"""A batch may use a block of at most this multiple of its size (the last batch of an epoch is shorter)."""
_KEPT = 16
"""Blocks of a worker, a file handle each; who keeps more batches than that gets blocks that are used once."""


@cache
def possible() -> bool:
    """True where this system has files in memory and lets this process use them."""
    try:
        os.close(os.memfd_create("landweave"))
    except (AttributeError, OSError):
        return False
    return True


class HandedOver:
    """A batch that a worker sends: the receiver gets a dict of its values, each converted by `convert`."""

    def __init__(
        self, block: _Block, places: dict[str, Place], batch: Mapping[str, Any], convert: Callable[[Any], Any]
    ) -> None:
        self._block, self._places, self._convert = block, places, convert
        self._values = {name: None if name in places else value for name, value in batch.items()}

    def __reduce__(self) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
        return (_received, (DupFd(self._block.file), self._block.size, self._places, self._values, self._convert))


class SharedBuffers:
    """Blocks of one worker; a `landweave.buffers.Buffers` for `Source`. For one thread; not picklable."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._owned: dict[int, _Block] = {}
        """Identity of the array that a batch's arrays are views of, while it lives -> its block."""

    def arrays(self, wanted: Sequence[tuple[tuple[int, ...], str | np.dtype[Any]]]) -> list[NDArray[Any]]:
        """Arrays of undefined content, of these shapes and dtypes, in one block."""
        places: list[Place] = []
        end = _HEADER_BYTES
        for shape, dtype in wanted:
            kind = np.dtype(dtype)
            places.append((end, kind.str, shape))
            end += -(-math.prod(shape) * kind.itemsize // _ALIGN_BYTES) * _ALIGN_BYTES
        block = self._block(end)
        owner = block.take()
        self._owned[id(owner)] = block
        weakref.finalize(owner, self._owned.pop, id(owner)).atexit = False
        return [_array(owner, place) for place in places]

    def hand_over(self, batch: Mapping[str, Any], convert: Callable[[Any], Any]) -> HandedOver | None:
        """The message to send instead of a batch; None if its arrays are copies (damaged samples were left out).

        Args:
            batch: from arrays that `arrays` made, and other values, which are pickled.
            convert: called on each value where it arrives; picklable.
        """
        places: dict[str, Place] = {}
        sent: _Block | None = None
        for name, value in batch.items():
            owner = value.base if isinstance(value, np.ndarray) else None
            block = self._owned.get(id(owner))
            if owner is not None and block is not None:
                sent = block
                places[name] = (value.ctypes.data - owner.ctypes.data, value.dtype.str, value.shape)
        if sent is None:
            return None
        sent.sent = True
        return HandedOver(sent, places, batch, convert)

    def _block(self, size: int) -> _Block:
        free = [b for b in self._blocks if b.free]
        fitting = min((b for b in free if size <= b.size <= _SPARE * size), key=lambda b: b.size, default=None)
        if fitting is not None:
            return fitting
        self._blocks = [b for b in self._blocks if b not in free or b.size >= size]
        made = _Block(size)
        if len(self._blocks) < _KEPT:
            self._blocks.append(made)
        return made


class _Block:
    """A file in memory; closed when nobody holds it any more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.file = os.memfd_create("landweave", os.MFD_CLOEXEC)
        os.ftruncate(self.file, size)
        self._map = _mapped(self.file, size)
        self.sent = False
        self._use = 0

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    @property
    def free(self) -> bool:
        return self._map[0] == _FREE

    def take(self) -> NDArray[np.uint8]:
        """The bytes of the block. It is free again when nobody uses them, here or in the receiver."""
        self._map[0] = _TAKEN
        self.sent, self._use = False, self._use + 1
        owner = np.frombuffer(memoryview(self._map), np.uint8)
        weakref.finalize(owner, self._dropped, self._use).atexit = False
        return owner

    def _dropped(self, use: int) -> None:
        if use == self._use and not self.sent:
            self._map[0] = _FREE


def _received(
    sent: Any, size: int, places: dict[str, Place], values: dict[str, Any], convert: Callable[[Any], Any]
) -> dict[str, Any]:
    """Called in the receiver: arrays over the block. The block is free when the last array is released."""
    file = sent.detach()
    try:
        memory = _mapped(file, size)
    finally:
        os.close(file)
    owner = np.frombuffer(memoryview(memory), np.uint8)
    weakref.finalize(owner, _let_go, memory, os.getpid()).atexit = False
    return {n: convert(_array(owner, places[n]) if n in places else value) for n, value in values.items()}


def _mapped(file: int, size: int) -> mmap.mmap:
    """A map of a file; before Python 3.13 it keeps a file handle of its own."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(file, size, trackfd=False)
    return mmap.mmap(file, size)


def _let_go(memory: mmap.mmap, process: int) -> None:
    if os.getpid() == process:  # and not a child that was forked from it meanwhile
        memory[0] = _FREE


def _array(memory: NDArray[np.uint8], place: Place) -> NDArray[Any]:
    start, dtype, shape = place
    kind = np.dtype(dtype)
    return memory[start : start + math.prod(shape) * kind.itemsize].view(kind).reshape(shape)
