"""The catalogue: which samples there are, where they lie, and questions about them pushed down into Parquet."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from landweave.errors import CorruptError, QueryError
from landweave.layout import ITEMS, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from landweave.layout import DatasetSpec
    from landweave.store import Store

_COMPARE = {ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater"}
_COMPARE[ast.GtE] = "greater_equal"
BBox = tuple[float, float, float, float]
"""west, south, east, north in degrees; west > east crosses the antimeridian."""


class Catalogue:
    """items.parquet of a dataset. What every sample needs is read once; the rest when it is asked for."""

    def __init__(self, store: Store, spec: DatasetSpec) -> None:
        self._store = store
        self._spec = spec
        self._group: tuple[int, pa.Table] | None = None
        self._presence: dict[str, NDArray[np.bool_]] = {}

    @cached_property
    def light(self) -> pa.Table:
        """id, shard, row, split and presence of all samples, in order."""
        present = [f"{g.name}_present" for g in self._spec.groups]
        return self.read(["id", "shard", "row", "split", *present])

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns that a query can name."""
        return pq.read_schema(self._source())

    @cached_property
    def positions(self) -> dict[str, int]:
        """Sample id -> position in the catalogue."""
        return {sample: i for i, sample in enumerate(self.light["id"].to_pylist())}

    @cached_property
    def where(self) -> NDArray[np.int64]:
        """(samples, 2): shard and row of each sample."""
        return np.stack([self.light["shard"].to_numpy(), self.light["row"].to_numpy()], axis=1).astype(np.int64)

    def presence(self, group: str) -> NDArray[np.bool_]:
        """(samples, slots): whether each observation is there."""
        if group in self._presence:
            return self._presence[group]
        column = self.light[f"{group}_present"].combine_chunks()
        slots = self._spec.group(group).slot_count
        flat = column.flatten().to_numpy(zero_copy_only=False)
        if flat.size != len(column) * slots:
            raise CorruptError(f"{ITEMS}: column {group}_present does not have {slots} entries a sample")
        found: NDArray[np.bool_] = flat.reshape(-1, slots).astype(np.bool_)
        self._presence[group] = found
        return found

    def read(self, columns: Sequence[str] | None = None, where: pc.Expression | None = None) -> pa.Table:
        """Columns (all if None) of the samples that fulfil `where`.

        Raises:
            CorruptError: the file is missing or damaged.
            QueryError: `where` does not fit the columns.
        """
        try:
            return pq.read_table(self._source(), columns=columns, filters=where)
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise QueryError(f"the query does not fit the columns: {_first_line(error)}") from error
        except (pa.ArrowInvalid, OSError) as error:
            if where is not None and "No match for FieldRef" in str(error):
                raise QueryError(f"the query names a column that is not there: {_first_line(error)}") from error
            raise CorruptError(f"{ITEMS} cannot be read: {_first_line(error)}; run `landweave check`") from error

    def item(self, position: int) -> Json:
        """All columns of one sample: its row group is read, and kept for its neighbours."""
        number = int(np.searchsorted(self._ends, position, side="right"))
        kept = self._group
        if kept is None or kept[0] != number:
            table = pq.ParquetFile(self._source(), metadata=self._metadata).read_row_group(number)
            self._group = kept = (number, table)
        first = int(self._ends[number]) - kept[1].num_rows
        return dict(kept[1].slice(position - first, 1).to_pylist()[0])

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        return pq.read_metadata(self._source())

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Position after the last sample of each row group."""
        groups = [self._metadata.row_group(i).num_rows for i in range(self._metadata.num_row_groups)]
        return np.cumsum(groups, dtype=np.int64)

    def match(self, where: pc.Expression | None) -> NDArray[np.int64]:
        """Positions of the samples that fulfil `where`, ascending."""
        if where is None:
            return np.arange(self.light.num_rows)
        found = self.read(["id"], where)["id"]
        positions = pc.index_in(found, value_set=self.light["id"].combine_chunks()).to_numpy()
        return np.asarray(positions, np.int64)

    def _source(self) -> Any:
        try:
            return self._store.parquet(ITEMS)
        except FileNotFoundError as error:
            raise CorruptError(f"{ITEMS} is missing; run `landweave check`") from error


class Selection:
    """Samples that a query found, in the catalogue's order. Iterates over sample ids."""

    def __init__(self, catalogue: Catalogue, positions: NDArray[np.int64], where: pc.Expression | None) -> None:
        self._catalogue = catalogue
        self._where = where
        self.positions = positions
        """Position of each sample in the catalogue."""

    @property
    def ids(self) -> list[str]:
        """Sample ids."""
        return list(self._catalogue.light["id"].take(pa.array(self.positions)).to_pylist())

    @cached_property
    def table(self) -> pa.Table:
        """Every catalogue column of these samples."""
        return self._catalogue.read(None, self._where)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __repr__(self) -> str:
        return f"Selection({len(self)} samples)"


def expression(
    schema: pa.Schema,
    *,
    bbox: Any = None,
    time: Any = None,
    where: str | pc.Expression | Mapping[str, Any] | None = None,
    equal: Mapping[str, Any] | None = None,
) -> pc.Expression | None:
    """One Arrow expression for all conditions, which must hold together; None where there is none.

    Raises:
        QueryError: see `Dataset.query`.
    """
    parts: list[pc.Expression] = []
    if bbox is not None:
        parts.append(_overlaps(bbox))
    if time is not None:
        parts += _during(time)
    for column, value in (equal or {}).items():
        parts.append(_equals(schema, column, value))
    if isinstance(where, pc.Expression):
        parts.append(where)
    elif isinstance(where, str):
        parts.append(_parse(schema, where))
    elif where is not None:
        parts += [_equals(schema, column, value) for column, value in where.items()]
    result: pc.Expression | None = None
    for condition in parts:
        result = condition if result is None else result & condition
    return result


def _overlaps(bbox: Any) -> pc.Expression:
    if len(bbox) != 4 or not all(np.isfinite(bbox)) or bbox[1] > bbox[3]:
        raise QueryError(f"bbox is (west, south, east, north) in degrees, got {bbox}")
    west, south, east, north = (float(v) for v in bbox)
    if west > east:
        return _overlaps((west, south, 180.0, north)) | _overlaps((-180.0, south, east, north))
    box = [pc.field("bbox", edge) for edge in ("xmin", "ymin", "xmax", "ymax")]
    starts, ends = box[0] <= east, box[2] >= west
    wraps = box[0] > box[2]
    return ((~wraps & starts & ends) | (wraps & (starts | ends))) & (box[1] <= north) & (box[3] >= south)


def _during(period: Any) -> list[pc.Expression]:
    if not isinstance(period, (tuple, list)) or len(period) != 2:
        raise QueryError(f"time is (first, last), either may be None, got {period!r}")
    first, last = period
    parts = []
    if last is not None:
        parts.append(pc.field("start_datetime") <= pa.scalar(_moment(last, latest=True), pa.timestamp("us", tz="UTC")))
    if first is not None:
        parts.append(pc.field("end_datetime") >= pa.scalar(_moment(first), pa.timestamp("us", tz="UTC")))
    return parts


def _moment(value: Any, *, latest: bool = False) -> datetime:
    """A UTC time; a bare day means its first or its last instant."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError as error:
            raise QueryError(f"{value!r} is no date or time (2021-06-30 or 2021-06-30T12:00:00Z)") from error
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time.max if latest else time.min, tzinfo=UTC)
    raise QueryError(f"{value!r} is no date or time")


def _equals(schema: pa.Schema, column: str, value: Any) -> pc.Expression:
    field = _field(schema, column)
    if isinstance(value, (list, tuple, set, frozenset)):
        return field.isin(pa.array(sorted(value), schema.field(column).type))
    return field == _literal(schema, column, value)


def _field(schema: pa.Schema, column: str) -> pc.Expression:
    if column not in schema.names:
        near = [n for n in schema.names if column.split("_", maxsplit=1)[0] in n][:8]
        raise QueryError(f"no column {column!r}" + (f"; there are {near}" if near else f"; there are {schema.names}"))
    return pc.field(column)


def _literal(schema: pa.Schema, column: str, value: Any) -> pa.Scalar:
    kind = schema.field(column).type
    if pa.types.is_timestamp(kind):
        value = _moment(value)
    try:
        return pa.scalar(value, pa.float64() if isinstance(value, float) else kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise QueryError(f"column {column!r} holds {kind}, it cannot be compared with {value!r}") from error


def _parse(schema: pa.Schema, text: str) -> pc.Expression:
    """A condition in Python's spelling: `worldcover_trees > 0.5 and split in ('val', 'test')`. Nothing is evaluated."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise QueryError(f"cannot read the condition {text!r}: {_first_line(error)}") from error
    return _condition(schema, tree, text)


def _condition(schema: pa.Schema, node: ast.AST, text: str) -> pc.Expression:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_condition(schema, v, text) for v in values]
            result = parts[0]
            for condition in parts[1:]:
                result = result & condition if isinstance(op, ast.And) else result | condition
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_condition(schema, operand, text)
        case ast.Compare(left=ast.Name(id=column), ops=[ast.In() | ast.NotIn() as op], comparators=[values]):
            found = _equals(schema, column, list(_constant(values, text)))
            return ~found if isinstance(op, ast.NotIn) else found
        case ast.Compare(
            left=ast.Name(id=column), ops=[ast.Is() | ast.IsNot() as op], comparators=[ast.Constant(None)]
        ):
            empty = _field(schema, column).is_null()
            return ~empty if isinstance(op, ast.IsNot) else empty
        case ast.Compare(left=ast.Name(id=column), ops=[op], comparators=[value]) if type(op) in _COMPARE:
            field, literal = _field(schema, column), _literal(schema, column, _constant(value, text))
            return getattr(pc, _COMPARE[type(op)])(field, literal)
        case ast.Name(id=column):
            return _field(schema, column)
    raise QueryError(
        f"cannot read the condition {text!r}: write comparisons of a column with a value, joined by and, or, not: "
        "\"worldcover_trees > 0.5 and split == 'train'\""
    )


def _constant(node: ast.AST, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise QueryError(f"cannot read the condition {text!r}: a column is compared with a plain value") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
