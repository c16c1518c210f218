"""A threaded HTTP/1.1 keep-alive server on loopback with an append-only log and hooks that inject faults."""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from testbed.messages import Answer, Fault, Hook, Json, LogEntry, Request, Route
from testbed.ranges import content_type, file_answer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Answer", "Fault", "Files", "Hook", "LogEntry", "Request", "Route", "Server"]

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Largest request body taken, bytes."""


@dataclass(kw_only=True)
class Files:
    """Which URL paths are files: single ones, and folders under a prefix ending in '/'."""

    single: dict[str, Path] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)

    def find(self, path: str) -> Path | None:
        """The file behind a URL path; None if there is none or the path leaves its folder."""
        if path in self.single:
            return self.single[path]
        for prefix, folder in self.folders.items():
            if path.startswith(prefix):
                root = folder.resolve()
                found = (root / path[len(prefix) :]).resolve() if "\0" not in path else root
                if found.is_relative_to(root) and found.is_file():
                    return found
        return None

    def __call__(self, request: Request) -> Answer | None:
        """Answer with the file, honouring Range, If-Range, If-Match and If-None-Match."""
        found = self.find(request.path)
        if found is None or not found.is_file():
            return None
        if request.method not in ("GET", "HEAD"):
            return Answer.error(405, f"{request.method} is not allowed here, use GET or HEAD")
        status, body, headers = file_answer(
            found, request.headers, content_type(request.path), request.method == "HEAD"
        )
        return Answer(status=status, body=body, headers=headers)


class Server(ThreadingHTTPServer):
    """The server: routes in order, then 404."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen.

        Args:
            port: port, 0 = any free one.
            host: address of this machine, or of a network namespace that this process is in.
        """
        self.routes: list[Route] = []
        self.hooks: list[Hook] = []
        self.log: list[LogEntry] = []
        self.log_lock = threading.Lock()
        self.open_sockets: set[socket.socket] = set()
        super().__init__((host, port), _Handler)

    def note(self, entry: LogEntry) -> int:
        """Append to the log; the entry's place."""
        with self.log_lock:
            self.log.append(entry)
            return len(self.log) - 1

    def settle(self, at: int, sent: int) -> None:
        """Write into an entry what was really sent, and when that was done."""
        with self.log_lock:
            self.log[at] = replace(self.log[at], bytes=sent, ended_s=time.monotonic())

    def log_json(self) -> list[Json]:
        """The log so far."""
        with self.log_lock:
            return [asdict(e) for e in self.log]

    def answer(self, request: Request) -> Answer:
        """The right answer, before any fault."""
        for route in self.routes:
            found = route(request)
            if found is not None:
                return found
        return Answer.error(404, f"nothing is at {request.path}")

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the game."""
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 120
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.open_sockets.add(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.open_sockets.discard(self.connection)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        del format, args

    def _request(self) -> Request | None:
        text = self.headers.get("Content-Length", "0")
        length = int(text) if text.isdigit() else -1
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            self._send(Answer.error(413, f"Content-Length {text!r} is not within 0..{MAX_BODY_BYTES}"), head=False)
            return None
        parts = urlsplit(self.path)
        return Request(
            method=self.command,
            path=unquote(parts.path),
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers={k.lower(): v for k, v in self.headers.items()},
            body=self.rfile.read(length),
        )

    def _send(self, answer: Answer, *, head: bool, fault: Fault | None = None) -> int:
        fault = fault or Fault()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if head or answer.status in (204, 304):
            return 0
        body = answer.body[: max(0, len(answer.body) - fault.short_by_bytes)]
        if fault.pause_at is not None:
            self.wfile.write(body[: fault.pause_at])
            self.wfile.flush()
            time.sleep(fault.pause_s)
            self.wfile.write(body[fault.pause_at :])
        else:
            self.wfile.write(body)
        self.wfile.flush()
        if fault.short_by_bytes:
            self.close_connection = True
        return len(body)

    def _serve(self) -> None:
        started = time.monotonic()
        request = self._request()
        if request is None:
            return
        if request.path == "/log":
            self._send(Answer.of(self.server.log_json()), head=self.command == "HEAD")
            return
        fault = next((f for f in (hook(request) for hook in self.server.hooks) if f is not None), Fault())
        if fault.delay_s:
            time.sleep(fault.delay_s)
        entry = LogEntry(
            method=request.method,
            path=request.path,
            query=urlsplit(self.path).query,
            range=request.range,
            status=0,
            bytes=0,
            started_s=started,
            ended_s=time.monotonic(),
        )
        if fault.reset:
            self.server.note(entry)
            self._reset()
            return
        answer = self._answer(request, fault)
        # noted before the first byte leaves, so that a client that has its answer finds it in the log
        at = self.server.note(replace(entry, status=answer.status, bytes=len(answer.body), ended_s=time.monotonic()))
        sent = 0
        try:
            sent = self._send(answer, head=self.command == "HEAD", fault=fault)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        finally:
            self.server.settle(at, sent)

    def _answer(self, request: Request, fault: Fault) -> Answer:
        if fault.status is not None:
            answer = Answer(status=fault.status, body=fault.body)
        else:
            try:
                answer = self.server.answer(request)
            except Exception as error:  # noqa: BLE001 - a server answers 500 and lives on
                answer = Answer.error(500, f"{type(error).__name__}: {error}")
        if fault.change is not None:
            answer = fault.change(answer)
        answer.headers.update(fault.headers)
        return answer

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815 - http.server's names
