"""Chooses the arrays that lie side by side, and writes their chunks a second time; see `landweave.packs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from landweave import codec
from landweave.packs import pack_of, stored_bytes
from pipelines.progress import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec

_PROPOSED = 4
"""Requests per sample that a plan proposes: the three largest arrays of most datasets are most of their bytes."""


def packed(groups: Iterable[GroupSpec], requests: int | None) -> tuple[str, ...]:
    """Paths of the arrays that lie side by side, in the order of the dataset.

    Args:
        groups: of the dataset.
        requests: the recipe's `shards.requests_per_sample`: so many less one arrays stay alone, the largest by
            estimate; the rest is one more request. None, or as many as there are arrays: nothing is written twice.
    """
    arrays = [a for g in groups for a in g.arrays]
    if requests is None or requests >= len(arrays):
        return ()
    alone = {a.path for a in sorted(arrays, key=stored_bytes, reverse=True)[: requests - 1]}
    return tuple(a.path for a in arrays if a.path not in alone)


def packs_text(dataset: DatasetSpec, requests: int | None, *, remote: bool = False) -> list[str]:
    """What `requests_per_sample` costs, for the plan, or what it would save from a store: at most one line."""
    arrays = dataset.arrays
    if requests is None:
        proposed = packed(dataset.groups, _PROPOSED)
        if not (remote and proposed):
            return []
        said = f"packs     none: a random sample costs {len(arrays)} requests from this store; with "
        costs = f"shards.requests_per_sample: {_PROPOSED} it costs {_PROPOSED}, for about {_more(arrays, proposed)}"
        return [said + costs]
    asked = counted(requests, "request")
    if not dataset.packed:
        return [f"packs     none: a sample has {len(arrays)} arrays, which is no more than {asked}"]
    said = f"packs     {asked} per random sample from a bucket in place of {len(arrays)}: "
    twice = f"{len(dataset.packed)} of its arrays lie side by side a second time, about {_more(arrays, dataset.packed)}"
    return [said + twice]


def _more(arrays: Sequence[ArraySpec], twice: Collection[str]) -> str:
    share = sum(stored_bytes(a) for a in arrays if a.path in twice) / sum(stored_bytes(a) for a in arrays)
    return f"{100 * share:.0f} % more bytes"


class PackWriter:
    """The pack of one shard: a record as soon as a row is complete, the index last. Without packed arrays it is idle.

    Memory: the encoded chunks of one sample, and 16 bytes per row.
    """

    def __init__(self, folder: Path, shard: int, dataset: DatasetSpec) -> None:
        """Write below `folder`, which is laid out like the dataset's root."""
        self._folder, self._shard, self._pack = folder, shard, pack_of(dataset)
        self._file: BinaryIO | None = None
        self._entries = np.full((dataset.shard_samples, 2), codec.ABSENT, np.uint64)
        self._offset = 0
        self._waiting: dict[int, bytes] = {}

    def add(self, array: ArraySpec, number: int, chunk: bytes) -> None:
        """Take an encoded chunk of the row that is written: the chunk of this number of its array."""
        if self._pack is not None and array.path in self._pack.firsts:
            self._waiting[self._pack.firsts[array.path] + number] = chunk

    def end(self, row: int) -> None:
        """The row is complete."""
        if self._pack is None or not self._waiting:
            return
        if self._file is None:
            path = self._folder / self._pack.object(self._shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
        record = self._pack.record([self._waiting.get(n) for n in range(self._pack.chunks)])
        self._file.write(record)
        self._entries[row] = (self._offset, len(record))
        self._offset += len(record)
        self._waiting = {}

    def close(self) -> list[str]:
        """Write the index; returns the path of the object, from the dataset's root, if there is one."""
        if self._pack is None or self._file is None:
            return []
        self._file.write(codec.encode_index(self._entries))
        self._file.close()
        return [self._pack.object(self._shard)]
