"""The STAC collection of a dataset, STAC 1.1.0: https://github.com/radiantearth/stac-spec."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from landweave.layout import STATISTICS, ZARR
from pipelines.shards.stac_items import PROJECTION, STAC_VERSION, ZARR_MEDIA_TYPE, role, stamp

if TYPE_CHECKING:
    from landweave.layout import DatasetSpec, GroupSpec, Json


_JSON_TYPES = {"bool": "boolean", "int64": "integer", "float64": "number", "string": "string"}
"""JSON Schema's names of an attribute's type: a summary may be a JSON Schema of the items' property."""


def collection(dataset: DatasetSpec, summary: Json) -> Json:
    """The STAC collection.

    Args:
        dataset: the dataset's form.
        summary: 'bbox' (west, south, east, north), 'interval' (two datetimes), 'splits', 'licences', 'attribution'.
    """
    licence = {"proprietary": "other"}.get(dataset.licence, dataset.licence)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [PROJECTION],
        "id": dataset.name,
        "title": dataset.name,
        "description": dataset.description or f"Multi-modal training dataset {dataset.name}, built by landweave.",
        "license": licence,
        "extent": {
            "spatial": {"bbox": [list(summary["bbox"])]},
            "temporal": {"interval": [[stamp(t) for t in summary["interval"]]]},
        },
        "summaries": {
            "split": sorted(summary["splits"]),
            "licences": summary["licences"],
            "attribution": summary["attribution"],
            **({"shared_ground": [asdict(s) for s in dataset.shared_ground]} if dataset.shared_ground else {}),
            **{a.column: {"title": a.name, "type": [_JSON_TYPES[a.dtype], "null"]} for a in dataset.attributes},
        },
        "assets": {
            "items": {
                "href": "./items.parquet",
                "type": "application/vnd.apache.parquet",
                "title": "Items, stac-geoparquet",
                "roles": ["collection-mirror"],
            },
            "data": {"href": f"../{ZARR}", "type": ZARR_MEDIA_TYPE, "title": "All arrays", "roles": ["data"]},
            "statistics": {
                "href": "../" + STATISTICS,
                "type": "application/json",
                "title": "Statistics of the train split",
                "roles": ["metadata"],
            },
        },
        "item_assets": {g.name: _item_asset(g) for g in dataset.groups},
        "links": [{"rel": "store", "href": f"../{ZARR}", "type": ZARR_MEDIA_TYPE}],
    }


def _item_asset(group: GroupSpec) -> Json:
    bands = [
        {
            "name": band.name,
            "gsd": array.resolution_m,
            "data_type": array.dtype,
            **({"unit": array.unit} if array.kind == "continuous" else {}),
            "description": f"{array.path}: stored * {array.scale:g} + {array.offset:g}",
        }
        for array in group.arrays
        if array.role == "pixels"
        for band in array.bands
    ]
    return {"type": ZARR_MEDIA_TYPE, "title": group.title, "roles": [role(group)], "bands": bands}
