"""Reading a STAC item that anybody may have written: its id, times, footprint and properties."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import shapely

from pipelines.sources.protocol import SceneRejected
from schemas.outcome import Reason

if TYPE_CHECKING:
    from pipelines.sources.protocol import Item


_FEW_POINTS = 32
_ROUNDING = 1e-9
"""Twice an area in square degrees that may be 0 in truth."""


def properties(item: Item) -> dict[str, Any]:
    """The item's properties; an item without any has none."""
    found = item.get("properties")
    return found if isinstance(found, dict) else {}


def text(item: Item, *names: str) -> str | None:
    """The first of these properties that is there, as text."""
    for name in names:
        value = properties(item).get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def times(item: Item) -> tuple[datetime, datetime, datetime]:
    """(time, start, end) of an item, UTC; the time of a period without one is its middle.

    Raises:
        SceneRejected: BAD_ITEM where it has no readable time.
    """
    start, end = _time(item, "start_datetime"), _time(item, "end_datetime")
    when = _time(item, "datetime")
    if when is None:
        if start is None or end is None:
            raise SceneRejected(Reason.BAD_ITEM, f"item {item.get('id')!r} has no datetime and no period")
        when = start + (end - start) / 2
    return when, min(start or when, when), max(end or when, when)  # DLR cuts the time to seconds, before the start


def _time(item: Item, name: str) -> datetime | None:
    value = properties(item).get(name)
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def geometry(item: Item) -> dict[str, object]:
    """The footprint as GeoJSON, WGS 84 degrees; from the box where the item has no polygon.

    Raises:
        SceneRejected: BAD_ITEM where it has neither.
    """
    shape = item.get("geometry")
    if isinstance(shape, dict) and shape.get("type") in ("Polygon", "MultiPolygon") and shape.get("coordinates"):
        return _sound({"type": shape["type"], "coordinates": shape["coordinates"]}, item)
    box = item.get("bbox")
    if isinstance(box, list) and len(box) in (4, 6) and all(number(v) is not None for v in box):
        box = [float(v) for v in box]
        west, south, east, north = box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1]
        if east < west:
            east += 360.0
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return _sound({"type": "Polygon", "coordinates": [ring]}, item)
    raise SceneRejected(Reason.BAD_ITEM, f"item {item.get('id')!r} has no footprint")


def _sound(found: dict[str, object], item: Item) -> dict[str, object]:
    """A footprint that can be computed with: finite, with an area, on the Earth (longitudes may run over 180)."""
    if _plainly_sound(found):
        return found
    try:
        shape = shapely.from_geojson(json.dumps(found))
        west, south, east, north = shape.bounds
        if shape.area > 0.0 and -361.0 <= west <= east <= 541.0 and -90.0 <= south <= north <= 90.0:
            return found
    except (shapely.errors.ShapelyError, ValueError, RecursionError):
        pass
    raise SceneRejected(Reason.BAD_ITEM, f"item {item.get('id')!r} has a footprint that is none") from None


def _plainly_sound(found: dict[str, object]) -> bool:
    """Whether it is seen without building a geometry: one ring of a few points, as nearly all footprints are."""
    rings = found["coordinates"]
    ring = rings[0] if found["type"] == "Polygon" and isinstance(rings, list) and len(rings) == 1 else None
    if not isinstance(ring, list) or not 4 <= len(ring) <= _FEW_POINTS or ring[0] != ring[-1]:
        return False
    for point in ring:
        if type(point) is not list or len(point) != 2 or not all(type(v) in (int, float) for v in point):
            return False
        if not (-361.0 <= point[0] <= 541.0 and -90.0 <= point[1] <= 90.0):
            return False
    twice = sum((ring[i][0] - ring[0][0]) * (ring[i - 1][1] - ring[i + 1][1]) for i in range(1, len(ring) - 1))
    return bool(abs(twice) > _ROUNDING)


def number(value: object) -> float | None:
    """A number that may have come as text ('72', 'nan'); None where it is none."""
    if value is None or type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def cloud_share(item: Item) -> float | None:
    """Cloud over the scene, 0..1; None = not said (Landsat's -1 included)."""
    percent = number(properties(item).get("eo:cloud_cover"))
    return None if percent is None or math.isnan(percent) or percent < 0 else min(percent / 100.0, 1.0)


def licence(item: Item, default: str) -> str:
    """The item's own licence, else the modality's."""
    found = properties(item).get("license")
    return found[:64] if isinstance(found, str) and re.fullmatch(r"[A-Za-z0-9.+-]+", found) else default


def identity(item: Item) -> str:
    """The item's id.

    Raises:
        SceneRejected: BAD_ITEM where it has none.
    """
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise SceneRejected(Reason.BAD_ITEM, "an item without an id")
    return found
