"""Adds credentials to a request when it is sent, and never writes them anywhere."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

import obstore
import urllib3
from obstore.exceptions import BaseError
from obstore.store import S3Store

from pipelines.access.http.client import AccessError, Client, parsed
from pipelines.access.http.network import homes_of
from pipelines.access.http.permission import is_below
from pipelines.access.logins.tokens import Tokens, token_in
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105 - an address
BLOBS = (".blob.core.windows.net",)
_LIFE = timedelta(minutes=15)
"""Of a signed S3 address: longer than a request waits for its turn."""


class PlanetaryComputerSigner:
    """SAS tokens of the Planetary Computer, one for each storage account and container.

    Source: https://planetarycomputer.microsoft.com/docs/concepts/sas/.
    """

    def __init__(
        self,
        token_url: str = TOKEN_URL,
        hosts: Sequence[str] = BLOBS,
        now: Callable[[], float] = time.time,
        client: Client | None = None,
        key: str | None = None,
    ) -> None:
        """Ask `token_url` for tokens of objects on `hosts`.

        Args:
            token_url: Token service, to which '/account/container' is added.
            hosts: Ends of host names. What stands before is the account; a host that is named whole is one account.
                In the clear, tokens go to this machine only.
            now: The clock, seconds since 1970.
            client: Another client for the tokens than one with its own limits.
            key: Subscription key, which raises the service's limits.
        """
        self._token_url = token_url
        self._hosts = tuple(hosts)
        self._headers = {"Ocp-Apim-Subscription-Key": key} if key and parsed(token_url).keeps_secrets else {}
        homes = homes_of(token_url, roams=False)
        self._client = client or Client(concurrency=1, retries=5, timeout_s=30.0, homes=homes)
        self._tokens = Tokens(self._token, now=now)

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
        """The address with a valid token; other hosts' addresses pass through, and those in the clear.

        Raises:
            AccessError: the signing service did not deliver; its own retries are spent.
        """
        asked = parsed(url)
        end = next((h for h in self._hosts if is_private(url, (h,))), None)
        path = asked.path.split("/")
        if end is None or "?" in asked.target or len(path) < 3:
            return url, {}
        key = (asked.host.removesuffix(end.split(":")[0]).rstrip(".") or asked.host, path[1])
        return f"{url}?{self._tokens.get(key, fresh=fresh)}", {}

    def _token(self, key: tuple[str, str]) -> tuple[str, float]:
        whose = f"{key[0]}/{key[1]}"
        try:
            answer = self._client.json("GET", f"{self._token_url}/{whose}", headers=self._headers)
        except AccessError as error:  # its tries are spent, and the request to be signed must not repeat them
            raise AccessError(error.reason, f"no token for {whose}: {error.detail}") from error
        token = token_in(answer, "token", whose)
        try:
            end = datetime.fromisoformat(str(answer.get("msft:expiry")).replace("Z", "+00:00"))
        except ValueError:
            raise AccessError(Reason.UNAVAILABLE, f"a token for {whose} without an expiry time") from None
        return token, (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()


class HeaderSigner:
    """An Authorization header for the hosts of one service only, and never in the clear."""

    def __init__(self, hosts: Sequence[str], header: Callable[[bool], Mapping[str, str]]) -> None:
        """`hosts` and their sub-domains; `header(fresh)` gives the header's name and value."""
        self._hosts = tuple(hosts)
        self._header = header

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:
        """The address as it is, with the header where it is the service's own."""
        return url, dict(self._header(fresh)) if is_private(url, self._hosts) else {}


def is_private(url: str, hosts: Sequence[str]) -> bool:
    """Whether an address is on one of the hosts ('host' or 'host:port') or below it, encrypted or on this machine."""
    try:
        asked = parsed(url)
    except AccessError:
        return False
    return asked.keeps_secrets and (is_below(asked.host, hosts) or is_below(f"{asked.host}:{asked.port}", hosts))


def basic(user: str, password: str) -> Callable[[bool], Mapping[str, str]]:
    """A header of user and password (RFC 7617); a password does not age."""
    header = {k.title(): v for k, v in urllib3.make_headers(basic_auth=f"{user}:{password}").items()}
    return lambda _: header


def bearer(tokens: Tokens[str]) -> Callable[[bool], Mapping[str, str]]:
    """A header of a token (RFC 6750)."""
    return lambda fresh: {"Authorization": f"Bearer {tokens.get('', fresh=fresh)}"}


class S3Signer:
    """Signed addresses (AWS Signature Version 4, by obstore) for objects of some buckets: s3:// hrefs alone need it.

    Each request is signed separately, which costs no request.
    """

    def __init__(self, buckets: Sequence[str], options: Mapping[str, object]) -> None:
        """`buckets` whose objects are signed; `options` of `obstore.store.S3Store`."""
        self._buckets = frozenset(buckets)
        self._options = dict(options)
        self._stores: dict[str, S3Store] = {}
        self._lock = threading.Lock()

    def sign(self, url: str, *, fresh: bool) -> tuple[str, dict[str, str]]:  # noqa: ARG002 - signed anew each time
        """A signed address of the object; whatever is not in the buckets passes through.

        Raises:
            AccessError: DENIED if the machine's role gives no keys.
        """
        asked = parsed(url)
        if asked.scheme != "s3" or asked.host not in self._buckets:
            return url, {}
        with self._lock:
            if asked.host not in self._stores:
                self._stores[asked.host] = S3Store(asked.host, **self._options)  # type: ignore[arg-type]
            store = self._stores[asked.host]
        try:
            return str(obstore.sign(store, "GET", unquote(asked.target).lstrip("/"), _LIFE)), {}
        except (BaseError, OSError, ValueError):
            raise AccessError(Reason.DENIED, f"no credentials were given for s3://{asked.host}") from None
