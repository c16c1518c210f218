"""Static STAC: catalogues of linked JSON files, and stac-geoparquet, searched here because nobody there can.

What an address holds is read once for each client, whole, and kept for all its questions.
"""

from __future__ import annotations

import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from pipelines.access.http import AccessError, shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.access.http import Client

Item = dict[str, Any]
BBox = tuple[float, float, float, float]
Moment = date | datetime

_MOST_FILES = 100_000
"""JSON files of one catalogue. A larger one has an API, or belongs into a stac-geoparquet file."""
_MOST_BYTES = 1 << 30
"""Of a stac-geoparquet file, which is read whole."""
_held: weakref.WeakKeyDictionary[Client, dict[str, _Catalogue]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class _Catalogue:
    items: list[Item]
    """Sorted by id, each id of a collection once."""
    shapes: NDArray[Any]
    """Their footprints."""
    times: NDArray[np.float64]
    """(item, 2): first and last moment, seconds since 1970; NaN where an item does not say."""


def is_static(url: str) -> bool:
    """Whether an address is a file and not the root of an API."""
    return urlsplit(url).path.endswith((".json", ".parquet", ".geoparquet"))


def read_static(
    client: Client,
    url: str,
    collections: Sequence[str],
    areas: Sequence[BBox] | Item,
    period: tuple[Moment, Moment] | None,
) -> list[Item]:
    """Items of some collections that touch an area in a period, sorted by id.

    Args:
        client: HTTP to the provider.
        url: A catalog.json, collection.json or item; or a .parquet file.
        collections: Collection ids; items that name no collection belong to each.
        areas: Boxes (west, south, east, north), degrees, west > east crossing the 180th meridian; or a geometry.
        period: First and last moment, UTC, a date standing for its whole day; None = any time.

    Raises:
        AccessError: a file of the catalogue could not be read: a partial answer is never given.
    """
    known = _known(client, url)
    mask = np.array([i.get("collection", collections[0]) in collections for i in known.items], bool)
    mask &= shapely.intersects(known.shapes, _area(areas))
    if period is not None:
        mask &= (known.times[:, 0] <= _seconds(period[1], last=True)) & (known.times[:, 1] >= _seconds(period[0]))
    return [known.items[i] for i in np.flatnonzero(mask)]


def collections_in(client: Client, url: str) -> set[str]:
    """Ids of the collections that a catalogue's items name; it is read whole, and kept for the searches to come.

    Raises:
        AccessError: a file of the catalogue could not be read.
    """
    return {str(i["collection"]) for i in _known(client, url).items if i.get("collection")}


def _known(client: Client, url: str) -> _Catalogue:
    """What an address holds: the first who asks reads it, the others wait."""
    with _lock:
        held = _held.setdefault(client, {})
        if url not in held:
            held[url] = _catalogue(_from_parquet(client, url) if url.endswith("parquet") else _walked(client, url))
        return held[url]


def _catalogue(items: Iterator[Item]) -> _Catalogue:
    unique: dict[tuple[str, str], Item] = {}
    for item in items:
        unique.setdefault((str(item.get("id")), str(item.get("collection"))), item)
    kept = [unique[key] for key in sorted(unique)]
    texts = [json.dumps(i.get("geometry")) if isinstance(i.get("geometry"), dict) else None for i in kept]
    return _Catalogue(
        items=kept,
        shapes=shapely.from_geojson(np.array(texts, dtype=object), on_invalid="ignore"),
        times=np.array([_span(i) for i in kept], np.float64).reshape(-1, 2),
    )


def _area(areas: Sequence[BBox] | Item) -> Any:
    if isinstance(areas, dict):
        return shapely.from_geojson(json.dumps(areas))
    boxes = []
    for west, south, east, north in areas:
        sides = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        boxes += [shapely.box(w, south, e, north) for w, e in sides]
    return shapely.union_all(boxes)


def _span(item: Item) -> tuple[float, float]:
    facts = item.get("properties")
    facts = facts if isinstance(facts, dict) else {}
    moments = [_parsed(facts.get(n)) for n in ("start_datetime", "datetime", "end_datetime")]
    known = [m for m in moments if m is not None]
    return (min(known), max(known)) if known else (float("nan"), float("nan"))


def _parsed(value: object) -> float | None:
    try:
        when = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _seconds(when: Moment, *, last: bool = False) -> float:
    if isinstance(when, datetime):
        return when.timestamp()
    day = datetime(when.year, when.month, when.day, tzinfo=UTC)
    return (day + timedelta(days=1) - timedelta(milliseconds=1) if last else day).timestamp()


def _walked(client: Client, root: str) -> Iterator[Item]:
    """Items that links of rel 'child' and 'item' lead to, breadth first; a file is asked for once."""
    seen, level = {root}, [root]
    with ThreadPoolExecutor(client.concurrency, thread_name_prefix="catalogue") as pool:
        while level:
            following: list[str] = []
            for url, found in zip(level, pool.map(lambda u: client.json("GET", u), level), strict=True):
                yield from _features(found, url)
                for link in _links(found):
                    target = urljoin(url, link).split("#", maxsplit=1)[0]
                    if target not in seen:
                        seen.add(target)
                        following.append(target)
            if len(seen) > _MOST_FILES:
                raise AccessError(Reason.BAD_ITEM, f"{shown(root)}: the catalogue has more than {_MOST_FILES:,} files")
            level = following


def _features(found: Item, url: str) -> Iterator[Item]:
    features = found.get("features") if found.get("type") == "FeatureCollection" else None
    listed = features if isinstance(features, list) else [found] if found.get("type") == "Feature" else []
    for item in listed:
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            yield _absolute(item, url)


def _links(found: Item) -> list[str]:
    if found.get("type") == "Feature":
        return []
    links = found.get("links")
    return [
        str(link["href"])
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict) and link.get("rel") in ("child", "item", "items") and link.get("href")
    ]


def _absolute(item: Item, url: str) -> Item:
    """The item with addresses that do not hang on where it was read: self links of copied catalogues are often old."""
    assets = item.get("assets")
    if not isinstance(assets, dict):
        return item
    made = {
        key: {**a, "href": urljoin(url, a["href"])} if isinstance(a, dict) and isinstance(a.get("href"), str) else a
        for key, a in assets.items()
    }
    return {**item, "assets": made}


def _from_parquet(client: Client, url: str) -> Iterator[Item]:
    from stac_geoparquet.arrow import stac_table_to_items  # geopandas comes with it: seconds

    data = client.get_all(url, _MOST_BYTES)
    try:
        table = pq.read_table(pa.BufferReader(data))
        items = list(stac_table_to_items(table))
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise AccessError(Reason.CORRUPT, f"{shown(url)} is not a stac-geoparquet file") from error
    for item in items:
        yield _absolute(_without_nulls(item), url)


def _without_nulls(value: Any) -> Any:
    """Parquet writes every column for every item: what one of them does not have is null."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None or k == "datetime"}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
