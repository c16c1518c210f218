"""Decides whether a STAC item answers a `query` object or a CQL2-JSON `filter`; it refuses unknown operators."""

from __future__ import annotations

import operator
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shapely.geometry import shape

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


class BadQueryError(ValueError):
    """The client asked something malformed or unsupported: HTTP 400."""


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_QUERY: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "startsWith": lambda a, b: str(a).startswith(str(b)),
    "endsWith": lambda a, b: str(a).endswith(str(b)),
    "contains": lambda a, b: (b in a) if isinstance(a, list | str) else False,
    "in": lambda a, b: a in b,
}


def parse_time(text: str) -> datetime:
    """An RFC 3339 time, as UTC-aware datetime.

    Raises:
        BadQueryError: it is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadQueryError(f"{text!r} is not an RFC 3339 time") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def property_of(item: Json, name: str) -> Any:
    """Value of a queryable: a member of the item or of its properties; None if there is none."""
    name = name.removeprefix("properties.")
    if name in ("id", "collection", "geometry", "bbox"):
        return item.get(name)
    return item["properties"].get(name)


def _comparable(left: Any, right: Any) -> bool:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    return numbers or type(left) is type(right)


def matches_query(item: Json, query: Json) -> bool:
    """Whether an item satisfies every condition of a `query` object (STAC API query extension).

    Raises:
        BadQueryError: an operator is unknown or the object malformed.
    """
    for name, conditions in query.items():
        if not isinstance(conditions, dict):
            raise BadQueryError(f"query: {name!r} must hold an object of operators, got {conditions!r}")
        value = property_of(item, name)
        for op, wanted in conditions.items():
            if op not in _QUERY:
                raise BadQueryError(f"query: unknown operator {op!r}; known are {sorted(_QUERY)}")
            ordered = op in ("lt", "lte", "gt", "gte")
            if value is None or (ordered and not _comparable(value, wanted)) or not _QUERY[op](value, wanted):
                return False
    return True


def _value(item: Json, node: Any) -> Any:
    if isinstance(node, dict):
        if "property" in node:
            return property_of(item, node["property"])
        for kind in ("timestamp", "date"):
            if kind in node:
                return parse_time(node[kind])
        if "type" in node and "coordinates" in node:
            return node
        raise BadQueryError(f"filter: {node!r} is not a value this server knows")
    return node


def _compare(item: Json, op: str, args: list[Any]) -> bool:
    left, right = (_value(item, a) for a in args)
    if left is None or right is None:
        return False
    if isinstance(left, datetime) != isinstance(right, datetime):
        left, right = (parse_time(x) if isinstance(x, str) else x for x in (left, right))
    if not _comparable(left, right):
        return op == "<>"
    return _COMPARE[op](left, right)


def _like(text: object, pattern: str) -> bool:
    parts = re.split(r"(%|_)", pattern)
    regex = "".join(".*" if p == "%" else "." if p == "_" else re.escape(p) for p in parts)
    return isinstance(text, str) and re.fullmatch(regex, text, re.DOTALL) is not None


def _predicate(item: Json, op: str, args: list[Any]) -> bool:
    value = _value(item, args[0])
    if op == "isNull":
        return value is None
    if op == "in":
        return value in [_value(item, x) for x in args[1]]
    if op == "between":
        return _compare(item, ">=", [args[0], args[1]]) and _compare(item, "<=", [args[0], args[2]])
    if op == "like":
        return _like(value, args[1])
    return bool(value) and bool(shape(value).intersects(shape(_value(item, args[1]))))


_ARITY = {"not": 1, "isNull": 1, "in": 2, "between": 3, "like": 2, "s_intersects": 2} | dict.fromkeys(_COMPARE, 2)


def matches_filter(item: Json, node: Any) -> bool:
    """Whether an item satisfies a CQL2-JSON expression.

    Known: and, or, not, =, <>, <, <=, >, >=, in, between, like, isNull, s_intersects.

    Raises:
        BadQueryError: an operator is unknown or the expression malformed.
    """
    if isinstance(node, bool):
        return node
    if not isinstance(node, dict) or "op" not in node or not isinstance(node.get("args"), list):
        raise BadQueryError(f"filter: expected {{'op': ..., 'args': [...]}}, got {node!r}")
    op, args = node["op"], node["args"]
    if op in ("and", "or"):
        results = [matches_filter(item, a) for a in args]
        return all(results) if op == "and" else any(results)
    if op not in _ARITY:
        raise BadQueryError(f"filter: unknown operator {op!r}; known are {sorted(['and', 'or', *_ARITY])}")
    if len(args) != _ARITY[op]:
        raise BadQueryError(f"filter: {op!r} takes {_ARITY[op]} arguments, got {len(args)}")
    if op == "not":
        return not matches_filter(item, args[0])
    return _compare(item, op, args) if op in _COMPARE else _predicate(item, op, args)
