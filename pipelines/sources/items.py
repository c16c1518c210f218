"""Reads an untrusted STAC item: its id, times, footprint and properties."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pipelines.access.stac.footprint import footprint_of, moment, number
from pipelines.sources.sensor import SceneRejected
from schemas.outcome import Reason

if TYPE_CHECKING:
    from datetime import datetime

    from pipelines.sources.sensor import Item


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
        SceneRejected: BAD_ITEM if it has no readable time.
    """
    said = properties(item)
    start, end = moment(said.get("start_datetime")), moment(said.get("end_datetime"))
    when = moment(said.get("datetime"))
    if when is None:
        if start is None or end is None:
            raise SceneRejected(Reason.BAD_ITEM, f"item {item.get('id')!r} has no datetime and no period")
        when = start + (end - start) / 2
    return when, min(start or when, when), max(end or when, when)  # DLR cuts the time to seconds, before the start


def geometry(item: Item) -> dict[str, object]:
    """The footprint as GeoJSON, WGS 84 degrees; from the box where the item has no polygon.

    Raises:
        SceneRejected: BAD_ITEM if it has neither.
    """
    found = footprint_of(item)
    if found is None:
        raise SceneRejected(Reason.BAD_ITEM, f"item {item.get('id')!r} has no footprint: neither geometry nor bbox")
    return found


def cloud_share(item: Item) -> float | None:
    """Cloud over the scene, 0..1; None = not stated (Landsat's -1 included)."""
    percent = number(properties(item).get("eo:cloud_cover"))
    return None if percent is None or math.isnan(percent) or percent < 0 else min(percent / 100.0, 1.0)


def licence(item: Item, default: str) -> str:
    """The item's own licence, else the modality's."""
    found = properties(item).get("license")
    return found[:64] if isinstance(found, str) and re.fullmatch(r"[A-Za-z0-9.+-]+", found) else default


def identity(item: Item) -> str:
    """The item's id.

    Raises:
        SceneRejected: BAD_ITEM if it has none.
    """
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise SceneRejected(Reason.BAD_ITEM, "an item without an id")
    return found
