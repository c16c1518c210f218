"""The one layer that all bytes of an archive come through: ranges and JSON with deadlines, retries and counters."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import stamina
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, LocationValueError, MaxRetryError

from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""RFC 9110 sections 15.5.9, 15.6; RFC 6585 section 4 (429); RFC 8470 (425): the request may succeed when sent again."""
_MAX_RETRY_AFTER_S = 120.0
"""A server that asks for a longer pause than this is unavailable to this run."""
_MAX_JSON_BYTES = 256 << 20
_MAX_WHOLE_BYTES = 512 << 20
"""Largest body accepted from a server that answers a range request with the whole object."""
_CHUNK_BYTES = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


class SettingError(ValueError):
    """The user's mistake outside the recipe: an environment variable that is not set. One clear line."""


class AccessError(Exception):
    """An archive did not give what was asked for.

    `retryable` says whether the same request may succeed at once; after the client's own retries it only says which
    class the failure was of. `detail` never holds a query string, a signature or a user name.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable
        self.status = status
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


class Signer(Protocol):
    """Adds credentials to a request at the moment of sending; what it returns is never stored or logged."""

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
        """(url to ask, headers to add). `fresh` = the last credentials were refused: get new ones."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a client has done so far."""

    requests: int = 0
    """HTTP requests sent, retries included."""
    bytes_received: int = 0
    """Body bytes read, those of failed tries included."""
    retries: int = 0
    """Requests that were a second or later try."""
    failures: int = 0
    """Operations that ended in an AccessError."""

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.requests + other.requests,
            self.bytes_received + other.bytes_received,
            self.retries + other.retries,
            self.failures + other.failures,
        )

    def __sub__(self, other: Counters) -> Counters:
        return Counters(
            self.requests - other.requests,
            self.bytes_received - other.bytes_received,
            self.retries - other.retries,
            self.failures - other.failures,
        )


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of an object, whole as asked for."""

    data: bytes
    """The bytes; shorter than asked only where the object ends."""
    start: int
    """Offset of the first byte in the object."""
    total: int | None
    """Size of the object, if the server says it."""
    etag: str | None
    """Version of the object, if the server says it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes


def interpolate(text: str, environment: dict[str, str], *, where: str) -> str:
    """Replace $NAME and ${NAME} by environment variables.

    Raises:
        SettingError: a variable is not set, or is empty.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if not environment.get(name):
            raise SettingError(
                f"{where}: environment variable {name} is not set; set it, or write the url into the recipe"
            )
        return environment[name]

    return _VARIABLE.sub(value, text)


def public_url(href: str) -> str:
    """The https form of an href of a public bucket (s3://, gs://); http and https pass through.

    Raises:
        AccessError: BAD_ITEM for any other scheme: a path or a file is never read because an item names it.
    """
    parts = urlsplit(href)
    if parts.scheme in ("http", "https") and parts.hostname:
        return href
    if parts.scheme in ("s3", "gs") and parts.netloc:
        path = quote(parts.path, safe="/%")
        if parts.scheme == "gs":
            return f"https://storage.googleapis.com/{parts.netloc}{path}"
        if "." in parts.netloc:  # a dotted bucket name does not match the wildcard certificate
            return f"https://s3.amazonaws.com/{parts.netloc}{path}"
        return f"https://{parts.netloc}.s3.amazonaws.com{path}"
    raise AccessError(Reason.BAD_ITEM, f"expected an http, https, s3 or gs address, got scheme {parts.scheme[:16]!r}")


def shown(url: str) -> str:
    """An address as it may be told: scheme, host and path, without user, query or fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


class Client:
    """HTTP towards one provider, shared by all threads of a worker; its limits hold for them together."""

    def __init__(
        self,
        *,
        concurrency: int = 8,
        retries: int = 5,
        timeout_s: float = 60.0,
        backoff_s: float = 0.5,
        signer: Signer | None = None,
    ) -> None:
        """`timeout_s` bounds one try from connecting to the last byte; `backoff_s` is the first pause between tries."""
        self.concurrency = concurrency
        self._retries = retries
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._signer = signer
        self._slots = threading.BoundedSemaphore(concurrency)
        self._lock = threading.Lock()
        self._counters = Counters()
        self._pool = urllib3.PoolManager(maxsize=concurrency, block=False, headers={"User-Agent": "landweave/0.1"})

    @property
    def counters(self) -> Counters:
        """Totals so far; subtract two to get a difference."""
        with self._lock:
            return self._counters

    @property
    def deadline_s(self) -> float:
        """Longest time that one operation can take, all tries and pauses together."""
        return (self._retries + 1) * self._timeout_s + self._retries * _MAX_RETRY_AFTER_S

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def get_range(self, href: str, start: int, length: int) -> Range:
        """Bytes [start, start + length) of an object, fewer only where the object ends.

        Raises:
            AccessError: classed; never a short or shifted body.
        """
        headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}

        def once(fresh: bool) -> Range:
            answer = self._send("GET", href, headers, None, _MAX_WHOLE_BYTES, fresh)
            return _checked_range(answer, href, start, length)

        return self.retrying(once)

    def get_all(self, href: str, max_bytes: int) -> bytes:
        """A whole object of at most `max_bytes`.

        Raises:
            AccessError: classed.
        """

        def once(fresh: bool) -> bytes:
            answer = self._send("GET", href, {"Accept-Encoding": "identity"}, None, max_bytes, fresh)
            _check_length(answer, href)
            return answer.body

        return self.retrying(once)

    def json(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask a service and read its JSON object.

        Raises:
            AccessError: classed; a body that is not a JSON object counts as retryable (a proxy's page).
        """
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        headers = {"Accept": "application/geo+json, application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"

        def once(fresh: bool) -> dict[str, Any]:
            answer = self._send(method, url, headers, data, _MAX_JSON_BYTES, fresh)
            try:
                value = json.loads(answer.body)
            except ValueError as error:
                raise AccessError(
                    Reason.UNAVAILABLE,
                    f"expected JSON from {shown(url)}, got {len(answer.body)} other bytes",
                    retryable=True,
                ) from error
            if not isinstance(value, dict):
                raise AccessError(Reason.UNAVAILABLE, f"expected a JSON object from {shown(url)}", retryable=True)
            return value

        return self.retrying(once)

    def retrying(self, once: Callable[[bool], _T]) -> _T:
        """Call `once(fresh)` until it succeeds, fails for good, or the tries are spent.

        `fresh` is True for the one try that follows refused credentials.
        """
        refused = False

        def pause(error: Exception) -> bool | float:
            nonlocal refused
            if not isinstance(error, AccessError):
                return False
            if error.reason is Reason.DENIED and self._signer is not None and not refused:
                refused = True
                return 0.0
            if not error.retryable or (error.retry_after_s or 0.0) > _MAX_RETRY_AFTER_S:
                return False
            if error.retry_after_s is not None:  # jitter, so that the workers do not return all at once
                return error.retry_after_s + random.uniform(0.0, self._backoff_s)
            return True

        try:
            for attempt in stamina.retry_context(
                on=pause,
                attempts=self._retries + 1,
                timeout=None,
                wait_initial=self._backoff_s,
                wait_max=30.0,
                wait_jitter=self._backoff_s,
            ):
                with attempt:
                    if attempt.num > 1:
                        self._count(Counters(retries=1))
                    return once(refused and attempt.num > 1)
        except AccessError:
            self._count(Counters(failures=1))
            raise
        raise AssertionError("stamina ended without a result or an error")

    def _send(
        self, method: str, href: str, headers: dict[str, str], body: bytes | None, max_bytes: int, fresh: bool
    ) -> _Answer:
        url = public_url(href)
        if self._signer is not None:
            url, extra = self._signer.sign(url, fresh=fresh)
            headers = {**headers, **extra}
        with self._slots:
            self._count(Counters(requests=1))
            deadline = time.monotonic() + self._timeout_s
            try:
                answer = self._exchange(method, url, headers, body, (max_bytes, deadline))
            except MaxRetryError as error:
                cause = error.reason if error.reason is not None else error
                raise _broken(cause, href) from None
            except (LocationParseError, LocationValueError):
                raise AccessError(Reason.BAD_ITEM, "the address cannot be parsed") from None
            except (HTTPError, OSError) as error:
                raise _broken(error, href) from None
        if answer.status >= 300:
            raise _refused(answer, href)
        return answer

    def _exchange(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, limits: tuple[int, float]
    ) -> _Answer:
        max_bytes, deadline = limits
        response = self._pool.request(
            method,
            url,
            body=body,
            headers={**self._pool.headers, **headers},
            timeout=urllib3.Timeout(total=self._timeout_s),
            retries=urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5),
            preload_content=False,
        )
        chunks: list[bytes] = []
        size = 0
        whole = False
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    raise AccessError(Reason.CORRUPT, f"{shown(url)} is larger than {max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise AccessError(
                        Reason.UNAVAILABLE, f"{shown(url)} took more than {self._timeout_s:g} s", retryable=True
                    )
            whole = True
        finally:
            self._count(Counters(bytes_received=size))
            if whole:
                response.release_conn()
            else:
                response.close()
        return _Answer(response.status, response.headers, b"".join(chunks))

    def _count(self, more: Counters) -> None:
        with self._lock:
            now = self._counters
            self._counters = replace(
                now,
                requests=now.requests + more.requests,
                bytes_received=now.bytes_received + more.bytes_received,
                retries=now.retries + more.retries,
                failures=now.failures + more.failures,
            )


def _broken(error: BaseException, href: str) -> AccessError:
    """A connection that failed: reset, timeout, short body, name or certificate trouble. All may pass."""
    return AccessError(Reason.UNAVAILABLE, f"{type(error).__name__} from {shown(href)}", retryable=True)


def _refused(answer: _Answer, href: str) -> AccessError:
    status = answer.status
    detail = f"HTTP {status} from {shown(href)}"
    if status in _RETRYABLE_STATUS:
        after = _retry_after_s(answer.headers.get("Retry-After"))
        return AccessError(Reason.UNAVAILABLE, detail, retryable=True, status=status, retry_after_s=after)
    if status in (401, 403):
        return AccessError(Reason.DENIED, detail, status=status)
    if status in (404, 410):
        return AccessError(Reason.NOT_FOUND, detail, status=status)
    if status == 416:
        return AccessError(Reason.CORRUPT, f"{detail}: the object is shorter than its header says", status=status)
    return AccessError(Reason.UNAVAILABLE, detail, status=status)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 section 10.2.3: seconds or a date); None where there is none."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _check_length(answer: _Answer, href: str) -> None:
    said = answer.headers.get("Content-Length")
    if said is not None and said.isdigit() and int(said) != len(answer.body):
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} sent {len(answer.body)} of {said} bytes",
            retryable=True,
            status=answer.status,
        )


def _checked_range(answer: _Answer, href: str, start: int, length: int) -> Range:
    _check_length(answer, href)
    etag = answer.headers.get("ETag")
    if answer.status == 200:  # a server without ranges sends everything
        return Range(answer.body[start : start + length], start, len(answer.body), etag)
    match = _CONTENT_RANGE.match(answer.headers.get("Content-Range", "").strip())
    if answer.status != 206 or match is None:
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} answered a range with HTTP {answer.status} and no usable Content-Range",
            retryable=True,
            status=answer.status,
        )
    first, last = int(match.group(1)), int(match.group(2))
    total = None if match.group(3) == "*" else int(match.group(3))
    end = start + length if total is None else min(start + length, total)
    if first != start or last + 1 != end or len(answer.body) != end - start:
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} sent bytes {first}-{last} ({len(answer.body)}), asked for {start}-{end - 1}",
            retryable=True,
            status=answer.status,
        )
    return Range(answer.body, start, total, etag)
