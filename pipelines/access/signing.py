"""Credentials, added to a request at the moment of sending and never written anywhere."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

import urllib3

from pipelines.access.http import AccessError, Client, interpolate
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.access.http import Signer
    from schemas.recipe import Provider

_TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105 - an address
_BLOB = ".blob.core.windows.net"
_EARLY_S = 120.0
"""A token this near its end is renewed before use."""


class PlanetaryComputerSigner:
    """SAS tokens of the Planetary Computer, one for each storage account and container.

    Source: https://planetarycomputer.microsoft.com/docs/concepts/sas/. A subscription key is read from
    PC_SDK_SUBSCRIPTION_KEY, as its own SDK does.
    """

    def __init__(
        self,
        token_url: str = _TOKEN_URL,
        host: str = _BLOB,
        now: Callable[[], float] = time.time,
        client: Client | None = None,
    ) -> None:
        """Ask `token_url` for tokens of objects on hosts that end in `host`; `client` overrides its limits."""
        self._token_url = token_url
        self._host = host
        self._now = now
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._used = threading.local()
        self._client = client or Client(concurrency=1, retries=5, timeout_s=30.0)

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
        """The address with a valid token; other hosts' addresses pass through.

        Many threads are refused at once when a token ends early: the first of them gets a new one for all.

        Raises:
            AccessError: the signing service did not deliver; its own retries are spent.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not host.endswith(self._host) or parts.query:
            return url, {}
        key = (host.removesuffix(self._host), parts.path.split("/")[1])
        with self._lock:
            token, end = self._tokens.get(key, ("", 0.0))
            refused = fresh and token == getattr(self._used, "token", token)
            if refused or self._now() > end - _EARLY_S:
                token, end = self._token(key)
                self._tokens[key] = (token, end)
        self._used.token = token
        return f"{url}?{token}", {}

    def _token(self, key: tuple[str, str]) -> tuple[str, float]:
        try:
            answer = self._client.json("GET", f"{self._token_url}/{key[0]}/{key[1]}")
        except AccessError as error:  # its tries are spent, and the request to be signed must not repeat them
            raise AccessError(error.reason, f"no token for {key[0]}/{key[1]}: {error.detail}") from error
        token, expiry = answer.get("token"), answer.get("msft:expiry")
        try:
            end = datetime.fromisoformat(str(expiry).replace("Z", "+00:00"))
        except ValueError:
            end = None
        if not isinstance(token, str) or end is None:
            raise AccessError(Reason.UNAVAILABLE, f"no token for {key[0]}/{key[1]} in the signing service's answer")
        return token, (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()


class BasicSigner:
    """User and password from the environment, sent to the hosts of one service only."""

    def __init__(self, host: str, user: str, password: str) -> None:
        """Credentials for `host` and its sub-domains."""
        self._host = host
        self._headers = dict(urllib3.make_headers(basic_auth=f"{user}:{password}"))

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:  # noqa: ARG002 - a password does not age
        """The address as it is, with an Authorization header where it is the service's own and encrypted."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        ours = parts.scheme == "https" and (host == self._host or host.endswith("." + self._host))
        return url, self._headers if ours else {}


def signer_of(provider: Provider) -> Signer | None:
    """What a provider's dialect needs; None where its objects are open or no credentials are set."""
    match provider.dialect:
        case "planetary-computer":
            return PlanetaryComputerSigner()
        case "dlr-eoc":
            user, password = os.environ.get("DLR_EOC_USER"), os.environ.get("DLR_EOC_PASSWORD")
            return BasicSigner("geoservice.dlr.de", user, password) if user and password else None
        case "generic" | "earth-search":
            return None
        case _:
            assert_never(provider.dialect)


def client_of(name: str, provider: Provider, *, workers: int = 1) -> Client:
    """A client within the limits that the recipe states for a provider.

    Args:
        name: The provider's name in the recipe, for messages.
        provider: Its entry.
        workers: Processes that share the provider: each gets its part of the rate, and of the concurrency at least one.

    Raises:
        SettingError: its address names an environment variable that is not set.
    """
    interpolate(provider.url, dict(os.environ), where=f"provider {name!r}")
    return Client(
        concurrency=max(1, provider.concurrency // workers),
        retries=provider.retries,
        timeout_s=provider.timeout_s,
        requests_per_s=None if provider.requests_per_s is None else provider.requests_per_s / workers,
        signer=signer_of(provider),
    )
