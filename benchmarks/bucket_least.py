"""What this machine can do with the answers of `benchmarks.server`: the same ranges as a stream reads, and no decoding.

    python -m benchmarks.bucket_least '{"place": URL, "over": URL OF A LINK, "batches": 32, "how": "sockets"}'

The reader's own stream says which ranges, from PLACE. Then they are received over the link, 128 at a time: by plain
sockets, which throw the bytes away, or by obstore, which the reader uses. Prints seconds, CPU and bytes as JSON.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import landweave
from benchmarks.bucket_use import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Range = tuple[str, int, int]
_AT_ONCE = 128


def ranges_of(place: str, batches: int) -> list[Range]:
    """(path, start, length) of the chunks and records that the first batches of a shuffled stream ask for."""
    data = landweave.open(place)
    store: Any = data.store
    found: list[Range] = []
    ask = store.asker.ask

    def noted(send: Any, size: int) -> Any:
        if hasattr(send, "keywords"):  # a range
            found.append((send.args[1], send.keywords["start"], send.keywords["length"]))
        return ask(send, size)

    store.asker.ask = noted
    for number, _ in enumerate(data.stream(batch_size=BATCH, shuffle=True, seed=7)):
        if number + 1 == batches:
            break
    return [one for one in found if not one[0].startswith("catalogue/")]


class _Connection:
    """Asks for one range after the other; the bytes are thrown away."""

    def __init__(self, url: str, wanted: Iterator[Range], memory: memoryview) -> None:
        where = urlsplit(url)
        self._prefix, self._wanted, self._memory = where.path, wanted, memory
        self.socket = socket.create_connection((where.hostname or "", where.port or 80))
        self._head, self._left, self.received = b"", 0, 0

    def ask(self) -> bool:
        """Ask for the next range; False: there is none."""
        found = next(self._wanted, None)
        if found is not None:
            path, start, length = found
            head = f"GET {self._prefix}/{path} HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-{start + length - 1}\r\n\r\n"
            self.socket.sendall(head.encode())
            self._head, self._left = b"", length
        return found is not None

    def come(self) -> bool:
        """Receive what has come; True: the answer is complete."""
        size = self.socket.recv_into(self._memory)
        if not size:
            raise ConnectionError("the server closed the connection")
        if not self._head.endswith(b"\r\n\r\n"):
            self._head += bytes(self._memory[: min(size, 1024)])
            end = self._head.find(b"\r\n\r\n") + 4
            size = max(0, size - end) if end > 3 else 0
            self._head = self._head[:end]
        self._left -= size
        self.received += size
        return self._left == 0


def by_sockets(url: str, wanted: list[Range]) -> int:
    """Bytes that plain sockets have received."""
    left, memory = iter(wanted), memoryview(bytearray(1 << 18))
    made = [_Connection(url, left, memory) for _ in range(_AT_ONCE)]
    with selectors.DefaultSelector() as ready:
        for one in made:
            if one.ask():
                ready.register(one.socket, selectors.EVENT_READ, one)
        while ready.get_map():
            for key, _ in ready.select():
                if key.data.come() and not key.data.ask():
                    ready.unregister(key.fileobj)
    for one in made:
        one.socket.close()
    return sum(one.received for one in made)


def by_obstore(url: str, wanted: list[Range]) -> int:
    """Bytes that obstore has received."""
    import obstore
    from obstore.store import from_url

    store, left = from_url(url, client_options={"allow_http": True}), iter(wanted)

    async def some() -> int:
        found = 0
        for path, start, length in left:
            found += len(await obstore.get_range_async(store, path, start=start, length=length))
        return found

    async def every() -> int:
        return sum(await asyncio.gather(*(some() for _ in range(_AT_ONCE))))

    return asyncio.run(every())


HOW: dict[str, Callable[[str, list[Range]], int]] = {"sockets": by_sockets, "obstore": by_obstore}


def main() -> None:
    asked = json.loads(sys.argv[1])
    wanted = ranges_of(asked["place"], asked["batches"])
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    begun, busy = time.perf_counter(), time.process_time()
    size = HOW[asked["how"]](asked["over"], wanted)
    found = {"wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - busy, "bytes_received": size}
    print(json.dumps({**found, "samples": asked["batches"] * BATCH, "ranges": len(wanted)}), flush=True)


if __name__ == "__main__":
    main()
