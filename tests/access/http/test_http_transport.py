"""Connections are kept, redirects carry no credentials to strangers, and bodies are whole or an error."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.access.http.client import AccessError, Client
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = bytes(range(256)) * 64


class _Signer:
    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:  # noqa: ARG002
        return url, {"Authorization": "Bearer secret", "X-Key": "secret"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        seen: Any = self.server
        seen.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, self.client_address))
        name = self.path.split("/")[1]
        if name == "away":
            self._answer(302, b"", Location=f"{seen.other}/whole")
        elif name == "round":
            self._answer(307, b"", Location="/round")
        elif name == "empty":
            self._answer(int(self.path.split("/")[2]), b"")
        elif name == "packed":
            self._answer(200, gzip.compress(b'{"a": 1}'), **{"Content-Encoding": "gzip"})
        elif name == "bomb":
            self._answer(200, gzip.compress(bytes(1 << 24)), **{"Content-Encoding": "gzip"})
        else:
            self._answer(200, BODY)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def servers() -> Iterator[tuple[Any, Any]]:
    made: list[Any] = [ThreadingHTTPServer(("127.0.0.1", 0), _Handler) for _ in range(2)]
    for server, other in zip(made, reversed(made), strict=True):
        server.asked, server.other = [], f"http://127.0.0.1:{other.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made[0], made[1]
    for server in made:
        server.shutdown()
        server.server_close()


def url(server: Any, name: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


def test_one_connection_serves_many_requests(servers: tuple[Any, Any]) -> None:
    client = Client(retries=0)
    for _ in range(5):
        assert client.get_range(url(servers[0], "whole"), 3, 40).data == BODY[3:43]
    client.close()
    assert len({address for _, _, address in servers[0].asked}) == 1
    assert client.counters.requests == 5
    assert client.counters.bytes_received == 5 * len(BODY)


@pytest.mark.parametrize("status", [200, 404, 429, 503])
def test_an_answer_without_a_body_leaves_the_connection_as_good(status: int, servers: tuple[Any, Any]) -> None:
    client = Client(retries=0)
    for _ in range(3):
        if status == 200:
            assert client.get_all(url(servers[0], "empty/200"), 10) == b""
        else:
            with pytest.raises(AccessError, match=f"HTTP {status}"):
                client.get_all(url(servers[0], f"empty/{status}"), 10)
        assert client.get_range(url(servers[0], "whole"), 3, 40).data == BODY[3:43]
    client.close()
    assert len({address for _, _, address in servers[0].asked}) == 1


def test_a_redirect_to_another_origin_takes_no_credentials_along(servers: tuple[Any, Any]) -> None:
    client = Client(retries=0, signer=_Signer())
    assert client.get_range(url(servers[0], "away"), 0, 10).data == BODY[:10]
    client.close()
    assert servers[0].asked[0][1]["authorization"] == "Bearer secret"
    ((path, headers, _),) = servers[1].asked
    assert path == "/whole"
    assert "secret" not in str(headers)
    assert headers["range"] == "bytes=0-9"


def test_redirects_in_a_circle_end(servers: tuple[Any, Any]) -> None:
    client = Client(retries=0)
    with pytest.raises(AccessError) as error:
        client.get_all(url(servers[0], "round"), 1000)
    client.close()
    assert error.value.reason is Reason.UNAVAILABLE


def test_packed_json_is_read_and_a_bomb_is_not(servers: tuple[Any, Any]) -> None:
    client = Client(retries=0)
    assert client.json("GET", url(servers[0], "packed")) == {"a": 1}
    with pytest.raises(AccessError) as error:
        client.get_all(url(servers[0], "bomb"), 1 << 20)
    client.close()
    assert error.value.reason is Reason.CORRUPT
