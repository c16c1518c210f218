"""Earth Engine's lists of images as STAC items, so that the plan and the sources treat it like any other archive."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pipelines.access.earthengine.products import PRODUCTS, Product, StoredBand
from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipelines.access.earthengine.session import Session
    from schemas.place import BBox

Item = dict[str, Any]
SCHEME = "earthengine"
_EVERYWHERE: Item = {
    "type": "Polygon",
    "coordinates": [[[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]],
}
_ID = re.compile(r"[A-Za-z0-9_./-]{1,512}")
_BAND = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SPACECRAFT = re.compile(r"^(sentinel|landsat)[-_ ]?(\d+)([a-d]?)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Bands of one lattice of one image: what the href of an item's asset says."""

    image_id: str
    """Asset id."""
    bands: tuple[str, ...]
    """Earth Engine's names, in the order that band indices count."""
    crs: str
    """CRS of the lattice: 'EPSG:32633'."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients (a, b, c, d, e, f) of the lattice's pixel corners."""

    def href(self) -> str:
        """'earthengine:COPERNICUS/S2_SR_HARMONIZED/...#B2,B3;EPSG:32633;10,0,499980,0,-10,5300040'."""
        numbers = ",".join(format(v, ".17g") for v in self.transform)
        return f"{SCHEME}:{self.image_id}#{','.join(self.bands)};{quote(self.crs, safe=':')};{numbers}"


def parse_href(href: str) -> Address:
    """The address in an href.

    Raises:
        AccessError: BAD_ITEM, it is none.
    """
    parts = urlsplit(href)
    fields = parts.fragment.split(";")
    try:
        bands, crs, numbers = fields
        a, b, c, d, e, f = (float(v) for v in numbers.split(","))
    except ValueError:
        raise AccessError(Reason.BAD_ITEM, "expected an earthengine: address with bands, CRS and transform") from None
    names = tuple(bands.split(","))
    if parts.scheme != SCHEME or not _ID.fullmatch(parts.path) or not all(_BAND.fullmatch(n) for n in names):
        raise AccessError(Reason.BAD_ITEM, "expected an earthengine: address of an image and its bands")
    return Address(parts.path, names, unquote(crs), (a, b, c, d, e, f))


def search(
    session: Session,
    collection: str,
    *,
    areas: Sequence[BBox] | Item,
    period: tuple[date | datetime, date | datetime] | None,
    plain: bool = False,
) -> list[Item]:
    """All images of a collection over some boxes, as STAC items sorted by id.

    Args:
        session: Open session.
        collection: Asset id of the collection (earthengine_products.PRODUCTS).
        areas: Boxes, west, south, east, north in degrees, west > east crossing the 180th meridian; or one GeoJSON
            geometry.
        period: First and last moment, UTC; a date stands for its whole day. None = at any time.
        plain: Give each band and property under Earth Engine's own name (`plain_item`), of any collection.

    Raises:
        AccessError: classed; BAD_ITEM for a collection that we do not know the bands of.
    """
    product = PRODUCTS.get(collection)
    if product is None and not plain:
        raise AccessError(
            Reason.BAD_ITEM,
            f"Earth Engine collection {collection[:80]!r} is unknown; the supported collections are {sorted(PRODUCTS)}",
        )
    request: dict[str, Any] = {"parent": collection}
    if period is not None and (plain or product is None or product.static is None):
        start, end = (_moment(p, last=bool(i)) for i, p in enumerate(period))
        request |= {"startTime": _text(start), "endTime": _text(end)}
    found: dict[str, Item] = {}
    for region in _regions(areas):
        for asset in session.assets({**request, "region": region}):
            item = plain_item(asset, collection) if plain or product is None else item_of(asset, product)
            found[item["id"]] = item
    return [found[key] for key in sorted(found)]


def item_of(asset: Mapping[str, Any], product: Product) -> Item:
    """One image asset (REST resource EarthEngineAsset) as a STAC item.

    The processing that Earth Engine applied is stated as archives state it: `s2:boa_offset_applied` for the
    harmonised Sentinel-2, `sar:product_type` GRD and the unit dB for Sentinel-1.
    """
    image_id = str(asset.get("id") or str(asset.get("name", "")).partition("/assets/")[2])
    given = asset.get("properties")
    properties = _properties(given if isinstance(given, dict) else {}, product)
    properties |= _times(asset, product)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": image_id.rpartition("/")[2],
        "collection": product.collection,
        "geometry": _EVERYWHERE if product.everywhere else _geometry(asset.get("geometry")),
        "properties": properties,
        "assets": _assets(image_id, asset, product),
        "links": [],
    }


def plain_item(asset: Mapping[str, Any], collection: str) -> Item:
    """One image of any collection as a STAC item: assets are its bands, properties are its own, by their own names.

    Bands of one lattice share an address, so that they are read together. Without a footprint an image covers the
    Earth. The cloud cover is taken from the property that has it in Earth Engine's Sentinel-2 and Landsat collections.
    """
    image_id = str(asset.get("id") or str(asset.get("name", "")).partition("/assets/")[2])
    given = asset.get("properties")
    properties: Item = dict(given) if isinstance(given, dict) else {}
    cloud = next((properties[n] for n in _CLOUD_COVERS if isinstance(properties.get(n), (int, float))), None)
    properties |= {} if cloud is None else {"eo:cloud_cover": cloud}
    start, end = asset.get("startTime"), asset.get("endTime")
    properties["datetime"] = start if start is not None else _NO_TIME
    if isinstance(end, str) and end != start:
        properties |= {"start_datetime": start, "end_datetime": end}
    outline = _geometry(asset.get("geometry"))
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": image_id.rpartition("/")[2],
        "collection": collection,
        "geometry": outline if outline and _bounded(outline["coordinates"]) else _EVERYWHERE,
        "properties": properties,
        "assets": _plain_assets(image_id, asset),
        "links": [],
    }


def _bounded(coordinates: object) -> bool:
    """True if all coordinates are finite; images without a border have infinite ones."""
    if isinstance(coordinates, list):
        return bool(coordinates) and all(_bounded(c) for c in coordinates)
    return isinstance(coordinates, (int, float)) and math.isfinite(coordinates)


_CLOUD_COVERS = ("CLOUDY_PIXEL_PERCENTAGE", "CLOUD_COVER")
_NO_TIME = "1970-01-01T00:00:00Z"
"""Of an image that has no time: a static layer does not look at it, and no window holds it."""


def _plain_assets(image_id: str, asset: Mapping[str, Any]) -> dict[str, Any]:
    groups: dict[tuple[str, tuple[float, ...]], list[str]] = {}
    for band in asset.get("bands") or []:
        name = str(band.get("id")) if isinstance(band, dict) else ""
        lattice = _lattice(band.get("grid")) if isinstance(band, dict) else None
        if lattice is not None and _BAND.fullmatch(name):
            groups.setdefault(lattice, []).append(name)
    found: dict[str, Any] = {}
    for (crs, transform), names in groups.items():
        a, b, c, d, e, f = transform
        href = Address(image_id, tuple(names), crs, (a, b, c, d, e, f)).href()
        key = names[0] if len(names) == 1 else f"bands-{len(found) + 1}"
        found[key] = {"href": href, "roles": ["data"], "proj:code": crs, "bands": [{"name": n} for n in names]}
    return found


def _properties(given: Mapping[str, Any], product: Product) -> dict[str, Any]:
    found: dict[str, Any] = {"license": product.licence}
    for theirs, ours in product.properties.items():
        value = given.get(theirs)
        if isinstance(value, (str, int, float)):
            found[ours] = value
    if isinstance(found.get("platform"), str) and (match := _SPACECRAFT.match(found["platform"])):
        found["platform"] = f"{match[1]}-{match[2]}{match[3]}".lower()
    cloud = given.get(product.cloud_property or "")
    if isinstance(cloud, (int, float)):
        found["eo:cloud_cover"] = cloud
    if product.modality == "sentinel2":
        found["s2:boa_offset_applied"] = True
    if product.modality == "sentinel1":
        found |= {"sar:product_type": "GRD", "platform": _sentinel1(given)}
        if isinstance(found.get("sat:orbit_state"), str):
            found["sat:orbit_state"] = found["sat:orbit_state"].lower()
    if product.modality == "worldcover":
        version = product.collection.rpartition("/")[2]
        found |= {"esa_worldcover:product_version": ".".join(version[1:]), "version": version}
    return found


def _sentinel1(given: Mapping[str, Any]) -> str:
    number = str(given.get("platform_number") or "").lower()
    return f"sentinel-1{number[:1]}" if number[:1].isalpha() else "sentinel-1"


def _times(asset: Mapping[str, Any], product: Product) -> dict[str, Any]:
    start, end = asset.get("startTime"), asset.get("endTime")
    if product.static is not None:
        first, last = product.static
        return {"datetime": None, "start_datetime": f"{first}T00:00:00Z", "end_datetime": f"{last}T23:59:59Z"}
    if product.modality == "worldcover" and isinstance(start, str):
        year = start[:4]
        span = {"start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year}-12-31T23:59:59Z"}
        return {"datetime": None, **span}
    if not isinstance(end, str) or end == start:
        return {"datetime": start}
    return {"datetime": start, "start_datetime": start, "end_datetime": end}


def _assets(image_id: str, asset: Mapping[str, Any], product: Product) -> dict[str, Any]:
    described = {str(b.get("id")): b for b in asset.get("bands") or [] if isinstance(b, dict)}
    found: dict[str, Any] = {}
    for key, bands in product.lattices().items():
        present = [b for b in bands if b.name in described]
        groups: dict[tuple[str, tuple[float, ...]], list[StoredBand]] = {}
        for band in present:
            if (lattice := _lattice(described[band.name].get("grid"))) is not None:
                groups.setdefault(lattice, []).append(band)
        for number, ((crs, transform), members) in enumerate(groups.items()):
            a, b, c, d, e, f = transform
            address = Address(image_id, tuple(m.name for m in members), crs, (a, b, c, d, e, f))
            unit = {"unit": "dB"} if product.modality == "sentinel1" else {}
            found[key if number == 0 else f"{key}-{number}"] = {
                "href": address.href(),
                "roles": ["data"],
                "proj:code": crs,
                "bands": [{"name": m.band, **unit} for m in members],
            }
    return found


def _lattice(grid: object) -> tuple[str, tuple[float, ...]] | None:
    if not isinstance(grid, dict) or not isinstance(grid.get("crsCode"), str):
        return None
    t = grid.get("affineTransform") or {}
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    numbers = tuple(float(t.get(name, 0.0)) for name in names)  # JSON leaves out zeros
    return grid["crsCode"], numbers


def _geometry(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if value.get("type") == "LinearRing":  # how Sentinel-2 and Landsat footprints come
        return {"type": "Polygon", "coordinates": [value.get("coordinates")]}
    if value.get("type") == "GeometryCollection":
        rings = [g["coordinates"] for g in value.get("geometries", []) if g.get("type") == "Polygon"]
        return {"type": "MultiPolygon", "coordinates": rings}
    return {"type": value.get("type"), "coordinates": value.get("coordinates")}


def _regions(areas: Sequence[BBox] | Item) -> list[str]:
    if isinstance(areas, dict):
        return [json.dumps(areas)]
    return sorted({_box(side) for area in areas for side in area.sides()})


def _box(area: BBox) -> str:
    west, south, east, north = area
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return json.dumps({"type": "Polygon", "coordinates": [ring]})


def _moment(value: date | datetime, *, last: bool) -> datetime:
    """A moment; a day stands for its start, or as the last one for the start of the next."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment + timedelta(milliseconds=1) if last else moment  # the service leaves out the end
    day = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return day + timedelta(days=1) if last else day


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def bands_of(hrefs: Iterable[str]) -> tuple[Address, ...]:
    """Addresses of several hrefs.

    Raises:
        AccessError: BAD_ITEM.
    """
    return tuple(parse_href(h) for h in hrefs)
