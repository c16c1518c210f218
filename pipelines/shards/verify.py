"""Verifies a shard before publishing: reads every inner chunk back through the reader and compares it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from awscrt.checksums import crc32c

from landweave import codec
from landweave.local_store import LocalStore
from landweave.packed import disagreements
from landweave.packs import pack_of
from landweave.shard import ShardReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec


class VerifyError(RuntimeError):
    """Written data reads back differently: a broken disk, memory or codec; nothing is published."""


def pixels_crc(pixels: NDArray[Any]) -> int:
    """crc32c of an array's bytes, C order."""
    return int(crc32c(np.ascontiguousarray(pixels).tobytes()))


def verify(folder: Path, dataset: DatasetSpec, shard: int, written: dict[str, dict[tuple[int, int], int]]) -> None:
    """Read a staged shard back.

    Args:
        folder: where the shard was written, laid out like the dataset's root.
        dataset: its form.
        shard: its number.
        written: array path -> (row, slot) -> crc32c of the pixels that went in.

    Raises:
        VerifyError: an inner chunk is missing, one too many, or differs, in its array or where it lies side by side.
        landweave.CorruptError: a chunk or index cannot be decoded.
    """
    reader = ShardReader(LocalStore(str(folder)), dataset.shard_samples)
    for array in dataset.arrays:
        expected = written.get(array.path, {})
        if not expected and not (folder / array.object(shard)).exists():
            continue
        entries = reader.index(array, shard)
        found = {(int(r), int(s)) for r, s in np.argwhere(entries[..., 0] != codec.ABSENT)}
        each = array.chunks_per_date
        wanted = {(row, slot * each + number) for row, slot in expected for number in range(each)}
        if found != wanted:
            raise VerifyError(
                f"shard {shard}: {array.path} contains {len(found)} chunks, but {len(wanted)} were written"
            )
        _compare(reader, array, shard, expected)
    pack = pack_of(dataset)
    if pack is not None:
        objects = (*(a.object(shard) for a in pack.members), pack.object(shard))
        for wrong in disagreements(reader, pack, shard, [path for path in objects if (folder / path).exists()]):
            raise VerifyError(wrong)


def _compare(reader: ShardReader, array: ArraySpec, shard: int, expected: dict[tuple[int, int], int]) -> None:
    out = np.empty(array.sample_shape, array.dtype)
    for row in sorted({row for row, _ in expected}):
        present = [(row, slot) in expected for slot in range(array.slots)]
        reader.read(array, (shard, row), present, out, f"in row {row}")
        chips = out if array.dated else out[np.newaxis]
        for slot, chip in enumerate(chips):
            if (row, slot) in expected and pixels_crc(chip) != expected[row, slot]:
                raise VerifyError(
                    f"shard {shard}: {array.path} row {row} slot {slot} contains other pixels than were written"
                )
