"""https: a server's certificate is verified before anything is said to it, and deadlines hold there too."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipelines.access.http.client import AccessError, Client
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = bytes(range(256))
HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")


def certificate(folder: Path, name: str, where: x509.GeneralName) -> Path:
    """A self-signed certificate and its key in one PEM file: its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([where]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(plain + made.public_bytes(serialization.Encoding.PEM))
    return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        seen: Any = self.server
        seen.asked.append((self.path, self.client_address))
        if self.path.startswith("/drip"):
            self.wfile.write(b"HTTP/1.1 200 x\r\nContent-Length: 999\r\n\r\n")
            while not seen.over.wait(0.1):
                self.wfile.write(b"X")
                seen.dripped += 1
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pem: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Any] = []
        self.over = threading.Event()
        self.dripped = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: Any) -> None:
        """Handshakes that the client breaks off are what is wanted."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, tuple[_Server, Path]]]:
    found = {}
    for name, where in (("here", HERE), ("elsewhere", ELSEWHERE)):
        pem = certificate(tmp_path, name, where)
        found[name] = (_Server(pem), pem)
        threading.Thread(target=found[name][0].serve_forever, daemon=True).start()
    yield found
    for server, _ in found.values():
        server.over.set()
        server.shutdown()
        server.server_close()


def refused(url: str) -> AccessError:
    client = Client(retries=1, timeout_s=1.0, backoff_s=0.001)
    with pytest.raises(AccessError) as caught:
        client.get_range(f"{url}?sig=secret", 0, 10)
    client.close()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert "secret" not in str(caught.value)
    return caught.value


def test_a_server_that_nobody_vouches_for_is_told_nothing(servers: dict[str, tuple[_Server, Path]]) -> None:
    server, _ = servers["here"]
    assert "SSLCertVerificationError" in str(refused(f"{server.url}/a"))
    assert not server.asked


def test_an_authority_named_by_the_environment_is_believed(
    servers: dict[str, tuple[_Server, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pem = servers["here"]
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    client = Client(retries=0)
    for _ in range(3):
        assert client.get_range(f"{server.url}/a", 5, 20).data == BODY[5:25]
    client.close()
    assert len({address for _, address in server.asked}) == 1, "the connection is kept"


def test_a_certificate_of_another_host_is_refused(
    servers: dict[str, tuple[_Server, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pem = servers["elsewhere"]
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    assert "SSLCertVerificationError" in str(refused(f"{server.url}/a"))
    assert not server.asked


@pytest.mark.slow
def test_a_server_that_drips_is_cut_at_the_deadline(
    servers: dict[str, tuple[_Server, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pem = servers["here"]
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    refused(f"{server.url}/drip")
    assert server.dripped < 500, "of 999 bytes: the client left long before the end"


@pytest.mark.slow
def test_a_server_that_never_shakes_hands_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refused(f"https://127.0.0.1:{listener.getsockname()[1]}/a")  # or the test's timeout ends it
