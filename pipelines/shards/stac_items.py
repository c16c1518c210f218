"""The catalogue's items: stac-geoparquet, one row per sample, with columns from the dataset's specification.

stac-geoparquet 1.1.0: https://github.com/radiantearth/stac-geoparquet-spec. STAC 1.1.0 item and collection:
https://github.com/radiantearth/stac-spec. Projection extension 2.0.0 (proj:code, proj:shape,
proj:transform, proj:bbox): https://github.com/stac-extensions/projection. Assets point at Zarr groups, with a
`store` link to the root: https://github.com/radiantearth/stac-best-practices/blob/main/best-practices-zarr.md.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
import shapely.geometry

from landweave.layout import ZARR, thumbnail
from landweave.stac import STAC_VERSION
from pipelines.shards.fused_spec import MEASURES
from pipelines.shards.stored import MAP
from schemas.canonical import canonical_json
from schemas.caption import facts_json
from schemas.label import EDITED_SINCE
from schemas.place import BBox

if TYPE_CHECKING:
    from datetime import datetime

    from landweave.layout import DatasetSpec, GroupSpec, Json
    from schemas.label import LabelMap
    from schemas.place import GeoBox
    from schemas.stack import Stack

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
ZARR_MEDIA_TYPE = "application/vnd.zarr; version=3"
THUMBNAIL = "thumbnail"
"""Asset with the picture of a sample."""
STRAIGHT_DEG = 1e-7
"""Points of a footprint that lie so near to a straight line are left out: coordinates are rounded to this, 1 cm."""
_TIME = pa.timestamp("us", tz="UTC")
_STRINGS = pa.list_(pa.string())
_LINK = pa.struct([("rel", pa.string()), ("href", pa.string()), ("type", pa.string())])
_ASSET = pa.struct([("href", pa.string()), ("type", pa.string()), ("title", pa.string()), ("roles", _STRINGS)])
_BBOX = pa.struct([("xmin", pa.float64()), ("ymin", pa.float64()), ("xmax", pa.float64()), ("ymax", pa.float64())])
_CAPTION = pa.struct(
    [
        ("text", pa.string()),
        ("captioner", pa.string()),
        ("model", pa.string()),
        ("prompt_version", pa.string()),
        ("facts_sha256", pa.string()),
        ("checks", _STRINGS),
        ("attempts", pa.int32()),
        ("fallback", pa.bool_()),
        ("tokens", pa.int64()),
        ("claims", pa.string()),
    ]
)
_SHARE = pa.struct([("name", pa.string()), ("share", pa.float64())])


def share_column(label: str, common: str) -> str:
    """Column of a class's share: ('worldcover', 'snow and ice') -> 'worldcover_snow_and_ice'."""
    return f"{label}_{common.replace(' ', '_')}"


def schema(dataset: DatasetSpec) -> pa.Schema:
    """Columns of items.parquet; the form of the dataset alone decides them, never the data."""
    fields: list[tuple[str, pa.DataType]] = [
        ("type", pa.string()),
        ("id", pa.string()),
        ("geometry", pa.binary()),
        ("bbox", _BBOX),
        ("collection", pa.string()),
        ("stac_version", pa.string()),
        ("stac_extensions", _STRINGS),
        ("links", pa.list_(_LINK)),
        ("assets", pa.struct([*((g.name, _asset_type(g)) for g in dataset.groups), *_thumbnail_type(dataset)])),
        ("datetime", _TIME),
        ("start_datetime", _TIME),
        ("end_datetime", _TIME),
        ("split", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("epsg", pa.int32()),
        ("x_min", pa.float64()),
        ("y_max", pa.float64()),
        ("proj:code", pa.string()),
        ("proj:shape", pa.list_(pa.int32())),
        ("proj:transform", pa.list_(pa.float64())),
        ("proj:bbox", pa.list_(pa.float64())),
        ("block", pa.string()),
        ("cell", pa.string()),
        ("stratum", pa.string()),
        ("licences", _STRINGS),
        ("attribution", _STRINGS),
        *((a.column, pa.type_for_alias(a.dtype)) for a in dataset.attributes),
    ]
    for group in dataset.groups:
        fields += _modality_fields(group) if group.kind == "modality" else _label_fields(group)
    return pa.schema([*fields, ("captions", pa.list_(_CAPTION)), ("facts", pa.string())])


def _thumbnail_type(dataset: DatasetSpec) -> list[tuple[str, pa.DataType]]:
    return [(THUMBNAIL, _ASSET)] if dataset.pages else []


def thumbnail_asset(path: str, title: str) -> Json:
    """A picture as an asset of a file in the catalogue's folder."""
    return {"href": f"../{path}", "type": "image/webp", "title": title, "roles": [THUMBNAIL]}


def _asset_type(group: GroupSpec) -> pa.DataType:
    """Columns of a group's asset; where its ground is not the item's, its own projection fields."""
    if not group.arrays[0].margin_m:
        return _ASSET
    numbers = pa.list_(pa.float64())
    own = {"proj:shape": pa.list_(pa.int32()), "proj:transform": numbers, "proj:bbox": numbers}
    return pa.struct([*_ASSET, *own.items()])


def _own_ground(group: GroupSpec, box: GeoBox, extent_m: float) -> Json:
    """Projection fields of a group whose ground is not the footprint, of its finest pixels; {} for all others."""
    if not group.arrays[0].margin_m:
        return {}
    own = box.about(extent_m, min(array.resolution_m for array in group.arrays))
    return {"proj:shape": list(own.shape), "proj:transform": list(own.transform), "proj:bbox": list(own.bounds)}


def _modality_fields(group: GroupSpec) -> list[tuple[str, pa.DataType]]:
    columns: dict[str, pa.DataType] = {
        "count": pa.int32(),
        "present": pa.list_(pa.bool_()),
        "datetimes": _STRINGS,
        "valid": pa.list_(pa.float64()),
        "cloud": pa.list_(pa.float64()),
        "items": pa.list_(_STRINGS),
        "provider": _STRINGS,
        "radiometry": _STRINGS,
        "resampling": _STRINGS,
        "provenance": _STRINGS,
        "licence": _STRINGS,
    }
    return [(f"{group.name}_{name}", kind) for name, kind in columns.items()]


def _label_fields(group: GroupSpec) -> list[tuple[str, pa.DataType]]:
    columns: dict[str, pa.DataType] = {
        "present": pa.list_(pa.bool_()),
        "version": pa.string(),
        "year": pa.int32(),
        "date_gap_days": pa.int32(),
        "items": _STRINGS,
        "licence": pa.string(),
        "labelled": pa.float64(),
        "shares": pa.list_(_SHARE),
    }
    columns |= dict.fromkeys(_measures(group), pa.float64())
    commons = dict.fromkeys(c.common for c in group.classes)
    shares = [(share_column(group.name, common), pa.float64()) for common in commons]
    return [(f"{group.name}_{name}", kind) for name, kind in columns.items()] + shares


def item(stack: Stack, shard: int, row: int, split: str, footprint: dict[str, Any], dataset: DatasetSpec) -> Json:
    """One row of items.parquet.

    Args:
        stack: the sample.
        shard: number of the shard that holds it.
        row: its row there.
        split: split of the shard.
        footprint: GeoJSON polygon or multipolygon, lon/lat, cut at the antimeridian.
        dataset: the dataset's form.
    """
    place, box = stack.place, stack.place.geobox
    geometry = shapely.simplify(shapely.geometry.shape(footprint), STRAIGHT_DEG)
    times = sorted(o.datetime for (name, _), o in stack.observations.items() if dataset.group(name).dated)
    times = times or sorted(o.datetime for o in stack.observations.values()) or _label_years(stack)
    present = [g for g in dataset.groups if _slots_present(stack, g).count("1")]
    pictures = {THUMBNAIL: thumbnail_asset(thumbnail(shard, place.sample_id), "Picture")} if dataset.pages else {}
    found: Json = {
        "type": "Feature",
        "id": place.sample_id,
        "geometry": shapely.to_wkb(geometry, byte_order=1),
        "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), bbox(geometry), strict=True)),
        "collection": dataset.name,
        "stac_version": STAC_VERSION,
        "stac_extensions": [PROJECTION],
        "links": [
            {"rel": "collection", "href": "./collection.json", "type": "application/json"},
            {"rel": "store", "href": f"../{ZARR}", "type": ZARR_MEDIA_TYPE},
        ],
        "assets": {
            g.name: {
                "href": f"../{ZARR}/{g.name}",
                "type": ZARR_MEDIA_TYPE,
                "title": g.title,
                "roles": [role(g)],
                **_own_ground(g, box, dataset.extent_m(g.name)),
            }
            for g in present
        }
        | pictures,
        "datetime": times[0],
        "start_datetime": times[0],
        "end_datetime": times[-1],
        "split": split,
        "shard": shard,
        "row": row,
        "lon": place.lon,
        "lat": place.lat,
        "epsg": box.epsg,
        "x_min": box.x_min,
        "y_max": box.y_max,
        "proj:code": f"EPSG:{box.epsg}",
        "proj:shape": list(box.shape),
        "proj:transform": list(box.transform),
        "proj:bbox": list(box.bounds),
        "block": place.block,
        "cell": place.cell,
        "stratum": place.stratum,
        "licences": _licences(stack),
        "attribution": list(dict.fromkeys(g.attribution for g in present if g.attribution)),
        "captions": [{**asdict(c), "checks": list(c.checks)} for c in stack.captions],
        "facts": None if stack.facts is None else facts_json(stack.facts),
    }
    said = {**dict(place.attributes), **stack.numbers}
    found |= {a.column: said[a.name] for a in dataset.attributes}
    for group in dataset.groups:
        columns = _modality_row(stack, group) if group.kind == "modality" else _label_row(stack, group)
        found |= {f"{group.name}_{name}": value for name, value in columns.items()}
    return found


def slots_present(stack: Stack, dataset: DatasetSpec) -> dict[str, str]:
    """Group -> '1' or '0' for each date slot."""
    return {g.name: _slots_present(stack, g) for g in dataset.groups}


def _slots_present(stack: Stack, group: GroupSpec) -> str:
    if group.kind == "label":
        return "1" if group.name in stack.labels else "0"
    return "".join("1" if (group.name, slot) in stack.observations else "0" for slot in range(group.slot_count))


def _modality_row(stack: Stack, group: GroupSpec) -> Json:
    seen = [stack.observations.get((group.name, slot)) for slot in range(group.slot_count)]

    def each(value: Any) -> list[Any]:
        return [None if o is None else value(o) for o in seen]

    return {
        "count": sum(o is not None for o in seen),
        "present": [o is not None for o in seen],
        "datetimes": each(lambda o: stamp(o.datetime)),
        "valid": each(lambda o: o.valid_fraction),
        "cloud": each(lambda o: o.cloud_fraction),
        "items": [[] if o is None else list(o.item_ids) for o in seen],
        "provider": each(lambda o: o.provider),
        "radiometry": each(lambda o: canonical_json(o.radiometry)),
        "resampling": each(lambda o: canonical_json(o.resampling)),
        "provenance": each(lambda o: canonical_json(o.facts)),
        "licence": each(lambda o: o.licence),
    }


def _label_row(stack: Stack, group: GroupSpec) -> Json:
    label = stack.labels.get(group.name)
    if label is None:
        return {"present": [False]}
    pixels = _class_pixels(label)
    labelled = sum(pixels.values())
    commons: dict[str, int] = {c.common: 0 for c in group.classes}
    names: list[Json] = []
    for c in group.classes:
        count = pixels.get(c.code, 0)
        commons[c.common] += count
        if count:
            names.append({"name": c.name, "share": count / labelled})
    return {
        "present": [True],
        "version": label.version,
        "year": label.year,
        "date_gap_days": label.date_gap_days,
        "items": list(label.item_ids),
        "licence": label.licence,
        "labelled": labelled / label.classes.size,
        "shares": names,
        **{name: label.measures.get(name) for name in _measures(group)},
        **{common.replace(" ", "_"): (n / labelled if labelled else None) for common, n in commons.items()},
    }


def _measures(group: GroupSpec) -> tuple[str, ...]:
    """Further columns: of a label that has a confidence, and of OpenStreetMap."""
    if group.name == MAP:
        return (EDITED_SINCE,)
    return MEASURES if len(group.arrays) > 1 else ()


def _class_pixels(label: LabelMap) -> dict[int, int]:
    counts = np.bincount(label.classes[label.valid])
    codes = np.flatnonzero(counts)
    return dict(zip(codes.tolist(), counts[codes].tolist(), strict=True))


def bbox(geometry: Any) -> BBox:
    """Box in degrees; west > east across the antimeridian (RFC 7946, 5.2)."""
    west, south, east, north = geometry.bounds
    parts = [part.bounds for part in getattr(geometry, "geoms", [geometry])]
    if len(parts) > 1 and west <= -180.0 and east >= 180.0:
        left = [b for b in parts if b[0] <= -180.0]
        right = [b for b in parts if b[2] >= 180.0]
        if not any(b in right for b in left):
            west, east = min(b[0] for b in parts if b[0] > 0), max(b[2] for b in parts if b[2] < 0)
    return BBox(west, south, east, north)


def _label_years(stack: Stack) -> list[datetime]:
    from datetime import UTC, datetime

    years = sorted(label.year for label in stack.labels.values())
    if not years:
        raise ValueError(f"sample {stack.place.sample_id} has no observation and no label: it must be left out")
    return [datetime(years[0], 1, 1, tzinfo=UTC), datetime(years[-1], 12, 31, tzinfo=UTC)]


def _licences(stack: Stack) -> list[str]:
    found = {o.licence for o in stack.observations.values()} | {label.licence for label in stack.labels.values()}
    return sorted(found | {vectors.licence for vectors in stack.vectors.values()})


def role(group: GroupSpec) -> str:
    """Role of a group's asset."""
    return "data" if group.is_input else "labels"


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC."""
    from datetime import UTC

    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z").replace(".000000Z", "Z")
