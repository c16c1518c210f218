"""Reads an untrusted STAC item: its id, times, footprint, properties and assets, for sensors and label products."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pipelines.access.errors import AccessError, ItemRefused
from pipelines.access.http.address import asset_url
from pipelines.access.stac import footprint
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def properties(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item's properties; an item without any has none."""
    found = item.get("properties")
    return found if isinstance(found, dict) else {}


def text(item: Mapping[str, Any], *names: str) -> str | None:
    """The first of these properties that is there, as text."""
    for name in names:
        value = properties(item).get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def identity(item: Mapping[str, Any]) -> str:
    """The item's id.

    Raises:
        ItemRefused: BAD_ITEM if it has none.
    """
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise ItemRefused(Reason.BAD_ITEM, "a STAC item has no id: expected a string in `id`")
    return found


def times(item: Mapping[str, Any]) -> tuple[datetime, datetime, datetime]:
    """(time, start, end) of an item, UTC; the time of a period without one is its middle.

    Raises:
        ItemRefused: BAD_ITEM if it has no readable time.
    """
    said = properties(item)
    start, end = footprint.moment(said.get("start_datetime")), footprint.moment(said.get("end_datetime"))
    when = footprint.moment(said.get("datetime"))
    if when is None:
        if start is None or end is None:
            raise ItemRefused(Reason.BAD_ITEM, f"item {item.get('id')!r} has no datetime and no period")
        when = start + (end - start) / 2
    return when, min(start or when, when), max(end or when, when)  # DLR cuts the time to seconds, before the start


def moment(item: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of the properties `names` that is there, as UTC time; None if none is.

    Raises:
        ItemRefused: it is no RFC 3339 date and time.
    """
    for name in names:
        text = properties(item).get(name)
        if text is None:
            continue
        found = footprint.moment(text)
        if found is None:
            raise ItemRefused(
                Reason.BAD_ITEM, f"item {identity(item)}: `{name}` is {str(text)[:64]!r}, expected an RFC 3339 time"
            )
        return found
    return None


def geometry(item: Mapping[str, Any]) -> dict[str, object]:
    """The footprint as GeoJSON, WGS 84 degrees; from the box where the item has no polygon.

    Raises:
        ItemRefused: BAD_ITEM if it has neither.
    """
    found = footprint.footprint_of(dict(item))
    if found is None:
        raise ItemRefused(
            Reason.BAD_ITEM,
            f"item {item.get('id')!r} has no footprint: neither `geometry` nor `bbox` is a valid outline on the Earth",
        )
    return found


def cloud_share(item: Mapping[str, Any]) -> float | None:
    """Cloud over the scene, 0..1; None = not stated (Landsat's -1 included)."""
    percent = footprint.number(properties(item).get("eo:cloud_cover"))
    return None if percent is None or math.isnan(percent) or percent < 0 else min(percent / 100.0, 1.0)


def licence(item: Mapping[str, Any], default: str) -> str:
    """The item's own licence, else the modality's."""
    found = properties(item).get("license")
    return found[:64] if isinstance(found, str) and re.fullmatch(r"[A-Za-z0-9.+-]+", found) else default


def asset_href(item: Mapping[str, Any], *names: str) -> str:
    """Absolute address of the first of the assets `names` that is there; a relative one is resolved by the self link.

    Raises:
        ItemRefused: the item has none of them, or the asset no href.
    """
    assets = item.get("assets")
    known = assets if isinstance(assets, dict) else {}
    for name in names:
        asset = known.get(name)
        if isinstance(asset, dict):
            href = asset.get("href")
            if not isinstance(href, str) or not href:
                raise ItemRefused(Reason.BAD_ITEM, f"item {identity(item)}: asset {name!r} has no href")
            try:
                return asset_url(item, href)
            except AccessError as error:
                raise ItemRefused(Reason.BAD_ITEM, f"item {identity(item)}: asset {name!r}: {error.detail}") from None
    raise ItemRefused(
        Reason.BAD_ITEM, f"item {identity(item)}: no asset {' or '.join(map(repr, names))}, it has {sorted(known)}"
    )


def nodata(item: Mapping[str, Any], name: str) -> float | None:
    """The number for 'no label here' that the item states for the first band of an asset; None if it does not."""
    assets = item.get("assets")
    asset = assets.get(name) if isinstance(assets, dict) else None
    if not isinstance(asset, dict):
        return None
    bands = [asset.get(key) for key in ("bands", "raster:bands")]
    places = [b[0] for b in bands if isinstance(b, list) and b and isinstance(b[0], dict)]
    for said in (place.get(key) for place in (*places, asset) for key in ("nodata", "raster:nodata")):
        if isinstance(said, int | float | str) and not isinstance(said, bool):
            try:
                return float(said)
            except (ValueError, OverflowError):
                continue
    return None


def crs(item: Mapping[str, Any], *names: str) -> str | None:
    """'EPSG:4326' as the item, or the first of the assets `names` that is there, states it; None if it does not."""
    assets = item.get("assets")
    asset: dict[str, Any] = (
        next((assets[n] for n in names if isinstance(assets.get(n), dict)), {}) if isinstance(assets, dict) else {}
    )
    for said in (asset, properties(item)):
        code, epsg = said.get("proj:code"), said.get("proj:epsg")
        if isinstance(code, str) and code.startswith("EPSG:") and code[5:].isdigit():
            return code
        if isinstance(epsg, int):
            return f"EPSG:{epsg}"
    return None
