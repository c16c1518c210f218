"""The planet's items in the style of other archives: keys, properties and addresses of each archive.

A dialect is data: for each collection the one it is made of, the keys of its assets, what its properties are called.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas.modality import SENTINEL2
from testbed.items import LANDSAT_KEYS
from testbed.items_sentinel2 import ES_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Product:
    """One collection of an archive."""

    source: str
    """Collection of the planet's items that it holds."""
    collection: str
    """What the archive calls it."""
    identity: str = "{id}"
    """Template of the item's id."""
    keys: Mapping[str, str]
    """Asset key -> the archive's key; other assets are left out."""
    properties: Mapping[str, str]
    """Property -> the archive's name; other properties are left out."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """Properties that the archive adds; text is a template of the item's properties."""
    dropped: tuple[str, ...] = ()
    """What assets do not say there."""
    folder: str = "{href}"
    """Template of the primary address."""
    alternates: Mapping[str, str] = field(default_factory=dict)
    """Name -> template of an alternate address (STAC alternate-assets extension)."""
    stac_1_1: bool = False
    """STAC 1.1, projection 2: `bands` in place of `eo:bands` and `raster:bands`, `proj:code` of `proj:epsg`."""
    only: str | None = None
    """Items whose id holds this."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One archive."""

    name: str
    root: str
    """Path of its API."""
    merge_next: bool = False
    """See `testbed.stac_api.Catalogue`."""
    products: tuple[Product, ...]


def _same(*names: str) -> dict[str, str]:
    return dict(zip(names, names, strict=True))


_RESOLUTION = {band.name: int(layer.resolution_m) for layer in SENTINEL2.layers for band in layer.bands}
JPEG2000 = "_N0400_"
"""Mark of the Sentinel-2 processing that is written as JPEG 2000 too, as the Copernicus Data Space delivers."""

LISTED_ZONE = 33
"""UTM zone of the granule whose JPEG 2000 files list their tile-parts (TLM); those of the others are read whole."""

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        name="earth-search",
        root="/earth-search/v1",
        products=(
            Product(
                source="sentinel-2-l2a",
                collection="sentinel-2-c1-l2a",
                identity="{s2:product_uri}",
                keys={**ES_KEYS, "SCL": "scl"},
                properties=_same(
                    *("datetime", "eo:cloud_cover", "instruments", "s2:product_uri", "s2:processing_baseline"),
                    *("s2:generation_time", "s2:datatake_id", "s2:datastrip_id", "s2:tile_id", "proj:epsg"),
                ),
                added={"platform": "sentinel-2", "constellation": "sentinel-2", "grid:code": "MGRS-{s2:mgrs_tile}"},
            ),
        ),
    ),
    Dialect(
        name="copernicus-data-space",
        root="/cdse/v1",
        products=(
            Product(
                source="sentinel-2-l2a",
                collection="sentinel-2-l2a",
                identity="{s2:product_uri}",
                only=JPEG2000,
                keys={band: f"{band}_{metres}m" for band, metres in _RESOLUTION.items()},
                properties={
                    **_same("datetime", "eo:cloud_cover", "instruments", "sat:orbit_state", "sat:relative_orbit"),
                    "s2:processing_baseline": "processing:version",
                    "s2:generation_time": "processing:datetime",
                    "s2:product_type": "product:type",
                    "proj:epsg": "proj:epsg",
                },
                added={"platform": "sentinel-2b", "constellation": "sentinel-2", "grid:code": "MGRS-{s2:mgrs_tile}"},
                folder="s3://eodata/jp2/{href}",
                alternates={"https": "jp2/{href}"},
                stac_1_1=True,
            ),
            Product(
                source="cop-dem-glo-30",
                collection="cop-dem-glo-30-dged-cog",
                keys={"data": "data"},
                properties=_same("datetime", "gsd", "proj:epsg", "proj:shape", "proj:transform"),
                added={"platform": "tandem-x"},
                folder="s3://eodata/{href}",
                alternates={"https": "{href}"},
                stac_1_1=True,
            ),
        ),
    ),
    Dialect(
        name="usgs",
        root="/usgs/stac-server",
        products=(
            Product(
                source="landsat-c2-l2",
                collection="landsat-c2l2-sr",
                identity="{id}_SR",
                keys=_same(*LANDSAT_KEYS, "qa_pixel"),
                properties=_same(
                    *("datetime", "eo:cloud_cover", "platform", "instruments", "view:sun_azimuth", "created"),
                    *("view:sun_elevation", "view:off_nadir", "landsat:cloud_cover_land", "landsat:wrs_type"),
                    *("landsat:wrs_path", "landsat:wrs_row", "landsat:scene_id", "landsat:collection_category"),
                    *("landsat:collection_number", "landsat:correction", "proj:epsg", "proj:shape", "proj:transform"),
                ),
                added={"platform": "LANDSAT_{platform}"},
                dropped=("raster:bands",),
                folder="/login/{href}",
                alternates={"s3": "s3://usgs-landsat/{href}"},
            ),
        ),
    ),
    Dialect(
        name="earthdata",
        root="/cmr/stac/LPCLOUD",
        products=tuple(
            Product(
                source=f"HLS{half}_2.0",
                collection=f"HLS{half}_2.0",
                keys=_same(*keys, "Fmask"),
                properties=_same("datetime", "start_datetime", "end_datetime", "eo:cloud_cover"),
            )
            for half, keys in (
                ("S30", ("B01", "B02", "B03", "B04", "B8A", "B11", "B12")),
                ("L30", ("B01", "B02", "B03", "B04", "B05", "B06", "B07")),
            )
        ),
    ),
)
"""https://documentation.dataspace.copernicus.eu/APIs/STAC.html, https://landsatlook.usgs.gov/stac-server,
https://cmr.earthdata.nasa.gov/stac/LPCLOUD: keys and properties as their items have them."""


def spoken(dialect: Dialect, items: Iterable[Json]) -> list[Json]:
    """The items of an archive, made of the planet's."""
    return [
        _item(product, item)
        for item in items
        for product in dialect.products
        if item["collection"] == product.source and (product.only is None or product.only in _known(item))
    ]


def _known(item: Json) -> str:
    return f"{item['id']} {item['properties'].get('s2:product_uri', '')}"


def _filled(template: str, words: Mapping[str, Any]) -> str:
    for name, value in words.items():
        template = template.replace("{" + name + "}", str(value))
    return template


def _item(product: Product, item: Json) -> Json:
    words = {"id": item["id"], **item["properties"]}
    facts = {new: item["properties"][old] for old, new in product.properties.items() if old in item["properties"]}
    facts |= {k: _filled(v, words) if isinstance(v, str) else v for k, v in product.added.items()}
    if str(facts.get("platform", "")).startswith("LANDSAT_landsat-"):
        facts["platform"] = facts["platform"].replace("landsat-", "")
    made = copy.deepcopy(item) | {
        "id": _filled(product.identity, words).removesuffix(".SAFE"),
        "collection": product.collection,
        "properties": facts,
        "assets": {new: _asset(product, item["assets"][old]) for old, new in product.keys.items()},
    }
    return _modern(made) if product.stac_1_1 else made


def _asset(product: Product, asset: Json) -> Json:
    made = {k: copy.deepcopy(v) for k, v in asset.items() if k not in product.dropped}
    words = {"href": asset["href"]}
    made["href"] = _filled(product.folder, words)
    if "jp2/" in made["href"]:
        made["type"] = "image/jp2"
        made["raster:bands"] = [{"nodata": 0, "data_type": "uint16", "scale": 1e-4, "offset": -0.1}]
        if asset["href"].endswith("SCL.tif"):
            made["raster:bands"] = [{"nodata": 0, "data_type": "uint8"}]
    others = {name: {"href": _jp2(_filled(template, words))} for name, template in product.alternates.items()}
    made["href"] = _jp2(made["href"])
    return made | ({"alternate": others} if others else {})


def _jp2(href: str) -> str:
    return href.removesuffix(".tif") + ".jp2" if "jp2/" in href else href


def _modern(item: Json) -> Json:
    """STAC 1.1, projection 2."""
    facts = dict(item["properties"])
    facts["proj:code"] = f"EPSG:{facts.pop('proj:epsg')}"
    return item | {
        "stac_version": "1.1.0",
        "properties": facts,
        "assets": {k: _band(a) for k, a in item["assets"].items()},
    }


def _band(asset: Json) -> Json:
    made = {k: v for k, v in asset.items() if k not in ("eo:bands", "raster:bands", "proj:epsg")}
    for entry in asset.get("eo:bands", [])[:1]:
        made["bands"] = [{k if k == "name" else f"eo:{k}": v for k, v in entry.items()}]
    for entry in asset.get("raster:bands", [])[:1]:
        named = {"scale": "raster:scale", "offset": "raster:offset", "spatial_resolution": "raster:spatial_resolution"}
        made |= {named.get(k, k): v for k, v in entry.items()}
    return made
