"""A miniature Earth Engine on loopback that the real earthengine-api client cannot tell from the service.

catalogue = EeCatalogue([EeImage(id="ESA/WorldCover/v200/2021", bands={"Map": EeBand(paths=(tile,))}, start=...)])
with serve_earthengine(catalogue) as running:
    ee.Initialize(AnonymousCredentials(), url=running.base_url, project="testbed-project")
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.earthengine.catalogue import EeBand, EeCatalogue, EeImage
from testbed.earthengine.planet import catalogue_of
from testbed.earthengine.protocol import EarthEngine
from testbed.earthengine.quota import Limits, Quota
from testbed.earthengine.tokens import STS_PATH, TOKEN_PATH, Tokens
from testbed.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "STS_PATH",
    "TOKEN_PATH",
    "EarthEngine",
    "EeBand",
    "EeCatalogue",
    "EeImage",
    "Limits",
    "Quota",
    "Running",
    "Tokens",
    "catalogue_of",
    "serve_earthengine",
]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that answers now."""

    service: EarthEngine
    """The service behind it; its quota tells what was used."""
    server: Server
    """The HTTP server: `hooks` inject faults, `log` tells what was asked."""

    @property
    def port(self) -> int:
        """Port on 127.0.0.1."""
        return int(self.server.server_address[1])

    @property
    def base_url(self) -> str:
        """'http://127.0.0.1:PORT': the `url` of ee.Initialize."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serve_earthengine(
    catalogue: EeCatalogue,
    *,
    limits: Limits | None = None,
    tokens: Tokens | None = None,
    projects: frozenset[str] | None = None,
) -> Iterator[Running]:
    """Serve one Earth Engine until the block ends.

    Args:
        catalogue: What it holds; may grow while it is served.
        limits: Quota; 40 concurrent requests if None.
        tokens: Who may ask; everybody if None.
        projects: Cloud projects with the API enabled; all if None.
    """
    service = EarthEngine(catalogue=catalogue, limits=limits or Limits(), tokens=tokens, projects=projects)
    server = Server()
    server.routes.append(service.route)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Running(service=service, server=server)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
