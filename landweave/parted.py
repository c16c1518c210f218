"""A catalogue in parts (layout 3): it opens only the parts and row groups that an answer needs."""

from __future__ import annotations

import io
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from awscrt.checksums import crc32c

from landweave.catalogue import (
    Catalogue,
    as_given,
    days_of,
    groups_of,
    impossible,
    kept_of,
    kinds,
    overlap,
    touch,
    with_gaps,
)
from landweave.errors import CorruptError
from landweave.layout import ROOT, SPLITS
from landweave.order import Runs
from landweave.parts import (
    BLOCKS_KEY,
    ID_BLOCK,
    ID_ENTRY,
    IDS,
    PART_BLOCK,
    Part,
    id_hash,
    record_bytes,
    root_from_bytes,
)
from landweave.positions import Whole
from landweave.query import NO_HINT, Many, columns_of
from landweave.strict import SAMPLE_ID
from landweave.table import REMEDY, check_columns, read_row_groups, told
from landweave.values import distinct, empty_table, first_row, indexes, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from landweave.layout import Json
    from landweave.manifest import DatasetManifest
    from landweave.parts import Root
    from landweave.positions import Positions
    from landweave.query import Hint
    from landweave.store import Store
    from landweave.table import Objects

K = TypeVar("K")
V = TypeVar("V")
_FOOTERS, _GROUP_BYTES, _RECORDS = 32, 1 << 26, 256
"""Open parts, bytes of columns of row groups, and records of shards that are kept."""
_AT_ONCE, _AHEAD, _AHEAD_WIDE = 64, 16, 4
"""Requests to a URL at a time; parts that are read ahead for positions alone, and for columns too (captions of a part
take 40 MB)."""
_BLOCKS = 64
"""Checked blocks that an open part keeps: 4 MiB."""
_ID_BLOCKS = 256
"""Blocks of ids that are one request: 3 MiB."""


def catalogue_of(store: Store, objects: Objects, manifest: DatasetManifest) -> Catalogue:
    """The catalogue of a dataset, in one file or in parts."""
    if manifest.spec.at(ROOT) in manifest.objects:
        return PartedCatalogue(store, objects, manifest)
    return Catalogue(objects, manifest.spec, manifest.samples)


class PartedCatalogue(Catalogue):
    """See `Catalogue`."""

    def __init__(self, store: Store, objects: Objects, manifest: DatasetManifest) -> None:
        super().__init__(objects, manifest.spec, manifest.samples)
        self._store = store
        self._sums = {path: found.sha256 for path, found in manifest.objects.items()}
        self._open: _Kept[int, _Open] = _Kept(_FOOTERS)
        self._groups: _Kept[Any, pa.Table] = _Kept(_GROUP_BYTES, _bytes_of)
        self._records: _Kept[int, NDArray[np.bool_]] = _Kept(_RECORDS)

    @property
    def place(self) -> tuple[str, str]:
        """URL and file that it is read from."""
        return self._objects.url, self._spec.at(ROOT)

    @property
    def shards(self) -> list[int]:
        """Numbers of the shards that have samples, ascending."""
        return [int(n) for n in self._root.shards]

    @cached_property
    def _root(self) -> Root:
        path = self._spec.at(ROOT)
        return root_from_bytes(self._objects.read(path), path, self._spec, self.samples)

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Position after the last sample of each part."""
        return np.cumsum([p.samples for p in self._root.parts], dtype=np.int64)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """Position of the first sample of each part."""
        return np.concatenate([[0], self._ends[:-1]]).astype(np.int64)

    @cached_property
    def light(self) -> pa.Table:
        """See `Catalogue.light`; reads every part."""
        present = [f"{g.name}_present" for g in self._spec.groups]
        light = self.read(["id", "shard", "row", "split", *present])
        for wrong in impossible(light, self._spec, self.samples):
            raise CorruptError(f"{self._spec.at(ROOT)}: {wrong}; {REMEDY}")
        return light

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns that a query can name."""
        if self._root.schema is not None:
            check_columns(self._root.schema, kinds(self._spec), self.place[1])
            return self._root.schema
        return self._part(0).metadata.schema.to_arrow_schema()

    def position(self, sample_id: str) -> int | None:
        """See `Catalogue.position`."""
        for position in self._hashed([sample_id])[0]:
            if self.item(position)["id"] == sample_id:  # the caller will want its other columns
                return position
        return None

    def places(self, sample_ids: Sequence[str]) -> list[int | None]:
        """See `Catalogue.places`."""
        if len(sample_ids) == 1:
            return [self.position(sample_ids[0])]
        candidates = self._hashed(sample_ids)
        listed = np.array([p for some in candidates for p in some], np.int64)
        held = iter(self.ids(listed))
        named = [{next(held): position for position in some} for some in candidates]
        return [some.get(name) for name, some in zip(sample_ids, named, strict=True)]

    def _hashed(self, sample_ids: Sequence[str]) -> list[list[int]]:
        """Positions of the samples whose ids have the hash of each id; the root is read at the same time."""
        file = _IdFile(self._store, IDS, self.samples)
        wanted = {i: id_hash(i) for i in sample_ids if SAMPLE_ID.fullmatch(i)}
        spans = file.spans(sorted(wanted.values()))
        jobs: list[Callable[[], Any]] = [lambda: self._root] if "_root" not in self.__dict__ else []
        before = len(jobs)
        jobs += [lambda s=span: file.read(*s) for span in spans]  # type: ignore[misc]
        read = self._together(jobs)[before:]
        found = [file.positions(wanted[i], read) if i in wanted else [] for i in sample_ids]
        for position in (p for some in found for p in some):
            if position >= self.samples:
                raise CorruptError(f"{IDS}: position {position} of {self.samples}; {REMEDY}")
        return found

    def ids(self, positions: NDArray[np.int64]) -> list[str]:
        """Ids of samples by position."""
        return list(self._gathered(("id",), positions)["id"].to_pylist())

    def id(self, position: int) -> str:
        """Id of a sample."""
        return self.ids(np.array([position]))[0]

    def seats(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 2): shard and row of samples."""
        found = np.empty((len(positions), 2), np.int64)
        for shard, local, inside, record in self._by_shard(positions):
            found[inside, 0], found[inside, 1] = shard, np.flatnonzero(record[0])[local]
        return found

    def unseen(self, positions: NDArray[np.int64]) -> list[int]:
        """See `Catalogue.unseen`: those whose record is not kept."""
        root = self._root
        found = root.shards[distinct(np.searchsorted(root.ends, positions, side="right"))]
        return [shard for shard in found.tolist() if shard not in self._records]

    def _by_shard(
        self, positions: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
        """(shard, number of each of its samples in it, indexes into `positions`, record of the shard)."""
        root = self._root
        places = np.searchsorted(root.ends, positions, side="right")
        firsts = root.ends - np.diff(root.ends, prepend=0)
        numbers = distinct(places)
        records = self._records_of(root.shards[numbers].tolist())
        for n, record in zip(numbers.tolist(), records, strict=True):
            inside = np.flatnonzero(places == n)
            yield int(root.shards[n]), positions[inside] - firsts[n], inside, record

    def runs(self, positions: Positions) -> Runs:
        """Samples by shard."""
        root = self._root
        if isinstance(positions, Whole):
            return Runs(root.ends)
        if len(positions) and (positions[1:] >= positions[:-1]).all():
            ends = np.searchsorted(positions, root.ends)
            return Runs(ends[np.diff(ends, prepend=0) > 0])
        return Runs.of(np.searchsorted(root.ends, positions, side="right"))

    def inside(self, shard: int) -> NDArray[np.int64]:
        """Positions of the samples of a shard, by row."""
        root = self._root
        place = int(np.searchsorted(root.shards, shard))
        if place == len(root.shards) or root.shards[place] != shard:
            return np.zeros(0, np.int64)
        return np.arange(root.ends[place - 1] if place else 0, root.ends[place])

    def splits(self, positions: NDArray[np.int64]) -> list[str]:
        """The split of each sample."""
        names = [p.split for p in self._root.parts]
        return [names[n] for n in np.searchsorted(self._ends, positions, side="right").tolist()]

    def checksum(self, positions: Positions) -> int:
        """Checksum of the ids of all samples and of the chosen positions, and their order."""
        base = int(crc32c(self._sums[self._root.ids].encode()))
        if isinstance(positions, Whole):
            return base
        return int(crc32c(positions.tobytes(), base))

    def presence(self, group: str, positions: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """(n, slots): whether each observation of samples is there; of all samples if None."""
        chosen = np.arange(self.samples) if positions is None else positions
        start = 1
        for known in self._spec.groups:
            if known.name == group:
                break
            start += known.slot_count
        slots = self._spec.group(group).slot_count
        found = np.empty((len(chosen), slots), np.bool_)
        for _, local, inside, record in self._by_shard(chosen):
            found[inside] = record[start : start + slots, np.flatnonzero(record[0])[local]].T
        return found

    def _records_of(self, shards: Sequence[int]) -> Iterator[NDArray[np.bool_]]:
        """(1 + all slots, rows) of each shard: whether the row holds a sample, and which observations are there."""
        length, path = record_bytes(self._spec), self._root.rows
        for start in range(0, len(shards), _RECORDS):
            some = shards[start : start + _RECORDS]
            known = {s: record for s in some if (record := self._records.get(s)) is not None}
            lacking = [s for s in some if s not in known]
            raws = _ranges(self._store, path, [(s * length, length) for s in lacking])
            known |= {s: self._record(s, raw) for s, raw in zip(lacking, raws, strict=True)}
            yield from (known[s] for s in some)

    def _record(self, shard: int, raw: bytes | memoryview) -> NDArray[np.bool_]:
        if len(raw) != record_bytes(self._spec) or crc32c(bytes(raw[:-4])) != int.from_bytes(raw[-4:], "little"):
            raise CorruptError(f"{self._root.rows}: the record of shard {shard} differs from its checksum; {REMEDY}")
        width = self._spec.shard_samples
        bits = np.frombuffer(raw, np.uint8)[:-4].reshape(-1, -(-width // 8))
        record = np.unpackbits(bits, axis=1, bitorder="little", count=width).astype(np.bool_)
        held, stated = int(record[0].sum()), len(self.inside(shard))
        if held != stated:
            raise CorruptError(
                f"{self._root.rows}: shard {shard} has {held} samples, {self.place[1]} states {stated}; {REMEDY}"
            )
        return self._records.keep(shard, record)

    def days(self, group: str, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Catalogue.days`."""
        name = f"{group}_datetimes"
        return days_of(self._gathered((name,), positions)[name], group, self._spec.group(group).slot_count)

    def texts(self, column: str) -> Collection[str]:
        """The distinct texts in a column, if they are few; otherwise something that holds each of them."""
        if column == "split":
            return dict.fromkeys(SPLITS)
        if column in self._root.texts:
            return dict.fromkeys(self._root.texts[column])
        if column == "id":
            return Many(self.samples, lambda values: [p is not None for p in self.places(values)])
        return Many(self.samples, lambda values: [True] * len(values))

    def _values(self, name: str, positions: NDArray[np.int64]) -> pa.Array:
        return self._filled(name, self._gathered((name,), positions))

    def _filled(self, name: str, table: pa.Table) -> pa.Array:
        found = table[name].combine_chunks()
        return with_gaps(found) if name in self._root.gaps else found

    def columns(self, names: Sequence[str], positions: NDArray[np.int64]) -> dict[str, Any]:
        """See `Catalogue.columns`: all row groups are asked for together."""
        table = self._gathered(tuple(dict.fromkeys(names)), positions)
        return {name: as_given(name, self._filled(name, table)) for name in table.column_names}

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """See `Catalogue.read`; reads every part."""
        return pa.concat_tables([self._batch(n, columns, None, NO_HINT)[1] for n in range(len(self._root.parts))])

    def rows(self, columns: list[str] | None, positions: Positions) -> pa.Table:
        """See `Catalogue.rows`."""
        if isinstance(positions, Whole):
            return self.read(columns)
        return self._gathered(None if columns is None else tuple(columns), positions)

    def item(self, position: int) -> Json:
        """All columns of one sample: its row group is read, and kept for its neighbours."""
        return first_row(self._gathered(None, np.array([position])))

    def items(self, positions: Sequence[int]) -> list[Json]:
        """All columns of some samples."""
        return rows_of(self._gathered(None, np.array(positions, np.int64)))

    def match(self, where: pc.Expression | None, hint: Hint = NO_HINT) -> Positions:
        """Positions of the samples that fulfil `where`, ascending; opens the parts that can hold some."""
        if where is None:
            return Whole(self.samples)
        if hint.alone:
            held = [n for n, part in enumerate(self._root.parts) if can_hold(part, hint)]
            spans = [np.arange(self._firsts[n], self._ends[n]) for n in held]
        else:
            spans = [found for found, _ in self.batches((), where, hint)]
        return np.concatenate(spans) if spans else np.zeros(0, np.int64)

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None, hint: Hint = NO_HINT, start: int = 0
    ) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """See `Catalogue.batches`: part by part, with some read ahead from a URL."""
        held = range(len(self._root.parts)) if hint.ids is None else self._parts_of(sorted(hint.ids))
        numbers = [n for n in held if self._ends[n] > start and can_hold(self._root.parts[n], hint)]
        jobs = (partial(self._batch, n, columns, where, hint) for n in numbers)
        for positions, table in self._in_turn(jobs, _AHEAD_WIDE if columns else _AHEAD):
            first = int(np.searchsorted(positions, start))
            if first < len(positions):
                yield positions[first:], table.slice(first)

    def _parts_of(self, sample_ids: Sequence[str]) -> list[int]:
        """Parts that hold samples with some ids."""
        found = np.array([p for some in self._hashed(sample_ids) for p in some], np.int64)
        return [int(n) for n in distinct(np.searchsorted(self._ends, found, side="right"))]

    def _batch(
        self, number: int, columns: Sequence[str] | None, where: pc.Expression | None, hint: Hint
    ) -> tuple[NDArray[np.int64], pa.Table]:
        """Positions and columns (all if None) of the samples of a part that fulfil a condition."""
        part, names = self._part(number), None
        if columns is not None:
            names = list(dict.fromkeys([*columns, *([] if where is None else columns_of(where, self.schema))]))
        groups, size = groups_of(part.metadata, hint), self._root.row_group
        held = self._root.parts[number].samples
        spans = (np.arange(g * size, min(held, (g + 1) * size)) for g in groups)
        rows = np.concatenate([np.zeros(0, np.int64), *spans])
        table = part.rows(groups, None if names is None else names or ["row"])
        pieces = list(kept_of(table, columns, where))
        if not pieces:
            return rows, table.slice(0, 0).select(table.column_names if columns is None else list(columns))
        found = np.concatenate([chosen for chosen, _ in pieces])
        return self._firsts[number] + rows[found], pa.concat_tables([kept for _, kept in pieces])

    def _part(self, number: int) -> _Open:
        known = self._open.get(number)
        if known is not None:
            return known
        part = _Open(self._store, self._root.parts[number], self._root.row_group)
        check_columns(part.metadata.schema.to_arrow_schema(), kinds(self._spec), self._root.parts[number].path)
        return self._open.keep(number, part)

    def _gathered(self, columns: tuple[str, ...] | None, positions: NDArray[np.int64]) -> pa.Table:
        """Columns (all if None) of samples, in their order, from their row groups."""
        if not len(positions):
            return empty_table(self.schema if columns is None else pa.schema([self.schema.field(c) for c in columns]))
        keys, inverse = self._keys(positions)
        local = positions - np.array([self._firsts[n] + g * self._root.row_group for n, g in keys])[inverse]
        order = np.argsort(inverse, kind="stable")
        edges = np.searchsorted(inverse[order], np.arange(len(keys) + 1))

        by_part: dict[int, list[int]] = {}
        for number, group in keys:
            by_part.setdefault(number, []).append(group)
        alone = columns is None and len(keys) == 1
        lacking = [] if alone else [n for n in by_part if n not in self._open]
        self._together([lambda n=n: self._part(n) for n in lacking])  # type: ignore[misc]
        jobs = [partial(self._rows_of, number, some, columns) for number, some in by_part.items()]
        groups = [table for some in self._together(jobs) for table in some]
        tables = [t.take(indexes(local[order[edges[i] : edges[i + 1]]])) for i, t in enumerate(groups)]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return pa.concat_tables(tables).take(indexes(place))

    def _keys(self, positions: NDArray[np.int64]) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
        """The (part, row group) pairs that hold samples, and for each sample its pair."""
        parts = np.searchsorted(self._ends, positions, side="right")
        numbers = parts * 2**32 + (positions - self._firsts[parts]) // self._root.row_group
        found = distinct(numbers)
        return [(int(key >> 32), int(key & 0xFFFFFFFF)) for key in found], np.searchsorted(found, numbers)

    def _rows_of(self, number: int, groups: list[int], columns: tuple[str, ...] | None) -> list[pa.Table]:
        """Columns (all if None) of each of these row groups of a part; what is not kept is read together."""
        found = {group: self._held(number, group, columns) for group in groups}
        lacking = [group for group, table in found.items() if table is None]
        if lacking:
            table = self._read_groups(number, lacking, columns)
            if "id" in table.column_names:
                ids = table["id"]
                if not pc.all(pc.match_substring_regex(ids, f"^(?:{SAMPLE_ID.pattern})\\z")).as_py() or ids.null_count:
                    raise CorruptError(f"{self._root.parts[number].path}: column id contains no sample id; {REMEDY}")
            size, start = self._root.row_group, 0
            for group in lacking:
                some = table.slice(start, min(size, self._root.parts[number].samples - group * size))
                start += some.num_rows
                found[group] = self._groups.keep((number, group, columns), some)
        return [found[group] for group in groups]

    def _held(self, number: int, group: int, columns: tuple[str, ...] | None) -> pa.Table | None:
        """Columns of a row group that are kept."""
        for key in ((number, group, columns), (number, group, None)):
            known = self._groups.get(key)
            if known is not None:
                return known if columns is None else known.select(list(columns))
        return None

    def _read_groups(self, number: int, groups: list[int], columns: tuple[str, ...] | None) -> pa.Table:
        """Columns (all if None) of row groups; one group as a whole is asked for together with the part's footer."""
        held = self._root.parts[number]
        known = columns is not None or not self._store.remote or number in self._open
        if known or len(groups) > 1 or groups[0] >= len(held.groups):
            return self._part(number).rows(groups, columns)
        group = groups[0]
        start = held.groups[group] // PART_BLOCK * PART_BLOCK
        stop = min(held.footer, -(-(*held.groups, held.footer)[group + 1] // PART_BLOCK) * PART_BLOCK)
        part, raw = self._together(
            [lambda: self._part(number), lambda: _range(self._store, held.path, start, stop - start)]
        )
        return part.rows([group], None, {start: raw})

    def _together(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Results of several requests: at the same time, if each waits for an answer from elsewhere."""
        if len(jobs) < 2 or not self._store.remote:
            return [job() for job in jobs]
        with ThreadPoolExecutor(min(_AT_ONCE, len(jobs))) as pool:
            return list(pool.map(lambda job: job(), jobs))

    def _in_turn(self, jobs: Iterable[Callable[[], V]], most: int) -> Iterator[V]:
        """Results of jobs, one after the other; from a URL, some are done ahead."""
        if not self._store.remote:
            yield from (job() for job in jobs)
            return
        ahead: deque[Future[V]] = deque()
        with ThreadPoolExecutor(most) as pool:
            try:
                for job in jobs:
                    ahead.append(pool.submit(job))
                    if len(ahead) == most:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for waiting in ahead:
                    waiting.cancel()


class _Kept(OrderedDict[K, V]):
    """The newest entries; for threads, without a lock that a child of a fork could inherit."""

    def __init__(self, most: int, weigh: Callable[[V], int] | None = None) -> None:
        """Begin.

        Args:
            most: entries, or what they weigh together.
            weigh: weight of an entry; None: 1.
        """
        super().__init__()
        self._most, self._weigh = most, weigh
        self._weights: dict[K, int] = {}

    def __reduce__(self) -> Any:
        return (type(self), (self._most, self._weigh))

    def keep(self, key: K, value: V) -> V:
        """Keep an entry and drop the oldest ones; returns it."""
        self._weights[key] = 1 if self._weigh is None else self._weigh(value)
        self[key] = value
        while sum(list(self._weights.values())) > self._most:
            try:
                old, _ = self.popitem(last=False)
            except KeyError:
                break
            self._weights.pop(old, None)
        return value


def _bytes_of(table: pa.Table) -> int:
    return int(table.nbytes)


def _range(store: Store, path: str, start: int, length: int) -> bytes:
    try:
        return store.get_range(path, start, length)
    except FileNotFoundError as error:
        raise CorruptError(f"{path} is missing; {REMEDY}") from error


def _ranges(store: Store, path: str, spans: list[tuple[int, int]]) -> list[bytes]:
    """Bytes of each (start, length), asked for together; fewer where the object is shorter."""
    if not spans:
        return []
    try:
        return [bytes(raw) for raw in store.get_ranges(path, spans)]
    except FileNotFoundError as error:
        raise CorruptError(f"{path} is missing; {REMEDY}") from error


def can_hold(part: Part, hint: Hint) -> bool:
    """Whether a part can hold a sample that a condition requires."""
    if hint.splits is not None and part.split not in hint.splits:
        return False
    if hint.bbox is not None and part.bbox is not None and not touch(part.bbox, hint.bbox):
        return False
    return part.times is None or overlap(part.times, hint.time)


class _Open:
    """One open part: its footer, checked; picklable without."""

    def __init__(self, store: Store, part: Part, row_group: int) -> None:
        self._store, self._part = store, part
        raw = _range(store, part.path, part.footer, part.size - part.footer)
        if len(raw) != part.size - part.footer or f"{crc32c(raw):08x}" != part.footer_crc32c:
            store.forget(part.path)
            raise CorruptError(f"{part.path}: its footer differs from its checksum; {REMEDY}")
        self._footer = raw
        with told(part.path):
            self.metadata = pq.read_metadata(pa.BufferReader(raw))
        self._sums = (self.metadata.metadata or {}).get(BLOCKS_KEY, b"").decode("latin-1")
        if len(self._sums) != 8 * -(-part.footer // PART_BLOCK):
            raise CorruptError(f"{part.path}: its footer does not list the checksum of each block; {REMEDY}")
        counts = [self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups)]
        if sum(counts) != part.samples or any(n != row_group for n in counts[:-1]) or max(counts) > row_group:
            raise CorruptError(f"{part.path}: {sum(counts)} samples in row groups of {counts[:1]}; {REMEDY}")

    def _file(self, ahead: Mapping[int, bytes]) -> pa.PythonFile:
        return pa.PythonFile(_PartFile(self._store, self._part, self._footer, self._sums, ahead), mode="r")

    def rows(
        self, groups: Sequence[int], columns: Sequence[str] | None, ahead: Mapping[int, bytes] | None = None
    ) -> pa.Table:
        """Columns (all if None) of row groups.

        Args:
            groups: their numbers.
            columns: their names.
            ahead: blocks that are here already, by their first byte.
        """
        if ahead is None:
            ahead = self._ahead(groups, columns)
        return read_row_groups(self._file(ahead), self._part.path, groups, self.metadata, columns)

    def _ahead(self, groups: Sequence[int], columns: Sequence[str] | None) -> dict[int, bytes]:
        """Blocks of columns of row groups by their first byte, from a URL; all are asked for together."""
        if columns is None or not self._store.remote or not groups:
            return {}
        places = [i for i in range(self.metadata.num_columns) if self._top(i) in columns]
        wanted: set[int] = set()
        for chunk in (self.metadata.row_group(g).column(i) for g in groups for i in places):
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            stop = start + chunk.total_compressed_size
            wanted |= set(range(start // PART_BLOCK, -(-min(stop, self._part.footer) // PART_BLOCK)))
        spans: list[list[int]] = []
        for block in sorted(wanted):
            if spans and spans[-1][1] == block:
                spans[-1][1] = block + 1
            else:
                spans.append([block, block + 1])
        edges = [(a * PART_BLOCK, min(b * PART_BLOCK, self._part.footer)) for a, b in spans]
        raws = _ranges(self._store, self._part.path, [(a, b - a) for a, b in edges])
        return {a: raw for (a, _), raw in zip(edges, raws, strict=True)}

    def _top(self, place: int) -> str:
        """The column to which a leaf belongs."""
        return str(self.metadata.schema.column(place).path).split(".", maxsplit=1)[0]


class _PartFile(io.RawIOBase):
    """The bytes of a part; each block is checked before it is used."""

    def __init__(self, store: Store, part: Part, footer: bytes, sums: str, ahead: Mapping[int, bytes]) -> None:
        super().__init__()
        self._store, self._part, self._footer, self._sums = store, part, footer, sums
        self._ahead = ahead
        self._blocks: _Kept[int, bytes] = _Kept(_BLOCKS)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._part.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from the current position, fewer at the end."""
        start = self._at
        stop = self._part.size if size < 0 else min(self._part.size, start + size)
        if stop <= start:
            return b""
        end = min(stop, self._part.footer)
        found = self._checked(start, end) if start < end else b""
        if stop > self._part.footer:
            found += self._footer[max(0, start - self._part.footer) : stop - self._part.footer]
        self._at = stop
        return found

    def _checked(self, start: int, stop: int) -> bytes:
        first, last = start // PART_BLOCK, -(-stop // PART_BLOCK)
        lacking = [n for n in range(first, last) if n not in self._blocks]
        fresh: dict[int, bytes] = {}
        if lacking:
            begin = lacking[0] * PART_BLOCK
            end = min((lacking[-1] + 1) * PART_BLOCK, self._part.footer)
            raw = self._raw(begin, end)
            for number in range(lacking[0], lacking[-1] + 1):
                block = bytes(raw[number * PART_BLOCK - begin :][:PART_BLOCK])
                if f"{crc32c(block):08x}" != self._sums[8 * number : 8 * number + 8]:
                    self._store.forget(self._part.path)
                    raise CorruptError(f"{self._part.path}: block {number} differs from its checksum; {REMEDY}")
                fresh[number] = block
        joined = b"".join(fresh[n] if n in fresh else self._blocks[n] for n in range(first, last))
        for number, block in list(fresh.items())[-_BLOCKS:]:
            self._blocks.keep(number, block)
        return joined[start - first * PART_BLOCK : stop - first * PART_BLOCK]

    def _raw(self, begin: int, end: int) -> bytes | memoryview:
        """Bytes that are here already, or asked for now."""
        for start, held in self._ahead.items():
            if start <= begin and end <= start + len(held):
                return memoryview(held)[begin - start : end - start]
        return _range(self._store, self._part.path, begin, end - begin)


class _IdFile:
    """`ids.bin` (`landweave.parts`)."""

    def __init__(self, store: Store, path: str, samples: int) -> None:
        self._store, self._path, self._samples = store, path, samples
        self._blocks = -(-samples // ID_BLOCK)

    def spans(self, hashes: Sequence[int]) -> list[tuple[int, int]]:
        """Blocks, from first to before last, that probably hold some hashes, which are ascending.

        The place of a hash among n has a standard deviation of at most n**0.5 / 2: four of them miss 1 of 16,000.
        """
        spread = int(2 * self._samples**0.5) // ID_BLOCK + 1
        spans: list[tuple[int, int]] = []
        for wanted in hashes:
            middle = int(wanted / 2**64 * self._samples) // ID_BLOCK
            first, last = max(0, min(middle, self._blocks - 1) - spread), min(self._blocks, middle + spread + 1)
            if spans and first <= spans[-1][1] and last - spans[-1][0] <= _ID_BLOCKS:
                spans[-1] = spans[-1][0], last
            elif first < last:
                spans.append((first, last))
        return spans

    def positions(self, wanted: int, read: Sequence[NDArray[Any]]) -> list[int]:
        """Positions of all samples whose ids have this hash.

        Args:
            wanted: the hash.
            read: entries that have been read; others are read where these do not reach.
        """
        found = next((e for e in read if e["hash"][0] <= wanted <= e["hash"][-1]), None)
        low, high = 0, self._blocks
        while found is None and low < high:
            middle = (low + high) // 2
            entries = self.read(middle, middle + 1)
            if wanted < entries["hash"][0]:
                high = middle
            elif wanted > entries["hash"][-1]:
                low = middle + 1
            else:
                found = entries
        return [] if found is None else [int(p) for p in found["position"][found["hash"] == wanted]]

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Entries of some blocks."""
        step = ID_BLOCK * ID_ENTRY.itemsize + 4
        total = self._samples * ID_ENTRY.itemsize + 4 * self._blocks
        begin, end = first * step, min(last * step, total)
        raw = _range(self._store, self._path, begin, end - begin)
        parts = []
        for number in range(first, last):
            block = raw[(number - first) * step :][:step]
            count = min(ID_BLOCK, self._samples - number * ID_BLOCK)
            if len(block) != count * ID_ENTRY.itemsize + 4 or crc32c(block[:-4]) != int.from_bytes(
                block[-4:], "little"
            ):
                self._store.forget(self._path)
                raise CorruptError(f"{self._path}: block {number} differs from its checksum; {REMEDY}")
            parts.append(np.frombuffer(block[:-4], ID_ENTRY))
        return np.concatenate(parts)
