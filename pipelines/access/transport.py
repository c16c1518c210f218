"""One HTTP exchange over a connection that is kept: the standard library's client, redirects, and a deadline.

urllib3's pools cost three times the CPU of this for a small range (0.5 against 0.17 ms), and a reader of chips asks for
thousands. Retries, classes of errors and limits are `pipelines.access.http`'s.
"""

from __future__ import annotations

import ssl
import threading
import time
import zlib
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from urllib3.exceptions import LocationValueError
from urllib3.util import parse_url
from urllib3.util.wait import wait_for_read

from pipelines.access.deadline import Deadlines
from pipelines.access.failure import AccessError, shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from email.message import Message

_CONNECT_S = 10.0
"""A server that does not take a connection within this time is not there."""
_CHUNK_BYTES = 1 << 18
_LARGE_CHUNK_BYTES = 16 << 20
"""A body of known length comes in one piece up to this size: more than the largest merged range."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_ANYBODYS = frozenset({"accept", "accept-encoding", "content-type", "range", "user-agent"})
"""Headers that follow a redirect to another origin; credentials do not."""
_AGENT = {"User-Agent": "landweave/0.1"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, body and all."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a request goes."""

    secure: bool
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def origin(self) -> tuple[bool, str, int]:
        return (self.secure, self.host, self.port)


class Connections:
    """Connections to any host, kept between exchanges; shared by all threads of a worker."""

    def __init__(self, most: int, timeout_s: float) -> None:
        """At most `most` idle ones a host are kept; `timeout_s` bounds an exchange, redirects included."""
        self._most = most
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: dict[tuple[bool, str, int], list[HTTPConnection]] = {}
        self._deadlines = Deadlines(min(1.0, timeout_s / 10.0))
        self._tls: ssl.SSLContext | None = None
        self.bytes_received = 0
        """Body bytes read so far, those of failed exchanges included."""

    def clear(self) -> None:
        """Close idle connections."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection in (c for connections in idle.values() for c in connections):
            connection.close()

    def exchange(self, method: str, url: str, headers: dict[str, str], body: bytes | None, max_bytes: int) -> Answer:
        """Send a request and read its answer whole, following redirects.

        Raises:
            AccessError: CORRUPT where the body is larger than `max_bytes`, UNAVAILABLE past the deadline.
            HTTPException, OSError: the connection failed, or the body is shorter than its header says.
            LocationValueError: the address cannot be parsed.
        """
        headers = _AGENT | headers
        with self._deadlines.until(time.monotonic() + self._timeout_s) as watch:
            for _ in range(_MAX_REDIRECTS + 1):
                place = _place(url)
                connection = self._connection(place)
                done = False
                try:
                    if connection.sock is None:
                        connection.connect()
                        connection.sock.settimeout(self._timeout_s)  # type: ignore[attr-defined]
                    watch.socket = connection.sock
                    connection.request(method, place.target, body, headers)
                    response = connection.getresponse()
                    content = self._body(response, url, max_bytes, watch.deadline_s)
                    response.close()  # an answer without a body does not end by itself, and would hold the connection
                    done = not response.will_close
                finally:
                    watch.socket = None
                    if done:
                        self._keep(place, connection)
                    else:
                        connection.close()
                where = response.headers.get("Location")
                if response.status not in _REDIRECTS or where is None:
                    return Answer(response.status, response.headers, content)
                url = urljoin(url, where)
                if _place(url).origin != place.origin:
                    headers = {name: value for name, value in headers.items() if name.lower() in _ANYBODYS}
                if response.status == 303:
                    method, body = "GET", None
        raise HTTPException("too many redirects")

    def _connection(self, place: _Place) -> HTTPConnection:
        """A kept connection that the server has not closed, or a new one."""
        while True:
            with self._lock:
                idle = self._idle.get(place.origin)
                connection = idle.pop() if idle else None
            if connection is None:
                break
            if connection.sock is not None and not wait_for_read(connection.sock, timeout=0.0):
                return connection
            connection.close()
        connect_s = min(_CONNECT_S, self._timeout_s)
        if not place.secure:
            return HTTPConnection(place.host, place.port, timeout=connect_s)
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return HTTPSConnection(place.host, place.port, timeout=connect_s, context=self._tls)

    def _keep(self, place: _Place, connection: HTTPConnection) -> None:
        with self._lock:
            idle = self._idle.setdefault(place.origin, [])
            if len(idle) < self._most:
                idle.append(connection)
                return
        connection.close()

    def _body(self, response: HTTPResponse, url: str, max_bytes: int, deadline_s: float) -> bytes:
        """The body, undone of a Content-Encoding if it has one."""
        said = response.length  # None: chunked, or until the connection ends
        if said is not None and said > max_bytes:
            raise AccessError(Reason.CORRUPT, f"{shown(url)} is larger than {max_bytes} bytes")
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := _chunk(response, said, size):
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    raise AccessError(Reason.CORRUPT, f"{shown(url)} is larger than {max_bytes} bytes")
                if time.monotonic() > deadline_s:
                    break
        finally:
            with self._lock:
                self.bytes_received += size
        if time.monotonic() > deadline_s and size != said:  # cut: without a length it would look like its end
            raise AccessError(Reason.UNAVAILABLE, f"{shown(url)} took more than {self._timeout_s:g} s", retryable=True)
        if said is not None and size < said:
            raise IncompleteRead(b"", said - size)
        content = b"".join(chunks)
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        return content if coding in ("", "identity") else _unpacked(content, coding, url, max_bytes)


def _chunk(response: HTTPResponse, said: int | None, got_bytes: int) -> bytes:
    """The next bytes of a body, empty at its end."""
    if said is None:
        return response.read1(_CHUNK_BYTES)
    left = said - got_bytes
    return response.read(min(left, _LARGE_CHUNK_BYTES)) if left > 0 else b""


def _unpacked(content: bytes, coding: str, url: str, max_bytes: int) -> bytes:
    """A body that was stored packed, as static catalogues are: gzip or deflate, whatever was asked for."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise HTTPException(f"Content-Encoding {coding[:16]!r}")
    inflate = zlib.decompressobj(47)  # zlib or gzip, by their header
    try:
        plain = inflate.decompress(content, max_bytes + 1)
    except zlib.error:
        raise HTTPException("damaged Content-Encoding") from None
    if len(plain) > max_bytes:
        raise AccessError(Reason.CORRUPT, f"{shown(url)} is larger than {max_bytes} bytes")
    if not inflate.eof:
        raise HTTPException("cut Content-Encoding")
    return plain


@lru_cache(maxsize=4096)
def _place(url: str) -> _Place:
    parts = parse_url(url)
    if parts.scheme not in ("http", "https") or not parts.host:
        raise LocationValueError("neither http nor https")
    secure = parts.scheme == "https"
    return _Place(secure, parts.host, parts.port or (443 if secure else 80), parts.request_uri)
