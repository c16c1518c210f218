"""Bytes of a dataset by path, from a local folder or a URL; whole objects and ranges, nothing else.

Local files are read with `pread`, which is safe in threads and after a fork. URLs go through obstore, which keeps
threads of its own that do not survive a fork: a forked worker opens its own connection, and says so where it cannot.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from landweave.errors import AccessError

_OPEN_FILES = 256
"""Local files kept open at once: well under the usual limit of 1,024 a process."""


class Store(Protocol):
    """A place that holds one dataset."""

    url: str
    """Path or URL, as messages name it."""

    def get(self, path: str) -> bytes:
        """A whole object; FileNotFoundError where there is none, AccessError where it cannot be reached."""
        ...

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Bytes [start, start + length), fewer where the object is shorter."""
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
    """A folder on this machine."""

    def __init__(self, root: str) -> None:
        self.url = root
        self._root = Path(root)
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._lock = threading.Lock()

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

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        file = self._file(path)
        return file.read(max(0, file.size - length), length)

    def parquet(self, path: str) -> Any:
        """See `Store.parquet`."""
        if not (self._root / path).is_file():
            raise FileNotFoundError(path)
        return pa.OSFile(str(self._root / path))

    def _file(self, path: str) -> _File:
        with self._lock:
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
                    self._files.popitem(last=False)
            else:
                self._files.move_to_end(path)
        return file


class _File:
    """An open file; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._handle).st_size

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def read(self, start: int, length: int) -> bytes:
        return os.pread(self._handle, length, start)


class RemoteStore:
    """Objects behind http(s)://, s3://, gs://, az:// and whatever else obstore knows."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opened: tuple[int, Any] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[str]]:
        return (RemoteStore, (self.url,))

    def get(self, path: str) -> bytes:
        """See `Store.get`."""
        return self._ask(path, {})

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._ask(path, {"range": (start, start + length)})

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        return self._ask(path, {"range": {"suffix": length}})

    def parquet(self, path: str) -> Any:
        """See `Store.parquet`."""
        import obstore

        try:
            return pa.PythonFile(obstore.open_reader(self._store(), path), mode="r")
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise AccessError(_unreachable(self.url, path, error)) from error

    def _ask(self, path: str, options: Any) -> bytes:
        import obstore

        try:
            return bytes(obstore.get(self._store(), path, options=options).bytes())
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise AccessError(_unreachable(self.url, path, error)) from error

    def _store(self) -> Any:
        """The connection of this process: one made before a fork is not used after it."""
        from obstore.store import from_url

        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                options: Any = {"client_options": {"allow_http": True}} if self.url.startswith("http://") else {}
                try:
                    self._opened = (os.getpid(), from_url(self.url, **options))
                except Exception as error:
                    raise AccessError(f"{self.url}: cannot be opened: {_first_line(error)}") from error
            return self._opened[1]


def _unreachable(url: str, path: str, error: Exception) -> str:
    return f"{url}: {path} cannot be read: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
