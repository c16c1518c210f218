"""What a STAC API answers about a dataset: items, searches, sorting, aggregations, from the reader's own queries."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.cql2 import Filter, geometry, queryable
from landweave.errors import QueryError, unknown
from landweave.layout import COLLECTION, shard_name
from landweave.record import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from landweave.dataset import Dataset
    from landweave.layout import DatasetSpec, GroupSpec, Json

MOST_ITEMS = 1_000
"""Items of a page at most."""
_OUTSIDE = frozenset(
    {"type", "id", "geometry", "bbox", "collection", "stac_version", "stac_extensions", "links", "assets"}
)
"""Columns that are no properties of an item."""
_GEOJSON = "application/geo+json"
STAC_VERSION = "1.1.0"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_LONG = ("_radiometry", "_resampling", "_provenance")
"""Ends of the columns that would be most of an item's file; the Parquet and the API have them."""
_CLASS = ("value", "name", "title", "color_hint")
"""What an item has of a class; the collection has the description too."""
_CAPTION = ("text", "captioner", "model", "set")
"""What an item's file has of a caption."""
AGGREGATIONS = {
    "total_count": "integer",
    "datetime_min": "datetime",
    "datetime_max": "datetime",
    "split_frequency": "frequency_distribution",
}
"""Name -> data type of each aggregation."""


def search_positions(
    dataset: Dataset,
    *,
    ids: Iterable[str] | None = None,
    bbox: Any = None,
    intersects: Any = None,
    interval: str | None = None,
    cql2: Any = None,
) -> NDArray[np.int64]:
    """Positions of the samples that fulfil a search, in the catalogue's order.

    Args:
        dataset: the dataset.
        ids: sample ids; unknown ones are not found.
        bbox: 4 numbers, or 6 with heights, which are not used.
        intersects: a GeoJSON geometry.
        interval: RFC 3339: a time, or two separated by '/', '..' for an open end.
        cql2: a filter, CQL2-JSON.

    Raises:
        QueryError: one of them cannot be understood.
    """
    catalogue = dataset.catalogue
    equal = {} if ids is None else {"id": [i for i in ids if catalogue.position(i) is not None]}
    if ids is not None and not equal["id"]:
        return np.zeros(0, np.int64)
    found = dataset.query(bbox=_flat(bbox), time=_period(interval), **equal).positions
    filters = [] if cql2 is None else [cql2]
    if intersects is not None:
        shape = geometry(intersects).__geo_interface__
        filters.append({"op": "s_intersects", "args": [{"property": "geometry"}, shape]})
    for one in filters:
        found = np.intersect1d(found, Filter(catalogue).positions(one), assume_unique=True)
    return found


def _flat(bbox: Any) -> tuple[float, float, float, float] | None:
    if bbox is None:
        return None
    box = [float(v) for v in bbox]
    if len(box) not in (4, 6):
        raise QueryError(f"bbox must have 4 or 6 numbers, found {len(box)}")
    return (box[0], box[1], box[2], box[3]) if len(box) == 4 else (box[0], box[1], box[3], box[4])


def _period(interval: str | None) -> tuple[str | None, str | None] | None:
    if not interval:
        return None
    ends = [None if end in ("", "..") else end for end in interval.upper().split("/")]
    if len(ends) > 2:
        raise QueryError("datetime must be a time, or two times separated by '/'")
    return ends[0], ends[-1]


def sort_positions(dataset: Dataset, positions: NDArray[np.int64], by: list[tuple[str, bool]]) -> NDArray[np.int64]:
    """Sort by (property, descending) pairs; nulls last, equals in the catalogue's order.

    Raises:
        QueryError: a property is unknown or has no order.
    """
    names = queryable(dataset.catalogue.schema)
    columns: dict[str, Any] = {}
    keys = []
    for name, descending in by:
        if name not in names:
            raise QueryError(unknown("property", name[:80], names))
        columns[name] = dataset.catalogue.rows([name], positions)[name]
        keys.append((name, "descending" if descending else "ascending"))
    table = pa.table({**columns, " position": positions})
    order = pc.sort_indices(table, sort_keys=[*keys, (" position", "ascending")])  # nulls last
    return np.asarray(positions[order.to_numpy()])


def item(row: Mapping[str, Any], spec: DatasetSpec, base: str, files: str) -> Json:
    """A STAC item of the API from a row of the catalogue.

    Args:
        row: all columns.
        spec: the dataset's form.
        base: URL of the API, ending in '/'.
        files: URL of the dataset's files, ending in '/'.
    """
    collection = f"{base}collections/{row['collection']}"
    links = [
        {"rel": "self", "href": f"{collection}/items/{row['id']}", "type": _GEOJSON},
        {"rel": "parent", "href": collection, "type": "application/json"},
        {"rel": "collection", "href": collection, "type": "application/json"},
        {"rel": "root", "href": base, "type": "application/json"},
    ]
    return _feature(row, spec, links, files)


def static_item(row: Mapping[str, Any], spec: DatasetSpec, collection: str) -> Json:
    """A STAC item as a file two folders below the catalogue's: without the long texts of provenance.

    Args:
        row: all columns.
        spec: the dataset's form.
        collection: address of the collection from the item's file.
    """
    shard = f"../{shard_name(row['shard'])}.json"
    hrefs = {"root": collection, "parent": shard, "collection": collection}
    links = [{"rel": rel, "href": href, "type": "application/json"} for rel, href in hrefs.items()]
    kept = {name: value for name, value in row.items() if not name.endswith(_LONG) and name != "facts"}
    captions = [{name: c[name] for name in _CAPTION if c.get(name)} for c in row.get("captions") or ()]
    return _feature({**kept, "captions": captions}, spec, links, "../../../")


def _feature(row: Mapping[str, Any], spec: DatasetSpec, links: list[Json], files: str) -> Json:
    import shapely
    import shapely.geometry

    box = row["bbox"]
    properties = {name: plain(value) for name, value in row.items() if name not in _OUTSIDE and value is not None}
    if isinstance(properties.get("facts"), str):
        with suppress(ValueError):
            properties["facts"] = json.loads(properties["facts"])
    assets = {
        name: {**{key: v for key, v in asset.items() if v is not None}, "href": _href(asset["href"], files)}
        for name, asset in (row["assets"] or {}).items()
        if asset is not None
    }
    legends = {g.name: legend(g) for g in spec.groups if g.classes and g.name in assets}
    for name, classes in legends.items():
        assets[name]["classification:classes"] = [{n: c[n] for n in _CLASS} for c in classes]
    stored = [{**link, "href": _href(link["href"], files)} for link in row["links"] or () if link["rel"] == "store"]
    return {
        "type": "Feature",
        "stac_version": row["stac_version"],
        "stac_extensions": [*row["stac_extensions"], *([CLASSIFICATION] if legends else [])],
        "id": row["id"],
        "collection": row["collection"],
        "geometry": shapely.geometry.mapping(shapely.from_wkb(row["geometry"])),
        "bbox": [box[edge] for edge in ("xmin", "ymin", "xmax", "ymax")],
        "properties": properties,
        "links": [*links, *stored],
        "assets": assets,
    }


def legend(group: GroupSpec) -> list[Json]:
    """The classes of a label as https://github.com/stac-extensions/classification has them."""
    return [
        {
            "value": c.code,
            "name": re.sub(r"[^0-9A-Za-z]+", "_", c.name).strip("_").lower() or f"class_{c.code}",
            "title": c.name,
            "description": f"{c.name}: {c.common}",
            "color_hint": c.colour.removeprefix("#").upper(),
        }
        for c in group.classes
    ]


def _href(href: str, files: str) -> str:
    """Hrefs in the catalogue are relative to its folder: '../data.zarr/dem'."""
    return files + (href[3:] if href.startswith("../") else f"catalogue/{href.removeprefix('./')}")


def queryables(dataset: Dataset, url: str) -> Json:
    """JSON Schema of the properties that a filter can name."""
    kinds = {"string": "string", "bool": "boolean", "double": "number", "float": "number"}
    properties: Json = {"geometry": {"title": "geometry", "format": "geometry-any"}}
    schema = dataset.catalogue.schema
    for field in map(schema.field, queryable(schema)):
        kind: Json = {"type": kinds.get(str(field.type), "integer")}
        if pa.types.is_timestamp(field.type):
            kind = {"type": "string", "format": "date-time"}
        properties[field.name] = {"title": field.name, **kind}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": url,
        "type": "object",
        "title": f"Queryables of {dataset.spec.name}",
        "properties": properties,
        "additionalProperties": False,
    }


def aggregate(dataset: Dataset, positions: NDArray[np.int64], names: list[str]) -> list[Json]:
    """Aggregations of a selection.

    Raises:
        QueryError: an unknown aggregation.
    """
    found: list[Json] = []
    for name in names:
        if name not in AGGREGATIONS:
            raise QueryError(unknown("aggregation", name[:80], AGGREGATIONS))
        about: Json = {"name": name, "data_type": AGGREGATIONS[name]}
        if name == "split_frequency":
            splits = sorted(Counter(dataset.catalogue.splits(positions)).items())
            buckets = [{"key": name, "data_type": "string", "frequency": count} for name, count in splits]
            found.append({**about, "buckets": buckets, "overflow": 0})
            continue
        if name == "total_count":
            found.append({**about, "value": len(positions)})
            continue
        times = dataset.catalogue.rows(["datetime"], positions)["datetime"]
        value = (pc.min if name == "datetime_min" else pc.max)(times).as_py()
        found.append({**about, "value": plain(value)})
    return found


def next_token(after: int) -> str:
    """Token of the page that begins after this many items."""
    return base64.urlsafe_b64encode(f"{after}".encode()).decode().rstrip("=")


def start_of(token: str | None) -> int:
    """Items before a page.

    Raises:
        QueryError: not one of our tokens.
    """
    if not token:
        return 0
    try:
        found = int(base64.urlsafe_b64decode(token[:32] + "=" * (-len(token[:32]) % 4)))
    except (binascii.Error, ValueError) as error:
        raise QueryError("the token is not one that this server gave") from error
    return max(0, found)


def collection(dataset: Dataset, base: str, files: str) -> Json:
    """The dataset's STAC collection with this API's links."""
    found: Json = json.loads(dataset.objects.read(dataset.spec.at(COLLECTION)))
    here = f"{base}collections/{found['id']}"
    found["links"] = [
        {"rel": "self", "href": here, "type": "application/json"},
        {"rel": "parent", "href": base, "type": "application/json"},
        {"rel": "root", "href": base, "type": "application/json"},
        {"rel": "items", "href": f"{here}/items", "type": _GEOJSON},
        {
            "rel": "http://www.opengis.net/def/rel/ogc/1.0/queryables",
            "href": f"{here}/queryables",
            "type": "application/schema+json",
        },
        *(
            {**link, "href": _href(link["href"], files)}
            for link in found["links"]
            if link["rel"] in ("store", "license", "describedby", "cite-as")
        ),
    ]
    for asset in found.get("assets", {}).values():
        asset["href"] = _href(asset["href"], files)
    return found
