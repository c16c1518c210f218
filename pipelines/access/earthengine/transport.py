"""HTTP for the earthengine-api client: slots, deadlines, complete bodies; every failure is an AccessError."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import ee
import httplib2  # type: ignore[import-untyped]
import urllib3
from google.auth import exceptions as google_errors
from urllib3.exceptions import HTTPError

from pipelines.access.http.client import AccessError, Counters, shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.access.earthengine.slots import Slots

_T = TypeVar("_T")
_CHUNK_BYTES = 1 << 18
_MAX_BODY_BYTES = 256 << 20
"""Pixels come in at most 48 MB; the list of algorithms and pages of assets are smaller than this."""
_SHOWN_CHARS = 300
_MISSING = re.compile(r"not found|does not exist", re.IGNORECASE)
_TOO_LARGE = re.compile(
    r"memory (limit|capacity) exceeded|Computation timed out|Total request size|Output of image computation",
    re.IGNORECASE,
)
_CROWDED = re.compile(r"rate limit|quota exceeded|too many (requests|concurrent)", re.IGNORECASE)
QUOTA_STATUS = "x-earth-engine-quota-status"


class TooLargeError(AccessError):
    """The service cannot do this much in one request: ask for less at once."""


@dataclass(frozen=True, slots=True)
class _Limits:
    timeout_s: float
    """Connecting to last byte."""
    queue_s: float
    """Waiting for a slot."""


class Transport:
    """Transport for `ee.Initialize(http_transport=...)`: an httplib2.Http look-alike, shared by all threads.

    Answers of the service other than 2xx and 401 are raised as AccessError; 401 goes back to the credentials, which
    renew themselves once. Requests to other hosts (token endpoints) take no slot.
    """

    def __init__(self, base_url: str, slots: Slots, *, timeout_s: float, queue_s: float = 3600.0) -> None:
        """`timeout_s` bounds one request; `queue_s` the wait for a slot before it."""
        self.base_url = base_url.rstrip("/")
        self.restricted = False
        """True after the service reported that the project's compute quota is used up."""
        self._slots = slots
        self._limits = _Limits(timeout_s, queue_s)
        self._pool = urllib3.PoolManager(maxsize=slots.share + 4, block=False)
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0

    @property
    def counters(self) -> Counters:
        """Requests sent and bytes received."""
        with self._lock:
            return Counters(requests=self._requests, bytes_received=self._bytes)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: dict[str, str] | None = None,
        redirections: int = 0,
        connection_type: object = None,
    ) -> tuple[httplib2.Response, bytes]:
        """One exchange.

        Raises:
            AccessError: classed.
        """
        del redirections, connection_type
        if not uri.startswith(self.base_url + "/"):
            return self._exchange(uri, method, body, headers)
        with self._slots.hold(self._limits.queue_s) as started_s:
            response, content = self._exchange(uri, method, body, headers)
        if "parallelism_restricted=true" in str(response.get(QUOTA_STATUS, "")):
            self.restricted = True
        if response.status < 400 or response.status == 401:
            self._slots.succeeded()
            return response, content
        error = refusal(response.status, content, response.get("retry-after"))
        if error.status == 429:
            self._slots.refused(started_s, error.retry_after_s)
        raise error

    def _exchange(
        self, uri: str, method: str, body: str | bytes | None, headers: dict[str, str] | None
    ) -> tuple[httplib2.Response, bytes]:
        with self._lock:
            self._requests += 1
        try:
            response, content = self._read(uri, method, body, headers)
        except (HTTPError, OSError) as error:
            cause = getattr(error, "reason", None)
            name = type(cause if isinstance(cause, BaseException) else error).__name__
            raise AccessError(Reason.UNAVAILABLE, f"{name} from {shown(uri)}", retryable=True) from None
        found = {k.lower(): v for k, v in response.headers.items()}
        found["status"] = str(response.status)
        made = httplib2.Response(found)
        made.reason = response.reason or ""
        return made, content

    def _read(
        self, uri: str, method: str, body: str | bytes | None, headers: dict[str, str] | None
    ) -> tuple[urllib3.BaseHTTPResponse, bytes]:
        timeout_s = self._limits.timeout_s
        deadline_s = time.monotonic() + timeout_s
        response = self._pool.request(
            method,
            uri,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=timeout_s),
            retries=False,
            redirect=False,
            preload_content=False,
        )
        chunks: list[bytes] = []
        size, whole = 0, False
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                chunks.append(chunk)
                size += len(chunk)
                if size > _MAX_BODY_BYTES:
                    raise AccessError(Reason.CORRUPT, f"{shown(uri)} is larger than {_MAX_BODY_BYTES} bytes")
                if time.monotonic() > deadline_s:
                    raise AccessError(
                        Reason.UNAVAILABLE, f"{shown(uri)} took more than {timeout_s:g} s", retryable=True
                    )
            whole = True
        finally:
            with self._lock:
                self._bytes += size
            (response.release_conn if whole else response.close)()
        said = response.headers.get("Content-Length")
        if said is not None and said.isdigit() and int(said) != size and "Content-Encoding" not in response.headers:
            raise AccessError(Reason.UNAVAILABLE, f"{shown(uri)} sent {size} of {said} bytes", retryable=True)
        return response, b"".join(chunks)


def refusal(  # noqa: PLR0911 - one line a class
    status: int, content: bytes, retry_after: str | None = None
) -> AccessError:
    """The class of an error answer (google.rpc.Status in JSON), with the service's own words in it, shortened."""
    message = _message(content)
    detail = f"Earth Engine answered {status}: {message}" if message else f"Earth Engine answered HTTP {status}"
    after_s = _seconds(retry_after)
    if status == 429 or (status == 403 and _CROWDED.search(message)):
        return AccessError(Reason.UNAVAILABLE, detail, retryable=True, status=429, retry_after_s=after_s)
    if status in (408, 500, 502, 503, 504):
        return AccessError(Reason.UNAVAILABLE, detail, retryable=True, status=status, retry_after_s=after_s)
    if status in (401, 403):
        return AccessError(Reason.DENIED, detail, status=status)
    if status in (404, 410) or (status == 400 and _MISSING.search(message)):
        return AccessError(Reason.NOT_FOUND, detail, status=status)
    if status == 413 or (status == 400 and _TOO_LARGE.search(message)):
        return TooLargeError(Reason.UNAVAILABLE, detail, status=status)
    if status == 400:
        return AccessError(Reason.BAD_ITEM, detail, status=status)
    return AccessError(Reason.UNAVAILABLE, detail, status=status)


def _message(content: bytes) -> str:
    try:
        found = json.loads(content)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return _printable(found)


def _printable(value: Any) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + " ..."


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds; Earth Engine sends no dates."""
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None


def classed(call: Callable[[], _T]) -> _T:
    """Run a call of the client; whatever goes wrong is an AccessError.

    The transport raises AccessErrors by itself; what is left are refused tokens, answers that are not what the client
    can read, and the client's own complaints.
    """
    try:
        return call()
    except AccessError:
        raise
    except (google_errors.RefreshError, google_errors.InvalidOperation):
        raise AccessError(Reason.DENIED, "Earth Engine credentials were refused by the token service") from None
    except google_errors.GoogleAuthError as error:
        raise AccessError(
            Reason.UNAVAILABLE, f"{type(error).__name__} while asking for an access token", retryable=True
        ) from None
    except ee.EEException as error:
        status = getattr(getattr(error.__context__, "resp", None), "status", None)
        if status == 401:
            raise AccessError(
                Reason.DENIED,
                "Earth Engine answered 401: the credentials are refused, even after a renewal",
                status=401,
            ) from None
        text = "".join(c if c.isprintable() else " " for c in str(error))[:300]
        raise AccessError(Reason.BAD_ITEM, f"the Earth Engine client refuses the request: {text}") from None
    except (ValueError, KeyError, EOFError) as error:
        raise AccessError(
            Reason.CORRUPT, f"Earth Engine's answer cannot be read ({type(error).__name__})", retryable=True
        ) from None
