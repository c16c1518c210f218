"""One STAC search: reads GET parameters or a POST body, and answers from items in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shapely.errors import ShapelyError
from shapely.geometry import box, shape

from testbed.stac_filter import BadQueryError, matches_filter, matches_query, parse_time, property_of

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Json = dict[str, Any]
DEFAULT_LIMIT = 10
"""Items a page when the client does not say, as in the OGC API Features standard's example."""
MAX_LIMIT = 1000
"""A larger limit is cut to this, as the standard asks."""
KNOWN = ("bbox", "intersects", "datetime", "collections", "ids", "limit", "sortby", "query", "filter", "token")
"""Parameters that are understood."""
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for; an absent condition holds for every item."""

    boxes: tuple[BaseGeometry, ...] = ()
    """One box, or two where the bbox crosses the antimeridian."""
    intersects: BaseGeometry | None = None
    period: tuple[datetime, datetime] | None = None
    """First and last instant, both inclusive."""
    collections: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    query: Json = field(default_factory=dict)
    filter: Any = True
    sortby: tuple[tuple[str, bool], ...] = (("properties.datetime", False), ("id", True))
    """(property, True = ascending)."""
    limit: int = DEFAULT_LIMIT
    start: int = 0
    """Place of the first item of the page."""

    def __call__(self, items: list[Json]) -> list[Json]:
        """All items that match, sorted; the page is not cut."""
        found = [i for i in items if self._matches(i)]
        for name, ascending in reversed(self.sortby):
            found.sort(key=lambda i: _sort_key(property_of(i, name)), reverse=not ascending)
        return found

    def _matches(self, item: Json) -> bool:
        if self.collections is not None and item.get("collection") not in self.collections:
            return False
        if self.ids is not None and item["id"] not in self.ids:
            return False
        if self.period is not None and not _overlaps(item, self.period):
            return False
        if (self.boxes or self.intersects is not None) and not self._touches(item):
            return False
        return matches_query(item, self.query) and matches_filter(item, self.filter)

    def _touches(self, item: Json) -> bool:
        if not item.get("geometry"):
            return False
        geometry = shape(item["geometry"])
        if self.boxes and not any(geometry.intersects(b) for b in self.boxes):
            return False
        return self.intersects is None or bool(geometry.intersects(self.intersects))


def _sort_key(value: Any) -> tuple[int, float, str]:
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


def _overlaps(item: Json, period: tuple[datetime, datetime]) -> bool:
    found = item["properties"]
    start = found.get("start_datetime") or found.get("datetime")
    end = found.get("end_datetime") or found.get("datetime")
    if start is None or end is None:
        return False
    return parse_time(start) <= period[1] and parse_time(end) >= period[0]


def _period(text: str) -> tuple[datetime, datetime]:
    ends = text.split("/")
    if len(ends) > 2 or ends in (["..", ".."], [""], ["", ""]):
        raise BadQueryError(f"datetime: {text!r} is neither a time nor an interval with at least one end")
    first = _FIRST if ends[0] in ("", "..") else parse_time(ends[0])
    last = _LAST if ends[-1] in ("", "..") else parse_time(ends[-1])
    if first > last:
        raise BadQueryError(f"datetime: {text!r} ends before it starts")
    return first, last


def _boxes(numbers: list[Any]) -> tuple[BaseGeometry, ...]:
    try:
        values = [float(n) for n in numbers]
    except (TypeError, ValueError) as error:
        raise BadQueryError(f"bbox: {numbers!r} are not numbers") from error
    if len(values) not in (4, 6):
        raise BadQueryError(f"bbox: expected 4 or 6 numbers, got {len(values)}")
    west, south, east, north = (*values[:2], *values[3:5]) if len(values) == 6 else values
    if south > north or not -90 <= south <= 90 or not -90 <= north <= 90:
        raise BadQueryError(f"bbox: south {south:g} and north {north:g} are not latitudes in order")
    if west <= east:
        return (box(west, south, east, north),)
    return box(west, south, 180, north), box(-180, south, east, north)


def _sortby(wanted: list[Any]) -> tuple[tuple[str, bool], ...]:
    keys: list[tuple[str, bool]] = []
    for key in wanted:
        if isinstance(key, str):
            keys.append((key.lstrip("+-"), not key.startswith("-")))
        elif isinstance(key, dict) and "field" in key:
            keys.append((key["field"], key.get("direction", "asc") == "asc"))
        else:
            raise BadQueryError(f"sortby: {key!r} is not a field with a direction")
    return (*keys, ("id", True))


def read_body(body: Json) -> Search:
    """A search from a POST body.

    Raises:
        BadQueryError: malformed, contradictory or unknown conditions; nothing is ignored silently.
    """
    unknown = sorted(set(body) - {*KNOWN, "filter-lang", "conf", "filter-crs"})
    if unknown:
        raise BadQueryError(f"unknown parameter {unknown[0]!r}; known are {sorted(KNOWN)}")
    body = {k: v for k, v in body.items() if v is not None}
    if "bbox" in body and "intersects" in body:
        raise BadQueryError("give bbox or intersects, not both")
    if body.get("filter-lang", "cql2-json") != "cql2-json":
        raise BadQueryError(f"filter-lang: this server speaks cql2-json, got {body['filter-lang']!r}")
    limit = body.get("limit", DEFAULT_LIMIT)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise BadQueryError(f"limit: expected a whole number from 1 to {MAX_LIMIT}, got {limit!r}")
    token = str(body.get("token", "next:0"))
    if not token.removeprefix("next:").isdigit():
        raise BadQueryError(f"token: {token!r} was not given out by this server")
    try:
        intersects = shape(body["intersects"]) if "intersects" in body else None
    except (ShapelyError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadQueryError(f"intersects: not a GeoJSON geometry ({error})") from error
    return Search(
        boxes=_boxes(body["bbox"]) if "bbox" in body else (),
        intersects=intersects,
        period=_period(body["datetime"]) if "datetime" in body else None,
        collections=tuple(body["collections"]) if "collections" in body else None,
        ids=tuple(body["ids"]) if "ids" in body else None,
        query=body.get("query", {}),
        filter=body.get("filter", True),
        sortby=_sortby(body["sortby"]) if body.get("sortby") else Search.sortby,
        limit=min(limit, MAX_LIMIT),
        start=int(token.removeprefix("next:")),
    )


def read_parameters(parameters: dict[str, str]) -> Search:
    """A search from GET parameters: lists by commas, objects as JSON.

    Raises:
        BadQueryError: as `read_body`.
    """
    body: Json = dict(parameters)
    for name in ("bbox", "collections", "ids", "sortby"):
        if name in body:
            body[name] = [x for x in body[name].split(",") if x]
    if "limit" in body and body["limit"].isdigit():
        body["limit"] = int(body["limit"])
    for name in ("intersects", "query", "filter"):
        if name in body:
            try:
                body[name] = json.loads(body[name])
            except ValueError as error:
                raise BadQueryError(f"{name}: expected JSON, got {body[name]!r}") from error
    return read_body(body)
