"""The catalogue of samples and their places; columns are read on first use."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landweave.errors import CorruptError, QueryError, UnknownNameError, first_line
from landweave.layout import ITEMS, MANIFEST, SPLITS, Json
from landweave.order import Runs
from landweave.positions import Whole
from landweave.query import NO_HINT, Hint, columns_of, field
from landweave.strict import SAMPLE_ID
from landweave.table import REMEDY, check_columns, read_metadata, read_row_groups, read_table
from landweave.values import distinct, empty_table, filtered, first_row, indexes, micros_of, numbers_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec
    from landweave.positions import Positions
    from landweave.table import Objects


_FEW = 16
"""Up to this many values, reading them one by one is faster."""
_BATCH = 1 << 13
"""Samples of a batch."""
_INDEX = "__index"
"""A column that no catalogue has."""
_CAPTION = {"text": str, "captioner": str, "prompt_version": str, "fallback": bool}
"""Fields of a caption."""
_ARROW = {"float64": "double"}
"""Types that Arrow prints under another name than it accepts."""


class Catalogue:
    """items.parquet of a dataset. Columns that every sample needs are read once; others when needed."""

    def __init__(self, objects: Objects, spec: DatasetSpec, samples: int) -> None:
        self._objects = objects
        self._spec = spec
        self.samples = samples
        """Number of samples."""
        self._group: tuple[int, pa.Table] | None = None
        self._columns: dict[str, Any] = {}
        self._texts: dict[str, dict[str, None]] = {}
        self._presence: dict[str, NDArray[np.bool_]] = {}
        self._named: dict[str, tuple[ArraySpec, str]] = {}

    @property
    def place(self) -> tuple[str, str]:
        """URL and file that it is read from."""
        return self._objects.url, self._spec.at(ITEMS)

    @cached_property
    def light(self) -> pa.Table:
        """id, shard, row, split and presence of all samples, in order.

        Raises:
            CorruptError: the file is missing, damaged, or says what cannot be.
        """
        present = [f"{g.name}_present" for g in self._spec.groups]
        light = self.read(["id", "shard", "row", "split", *present])
        for wrong in impossible(light, self._spec, self.samples):
            raise CorruptError(f"{ITEMS}: {wrong}; {REMEDY}")
        return light

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns that a query can name."""
        schema = self._metadata.schema.to_arrow_schema()
        check_columns(schema, kinds(self._spec), ITEMS)
        return schema

    def position(self, sample_id: str) -> int | None:
        """Position of a sample in the catalogue; None if there is no such sample."""
        return self._by_id.get(sample_id)

    def places(self, sample_ids: Sequence[str]) -> list[int | None]:
        """Position of each of these samples in the catalogue; None for an id that no sample has."""
        return [self.position(one) for one in sample_ids]

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {sample: i for i, sample in enumerate(self.light["id"].to_pylist())}

    def ids(self, positions: NDArray[np.int64]) -> list[str]:
        """Ids of samples by position."""
        if len(positions) <= _FEW:
            return [self.id(i) for i in positions.tolist()]
        return list(self._ids.take(indexes(positions)).to_pylist())

    def id(self, position: int) -> str:
        """Id of a sample."""
        offsets, text = self._letters
        return str(text[offsets[position] : offsets[position + 1]], "utf-8")

    @cached_property
    def _ids(self) -> pa.Array:
        return pc.cast(self.light["id"].combine_chunks(), pa.large_string())

    @cached_property
    def _letters(self) -> tuple[memoryview, memoryview]:
        """Start of each id in the joined text of all ids: ten times as fast as Arrow's scalars."""
        ids = self._ids
        offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
        return memoryview(offsets), memoryview(ids.buffers()[2] or b"")  # type: ignore[arg-type]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_letters"}

    def seats(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 2): shard and row of samples."""
        return self._seats[positions]

    @cached_property
    def _seats(self) -> NDArray[np.int64]:
        return np.stack([numbers_of(self.light[n]) for n in ("shard", "row")], axis=1).astype(np.int64)

    def unseen(self, positions: NDArray[np.int64]) -> list[int]:  # noqa: ARG002 - a catalogue in parts needs them
        """Shards with these samples whose places are not known yet: `seats` waits for an answer."""
        return []

    def runs(self, positions: Positions) -> Runs:
        """Samples by shard."""
        return Runs.of(self._seats[positions[:], 0])

    @property
    def shards(self) -> list[int]:
        """Numbers of the shards that have samples, ascending."""
        return [int(n) for n in np.unique(self._seats[:, 0])]

    def inside(self, shard: int) -> NDArray[np.int64]:
        """Positions of the samples of a shard, by row."""
        found = np.flatnonzero(self._seats[:, 0] == shard)
        return found[np.argsort(self._seats[found, 1], kind="stable")]

    def splits(self, positions: NDArray[np.int64]) -> list[str]:
        """The split of each sample."""
        return list(self.light["split"].take(indexes(positions)).to_pylist())

    def checksum(self, positions: Positions) -> int:
        """Checksum of the ids of samples, their shards and rows, and their order."""
        ids = self._ids.take(indexes(positions[:]))
        _, offsets, text = ids.buffers()
        return zlib.crc32(self._seats[positions[:]].tobytes(), zlib.crc32(text or b"", zlib.crc32(offsets)))

    def presence(self, group: str, positions: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """(n, slots): whether each observation of samples is there; of all samples if None."""
        found = self._presence.get(group)
        if found is None:
            slots = self._spec.group(group).slot_count
            self._presence[group] = found = presence_of(self.light[f"{group}_present"], group, slots)
        return found if positions is None else found[positions]

    def array(self, name: str) -> tuple[ArraySpec, str]:
        """Form and path of an array by 'group/array', of a label's classes also by the label's name alone.

        Raises:
            UnknownNameError: the dataset has no such array.
        """
        found = self._named.get(name)
        if found is None:
            array = self._spec_of(name)
            self._named[name] = found = (array, array.path)
        return found

    def group(self, name: str) -> GroupSpec:
        """The modality or label of that name; UnknownNameError if there is none."""
        try:
            return self._spec.group(name)
        except KeyError as error:
            raise UnknownNameError(str(error.args[0])) from error

    def _spec_of(self, name: str) -> ArraySpec:
        group, _, array = name.partition("/")
        found = self.group(group)
        if not array and found.kind == "label":
            return found.arrays[0]
        try:
            return found.array(array)
        except KeyError as error:
            raise UnknownNameError(f"no array {name!r}; {group} has {[a.path for a in found.arrays]}") from error

    def days(self, group: str, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, slots): acquisition times of samples, days since 1970, UTC; NaN where there is none."""
        name = f"{group}_datetimes"
        if name not in self._columns:
            self._columns[name] = days_of(self.read([name])[name], group, self._spec.group(group).slot_count)
        return np.asarray(self._columns[name][positions])

    def texts(self, column: str) -> Collection[str]:
        """The distinct texts in a column; for `split` all possible ones."""
        if column not in self._texts:
            read = self.light if column in self.light.column_names else self.read([column])
            found = pc.unique(read[column]).drop_null().to_pylist()
            self._texts[column] = dict.fromkeys(sorted({*found, *SPLITS} if column == "split" else found))
        return self._texts[column]

    def check_column(self, name: str) -> None:
        """QueryError if there is no such column."""
        field(self.schema, name)

    def column(self, name: str, positions: NDArray[np.int64]) -> Any:
        """A column of some samples: numbers as an array, all else as a list; captions as texts.

        Integers and bools of a column that lacks some become float64, NaN for null: of all samples alike.
        """
        return as_given(name, self._values(name, positions))

    def columns(self, names: Sequence[str], positions: NDArray[np.int64]) -> dict[str, Any]:
        """Several columns of some samples, by name, as `column` gives them; from a URL they are read together."""
        return {name: self.column(name, positions) for name in names}

    def _values(self, name: str, positions: NDArray[np.int64]) -> pa.Array:
        """A column of some samples, of the type that `column` gives."""
        if name not in self._columns:
            whole = self.read([name])[name].combine_chunks()
            self._columns[name] = with_gaps(whole) if whole.null_count else whole
        return self._columns[name].take(indexes(positions))

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns (all if None) of all samples; CorruptError if the file is missing or damaged."""
        self.schema  # noqa: B018 - looked at before anything is read
        return read_table(self._source(), ITEMS, columns=columns)

    def rows(self, columns: list[str] | None, positions: Positions) -> pa.Table:
        """Columns (all if None) of samples, in their order; reads the row groups of these samples."""
        if isinstance(positions, Whole):
            return self.read(columns)
        held = np.searchsorted(self._ends, positions, side="right")
        groups = distinct(held)
        if not len(groups):
            return empty_table(self.schema if columns is None else pa.schema([self.schema.field(c) for c in columns]))
        sizes = np.diff(self._ends, prepend=0)
        before = np.concatenate([[0], np.cumsum(sizes[groups])[:-1]]) - (self._ends - sizes)[groups]
        table = self._row_groups(groups.tolist(), columns)
        return table.take(indexes(positions + before[np.searchsorted(groups, held)]))

    def item(self, position: int) -> Json:
        """All columns of one sample: its row group is read, and kept for its neighbours."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        kept = self._group
        if kept is None or kept[0] != number:
            table = self._row_groups([number], None)
            self._group = kept = (number, table)
        first = int(self._ends[number]) - kept[1].num_rows
        return first_row(kept[1].slice(position - first, 1))

    def items(self, positions: Sequence[int]) -> list[Json]:
        """All columns of some samples."""
        return [self.item(position) for position in positions]

    def _row_groups(self, numbers: list[int], columns: Sequence[str] | None) -> pa.Table:
        self.schema  # noqa: B018 - looked at before anything is read
        return read_row_groups(self._source(), ITEMS, numbers, self._metadata, columns)

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        found = read_metadata(self._source(), ITEMS)
        if found.num_rows != self.samples:
            raise CorruptError(f"{ITEMS}: {found.num_rows} samples, {MANIFEST} states {self.samples}; {REMEDY}")
        return found

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Position after the last sample of each row group."""
        groups = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]
        return np.cumsum(groups, dtype=np.int64)

    def match(self, where: pc.Expression | None, hint: Hint = NO_HINT) -> Positions:
        """Positions of the samples that fulfil `where`, ascending.

        Args:
            where: the condition.
            hint: what it certainly requires.

        Raises:
            QueryError: `where` does not fit the columns.
        """
        if where is None:
            return Whole(self.samples)
        return np.concatenate([np.zeros(0, np.int64), *(found for found, _ in self.batches((), where, hint))])

    def batches(
        self, columns: Sequence[str], where: pc.Expression | None = None, hint: Hint = NO_HINT, start: int = 0
    ) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Positions and columns of the samples that fulfil `where`, batch by batch, ascending.

        Args:
            columns: their names.
            where: the condition; None: all samples.
            hint: what it certainly requires.
            start: the first position that is of interest.
        """
        needed = list(dict.fromkeys([*columns, *([] if where is None else columns_of(where, self.schema)), "row"]))
        for number in groups_of(self._metadata, hint):
            if self._ends[number] > start:
                table = self._row_groups([number], needed)
                first = int(self._ends[number]) - table.num_rows
                for found, kept in kept_of(table, columns, where):
                    some = slice(int(np.searchsorted(found, start - first)), None)
                    yield first + found[some], kept.slice(some.start)

    def _source(self) -> Any:
        return self._objects.table(self._spec.at(ITEMS))


def kept_of(
    table: pa.Table, columns: Sequence[str] | None, where: pc.Expression | None
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """Numbers of the rows that fulfil a condition, and columns (all if None) of them, some thousand rows at a time."""
    for start in range(0, table.num_rows, _BATCH):
        some = table.slice(start, _BATCH)
        some = some.append_column(_INDEX, indexes(np.arange(start, start + some.num_rows)))
        with fitting():
            kept = some if where is None else filtered(some, where)
        yield numbers_of(kept[_INDEX]), kept.select(table.column_names if columns is None else list(columns))


def groups_of(metadata: pq.FileMetaData, hint: Hint) -> list[int]:
    """Row groups that can hold a sample that a condition requires, by Parquet's statistics."""
    spans = ((number, _spans(metadata.row_group(number), metadata, hint)) for number in range(metadata.num_row_groups))
    return [number for number, found in spans if _reach(found, hint)]


_Spans = dict[str, tuple[Any, Any]]


def _spans(group: pq.RowGroupMetaData, metadata: pq.FileMetaData, hint: Hint) -> _Spans:
    """Column -> least and largest value, for those that a hint names."""
    wanted = {name for name, _, _ in hint.ranges}
    wanted |= set() if hint.bbox is None else {f"bbox.{edge}" for edge in ("xmin", "ymin", "xmax", "ymax")}
    wanted |= set() if hint.time == (None, None) else {"start_datetime", "end_datetime"}
    found: _Spans = {}
    for place in range(metadata.num_columns if wanted else 0):
        name = metadata.schema.column(place).path
        statistics = group.column(place).statistics if name in wanted else None
        if statistics is None or not statistics.has_min_max:
            continue
        raw = name.endswith("_datetime")  # microseconds
        found[name] = (statistics.min_raw, statistics.max_raw) if raw else (statistics.min, statistics.max)
    return found


def _reach(spans: _Spans, hint: Hint) -> bool:
    for name, low, high in hint.ranges:
        span = spans.get(name)
        if span is not None and type(span[0]) in (int, float) and not (span[0] <= high and span[1] >= low):
            return False
    first, last = spans.get("start_datetime"), spans.get("end_datetime")
    begin, end = (None if moment is None else micros_of(moment) for moment in hint.time)
    if first is not None and last is not None and not overlap((first[0], last[1]), (begin, end)):
        return False
    edges = [spans.get(f"bbox.{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
    if hint.bbox is None or any(edge is None for edge in edges):
        return True
    west, south, east, north = ((edge or (0.0, 0.0)) for edge in edges)
    # a footprint across the antimeridian, which has west > east, shows in one of these three
    across = east[0] < west[0] or west[1] > east[1] or east[1] - west[0] > 180
    here = (-180.0, south[0], 180.0, north[1]) if across else (west[0], south[0], east[1], north[1])
    return touch(here, hint.bbox)


def overlap(here: tuple[Any, Any], period: tuple[Any, Any]) -> bool:
    """Whether two periods share a moment; None is an open end."""
    return (period[1] is None or here[0] <= period[1]) and (period[0] is None or here[1] >= period[0])


def touch(here: tuple[float, float, float, float], box: tuple[float, float, float, float]) -> bool:
    """Whether two boxes share a place; the second may cross the antimeridian."""
    west, south, east, north = box
    if here[1] > north or here[3] < south:
        return False
    if west > east:
        return here[2] >= west or here[0] <= east
    return here[0] <= east and here[2] >= west


@contextmanager
def fitting() -> Iterator[None]:
    """Raises QueryError where a condition does not fit the columns."""
    try:
        yield
    except pa.ArrowException as error:
        raise QueryError(f"the query does not fit the columns: {first_line(error)}") from error


def as_given(name: str, values: pa.Array) -> Any:
    """Values of a column: numbers as an array, all else as a list; captions as texts."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return numbers_of(values)
    listed = values.to_pylist()
    return [[c["text"] for c in checked_captions(v)] for v in listed] if name == "captions" else listed


def with_gaps(values: pa.Array) -> pa.Array:
    """Values of which some are null: integers and bools become float64."""
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        return pc.cast(values, pa.float64(), safe=False)
    return values


def presence_of(column: pa.ChunkedArray, group: str, slots: int) -> NDArray[np.bool_]:
    """(n, slots) bool from a column `<group>_present`; CorruptError if it has another form."""
    values = column.combine_chunks()
    flat = values.flatten()
    found = numbers_of(flat)
    if found.size != len(values) * slots or flat.null_count:
        raise CorruptError(f"{ITEMS}: column {group}_present does not have {slots} entries for each sample; {REMEDY}")
    return np.asarray(found.reshape(-1, slots).astype(np.bool_))


def days_of(column: pa.ChunkedArray, group: str, slots: int) -> NDArray[np.float64]:
    """(n, slots) days since 1970 from a column `<group>_datetimes`; CorruptError if it does not hold times."""
    listed = column.to_pylist()
    try:
        stamps = [[_day(s) for s in (row or [None] * slots)] for row in listed]
        return np.array(stamps, np.float64).reshape(len(listed), slots)
    except ValueError as error:
        message = f"{ITEMS}: column {group}_datetimes does not contain {slots} times; {REMEDY}"
        raise CorruptError(message) from error


def checked_captions(values: Any) -> list[Json]:
    """Captions of a sample from the catalogue; CorruptError if one is not valid."""
    found: list[Any] = values or []
    for caption in found:
        if caption is None or not _CAPTION.items() <= {k: type(v) for k, v in caption.items()}.items():
            raise CorruptError(f"{ITEMS}: column captions contains a value that is not a caption; {REMEDY}")
    return found


def kinds(spec: DatasetSpec) -> dict[str, str]:
    """Columns that the reader relies on, and what they hold."""
    kinds = dict.fromkeys(("id", "split", "facts", "block"), "string")
    kinds |= dict.fromkeys(("shard", "row", "epsg"), "int32")
    kinds |= dict.fromkeys(("lon", "lat", "x_min", "y_max"), "double")
    kinds |= dict.fromkeys(("start_datetime", "end_datetime"), "timestamp[us, tz=UTC]")
    kinds |= {"geometry": "binary", "bbox": "struct", "captions": "list<struct>"}
    kinds |= {a.column: _ARROW.get(a.dtype, a.dtype) for a in spec.attributes}
    for group in spec.groups:
        kinds[f"{group.name}_present"] = "list<bool>"
        if group.kind == "modality":
            kinds |= {f"{group.name}_datetimes": "list<string>", f"{group.name}_cloud": "list<double>"}
        else:
            kinds |= {f"{group.name}_version": "string", f"{group.name}_year": "int32"}
    return kinds


def impossible(light: pa.Table, spec: DatasetSpec, samples: int) -> Iterator[str]:
    """The first error in the light columns, in words."""
    for name in light.column_names:
        if light[name].null_count:
            yield f"column {name} has missing values"
    if light.num_rows != samples:
        yield f"{light.num_rows} samples, {MANIFEST} states {samples}"
    for name, most in (("shard", spec.shards), ("row", spec.shard_samples)):
        low, high = pc.min_max(light[name]).as_py().values()
        if samples and not 0 <= low <= high < most:
            yield f"column {name} contains {low} to {high}, expected 0 to {most - 1}"
    if not pc.all(pc.match_substring_regex(light["id"], f"^(?:{SAMPLE_ID.pattern})\\z")).as_py():
        yield f"column id contains a value that is not a sample id ({SAMPLE_ID.pattern})"
    if not set(pc.unique(light["split"]).to_pylist()) <= set(SPLITS):
        yield f"column split contains splits other than {', '.join(SPLITS)}"
    if len(pc.unique(light["id"])) != light.num_rows:
        yield "it contains a sample twice"


def _day(stamp: str | None) -> float:
    return float("nan") if stamp is None else datetime.fromisoformat(stamp).timestamp() / 86_400
