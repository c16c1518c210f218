"""Searches a STAC API or a static catalogue: all items, complete or an error, in a fixed order."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.access.http.client import interpolate
from pipelines.access.stac.paging import Take, whole_search
from pipelines.access.stac.static import is_static, read_static

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.access.http.client import Client
    from schemas.place import BBox
    from schemas.provider import Provider

Item = dict[str, Any]


def search(
    name: str,
    provider: Provider,
    collection: str,
    *,
    areas: Sequence[BBox] | Item,
    period: tuple[date | datetime, date | datetime] | None,
    client: Client,
    take: Take | None = None,
) -> list[Any]:
    """All items of a collection that touch an area in a period.

    Args:
        name: The provider's name in the recipe, for messages.
        provider: Its entry; $NAME in its url is read from the environment.
        collection: Collection id; several with commas between.
        areas: Boxes (west, south, east, north) in degrees, west > east crossing the 180th meridian; or one GeoJSON
            geometry. Ask for the boxes of a block of samples at once.
        period: First and last moment, UTC; a date stands for its whole day. None = any time.
        client: HTTP to this provider.
        take: What becomes of pages and items; items stay STAC item dicts if absent.

    Returns:
        What `take` makes of the items, each id once, sorted by id.

    Raises:
        SettingError: an environment variable in the url is not set.
        AccessError: the archive did not answer in full: a partial answer is never returned.
    """
    root = interpolate(provider.url, dict(os.environ), where=f"provider {name!r}").rstrip("/")
    root = root.removesuffix("/search")
    take = take or Take()
    collections = collection.split(",")
    if is_static(root):
        listed = read_static(client, root, collections, areas, period, take.dropped)
        return [take.item(_located(item, provider)) for item in listed]
    body: Item = {"collections": collections}
    if period is not None:
        body["datetime"] = "/".join((_moment(period[0], last=False), _moment(period[1], last=True)))
    wheres: list[Item]
    if isinstance(areas, dict):
        wheres = [{"intersects": areas}]
    else:
        wheres = [{"bbox": list(box)} for box in sorted({b for area in areas for b in area.sides()})]
    found: dict[str, Any] = {}

    def taken(body_here: Item) -> dict[str, Any]:
        mine: dict[str, Any] = {}
        for item in whole_search(client, f"{root}/search", body_here, take):
            if item.get("collection") is not None and item["collection"] not in collections:
                take.dropped(item["id"], "an item of a collection that was not requested")
            elif item["id"] not in found:
                mine[item["id"]] = take.item(_located(item, provider))
        return mine

    for where in wheres:
        found |= client.retrying(lambda _, b={**body, **where}: taken(b))  # type: ignore[misc]
    return [found[key] for key in sorted(found)]


_ALTERNATES = {"usgs": "s3"}
"""Dialect -> the address of an asset that is read by habit: USGS's own hrefs lead to a login page."""


def _located(item: Item, provider: Provider) -> Item:
    """The item with the alternate address that the provider's entry asks for in each asset that has it."""
    wanted = provider.alternate or _ALTERNATES.get(provider.dialect)
    assets = item.get("assets")
    if wanted is None or not isinstance(assets, dict):
        return item
    return {**item, "assets": {key: _at(asset, wanted) for key, asset in assets.items()}}


def _at(asset: Any, wanted: str) -> Any:
    others = asset.get("alternate") if isinstance(asset, dict) else None
    other = others.get(wanted) if isinstance(others, dict) else None
    href = other.get("href") if isinstance(other, dict) else None
    return {**asset, "href": href} if isinstance(href, str) else asset


def _moment(when: date | datetime, *, last: bool) -> str:
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
        if last:
            when += timedelta(days=1) - timedelta(milliseconds=1)
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
