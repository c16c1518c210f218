"""Reads packs (`landweave.packs`): gives the chunks of a record to their arrays, and compares them with the arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from landweave import codec
from landweave.shard import REMEDY, Key
from landweave.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec
    from landweave.packs import Pack
    from landweave.shard import Chip, Fetched, ShardReader

_PIECE_BYTES = 1 << 24
_Damage = list[tuple[Key, str]]
"""(key, what is wrong) of chips."""


def deal(
    pack: Pack, shard: int, come: Fetched, wanted: Iterable[tuple[ArraySpec, list[Chip]]]
) -> Iterator[tuple[list[Chip], list[memoryview], _Damage]]:
    """For each array, the chips that came in records, their bytes, and what is wrong with the others.

    Args:
        shard: which.
        come: records; the keys of their chips are (sample, 0).
        wanted: chips of each array; their keys begin with the sample. Those without a record are left out.
    """
    records: dict[int, tuple[memoryview, NDArray[np.int64]]] = {}
    damage: _Damage = []
    for (row, _, key, _), data in zip(come.chips, come.found, strict=True):
        try:
            records[key[0]] = (data, pack.spans(data))
        except codec.DamageError as error:
            damage.append((key, _damaged(pack, shard, row, error)))
    for array, chips in wanted:
        mine, found = [], []
        for chip in chips:
            held = records.get(chip[2][0])
            if held is None:
                continue
            start, length = held[1][pack.firsts[array.path] + chip[1]].tolist()
            if length:
                mine.append(chip)
                found.append(held[0][start : start + length])
            else:
                damage.append((chip[2], _lacking(pack, array, shard)))
        yield mine, found, damage
        damage = []


def records(wanted: Iterable[list[Chip]]) -> list[Chip]:
    """The records that hold these chips of some arrays, as chips of the pack: one for each sample that has any."""
    rows = {key[0]: row for chips in wanted for row, _, key, _ in chips}
    return [(row, 0, (i, 0), None) for i, row in sorted(rows.items())]


def decode_from(
    reader: ShardReader, pack: Pack, shard: int, come: Fetched, wanted: tuple[ArraySpec, list[Chip]]
) -> _Damage:
    """Verify and decode chips of one array from records; see `ShardReader.decode`."""
    if not wanted[1]:
        return []
    ((mine, found, damage),) = deal(pack, shard, come, [wanted])
    return come.damage + damage + reader.decode(wanted[0], shard, mine, found, None, Timing())


def _damaged(pack: Pack, shard: int, row: int, error: codec.DamageError) -> str:
    return f"{pack.object(shard)}: row {row}: {error}; {REMEDY}"


def _lacking(pack: Pack, array: ArraySpec, shard: int) -> str:
    return f"{array.path} is in the catalogue but not in {pack.object(shard)}; {REMEDY}"


def disagreements(reader: ShardReader, pack: Pack, shard: int, there: Container[str]) -> Iterator[str]:
    """One line per row of a pack whose chunks are not those of the arrays' own objects.

    Args:
        reader: of the dataset.
        pack: its pack.
        shard: which shard.
        there: paths of the shard's objects that exist.

    Raises:
        CorruptError: an index is damaged. AccessError: the store cannot be reached.
    """
    own = [a for a in pack.members if a.object(shard) in there]
    path, held = pack.object(shard), np.zeros(reader.shard_samples, np.bool_)
    for array in own:
        held |= (reader.index(array, shard)[..., 0] != codec.ABSENT).any(axis=1)
    if path not in there:
        if held.any():
            yield f"shard {shard}: {path} is missing"
        return
    entries = reader.index(pack, shard)[:, 0]
    for row in np.flatnonzero((entries[:, 0] != codec.ABSENT) != held).tolist():
        yield f"{path}: row {row} {'lacks its record' if held[row] else 'has a record and no chunks of its arrays'}"
    beyond = entries.sum(axis=1) > reader.store.size(path)
    rows = [r for r in np.flatnonzero(held).tolist() if entries[r, 0] != codec.ABSENT]
    for row in (r for r in rows if beyond[r]):
        yield f"{path}: the record of row {row} lies beyond the end of the object"
    rows = [r for r in rows if not beyond[r]]
    for some in _pieces(rows, entries[:, 1]):
        spans = [(int(entries[r, 0]), int(entries[r, 1])) for r in some]
        records = {r: memoryview(bytes(d)) for r, d in zip(some, reader.store.get_ranges(path, spans), strict=True)}
        yield from _compared(reader, pack, shard, there, records)


def _pieces(rows: list[int], lengths: Any) -> Iterator[list[int]]:
    """Rows in order, in groups of some 16 MiB of records."""
    some: list[int] = []
    size = 0
    for row in rows:
        if some and size + int(lengths[row]) > _PIECE_BYTES:
            yield some
            some, size = [], 0
        some.append(row)
        size += int(lengths[row])
    if some:
        yield some


def _compared(
    reader: ShardReader, pack: Pack, shard: int, there: Container[str], records: dict[int, memoryview]
) -> Iterator[str]:
    """Records, by row, against the chunks in the arrays' own objects."""
    path = pack.object(shard)
    spans: dict[int, NDArray[np.int64]] = {}
    for row, record in records.items():
        try:
            spans[row] = pack.spans(record)
        except codec.DamageError as error:
            yield f"{path}: row {row}: {error}"
    for array in pack.members:
        first, wrong = pack.firsts[array.path], set()
        own = reader.index(array, shard) if array.object(shard) in there else None
        places, copies = [], []
        for row, found in spans.items():
            for number in range(array.chunks_per_row):
                start, length = found[first + number].tolist()
                offset, size = (codec.ABSENT, 0) if own is None else own[row, number].tolist()
                if length != (0 if offset == codec.ABSENT else size):
                    wrong.add(row)
                elif length:
                    places.append((offset, size))
                    copies.append((row, records[row][start : start + length]))
        chunks = reader.store.get_ranges(array.object(shard), places) if places else ()
        wrong |= {row for (row, copy), chunk in zip(copies, chunks, strict=True) if copy != chunk}
        for row in sorted(wrong):
            yield f"{path}: row {row} holds other bytes of {array.path} than {array.object(shard)}"
