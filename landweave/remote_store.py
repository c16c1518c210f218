"""Reads a dataset behind a URL, through obstore.

The threads of obstore do not survive a fork: a forked child of a process that has read a URL would wait for ever, so it
gets an error that asks for spawn.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from landweave.errors import AccessError, CorruptError, first_line
from landweave.strict import MOST_JSON, inside

if TYPE_CHECKING:
    from collections.abc import Iterable


_GAP_BYTES = 1 << 15
"""Ranges nearer than this are one request: of 64 that wait 20 ms side by side each costs a link of 125 MB/s 40 kB."""

_STARTED: list[int] = []
"""Process that started obstore's threads, if any: a forked child does not have them."""


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
