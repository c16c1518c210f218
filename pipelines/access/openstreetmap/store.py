"""Rows by rising id in files that only grow: locations of nodes, boxes of ways; looked up without holding them."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_STEP = 512
"""One of this many ids is kept in memory: 140 MB for all nodes of the planet."""
_AT_ONCE = 16_384
"""Ids that are looked up before the pages that were read are let go: each may lie on two pages of 4 KiB."""


class Growing:
    """A file of little-endian numbers to append to; after a kill it is cut back to its last safe length."""

    def __init__(self, path: Path, dtype: str, width: int = 1) -> None:
        self.path, self.dtype, self.width = path, np.dtype(dtype), width
        self._file = path.open("ab")

    def __len__(self) -> int:
        """Rows."""
        return self._file.tell() // (self.dtype.itemsize * self.width)

    def add(self, rows: NDArray[np.generic]) -> None:
        """Append rows, (n,) or (n, width)."""
        self._file.write(np.ascontiguousarray(rows, self.dtype).tobytes())

    def flush(self) -> int:
        """Write buffered rows to the operating system; returns the number of rows."""
        self._file.flush()
        return len(self)

    def cut(self, rows: int) -> None:
        """Remove all rows after the first `rows`."""
        self._file.truncate(rows * self.dtype.itemsize * self.width)
        self._file.seek(0, 2)

    def read(self) -> NDArray[np.generic]:
        """All rows in memory, (n,) or (n, width)."""
        self._file.flush()
        found = np.fromfile(self.path, self.dtype)
        return found if self.width == 1 else found.reshape(-1, self.width)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Sorted:
    """Finds rows by id in two files: ascending ids, and their int32 rows."""

    def __init__(self, ids: Growing, rows: Growing) -> None:
        ids.flush(), rows.flush()
        self._count, self._width = len(ids), rows.width
        self._maps = [_mapped(ids), _mapped(rows)] if self._count else []
        if self._count:
            self._ids = np.frombuffer(self._maps[0], "<i8", self._count)
            self._rows = np.frombuffer(self._maps[1], "<i4", self._count * self._width).reshape(-1, self._width)
            self._firsts = self._ids[::_STEP].copy()

    def find(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of ids, in their order: (n, width), and whether each is there."""
        found, there = np.zeros((len(wanted), self._width), np.int64), np.zeros(len(wanted), bool)
        if not self._count or not len(wanted):
            return found, there
        unique, back = np.unique(wanted, return_inverse=True)
        rows, known = np.empty((len(unique), self._width), np.int64), np.empty(len(unique), bool)
        for start in range(0, len(unique), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            rows[some], known[some] = self._find_sorted(unique[some])
            self._forget()
        return rows[back], known[back]

    def find_all(self, wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All rows of ids that may be there several times: (m, width), id by id, and (n,) how many each has."""
        if not self._count or not len(wanted):
            return np.zeros((0, self._width), np.int64), np.zeros(len(wanted), np.int64)
        unique, back = np.unique(wanted, return_inverse=True)
        rows, counts = [np.zeros((0, self._width), np.int64)], np.zeros(len(unique), np.int64)
        for start in range(0, len(unique), _AT_ONCE):
            some = unique[start : start + _AT_ONCE]
            first, after = self._last(some - 1) + 1, self._last(some) + 1
            counts[start : start + _AT_ONCE] = after - first
            rows.append(self._rows[_ranges(first, after - first)].astype(np.int64))
            self._forget()
        starts = np.cumsum(counts) - counts
        return np.concatenate(rows)[_ranges(starts[back], counts[back])], counts[back]

    def _last(self, unique: NDArray[np.int64]) -> NDArray[np.int64]:
        """Last row whose id is at most each of these; -1 where there is none."""
        low = np.maximum(np.searchsorted(self._firsts, unique, side="right") - 1, 0) * _STEP
        high = np.minimum(low + _STEP, self._count)
        while (high - low > 1).any():
            middle = (low + high) >> 1
            right = self._ids[middle] <= unique
            low, high = np.where(right, middle, low), np.where(right, high, np.maximum(middle, low + 1))
        found: NDArray[np.int64] = np.where(self._ids[low] <= unique, low, -1)
        return found

    def _find_sorted(self, unique: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows of rising ids, and whether each is there."""
        low = np.maximum(self._last(unique), 0)
        return self._rows[low].astype(np.int64), self._ids[low] == unique

    def _forget(self) -> None:
        """Lets the operating system drop the pages that were read; it keeps them while memory is free."""
        for one in self._maps:
            one.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Close the files."""
        self._ids = self._rows = None  # type: ignore[assignment]
        for one in self._maps:
            one.close()


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """starts[0], starts[0] + 1, ..., as many as counts[0]; then those of the next."""
    ends = np.cumsum(counts)
    found: NDArray[np.int64] = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
    return found


def _mapped(file: Growing) -> mmap.mmap:
    with file.path.open("rb") as handle:
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
