"""Reads objects and ranges of a dataset by path, from a local folder or a URL.

Local files are read, never mapped into memory: truncating a mapped file would end the process. Reading is safe in
threads and after a fork. A path must be a regular file inside the folder; links to files outside, pipes and devices are
refused. obstore reads URLs, and its threads do not survive a fork: a forked child of a process that has read a URL
would wait for ever, so it gets an error that asks for spawn.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote

from landweave.errors import AccessError, CorruptError, first_line
from landweave.strict import MOST_JSON, inside

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPEN_FILES = 512
"""Local files kept open at once: under the usual limit of 1,024 a process."""

_FLAGS = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_CLOEXEC", "O_NONBLOCK", "O_NOFOLLOW", "O_BINARY"))

_NEAR_BYTES = 1 << 16
"""Nearby chunks of a local file within this many bytes are read together: a call costs as much as 10 kB."""

_GAP_BYTES = 1 << 15
"""Ranges nearer than this are one request: of 64 that wait 20 ms side by side each costs a link of 125 MB/s 40 kB."""

_STARTED: list[int] = []
"""Process that started obstore's threads, if any: a forked child does not have them."""


class Store(Protocol):
    """A place that holds one dataset. Paths are those of `landweave.layout`; one that leads outside: CorruptError."""

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


def open_store(place: str | os.PathLike[str]) -> Store:
    """The store behind a path or URL.

    Raises:
        AccessError: a file: URL of another machine, or no path at all.
    """
    text: Any = os.fspath(place)
    if not isinstance(text, str) or not text or "\0" in text:
        raise AccessError(f"{text!r} is not a path or URL of a dataset")
    if text[:5].lower() == "file:":
        return LocalStore(_local(text))
    if "://" in text:
        return RemoteStore(text)
    return LocalStore(text)


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


class LocalStore:
    """A folder on this machine. It has no lock, which a child of a fork could inherit while it is held."""

    remote = False

    def __init__(self, root: str, name: str | None = None) -> None:
        """Keep the folder's place, which a change of the working directory does not move.

        Args:
            root: the folder.
            name: what messages call it; None: as it was given.
        """
        self.url = root if name is None else name
        self._place = os.path.abspath(root)  # noqa: PTH100 - links stay what they are
        self._root = os.path.realpath(self._place)
        self._files: dict[str, _File] = {}
        self._scratch = threading.local()

    def __reduce__(self) -> tuple[type[LocalStore], tuple[str, str]]:
        return (LocalStore, (self._place, self.url))

    def get(self, path: str, most: int = MOST_JSON) -> bytes:
        """See `Store.get`."""
        file = self._open(path)
        if file.size > most:
            raise CorruptError(f"{path}: has {file.size} bytes, expected at most {most}")
        return file.read(0, file.size)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._file(path).read(start, length)

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """See `Store.get_ranges`; into memory that is used again for the next."""
        file = self._file(path)
        if not spans:
            return ()
        first = min([start for start, _ in spans])
        last = max([start + length for start, length in spans])
        if last - first <= _NEAR_BYTES:
            memory = file.read_into(self._memory(last - first), first)
            return [memory[start - first : start - first + length] for start, length in spans]
        memory = self._memory(max([length for _, length in spans]))
        return (file.read_into(memory[:length], start) for start, length in spans)

    def _memory(self, length: int) -> memoryview:
        """This thread's memory, of whole pages: into those the kernel copies quickest. Never a fork's."""
        memory: memoryview | None = getattr(self._scratch, "memory", None)
        if memory is None or len(memory) < length:
            self._scratch.memory = memory = memoryview(mmap.mmap(-1, max(length, _NEAR_BYTES), mmap.MAP_PRIVATE))
        return memory[:length]

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        file = self._file(path)
        start = max(0, file.size - length)
        return file.read(start, file.size - start)

    def size(self, path: str) -> int:
        """See `Store.size`."""
        return self._file(path).size

    def _file(self, path: str) -> _File:
        file = self._files.get(path)
        if file is None:
            self._files[path] = file = self._open(path)
            if len(self._files) > _OPEN_FILES:
                with suppress(KeyError, RuntimeError):  # another thread was quicker
                    del self._files[next(iter(self._files))]
        return file

    def _open(self, path: str) -> _File:
        try:
            place = os.path.realpath(f"{self._root}/{inside(path)}")
            if os.path.commonpath((self._root, place)) != self._root:
                raise CorruptError(f"{path}: is a link to a file outside the dataset; replace it by the file itself")
            if not stat.S_ISREG(os.lstat(place).st_mode):
                raise CorruptError(f"{path}: is not a regular file")
            return _File(place)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(path) from error
        except OSError as error:
            raise AccessError(f"{path}: cannot be read: {error.strerror}") from error


class _File:
    """An open file; closed when nobody holds it any more."""

    def __init__(self, place: str) -> None:
        self._handle = os.open(place, _FLAGS)
        about = os.fstat(self._handle)
        if not stat.S_ISREG(about.st_mode):
            raise FileNotFoundError(place)  # it was exchanged a moment ago
        self.size = about.st_size

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)

    def read(self, start: int, length: int) -> bytes:
        """Bytes that are there; one call reads 2 GiB at most."""
        length = max(0, min(length, self.size - start))
        found = os.pread(self._handle, length, start)
        while len(found) < length and (more := os.pread(self._handle, length - len(found), start + len(found))):
            found += more
        return found

    def read_into(self, memory: memoryview, start: int) -> memoryview:
        found = os.preadv(self._handle, [memory], start)
        return memory if found == len(memory) else memory[:found]


class RemoteStore:
    """Objects behind http(s)://, s3://, gs://, az://, hf:// and whatever else obstore knows."""

    remote = True

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self.url = public(self._url)
        self._opened: Any = None
        self._suffixes = True
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[str]]:
        return (RemoteStore, (self._url,))

    def get(self, path: str, most: int = MOST_JSON) -> bytes:
        """See `Store.get`."""
        found = self._ask(path)
        size = int(found.meta["size"])
        if size > most:
            raise CorruptError(f"{path}: has {size} bytes, expected at most {most}")
        return self._taken(path, found)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        return self._taken(path, self._ask(path, (start, start + length)))

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """See `Store.get_ranges`."""
        import obstore

        connection = self._store()
        starts, lengths = [s for s, _ in spans], [n for _, n in spans]
        try:
            found = obstore.get_ranges(connection, inside(path), starts=starts, lengths=lengths, coalesce=_GAP_BYTES)
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise self._unreachable(path, error) from error
        return [memoryview(data) for data in found]

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`; from the object's size where a server cannot count from the end (Azure, some HTTP)."""
        if self._suffixes:
            try:
                return self._taken(path, self._ask(path, {"suffix": length}))
            except AccessError as error:
                if not _RANGES.search(str(error)):
                    raise
        start = max(0, (size := self.size(path)) - length)
        found = self.get_range(path, start, size - start)
        self._suffixes = False
        return found

    def size(self, path: str) -> int:
        """See `Store.size`: asked for with the first byte, since some servers refuse HEAD."""
        return int(self._ask(path, (0, 1)).meta["size"])

    def _ask(self, path: str, span: Any = None) -> Any:
        import obstore

        connection = self._store()
        try:
            return obstore.get(connection, inside(path), options={} if span is None else {"range": span})
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except Exception as error:
            raise self._unreachable(path, error) from error

    def _taken(self, path: str, found: Any) -> bytes:
        try:
            return bytes(found.bytes())
        except Exception as error:
            raise self._unreachable(path, error) from error

    def _store(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = _connect(self._url)
            elif os.getpid() not in _STARTED:
                raise AccessError(_FORKED)
            return self._opened

    def _unreachable(self, path: str, error: Exception) -> AccessError:
        return AccessError(f"{self.url}: {path} cannot be read: {explained(error)}")


_RANGES = re.compile(r"byte ranges|suffix range|Content-Range|Requested \d+\.\.|status code: (400|405|416|501)\b")
"""Messages of obstore if a server does not support ranges, or suffix ranges."""

_FORKED = (
    "this process was forked after a read from a URL, and obstore does not survive a fork; start workers with "
    "DataLoader(..., multiprocessing_context='spawn') or 'forkserver'"
)


def _connect(url: str) -> Any:
    if _STARTED and os.getpid() not in _STARTED:
        raise AccessError(_FORKED)
    from obstore.store import from_url

    _STARTED[:] = [os.getpid()]
    try:
        place, headers = _hub(url) if url.startswith("hf://") else (url, {})
        client: Any = {"default_headers": headers} if headers else {}
        if place[:7].lower() == "http://":
            client["allow_http"] = True
        return from_url(place, **({"client_options": client} if client else {}))
    except AccessError:
        raise
    except Exception as error:
        raise AccessError(f"{public(url)}: cannot be opened: {explained(error)}") from error


def _hub(url: str) -> tuple[str, dict[str, str]]:
    """The Hub's address of hf://datasets/OWNER/NAME[@REVISION][/FOLDER], and its login.

    As huggingface_hub spells it: https://huggingface.co/docs/huggingface_hub/guides/hf_file_system. HF_ENDPOINT and
    HF_TOKEN are read from the environment.
    """
    found = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([^/]+))?((?:/.*)?)", url)
    if found is None:
        raise AccessError(f"{public(url)}: write hf://datasets/OWNER/NAME, with @REVISION and /FOLDER where needed")
    name, revision, folder = found.groups()
    end = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    where = f"{end}/datasets/{name}/resolve/{quote(unquote(revision or 'main'), safe='')}{folder}"
    return where, {"Authorization": f"Bearer {token}"} if token else {}


def public(url: str) -> str:
    """A URL without what may be secret in it: user, password, query and fragment."""
    scheme, mark, rest = url.partition("://")
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


_LOGINS = {
    "S3": "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true "
    "for a public bucket",
    "MicrosoftAzure": "no Azure credentials were found: set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or "
    "AZURE_SKIP_SIGNATURE=true for a public container",
    "GCS": "no Google credentials were found: set GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for a "
    "public bucket",
}
"""Advice if obstore found no login and asked the machine for its own, as on a cloud."""
_MACHINE = re.compile(
    r"Generic (\w+) error.*(//169\.254\.|/latest/api/|/latest/meta-data|/metadata/identity|/computeMetadata)"
)
_NO_RANGES = (
    "this server ignores byte ranges (python -m http.server does); serve the folder with nginx, Caddy or an S3 store"
)


def explained(error: Exception) -> str:
    """An error of obstore on one line, with advice if there is some, and without secrets."""
    asked = _MACHINE.search(first_line(error))
    if asked and asked[1] in _LOGINS:
        return _LOGINS[asked[1]]
    if "Range request not supported" in str(error):
        return _NO_RANGES
    if "Account must be specified" in str(error):
        return "no Azure account name was found: set AZURE_STORAGE_ACCOUNT_NAME"
    return re.sub(r"\b[a-z][a-z0-9+.-]*://[^\s\"'()<>]+", lambda m: public(m[0]), first_line(error))


class ObjectFile(io.RawIOBase):
    """An object as a file that can seek, for pyarrow: every read is one range."""

    def __init__(self, store: Store, path: str, size: int) -> None:
        self.store, self.path, self.size, self._at = store, path, size, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Start of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from where it stands, fewer at the end."""
        stop = self.size if size < 0 else min(self.size, self._at + size)
        data = self.store.get_range(self.path, self._at, stop - self._at) if stop > self._at else b""
        self._at += len(data)
        return data
