"""Serves a dataset's catalogue as a STAC API 1.0, read-only.

stac-fastapi (https://github.com/stac-utils/stac-fastapi) brings the protocol: routes, models, conformance. What is
answered comes from the catalogue through the reader's own queries (`landweave.stac`). Assets link to the dataset's
files, which the same server delivers below /files if the dataset is a local folder.
"""

from __future__ import annotations

import logging
import socket
import warnings
from typing import TYPE_CHECKING, Any

from landweave.errors import AccessError, needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from landweave.dataset import Dataset


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 means any free port.

    Raises:
        AccessError: the address is taken or not one of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise AccessError(f"cannot listen on {host}:{port}: {why}; choose another --port") from error


def application_of(dataset: Dataset) -> Any:
    """The ASGI application, for any ASGI server.

    Raises:
        ModuleNotFoundError: the extra `[serve]` is not installed.
    """
    for module in ("uvicorn", "stac_fastapi.api", "stac_fastapi.extensions", "cql2", "shapely"):
        needed(module, "serve", "a STAC API")
    # they warn of names that `application` sets and of routes of theirs, and log each mistake of a client
    logging.getLogger("stac_fastapi").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Duplicate Operation ID", module="fastapi")
    from landweave.serve_app import application

    return application(dataset)


def serve(dataset: Dataset, host: str, port: int, say: Any) -> None:
    """Serve until the process is interrupted. `say` gets the address as one line."""
    run(application_of(dataset), host, port, lambda address: say(f"STAC API of {dataset.spec.name}: {address}"))


def run(app: Any, host: str, port: int, say: Callable[[str], None]) -> None:
    """Run an ASGI application until the process is interrupted.

    Args:
        app: the application.
        host: address to listen on.
        port: 0 = any free one.
        say: called with the URL and how to stop, once it answers.

    Raises:
        ModuleNotFoundError: uvicorn is not installed. AccessError: the address is taken or not one of this machine.
    """
    import uvicorn

    with listening(host, port) as taken:
        name = f"[{host}]" if ":" in host else host
        say(f"http://{name}:{taken.getsockname()[1]}/ (stop with Ctrl-C)")
        settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=30)
        uvicorn.Server(settings).run(sockets=[taken])
