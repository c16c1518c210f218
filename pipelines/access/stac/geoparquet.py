"""Items in a stac-geoparquet file: https://github.com/stac-utils/stac-geoparquet/blob/main/spec/stac-geoparquet-spec.md."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from pipelines.access.foreign import read_json
from pipelines.access.http.client import AccessError, shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = dict[str, Any]

_MOST_ITEMS = 250_000
_MOST_UNPACKED = 8 << 30
"""Bytes of all columns as the file states them."""
_NEEDED = ("id", "assets")
_TOP = ("type", "stac_version", "stac_extensions", "id", "bbox", "geometry", "collection", "links", "assets")
_BATCH = 1024


def read_items(raw: bytes, url: str) -> Iterator[Item]:
    """STAC items of a file, in its order.

    Args:
        raw: the file.
        url: where it is from, for messages.

    Raises:
        AccessError: CORRUPT if it is no Parquet, or holds no STAC items.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(raw))
        lacking = [name for name in _NEEDED if name not in file.schema_arrow.names]
        groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
        if not lacking and file.metadata.num_rows <= _MOST_ITEMS and sum(groups) <= _MOST_UNPACKED:
            for batch in file.iter_batches(_BATCH):
                yield from (_item(row) for row in _microseconds(batch).to_pylist())
            return
    except Exception as error:
        raise AccessError(
            Reason.CORRUPT, f"{shown(url)} is not a stac-geoparquet file ({type(error).__name__})"
        ) from error
    what = f"has no column {' and no column '.join(lacking)}" if lacking else f"holds {file.metadata.num_rows:,} rows"
    raise AccessError(Reason.CORRUPT, f"{shown(url)} is not a stac-geoparquet file that is read: it {what}")


def _microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The table with times in microseconds, the precision of Python."""
    for i, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            batch = batch.set_column(i, field.name, batch.column(i).cast(pa.timestamp("us", field.type.tz), safe=False))
    return batch


def _item(row: dict[str, Any]) -> Item:
    shape, box = row.pop("geometry", None), row.pop("bbox", None)
    made = _plain(row)
    item: Item = {name: made.pop(name) for name in _TOP if name in made}
    nested = made.pop("properties", None)
    item["properties"] = {**(nested if isinstance(nested, dict) else {}), **made}
    for name in ("assets", "links"):
        if isinstance(item.get(name), str):  # written as JSON text
            item[name] = read_json(item[name].encode())
    item["geometry"] = _geometry(shape)
    if box is not None:
        item["bbox"] = _plain(list(box.values()) if isinstance(box, dict) else list(box))
    return item


def _geometry(value: object) -> Any:
    if not isinstance(value, bytes):
        return None
    try:
        return json.loads(shapely.to_geojson(shapely.from_wkb(value)))
    except (shapely.errors.ShapelyError, ValueError):
        return None


def _plain(value: Any) -> Any:
    """The value for JSON. Parquet has every column for every item; a missing value is null and is removed."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None or k == "datetime"}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
