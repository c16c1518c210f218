"""The STAC collection of a dataset, STAC 1.1.0: https://github.com/radiantearth/stac-spec."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from landweave.documents import CARD, CITATION, CROISSANT
from landweave.documents import TAGS as KEYWORDS
from landweave.layout import COLLECTION, MAP, STATISTICS, ZARR
from landweave.stac import CLASSIFICATION, FILE, STAC_VERSION, legend
from pipelines.shards.stac_items import PROJECTION, THUMBNAIL, ZARR_MEDIA_TYPE, role, schema, stamp, thumbnail_asset

if TYPE_CHECKING:
    from landweave.layout import ArraySpec, AttributeSpec, BandSpec, DatasetSpec, GroupSpec, Json


EO = "https://stac-extensions.github.io/eo/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
TABLE = "https://stac-extensions.github.io/table/v1.2.0/schema.json"
ITEM_ASSETS = "https://stac-extensions.github.io/item-assets/v1.0.0/schema.json"
_JSON_TYPES = {"bool": "boolean", "int64": "integer", "float64": "number", "string": "string"}
"""JSON Schema's names of an attribute's type: a summary may be a JSON Schema of the items' property."""


def collection(dataset: DatasetSpec, summary: Json) -> Json:
    """The STAC collection.

    Args:
        dataset: the dataset's form.
        summary: 'bbox' (west, south, east, north), 'interval' (two datetimes), 'splits', 'licences', 'attribution', and
            'items', the file or folder of the items; 'children', links to the catalogues of the shards.
    """
    licence = {"proprietary": "other"}.get(dataset.licence, dataset.licence)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [PROJECTION, CLASSIFICATION, EO, RASTER, TABLE, ITEM_ASSETS, FILE],
        "id": dataset.name,
        "title": dataset.name,
        "description": dataset.description or f"Multi-modal training dataset {dataset.name}, built by landweave.",
        "keywords": list(KEYWORDS),
        "license": licence,
        "providers": [{"name": line, "roles": ["licensor"]} for line in summary["attribution"]],
        "extent": {
            "spatial": {"bbox": [list(summary["bbox"])]},
            "temporal": {"interval": [[stamp(t) for t in summary["interval"]]]},
        },
        "summaries": {
            "split": sorted(summary["splits"]),
            "licences": summary["licences"],
            "attribution": summary["attribution"],
            **({"shared_ground": [asdict(s) for s in dataset.shared_ground]} if dataset.shared_ground else {}),
            **{a.column: _summary(a) for a in dataset.attributes},
        },
        "assets": {
            "items": {
                "href": f"./{summary['items']}",
                "type": "application/vnd.apache.parquet",
                "title": "Items, stac-geoparquet",
                "roles": ["collection-mirror"],
                "table:columns": _columns(dataset),
                "table:primary_geometry": "geometry",
            },
            "data": {"href": f"../{ZARR}", "type": ZARR_MEDIA_TYPE, "title": "All arrays", "roles": ["data"]},
            "statistics": {
                "href": "../" + STATISTICS,
                "type": "application/json",
                "title": "Statistics of the train split",
                "roles": ["metadata"],
            },
            **({THUMBNAIL: thumbnail_asset(MAP, "Samples by split")} if dataset.pages else {}),
        },
        "item_assets": {g.name: _item_asset(g) for g in dataset.groups},
        "links": [
            {"rel": "root", "href": f"./{dataset.at(COLLECTION).rpartition('/')[2]}", "type": "application/json"},
            {"rel": "store", "href": f"../{ZARR}", "type": ZARR_MEDIA_TYPE},
            {"rel": "describedby", "href": f"../{CARD}", "type": "text/markdown", "title": "Dataset card"},
            {"rel": "describedby", "href": f"../{CROISSANT}", "type": "application/ld+json", "title": "Croissant"},
            {"rel": "cite-as", "href": f"../{CITATION}", "type": "application/yaml", "title": "Citation file"},
            *summary["children"],
        ],
    }


def _item_asset(group: GroupSpec) -> Json:
    bands = [_band(array, band) for array in group.arrays if array.role == "pixels" for band in array.bands]
    asset: Json = {"type": ZARR_MEDIA_TYPE, "title": group.title, "roles": [role(group)], "bands": bands}
    if group.classes:
        asset["classification:classes"] = legend(group)
    return asset


def _band(array: ArraySpec, band: BandSpec) -> Json:
    found: Json = {"name": band.name, "gsd": array.resolution_m, "data_type": array.dtype, "description": array.path}
    if array.nodata is not None:
        found["nodata"] = "nan" if math.isnan(array.nodata) else _whole(array.nodata)
    if array.kind == "continuous":
        found |= {"unit": array.unit, "raster:scale": array.scale, "raster:offset": array.offset}
    eo = {
        "eo:common_name": band.common_name,
        "eo:center_wavelength": band.center_um,
        "eo:full_width_half_max": band.fwhm_um,
    }
    return found | {name: value for name, value in eo.items() if value is not None}


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _summary(attribute: AttributeSpec) -> Json:
    """JSON Schema of an attribute's values."""
    about = {"description": attribute.description, "unit": attribute.unit}
    return {
        "title": attribute.name,
        "type": [_JSON_TYPES[attribute.dtype], "null"],
        **{name: text for name, text in about.items() if text},
    }


def _columns(dataset: DatasetSpec) -> list[Json]:
    """Columns of items.parquet: https://github.com/stac-extensions/table."""
    about = {a.column: f"{a.description} ({a.unit})" if a.unit else a.description for a in dataset.attributes}
    return [
        {"name": field.name, "type": str(field.type)}
        | ({"description": about[field.name]} if about.get(field.name) else {})
        for field in schema(dataset)
    ]
