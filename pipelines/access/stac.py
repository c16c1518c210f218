"""Searches a STAC API: all pages, complete or an error, in a fixed order.

Not through pystac-client: its requests go around our I/O layer (status classes, deadlines, counters), it does not see a
page that lost its 'next' link, and it follows links that lead in circles.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from pipelines.access.cog import Reader
from pipelines.access.credentials import client_of, signer_of
from pipelines.access.http import AccessError, Counters, SettingError, interpolate, parsed
from pipelines.access.paging import Take, whole_search
from pipelines.access.static import is_static, read_static
from schemas.earthengine import EarthEngineProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pipelines.access.cog import ChipReader
    from pipelines.access.earthengine_archive import EarthEngineArchive
    from pipelines.access.http import Client
    from schemas.recipe import AnyProvider, Provider

Item = dict[str, Any]
BBox = tuple[float, float, float, float]


class Archives:
    """The providers of a recipe, as one worker reaches them: a client and a reader for each, made when first needed."""

    def __init__(self, providers: Mapping[str, AnyProvider], *, workers: int = 1, locks: Path | None = None) -> None:
        """`workers`: processes that share the providers' limits; `locks`: folder where they number themselves."""
        self.providers = dict(providers)
        self._workers, self._locks = workers, locks
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._readers: dict[str, Reader] = {}
        self._engines: dict[str, EarthEngineArchive] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End threads and connections."""
        for reader in self._readers.values():
            reader.close()
        for client in self._clients.values():
            client.close()
        for engine in self._engines.values():
            engine.close()
        self._readers.clear()
        self._clients.clear()
        self._engines.clear()

    def check(self) -> None:
        """See that the environment holds what the providers need, and that no login goes where it may not; nothing is
        asked of anybody.

        Raises:
            SettingError: one line that says what is missing or not allowed.
        """
        _ = self.origins
        for name, provider in self.providers.items():
            if not isinstance(provider, EarthEngineProvider):
                signer_of(name, provider)
            if (engine := self.engine(name)) is not None:
                engine.check()

    @property
    def origins(self) -> dict[str, str]:
        """STAC provider's name -> scheme://host[:port] of its address now.

        Raises:
            SettingError: an address names an environment variable that is not set.
        """
        found = {}
        for name, provider in self.providers.items():
            if isinstance(provider, EarthEngineProvider):
                continue  # its images are named by id, not by address
            said = interpolate(provider.url, dict(os.environ), where=f"provider {name!r}")
            found[name] = _origin(name, said)
        return found

    @property
    def counters(self) -> Counters:
        """Requests, bytes, retries and failures of all providers so far."""
        return sum(self.counters_by_provider.values(), Counters())

    @property
    def counters_by_provider(self) -> dict[str, Counters]:
        """The same, apart."""
        with self._lock:
            found = {name: client.counters for name, client in self._clients.items()}
            return found | {name: engine.counters for name, engine in self._engines.items()}

    @property
    def eecu_hours(self) -> float:
        """Compute time charged at Earth Engine so far, EECU-hours."""
        with self._lock:
            return sum(engine.eecu_hours for engine in self._engines.values())

    def client(self, name: str) -> Client:
        """HTTP to a STAC provider.

        Raises:
            SettingError: its url names an environment variable that is not set.
        """
        with self._lock:
            if name not in self._clients:
                provider = self.providers[name]
                if isinstance(provider, EarthEngineProvider):
                    raise TypeError(f"provider {name!r} is Earth Engine, which needs its own client")
                self._clients[name] = client_of(name, provider, workers=self._workers)
            return self._clients[name]

    def engine(self, name: str) -> EarthEngineArchive | None:
        """Earth Engine, where a provider is it."""
        provider = self.providers[name]
        if not isinstance(provider, EarthEngineProvider):
            return None
        from pipelines.access.earthengine_archive import EarthEngineArchive  # its client takes a second to import

        with self._lock:
            if name not in self._engines:
                self._engines[name] = EarthEngineArchive(name, provider, workers=self._workers, locks=self._locks)
            return self._engines[name]

    def reader(self, name: str) -> ChipReader:
        """Chips from a provider's rasters."""
        if (engine := self.engine(name)) is not None:
            return engine
        client = self.client(name)
        with self._lock:
            if name not in self._readers:
                self._readers[name] = Reader(client)
            return self._readers[name]

    def search(
        self,
        name: str,
        collection: str,
        areas: Sequence[BBox] | Item,
        period: tuple[date | datetime, date | datetime] | None,
        take: Take | None = None,
    ) -> list[Any]:
        """`search` at a provider, by its name in the recipe."""
        take = take or Take()
        if (engine := self.engine(name)) is not None:
            take.page()
            return [take.item(item) for item in engine.search(collection, areas, period)]
        provider = self.providers[name]
        assert not isinstance(provider, EarthEngineProvider)  # noqa: S101 - it has no engine
        return search(name, provider, collection, areas=areas, period=period, client=self.client(name), take=take)


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
        wheres = [{"bbox": list(box)} for box in sorted({b for area in areas for b in _split(area)})]
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


def _origin(name: str, url: str) -> str:
    try:
        return parsed(url).partition("?")[0].removesuffix(parsed(url).path)
    except AccessError as error:
        raise SettingError(f"provider {name!r}: {error.detail}") from None


def _split(box: BBox) -> tuple[BBox, ...]:
    west, south, east, north = box
    if west <= east:
        return (box,)
    return ((west, south, 180.0, north), (-180.0, south, east, north))


def _moment(when: date | datetime, *, last: bool) -> str:
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
        if last:
            when += timedelta(days=1) - timedelta(milliseconds=1)
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
