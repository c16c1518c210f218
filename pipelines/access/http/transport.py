"""One HTTP exchange over a persistent connection: the standard library's client, redirects, and a deadline.

urllib3's pools take three times the CPU of this for a small range (0.5 against 0.17 ms), and a reader of chips requests
thousands. Retries, classes of errors and limits are `pipelines.access.http.client`'s.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING

from urllib3.util.wait import wait_for_read

from pipelines.access.errors import AccessError
from pipelines.access.http.address import Url, joined, shown
from pipelines.access.http.body import read_body
from pipelines.access.http.deadline import Deadlines
from pipelines.access.http.network import Homes
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message

    from pipelines.access.http.body import Wanted
    from pipelines.access.http.deadline import Watch

_CONNECT_S = 10.0
"""A server that does not take a connection within this time is not there."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_ANYBODYS = frozenset({"accept", "accept-encoding", "content-type", "range", "user-agent"})
"""Headers that follow a redirect to another origin; credentials do not."""
_AGENT = {"User-Agent": "landweave/0.1"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its body."""

    status: int
    headers: Message
    body: bytes
    """The body, or the requested part of it."""
    whole: bool = True
    """False: `body` is a part of what was sent."""
    size: int | None = None
    """Bytes of the whole body, where that is known."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request."""

    method: str
    url: Url
    headers: dict[str, str]
    body: bytes | None
    wanted: Wanted
    follow: bool = True
    """Whether redirects are followed."""


class Connections:
    """Connections to any host, kept between exchanges; shared by all threads of a worker."""

    def __init__(self, most: int, timeout_s: float, homes: Homes | None = None) -> None:
        """At most `most` idle ones per host are kept; `timeout_s` bounds an exchange, redirects included.

        `homes`: where the service lives. With none, each address that is asked for is its own home.
        """
        self._most = most
        self._timeout_s = timeout_s
        self._homes = homes
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, int], list[HTTPConnection]] = {}
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

    def exchange(self, request: Request) -> Answer:
        """Send a request and read its answer, following redirects.

        Raises:
            AccessError: CORRUPT if the body is larger than it may be, UNAVAILABLE past the deadline or where a
                redirect leads nowhere good, BAD_ITEM if the host is in a network that is not the service's.
            HTTPException, OSError: the connection failed, or the body is shorter than its header states.
        """
        homes = self._homes or Homes((request.url,))
        request = replace(request, headers=_AGENT | request.headers)
        with self._deadlines.until(time.monotonic() + self._timeout_s) as watch:
            for _ in range(_MAX_REDIRECTS + 1):
                answer = self._one(request, homes, watch)
                where = answer.headers.get("Location")
                if not request.follow or answer.status not in _REDIRECTS or where is None:
                    return answer
                request = _redirected(request, answer.status, where, roams=homes.roams)
        raise HTTPException("too many redirects")

    def _one(self, request: Request, homes: Homes, watch: Watch) -> Answer:
        """One request and its answer, on a connection that is kept if it can be."""
        url = request.url
        connection = self._connection(url)
        done = False
        try:
            if connection.sock is None:
                self._connect(connection, homes, url, watch)
            watch.socket = connection.sock
            connection.request(request.method, url.target, request.body, request.headers)
            response = connection.getresponse()
            answer, at_end = self._answer(response, request, watch.deadline_s)
            response.close()  # an answer without a body does not end by itself, and would hold the connection
            done = at_end and not response.will_close
            return answer
        finally:
            watch.socket = None
            if done:
                self._keep(url, connection)
            else:
                connection.close()

    def _answer(self, response: HTTPResponse, request: Request, deadline_s: float) -> tuple[Answer, bool]:
        """The answer, and whether its body was read to its end."""
        received = [0]
        try:
            got = read_body(response, request.wanted, deadline_s, received)
        except TimeoutError:
            why = f"{shown(request.url)} took more than {self._timeout_s:g} s"
            raise AccessError(Reason.UNAVAILABLE, why, retryable=True) from None
        except AccessError as error:
            raise AccessError(error.reason, f"{shown(request.url)} {error.detail}", retryable=error.retryable) from None
        finally:
            with self._lock:
                self.bytes_received += received[0]
        return Answer(response.status, response.headers, got.data, got.whole, got.size), got.at_end

    def _connection(self, url: Url) -> HTTPConnection:
        """A kept connection that the server has not closed, or a new one that is not connected."""
        while True:
            with self._lock:
                idle = self._idle.get(url.origin)
                connection = idle.pop() if idle else None
            if connection is None:
                break
            if connection.sock is not None and not wait_for_read(connection.sock, timeout=0.0):
                return connection
            connection.close()
        if url.scheme != "https":
            return HTTPConnection(url.host, url.port)
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return HTTPSConnection(url.host, url.port, context=self._tls)

    def _connect(self, connection: HTTPConnection, homes: Homes, url: Url, watch: Watch) -> None:
        """Connect to one of the addresses that were judged, and to no other."""
        made = _opened(homes.addresses(url), min(_CONNECT_S, self._timeout_s), watch.deadline_s)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = made
        if url.scheme == "https":
            assert self._tls is not None  # noqa: S101 - `_connection` made it
            secure = self._tls.wrap_socket(made, server_hostname=url.host, do_handshake_on_connect=False)
            connection.sock = watch.socket = secure
            secure.do_handshake()
        connection.sock.settimeout(self._timeout_s)

    def _keep(self, url: Url, connection: HTTPConnection) -> None:
        with self._lock:
            idle = self._idle.setdefault(url.origin, [])
            if len(idle) < self._most:
                idle.append(connection)
                return
        connection.close()


def _redirected(request: Request, status: int, where: str, *, roams: bool) -> Request:
    """The request that a redirect asks for.

    Raises:
        AccessError: it leads to no address, out of encryption, or away where that is not allowed.
    """
    origin = shown(request.url)
    try:
        url = joined(request.url, where)
    except AccessError as error:
        raise AccessError(Reason.UNAVAILABLE, f"{origin} redirects, but {error.detail}") from None
    if url.scheme not in ("http", "https") or (request.url.scheme, url.scheme) == ("https", "http"):
        raise AccessError(Reason.UNAVAILABLE, f"{origin} redirects to {shown(url)} without encryption: not followed")
    headers = request.headers
    if url.origin != request.url.origin:
        if not roams:
            raise AccessError(Reason.UNAVAILABLE, f"{origin} redirects to {shown(url)}, another host: not followed")
        headers = {name: value for name, value in headers.items() if name.lower() in _ANYBODYS}
    if status == 303:
        return replace(request, method="GET", url=url, headers=headers, body=None)
    return replace(request, url=url, headers=headers)


def _opened(addresses: Sequence[tuple[str, int]], connect_s: float, deadline_s: float) -> socket.socket:
    """A connection to the first address that takes one."""
    problem: OSError = TimeoutError()
    for address in addresses:
        try:
            return socket.create_connection(address, connect_s)
        except OSError as error:
            problem = error
        if time.monotonic() > deadline_s:
            break
    raise problem
