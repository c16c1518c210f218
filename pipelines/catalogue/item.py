"""The STAC item of an image, from its header."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyproj
import shapely
from rasterio.warp import transform

from pipelines.access.http.folder import address_of
from pipelines.access.rasters.crs import GDAL_ERRORS, by_epsg, name
from pipelines.access.rasters.raster import Raster, open_raster
from pipelines.access.stac.footprint import shape_of
from pipelines.catalogue.dates import Dates, RefusedError

if TYPE_CHECKING:
    from datetime import datetime

    from rasterio.crs import CRS

    from pipelines.access.http.folder import FolderClient

Json = dict[str, Any]

ASSET = "image"
"""Key of an item's one asset."""
_STORED = frozenset(("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"))
"""Types of numbers that a layer can hold; float64 as float32."""
_COLOURS = frozenset(("red", "green", "blue"))
_SIDE = 17
"""Points along one edge of a footprint, before those that a straight line does without are left out."""
_STRAIGHT_DEG = 1e-7
"""A centimetre."""
WORK = "images"
"""Name under which the folder is read; it is in no output."""


def item_of(client: FolderClient, path: str, dates: Dates, collection: str) -> Json:
    """The item of one image.

    Args:
        client: reads the folder of the catalogue.
        path: of the image, relative to it.
        dates: how its date is known.
        collection: id of the collection.

    Raises:
        RefusedError: the catalogue cannot hold it. AccessError: it cannot be read.
    """
    raster = open_raster(client, f"{address_of(WORK, '')}{quote(path)}")
    raster.check_whole()
    if raster.crs is None or not raster.placed:
        raise RefusedError(
            "it does not say where on the ground it lies: " + ("no CRS" if raster.crs is None else "no position")
            + "; gdal_edit.py -a_srs EPSG:CODE (and -a_ullr) adds it"
        )  # fmt: skip
    if str(raster.dtype) not in _STORED:
        raise RefusedError(f"it holds {raster.dtype} numbers; gdal_translate -ot Int32 makes some that are stored")
    outline = _outline(raster, raster.crs)
    start, end = dates.of(path, raster)
    west, south, east, north = shapely.bounds(outline)
    facts: Json = {"datetime": _text(start) if start == end else None}
    if start != end:
        facts |= {"start_datetime": _text(start), "end_datetime": _text(end)}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": re.sub(r"\.tiff?$", "", path, flags=re.IGNORECASE).replace("/", "-"),
        "collection": collection,
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": [west, south, east if east <= 180.0 else east - 360.0, north],
        "properties": facts,
        "links": [],
        "assets": {ASSET: _asset(raster, raster.crs, path)},
    }


_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
)


def _asset(raster: Raster, crs: CRS, path: str) -> Json:
    full = raster.levels[0]
    code = crs.to_epsg()
    bands = [
        _band(number, said, raster)
        for number, said in enumerate(raster.bands, 1)
        if number != raster.alpha or number < raster.count
    ]
    return {
        "href": f"./{quote(path)}",
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "proj:code": None if code is None else f"EPSG:{code}",
        "proj:wkt2": crs.to_wkt() if code is None else None,
        "proj:shape": [full.height, full.width],
        "proj:transform": list(full.transform)[:6],
        "raster:spatial_resolution": _metres(crs, full.transform, full.height),
        "bands": bands,
    }


def _band(number: int, said: tuple[str, str], raster: Raster) -> Json:
    colour, description = said
    nodata = raster.nodata[number - 1]
    found: Json = {
        "name": colour if colour in _COLOURS else f"band{number}",
        "data_type": str(raster.dtype),
        "nodata": nodata if nodata is not None and math.isfinite(nodata) else None,
        "eo:common_name": colour if colour in _COLOURS else None,
        "description": description[:200] if description.isprintable() and description else None,
    }
    if colour == "palette":
        found["classification:classes"] = []
    return found


def _outline(raster: Raster, crs: CRS) -> Any:
    """Polygon of the image, WGS 84 degrees."""
    full, steps = raster.levels[0], np.linspace(0.0, 1.0, _SIDE)
    zero, one = np.zeros(_SIDE), np.ones(_SIDE)
    x = np.concatenate([steps, one, 1.0 - steps, zero]) * full.width
    y = np.concatenate([zero, steps, one, 1.0 - steps]) * full.height
    try:
        a, b, c, d, e, f = full.transform[:6]
        east, north = a * x + b * y + c, d * x + e * y + f
        lon, lat = transform(crs, by_epsg(4326), east.tolist(), north.tolist())
        ring = np.stack([lon, lat], axis=1)
        if not np.isfinite(ring).all() or (np.abs(ring[:, 1]) > 90.0).any():
            raise RefusedError(f"its corners have no longitude and latitude in {name(crs)}")
        ring[-1] = ring[0]
        shape = shape_of({"type": "Polygon", "coordinates": [ring.tolist()]})
        return shapely.simplify(shape, _STRAIGHT_DEG)
    except (*GDAL_ERRORS, shapely.errors.ShapelyError) as error:
        raise RefusedError(f"{name(crs)} has no way to longitude and latitude") from error


def _metres(crs: CRS, to_ground: Any, height: int) -> float:
    """Edge of a pixel in metres, at the middle of the image where the CRS is in degrees."""
    edge = math.hypot(to_ground.a, to_ground.d)
    unit = float(pyproj.CRS.from_wkt(crs.to_wkt()).axis_info[0].unit_conversion_factor)
    if crs.is_geographic:
        middle = to_ground * (0.0, height / 2.0)
        return float(f"{edge * unit * 6_371_008.8 * math.cos(middle[1] * unit):.4g}")
    return float(f"{edge * unit:.6g}")


def form_of(item: Json) -> str:
    """What kind of image an item is, in a few words."""
    asset = item["assets"][ASSET]
    bands, crs = asset["bands"], asset["proj:code"] or "a CRS without an EPSG code"
    count = f"{len(bands)} band{'s' if len(bands) > 1 else ''}"
    return f"{count} {bands[0]['data_type']}, {asset['raster:spatial_resolution']:g} m, {crs}"


def _text(when: datetime) -> str:
    return when.isoformat().replace("+00:00", "Z")
