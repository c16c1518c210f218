"""A range server in its own process, too fast to limit the result; it counts requests and bytes.

`/d30/TAG/PATH` is the file PATH, its answer held back 30 ms; requests and bytes are counted for each TAG.
`/d30l125/TAG/PATH` comes over a link of 125 MB/s, which all connections of that TAG share.
`/d30t/TAG/PATH` answers as a bucket does: 98 of 100 requests wait a time of a lognormal distribution (median 30 ms,
sigma 0.35: 99 of 100 of them below 68 ms), one of 100 waits 2 s, and one of 100 never gets an answer. `/d30w/TAG/PATH`
has a wide distribution (median 30 ms, 99 of 100 below 2 s), and one of 100 never gets an answer.
PATH below a folder with a `repeated.json` may be an object of a shard that the server makes (`benchmarks.repeated`).
`/d30/TAG/s2/TILE/DATE/BAND.tif` is `s2/TILE/BAND.tif`: a date costs no disk.
"""

from __future__ import annotations

import asyncio
import json
import math
import mmap
import random
import re
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from benchmarks.repeated import Repeated, repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RANGE = re.compile(rb"\r\nrange:\s*bytes=(\d*)-(\d*)", re.IGNORECASE)
_TARGET = re.compile(r"/d(\d+)(?:l(\d+))?([tw]?)/([\w.-]+)/(.+)")
_SLOW_S, _STALLS, _SLOW = 2.0, 0.01, 0.01
_JOINED = 1 << 16
"""Bodies of at most this many bytes are copied behind their heads: a system call costs more."""
_SIGMA = 0.35
"""Of the logarithm of the wait of requests that are neither slow nor stalled."""
Content = mmap.mmap | Repeated
_DATED = re.compile(r"s2/(\w+)/[\w-]+/([\w-]+\.tif)")


class _Connection(asyncio.Protocol):
    """One client's connection: requests one after the other, HTTP/1.1 kept alive."""

    _links: ClassVar[dict[str, float]] = {}
    """Tag -> loop time at which its link is free again."""

    _dice: ClassVar[dict[str, random.Random]] = {}
    """Tag -> what decides how long each of its requests waits."""

    def __init__(self, home: Path, counts: dict[str, list[int]], files: dict[str, Content]) -> None:
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
        if path == "/_busy":
            return self._send(b"200 OK", b"", memoryview(repr(time.process_time()).encode()), 0.0)
        if path == "/_log":
            return self._send(b"200 OK", b"", memoryview(json.dumps(self._counts).encode()), 0.0)
        match = _TARGET.fullmatch(path)
        if match is None:
            return self._send(b"404 Not Found", b"", memoryview(b""), 0.0)
        tag, name = match.group(4), match.group(5)
        delay_s = self._delay_s(int(match.group(1)) / 1000, match.group(3), tag)
        count = self._counts.setdefault(tag, [0, 0])
        count[0] += 1
        content = self._file(name)
        if content is None:
            return self._send(b"404 Not Found", b"", memoryview(b""), delay_s)
        if method == b"HEAD":
            return self._send(b"200 OK", _described(content), memoryview(b""), delay_s, len(content))
        status, more, body = _part(content, _RANGE.search(head))
        out = partial(self._counted, count, status, _described(content) + more, body)
        if match.group(2):
            out = partial(self._over_the_link, tag, len(body) / (int(match.group(2)) * 1e6), out)
        return self._later(delay_s, out)

    def _delay_s(self, median_s: float, kind: str, tag: str) -> float:
        """How long a request waits; infinite: for ever."""
        if not kind:
            return median_s
        dice = self._dice.setdefault(tag, random.Random(tag))
        drawn = dice.random()
        if drawn < _STALLS:
            return math.inf
        if kind == "w":
            return median_s * math.exp(dice.gauss(0, math.log(_SLOW_S / median_s) / 2.326))
        return _SLOW_S if drawn < _STALLS + _SLOW else median_s * math.exp(dice.gauss(0, _SIGMA))

    def _over_the_link(self, tag: str, takes_s: float, out: Callable[[], None]) -> None:
        """Send an answer when it has come over the tag's link, after all that were ready before it."""
        now = asyncio.get_running_loop().time()
        self._links[tag] = max(self._links.get(tag, 0.0), now) + takes_s
        self._later(self._links[tag] - now, out)

    def _later(self, delay_s: float, out: Callable[[], None]) -> None:
        """Call after some time; never if that is infinite."""
        if math.isinf(delay_s):
            return
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, out)
        else:
            out()

    def _counted(self, count: list[int], status: bytes, more: bytes, body: memoryview) -> None:
        """Send a body, and count it if the client is still there."""
        if not self._transport.is_closing():
            count[1] += len(body)
            self._send(status, more, body, 0.0)

    def _file(self, name: str) -> Content | None:
        name = _DATED.sub(r"s2/\1/\2", name)
        if name not in self._files:
            made = repeated(self._home, name)
            if made is not None:
                return made
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
            if not self._transport.is_closing() and len(body) <= _JOINED:
                self._transport.write(head + body)
            elif not self._transport.is_closing():
                self._transport.write(head)
                self._transport.write(body)

        self._later(delay_s, out)


def _described(content: Content) -> bytes:
    return b'Accept-Ranges: bytes\r\nETag: "%x"\r\n' % len(content)


def _part(content: Content, asked: re.Match[bytes] | None) -> tuple[bytes, bytes, memoryview]:
    """(status, headers, body) of a GET."""
    size = len(content)
    if asked is None:
        return b"200 OK", b"", _cut(content, 0, size)
    first = int(asked.group(1)) if asked.group(1) else max(0, size - int(asked.group(2)))
    last = min(int(asked.group(2)), size - 1) if asked.group(1) and asked.group(2) else size - 1
    if first >= size:
        return b"416 Range Not Satisfiable", b"Content-Range: bytes */%d\r\n" % size, memoryview(b"")
    said = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, size)
    return b"206 Partial Content", said, _cut(content, first, last + 1)


def _cut(content: Content, start: int, stop: int) -> memoryview:
    return content.part(start, stop) if isinstance(content, Repeated) else memoryview(content)[start:stop]


class Server:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, tag: str, latency_ms: int = 0, link_mb_s: int | None = None, kind: Literal["", "t", "w"] = "") -> str:
        """Where files are, as `tag` asks for them; a tag is used once. `kind`: 't' and 'w' as the module says."""
        link = "" if link_mb_s is None else f"l{link_mb_s}"
        return f"http://127.0.0.1:{self.port}/d{latency_ms}{link}{kind}/{tag}"

    def counted(self, tag: str) -> tuple[int, int]:
        """(requests, body bytes) of a tag."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_log") as answer:
            requests, size = json.load(answer).get(tag, (0, 0))
        return requests, size

    def busy_s(self) -> float:
        """CPU seconds of the server so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_busy") as answer:
            return float(answer.read())


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
    files: dict[str, Content] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(home, counts, files), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(Path(sys.argv[1]).resolve()))
