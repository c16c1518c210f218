"""An S3-protocol store whose listings lag: what was put is not listed yet, what was removed is listed still."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ENTRY = re.compile(rb"<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", re.DOTALL)


class Lagging:
    """A WSGI application in front of another."""

    def __init__(self, inner: Any, lag_s: float) -> None:
        self.inner, self.lag_s = inner, lag_s
        self.put: dict[bytes, float] = {}
        self.removed: dict[bytes, float] = {}
        self.entries: dict[bytes, bytes] = {}
        self.hidden = 0
        """Entries that a listing should have had."""

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = environ["PATH_INFO"].lstrip("/").partition("/")[2].encode()
        if environ["REQUEST_METHOD"] == "PUT" and key:
            self.put.setdefault(key, time.monotonic())
            self.removed.pop(key, None)
        if environ["REQUEST_METHOD"] == "DELETE":
            self.removed[key] = time.monotonic()
            self.put.pop(key, None)
        if environ["REQUEST_METHOD"] != "GET" or "list-type=2" not in environ["QUERY_STRING"]:
            return self.inner(environ, start)  # type: ignore[no-any-return]
        told: list[Any] = []
        body = b"".join(self.inner(environ, lambda status, headers, *_: told.append((status, headers))))
        late = self.late(body)
        status, headers = told[-1]
        start(
            status, [(k, v) for k, v in headers if k.lower() != "content-length"] + [("Content-Length", str(len(late)))]
        )
        return [late]

    def late(self, body: bytes) -> bytes:
        now = time.monotonic()
        for match in ENTRY.finditer(body):
            self.entries[match[1]] = match[0]

        def shown(match: re.Match[bytes]) -> bytes:
            if now - self.put.get(match[1], 0.0) > self.lag_s:
                return match[0]
            self.hidden += 1
            return b""

        kept = ENTRY.sub(shown, body)
        ghosts = [self.entries[k] for k, when in self.removed.items() if now - when < self.lag_s and k in self.entries]
        return kept.replace(b"</ListBucketResult>", b"".join(ghosts) + b"</ListBucketResult>")


@contextmanager
def serve(lag_s: float) -> Iterator[tuple[str, Lagging]]:
    """(endpoint on loopback, the application)."""
    application = Lagging(DomainDispatcherApplication(create_backend_app), lag_s)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", application
    finally:
        server.shutdown()
        server.server_close()
