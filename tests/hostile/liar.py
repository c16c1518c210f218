"""A server on loopback that says what a test wants, byte by byte if need be, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.body) if self.body else {}
        assert isinstance(found, dict)
        return found


class Talk(BaseHTTPRequestHandler):
    """What a test answers with."""

    protocol_version = "HTTP/1.1"
    asked: Asked

    def do_POST(self) -> None:
        server: Any = self.server
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, raw)
        server.liar.asked.append(self.asked)
        with contextlib.suppress(OSError):
            server.liar.say(self)

    def do_GET(self) -> None:
        self.do_POST()

    def send(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        """An honest frame around any body; underscores of header names are hyphens."""
        head = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        lines = [f"HTTP/1.1 {status} x", *(f"{k}: {v}" for k, v in head.items()), "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1") + body)

    def json(self, value: object, status: int = 200, **headers: str) -> None:
        self.send(json.dumps(value).encode("utf-8", "surrogatepass"), status, **headers)

    def raw(self, data: bytes) -> None:
        """Without any frame; the connection ends behind it."""
        self.close_connection = True
        self.wfile.write(data)

    def drip(self, first: bytes, each: bytes) -> None:
        """A little now and then, until the other side has had enough."""
        server: Any = self.server
        self.raw(first)
        while not server.liar.over.wait(0.05):
            self.wfile.write(each)

    def flood(self, first: bytes, each: bytes) -> None:
        """As much as the other side takes."""
        self.raw(first)
        while True:
            self.wfile.write(each)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Liar:
    """The server, while it runs."""

    url: str
    say: Callable[[Talk], None]
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def liar(say: Callable[[Talk], None] = lambda talk: talk.send(b"{}"), host: str = "127.0.0.1") -> Iterator[Liar]:
    """Serve on a free port of an address of this machine."""
    server: Any = ThreadingHTTPServer((host, 0), Talk)
    server.daemon_threads = True
    server.liar = Liar(f"http://{host}:{server.server_address[1]}", say)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.liar
    finally:
        server.liar.over.set()
        server.shutdown()
        server.server_close()
