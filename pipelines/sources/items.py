"""Reading a STAC item that anybody may have written: STAC 1.0 and 1.1, projection 1 and 2, eo:bands and bands."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import shapely

from pipelines.sources.protocol import SceneRejected
from schemas.outcome import Reason
from schemas.scene import AssetBand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.sources.protocol import Item
    from schemas.scene import Coefficients, Shape

_PICTURES = frozenset(("visual", "preview", "rendered_preview", "thumbnail", "overview", "tilejson", "metadata"))
"""Asset keys and roles of renderings: their numbers are no measurements."""
_SIGNATURES = re.compile(r"(^|&)(sig|se|st|X-Amz-Signature|Signature|token|access_token)=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BandAsset:
    """Where one band is, and what the item says about its numbers."""

    key: str
    """Asset key."""
    where: AssetBand
    epsg: int | None
    """EPSG code, from the asset or the item."""
    scale: float | None
    """Declared factor; None = not stated. A pair of 1 and 0, which some writers put everywhere, is taken for None."""
    offset: float | None
    """Declared addend, in the unit of the scaled value."""
    nodata: float | None
    """Declared fill value."""
    unit: str | None
    """Declared unit."""
    band: dict[str, Any]
    """The band's own entry (eo:bands or bands); empty where there is none."""


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
    try:
        shape = shapely.from_geojson(json.dumps(found))
        west, south, east, north = shape.bounds
        if shape.area > 0.0 and -361.0 <= west <= east <= 541.0 and -90.0 <= south <= north <= 90.0:
            return found
    except (shapely.errors.ShapelyError, ValueError, RecursionError):
        pass
    raise SceneRejected(Reason.BAD_ITEM, f"item {item.get('id')!r} has a footprint that is none") from None


def number(value: object) -> float | None:
    """A number that may have come as text ('72', 'nan'); None where it is none."""
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


def find(item: Item, names: Sequence[str], said: str | None = None) -> BandAsset | None:
    """The asset and index of a band: as the recipe says; else by asset key, then by the names of bands inside assets.

    Args:
        item: The item.
        names: The band's names, most telling first; capitals do not matter.
        said: The recipe's word: an asset's key, and behind '#' the 1-based band in it. Nothing else is tried then.
    """
    if said is not None:
        key, _, number_ = said.partition("#")
        assets = item.get("assets")
        asset = assets.get(key) if isinstance(assets, dict) else None
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            return None
        return _found(item, key, asset, int(number_ or 1) - 1)
    wanted = [n.casefold() for n in names]
    assets = _rasters(item)
    for name in wanted:
        for key, asset in assets:
            if _plain(key) == name:
                entries = _bands(asset)
                index = next((i for i, e in enumerate(entries) if _named(e, wanted)), 0)
                if len(entries) > 1 and not _named(entries[index], wanted):
                    continue
                return _found(item, key, asset, index)
    for key, asset in assets:
        for index, entry in enumerate(_bands(asset)):
            if _named(entry, wanted):
                return _found(item, key, asset, index)
    common = [
        (key, asset, index)
        for key, asset in assets
        for index, entry in enumerate(_bands(asset))
        if str(entry.get("eo:common_name") or entry.get("common_name") or "").casefold() in wanted
    ]
    return _found(item, *common[0]) if len(common) == 1 else None  # two bands of one common name: neither is known


def require(item: Item, band: str, names: Sequence[str], assets: Mapping[str, str] | None = None) -> BandAsset:
    """`find`, by the recipe's `assets` where they name the band, or a refusal that names what is missing.

    Raises:
        SceneRejected: BAD_ITEM.
    """
    found = find(item, names, (assets or {}).get(band))
    if found is None:
        own = item.get("assets")
        keys = ", ".join(str(k)[:24] for k in list(own if isinstance(own, dict) else ())[:12])
        raise SceneRejected(
            Reason.BAD_ITEM, f"item {item.get('id')!r} has no asset for {band}; it has {keys or 'none'}"
        )
    return found


def bands_of(item: Item, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """An asset by its key, with the entries of its bands; None where there is none."""
    return next(((asset, _bands(asset)) for k, asset in _rasters(item) if _plain(k) == key.casefold()), None)


def identity(item: Item) -> str:
    """The item's id.

    Raises:
        SceneRejected: BAD_ITEM where it has none.
    """
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise SceneRejected(Reason.BAD_ITEM, "an item without an id")
    return found


def band_asset(item: Item, key: str, index: int) -> BandAsset:
    """Band `index` (0-based) of the asset `key`, which the item has."""
    asset = next(a for k, a in _rasters(item) if k == key or _plain(k) == key.casefold())
    return _found(item, key, asset, index)


def _rasters(item: Item) -> list[tuple[str, dict[str, Any]]]:
    """Assets that hold measurements; JPEG 2000 only where the item has no TIFF (a block of it costs the whole file)."""
    tiffs, others = [], []
    assets = item.get("assets")
    for key, asset in assets.items() if isinstance(assets, dict) else ():
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            continue
        kind = str(asset.get("type") or "")
        roles = asset.get("roles")
        if key in _PICTURES or (isinstance(roles, list) and _PICTURES & {str(r) for r in roles}):
            continue
        if "jp2" in kind or key.endswith("-jp2"):
            others.append((key, asset))
        elif not kind or "tiff" in kind or kind.startswith("application/x-"):
            tiffs.append((key, asset))
    return tiffs or others


def _plain(key: str) -> str:
    return re.sub(r"\.tiff?$", "", key.casefold())


def _bands(asset: dict[str, Any]) -> list[dict[str, Any]]:
    for name in ("bands", "eo:bands"):
        entries = asset.get(name)
        if isinstance(entries, list) and entries and all(isinstance(e, dict) for e in entries):
            return entries
    return []


def _named(entry: dict[str, Any], wanted: Sequence[str]) -> bool:
    return str(entry.get("name", "")).casefold() in wanted


def _found(item: Item, key: str, asset: dict[str, Any], index: int) -> BandAsset:
    entries = _bands(asset)
    band = entries[index] if index < len(entries) else {}
    rasters = asset.get("raster:bands")
    raster = rasters[index] if isinstance(rasters, list) and index < len(rasters) else {}
    raster = raster if isinstance(raster, dict) else {}

    def stated(*names: str) -> object:
        for place in (band, raster, asset):
            for name in names:
                if place.get(name) is not None:
                    return place[name]
        return None

    scale, offset = number(stated("raster:scale", "scale")), number(stated("raster:offset", "offset"))
    if scale == 1.0 and not offset:
        scale = offset = None
    unit = stated("unit", "raster:unit")
    return BandAsset(
        key=key,
        where=AssetBand(
            href=_unsigned(_absolute(item, asset["href"])),
            index=index + 1,
            shape=_shape(_stating(item, asset, "proj:shape")),
            transform=_transform(_stating(item, asset, "proj:transform")),
        ),
        epsg=_epsg(asset) or _epsg(properties(item)),
        scale=scale,
        offset=offset,
        nodata=number(stated("nodata", "raster:nodata")),
        unit=unit if isinstance(unit, str) else None,
        band=band,
    )


def _epsg(place: dict[str, Any]) -> int | None:
    code = place.get("proj:code")
    if isinstance(code, str) and (match := re.fullmatch(r"EPSG:(\d{4,6})", code)):
        return int(match.group(1))
    old = place.get("proj:epsg")
    return int(old) if isinstance(old, int) and not isinstance(old, bool) else None


def _stating(item: Item, asset: dict[str, Any], name: str) -> object:
    """What an asset states; the item's word only where no asset of it states its own (bands differ in pixel size)."""
    if asset.get(name) is not None:
        return asset[name]
    assets = item.get("assets")
    own = any(
        isinstance(a, dict) and a.get(name) is not None for a in (assets if isinstance(assets, dict) else {}).values()
    )
    return None if own else properties(item).get(name)


def _shape(value: object) -> Shape | None:
    if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int and v > 0 for v in value):
        return None
    return (value[0], value[1])


def _transform(value: object) -> Coefficients | None:
    """proj:transform, 6 or 9 numbers; None where it maps no area."""
    if not isinstance(value, list) or len(value) not in (6, 9):
        return None
    numbers = [number(v) for v in value[:6]]
    if any(v is None or not math.isfinite(v) for v in numbers):
        return None
    a, b, c, d, e, f = (float(v or 0.0) for v in numbers)
    return (a, b, c, d, e, f) if a * e != b * d else None


def _absolute(item: Item, href: str) -> str:
    if urlsplit(href).scheme:
        return href
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self" and isinstance(link.get("href"), str):
            return str(urljoin(link["href"], href))
    return href


def _unsigned(href: str) -> str:
    """Without a signature: those age, and are secrets."""
    parts = urlsplit(href)
    return urlunsplit(parts._replace(query="", fragment="")) if _SIGNATURES.search(parts.query) else href
