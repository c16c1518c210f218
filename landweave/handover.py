"""Memory of batches that a worker hands to the process it works for, without a copy, and gets back for the next.

Fresh memory that processes share costs three times as much as decoding into it. So a worker keeps its blocks: a batch
lies in one, its receiver maps the block, and marks it as free when no array, view or tensor over it is left. A block is
a file in memory (memfd, Linux): it has no name, takes no room in /dev/shm, which containers keep small, and is gone
when no process maps it, however they ended.
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
    """Where in a block an array begins, its dtype and shape."""

_FREE, _TAKEN = 0, 1
"""First byte of a block: a process that had the batch has let go of it; somebody has it."""
_HEADER_BYTES = mmap.PAGESIZE
_ALIGN_BYTES = 64
_SPARE = 2
"""A batch may lie in a block of so many times its size (the last of an epoch is shorter)."""
_KEPT = 16
"""Blocks of a worker, a file handle each; who keeps more batches than that gets blocks that are used once."""


@cache
def possible() -> bool:
    """Whether this system knows files in memory, and lets this process have them."""
    try:
        os.close(os.memfd_create("landweave"))
    except (AttributeError, OSError):
        return False
    return True


class HandedOver:
    """A batch on its way out of a worker: what arrives is a dict of arrays, as `convert` makes them."""

    def __init__(self, block: _Block, values: Mapping[str, Any], places: Mapping[str, Place]) -> None:
        self._block, self._places = block, places
        self._others = {name: value for name, value in values.items() if name not in places}
        self._names = list(values)
        self.convert: Callable[[Any], Any] = _as_it_is
        """Called on each value where it arrives; picklable."""

    def __reduce__(self) -> tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]:
        sent = DupFd(self._block.file)
        return (_received, (sent, self._block.size, self._names, dict(self._places), self._others, self.convert))


class SharedBuffers:
    """Blocks of one worker; a `landweave.buffers.Buffers` for `Source`. For one thread; not picklable."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._made: dict[int, tuple[weakref.ref[_Block], int, Place]] = {}
        """Address of an array -> its block, which use of it, where in it."""

    def arrays(self, wanted: Sequence[tuple[tuple[int, ...], str | np.dtype[Any]]]) -> list[NDArray[Any]]:
        """Arrays of undefined content, of these shapes and dtypes, in one block."""
        places: list[Place] = []
        end = _HEADER_BYTES
        for shape, dtype in wanted:
            places.append((end, np.dtype(dtype).str, tuple(shape)))
            end += -(-math.prod(shape) * np.dtype(dtype).itemsize // _ALIGN_BYTES) * _ALIGN_BYTES
        block = self._block(end)
        memory = block.take()
        found = [_array(memory, place) for place in places]
        known = {where: made for where, made in self._made.items() if (b := made[0]()) is not None and b.use == made[1]}
        new = {a.ctypes.data: (weakref.ref(block), block.use, p) for a, p in zip(found, places, strict=True)}
        self._made = known | new
        return found

    def hand_over(self, batch: Mapping[str, Any]) -> HandedOver | None:
        """A batch whose arrays `arrays` made; None where none of them is such (damaged samples were left out)."""
        places: dict[str, Place] = {}
        block: _Block | None = None
        for name, value in batch.items():
            made = self._made.get(value.ctypes.data) if isinstance(value, np.ndarray) else None
            if made is not None and made[2][1:] == (value.dtype.str, value.shape):
                block, places[name] = made[0](), made[2]
        if block is None:
            return None
        block.sent = True
        return HandedOver(block, batch, places)

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
        self.use = 0
        """How often it was taken."""
        self.sent = False

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)

    @property
    def free(self) -> bool:
        return self._map[0] == _FREE

    def take(self) -> NDArray[np.uint8]:
        """Its bytes. Free again when they are let go of: here, or where they were sent."""
        self._map[0] = _TAKEN
        self.use, self.sent = self.use + 1, False
        owner = np.frombuffer(memoryview(self._map), np.uint8)
        weakref.finalize(owner, self._dropped, self.use).atexit = False
        return owner

    def _dropped(self, use: int) -> None:
        if use == self.use and not self.sent:
            self._map[0] = _FREE


def _received(
    sent: Any,
    size: int,
    names: list[str],
    places: dict[str, Place],
    others: dict[str, Any],
    convert: Callable[[Any], Any],
) -> dict[str, Any]:
    """Where it arrives: arrays over the block, which is free when the last of them is gone."""
    file = sent.detach()
    try:
        memory = _mapped(file, size)
    finally:
        os.close(file)
    owner = np.frombuffer(memoryview(memory), np.uint8)
    weakref.finalize(owner, _let_go, memory, os.getpid()).atexit = False
    return {n: convert(_array(owner, places[n]) if n in places else others[n]) for n in names}


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


def _as_it_is(value: Any) -> Any:
    return value
