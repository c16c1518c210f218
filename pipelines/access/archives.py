"""The archives of a recipe, as one worker reaches them: STAC and Earth Engine, searched and read in one way."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self

from pipelines.access.http.client import AccessError, Counters, SettingError, interpolate, parsed
from pipelines.access.http.folder import FolderClient, address_of, catalogue_of
from pipelines.access.logins.credentials import client_of, signer_of
from pipelines.access.rasters.cog import Reader
from pipelines.access.stac.paging import Take
from pipelines.access.stac.search import search
from schemas.earthengine import EarthEngineProvider
from schemas.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path

    from pipelines.access.chips import ChipReader
    from pipelines.access.earthengine.archive import EarthEngineArchive
    from pipelines.access.http.client import Client
    from pipelines.access.stac.search import Item
    from schemas.place import BBox
    from schemas.provider import AnyProvider


class Archives:
    """The providers of a recipe, as one worker reaches them: a client and a reader for each, made when first needed."""

    def __init__(self, providers: Mapping[str, AnyProvider], *, workers: int = 1, locks: Path | None = None) -> None:
        """`workers`: processes that share the providers' limits; `locks`: folder where they number themselves.

        A provider whose url is relative is a catalogue beside the recipe; its address in `providers` is then that of
        `pipelines.access.http.folder`.
        """
        self._beside = {n: p.url for n, p in providers.items() if isinstance(p, Provider) and p.is_beside}
        self.providers = {
            n: p.model_copy(update={"url": address_of(n, self._beside[n])}) if n in self._beside else p
            for n, p in providers.items()
        }
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
            if name in self._beside:
                catalogue_of(name, self._beside[name])
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
        """The same counters for each provider."""
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
            SettingError: its url names an environment variable that is not set, or a file that is not there.
        """
        with self._lock:
            if name not in self._clients:
                provider = self.providers[name]
                if isinstance(provider, EarthEngineProvider):
                    raise TypeError(f"provider {name!r} is Earth Engine, which needs its own client")
                if name in self._beside:
                    root = catalogue_of(name, self._beside[name]).parent
                    self._clients[name] = FolderClient(name, root, concurrency=provider.concurrency)
                else:
                    self._clients[name] = client_of(name, provider, workers=self._workers)
            return self._clients[name]

    def engine(self, name: str) -> EarthEngineArchive | None:
        """The Earth Engine archive, if this provider is Earth Engine."""
        provider = self.providers[name]
        if not isinstance(provider, EarthEngineProvider):
            return None
        from pipelines.access.earthengine.archive import EarthEngineArchive  # its client takes a second to import

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
        *,
        plain: bool = False,
    ) -> list[Any]:
        """`search` at a provider, by its name in the recipe; `plain`: Earth Engine's images as they are."""
        take = take or Take()
        if (engine := self.engine(name)) is not None:
            take.page()
            return [take.item(item) for item in engine.search(collection, areas, period, plain=plain)]
        provider = self.providers[name]
        assert not isinstance(provider, EarthEngineProvider)  # noqa: S101 - it has no engine
        return search(name, provider, collection, areas=areas, period=period, client=self.client(name), take=take)


def _origin(name: str, url: str) -> str:
    try:
        return parsed(url).partition("?")[0].removesuffix(parsed(url).path)
    except AccessError as error:
        raise SettingError(f"provider {name!r}: {error.detail}") from None
