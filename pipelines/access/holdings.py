"""Reads an archive's list of collections before any search, so that a misspelt collection is an error.

Not every archive lists its collections; without a list, only the search shows whether a collection exists.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.access.http.client import AccessError, interpolate, joined, parsed
from pipelines.access.stac.static import collections_in, is_static
from schemas.earthengine import EarthEngineProvider
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.source import ImageSource, RasterSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.access.archives import Archives
    from pipelines.access.http.client import Client
    from schemas.recipe import Recipe

_MOST_PAGES = 100
"""Of a list of collections."""
_NAMED = 12
"""Collections that a message names."""


class NotHeldError(ValueError):
    """An archive does not list a collection that the recipe asks of it; the text says what it lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """A collection as its archive describes it."""

    layer: str
    provider: str
    collection: str
    bboxes: tuple[BBox, ...] = ()
    """Extent of its items: west, south, east, north in degrees; () if the archive does not state it."""
    begins: date | None = None
    """First day of its items; None if the archive does not say."""
    ends: date | None = None
    """Last day; None if more is to come, or the archive does not say."""


def holdings_of(archives: Archives, recipe: Recipe) -> list[Holding]:
    """Ask every archive for the collections that the recipe names.

    Earth Engine is not asked: the recipe itself is checked against what it holds. An archive that cannot be reached
    or lists no collections is passed over.

    Raises:
        NotHeldError: an archive that lists its collections does not list one that the recipe states, or none of a
            sensor's usual ones.
    """
    found = []
    for entry in (*recipe.sources, *recipe.read_labels):
        if not isinstance(entry, RasterSource):
            continue
        layer = entry.name if isinstance(entry, ImageSource) else str(getattr(entry, "layer", ""))
        for name in entry.providers:
            provider = archives.providers[name]
            if isinstance(provider, EarthEngineProvider):
                continue
            root = interpolate(provider.url, dict(os.environ), where=f"provider {name!r}").rstrip("/")
            wanted, unknown = entry.collection_at(name, provider).split(","), []
            for collection in wanted:
                try:
                    document = _described(archives.client(name), root, collection, f"{layer}: provider {name!r}")
                except NotHeldError as error:
                    unknown.append(error)
                    continue
                found.append(Holding(layer=layer, provider=name, collection=collection, **_extent(document)))
            stated = name in entry.collections or "collection" in entry.model_fields_set
            if unknown and (stated or len(unknown) == len(wanted)):  # an archive may hold one half of a sensor
                raise unknown[0]
    return found


def _described(client: Client, root: str, collection: str, where: str) -> dict[str, Any]:
    """The collection's own document; {} if the archive gives none.

    Raises:
        NotHeldError: it lists others and not this one.
    """
    try:
        if is_static(root):
            known = collections_in(client, root)
            if known and collection not in known:
                raise NotHeldError(_unknown(where, collection, sorted(known)))
            return {}
        try:
            return client.json("GET", f"{root}/collections/{quote(collection, safe='')}")
        except AccessError as error:
            if error.reason is not Reason.NOT_FOUND:
                return {}
        listed = {str(c.get("id")): c for c in _listed(client, f"{root}/collections")}
    except AccessError:
        return {}
    if listed and collection not in listed:
        raise NotHeldError(_unknown(where, collection, sorted(listed)))
    return listed.get(collection, {})


def _listed(client: Client, url: str) -> Iterator[dict[str, Any]]:
    """All collections of an API, page by page."""
    for _ in range(_MOST_PAGES):
        page = client.json("GET", url)
        listed, links = page.get("collections"), page.get("links")
        yield from (c for c in (listed if isinstance(listed, list) else ()) if isinstance(c, dict))
        following = [
            link["href"]
            for link in (links if isinstance(links, list) else ())
            if isinstance(link, dict) and link.get("rel") == "next" and isinstance(link.get("href"), str)
        ]
        if not following:
            return
        url = joined(parsed(url), following[0])


def _unknown(where: str, collection: str, listed: list[str]) -> str:
    close = difflib.get_close_matches(collection, listed, n=_NAMED, cutoff=0.5)
    more = "" if len(listed) <= _NAMED else f" and {len(listed) - _NAMED:,} more"
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{where} lists no collection {collection!r}; {hint}it lists {', '.join(listed[:_NAMED])}{more}"


def _extent(document: dict[str, Any]) -> dict[str, Any]:
    """Fields of a Holding from a collection's `extent` (STAC 1.1 collection specification); third-party data."""
    extent = document.get("extent")
    extent = extent if isinstance(extent, dict) else {}
    spatial, temporal = extent.get("spatial"), extent.get("temporal")
    boxes = spatial.get("bbox") if isinstance(spatial, dict) else None
    intervals = temporal.get("interval") if isinstance(temporal, dict) else None
    whole = intervals[0] if isinstance(intervals, list) and intervals else None
    first, last = whole if isinstance(whole, list) and len(whole) == 2 else (None, None)
    bboxes = tuple(b for box in (boxes if isinstance(boxes, list) else ()) if (b := _box(box)) is not None)
    return {"bboxes": bboxes, "begins": _day(first), "ends": _day(last)}


def _box(stated: object) -> BBox | None:
    if not isinstance(stated, list) or len(stated) not in (4, 6):
        return None
    flat = stated if len(stated) == 4 else [*stated[:2], *stated[3:5]]
    try:
        west, south, east, north = (float(v) for v in flat)
    except (TypeError, ValueError):
        return None
    return BBox(west, south, east, north)


def _day(stated: object) -> date | None:
    try:
        return datetime.fromisoformat(str(stated).replace("Z", "+00:00")).date()
    except ValueError:
        return None
