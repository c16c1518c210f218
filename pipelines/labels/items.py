"""STAC items of label products: their required properties, with one clear error for each missing property."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.access.http.client import AccessError, asset_url
from pipelines.access.stac import footprint
from pipelines.labels.labeller import BadItemError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def identity(item: Mapping[str, Any]) -> str:
    """The item's id.

    Raises:
        BadItemError: there is none.
    """
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise BadItemError("a STAC item has no id: expected a string in `id`")
    return found


def properties(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item's properties, {} if they are missing."""
    found = item.get("properties")
    return found if isinstance(found, dict) else {}


def geometry(item: Mapping[str, Any]) -> dict[str, object]:
    """The item's footprint.

    Raises:
        BadItemError: neither `geometry` nor `bbox` can be read.
    """
    found = footprint.footprint_of(dict(item))
    if found is None:
        raise BadItemError(f"item {identity(item)}: neither `geometry` nor `bbox` is a valid outline on the Earth")
    return found


def moment(item: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of the properties `names` that is there, as UTC time; None if none is.

    Raises:
        BadItemError: it is no RFC 3339 date and time.
    """
    for name in names:
        text = properties(item).get(name)
        if text is None:
            continue
        found = footprint.moment(text)
        if found is None:
            raise BadItemError(f"item {identity(item)}: `{name}` is {str(text)[:64]!r}, expected an RFC 3339 time")
        return found
    return None


def asset_href(item: Mapping[str, Any], *names: str) -> str:
    """Absolute address of the first of the assets `names` that is there; a relative one is resolved by the self link.

    Raises:
        BadItemError: the item has none of them, or the asset no href.
    """
    assets = item.get("assets")
    known = assets if isinstance(assets, dict) else {}
    for name in names:
        asset = known.get(name)
        if isinstance(asset, dict):
            href = asset.get("href")
            if not isinstance(href, str) or not href:
                raise BadItemError(f"item {identity(item)}: asset {name!r} has no href")
            try:
                return asset_url(item, href)
            except AccessError as error:
                raise BadItemError(f"item {identity(item)}: asset {name!r}: {error.detail}") from None
    raise BadItemError(f"item {identity(item)}: no asset {' or '.join(map(repr, names))}, it has {sorted(known)}")


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
