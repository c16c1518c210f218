"""HTTP for the earthengine-api client, through `pipelines.access.http`; every failure is an AccessError."""

from __future__ import annotations

import json
import re
from http.client import responses
from typing import TYPE_CHECKING, Any, TypeVar

import ee
import httplib2  # type: ignore[import-untyped]
from google.auth import exceptions as google_errors

from pipelines.access.errors import AccessError
from pipelines.access.http.address import parsed
from pipelines.access.http.answer import retry_after_s
from pipelines.access.http.body import Wanted
from pipelines.access.http.transport import Request
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.access.earthengine.slots import Slots
    from pipelines.access.http.client import Client
    from pipelines.access.http.transport import Answer

_T = TypeVar("_T")
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


class Transport:
    """Transport for `ee.Initialize(http_transport=...)`: looks like httplib2.Http, and sends through a `Client`.

    Answers of the service other than 2xx and 401 are raised as AccessError; 401 goes back to the credentials, which
    renew themselves once. Requests to other hosts (token endpoints) take no slot of the service, and all their answers
    go back to the credentials. Redirects are not followed: requests carry tokens.
    """

    def __init__(self, base_url: str, slots: Slots, client: Client, *, queue_s: float = 3600.0) -> None:
        """`client`: connections, deadlines and counters, without a limit of its own below `slots`; `queue_s` bounds the
        wait for a slot."""
        self.base_url = base_url.rstrip("/")
        self.restricted = False
        """True after the service reported that the project's compute quota is used up."""
        self._slots, self._client, self._queue_s = slots, client, queue_s

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

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
            return self.ask_for_token(uri, method, body, headers)
        request = _request(uri, method, body, headers)
        with self._slots.hold(self._queue_s) as started_s:
            try:
                answer = self._client.exchange(request, self._refusal)
            except AccessError as error:
                if error.status == 429:
                    self._slots.refused(started_s, error.retry_after_s)
                raise
        self._slots.succeeded()
        self._look_at_quota(answer)
        return _like_httplib2(answer)

    def ask_for_token(
        self, uri: str, method: str, body: str | bytes | None, headers: dict[str, str] | None, **_: object
    ) -> tuple[httplib2.Response, bytes]:
        """One exchange with a token endpoint: it takes no slot, and the credentials judge every answer.

        Raises:
            AccessError: there was no answer.
        """
        return _like_httplib2(self._client.exchange(_request(uri, method, body, headers), lambda *_: None))

    def _refusal(self, answer: Answer, _: object) -> AccessError | None:
        self._look_at_quota(answer)
        if answer.status == 401:
            return None
        return refusal(answer.status, answer.body, answer.headers.get("Retry-After"))

    def _look_at_quota(self, answer: Answer) -> None:
        if "parallelism_restricted=true" in str(answer.headers.get(QUOTA_STATUS, "")):
            self.restricted = True


def _request(uri: str, method: str, body: str | bytes | None, headers: dict[str, str] | None) -> Request:
    return Request(
        method,
        parsed(uri),
        {k.title(): v for k, v in (headers or {}).items() if k.lower() != "content-length"},
        body.encode() if isinstance(body, str) else body,
        Wanted(_MAX_BODY_BYTES, reason=True),
        follow=False,
    )


def _like_httplib2(answer: Answer) -> tuple[httplib2.Response, bytes]:
    made = httplib2.Response({**{k.lower(): v for k, v in answer.headers.items()}, "status": str(answer.status)})
    made.reason = responses.get(answer.status, "")
    return made, answer.body


def refusal(  # noqa: PLR0911 - one line a class
    status: int, content: bytes, retry_after: str | None = None
) -> AccessError:
    """The class of an error answer (google.rpc.Status in JSON), with the service's own words in it, shortened."""
    message = _message(content)
    detail = f"Earth Engine answered {status}: {message}" if message else f"Earth Engine answered HTTP {status}"
    after_s = retry_after_s(retry_after)
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
        said = f"the Earth Engine client refuses the request: {_printable(error)}"
        raise AccessError(Reason.BAD_ITEM, said) from None
    except (ValueError, KeyError, EOFError) as error:
        raise AccessError(
            Reason.CORRUPT, f"Earth Engine's answer cannot be read ({type(error).__name__})", retryable=True
        ) from None
