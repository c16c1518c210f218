"""Static STAC: searches catalogues of linked JSON files, and stac-geoparquet, on this machine.

A client reads the content of an address once and keeps it for all searches. An item without a readable place or time is
part of every answer, because it cannot be excluded; the caller refuses it with a reason.
"""

from __future__ import annotations

import json
import math
import threading
import time
import weakref
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pipelines.access.http.address import joined, parsed
from pipelines.access.http.client import AccessError, shown
from pipelines.access.stac.footprint import footprint_of, moment, shape_of
from pipelines.access.stac.geoparquet import read_items
from pipelines.access.threads import threads
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipelines.access.http.address import Url
    from pipelines.access.http.client import Client
    from schemas.place import BBox

Item = dict[str, Any]
Moment = date | datetime
Dropped = list[tuple[str, str]]
"""(whose, why)."""

_MOST_FILES = 100_000
"""JSON files of one catalogue. A larger one has an API, or belongs into a stac-geoparquet file."""
_MOST_ITEMS = 250_000
_MOST_LEVELS = 64
"""Of links from one file to the next."""
_MOST_SECONDS = 7_200.0
"""For all files of one catalogue together."""
_ID_CHARS = 1024
_FILE_BYTES = 128 << 20
"""Of a JSON file, unpacked."""
_MOST_BYTES = 1 << 30
"""Of a stac-geoparquet file, which is read whole, and of all JSON files of one catalogue together, unpacked."""
_held: weakref.WeakKeyDictionary[Client, dict[str, _Catalogue]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class _Catalogue:
    items: list[Item]
    """Sorted by id, each id of a collection once."""
    shapes: NDArray[Any]
    """Their footprints; None if one cannot be read."""
    times: NDArray[np.float64]
    """(item, 2): first and last moment, seconds since 1970; infinite where an item does not say."""
    dropped: Dropped = field(default_factory=list)
    """Invalid items."""


def is_static(url: str) -> bool:
    """Whether an address is a file and not the root of an API."""
    return parsed(url).path.endswith((".json", ".parquet", ".geoparquet"))


def read_static(
    client: Client,
    url: str,
    collections: Sequence[str],
    areas: Sequence[BBox] | Item,
    period: tuple[Moment, Moment] | None,
    dropped: Callable[[str, str], None] = lambda *_: None,
) -> list[Item]:
    """Items of some collections that touch an area in a period, sorted by id; with those that cannot be ruled out.

    Args:
        client: HTTP to the provider.
        url: A catalog.json, collection.json or item; or a .parquet file.
        collections: Collection ids; items that name no collection belong to each.
        areas: Boxes (west, south, east, north), degrees, west > east crossing the 180th meridian; or a geometry.
        period: First and last moment, UTC, a date standing for its whole day; None = any time.
        dropped: Called with (whose, why) for each entry that is no item.

    Raises:
        AccessError: a file of the catalogue could not be read: a partial answer is never given.
    """
    known = _known(client, url)
    for whose, why in known.dropped:
        dropped(whose, why)
    mask = np.array([i.get("collection") is None or i["collection"] in collections for i in known.items], bool)
    mask &= shapely.is_missing(known.shapes) | shapely.intersects(known.shapes, _area(areas))
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
    """Content of an address; the first caller reads it, other callers wait for it."""
    with _lock:
        held = _held.setdefault(client, {})
        if url not in held:
            held[url] = _catalogue(client, parsed(url))
        return held[url]


def _catalogue(client: Client, url: Url) -> _Catalogue:
    dropped: Dropped = []
    if url.path.endswith("parquet"):
        found = _items(read_items(client.get_all(url, _MOST_BYTES), url), url, dropped)
    else:
        found = _walked(client, url, dropped)
    unique: dict[tuple[str, str], Item] = {}
    for item in found:
        unique.setdefault((item["id"], str(item.get("collection"))), item)
        if len(unique) > _MOST_ITEMS:
            raise AccessError(Reason.BAD_ITEM, f"{shown(url)}: the catalogue has more than {_MOST_ITEMS:,} items")
    kept = [unique[key] for key in sorted(unique)]
    return _Catalogue(
        items=kept,
        shapes=np.array([_shape(i) for i in kept], dtype=object),
        times=np.array([_span(i) for i in kept], np.float64).reshape(-1, 2),
        dropped=dropped,
    )


def _shape(item: Item) -> Any:
    found = footprint_of(item)
    try:
        return None if found is None else shape_of(found)
    except shapely.errors.ShapelyError:
        return None


def _area(areas: Sequence[BBox] | Item) -> Any:
    """The area three times: footprints may run beyond 180 degrees on either side."""
    if isinstance(areas, dict):
        here = shapely.from_geojson(json.dumps(areas))
    else:
        boxes = [(w, s, e if w <= e else e + 360.0, n) for w, s, e, n in areas]
        here = shapely.union_all([shapely.box(*box) for box in boxes])
    return shapely.union_all([shapely.transform(here, partial(np.add, (by, 0.0))) for by in (-360.0, 0.0, 360.0)])


def _span(item: Item) -> tuple[float, float]:
    facts = item.get("properties")
    facts = facts if isinstance(facts, dict) else {}
    moments = [moment(facts.get(n)) for n in ("start_datetime", "datetime", "end_datetime")]
    known = [m.timestamp() for m in moments if m is not None]
    first = min(known) if moments[0] or moments[1] else -math.inf
    last = max(known) if moments[1] or moments[2] else math.inf
    return first, last


def _seconds(when: Moment, *, last: bool = False) -> float:
    if isinstance(when, datetime):
        return when.timestamp()
    day = datetime(when.year, when.month, when.day, tzinfo=UTC)
    return (day + timedelta(days=1) - timedelta(milliseconds=1) if last else day).timestamp()


@dataclass(slots=True)
class _Walk:
    """Files of one catalogue read so far, and what is left of their budget."""

    client: Client
    root: Url
    until_s: float
    bytes: int = 0

    def read(self, url: Url) -> Item:
        """One file.

        Raises:
            AccessError: it could not be read, or the catalogue is larger, or slower, than it may be.
        """
        if time.monotonic() > self.until_s:
            raise self.over(f"takes more than {_MOST_SECONDS:,.0f} s to read")
        return self.client.json("GET", url, max_bytes=_FILE_BYTES, weighed=self._weigh)

    def over(self, what: str) -> AccessError:
        """The error for a catalogue that is larger than the limit."""
        return AccessError(Reason.BAD_ITEM, f"{shown(self.root)}: the catalogue {what}")

    def _weigh(self, size: int) -> None:
        self.bytes += size
        if self.bytes > _MOST_BYTES:
            raise self.over(f"has more than {_MOST_BYTES >> 20:,} MiB")


def _walked(client: Client, root: Url, dropped: Dropped) -> Iterator[Item]:
    """Items that links of rel 'child' and 'item' lead to, breadth first; a file is asked for once."""
    walk = _Walk(client, root, time.monotonic() + _MOST_SECONDS)
    seen, level = {root}, [root]
    with threads(client.concurrency, "catalogue") as pool:
        for _ in range(_MOST_LEVELS):
            following: list[Url] = []
            for url, found in zip(level, pool.map(walk.read, level), strict=True):
                yield from _items(_features(found), url, dropped)
                for target in (joined(url, link) for link in _links(found)):
                    if target not in seen:
                        seen.add(target)
                        following.append(target)
                if len(seen) > _MOST_FILES:
                    raise walk.over(f"has more than {_MOST_FILES:,} files")
            if not following:
                return
            level = following
    raise walk.over(f"has more than {_MOST_LEVELS} levels")


def _features(found: Item) -> list[Any]:
    features = found.get("features") if found.get("type") == "FeatureCollection" else None
    return features if isinstance(features, list) else [found] if found.get("type") == "Feature" else []


def _items(entries: Iterable[Any], url: Url, dropped: Dropped) -> Iterator[Item]:
    """The items among some entries of one file, with absolute addresses."""
    for number, entry in enumerate(entries):
        found = item_of(entry)
        if isinstance(found, str):
            dropped.append((f"{shown(url)}#{number}", found))
        else:
            yield _absolute(found, url)


def item_of(entry: object) -> Item | str:
    """A distinct entry of a list of items, or the reason why it is not one."""
    if not isinstance(entry, dict):
        return "an entry that is not an item"
    found = entry.get("id")
    if isinstance(found, int) and not isinstance(found, bool):
        return {**entry, "id": str(found)}
    if not isinstance(found, str) or not found.strip():
        return "an item without an id"
    return entry if len(found) <= _ID_CHARS else f"an item whose id has more than {_ID_CHARS} characters"


def _links(found: Item) -> list[str]:
    if found.get("type") == "Feature":
        return []
    links = found.get("links")
    return [
        link["href"]
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict)
        and link.get("rel") in ("child", "item", "items")
        and isinstance(link.get("href"), str)
        and link["href"]
    ]


def _absolute(item: Item, url: Url) -> Item:
    """The item with absolute addresses, relative to where it was read: self links of copies are often old."""
    assets = item.get("assets")
    if not isinstance(assets, dict):
        return item
    return {**item, "assets": {key: _at(asset, url) for key, asset in assets.items()}}


def _at(asset: Any, url: Url) -> Any:
    if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
        return asset
    try:
        return {**asset, "href": str(joined(url, asset["href"]))}
    except AccessError:  # reported when this asset is used
        return asset
