"""Items as stac-geoparquet or as a JSON item collection."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from pipelines.catalogue.item import ASSET, Json

if TYPE_CHECKING:
    from collections.abc import Sequence


def json_of(items: Sequence[Json]) -> bytes:
    """An item collection."""
    whole = {"type": "FeatureCollection", "features": [_without_none(item) for item in items]}
    return (json.dumps(whole, indent=1) + "\n").encode()


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None or k == "datetime"}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


_MOMENT = pa.timestamp("us", tz="UTC")
_BAND = pa.struct([
    ("name", pa.string()), ("data_type", pa.string()), ("nodata", pa.float64()), ("eo:common_name", pa.string()),
    ("description", pa.string()),
])  # fmt: skip
_ASSET = pa.struct([
    ("href", pa.string()), ("type", pa.string()), ("roles", pa.list_(pa.string())), ("proj:code", pa.string()),
    ("proj:wkt2", pa.string()), ("proj:shape", pa.list_(pa.int64())), ("proj:transform", pa.list_(pa.float64())),
    ("raster:spatial_resolution", pa.float64()), ("bands", pa.list_(_BAND)),
])  # fmt: skip
_BOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
_SCHEMA = pa.schema([
    ("type", pa.string()), ("stac_version", pa.string()), ("stac_extensions", pa.list_(pa.string())),
    ("id", pa.string()), ("collection", pa.string()), ("geometry", pa.binary()), ("bbox", _BOX),
    ("links", pa.list_(pa.struct([("rel", pa.string()), ("href", pa.string())]))),
    ("assets", pa.struct([(ASSET, _ASSET)])), ("datetime", _MOMENT), ("start_datetime", _MOMENT),
    ("end_datetime", _MOMENT),
])  # fmt: skip


def parquet_of(items: Sequence[Json]) -> bytes:
    """The items as stac-geoparquet 1.0 (https://github.com/stac-utils/stac-geoparquet/blob/main/spec)."""
    shapes = shapely.from_geojson([json.dumps(item["geometry"]) for item in items])
    rows = [
        {
            **{key: item[key] for key in ("type", "stac_version", "stac_extensions", "id", "collection", "links")},
            "geometry": wkb,
            "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), item["bbox"], strict=True)),
            "assets": item["assets"],
            **{key: _when(item["properties"].get(key)) for key in ("datetime", "start_datetime", "end_datetime")},
        }
        for item, wkb in zip(items, shapely.to_wkb(shapes), strict=True)
    ]
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": sorted({shape.geom_type for shape in shapes}),
                "bbox": [float(v) for v in shapely.total_bounds(shapes)],
                "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
            }
        },
    }
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    table = table.replace_schema_metadata({"geo": json.dumps(geo), "stac-geoparquet": '{"version": "1.0.0"}'})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
