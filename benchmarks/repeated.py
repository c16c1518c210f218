"""Objects of shards that exist only in the server: the rows of a small object, repeated.

A folder with `repeated.json`, {"rows": 64, "times": 64}, is a dataset of one date per layer whose shard 0 has pixels in
its first 64 rows. Every object of a shard, 0 too, has those chunks 64 times, and an index of
4,096 entries that says so.
"""

from __future__ import annotations

import json
import mmap
import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from landweave.codec import decode_index, encode_index, index_bytes
from landweave.layout import pack_path

if TYPE_CHECKING:
    from pathlib import Path

_OBJECT = re.compile(r"([\w.-]+)/(?:(data\.zarr/\w+/\w+/c/)\d+((?:/0)+)|packs/\d+\.bin)")


class Repeated:
    """The bytes of one object."""

    def __init__(self, base: Path, rows: int, times: int) -> None:
        """Take the object with the first `rows` rows; it has an index of `rows * times` entries."""
        with base.open("rb") as file:
            held = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        chunks = rows * times
        first = decode_index(held[-index_bytes(chunks) :], chunks)[:rows]
        self._body = held[: len(held) - index_bytes(chunks)]
        shift = np.arange(times, dtype=np.uint64)[:, None] * np.uint64(len(self._body))
        entries = np.stack([first[None, :, 0] + shift, np.broadcast_to(first[None, :, 1], (times, rows))], axis=-1)
        self._index = memoryview(encode_index(entries.reshape(chunks, 2)))
        self._whole = len(self._body) * times

    def __len__(self) -> int:
        return self._whole + len(self._index)

    def part(self, start: int, stop: int) -> memoryview:
        """Bytes [start, stop)."""
        if start >= self._whole:
            return self._index[start - self._whole : stop - self._whole]
        begin = start % len(self._body)
        if stop <= self._whole and begin + stop - start <= len(self._body):
            return self._body[begin : begin + stop - start]
        found = bytearray()
        while start < stop:
            begin = start % len(self._body)
            piece = (
                self._body[begin : begin + min(stop, self._whole) - start]
                if start < self._whole
                else self._index[start - self._whole : stop - self._whole]
            )
            found += piece
            start += len(piece)
        return memoryview(found)


def repeated(home: Path, name: str) -> Repeated | None:
    """The object of that name, if it is one of a shard of a repeated dataset."""
    found = _OBJECT.fullmatch(name)
    if found is None:
        return None
    return _made(home, found[1], f"{found[2]}0{found[3]}" if found[2] else pack_path(0))


@cache
def _made(home: Path, folder: str, path: str) -> Repeated | None:
    mark, base = home / folder / "repeated.json", home / folder / path
    if not mark.is_file() or not base.is_file():
        return None
    form = json.loads(mark.read_text())
    return Repeated(base, form["rows"], form["times"])
