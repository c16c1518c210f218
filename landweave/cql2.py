"""CQL2 filters over the catalogue, as a STAC API takes them: https://docs.ogc.org/is/21-065r2/21-065r2.html.

Comparisons become Arrow expressions. Spatial predicates are computed on the footprints that a box preselects. A
filter is data: it names columns of the catalogue and constants, and nothing else is evaluated.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.errors import QueryError, first_line, unknown
from landweave.query import NO_HINT, Hint, columns_of, joined, moment, overlaps, range_of
from landweave.values import array_of, empty_table, filtered, indexes, numbers_of, truths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue

_DEEPEST, _MOST_NODES, _MOST_VERTICES = 32, 2_000, 20_000
"""Limits of a filter: nesting, operators and constants, vertices of one geometry."""
_COMPARE: dict[str, Callable[[pc.Expression, Any], pc.Expression]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_NAMES = {"=": "equal", "<>": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}
"""Arrow's names."""
_SWAPPED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_INDEX, _SHAPE = "__index", "__shape"
"""Columns that no catalogue has."""
_SPATIAL = ("s_intersects", "s_within", "s_contains", "s_disjoint", "s_overlaps", "s_touches", "s_crosses", "s_equals")


class Shape(NamedTuple):
    """A spatial predicate: it becomes a column of truth values, which the condition names."""

    column: str
    """Name of that column."""
    test: str
    """Name of shapely's predicate."""
    geometry: Any
    """What footprints are compared with."""
    swapped: bool
    """True = the footprint is the second argument."""

    def of(self, table: pa.Table) -> pa.Array:
        """(n,) bool of samples, from their `geometry` and `bbox`."""
        import shapely

        near = np.ones(table.num_rows, np.bool_)
        if self.test != "disjoint":
            near[:] = False
            numbered = table.append_column(_INDEX, indexes(np.arange(table.num_rows)))
            box = filtered(numbered, overlaps(self.geometry.bounds))
            near[numbers_of(box[_INDEX])] = True
        places = np.flatnonzero(near)
        shapes = shapely.from_wkb(table["geometry"].take(indexes(places)).to_pylist())
        test = getattr(shapely, self.test)
        shapely.prepare(self.geometry)
        found = np.zeros(table.num_rows, np.bool_)
        found[places] = test(self.geometry, shapes) if self.swapped else test(shapes, self.geometry)
        return truths(found)


class Condition(NamedTuple):
    """A filter that has been understood."""

    where: pc.Expression
    """Over columns of the catalogue and of `shapes`."""
    columns: frozenset[str]
    """Columns of the catalogue that it looks at."""
    shapes: tuple[Shape, ...]
    """Spatial predicates."""
    hint: Hint
    """What it certainly requires."""


def both(
    plain: pc.Expression | None, required: Hint, condition: Condition | None, schema: pa.Schema
) -> Condition | None:
    """A condition on columns, with what it requires, and another one; None where there is neither."""
    if plain is None:
        return condition
    columns = frozenset(columns_of(plain, schema))
    if condition is None:
        return Condition(plain, columns, (), required)
    more = condition.hint
    splits = required.splits if more.splits is None else more.splits
    known = replace(required, bbox=required.bbox or more.bbox, splits=splits, ranges=more.ranges)
    return Condition(plain & condition.where, columns | condition.columns, condition.shapes, known)


class Filter:
    """Evaluates filters over one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._schema = catalogue.schema
        self._nodes = 0
        self._columns: set[str] = set()
        self._shapes: list[Shape] = []

    def positions(self, cql2: Any) -> NDArray[np.int64]:
        """Positions of the samples that fulfil a CQL2-JSON filter, ascending; raises as `condition`."""
        return np.concatenate([np.zeros(0, np.int64), *(found for found, _ in self.batches(self.condition(cql2)))])

    def condition(self, cql2: Any) -> Condition:
        """A CQL2-JSON filter as a condition over columns.

        Raises:
            QueryError: not CQL2, an unknown property, an operator that is not supported, a constant of a wrong type.
        """
        self._nodes, self._columns, self._shapes = 0, set(), []
        where = self._node(cql2, 0)
        columns = self._columns | ({"geometry", "bbox"} if self._shapes else set())
        return Condition(where, frozenset(columns), tuple(self._shapes), self._hint(cql2))

    def batches(
        self, condition: Condition, columns: Sequence[str] = (), start: int = 0
    ) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Positions and columns of the samples that fulfil a condition, as `Catalogue.batches` gives them."""
        try:
            hint = replace(condition.hint, alone=False)
            if not condition.shapes:
                yield from self._catalogue.batches(columns, condition.where, hint, start)
                return
            needed = [*dict.fromkeys([*columns, *condition.columns])]
            for positions, table in self._catalogue.batches(needed, None, hint, start):
                whole = table.append_column(_INDEX, indexes(np.arange(len(positions))))
                for shape in condition.shapes:
                    whole = whole.append_column(shape.column, shape.of(table))
                kept = numbers_of(filtered(whole, condition.where)[_INDEX])
                yield positions[kept], table.select(list(columns)).take(indexes(kept))
        except pa.ArrowException as error:
            raise QueryError(f"the filter does not fit the columns: {first_line(error)}") from error

    def _hint(self, node: Any) -> Hint:
        """Box and splits that a filter requires, where they are joined by "and" with the rest."""
        op, args = node["op"].lower(), node["args"]
        hints = [self._hint(a) for a in args] if op == "and" else []
        if op in _SPATIAL and op != "s_disjoint":
            hints = [Hint(bbox=shape.geometry.bounds) for shape in self._shapes[:1] if len(self._shapes) == 1]
        if op in _COMPARE and len(args) == 2 and _is_property(args[0]):
            hints = [self._compared(op, str(args[0]["property"]).removeprefix("properties."), args[1])]
        box = next((h.bbox for h in hints if h.bbox is not None), None)
        splits = next((h.splits for h in hints if h.splits is not None), None)
        return Hint(bbox=box, splits=splits, ranges=tuple(one for h in hints for one in h.ranges))

    def _compared(self, op: str, name: str, value: Any) -> Hint:
        if name == "split" and op == "=" and isinstance(value, str):
            return Hint(splits=frozenset([value]))
        return Hint(ranges=range_of(name, _NAMES[op], value)) if type(value) in (int, float) else NO_HINT

    def _node(self, node: Any, depth: int) -> pc.Expression:
        """A node as an expression; nulls fulfil neither it nor its negation, as in SQL."""
        op, args = self._operator(node, depth)
        if op == "not":
            return ~self._node(_one(args, op), depth + 1)
        if op in ("and", "or"):
            return joined([self._node(a, depth + 1) for a in args], both=op == "and")
        if op in _SPATIAL:
            return self._spatial(op, args)
        return self._fitting(self._comparison(op, args))

    def _fitting(self, condition: pc.Expression) -> pc.Expression:
        try:
            filtered(empty_table(self._schema), condition)
        except pa.ArrowException as error:
            raise QueryError(f"the filter does not fit the columns: {first_line(error)}") from error
        return condition

    def _operator(self, node: Any, depth: int) -> tuple[str, list[Any]]:
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > _MOST_NODES:
            raise QueryError(f"the filter is too large: at most {_DEEPEST} levels and {_MOST_NODES} operators")
        if not isinstance(node, dict) or not isinstance(node.get("op"), str) or not isinstance(node.get("args"), list):
            raise QueryError('a filter must be CQL2-JSON: {"op": ..., "args": [...]}')
        if not node["args"]:
            raise QueryError(f"{node['op'][:40]!r} has no arguments")
        return node["op"].lower(), node["args"]

    def _comparison(self, op: str, args: list[Any]) -> pc.Expression:
        if op in _COMPARE:
            left, right = _pair(args, op)
            if not _is_property(left):
                left, right, op = right, left, _SWAPPED[op]
            name, field = self._field(left)
            other = self._field(right)[1] if _is_property(right) else self._constant(name, right)
            return _COMPARE[op](field, other)
        if op == "between":
            if len(args) != 3:
                raise QueryError("between has three arguments: a property, a lower and an upper bound")
            name, field = self._field(args[0])
            return (field >= self._constant(name, args[1])) & (field <= self._constant(name, args[2]))
        if op == "in":
            return self._among(*_pair(args, op))
        if op == "like":
            name, field = self._field(_pair(args, op)[0])
            if not isinstance(args[1], str) or self._schema.field(name).type != pa.string():
                raise QueryError("like compares a property of texts with a pattern")
            return pc.match_like(field, args[1])
        if op == "isnull":
            return self._field(_one(args, op))[1].is_null()
        raise QueryError(unknown("operator", op[:40], [*_COMPARE, "between", "in", "like", "isNull", *_SPATIAL]))

    def _among(self, node: Any, listed: Any) -> pc.Expression:
        name, field = self._field(node)
        if not isinstance(listed, list) or len(listed) > _MOST_NODES:
            raise QueryError(f"in needs a list of at most {_MOST_NODES} values")
        kind = self._schema.field(name).type
        values = [self._checked(name, v) for v in listed]
        if pa.types.is_integer(kind):  # no whole number is 1.5
            values = [v for v in values if int(v) == v]
        return pc.if_else(field.is_valid(), field.isin(self._array(name, values, kind)), pa.nulls(1, pa.bool_())[0])

    def _field(self, node: Any) -> tuple[str, pc.Expression]:
        if not _is_property(node):
            raise QueryError(f"a property was expected, found {str(node)[:80]!r}")
        name = str(node["property"]).removeprefix("properties.")
        if name not in self._schema.names:
            raise QueryError(unknown("property", name[:80], queryable(self._schema)))
        kind = self._schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise QueryError(f"property {name!r} is no number, text, time or truth value: it cannot be compared")
        self._columns.add(name)
        return name, pc.field(name)

    def _constant(self, name: str, value: Any) -> pa.Scalar:
        kind = self._schema.field(name).type
        found = self._checked(name, value)
        return self._array(name, [found], pa.float64() if isinstance(found, float) else kind)[0]

    def _checked(self, name: str, value: Any) -> Any:
        """A constant that a property can be compared with."""
        kind = self._schema.field(name).type
        if pa.types.is_timestamp(kind):
            with suppress(TypeError, ValueError):
                return _moment(value)
        alike = pa.types.is_string(kind) == isinstance(value, str)
        alike = alike and isinstance(value, bool) == pa.types.is_boolean(kind)
        if alike and (isinstance(value, (str, int)) or (isinstance(value, float) and np.isfinite(value))):
            return value
        raise self._unlike(name, value)

    def _array(self, name: str, values: list[Any], kind: pa.DataType) -> pa.Array:
        try:
            return array_of(values, kind)
        except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
            raise self._unlike(name, values[0] if len(values) == 1 else values) from error

    def _unlike(self, name: str, value: Any) -> QueryError:
        kind = self._schema.field(name).type
        return QueryError(f"property {name!r} holds {kind}; it cannot be compared with {str(value)[:80]!r}")

    def _spatial(self, op: str, args: list[Any]) -> pc.Expression:
        left, right = _pair(args, op)
        swapped = not _is_property(left)
        node, literal = (right, left) if swapped else (left, right)
        if not _is_property(node) or node["property"] != "geometry":
            raise QueryError(f"{op} compares the property 'geometry' with a geometry")
        column = f"{_SHAPE}{len(self._shapes)}"
        self._shapes.append(Shape(column, op.removeprefix("s_"), geometry(literal), swapped))
        return pc.field(column)


def geometry(literal: Any) -> Any:
    """A shapely geometry from GeoJSON or {"bbox": [...]}; degrees.

    Raises:
        QueryError: not a geometry, outside of the Earth, or with too many vertices.
    """
    import shapely
    import shapely.geometry

    wanted = "a geometry must be GeoJSON in degrees"
    try:
        if isinstance(literal, dict) and "bbox" in literal:
            west, south, east, north = (float(v) for v in literal["bbox"])
            return shapely.box(west, south, east, north)
        found = shapely.geometry.shape(literal)
        vertices = shapely.get_num_coordinates(found)
        west, south, east, north = found.bounds
    except Exception as error:
        raise QueryError(wanted) from error
    if vertices > _MOST_VERTICES:
        raise QueryError(f"the geometry has {vertices} vertices, at most {_MOST_VERTICES} are taken")
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90) or not found.is_valid:
        raise QueryError(f"{wanted}, valid, and within -180 to 180 and -90 to 90")
    return found


def queryable(schema: pa.Schema) -> list[str]:
    """Columns that a filter can name."""
    return [f.name for f in schema if not (pa.types.is_nested(f.type) or pa.types.is_binary(f.type))]


def _is_property(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("property"), str)


def _one(args: list[Any], op: str) -> Any:
    if len(args) != 1:
        raise QueryError(f"{op} has one argument, found {len(args)}")
    return args[0]


def _pair(args: list[Any], op: str) -> tuple[Any, Any]:
    if len(args) != 2:
        raise QueryError(f"{op} has two arguments, found {len(args)}")
    return args[0], args[1]


def _moment(value: Any) -> datetime:
    text = value.get("timestamp", value.get("date")) if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise TypeError
    return moment(text)
