"""Small arrays side by side: one object per shard from which a sample's chunks of several arrays are one range.

A dataset may name arrays (`DatasetSpec.packed`) whose chunks are written a second time, row by row, into
`packs/<shard>.bin`. The arrays themselves are complete and unchanged, so a reader that does not know packs loses
nothing. The object has the form of an array's object with one chunk per row: records in order of their rows, then the
index of `landweave.codec` (offset and length of each row's record; absent where a row has no chunk of any of the
arrays). A record, all numbers little-endian::

    uint32 x chunks   length of each chunk, in the order of `packed` and, inside an array, as they lie in its own
                      object; 2**32 - 1 where the array has no such chunk
    uint32            crc32c of these lengths
    bytes             the chunks that are there, one after another, exactly as in the arrays' own objects: each ends
                      with its crc32c

Only readers of a URL use packs, and only where the requests that are saved are worth the bytes that are read for
nothing (`Pack.worth`). Damage in a record is damage of the sample, as in any other object: the array's own object is
not read in its place, so that a broken copy is found and mended.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from awscrt.checksums import crc32c

from landweave import codec
from landweave.layout import pack_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec

_NONE = 2**32 - 1
_CRC = struct.Struct("<I")
_MANY_BANDS = 64
_WEIGHTS = {"classes": 0.1, "bits": 0.1, "mask": 0.01}
"""Stored bytes per decoded byte, about, by docs/codecs.md; continuous numbers: see `stored_bytes`."""
GAP_BYTES = 1 << 15
"""Bytes that may be read for nothing to save a request; also the gap across which ranges are merged."""


def stored_bytes(array: ArraySpec) -> float:
    """Estimate of the bytes that one sample of an array takes on disk, with all its dates.

    A pure function of the array's form, so that the plan and all builders choose alike. Datasets that were begun with
    these numbers go on with them: do not change them.
    """
    decoded = array.chip_bytes * array.slots
    if array.kind != "continuous":
        return decoded * _WEIGHTS[array.kind]
    if array.dtype.startswith("float"):
        return decoded * (0.25 if array.unit == "m" else 0.8)
    return decoded * (0.5 if len(array.bands) >= _MANY_BANDS else 0.65)


@lru_cache(maxsize=64)
def _head(chunks: int) -> struct.Struct:
    return struct.Struct(f"<{chunks}I")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """The arrays of a dataset that lie side by side; to `ShardReader` it is an array with one chunk per row."""

    members: tuple[ArraySpec, ...]
    """In the order of their chunks in a record."""
    group: str = "packs"
    """No group of a dataset: only with `name`, which no array has."""
    name: str = ""
    """See `group`."""
    path: str = "packs"
    """What messages call it."""
    chunks_per_row: int = 1
    """Records of a row."""
    chunk_bytes: int = field(init=False)
    """Most bytes of a record."""
    firsts: Mapping[str, int] = field(init=False)
    """Path of a member -> number of its first chunk in a record."""
    chunks: int = field(init=False)
    """Chunks of a record."""
    _most: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    """(chunks,) most bytes of each."""

    def __post_init__(self) -> None:
        each = [a.chunks_per_row for a in self.members]
        most = np.repeat([codec.most_bytes(a.chunk_bytes) for a in self.members], each)
        starts = accumulate(each, initial=0)
        object.__setattr__(self, "firsts", {a.path: n for a, n in zip(self.members, starts, strict=False)})
        object.__setattr__(self, "chunks", sum(each))
        object.__setattr__(self, "_most", most)
        object.__setattr__(self, "chunk_bytes", 4 * sum(each) + _CRC.size + int(most.sum()))

    def object(self, shard: int) -> str:
        """Path of a shard's object, from the dataset's root."""
        return pack_path(shard)

    def record(self, chunks: Sequence[bytes | None]) -> bytes:
        """The record of a row from its encoded chunks, None where there is none."""
        lengths = _head(self.chunks).pack(*(_NONE if c is None else len(c) for c in chunks))
        return b"".join((lengths, _CRC.pack(crc32c(lengths)), *(c for c in chunks if c is not None)))

    def spans(self, record: memoryview) -> NDArray[np.int64]:
        """(chunks, 2): start and length of each chunk in a record; a length of 0: it is not there.

        Raises:
            DamageError: the record is too short, its head differs from its crc32c, or its lengths do not fit.
        """
        head = 4 * self.chunks
        if len(record) < head + _CRC.size:
            raise codec.DamageError(f"{len(record)} bytes are too few for a record of {self.chunks} chunks")
        if crc32c(record[:head]) != _CRC.unpack_from(record, head)[0]:
            raise codec.DamageError("crc32c of the record's head is wrong")
        lengths = np.frombuffer(record, "<u4", self.chunks)
        found = np.empty((self.chunks, 2), np.int64)
        found[:, 1] = np.where(lengths == _NONE, 0, lengths)
        if not lengths.all() or (found[:, 1] > self._most).any():
            raise codec.DamageError("the record has a chunk of a length that no chunk of its array has")
        ends = np.cumsum(found[:, 1]) + (head + _CRC.size)
        if ends[-1] != len(record):
            raise codec.DamageError(f"the record has {len(record)} bytes, its chunks end at {ends[-1]}")
        found[:, 0] = ends - found[:, 1]
        return found

    def is_whole(self, record: memoryview) -> bool:
        """Whether all chunks of a record have the bytes that their crc32c are of; errors as those of `spans`."""
        return all(codec.is_whole(record[start : start + n]) for start, n in self.spans(record).tolist() if n)

    def worth(self, wanted: Mapping[str, float]) -> frozenset[str]:
        """Paths of the arrays that are taken from the pack where these are wanted of each sample; all or none.

        Args:
            wanted: array path -> share of its chunks of a sample that are wanted.

        Each array but one saves a request; what is read for nothing must cost less (estimated, see `stored_bytes`).
        """
        mine = {a.path: a for a in self.members if a.path in wanted}
        needed = sum(stored_bytes(a) * min(1.0, wanted[a.path]) for a in mine.values())
        unused = sum(stored_bytes(a) for a in self.members) - needed
        return frozenset(mine) if len(mine) > 1 and unused <= GAP_BYTES * (len(mine) - 1) else frozenset()


def pack_of(spec: DatasetSpec) -> Pack | None:
    """The pack of a dataset; None if it has none."""
    arrays = {a.path: a for a in spec.arrays}
    return Pack(members=tuple(arrays[path] for path in spec.packed)) if spec.packed else None
