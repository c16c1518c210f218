"""One block of a .osm.pbf: its strings, the places and the tags of its objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.openstreetmap.pbf import DamagedError, fields, malformed, numbers, zigzag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.access.openstreetmap.columns import Columns


_STRINGS = 1 << 20
"""Strings in the table of one block."""


@dataclass(slots=True)
class Block:
    """What the objects of one block have in common."""

    data: bytes
    table: tuple[int, int] = (0, 0)
    """Where the table of strings lies."""
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    step: int = 1000
    """Milliseconds."""
    unit: int = 100
    """1e-9 degrees."""
    origin: tuple[int, int] = (0, 0)
    """Longitude and latitude to add, 1e-9 degrees."""
    _words: list[bytes] | None = None

    def places(self, lon: NDArray[np.int64], lat: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 2) longitudes and latitudes, 1e-7 degrees, as osmium rounds them."""
        both = np.column_stack([lon, lat]) * self.unit + np.array(self.origin)
        found: NDArray[np.int64] = np.where(both < 0, -(-both // 100), both // 100)
        return found

    def tags(self, keys: NDArray[np.int64], values: NDArray[np.int64]) -> dict[str, str]:
        """Tags of an object from the numbers of their strings.

        Raises:
            RefusedError: they are no text.
        """
        if self._words is None:
            ends = fields(self.data, *self.table)
            self._words = [self.data[at:end] for number, at, end in ends if number == 1 and end >= 0]
        try:
            return {self._words[k].decode(): self._words[v].decode() for k, v in zip(keys, values, strict=True)}
        except UnicodeDecodeError:
            raise malformed() from None


class Tags:
    """Tags of the objects of a group, by position; decoded when they are asked for."""

    def __init__(self, block: Block, objects: Columns) -> None:
        self._block, self._objects = block, objects

    @cached_property
    def _words(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        keys, values = (numbers(self._objects.joined(field)).astype(np.int64) for field in (2, 3))
        return keys, values, np.concatenate([[0], np.cumsum(self._objects.counts(2))])

    def __call__(self, at: int) -> dict[str, str]:
        """Tags of the object at a position."""
        keys, values, ends = self._words
        mine = slice(int(ends[at]), int(ends[at + 1]))
        return self._block.tags(keys[mine], values[mine])


def string_lengths(data: bytes, start: int, stop: int) -> NDArray[np.int64]:
    """Bytes of each string of a block's table."""
    found: list[int] = []
    for number, at, end in fields(data, start, stop):
        if number == 1 and end >= 0:
            found.append(end - at)
            if b"\0" in data[at:end]:  # osmium takes it for the end of the string, and reads on in what follows
                raise malformed()
            if len(found) > _STRINGS:
                raise DamagedError(f"one of its blocks has more than {_STRINGS:,} strings")
    return np.array(found, dtype=np.int64)


def references(packed: bytes, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids that objects refer to; each object counts from zero again."""
    steps = zigzag(numbers(packed))
    if not len(steps):
        return steps
    whole = np.cumsum(steps)
    firsts = np.cumsum(sizes) - sizes
    before = np.concatenate(([0], whole))[firsts]
    found: NDArray[np.int64] = whole - np.repeat(before, sizes)
    return found
