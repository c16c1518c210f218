"""Reads a dataset behind a URL, through obstore.

The threads of obstore do not survive a fork: a forked child of a process that has read a URL would wait for ever, so it
gets an error that asks for spawn.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from landweave.errors import AccessError, CorruptError, LandweaveError, first_line
from landweave.hedge import Asker, run
from landweave.plain import printable
from landweave.strict import MOST_JSON, inside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from landweave.kept import Kept


T = TypeVar("T")
_WHOLE_BYTES = 1 << 16
"""Taken as the size of an object that nobody knows yet."""
_TAIL = 2**60
"""Where the tail of an object is kept: beyond the end of any."""
_GAP_BYTES = 1 << 15
"""Ranges nearer than this are one request: of 64 that wait 20 ms side by side each costs a link of 125 MB/s 40 kB."""

_STARTED: list[int] = []
"""Process that started obstore's threads, if any: a forked child does not have them."""


class RemoteStore:
    """Objects behind http(s)://, s3://, gs://, az://, hf:// and whatever else obstore knows."""

    remote = True

    def __init__(self, url: str, kept: Kept | None = None) -> None:
        """Read from a URL.

        Args:
            url: with or without credentials.
            kept: where bytes are kept on this machine; None: nowhere.
        """
        self.kept = kept
        """Where bytes are kept on this machine."""
        self._url = url.rstrip("/")
        self.url = public(self._url)
        self._opened: Any = None
        self._suffixes = True
        self.asker = Asker()
        """Sends the requests, and asks again where an answer is late."""
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[str, Kept | None]]:
        return (RemoteStore, (self._url, self.kept))

    def keep(self, kept: Kept) -> None:
        """Keep what is read from now on; the dataset's manifest has been read."""
        self.kept = kept

    def at_origin(self) -> RemoteStore:
        """The same place, read from there alone."""
        return RemoteStore(self._url)

    def has(self, path: str, spans: list[tuple[int, int]]) -> bool:
        """Whether all these ranges are kept on this machine."""
        return self.kept is not None and self.kept.has(path, spans)

    def _held(self, path: str, start: int, length: int) -> bytes | None:
        """A copy of a range that is kept on this machine."""
        found = None if self.kept is None else self.kept.read(path, start, length)
        return None if found is None else bytes(found)

    def _keep(self, path: str, start: int, data: Any) -> None:
        if self.kept is not None:
            self.kept.put(path, start, data)

    def get(self, path: str, most: int = MOST_JSON) -> bytes:
        """See `Store.get`."""
        return self._run(self._whole(path, most))

    async def _whole(self, path: str, most: int) -> bytes:
        async def read() -> bytes:
            import obstore

            found = await obstore.get_async(connection, inside(path))
            size = int(found.meta["size"])
            if size > most:
                raise CorruptError(f"{path}: has {size} bytes, expected at most {most}")
            return bytes(await found.bytes_async())

        connection = self._store()
        return await self._asked(path, read, min(most, _WHOLE_BYTES))

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See `Store.get_range`."""
        held = self._held(path, start, length)
        if held is None:
            held = bytes(self._run(self._part(path, (start, start + length), length))[0])
            self._keep(path, start, held)
        return held

    def get_ranges(self, path: str, spans: list[tuple[int, int]]) -> Iterable[bytes | memoryview]:
        """See `Store.get_ranges`."""
        if self.has(path, spans):
            return (self._one(path, *span) for span in spans)
        return self._run(self.ranges(path, spans))

    def _one(self, path: str, start: int, length: int) -> bytes | memoryview:
        """A range that is kept on this machine, or was a moment ago."""
        assert self.kept is not None  # noqa: S101 - `has` was true
        found = self.kept.read(path, start, length)
        return self._run(self.ranges(path, [(start, length)]))[0] if found is None else found

    async def ranges(self, path: str, spans: list[tuple[int, int]]) -> list[memoryview]:
        """As `get_ranges`, in the loop of `landweave.hedge`: all at the same time; what is kept is not asked for."""
        pieces: dict[tuple[int, int], bytes | memoryview] = {}
        for span in spans if self.kept is not None else ():
            held = self._held(path, *span)
            if held is not None:
                pieces[span] = held
        lacking = [span for span in spans if span not in pieces]
        pieces |= zip(lacking, await self._asked_for(path, lacking), strict=True)
        return [memoryview(pieces[span]) for span in spans]

    async def _asked_for(self, path: str, spans: list[tuple[int, int]]) -> list[memoryview]:
        """Ranges from the URL."""
        import obstore

        merged = _merged(spans)
        connection, where = self._store(), inside(path)

        def ask(start: int, length: int) -> asyncio.Future[Any]:
            send = partial(obstore.get_range_async, connection, where, start=start, length=length)
            return self.asker.ask(send, length)

        try:
            found = await self._all(path, [ask(*span) for span in merged])
        except AccessError as error:
            if not _BEYOND.search(str(error)):
                raise
            found = [await self._or_nothing(path, ask(*span)) for span in merged]
        held = [(start, memoryview(data)) for (start, _), data in zip(merged, found, strict=True)]
        firsts = [start for start, _ in held]
        pieces = []
        for start, length in spans:
            first, data = held[bisect_right(firsts, start) - 1]
            pieces.append(data[start - first : start - first + length])
        return pieces

    async def _or_nothing(self, path: str, asked: asyncio.Future[Any]) -> Any:
        """A range, of no bytes where it begins beyond the end of the object."""
        try:
            return (await self._all(path, [asked]))[0]
        except AccessError as error:
            if not _BEYOND.search(str(error)):
                raise
            return b""

    def get_tail(self, path: str, length: int) -> bytes:
        """See `Store.get_tail`."""
        return self._run(self.tail(path, length))

    async def tail(self, path: str, length: int) -> bytes:
        """As `get_tail`, in the loop."""
        held = self._held(path, _TAIL, length)
        if held is None:
            held = await self._tail(path, length)
            if len(held) == length:
                self._keep(path, _TAIL, held)
        return held

    async def _tail(self, path: str, length: int) -> bytes:
        """From the object's size where a server cannot count from the end (Azure, some HTTP)."""
        if self._suffixes:
            try:
                return bytes((await self._part(path, {"suffix": length}, length))[0])
            except AccessError as error:
                if not _RANGES.search(str(error)):
                    raise
        _, size = await self._part(path, (0, 1), 1)
        start = max(0, size - length)
        found = bytes((await self._part(path, (start, size), length))[0])
        self._suffixes = False
        return found

    def size(self, path: str) -> int:
        """See `Store.size`: asked for with the first byte, since some servers refuse HEAD."""
        return int(self._run(self._part(path, (0, 1), 1))[1])

    def forget(self, path: str) -> None:
        """See `Store.forget`."""
        if self.kept is not None:
            self.kept.forget(path)

    async def _part(self, path: str, span: Any, length: int) -> tuple[Any, int]:
        """(bytes, size of the object)."""

        async def read() -> tuple[Any, int]:
            import obstore

            found = await obstore.get_async(connection, inside(path), options={"range": span})
            return await found.bytes_async(), int(found.meta["size"])

        connection = self._store()
        return await self._asked(path, read, length)

    async def _asked(self, path: str, send: Callable[[], Awaitable[T]], size: int) -> T:
        """The answer to a request; errors as those of `Store`."""
        return (await self._all(path, [self.asker.ask(send, size)]))[0]

    async def _all(self, path: str, asked: list[asyncio.Future[T]]) -> list[T]:
        """The answers to requests; errors as those of `Store`, and then the others are cancelled."""
        try:
            return [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        except FileNotFoundError as error:
            raise FileNotFoundError(path) from error
        except LandweaveError:
            raise
        except Exception as error:
            raise self._unreachable(path, error) from error
        finally:
            for answer in asked:
                answer.cancel()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            self._store()  # says what is wrong after a fork
        except BaseException:
            work.close()
            raise
        return run(work)

    def _store(self) -> Any:
        if _STARTED and os.getpid() not in _STARTED:  # before the lock, which another thread may have held at the fork
            raise AccessError(_FORKED)
        with self._lock:
            if self._opened is None:
                self._opened = _connect(self._url)
            return self._opened

    def _unreachable(self, path: str, error: Exception) -> AccessError:
        return AccessError(f"{self.url}: {path} cannot be read: {explained(error)}")


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(start, length) of the ranges to ask for, ascending: neighbours are one."""
    found: list[tuple[int, int]] = []
    for start, length in sorted(spans):
        if found and start - sum(found[-1]) <= _GAP_BYTES:
            first, held = found[-1]
            found[-1] = (first, max(held, start + length - first))
        else:
            found.append((start, length))
    return found


_RANGES = re.compile(r"byte ranges|suffix range|Content-Range|Requested \d+\.\.|status code: (400|405|416|501)\b")
"""Messages of obstore if a server does not support ranges, or suffix ranges."""

_BEYOND = re.compile(r"Wanted range starting at|status code: 416\b")
"""Messages of obstore if a range begins beyond the end of the object."""

_FORKED = (
    "this process was forked after a read from a URL, and obstore does not survive a fork; start workers with "
    "DataLoader(..., multiprocessing_context='spawn') or 'forkserver'"
)


def _connect(url: str) -> Any:
    from obstore.store import from_url

    _STARTED[:] = [os.getpid()]
    try:
        check_settings(url)
        place, headers = _hub(url) if url.startswith("hf://") else (url, {})
        client: Any = {"default_headers": headers} if headers else {}
        if place[:7].lower() == "http://":
            client["allow_http"] = True
        return from_url(place, **({"client_options": client} if client else {}))
    except AccessError:
        raise
    except Exception as error:
        raise AccessError(f"{public(url)}: cannot be opened: {explained(error)}") from error


_ADDRESSES = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
_WORDS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN",
)  # fmt: skip
"""Environment variables that obstore sends in a request."""


def check_settings(url: str) -> None:
    """Look at the environment variables that obstore reads for a URL: it panics where they cannot be sent.

    Raises:
        AccessError: names the variable; its value is shown only if it should be an address.
    """
    cloud = {"s3": "AWS_", "az": "AZURE_", "ab": "AZURE_", "ad": "AZURE_"}.get(url[:2].lower(), "none")
    for name in (*_ADDRESSES, *_WORDS):
        value = os.environ.get(name, "") if name.startswith(cloud) else ""
        if name in _ADDRESSES and value and not _is_address(value):
            expected = "expected https://HOST or http://HOST:PORT"
            raise AccessError(
                f"the environment variable {name} is no address: {expected}, found {printable(public(value))!r}"
            )
        if not value.isprintable():
            raise AccessError(f"the environment variable {name} contains a line break or another control character")


def _is_address(text: str) -> bool:
    """Whether it is http(s)://HOST[:PORT][/PATH]."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        return False
    plain = text.isascii() and " " not in text
    return plain and found.scheme in ("http", "https") and bool(found.hostname) and port != 0


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
    """The URL without parts that may be secret: user, password, query and fragment."""
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
