"""CQL2 filters over the catalogue, as a STAC API takes them: https://docs.ogc.org/is/21-065r2/21-065r2.html.

Comparisons become Arrow expressions. Spatial predicates are computed on the footprints that a box preselects. A
filter is data: it names columns of the catalogue and constants, and nothing else is evaluated.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.errors import QueryError, first_line, unknown
from landweave.query import expression, moment
from landweave.values import array_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
_SWAPPED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SPATIAL = ("s_intersects", "s_within", "s_contains", "s_disjoint", "s_overlaps", "s_touches", "s_crosses", "s_equals")


class Filter:
    """Evaluates filters over one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._schema = catalogue.schema
        self._nodes = 0

    def positions(self, cql2: Any) -> NDArray[np.int64]:
        """Positions of the samples that fulfil a CQL2-JSON filter, ascending.

        Raises:
            QueryError: not CQL2, an unknown property, an operator that is not supported, a constant of a wrong type.
        """
        self._nodes = 0
        return np.flatnonzero(self._mask(cql2, wanted=True, depth=0))

    def _mask(self, node: Any, *, wanted: bool, depth: int) -> NDArray[np.bool_]:
        """Which samples fulfil a node (or its negation); nulls fulfil neither, as in SQL."""
        op, args = self._operator(node, depth)
        if op == "not":
            return self._mask(_one(args, op), wanted=not wanted, depth=depth + 1)
        if op in ("and", "or"):
            masks = [self._mask(a, wanted=wanted, depth=depth + 1) for a in args]
            join = np.logical_and if (op == "and") == wanted else np.logical_or
            return np.asarray(join.reduce(masks), np.bool_)
        if op in _SPATIAL:
            found = self._spatial(op, args)
            return found if wanted else ~found
        condition = self._comparison(op, args)
        return self._matching(condition if wanted else ~condition)

    def _operator(self, node: Any, depth: int) -> tuple[str, list[Any]]:
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > _MOST_NODES:
            raise QueryError(f"the filter is too large: at most {_DEEPEST} levels and {_MOST_NODES} operators")
        if not isinstance(node, dict) or not isinstance(node.get("op"), str) or not isinstance(node.get("args"), list):
            raise QueryError('a filter must be CQL2-JSON: {"op": ..., "args": [...]}')
        if not node["args"]:
            raise QueryError(f"{node['op'][:40]!r} has no arguments")
        return node["op"].lower(), node["args"]

    def _matching(self, condition: pc.Expression) -> NDArray[np.bool_]:
        found = np.zeros(self._catalogue.samples, np.bool_)
        try:
            found[self._catalogue.match(condition)[:]] = True
        except pa.ArrowException as error:
            raise QueryError(f"the filter does not fit the columns: {first_line(error)}") from error
        return found

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
            name, field = self._field(_pair(args, op)[0])
            if not isinstance(args[1], list) or len(args[1]) > _MOST_NODES:
                raise QueryError(f"in needs a list of at most {_MOST_NODES} values")
            kind = self._schema.field(name).type
            values = [self._checked(name, v) for v in args[1]]
            if pa.types.is_integer(kind):  # no whole number is 1.5
                values = [v for v in values if int(v) == v]
            return field.isin(self._array(name, values, kind))
        if op == "like":
            name, field = self._field(_pair(args, op)[0])
            if not isinstance(args[1], str) or self._schema.field(name).type != pa.string():
                raise QueryError("like compares a property of texts with a pattern")
            return pc.match_like(field, args[1])
        if op == "isnull":
            return self._field(_one(args, op))[1].is_null()
        raise QueryError(unknown("operator", op[:40], [*_COMPARE, "between", "in", "like", "isNull", *_SPATIAL]))

    def _field(self, node: Any) -> tuple[str, pc.Expression]:
        if not _is_property(node):
            raise QueryError(f"a property was expected, found {str(node)[:80]!r}")
        name = str(node["property"]).removeprefix("properties.")
        if name not in self._schema.names:
            raise QueryError(unknown("property", name[:80], queryable(self._schema)))
        kind = self._schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise QueryError(f"property {name!r} is no number, text, time or truth value: it cannot be compared")
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
        if alike and isinstance(value, bool) == pa.types.is_boolean(kind) and isinstance(value, (str, int, float)):
            if not isinstance(value, float) or np.isfinite(value):
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

    def _spatial(self, op: str, args: list[Any]) -> NDArray[np.bool_]:
        left, right = _pair(args, op)
        if _is_property(left):
            return self._footprints(op, left, right, swapped=False)
        return self._footprints(op, right, left, swapped=True)

    def _footprints(self, op: str, node: Any, literal: Any, *, swapped: bool) -> NDArray[np.bool_]:
        import shapely

        if not _is_property(node) or node["property"] != "geometry":
            raise QueryError(f"{op} compares the property 'geometry' with a geometry")
        shape = geometry(literal)
        near = np.ones(self._catalogue.samples, np.bool_)
        if op != "s_disjoint":
            near = self._matching(_box(self._schema, shape.bounds))
        rows = self._catalogue.read(["geometry"])["geometry"].filter(pa.array(near))
        shapes = shapely.from_wkb(rows.to_numpy(zero_copy_only=False))
        shapely.prepare(shape)
        test = getattr(shapely, op.removeprefix("s_"))
        found = np.zeros(len(near), np.bool_)
        found[near] = test(shape, shapes) if swapped else test(shapes, shape)
        return found


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


def _box(schema: pa.Schema, bounds: Sequence[float]) -> pc.Expression:
    found = expression(schema, bbox=tuple(bounds))
    assert found is not None  # noqa: S101 - a box is a condition
    return found


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
