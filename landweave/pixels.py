"""Reads what samples hold besides the catalogue: arrays, and vector objects."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from landweave.bands import pieces_of
from landweave.errors import CorruptError
from landweave.layout import STATISTICS, VECTOR_KINDS, questions, shard_manifest, supplement_manifest, vectors
from landweave.layout_json import statistics_from_json
from landweave.manifest import shard_from_bytes
from landweave.packed import decode_from
from landweave.packs import pack_of
from landweave.questions import COLUMNS as QUESTION_COLUMNS
from landweave.shard import chips_of
from landweave.strict import parse
from landweave.table import REMEDY, check_columns, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from landweave.buffers import Buffers
    from landweave.layout import ArraySpec, DatasetSpec, Json
    from landweave.manifest import ObjectSum, ShardManifest
    from landweave.shard import Fetched, ShardReader
    from landweave.table import Objects

_KEPT_SHARDS = 8
"""Shards whose questions are kept: a stream mixes the samples of some shards."""


class SamplePixels:
    """Arrays and vector objects of a dataset's samples, by shard and row."""

    def __init__(self, objects: Objects, spec: DatasetSpec, reader: ShardReader, buffers: Buffers) -> None:
        """`objects` and `reader` of the dataset of form `spec`; `buffers`: memory of the arrays."""
        self._objects, self._spec, self._reader, self._buffers = objects, spec, reader, buffers
        self._shards: dict[str, ShardManifest] = {}
        self._pack = pack_of(spec) if reader.store.remote else None
        self._record: tuple[tuple[int, int], Fetched | None] | None = None
        self._vectors: tuple[str, pa.Table] | None = None
        self._asked: dict[int, tuple[pa.Table, dict[str, list[int]]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_vectors": None, "_record": None}

    def read(self, array: ArraySpec, where: tuple[int, int], present: Sequence[bool], sample_id: str) -> NDArray[Any]:
        """All dates of one sample's array, in its own memory; see `ShardReader.read`."""
        out = self._buffers.empty(array.sample_shape, array.dtype)
        try:
            record = self._record_of(array, where)
        except CorruptError as error:
            raise CorruptError(f"sample {sample_id}: {error}") from error
        if record is None or self._pack is None:
            return self._reader.read(array, where, present, out, sample_id)
        chips = chips_of(array, where[1], present, out)
        for _, damage in decode_from(self._reader, self._pack, where[0], record, (array, chips)):
            raise CorruptError(f"sample {sample_id}: {damage}")
        self._reader.keep(self._pack, where[0], record)
        return out

    def read_bands(
        self, array: ArraySpec, where: tuple[int, int], present: Sequence[bool], bands: tuple[int, ...], sample_id: str
    ) -> NDArray[Any]:
        """Some bands of one sample's array, all dates: only the chunks that hold them are read."""
        dates, edges = array.sample_shape[:-3], array.sample_shape[-2:]
        out = self._buffers.empty((*dates, len(bands), *edges), array.dtype)
        pieces = pieces_of(array, bands, as_stored=True)
        for _, damage in self._reader.read_pieces(array, where, present, pieces, out):
            raise CorruptError(f"sample {sample_id}: {damage}")
        return out

    def _record_of(self, array: ArraySpec, where: tuple[int, int]) -> Fetched | None:
        """The sample's record of small arrays, from the second of them on that is read of it; the first is one range
        in any case, and may be all that is wanted."""
        if self._pack is None or array.path not in self._pack.firsts:
            return None
        known = self._record
        if known is None or known[0] != where:
            self._record = (where, None)
            return None
        if known[1] is None:
            self._record = known = (where, self._reader.take(self._pack, where[0], [(where[1], 0, (0, 0), None)]))
        return known[1]

    def vectors(self, label: str, shard: int, sample_id: str) -> pa.Table:
        """Vector objects of one sample; those of its shard are kept for its neighbours.

        Raises:
            CorruptError: the file is missing or damaged.
        """
        path = vectors(label, shard)
        kept = self._vectors
        if kept is None or kept[0] != path:
            source = self._objects.table(path, self._shard_object(shard, self._spec.group(label).revision, path))
            table = read_table(source, path)
            check_columns(table.schema, VECTOR_KINDS, path)
            self._vectors = kept = (path, table)
        return kept[1].filter(pc.equal(kept[1]["sample_id"], sample_id))

    def questions(self, shard: int, sample_id: str) -> list[Json]:
        """Rows of a sample's questions (`landweave.questions.COLUMNS`); [] where the dataset has none.

        Raises:
            CorruptError: the file is missing or damaged.
        """
        if self._spec.questions is None:
            return []
        kept = self._asked.get(shard)
        if kept is None:
            path = questions(shard)
            source = self._objects.table(path, self._shard_object(shard, self._spec.questions, path))
            table = read_table(source, path)
            check_columns(table.schema, QUESTION_COLUMNS, path)
            places: dict[str, list[int]] = {}
            for number, sample in enumerate(table["sample_id"].to_pylist()):
                places.setdefault(sample, []).append(number)
            kept = (table, places)
            while len(self._asked) >= _KEPT_SHARDS:
                self._asked.pop(next(iter(self._asked)), None)
            self._asked[shard] = kept
        found: list[Json] = kept[0].take(pa.array(kept[1].get(sample_id, []), pa.int64())).to_pylist()
        return found

    def tasks(self, shard: int) -> list[str]:
        """Task of each question of a shard; CorruptError as `questions`."""
        if self._spec.questions is None:
            return []
        path = questions(shard)
        source = self._objects.table(path, self._shard_object(shard, self._spec.questions, path))
        found: list[str] = read_table(source, path, columns=["task"])["task"].to_pylist()
        return found

    @cached_property
    def statistics(self) -> Json:
        """See `Dataset.statistics`."""
        path = self._spec.at(STATISTICS)
        return statistics_from_json(parse(self._objects.read(path), path), path)

    def _shard_object(self, shard: int, revision: int, path: str) -> ObjectSum:
        """Checksum of an object of a shard, from the manifest that lists it."""
        name = supplement_manifest(shard, revision) if revision else shard_manifest(shard)
        known = self._shards.get(name)
        if known is None:
            try:
                known = shard_from_bytes(self._reader.store.get(name), name)
            except FileNotFoundError as error:
                raise CorruptError(f"{name} is missing; {REMEDY}") from error
            self._shards = {name: known}
        if path not in known.objects:
            raise CorruptError(f"{path}: {name} does not list it; {REMEDY}")
        return known.objects[path]
