"""The one layer that all bytes of an archive come through: ranges and JSON with deadlines, retries and counters."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import random
import re
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit

import stamina
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, LocationValueError, MaxRetryError

from pipelines.access.deadline import Deadlines, pool_manager
from pipelines.access.failure import AccessError, SettingError, interpolate, public_url, shown
from pipelines.access.limits import Breaker, Pace
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "AccessError",
    "Client",
    "Counters",
    "Range",
    "SettingError",
    "Signer",
    "interpolate",
    "public_url",
    "shown",
]

_T = TypeVar("_T")

logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # at DEBUG it would write signed addresses
stamina.instrumentation.set_on_retry_hooks(())  # no line for each: retries are counted, losses are in the ledger

_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""RFC 9110 sections 15.5.9, 15.6; RFC 6585 section 4 (429); RFC 8470 (425): the request may succeed when sent again."""
_MAX_RETRY_AFTER_S = 120.0
"""A server that asks for a longer pause than this is unavailable to this run."""
_MAX_JSON_BYTES = 256 << 20
_MAX_WHOLE_BYTES = 512 << 20
"""Largest body accepted from a server that answers a range request with the whole object."""
_CHUNK_BYTES = 1 << 18
_LARGE_CHUNK_BYTES = 4 << 20
_CONNECT_S = 10.0
"""A server that does not take a connection within this time is not there."""
_LONGEST_PAUSE_S = 30.0
"""Between two tries, where the server does not say."""
_DIGEST = re.compile(r"(?:^|,)\s*(sha-256|sha-512)\s*=\s*:([A-Za-z0-9+/=]*):")
"""RFC 9530 section 2: what the bytes of this very answer hash to, ranges included."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")


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


class Client:
    """HTTP towards one provider, shared by all threads of a worker; its limits hold for them together.

    Each host behind the provider has a circuit breaker: once it failed in two whole operations' worth of tries with
    nothing between, further operations end at once as UNAVAILABLE; a probe now and then finds out when it is back.
    A Retry-After holds back all threads from that host.
    """

    def __init__(
        self,
        *,
        concurrency: int = 8,
        retries: int = 5,
        timeout_s: float = 60.0,
        backoff_s: float = 0.5,
        signer: Signer | None = None,
        requests_per_s: float | None = None,
        cooldown_s: float = 15.0,
    ) -> None:
        """Limits.

        Args:
            concurrency: Requests under way at once.
            retries: Tries after the first.
            timeout_s: Bounds one try from connecting to the last byte.
            backoff_s: First pause between tries.
            signer: Adds credentials.
            requests_per_s: Requests started a second; None = not limited.
            cooldown_s: How long a host that is taken for dead is left alone before the first probe.
        """
        self.concurrency = concurrency
        self._retries = retries
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._signer = signer
        self._slots = threading.BoundedSemaphore(concurrency)
        self._lock = threading.Lock()
        self._counters = Counters()
        self._pace = Pace(requests_per_s)
        self._cooldown_s = cooldown_s
        self._hosts: dict[str, Breaker] = {}
        self._deadlines = Deadlines(min(1.0, timeout_s / 10.0))
        self._pool = pool_manager(concurrency)

    @property
    def counters(self) -> Counters:
        """Totals so far; subtract two to get a difference."""
        with self._lock:
            return self._counters

    @property
    def deadline_s(self) -> float:
        """Longest time that one operation can take once it has its turn: all tries, and the pauses servers ask for."""
        return (self._retries + 1) * (self._timeout_s + 2.0 * _MAX_RETRY_AFTER_S)

    @property
    def tries(self) -> int:
        """How often an operation is tried at most."""
        return self._retries + 1

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

    def json(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Ask a service and read its JSON object.

        Args:
            method: 'GET' or 'POST'.
            url: Where.
            body: Sent as JSON.
            form: Sent as a form, in place of `body`.
            headers: Added to the request.

        Raises:
            AccessError: classed; a body that is not a JSON object counts as retryable (a proxy's page).
        """
        headers = {"Accept": "application/geo+json, application/json", **(headers or {})}
        data = None
        if form is not None:
            data, headers["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body, separators=(",", ":")).encode(), "application/json"

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
        try:
            return once(False)  # nearly always it succeeds: the machinery of retries costs as much as a small request
        except AccessError as error:
            first = error
        refused = renew = False

        def pause(error: Exception) -> bool | float:
            nonlocal refused, renew
            if not isinstance(error, AccessError):
                return False
            if error.reason is Reason.DENIED and self._signer is not None and not refused:
                refused = renew = True
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
                wait_max=_LONGEST_PAUSE_S,
                wait_jitter=self._backoff_s,
            ):
                with attempt:
                    if attempt.num == 1:
                        raise first
                    self._count(Counters(retries=1))
                    fresh, renew = renew, False
                    return once(fresh)
        except AccessError:
            self._count(Counters(failures=1))
            raise
        raise AssertionError("stamina ended without a result or an error")

    def _send(
        self, method: str, href: str, headers: dict[str, str], body: bytes | None, max_bytes: int, fresh: bool
    ) -> _Answer:
        url = href
        if self._signer is not None:
            url, extra = self._signer.sign(href, fresh=fresh)
            headers = {**headers, **extra}
        url = public_url(url)
        host = self._host(url)
        with self._slots:
            if not host.admits():
                raise AccessError(Reason.UNAVAILABLE, f"{_origin(href)} failed many times in a row: left alone for now")
            if (pause_s := max(host.quiet(), self._pace.turn())) > 0.0:
                time.sleep(pause_s)
            began_s = time.monotonic()
            try:
                answer = self._classed(method, (url, href), headers, body, max_bytes)
            except AccessError as error:
                if not error.retryable:
                    host.succeeded()  # it answered, and the answer is no
                else:
                    host.failed(began_s)
                    if error.retry_after_s is not None and error.retry_after_s <= _MAX_RETRY_AFTER_S:
                        host.pause(error.retry_after_s)
                raise
            host.succeeded()
        return answer

    def _host(self, url: str) -> Breaker:
        """The state of the host that an address is on."""
        name = urlsplit(url).netloc
        with self._lock:
            if name not in self._hosts:
                pauses = (min(self._backoff_s * 2.0**i, _LONGEST_PAUSE_S) for i in range(self._retries))
                self._hosts[name] = Breaker(2 * self.tries, sum(pauses), self._cooldown_s)
            return self._hosts[name]

    def _classed(
        self, method: str, url: tuple[str, str], headers: dict[str, str], body: bytes | None, max_bytes: int
    ) -> _Answer:
        """One request; all that goes wrong is an AccessError. `url`: (to ask, to tell)."""
        self._count(Counters(requests=1))
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._deadlines.until(deadline):
                answer = self._exchange(method, url[0], headers, body, (max_bytes, deadline))
        except MaxRetryError as error:
            cause = error.reason if error.reason is not None else error
            raise _broken(cause, url[1]) from None
        except (LocationParseError, LocationValueError):
            raise AccessError(Reason.BAD_ITEM, "the address cannot be parsed") from None
        except (HTTPError, OSError) as error:
            raise _broken(error, url[1]) from None
        if answer.status >= 300:
            raise _refused(answer, url[1])
        _check_digest(answer, url[1])
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
            timeout=urllib3.Timeout(connect=min(_CONNECT_S, self._timeout_s), total=self._timeout_s),
            retries=urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5),
            preload_content=False,
        )
        chunks: list[bytes] = []
        size = 0
        whole = False
        try:
            while chunk := _chunk(response, size):
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


def _chunk(response: urllib3.BaseHTTPResponse, got_bytes: int) -> bytes:
    """The next bytes of a body, empty at its end. Where its length is known it comes in large pieces: urllib3's `read`
    copies it once, `read1` three times."""
    said = response.headers.get("Content-Length", "")
    if not said.isdigit() or "Content-Encoding" in response.headers:
        return response.read1(_CHUNK_BYTES)
    left = int(said) - got_bytes
    return response.read(min(left, _LARGE_CHUNK_BYTES), decode_content=False) if left > 0 else b""


def _origin(href: str) -> str:
    parts = urlsplit(shown(public_url(href)))
    return f"{parts.scheme}://{parts.netloc}"


def _broken(error: BaseException, href: str) -> AccessError:
    """A connection that failed: reset, timeout, short body, name or certificate trouble. All may pass."""
    return AccessError(Reason.UNAVAILABLE, f"{type(error).__name__} from {shown(href)}", retryable=True)


def _refused(answer: _Answer, href: str) -> AccessError:
    status = answer.status
    detail = f"HTTP {status} from {shown(href)}"
    if status in _RETRYABLE_STATUS:
        after = _retry_after_s(answer.headers.get("Retry-After"), answer.headers.get("Date"))
        return AccessError(Reason.UNAVAILABLE, detail, retryable=True, status=status, retry_after_s=after)
    if status in (401, 403):
        return AccessError(Reason.DENIED, detail, status=status)
    if status in (404, 410):
        return AccessError(Reason.NOT_FOUND, detail, status=status)
    if status == 416:
        return AccessError(Reason.CORRUPT, f"{detail}: the object is shorter than its header says", status=status)
    return AccessError(Reason.UNAVAILABLE, detail, status=status)


def _retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 section 10.2.3: seconds or a date); None where there is none.

    `date`: when the server says that it answered. Its date is held against its own clock: ours may be wrong.
    """
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        now = datetime.now(UTC) if date is None else parsedate_to_datetime(date)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _check_digest(answer: _Answer, href: str) -> None:
    """Compare the body with its Content-Digest, where the server sends one."""
    for name, value in _DIGEST.findall(answer.headers.get("Content-Digest", "")):
        try:
            said = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
        if hashlib.new(name.replace("-", ""), answer.body).digest() != said:
            raise AccessError(
                Reason.UNAVAILABLE,
                f"{shown(href)} sent {len(answer.body)} bytes that are not those of their digest",
                retryable=True,
                status=answer.status,
            )


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
    page = answer.headers.get("Content-Type", "").startswith("text/html")
    if answer.status == 200 and (page or len(answer.body) < start):
        raise AccessError(
            Reason.UNAVAILABLE,
            f"{shown(href)} answered a range with {len(answer.body)} bytes of something else",
            retryable=True,
            status=answer.status,
        )
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
