"""Starts the archives on loopback: STAC APIs, their files, and switches that take a provider down.

rasterio opens files with the interpreter's lock held: it cannot read from a server in its own thread process.
Clients built on GDAL's /vsicurl need the server, or themselves, in another process; urllib3 and obstore do not.
"""

from __future__ import annotations

import contextlib
import copy
import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

from testbed.archive import add_archive
from testbed.earthengine.planet import catalogue_of
from testbed.earthengine.protocol import EarthEngine
from testbed.server import Answer, Fault, Files, Hook, LogEntry, Request, Server
from testbed.stac_api import Catalogue, StacApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from testbed.archive.again import Rasters

Json = dict[str, Any]
EARTH_ENGINE = "earthengine"
"""Name under which Earth Engine is served and taken down; its address is the server's own."""
How = Literal["503", "reset"]


@dataclass(kw_only=True)
class Services:
    """A running server; a context manager that stops it."""

    server: Server
    """The HTTP server."""
    files: Files = field(default_factory=Files)
    """What is served as files."""
    catalogues: dict[str, Catalogue] = field(default_factory=dict)
    """Provider name -> what its API holds."""
    down: dict[str, How] = field(default_factory=dict)
    """Providers that are down now."""
    thread: threading.Thread | None = None
    earthengine: EarthEngine | None = None
    """Earth Engine at `base_url`, where it is served."""
    archive: Rasters | None = None
    """Rasters of other days and further products, where they are served."""
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What ends with the services."""

    def __post_init__(self) -> None:
        """Put the files behind every API and start answering."""
        self.server.routes.append(self.files)
        self.server.hooks.append(self._outage)
        self._listen()

    def _listen(self) -> None:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return int(self.server.server_address[1])

    @property
    def base_url(self) -> str:
        """'http://127.0.0.1:PORT', no slash at the end."""
        return f"http://{self.server.server_address[0]!s}:{self.port}"

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """All requests answered so far (GET /log gives them as JSON); never shortened."""
        with self.server.log_lock:
            return tuple(self.server.log)

    @property
    def faults(self) -> list[Hook]:
        """Hooks asked about every request; append and remove your own."""
        return self.server.hooks

    def stac_url(self, provider: str) -> str:
        """URL of a provider's STAC API.

        Raises:
            KeyError: no such provider.
        """
        return self.base_url + self.catalogues[provider].root

    def add(self, catalogue: Catalogue, files: Mapping[str, Path] | None = None) -> Catalogue:
        """Serve one more catalogue, and files with it.

        Args:
            catalogue: items; asset hrefs that are keys of `files` or start with '/' are served from here, others are
                left.
            files: key -> file or folder on disk. A key is a URL path ('/files/x.tif', for folders with '/' at the end)
                or an item's own href ('https://…/B02.tif', 's3://…'), then served below '/files/<name>/'.

        Returns:
            The catalogue served: a copy with rewritten hrefs, live (append to its `items`).
        """
        if any(c.root == catalogue.root for c in self.catalogues.values()) or catalogue.name in self.catalogues:
            raise ValueError(f"a catalogue {catalogue.name!r} or one at {catalogue.root!r} is served already")
        moved: dict[str, str] = {}
        for key, path in (files or {}).items():
            url_path = key if key.startswith("/") else self._place(catalogue.name, key)
            moved[key] = url_path
            if Path(path).is_dir():
                self.files.folders[url_path.rstrip("/") + "/"] = Path(path)
            else:
                self.files.single[url_path] = Path(path)
        served = copy.deepcopy(catalogue)
        for item in served.items:
            for asset in item["assets"].values():
                asset["href"] = moved.get(asset["href"], asset["href"])
        self.catalogues[served.name] = served
        self.server.routes.append(StacApi(catalogue=served, base_url=self.base_url))
        return served

    @staticmethod
    def _place(name: str, href: str) -> str:
        parts = urlsplit(href)
        return f"/files/{name}/{parts.netloc}/{parts.path.lstrip('/')}".replace("//", "/")

    def provider_of(self, path: str) -> str | None:
        """Which provider a URL path belongs to: its API root or '/files/<name>/'; Earth Engine's are '/v1/...'."""
        if self.earthengine is not None and path.startswith(("/v1/", "/$discovery/")):
            return EARTH_ENGINE
        for name, catalogue in self.catalogues.items():
            if path == catalogue.root or path.startswith((catalogue.root + "/", f"/files/{name}/")):
                return name
        return None

    def _outage(self, request: Request) -> Fault | None:
        how = self.down.get(self.provider_of(request.path) or "") or self.down.get("*")
        if how == "503":
            return Fault(status=503, body=b"Service Unavailable", headers={"Content-Type": "text/plain"})
        return Fault(reset=True) if how == "reset" else None

    def take_down(self, provider: str = "*", how: How = "503") -> None:
        """Take a provider (its API and files) down until `bring_up`; '*' = everything but /log.

        Raises:
            ValueError: no such provider.
        """
        known = [*sorted(self.catalogues), *([] if self.earthengine is None else [EARTH_ENGINE])]
        if provider != "*" and provider not in known:
            raise ValueError(f"no provider {provider!r}; there are {known}")
        self.down[provider] = how

    def bring_up(self, provider: str = "*") -> None:
        """Undo `take_down`; '*' = every provider."""
        if provider == "*":
            self.down.clear()
        self.down.pop(provider, None)

    def refuse(self) -> None:
        """Stop listening: connections to the port are refused until `listen`; open ones are cut."""
        self.server.shutdown()
        self.server.server_close()
        for connection in tuple(self.server.open_sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def listen(self) -> None:
        """Listen again on the same port after `refuse`."""
        old = self.server
        self.server = Server(self.port)
        self.server.routes, self.server.hooks, self.server.log = old.routes, old.hooks, old.log
        self._listen()

    def close(self) -> None:
        """Stop for good."""
        self.refuse()
        if self.thread is not None:
            self.thread.join(timeout=5)
        self.closing.close()

    def __enter__(self) -> Self:
        """Already running."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop."""
        self.close()


def serve_catalogue(
    items: Iterable[Json],
    files: Mapping[str, Path] | None = None,
    *,
    name: str = "catalogue",
    root: str = "/stac",
    address: tuple[str, int] = ("127.0.0.1", 0),
) -> Services:
    """Serve any STAC items and files: the API is at `Services.stac_url(name)`.

    Args:
        items: STAC item dicts; copied, hrefs rewritten on serving as `Services.add` says.
        files: URL path or item href -> file or folder on disk.
        name: provider name.
        root: URL path of the API.
        address: host and port to listen on, port 0 = any free one.
    """
    host, port = address
    services = Services(server=Server(port, host))
    services.add(Catalogue(name=name, root=root, items=list(items)), files)
    return services


def serve(
    folder: Path | str, port: int = 0, providers: Iterable[str] | None = None, *, archive: bool = False
) -> Services:
    """Serve a planet made by `make_planet`.

    Args:
        folder: the planet.
        port: port, 0 = any free one.
        providers: names of providers to serve, all of the planet's and Earth Engine if absent.
        archive: also serve ten years of passes and further products (`testbed.archive`).

    Raises:
        FileNotFoundError: the folder holds no whole planet.
    """
    folder = Path(folder)
    index = folder / "providers.json"
    if not index.is_file():
        raise FileNotFoundError(f"{folder} holds no planet; make one: python -m testbed make {folder}")
    known: dict[str, Json] = json.loads(index.read_text())
    providers = None if providers is None else list(providers)
    wanted = sorted(known) if providers is None else [name for name in providers if name != EARTH_ENGINE]
    services = Services(server=Server(port))
    services.files.folders["/osm/"] = folder / "osm"
    services.files.folders |= {f"/s3/{bucket}/": folder / "files" for bucket in ("eodata", "usgs-landsat")}
    services.server.routes.append(lambda request: _index(request, services))
    for name in wanted:
        items = [i for f in known[name]["items"] for i in json.loads((folder / f).read_text())]
        items = [_rooted(i, f"/files/{name}/") for i in items]
        collections = {c["id"]: c for c in json.loads((folder / known[name]["collections"]).read_text())}
        catalogue = Catalogue(
            name=name,
            root=known[name]["root"],
            items=items,
            collections=collections,
            merge_next=known[name]["merge_next"],
        )
        services.add(catalogue, {f"/files/{name}/": folder / "files"})
    if providers is None or EARTH_ENGINE in providers:
        services.earthengine = EarthEngine(catalogue=catalogue_of(folder))
        services.server.routes.append(services.earthengine.route)
    if archive:
        services.archive = add_archive(services, folder)
    return services


def _rooted(item: Json, prefix: str) -> Json:
    """A planet's item with its relative hrefs, alternate ones too, under the provider's own prefix."""

    def rooted(asset: Json) -> Json:
        href = asset["href"]
        made = asset if "://" in href or href.startswith("/") else asset | {"href": prefix + href}
        others = {name: rooted(other) for name, other in asset.get("alternate", {}).items()}
        return made | ({"alternate": others} if others else {})

    return item | {"assets": {key: rooted(asset) for key, asset in item["assets"].items()}}


def _index(request: Request, services: Services) -> Answer | None:
    if request.path != "/":
        return None
    roots = {n: services.stac_url(n) for n in services.catalogues}
    places = {"stac": roots, "osm": services.base_url + "/osm/planet.osm.pbf", "log": services.base_url + "/log"}
    return Answer.of(places | ({} if services.earthengine is None else {EARTH_ENGINE: services.base_url}))
