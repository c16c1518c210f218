"""What a STAC API answers about a dataset: items, searches, sorting, aggregations, from the reader's own queries."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landweave.cql2 import Filter, both, geometry, queryable
from landweave.errors import QueryError, unknown
from landweave.layout import COLLECTION, shard_name
from landweave.query import expression, hint
from landweave.record import plain
from landweave.values import filtered, indexes, moment_of, numbers_of, scalar_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


class Search:
    """What a client asks for; batches of the catalogue answer it, so that memory does not grow with the dataset."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        ids: Iterable[str] | None = None,
        bbox: Any = None,
        intersects: Any = None,
        interval: str | None = None,
        cql2: Any = None,
    ) -> None:
        """Understand it.

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
        self._dataset, catalogue = dataset, dataset.catalogue
        self._filter = Filter(catalogue)
        box, period = _flat(bbox), _period(interval)
        filters = [] if cql2 is None else [cql2]
        if intersects is not None:
            shape = geometry(intersects).__geo_interface__
            filters.append({"op": "s_intersects", "args": [{"property": "geometry"}, shape]})
        equal: dict[str, Any] = {}
        if ids is not None:
            listed = list(dict.fromkeys(ids))
            equal["id"] = [i for i, n in zip(listed, catalogue.places(listed), strict=True) if n is not None]
        self.nothing = ids is not None and not equal["id"]
        """True = no sample can be found."""
        self.everything = not equal and not filters and box is None and period is None
        """True = every sample is found."""
        plain = expression(catalogue.schema, bbox=box, time=period, equal=equal)
        required = hint(bbox=box, time=period, equal=equal)
        condition = self._filter.condition({"op": "and", "args": filters}) if filters else None
        self._condition = both(plain, required, condition, catalogue.schema)

    def batches(self, columns: Sequence[str], start: int = 0) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Positions and columns of the samples that are found, as `Catalogue.batches` gives them."""
        if self.nothing:
            return iter(())
        if self._condition is None:
            return self._dataset.catalogue.batches(columns, start=start)
        return self._filter.batches(self._condition, columns, start)


class Page(NamedTuple):
    """Some of the samples that were found."""

    positions: list[int]
    """Of the samples, in the order that was asked for."""
    matched: int
    """Number of all samples that were found."""
    token: str | None
    """Of the next page; None: this is the last."""


def page(dataset: Dataset, search: Search, by: list[tuple[str, bool]], limit: int, token: str | None) -> Page:
    """The next samples of a search.

    Args:
        dataset: the dataset.
        search: what is asked for.
        by: (property, descending) pairs: nulls last, equals in the catalogue's order; none: the catalogue's order.
        limit: samples at most.
        token: of this page; None: the first.

    Raises:
        QueryError: not one of our tokens; a property is unknown or has no order.
    """
    matched, last = _read_token(token, len(dataset))
    found, counted = _sorted(dataset, search, by, limit + 1, last) if by else _in_turn(
        dataset, search, limit + 1, last, count=matched is None)  # fmt: skip
    total = counted if matched is None else matched
    more = len(found) > limit
    return Page(found[:limit], total, _token(total, found[limit - 1]) if more else None)


def _in_turn(dataset: Dataset, search: Search, most: int, last: int | None, *, count: bool) -> tuple[list[int], int]:
    """Samples after the last one of the page before, in the catalogue's order, and the number of all if counted."""
    start = 0 if last is None else last + 1
    if search.everything:
        return list(range(start, min(len(dataset), start + most))), len(dataset)
    found: list[int] = []
    counted = 0
    for positions, _ in search.batches((), start):
        counted += len(positions)
        found += positions[: most - len(found)].tolist()
        if len(found) == most and not count:
            break
    return found, counted


def _sorted(
    dataset: Dataset, search: Search, by: list[tuple[str, bool]], most: int, last: int | None
) -> tuple[list[int], int]:
    """The first samples in an order, after the last one of the page before, and the number of all."""
    known = queryable(dataset.catalogue.schema)
    for name, _ in by:
        if name not in known:
            raise QueryError(unknown("property", name[:80], known))
    names = list(dict.fromkeys(name for name, _ in by))
    keys = [*((name, "descending" if down else "ascending") for name, down in by), (_POSITION, "ascending")]
    kept, counted = None, 0
    if last is not None:
        here = np.array([last], np.int64)
        kept = dataset.catalogue.rows(names, here).append_column(_POSITION, indexes(here))
    for positions, table in search.batches(names):
        counted += len(positions)
        batch = table.append_column(_POSITION, indexes(positions))
        if last is not None:
            batch = filtered(batch, pc.field(_POSITION) != scalar_of(last, pa.int64()))
        joined = batch if kept is None else pa.concat_tables([kept, batch])
        order = pc.sort_indices(joined, sort_keys=keys)  # nulls last
        first = 0
        if last is not None:
            first = int(np.flatnonzero(numbers_of(joined[_POSITION].take(order)) == last)[0])
        kept = joined.take(order.slice(first, most + (last is not None)))
    found = [] if kept is None else numbers_of(kept[_POSITION]).tolist()
    return (found if last is None else found[1:]), counted


_POSITION = " position"
"""A column that no catalogue has."""


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


def aggregate(dataset: Dataset, search: Search, names: list[str]) -> list[Json]:
    """Aggregations of a search.

    Raises:
        QueryError: an unknown aggregation.
    """
    for name in names:
        if name not in AGGREGATIONS:
            raise QueryError(unknown("aggregation", name[:80], AGGREGATIONS))
    timed = any(name.startswith("datetime") for name in names)
    count, splits, ends = 0, Counter[str](), []
    for positions, table in search.batches(["datetime"] if timed else ()):
        count += len(positions)
        if "split_frequency" in names:
            splits.update(dataset.catalogue.splits(positions))
        if timed and len(positions):
            ends += [moment_of(how(table["datetime"])) for how in (pc.min, pc.max)]
    stamps = [end for end in ends if end is not None]
    buckets = [{"key": key, "data_type": "string", "frequency": n} for key, n in sorted(splits.items())]
    values: dict[str, Json] = {
        "total_count": {"value": count},
        "datetime_min": {"value": plain(min(stamps, default=None))},
        "datetime_max": {"value": plain(max(stamps, default=None))},
        "split_frequency": {"buckets": buckets, "overflow": 0},
    }
    return [{"name": name, "data_type": AGGREGATIONS[name], **values[name]} for name in names]


def _token(matched: int, last: int) -> str:
    """Token of the page after a sample: the number of all that were found, and the sample's position."""
    return base64.urlsafe_b64encode(f"{matched}.{last}".encode()).decode().rstrip("=")


def _read_token(token: str | None, samples: int) -> tuple[int | None, int | None]:
    """(number of all that were found, position of the last sample before the page); QueryError: not one of ours."""
    if not token:
        return None, None
    try:
        raw = base64.b64decode(token[:64] + "=" * (-len(token[:64]) % 4), altchars=b"-_", validate=True)
        matched, last = (int(number) for number in raw.decode("ascii").split("."))
    except (binascii.Error, ValueError) as error:
        raise QueryError("the token is not one that this server gave") from error
    if not (0 <= last < samples and 0 <= matched <= samples):
        raise QueryError("the token is not one that this server gave")
    return matched, last


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
