"""A catalogue in parts (layout 3): it opens only the parts and row groups that an answer needs."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from awscrt.checksums import crc32c

from landweave.catalogue import Catalogue, days_of, fitting, impossible, kinds, with_gaps
from landweave.errors import CorruptError
from landweave.layout import ROOT, SPLITS
from landweave.order import Runs
from landweave.parts import (
    BLOCKS_KEY,
    ID_BLOCK,
    ID_ENTRY,
    PART_BLOCK,
    Part,
    id_hash,
    record_bytes,
    root_from_bytes,
)
from landweave.positions import Whole
from landweave.query import NO_HINT
from landweave.strict import SAMPLE_ID
from landweave.table import REMEDY, check_columns, told
from landweave.values import array_of, first_row, indexes, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
_FOOTERS, _GROUPS, _RECORDS = 32, 128, 256
"""Open parts, columns of row groups, and records of shards that are kept."""
_AT_ONCE = 64
"""Requests to a URL at a time."""
_BLOCKS = 64
"""Checked blocks that an open part keeps: 4 MiB."""


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
        self._groups: _Kept[Any, pa.Table] = _Kept(_GROUPS)
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
        first = next(iter(list(self._open.values())), None) or self._part(0)
        return first.metadata.schema.to_arrow_schema()

    def position(self, sample_id: str) -> int | None:
        """See `Catalogue.position`."""
        if not SAMPLE_ID.fullmatch(sample_id):
            return None
        found = _IdFile(self._store, self._root.ids, self.samples).positions(id_hash(sample_id))
        for position in found:
            if position >= self.samples:
                raise CorruptError(f"{self._root.ids}: position {position} of {self.samples}; {REMEDY}")
            if self.item(position)["id"] == sample_id:  # the caller will want its other columns
                return position
        return None

    def ids(self, positions: NDArray[np.int64]) -> list[str]:
        """Ids of samples by position."""
        return list(self._gathered(("id",), positions)["id"].to_pylist())

    def id(self, position: int) -> str:
        """Id of a sample."""
        return self.ids(np.array([position]))[0]

    def seats(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 2): shard and row of samples."""
        found = np.empty((len(positions), 2), np.int64)
        for shard, first, inside in self._by_shard(positions):
            rows = np.flatnonzero(self._record(shard)[0])
            found[inside, 0], found[inside, 1] = shard, rows[positions[inside] - first]
        return found

    def _by_shard(self, positions: NDArray[np.int64]) -> list[tuple[int, int, NDArray[np.int64]]]:
        """(shard, position of its first sample, indexes into `positions`)."""
        root = self._root
        places = np.searchsorted(root.ends, positions, side="right")
        firsts = root.ends - np.diff(root.ends, prepend=0)
        numbers = np.unique(places).tolist()
        found = [(int(root.shards[n]), int(firsts[n]), np.flatnonzero(places == n)) for n in numbers]
        self._together([lambda s=shard: self._record(s) for shard, _, _ in found if shard not in self._records])  # type: ignore[misc]
        return found

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
        for shard, first, inside in self._by_shard(chosen):
            record = self._record(shard)
            found[inside] = record[start : start + slots, np.flatnonzero(record[0])[chosen[inside] - first]].T
        return found

    def _record(self, shard: int) -> NDArray[np.bool_]:
        """(1 + all slots, rows) of a shard: whether the row holds a sample, and which observations are there."""
        known = self._records.get(shard)
        if known is not None:
            return known
        length = record_bytes(self._spec)
        path = self._root.rows
        raw = _range(self._store, path, shard * length, length)
        if len(raw) != length or crc32c(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
            raise CorruptError(f"{path}: the record of shard {shard} differs from its checksum; {REMEDY}")
        bits = np.unpackbits(np.frombuffer(raw, np.uint8)[:-4].reshape(-1, -(-self._spec.shard_samples // 8)), axis=1,
                             bitorder="little", count=self._spec.shard_samples)  # fmt: skip
        record = bits.astype(np.bool_)
        if int(record[0].sum()) != len(self.inside(shard)):
            raise CorruptError(f"{path}: shard {shard} has {int(record[0].sum())} samples, {self.place[1]} states "
                               f"{len(self.inside(shard))}; {REMEDY}")  # fmt: skip
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
        return _Many(self.samples, (lambda v: self.position(v) is not None) if column == "id" else lambda _: True)

    def _values(self, name: str, positions: NDArray[np.int64]) -> pa.Array:
        found = self._gathered((name,), positions)[name].combine_chunks()
        return with_gaps(found) if name in self._root.gaps else found

    def read(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """See `Catalogue.read`; reads every part."""
        tables = [self._scanned(n, columns, where, None) for n in range(len(self._root.parts))]
        return pa.concat_tables(tables)

    def rows(self, columns: list[str] | None, positions: Positions, where: pc.Expression | None = None) -> pa.Table:  # noqa: ARG002
        """See `Catalogue.rows`; reads the row groups of these samples."""
        if isinstance(positions, Whole):
            return self.read(columns)
        return self._gathered(None if columns is None else tuple(columns), positions)

    def item(self, position: int) -> Json:
        """All columns of one sample: its row group is read, and kept for its neighbours."""
        return first_row(self._gathered(None, np.array([position])))

    def match(self, where: pc.Expression | None, hint: Hint = NO_HINT) -> Positions:
        """Positions of the samples that fulfil `where`, ascending; opens the parts that can hold some."""
        if where is None:
            return Whole(self.samples)
        numbers = [n for n, part in enumerate(self._root.parts) if _can_hold(part, hint)]
        if hint.alone:
            spans = [np.arange(self._firsts[n], self._ends[n]) for n in numbers]
            return np.concatenate(spans) if spans else np.zeros(0, np.int64)
        tables = self._together([lambda n=n: self._scanned(n, ("shard", "row"), where, hint) for n in numbers])  # type: ignore[misc]
        return self._positions(pa.concat_tables(tables)) if tables else np.zeros(0, np.int64)

    def _positions(self, seats: pa.Table) -> NDArray[np.int64]:
        """Positions of samples from their shards and rows."""
        found = []
        shards, rows = numbers_of(seats["shard"]), numbers_of(seats["row"])
        for shard in np.unique(shards).tolist():
            held = self.inside(shard)
            chosen = np.sort(rows[shards == shard])
            places = np.searchsorted(np.flatnonzero(self._record(shard)[0]), chosen)
            if len(places) and places[-1] >= len(held):
                raise CorruptError(f"{self.place[1]}: a part holds a row that shard {shard} has not; {REMEDY}")
            found.append(held[places])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _part(self, number: int) -> _Open:
        known = self._open.get(number)
        if known is not None:
            return known
        part = _Open(self._store, self._root.parts[number], self._root.row_group)
        check_columns(part.metadata.schema.to_arrow_schema(), kinds(self._spec), self._root.parts[number].path)
        return self._open.keep(number, part)

    def _scanned(
        self, number: int, columns: Sequence[str] | None, where: pc.Expression | None, hint: Hint | None
    ) -> pa.Table:
        """Columns of the samples of a part that fulfil a condition."""
        part = self._part(number)
        with fitting():
            return part.scan(None if columns is None else list(columns), where, hint)

    def _gathered(self, columns: tuple[str, ...] | None, positions: NDArray[np.int64]) -> pa.Table:
        """Columns (all if None) of samples, in their order, from their row groups."""
        if not len(positions):
            return self._part(0).scan(None if columns is None else list(columns), pc.scalar(False), None)
        keys, inverse = self._keys(positions)
        tables = self._together([lambda n=n, g=g: self._rows_of(n, g, columns) for n, g in keys])  # type: ignore[misc]
        local = positions - np.array([self._firsts[n] + g * self._root.row_group for n, g in keys])[inverse]
        order = np.argsort(inverse, kind="stable")
        edges = np.searchsorted(inverse[order], np.arange(len(keys) + 1))
        taken = [table.take(indexes(local[order[edges[i] : edges[i + 1]]])) for i, table in enumerate(tables)]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return pa.concat_tables(taken).take(indexes(place))

    def _keys(self, positions: NDArray[np.int64]) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
        """The (part, row group) pairs that hold samples, and for each sample its pair; the parts are open."""
        parts = np.searchsorted(self._ends, positions, side="right")
        numbers = parts * 2**32 + (positions - self._firsts[parts]) // self._root.row_group
        found, inverse = np.unique(numbers, return_inverse=True)
        keys = [(int(key >> 32), int(key & 0xFFFFFFFF)) for key in found]
        lacking = sorted({n for n, _ in keys if n not in self._open})
        self._together([lambda n=n: self._part(n) for n in lacking])  # type: ignore[misc]
        return keys, inverse

    def warm(self, columns: Sequence[str], positions: NDArray[np.int64]) -> None:
        """See `Catalogue.warm`."""
        if self._store.remote and len(positions):
            keys, _ = self._keys(positions)
            held = [name for name in columns if name in self.schema.names]  # a stream's 'questions' are no column
            wanted = [(n, g, (name,)) for name in held for n, g in keys if (n, g, (name,)) not in self._groups]
            self._together([lambda n=n, g=g, c=c: self._rows_of(n, g, c) for n, g, c in wanted])  # type: ignore[misc]

    def _rows_of(self, number: int, group: int, columns: tuple[str, ...] | None) -> pa.Table:
        key = (number, group, columns)
        known = self._groups.get(key)
        if known is not None:
            return known
        whole = self._groups.get((number, group, None))
        if whole is not None and columns is not None:
            return whole.select(list(columns))
        table = self._part(number).group(group, columns)
        if columns is not None and "id" in columns:
            ids = table["id"]
            if not pc.all(pc.match_substring_regex(ids, f"^(?:{SAMPLE_ID.pattern})\\z")).as_py() or ids.null_count:
                raise CorruptError(f"{self._root.parts[number].path}: column id contains no sample id; {REMEDY}")
        return self._groups.keep(key, table)

    def _together(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Results of several requests: at the same time, if each waits for an answer from elsewhere."""
        if len(jobs) < 2 or not self._store.remote:
            return [job() for job in jobs]
        with ThreadPoolExecutor(min(_AT_ONCE, len(jobs))) as pool:
            return list(pool.map(lambda job: job(), jobs))


class _Kept(OrderedDict[K, V]):
    """The newest entries; for threads, without a lock that a child of a fork could inherit."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __reduce__(self) -> Any:
        return (type(self), (self._most,))

    def keep(self, key: K, value: V) -> V:
        """Keep an entry and drop the oldest ones; returns it."""
        self[key] = value
        while len(self) > self._most:
            try:
                self.popitem(last=False)
            except KeyError:
                break
        return value


class _Many(Collection[str]):
    """More texts than a message can list."""

    def __init__(self, count: int, holds: Callable[[str], bool]) -> None:
        self._count, self._holds = count, holds

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self._holds(value)


def _range(store: Store, path: str, start: int, length: int) -> bytes:
    try:
        return store.get_range(path, start, length)
    except FileNotFoundError as error:
        raise CorruptError(f"{path} is missing; {REMEDY}") from error


def _can_hold(part: Part, hint: Hint) -> bool:
    """Whether a part can hold a sample that a condition requires."""
    if hint.splits is not None and part.split not in hint.splits:
        return False
    if hint.bbox is not None and part.bbox is not None and not _touch(part.bbox, hint.bbox):
        return False
    if part.times is not None:
        first, last = hint.time
        return (last is None or part.times[0] <= last) and (first is None or part.times[1] >= first)
    return True


def _touch(here: tuple[float, float, float, float], box: tuple[float, float, float, float]) -> bool:
    west, south, east, north = box
    if here[1] > north or here[3] < south:
        return False
    if west > east:
        return here[2] >= west or here[0] <= east
    return here[0] <= east and here[2] >= west


class _Open:
    """One open part: its footer, checked; picklable without."""

    def __init__(self, store: Store, part: Part, row_group: int) -> None:
        self._store, self._part = store, part
        raw = _range(store, part.path, part.footer, part.size - part.footer)
        if len(raw) != part.size - part.footer or f"{crc32c(raw):08x}" != part.footer_crc32c:
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

    def _file(self) -> pa.PythonFile:
        return pa.PythonFile(_PartFile(self._store, self._part, self._footer, self._sums), mode="r")

    def group(self, number: int, columns: tuple[str, ...] | None) -> pa.Table:
        """Columns (all if None) of a row group."""
        with told(self._part.path):
            file = pq.ParquetFile(
                self._file(), metadata=self.metadata, pre_buffer=True, page_checksum_verification=True
            )
            table = file.read_row_group(number, None if columns is None else list(columns))
            table.validate(full=True)
            return table

    def scan(self, columns: list[str] | None, where: pc.Expression | None, hint: Hint | None) -> pa.Table:
        """Columns (all if None) of the samples that fulfil a condition."""
        import pyarrow.dataset as ds  # takes 20 MB and is not needed by every reader

        with told(self._part.path):
            form = ds.ParquetFileFormat(
                default_fragment_scan_options=ds.ParquetFragmentScanOptions(
                    pre_buffer=True, page_checksum_verification=True
                )
            )
            fragment = form.make_fragment(self._file())
            if hint is not None:
                fragment = fragment.subset(row_group_ids=self._groups(hint))
            table = fragment.to_table(columns=columns, filter=where, use_threads=not self._store.remote)
            table.validate(full=True)
            return table

    def _groups(self, hint: Hint) -> list[int]:
        """Row groups that can hold a sample that a condition requires, by Parquet's statistics."""
        names = [self.metadata.schema.column(i).path for i in range(self.metadata.num_columns)]
        found = []
        for number in range(self.metadata.num_row_groups):
            group = self.metadata.row_group(number)

            def span(name: str, group: Any = group) -> tuple[Any, Any] | None:
                statistics = group.column(names.index(name)).statistics
                return None if statistics is None or not statistics.has_min_max else (statistics.min, statistics.max)

            spans = [span(f"bbox.{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
            first, last = span("start_datetime"), span("end_datetime")
            bbox = None if self._part.bbox is None or None in spans else _hull(spans)
            times = None if first is None or last is None else (first[0], last[1])
            if _can_hold(Part(self._part.path, 0, 0, "", self._part.split, 1, 1, bbox, times), hint):
                found.append(number)
        return found


def _hull(spans: list[Any]) -> tuple[float, float, float, float]:
    return spans[0][0], spans[1][0], spans[2][1], spans[3][1]


class _PartFile(io.RawIOBase):
    """The bytes of a part; each block is checked before it is used."""

    def __init__(self, store: Store, part: Part, footer: bytes, sums: str) -> None:
        super().__init__()
        self._store, self._part, self._footer, self._sums = store, part, footer, sums
        self._blocks: _Kept[int, bytes] = _Kept(_BLOCKS)
        self._at = 0
        self._lock = threading.Lock()

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
            raw = _range(self._store, self._part.path, begin, end - begin)
            for number in range(lacking[0], lacking[-1] + 1):
                block = raw[number * PART_BLOCK - begin :][:PART_BLOCK]
                if f"{crc32c(block):08x}" != self._sums[8 * number : 8 * number + 8]:
                    raise CorruptError(f"{self._part.path}: block {number} differs from its checksum; {REMEDY}")
                fresh[number] = block
        joined = b"".join(fresh[n] if n in fresh else self._blocks[n] for n in range(first, last))
        for number, block in list(fresh.items())[-_BLOCKS:]:
            self._blocks.keep(number, block)
        return joined[start - first * PART_BLOCK : stop - first * PART_BLOCK]


class _IdFile:
    """`ids.bin` (`landweave.parts`)."""

    def __init__(self, store: Store, path: str, samples: int) -> None:
        self._store, self._path, self._samples = store, path, samples
        self._blocks = -(-samples // ID_BLOCK)

    def positions(self, wanted: int) -> list[int]:
        """Positions of all samples whose ids have this hash."""
        spread = int(3 * self._samples**0.5) // ID_BLOCK + 1
        middle = int(wanted / 2**64 * self._samples) // ID_BLOCK
        first, last = max(0, middle - spread), min(self._blocks, middle + spread + 1)
        low, high = 0, self._blocks
        while low < high:
            found = self._read(first, last)
            if wanted < found["hash"][0]:
                high = first
            elif wanted > found["hash"][-1]:
                low = last
            else:
                return [int(p) for p in found["position"][found["hash"] == wanted]]
            first = (low + high) // 2
            last = first + 1
        return []

    def _read(self, first: int, last: int) -> NDArray[Any]:
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
                raise CorruptError(f"{self._path}: block {number} differs from its checksum; {REMEDY}")
            parts.append(np.frombuffer(block[:-4], ID_ENTRY))
        return np.concatenate(parts)
