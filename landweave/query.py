"""Questions in Python's spelling, as Arrow expressions that are pushed down into Parquet. Nothing is evaluated."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.errors import QueryError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPARE = {ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater"}
_COMPARE[ast.GtE] = "greater_equal"
BBox = tuple[float, float, float, float]
"""west, south, east, north in degrees; west > east crosses the antimeridian."""


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
    found = field(schema, column)
    if isinstance(value, (list, tuple, set, frozenset)):
        return found.isin(pa.array(sorted(value), schema.field(column).type))
    return found == _literal(schema, column, value)


def field(schema: pa.Schema, column: str) -> pc.Expression:
    """A column; QueryError, with names that are near, where there is none."""
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
        raise QueryError(f"cannot read the condition {text!r}: {first_line(error)}") from error
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
            empty = field(schema, column).is_null()
            return ~empty if isinstance(op, ast.IsNot) else empty
        case ast.Compare(left=ast.Name(id=column), ops=[op], comparators=[value]) if type(op) in _COMPARE:
            found = field(schema, column)
            return getattr(pc, _COMPARE[type(op)])(found, _literal(schema, column, _constant(value, text)))
        case ast.Name(id=column):
            return field(schema, column)
    raise QueryError(
        f"cannot read the condition {text!r}: write comparisons of a column with a value, joined by and, or, not: "
        "\"worldcover_trees > 0.5 and split == 'train'\""
    )


def _constant(node: ast.AST, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise QueryError(f"cannot read the condition {text!r}: a column is compared with a plain value") from error
