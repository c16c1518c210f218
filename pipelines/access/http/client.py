"""The HTTP layer for all archives: ranges and JSON, with deadlines, retries and counters."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode

import stamina

from pipelines.access.errors import AccessError, SettingError, interpolate
from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.access.http.address import Url, asset_url, joined, parsed, public_url, shown
from pipelines.access.http.answer import Range, broken, check_digest, checked_range, refused
from pipelines.access.http.body import Wanted
from pipelines.access.http.limits import Breaker, Pace
from pipelines.access.http.transport import Connections, Request
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipelines.access.http.network import Homes
    from pipelines.access.http.transport import Answer

__all__ = [
    "AccessError",
    "Client",
    "Counters",
    "Range",
    "SettingError",
    "Signer",
    "Url",
    "asset_url",
    "interpolate",
    "joined",
    "parsed",
    "public_url",
    "shown",
]

_T = TypeVar("_T")
Refusal: TypeAlias = "Callable[[Answer, Url], AccessError | None]"
"""Gives the error for an answer of 300 or above; None = no error."""

logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)  # at DEBUG it would write signed addresses
stamina.instrumentation.set_on_retry_hooks(())  # no line for each: retries are counted, losses are in the ledger

_MAX_RETRY_AFTER_S = 120.0
"""A server that asks for a longer pause than this is unavailable to this run."""
PAGE_BYTES = 64 << 20
"""Of one JSON answer, unpacked: 250 of the largest items are a third of it."""
_MAX_WHOLE_BYTES = 512 << 20
"""Largest body accepted from a server that answers a range request with the whole object."""
_MOST_HOSTS = 4096
"""Hosts whose state is kept: an archive has a few, a hostile one names a new one in each item."""
_LONGEST_PAUSE_S = 30.0
"""Between two tries, where the server does not say."""


class Signer(Protocol):
    """Adds credentials to a request at the moment of sending; what it returns is never stored or logged."""

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
        """(address to ask, headers to add). `fresh` = the last credentials were refused: get new ones.

        `url` is a `Url`: its parts are those that the connection goes by.
        """


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a client."""

    requests: int = 0
    """HTTP requests sent, retries included."""
    bytes_received: int = 0
    """Body bytes read, those of failed tries included."""
    retries: int = 0
    """Requests that were a second or later try."""
    failures: int = 0
    """Operations that ended in an AccessError, other than the answer that there is no such object."""

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


class Client:
    """HTTP towards one provider, shared by all threads of a worker; its limits hold for them together.

    Each host behind the provider has a circuit breaker: once it failed in two whole operations' worth of tries with
    nothing between, further operations end at once as UNAVAILABLE; a probe now and then finds out when it is back.
    A Retry-After holds back all threads from that host.
    """

    def __init__(  # noqa: PLR0913 - the limits of one service, each by its name
        self,
        *,
        concurrency: int = 8,
        retries: int = 5,
        timeout_s: float = 60.0,
        backoff_s: float = 0.5,
        signer: Signer | None = None,
        requests_per_s: float | None = None,
        cooldown_s: float = 15.0,
        homes: Homes | None = None,
    ) -> None:
        """Limits.

        Args:
            concurrency: Requests under way at once.
            retries: Tries after the first.
            timeout_s: Bounds one try from connecting to the last byte.
            backoff_s: First pause between tries.
            signer: Adds credentials.
            requests_per_s: Requests started per second; None = not limited.
            cooldown_s: How long a host that is taken for dead is left alone before the first probe.
            homes: Where the service lives: an address in a private, loopback or link-local network is asked only
                where the service is in it too. If absent, each address that is asked for is its own home.
        """
        self.concurrency = concurrency
        self._retries = retries
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._signer = signer
        self._slots = threading.BoundedSemaphore(concurrency)
        self._lock = threading.Lock()
        self._requests = self._retried = self._failures = 0
        self._pace = Pace(requests_per_s)
        self._cooldown_s = cooldown_s
        self._hosts: dict[tuple[str, str, int], Breaker] = {}
        self._connections = Connections(concurrency, timeout_s, homes)

    @property
    def counters(self) -> Counters:
        """Totals so far; subtract two to get a difference."""
        with self._lock:
            return Counters(self._requests, self._connections.bytes_received, self._retried, self._failures)

    @property
    def deadline_s(self) -> float:
        """Time that an operation has for all its tries, and for the pauses that servers ask for, seconds.

        No pause is begun that would end later; our own pauses between tries, at most half a minute each, come on top.
        """
        return self.tries * self._timeout_s

    @property
    def tries(self) -> int:
        """Most attempts per operation."""
        return self._retries + 1

    def close(self) -> None:
        """Close idle connections."""
        self._connections.clear()

    def get_range(self, href: str, start: int, length: int) -> Range:
        """Bytes [start, start + length) of an object, fewer only where the object ends.

        Raises:
            AccessError: classed; never a short or shifted body.
        """
        headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        request = Request("GET", parsed(href), headers, None, Wanted(_MAX_WHOLE_BYTES, start, length))

        def once(fresh: bool) -> Range:
            answer = self._send(request, fresh)
            return checked_range(answer, href, start, length)

        return self.retrying(once)

    def get_all(self, href: str, max_bytes: int) -> bytes:
        """A whole object of at most `max_bytes`.

        Raises:
            AccessError: classed.
        """
        request = Request("GET", parsed(href), {"Accept-Encoding": "identity"}, None, Wanted(max_bytes))

        def once(fresh: bool) -> bytes:
            answer = self._send(request, fresh)
            if answer.status == 206:
                raise AccessError(
                    Reason.UNAVAILABLE,
                    f"{shown(href)} sent a part of the object, but all of it was requested",
                    retryable=True,
                    status=206,
                )
            return answer.body

        return self.retrying(once)

    def post(self, url: str, body: dict[str, Any], headers: Mapping[str, str], max_bytes: int) -> bytes:
        """Send JSON, and give the body of the answer as it is.

        Raises:
            AccessError: classed.
        """
        raw = json.dumps(body, separators=(",", ":")).encode()
        request = Request("POST", parsed(url), {"Content-Type": "application/json", **headers}, raw, Wanted(max_bytes))
        return self.retrying(lambda fresh: self._send(request, fresh).body)

    def json(
        self,
        method: str,
        url: str,
        body: dict[str, Any] | None = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = PAGE_BYTES,
        weighed: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Ask a service and read its JSON object, as sane as `pipelines.access.foreign` makes it.

        Args:
            method: 'GET' or 'POST'.
            url: Where.
            body: Sent as JSON.
            form: Sent as a form, in place of `body`.
            headers: Added to the request.
            max_bytes: Of the answer, unpacked.
            weighed: Called with the bytes of the answer, unpacked, before they are read.

        Raises:
            AccessError: classed; a body that is not a JSON object counts as retryable (a proxy's page).
        """
        headers = {"Accept": "application/geo+json, application/json", **(headers or {})}
        data = None
        if form is not None:
            data, headers["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body, separators=(",", ":")).encode(), "application/json"
        request = Request(method, parsed(url), headers, data, Wanted(max_bytes))

        def once(fresh: bool) -> dict[str, Any]:
            answer = self._send(request, fresh)
            weighed(len(answer.body))
            try:
                value = read_json(answer.body)
            except ForeignJsonError as error:
                reason = Reason.UNAVAILABLE if error.retryable else Reason.CORRUPT
                said = f"expected JSON from {shown(url)}, got {error}"
                raise AccessError(reason, said, retryable=error.retryable) from None
            if not isinstance(value, dict):
                raise AccessError(Reason.UNAVAILABLE, f"expected a JSON object from {shown(url)}", retryable=True)
            return value

        return self.retrying(once)

    def exchange(self, request: Request, refusal: Refusal = refused) -> Answer:
        """One request, sent once within the limits of this client; `retrying` repeats an operation of several requests.

        Args:
            request: what to send.
            refusal: judges an answer of 300 or above; without an error the answer is given back.

        Raises:
            AccessError: classed.
        """
        return self._send(request, False, refusal)

    def retrying(self, once: Callable[[bool], _T]) -> _T:
        """Call `once(fresh)` until it succeeds, fails for good, or the tries are spent.

        `fresh` is True for the one try that follows refused credentials.
        """
        began_s = time.monotonic()
        try:
            return once(False)  # nearly always it succeeds: the machinery of retries costs as much as a small request
        except AccessError as error:
            first = error
        refused = renew = False
        until_s = began_s + self.deadline_s

        def pause(error: Exception) -> bool | float:
            nonlocal refused, renew
            if not isinstance(error, AccessError):
                return False
            if error.reason is Reason.DENIED and self._signer is not None and not refused:
                refused = renew = True
                return 0.0
            if not error.retryable or (error.retry_after_s or 0.0) > self._patience_s(until_s):
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
                    self._count(retries=1)
                    fresh, renew = renew, False
                    return once(fresh)
        except AccessError as error:
            self._count(failures=int(error.reason is not Reason.NOT_FOUND))  # "there is none" is an answer
            raise
        raise AssertionError("stamina ended without a result or an error")

    def _patience_s(self, until_s: float) -> float:
        """Longest pause that a server may ask for now."""
        return min(_MAX_RETRY_AFTER_S, until_s - time.monotonic())

    def _send(self, request: Request, fresh: bool, refusal: Refusal = refused) -> Answer:
        href = request.url
        url, headers = href, request.headers
        if self._signer is not None:
            signed, extra = self._signer.sign(href, fresh=fresh)
            url, headers = parsed(signed), {**headers, **extra}
        request = replace(request, url=public_url(url), headers=headers)
        host = self._host(request.url)
        with self._slots:
            if not host.admits():
                raise AccessError(
                    Reason.UNAVAILABLE, f"{_origin(href)} failed many times in a row: landweave pauses requests to it"
                )
            quiet_s = host.quiet()
            if quiet_s > self.deadline_s:
                raise AccessError(Reason.UNAVAILABLE, f"{_origin(href)} asks for a pause of {quiet_s:.0f} s")
            if (pause_s := max(quiet_s, self._pace.turn())) > 0.0:
                time.sleep(pause_s)
            began_s = time.monotonic()
            try:
                answer = self._classed(request, href, refusal)
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

    def _host(self, url: Url) -> Breaker:
        """The state of the host that an address is on."""
        with self._lock:
            found = self._hosts.get(url.origin)
            if found is None:
                if len(self._hosts) >= _MOST_HOSTS:
                    del self._hosts[next(iter(self._hosts))]
                pauses = (min(self._backoff_s * 2.0**i, _LONGEST_PAUSE_S) for i in range(self._retries))
                found = self._hosts[url.origin] = Breaker(2 * self.tries, sum(pauses), self._cooldown_s)
            return found

    def _classed(self, request: Request, href: Url, refusal: Refusal) -> Answer:
        """One request; all that goes wrong is an AccessError. `href`: the address to tell."""
        self._count(requests=1)
        try:
            answer = self._connections.exchange(request)
        except (HTTPException, OSError, ValueError) as error:  # ValueError: a head that the client cannot read
            raise broken(error, href) from None
        problem = refusal(answer, href) if answer.status >= 300 else None
        if problem is not None:
            raise problem
        check_digest(answer, href)
        return answer

    def _count(self, *, requests: int = 0, retries: int = 0, failures: int = 0) -> None:
        with self._lock:
            self._requests += requests
            self._retried += retries
            self._failures += failures


def _origin(href: Url) -> str:
    """Owner of an address: its host, or the variable that the recipe names instead."""
    name = shown(href)
    return name.partition("/")[0] if name.startswith("$") else f"{href.scheme}://{href.host}"
