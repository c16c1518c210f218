"""Reads the same protobuf message many times over, field by field for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.openstreetmap.pbf import malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_MOST_FIELDS = 1_000
"""Fields of one message: an object of the map has at most ten."""


@dataclass(frozen=True)
class Columns:
    """Fields of n messages; where a message has a field more than once, its last one."""

    raw: NDArray[np.uint8]
    """The bytes that the spans lie in."""
    numbers: Mapping[int, NDArray[np.uint64]]
    """Field -> (n,) its number, 0 where it is absent."""
    there: Mapping[int, NDArray[np.bool_]]
    """Field -> (n,) whether it is there as a number."""
    spans: Mapping[int, NDArray[np.int64]]
    """Field -> (n, 2) first byte and the one after the last; equal where it is absent."""

    def sizes(self, field: int) -> NDArray[np.int64]:
        """(n,) bytes of a field."""
        found: NDArray[np.int64] = self.spans[field][:, 1] - self.spans[field][:, 0]
        return found

    def joined(self, field: int) -> bytes:
        """The field's bytes of all messages, one behind the other."""
        spans = self.spans[field]
        if not len(spans):
            return b""
        edges = np.zeros(len(self.raw) + 1, np.int8)
        some = spans[:, 0] < spans[:, 1]
        edges[spans[some, 0]] += 1
        edges[spans[some, 1]] -= 1
        inside: NDArray[np.bool_] = np.cumsum(edges[:-1], dtype=np.int8) > 0
        return bytes(self.raw[inside])

    def counts(self, field: int) -> NDArray[np.int64]:
        """(n,) how many numbers a packed field holds."""
        whole = np.concatenate([[0], np.cumsum(self.raw < 128)])
        found: NDArray[np.int64] = whole[self.spans[field][:, 1]] - whole[self.spans[field][:, 0]]
        return found


def columns(
    raw: NDArray[np.uint8], spans: NDArray[np.int64], numbers: tuple[int, ...], packed: tuple[int, ...] = ()
) -> Columns:
    """Fields of the messages in `raw` at `spans`, (n, 2), that do not overlap and rise.

    Args:
        raw: bytes.
        spans: first byte of each message, and the one after its last.
        numbers: fields that hold one number.
        packed: fields that hold bytes.

    Raises:
        RefusedError: one of them is no message.
    """
    found = Columns(
        raw,
        {field: np.zeros(len(spans), np.uint64) for field in numbers},
        {field: np.zeros(len(spans), bool) for field in numbers},
        {field: np.repeat(spans[:, :1], 2, axis=1) for field in packed},
    )
    at, stop = spans[:, 0].copy(), spans[:, 1]
    live = np.flatnonzero(at < stop)
    for _ in range(_MOST_FIELDS):
        if not len(live):
            return found
        at[live] = _one_field(found, live, at[live], stop[live])
        live = live[at[live] < stop[live]]
    raise malformed()


def _one_field(
    found: Columns, live: NDArray[np.int64], at: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Read one field of each message that has one more; where the next one begins."""
    key, at = _varints(found.raw, at, stop)
    field, wire = key >> np.uint64(3), key & np.uint64(7)
    fixed = (wire == 1) | (wire == 5)
    if not (fixed | (wire == 0) | (wire == 2)).all():
        raise malformed()
    at[fixed] += np.where(wire[fixed] == 1, 8, 4)
    value = np.zeros(len(at), np.uint64)
    value[~fixed], at[~fixed] = _varints(found.raw, at[~fixed], stop[~fixed])
    data = wire == 2
    if (value[data] > len(found.raw)).any():
        raise malformed()
    before = at.copy()
    at[data] += value[data].astype(np.int64)
    if (at > stop).any():
        raise malformed()
    for number, column in found.numbers.items():
        mine = (field == number) & (wire == 0)
        column[live[mine]], found.there[number][live[mine]] = value[mine], True
    for number, spans in found.spans.items():
        mine = (field == number) & data
        spans[live[mine]] = np.column_stack([before[mine], at[mine]])
    return at


def _varints(
    raw: NDArray[np.uint8], at: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A number at each place, and where it ends."""
    if (at >= stop).any():
        raise malformed()
    byte = raw[at]
    value, at = (byte & 127).astype(np.uint64), at + 1
    more = np.flatnonzero(byte > 127)
    for shift in range(7, 70, 7):
        if not len(more):
            return value, at
        if (at[more] >= stop[more]).any():
            raise malformed()
        byte = raw[at[more]]
        value[more] |= (byte & 127).astype(np.uint64) << np.uint64(shift)
        at[more] += 1
        more = more[byte > 127]
    if len(more):
        raise malformed()
    return value, at
