"""A range server in its own process, too fast to limit the result; it counts requests and bytes.

`/d30/TAG/PATH` is the file PATH, its answer held back 30 ms; requests and bytes are counted for each TAG.
`/d30l125/TAG/PATH` comes over a link of 125 MB/s, which all connections of that TAG share.
`/d30/TAG/s2/TILE/DATE/BAND.tif` is `s2/TILE/BAND.tif`: a date costs no disk.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import re
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGE = re.compile(rb"\r\nrange:\s*bytes=(\d*)-(\d*)", re.IGNORECASE)
_TARGET = re.compile(r"/d(\d+)(?:l(\d+))?/([\w.-]+)/(.+)")
_DATED = re.compile(r"s2/(\w+)/[\w-]+/([\w-]+\.tif)")


class _Connection(asyncio.Protocol):
    """One client's connection: requests one after the other, HTTP/1.1 kept alive."""

    _links: ClassVar[dict[str, float]] = {}
    """Tag -> loop time at which its link is free again."""

    def __init__(self, home: Path, counts: dict[str, list[int]], files: dict[str, mmap.mmap]) -> None:
        self._home, self._counts, self._files = home, counts, files
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        method, target = head.split(b" ", 2)[:2]
        path = target.decode().split("?")[0]
        if path == "/_log":
            return self._send(b"200 OK", b"", memoryview(json.dumps(self._counts).encode()), 0.0)
        match = _TARGET.fullmatch(path)
        if match is None:
            return self._send(b"404 Not Found", b"", memoryview(b""), 0.0)
        delay_s = int(match.group(1)) / 1000
        count = self._counts.setdefault(match.group(3), [0, 0])
        count[0] += 1
        content = self._file(match.group(4))
        if content is None:
            return self._send(b"404 Not Found", b"", memoryview(b""), delay_s)
        if method == b"HEAD":
            return self._send(b"200 OK", _described(content), memoryview(b""), delay_s, len(content))
        status, more, body = _part(content, _RANGE.search(head))
        count[1] += len(body)
        if match.group(2):
            delay_s = self._on_the_link(match.group(3), delay_s, len(body) / (int(match.group(2)) * 1e6))
        return self._send(status, _described(content) + more, body, delay_s)

    def _on_the_link(self, tag: str, delay_s: float, takes_s: float) -> float:
        """Seconds until the answer has come over the tag's link, after all that was asked for before it."""
        now = asyncio.get_running_loop().time()
        self._links[tag] = max(self._links.get(tag, 0.0), now + delay_s) + takes_s
        return self._links[tag] - now

    def _file(self, name: str) -> mmap.mmap | None:
        name = _DATED.sub(r"s2/\1/\2", name)
        if name not in self._files:
            path = (self._home / name).resolve()
            if not path.is_relative_to(self._home) or not path.is_file():
                return None
            with path.open("rb") as file:
                self._files[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._files[name]

    def _send(self, status: bytes, more: bytes, body: memoryview, delay_s: float, length: int | None = None) -> None:
        size = len(body) if length is None else length
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%sContent-Type: image/tiff\r\n\r\n" % (status, size, more)

        def out() -> None:
            if not self._transport.is_closing():
                self._transport.write(head)
                if len(body):
                    self._transport.write(body)

        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, out)
        else:
            out()


def _described(content: mmap.mmap) -> bytes:
    return b'Accept-Ranges: bytes\r\nETag: "%x"\r\n' % len(content)


def _part(content: mmap.mmap, asked: re.Match[bytes] | None) -> tuple[bytes, bytes, memoryview]:
    """(status, headers, body) of a GET."""
    size = len(content)
    if asked is None:
        return b"200 OK", b"", memoryview(content)
    first = int(asked.group(1)) if asked.group(1) else max(0, size - int(asked.group(2)))
    last = min(int(asked.group(2)), size - 1) if asked.group(1) and asked.group(2) else size - 1
    if first >= size:
        return b"416 Range Not Satisfiable", b"Content-Range: bytes */%d\r\n" % size, memoryview(b"")
    said = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, size)
    return b"206 Partial Content", said, memoryview(content)[first : last + 1]


class Server:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, tag: str, latency_ms: int = 0, link_mb_s: int | None = None) -> str:
        """Where files are, as `tag` asks for them; a tag is used once."""
        link = "" if link_mb_s is None else f"l{link_mb_s}"
        return f"http://127.0.0.1:{self.port}/d{latency_ms}{link}/{tag}"

    def counted(self, tag: str) -> tuple[int, int]:
        """(requests, body bytes) of a tag."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_log") as answer:
            requests, size = json.load(answer).get(tag, (0, 0))
        return requests, size


@contextmanager
def serve(home: Path) -> Iterator[Server]:
    """Serve a folder from its own process, on loopback."""
    command = [sys.executable, "-m", "benchmarks.server", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None  # noqa: S101 - asked for
        try:
            yield Server(int(process.stdout.readline()))
        finally:
            process.terminate()


async def _run(home: Path) -> None:
    counts: dict[str, list[int]] = {}
    files: dict[str, mmap.mmap] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(home, counts, files), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(Path(sys.argv[1]).resolve()))
