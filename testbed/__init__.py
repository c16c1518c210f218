"""A miniature Earth made from a seed, and the services that publish it on loopback.

`make_planet` writes it, `serve` puts it behind a STAC API with HTTP ranges, `serve_catalogue` does the same for any
items and files; `testbed.llm` is a language model server that misbehaves on request.
"""

from __future__ import annotations

from testbed.planet import make_planet
from testbed.server import Fault, Files, LogEntry, Request
from testbed.services import Services, serve, serve_catalogue
from testbed.stac_api import Catalogue

__all__ = ["Catalogue", "Fault", "Files", "LogEntry", "Request", "Services", "make_planet", "serve", "serve_catalogue"]
