"""Bytes of a dataset by path, from a local folder or a URL; whole objects and ranges, nothing else.

Local files are mapped into memory where they lie on a disk of this machine, which spares a copy; a network's file
system, whose errors under a map would end the process, is read with `pread`. Both are safe in threads and after a fork.
URLs go through obstore, whose threads do not survive a fork: a child of a process that has read a URL would wait for
ever, so it is told to be spawned instead.
"""

from __future__ import annotations

import io
import mmap
import os
import resource
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from landweave.errors import AccessError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPEN_FILES = 256
"""Local files kept open at once, each twice where it is mapped: under the usual limit of 1,024 a process."""

_AHEAD_BYTES, _AHEAD_CALLS = 1 << 16, 64
"""Longer ranges of a map are asked for at once, and not page by page as they are met; for so many calls of a thread
after one in which the disk was waited for: where all is in memory, asking costs a twentieth of reading."""

_WHO_WAITED = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
"""macOS counts for the process only, and knows no posix_fadvise."""

_GAP_BYTES = 1 << 15
"""Ranges nearer than this are one request: of 64 that wait 20 ms side by side each costs a link of 125 MB/s 40 kB."""

_STARTED: list[int] = []
"""Process that started obstore's threads, if any: a forked child does not have them."""


class Store(Protocol):
    """A place that holds one dataset."""

    url: str
    """Path or URL, as messages name it."""
    remote: bool
    """Whether each request waits for an answer from elsewhere."""

    def get(self, path: str) -> bytes:
        """A whole object; FileNotFoundError where there is none, AccessError where it cannot be reached."""
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

    def parquet(self, path: str) -> Any:
        """What pyarrow reads a Parquet file from."""
        ...


def open_store(place: str | os.PathLike[str]) -> Store:
    """The store behind a path or URL."""
    text = os.fspath(place)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" in text:
        return RemoteStore(text)
    return LocalStore(text)


class LocalStore:
    """A folder on this machine. It has no lock, which a child of a fork could inherit while it is held."""

    remote = False

    def __init__(self, root: str) -> None:
        self.url = root
        self._root = Path(root)
        self._files: dict[str, _File] = {}
        self._scratch = threading.local()

    def __reduce__(self) -> tuple[type[LocalStore], tuple[str]]:
        return (LocalStore, (self.url,))

    def get(self, path: str) -> bytes:
        """See `Store.get`."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error
        except OSError as error:
            raise AccessError(f"{path}: cannot be read: {error.strerror}") from error

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._file(path).read(start, length)

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """See `Store.get_ranges`; mapped, or read when it is asked for, into memory that is used again for the next."""
        file = self._file(path)
        mapped = file.mapped(spans, ahead=self._cold())
        if mapped is not None:
            return mapped
        longest = max([length for _, length in spans], default=0)
        memory = getattr(self._scratch, "memory", None)
        if memory is None or len(memory) < longest:
            self._scratch.memory = memory = memoryview(bytearray(longest))
        return (file.read_into(memory[:length], start) for start, length in spans)

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        file = self._file(path)
        return file.read(max(0, file.size - length), length)

    def parquet(self, path: str) -> Any:
        """See `Store.parquet`."""
        if not (self._root / path).is_file():
            raise FileNotFoundError(path)
        return pa.OSFile(str(self._root / path))

    def _cold(self) -> bool:
        """Whether this thread has lately waited for the disk, as it has where it was never looked at."""
        mine = self._scratch
        waits = resource.getrusage(_WHO_WAITED).ru_majflt
        if waits != getattr(mine, "waits", None):
            mine.waits, mine.calls = waits, _AHEAD_CALLS
        elif mine.calls:
            mine.calls -= 1
        return bool(mine.calls)

    def _file(self, path: str) -> _File:
        file = self._files.get(path)
        if file is None:
            try:
                file = _File(self._root / path)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise FileNotFoundError(path) from error
            except OSError as error:
                raise AccessError(f"{path}: cannot be read: {error.strerror}") from error
            self._files[path] = file
            if len(self._files) > _OPEN_FILES:
                with suppress(KeyError, RuntimeError):  # another thread was quicker
                    del self._files[next(iter(self._files))]
        return file


class _File:
    """An open file; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        about = os.fstat(self._handle)
        self.size = about.st_size
        self._map: memoryview | None = None
        if self.size and os.major(about.st_dev):  # 0: no disk of this machine
            with suppress(OSError, ValueError):
                self._map = memoryview(mmap.mmap(self._handle, self.size, access=mmap.ACCESS_READ))

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._handle, length, start)

    def mapped(self, spans: list[tuple[int, int]], *, ahead: bool) -> list[memoryview] | None:
        """Each (start, length) where it is mapped; None where that cannot be, or the file was cut short meanwhile.

        ahead: the kernel is told of long ones before they are read.
        """
        found = self._map
        if found is None or os.fstat(self._handle).st_size < self.size:
            return None
        if ahead and hasattr(os, "posix_fadvise"):
            for start, length in spans:
                if length > _AHEAD_BYTES:
                    os.posix_fadvise(self._handle, start, length, os.POSIX_FADV_WILLNEED)
        return [found[start : start + length] for start, length in spans]

    def read_into(self, memory: memoryview, start: int) -> memoryview:
        found = os.preadv(self._handle, [memory], start)
        return memory if found == len(memory) else memory[:found]


class RemoteStore:
    """Objects behind http(s)://, s3://, gs://, az:// and whatever else obstore knows."""

    remote = True

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[str]]:
        return (RemoteStore, (self.url,))

    def get(self, path: str) -> bytes:
        """See `Store.get`."""
        return self._ask(path, {})

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._ask(path, {"range": (start, start + length)})

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """See `Store.get_ranges`."""
        import obstore

        connection = self._store()
        starts, lengths = [s for s, _ in spans], [n for _, n in spans]
        try:
            found = obstore.get_ranges(connection, path, starts=starts, lengths=lengths, coalesce=_GAP_BYTES)
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise AccessError(_unreachable(self.url, path, error)) from error
        return [memoryview(data) for data in found]

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        return self._ask(path, {"range": {"suffix": length}})

    def parquet(self, path: str) -> Any:
        """See `Store.parquet`."""
        import obstore

        connection = self._store()
        try:
            size = int(obstore.head(connection, path)["size"])
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise AccessError(_unreachable(self.url, path, error)) from error
        return pa.PythonFile(_RangeFile(self, path, size), mode="r")

    def _ask(self, path: str, options: Any) -> bytes:
        import obstore

        connection = self._store()
        try:
            return bytes(obstore.get(connection, path, options=options).bytes())
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise AccessError(_unreachable(self.url, path, error)) from error

    def _store(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = _connect(self.url)
            elif os.getpid() not in _STARTED:
                raise AccessError(_FORKED)
            return self._opened


_FORKED = (
    "this process was forked from one that had read from a URL, which obstore does not survive; start workers with "
    "DataLoader(..., multiprocessing_context='spawn') or 'forkserver'"
)


def _connect(url: str) -> Any:
    if _STARTED and os.getpid() not in _STARTED:
        raise AccessError(_FORKED)
    from obstore.store import from_url

    _STARTED[:] = [os.getpid()]
    options: Any = {"client_options": {"allow_http": True}} if url.startswith("http://") else {}
    try:
        return from_url(url, **options)
    except Exception as error:
        raise AccessError(f"{url}: cannot be opened: {first_line(error)}") from error


class _RangeFile(io.RawIOBase):
    """A remote object as a file that can seek: every read is one range."""

    def __init__(self, store: RemoteStore, path: str, size: int) -> None:
        self._store, self._path, self._size, self._at = store, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._size, self._at + size)
        data = self._store.get_range(self._path, self._at, stop - self._at) if stop > self._at else b""
        self._at += len(data)
        return data


def _unreachable(url: str, path: str, error: Exception) -> str:
    return f"{url}: {path} cannot be read: {first_line(error)}"
