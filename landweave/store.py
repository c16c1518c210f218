"""Reads objects and ranges of a dataset by path, from a local folder or a URL."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from landweave.errors import AccessError
from landweave.local_store import LocalStore
from landweave.remote_store import RemoteStore
from landweave.strict import MOST_JSON

if TYPE_CHECKING:
    from collections.abc import Iterable


class Store(Protocol):
    """A place that holds one dataset. Paths are those of `landweave.layout`; one outside raises CorruptError."""

    url: str
    """Path or URL, as messages name it: without credentials."""
    remote: bool
    """Whether each request waits for an answer from elsewhere."""

    def get(self, path: str, most: int = MOST_JSON) -> bytes:
        """A complete object of at most this many bytes.

        Raises:
            FileNotFoundError: there is none. AccessError: it cannot be reached.
            CorruptError: it is larger, or no regular file inside the dataset.
        """
        ...

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Bytes [start, start + length), fewer where the object is shorter."""
        ...

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """Bytes of each (start, length), in order, fewer where the object is shorter; neighbours are one request.

        Each is good until the next is asked for.
        """
        ...

    def get_tail(self, path: str, length: int) -> bytes:
        """The last `length` bytes, fewer where the object is shorter."""
        ...

    def size(self, path: str) -> int:
        """Bytes of an object; errors as those of `get`."""
        ...

    def forget(self, path: str) -> None:
        """Bytes of an object differ from their checksum: read it from its origin the next time."""
        ...


def far(store: Store) -> RemoteStore | None:
    """The store, if each of its requests waits for an answer from elsewhere."""
    return store if isinstance(store, RemoteStore) else None


def open_store(place: str | os.PathLike[str]) -> Store:
    """The store behind a path, in which ~ is the home folder, or a URL.

    Raises:
        AccessError: a file: URL of another machine, or no path at all.
    """
    text: Any = os.fspath(place)
    if not isinstance(text, str) or not text or "\0" in text or ("://" in text and not text.isprintable()):
        raise AccessError(f"{text!r} is not a path or URL of a dataset")
    if text[:5].lower() == "file:":
        return LocalStore(_local(text))
    if "://" in text:
        return RemoteStore(text)
    return LocalStore(os.path.expanduser(text), text)  # noqa: PTH111 - an unknown user's home stays what it is


def _local(url: str) -> str:
    """The path in file:///x, file://localhost/x or file:/x, percent-encoded as `Path.as_uri` writes it."""
    rest = url[5:]
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise AccessError(
                f"{url}: names the machine {host!r}, but file: URLs are read on this machine only: file:///folder"
            )
        rest = slash + path
    path = unquote(rest)
    if not path.startswith("/") or "\0" in path:
        raise AccessError(f"{url}: is not an absolute path; write file:///folder, or only the path")
    return path[1:] if re.match(r"/[A-Za-z]:", path) and os.name == "nt" else path


class ObjectFile(io.RawIOBase):
    """An object as a file that can seek, for pyarrow: every read is one range."""

    def __init__(self, store: Store, path: str, size: int) -> None:
        self.store, self.path, self.size, self._at = store, path, size, 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Start of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next read."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from the current position, fewer at the end."""
        stop = self.size if size < 0 else min(self.size, self._at + size)
        data = self.store.get_range(self.path, self._at, stop - self._at) if stop > self._at else b""
        self._at += len(data)
        return data
