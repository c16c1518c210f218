"""Parses conditions in Python syntax into Arrow expressions for Parquet, without evaluating any code."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.errors import QueryError, first_line, unknown
from landweave.values import TIME, array_of, empty_table, filtered, scalar_of

_COMPARE = {ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater"}
_COMPARE[ast.GtE] = "greater_equal"
_FEW_TEXTS = 100
"""A column with at most this many different texts contains names, which queries check; others contain ids."""
Texts = Callable[[str], Collection[str]]
"""Column -> the different texts in it."""
_LONGEST, _DEEPEST = 1 << 16, 64
"""Characters of a condition, and how deep it may be nested."""
BBox = tuple[float, float, float, float]
"""west, south, east, north in degrees; west > east crosses the antimeridian."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What a condition certainly requires of a sample: a catalogue in parts need not open the others."""

    bbox: BBox | None = None
    """A box that its footprint touches."""
    time: tuple[datetime | None, datetime | None] = (None, None)
    """A period in which it has an observation."""
    splits: frozenset[str] | None = None
    """Its split is one of these; None: any."""
    alone: bool = False
    """Whether the condition requires nothing else than the split."""
    ranges: tuple[tuple[str, float, float], ...] = ()
    """Columns of numbers, and the least and the largest value that they may have."""
    ids: frozenset[str] | None = None
    """Its id is one of these; None: any."""


NO_HINT = Hint()


class Many(Collection[str]):
    """More texts than a message can list."""

    def __init__(self, count: int, hold: Callable[[list[str]], list[bool]]) -> None:
        """Describe them.

        Args:
            count: how many.
            hold: says of each of some texts whether it is one of them.
        """
        self._count, self.hold = count, hold

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self.hold([value])[0]


def hint(*, bbox: Any = None, time: Any = None, where: Any = None, equal: Mapping[str, Any]) -> Hint:
    """What the arguments of `expression` require; they are valid."""
    more = equal if not isinstance(where, Mapping) else {**where, **equal}
    splits = None if "split" not in more else _texts_of(more["split"])
    others = bbox is not None or time is not None or len(more) > ("split" in more)
    if isinstance(where, str):
        found = _split_of(ast.parse(where, mode="eval").body)
        splits, others = (found, others) if splits is None and found is not None else (splits, True)
    elif not isinstance(where, Mapping | None):
        others = True
    return Hint(
        bbox=None if bbox is None else degrees(bbox),
        time=(None, None) if time is None else _edges(time),
        splits=splits,
        alone=splits is not None and not others,
        ids=_texts_of(more["id"]) if "id" in more else None,
        ranges=_ranges(ast.parse(where, mode="eval").body, where) if isinstance(where, str) else (),
    )


def _ranges(node: ast.AST, text: str) -> tuple[tuple[str, float, float], ...]:
    """What a condition requires of numbers: comparisons that "and" joins."""
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return tuple(one for value in values for one in _ranges(value, text))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            column = _column(left, text)
            value = _constant(right, text)
            if column is not None and type(value) in (int, float):
                return range_of(column, _COMPARE[type(op)], value)
    return ()


def range_of(column: str, how: str, value: float) -> tuple[tuple[str, float, float], ...]:
    """What a comparison requires, as `Hint.ranges`; nothing for 'not_equal'."""
    low = value if how in ("greater", "greater_equal", "equal") else -math.inf
    high = value if how in ("less", "less_equal", "equal") else math.inf
    return () if how == "not_equal" else ((column, low, high),)


def columns_of(where: pc.Expression, schema: pa.Schema) -> list[str]:
    """Columns that a condition looks at, and perhaps some more: those that its text names."""
    text = str(where)
    return [n for n in schema.names if re.search(rf"(?<![\w:-]){re.escape(n)}(?![\w:-])", text)]


def _texts_of(value: Any) -> frozenset[str]:
    values = [value] if isinstance(value, str) or not _several(value) else list(value)
    return frozenset(str(v) for v in values if v is not None)


def _split_of(node: ast.AST) -> frozenset[str] | None:
    """The splits of a condition that is `split == 'train'`, and nothing else."""
    match node:
        case ast.Compare(left=ast.Name(id="split"), ops=[ast.Eq()], comparators=[ast.Constant(value=str(value))]):
            return frozenset([value])
    return None


def expression(
    schema: pa.Schema,
    *,
    bbox: Any = None,
    time: Any = None,
    where: Any = None,
    equal: Mapping[str, Any] | None = None,
    texts: Texts | None = None,
) -> pc.Expression | None:
    """One Arrow expression that requires all conditions; None if there are no conditions.

    Args:
        schema: of the columns.
        bbox: see `Dataset.query`.
        time: see `Dataset.query`.
        where: a condition, an expression or a mapping.
        equal: column -> value or values.
        texts: answers with the values of a column of texts, so that a value that occurs nowhere is refused.

    Raises:
        QueryError: see `Dataset.query`.
    """
    asked = _Asked(schema, texts)
    parts: list[pc.Expression] = []
    if bbox is not None:
        parts.append(overlaps(bbox))
    if time is not None:
        parts += _during(time)
    for column, value in (equal or {}).items():
        parts.append(asked.equals(column, value))
    if isinstance(where, pc.Expression):
        parts.append(where)
    elif isinstance(where, str):
        parts.append(_parse(asked, where))
    elif isinstance(where, Mapping):
        parts += [asked.equals(column, value) for column, value in where.items()]
    elif where is not None:
        raise QueryError(
            f"a condition must be a text (\"split == 'train'\"), an Arrow expression or a mapping, got {where!r}"
        )
    result = joined(parts, both=True) if parts else None
    if result is not None:
        _fits(schema, result)
    return result


def _fits(schema: pa.Schema, condition: pc.Expression) -> None:
    """Raises QueryError if a condition does not fit the columns."""
    try:
        filtered(empty_table(schema), condition)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise QueryError(f"the query does not fit the columns: {first_line(error)}") from error


def overlaps(bbox: Any) -> pc.Expression:
    """Footprints that touch a box; QueryError if it is none."""
    west, south, east, north = degrees(bbox)
    if west > east:
        return overlaps((west, south, 180.0, north)) | overlaps((-180.0, south, east, north))
    box = [pc.field("bbox", edge) for edge in ("xmin", "ymin", "xmax", "ymax")]
    edges = array_of([west, south, east, north], pa.float64())
    starts, ends = box[0] <= edges[2], box[2] >= edges[0]
    wraps = box[0] > box[2]
    return ((~wraps & starts & ends) | (wraps & (starts | ends))) & (box[1] <= edges[3]) & (box[3] >= edges[1])


def degrees(bbox: Any) -> BBox:
    """The box as (west, south, east, north); QueryError if it is not four numbers in degrees."""
    wanted = f"bbox must be (west, south, east, north) in degrees, got {bbox!r}"
    try:
        west, south, east, north = (float(v) for v in bbox)
    except (TypeError, ValueError) as error:
        raise QueryError(wanted) from error
    if not all(np.isfinite(v) for v in (west, south, east, north)):
        raise QueryError(wanted)
    if south > north:
        raise QueryError(f"{wanted}: its south is above its north")
    if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
        raise QueryError(f"{wanted}: longitudes must be -180 to 180, latitudes -90 to 90")
    return west, south, east, north


def _during(period: Any) -> list[pc.Expression]:
    if not isinstance(period, (tuple, list)) or len(period) != 2:
        raise QueryError(f"time must be (first, last), and either may be None; got {period!r}")
    first, last = _edges(period)
    if first is not None and last is not None and first > last:
        raise QueryError(f"time is (first, last), and {period[0]} is after {period[1]}: swap them")
    parts = []
    if last is not None:
        parts.append(pc.field("start_datetime") <= scalar_of(last, TIME))
    if first is not None:
        parts.append(pc.field("end_datetime") >= scalar_of(first, TIME))
    return parts


def _edges(period: Any) -> tuple[datetime | None, datetime | None]:
    first, last = (None if edge is None else moment(edge, latest=bool(n)) for n, edge in enumerate(period))
    return first, last


def moment(value: Any, *, latest: bool = False) -> datetime:
    """A UTC time; a date without a time means its first or its last instant."""
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        except ValueError as error:
            raise QueryError(f"{value!r} is not a date or time (2021-06-30 or 2021-06-30T12:00:00Z)") from error
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.max if latest else time.min, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise QueryError(f"{value!r} is not a date or time")
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (OverflowError, ValueError) as error:
        raise QueryError(f"{value!r} is not a valid date or time in UTC") from error


class _Asked:
    """Turns conditions on columns into Arrow expressions."""

    def __init__(self, schema: pa.Schema, texts: Texts | None) -> None:
        self.schema, self._texts = schema, texts

    def equals(self, column: str, value: Any) -> pc.Expression:
        """True where the column equals a value, or one of several values; None means null."""
        found = field(self.schema, column)
        if not _several(value):
            return self.compared("equal", column, value)
        values = list(value)
        there = [v for v in values if v is not None]
        self._occurs(column, there)
        kind = self.schema.field(column).type
        if pa.types.is_timestamp(kind):
            there = [moment(v) for v in there]
        try:
            listed = found.isin(array_of(there, kind))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise QueryError(f"column {column!r} contains {kind}, it cannot be one of {there!r}") from error
        return listed | found.is_null() if len(there) < len(values) else listed

    def compared(self, how: str, column: str, value: Any) -> pc.Expression:
        """Compares a column with a value by an Arrow function."""
        found = field(self.schema, column)
        if value is None:
            if how not in ("equal", "not_equal"):
                raise QueryError(f"compare column {column!r} with None only by ==, !=, is or is not")
            return found.is_null() if how == "equal" else found.is_valid()
        if how in ("equal", "not_equal"):
            self._occurs(column, [value])
        return getattr(pc, how)(found, self._literal(column, value))

    def _literal(self, column: str, value: Any) -> pa.Scalar:
        kind = self.schema.field(column).type
        if pa.types.is_timestamp(kind):
            value = moment(value)
        if isinstance(value, bytes):
            raise QueryError(f"column {column!r} contains {kind}, it cannot be compared with {value!r}")
        if isinstance(value, float):
            kind = pa.float64()
        elif isinstance(value, int) and pa.types.is_integer(kind):
            kind = pa.int64()
        try:
            return scalar_of(value, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise QueryError(f"column {column!r} contains {kind}, it cannot be compared with {value!r}") from error

    def _occurs(self, column: str, values: list[Any]) -> None:
        """Raises QueryError for a text that no sample has; in a long list of texts (ids), some may be unknown."""
        wanted = [str(v) for v in values if isinstance(v, str)]
        if self._texts is None or not wanted or not pa.types.is_string(self.schema.field(column).type):
            return
        known = self._texts(column)
        held = known.hold(wanted) if isinstance(known, Many) else [v in known for v in wanted]
        strange = [v for v, there in zip(wanted, held, strict=True) if not there]
        if strange and (len(strange) == len(wanted) or (len(known) <= _FEW_TEXTS and column != "id")):
            raise QueryError(f"column {column!r}: {unknown('value', strange[0], known)}")


def _several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def field(schema: pa.Schema, column: Any) -> pc.Expression:
    """The column of that name; QueryError with the most similar names if there is none."""
    if column not in schema.names:
        raise QueryError(unknown("column", column, schema.names))
    return pc.field(column)


def _parse(asked: _Asked, text: str) -> pc.Expression:
    """A condition in Python syntax, parsed and never run: `worldcover_trees > 0.5 and split in ('val', 'test')`."""
    if len(text) > _LONGEST:
        raise QueryError(f"the condition has {len(text)} characters; the limit is {_LONGEST}")
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        hint = "write == for equality" if re.search(r"(?<![=!<>])=(?!=)", text) else error.msg
        said = quoted_names(asked.schema.names, text) or f"{hint}; for SQL use Dataset.sql"
        raise QueryError(f"cannot read the condition {text!r}: {said}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise QueryError(f"cannot read the condition {text[:200]!r}: {first_line(error)}") from error
    _check_depth(tree)
    return _condition(asked, tree, text)


def _check_depth(tree: ast.AST) -> None:
    """Refuses deeply nested conditions: Arrow and Python recurse into them, and could end the process."""
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise QueryError(f"the condition has more than {_DEEPEST} levels; write `column in (...)` for many values")


def joined(parts: list[pc.Expression], *, both: bool) -> pc.Expression:
    """Joins conditions with "and" or "or", as a balanced tree."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [a & b if both else a | b for a, b in pairs] + parts[len(parts) & ~1 :]
    return parts[0]


def _condition(asked: _Asked, node: ast.AST, text: str) -> pc.Expression:
    match node:
        case ast.BoolOp(op=op, values=values):
            return joined([_condition(asked, v, text) for v in values], both=isinstance(op, ast.And))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_condition(asked, operand, text)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if (column := _column(left, text)) is not None:
            return _comparison(asked, column, op, right, text)
    column = _column(node, text)
    if column is not None:
        return field(asked.schema, column)
    raise _unreadable(asked, text)


def _comparison(asked: _Asked, column: str, op: ast.cmpop, right: ast.AST, text: str) -> pc.Expression:
    match op, right:
        case (ast.In() | ast.NotIn(), _):
            listed = _constant(right, text)
            if not _several(listed):
                raise QueryError(
                    f"cannot read the condition {text!r}: 'in' needs a list, such as {column} in ['a', 'b']"
                )
            found = asked.equals(column, listed)
            return ~found if isinstance(op, ast.NotIn) else found
        case (ast.Is() | ast.IsNot(), ast.Constant(None)):
            return asked.compared("not_equal" if isinstance(op, ast.IsNot) else "equal", column, None)
    if type(op) not in _COMPARE:
        raise _unreadable(asked, text)
    return asked.compared(_COMPARE[type(op)], column, _constant(right, text))


def _unreadable(asked: _Asked, text: str) -> QueryError:
    said = quoted_names(asked.schema.names, text) or (
        "write comparisons of a column with a value, joined by and, or, not: "
        "\"worldcover_trees > 0.5 and split == 'train'\""
    )
    return QueryError(f"cannot read the condition {text!r}: {said}")


def _column(node: ast.AST, text: str) -> str | None:
    """The column that a node names: a plain name, or any name in double quotes, as in SQL; None: it names none."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=str(name)) if (ast.get_source_segment(text, node) or "").startswith('"'):
            return name
    return None


def quoted_names(names: Iterable[str], text: str) -> str | None:
    """What to say if a condition has a column's name without the double quotes that it needs; None: it has none."""
    for name in sorted(names, key=len, reverse=True):
        if not name.isidentifier() and re.search(rf"(?<![\w\"'-]){re.escape(name)}(?![\w\"'-])", text):
            return f'put the column\'s name in double quotes: "{name}"'
    return None


def _constant(node: ast.AST, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise QueryError(f"cannot read the condition {text!r}: compare a column with a plain value") from error
