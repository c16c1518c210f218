"""Makes the client of a provider, with its limits and its credentials from the environment."""

from __future__ import annotations

import contextlib
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.access.http.client import AccessError, Client, SettingError, parsed, shown
from pipelines.access.http.network import homes_of
from pipelines.access.http.permission import check_host, origin, signed_hosts
from pipelines.access.logins.required import CDSE_HTTPS, expanded, login_of, missing_of, netrc_login
from pipelines.access.logins.signing import (
    BLOBS,
    TOKEN_URL,
    HeaderSigner,
    PlanetaryComputerSigner,
    S3Signer,
    basic,
    bearer,
)
from pipelines.access.logins.tokens import Tokens, token_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.access.http.client import Signer
    from pipelines.access.http.network import Homes
    from pipelines.access.logins.required import Login
    from schemas.provider import Provider

_EARTHDATA_LOGIN = "https://urs.earthdata.nasa.gov"
_EARTHDATA_HOSTS = ("earthdatacloud.nasa.gov", "earthdata.nasa.gov")
"""https://urs.earthdata.nasa.gov/documentation/for_users/user_token"""
_CDSE_LOGIN = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
_CDSE_HOSTS = (
    "download.dataspace.copernicus.eu",
    "zipper.dataspace.copernicus.eu",
    "catalogue.dataspace.copernicus.eu",
    "eodata.dataspace.copernicus.eu",
)
_CDSE_ENDPOINT = "https://eodata.dataspace.copernicus.eu"
"""https://documentation.dataspace.copernicus.eu/APIs/S3.html (and OData.html: download)"""


_S3_HOMES = re.compile(r"s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")
"""Endpoints of AWS's own stores (https://docs.aws.amazon.com/general/latest/gr/s3.html); anybody can have other names
below amazonaws.com."""


def signer_of(name: str, provider: Provider) -> Signer | None:
    """The signer of a provider's requests; None if its objects are open or no credentials are set.

    Raises:
        SettingError: an address names an environment variable that is not set, or a login would be sent to a host that
            is neither its home nor allowed by the user (`pipelines.access.http.permission`).
    """
    signing = provider.signing
    url = None if signing is None else expanded(name, signing.url).rstrip("/")
    where, named = f"provider {name!r}: signing", () if signing is None else signing.hosts
    if provider.dialect == "planetary-computer":
        hosts = _allowed(where, (url, TOKEN_URL), named, BLOBS, "the Planetary Computer's key")
        key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
        return PlanetaryComputerSigner(url or TOKEN_URL, hosts or BLOBS, key=key)
    login = login_of(name, provider)
    if login is None:
        return None
    if provider.dialect == "dlr-eoc":
        return _dlr(login, _allowed(where, (None, ""), named, (login.home,), "the DLR login"))
    if provider.dialect == "earthdata":
        hosts = _allowed(where, (url, _EARTHDATA_LOGIN), named, _EARTHDATA_HOSTS, "the Earthdata login")
        token = Tokens[str](lambda _: _earthdata(url or _EARTHDATA_LOGIN))
        return None if missing_of(login) else HeaderSigner(hosts or _EARTHDATA_HOSTS, bearer(token))
    if login is CDSE_HTTPS:
        hosts = _allowed(where, (url, _CDSE_LOGIN), named, _CDSE_HOSTS, "the Copernicus Data Space login")
        token = Tokens[str](lambda _: _oidc(url or _CDSE_LOGIN))
        return None if missing_of(login) else HeaderSigner(hosts or _CDSE_HOSTS, bearer(token))
    if url is not None:
        homes = (login.home,) if provider.dialect == "copernicus-data-space" else _s3_homes(url)
        check_host(f"{where}.url", url, homes, f"a signature by {login.variables[0]}")
    return None if missing_of(login) else _s3_signer(where, provider, login, url)


def _allowed(
    where: str, urls: tuple[str | None, str], hosts: Sequence[str], homes: Sequence[str], whose: str
) -> tuple[str, ...]:
    """Hosts that a recipe's `signing` names for objects, once it is seen that the login may go there and to its `url`.

    `urls`: (that of `signing`, the login's own).
    """
    if urls[0] is not None and urls[1]:
        check_host(f"{where}.url", urls[0], (origin(urls[1])[1],), whose)
    return signed_hosts(f"{where}.hosts", hosts, homes, whose)


def _dlr(login: Login, hosts: tuple[str, ...]) -> Signer | None:
    if missing_of(login):
        return None
    user, password = (os.environ[v] for v in login.variables)
    return HeaderSigner(hosts or (login.home,), basic(user, password))


def _s3_homes(url: str) -> tuple[str, ...]:
    host = origin(url)[1]
    return (host,) if _S3_HOMES.fullmatch(host) else ()


def _s3_signer(where: str, provider: Provider, login: Login, url: str | None) -> S3Signer:
    """Signs addresses in the store of a dialect, or in the one at `url`."""
    signing = provider.signing
    region = signing.region if signing is not None else None
    if provider.dialect == "copernicus-data-space":
        access, secret = (os.environ[v] for v in login.variables)
        options = _s3(url or _CDSE_ENDPOINT, region)
        return S3Signer(("eodata",), {**options, "access_key_id": access, "secret_access_key": secret})
    if provider.dialect in ("usgs", "earth-search"):
        return S3Signer(("usgs-landsat",), {**_s3(url, region or "us-west-2"), "request_payer": True})
    buckets = signing.hosts if signing is not None else ()
    if not buckets:
        raise SettingError(f"{where}.hosts: list the buckets whose requests are signed: hosts: [my-bucket]")
    return S3Signer(buckets, _s3(url, region))


def _s3(endpoint: str | None, region: str | None) -> dict[str, object]:
    """Options of a store; keys and role come from AWS's own variables where they are not named."""
    options: dict[str, object] = {"region": region or "default"}
    if endpoint is not None:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        if endpoint.startswith("http://"):
            options["client_options"] = {"allow_http": True}
    return options


def _earthdata(url: str) -> tuple[str, float]:
    """(token, its end): the one that is set, or the account's own by user and password."""
    if token := os.environ.get("EARTHDATA_TOKEN"):
        return token, time.time() + 86_400.0
    user, password = os.environ.get("EARTHDATA_USERNAME"), os.environ.get("EARTHDATA_PASSWORD")
    login = (user, password) if user and password else netrc_login()
    if login is None:
        raise SettingError("Earthdata: environment variable EARTHDATA_TOKEN is not set")
    client = _login_client(url)
    answer = client.json("POST", f"{url}/api/users/find_or_create_token", headers=dict(basic(*login)(False)))
    token = token_in(answer, "access_token", "earthdata")
    try:
        end = datetime.strptime(str(answer.get("expiration_date")), "%m/%d/%Y").replace(tzinfo=UTC).timestamp()
    except ValueError:
        end = time.time() + 86_400.0
    return token, end


def _oidc(url: str) -> tuple[str, float]:
    """(token, its end) by the Copernicus Data Space account's user and password."""
    form = {
        "grant_type": "password",
        "client_id": "cdse-public",
        "username": os.environ["CDSE_USERNAME"],
        "password": os.environ["CDSE_PASSWORD"],
    }
    client = _login_client(url)
    answer = client.json("POST", url, form=form)
    life_s = answer.get("expires_in")
    return token_in(answer, "access_token", "cdse"), time.time() + (life_s if isinstance(life_s, int) else 600)


def _login_client(url: str) -> Client:
    """The client for passwords: encrypted or to this machine, and without redirects to other hosts.

    Raises:
        SettingError: the address is neither.
    """
    if not parsed(url).keeps_secrets:
        raise SettingError(f"signing.url: a login is sent only over https or to this machine; {shown(url)} is neither")
    return Client(concurrency=1, retries=3, timeout_s=30.0, homes=homes_of(url, roams=False))


def _homes(name: str, provider: Provider) -> Homes:
    """Address of a provider, from its entry in the recipe.

    Raises:
        SettingError: its address cannot be used.
    """
    try:
        urls = [parsed(expanded(name, provider.url))]
    except AccessError as error:
        raise SettingError(f"provider {name!r}: {error.detail}") from None
    if (signing := provider.signing) is not None:
        for text in (expanded(name, signing.url), *(f"https://{host}" for host in signing.hosts)):
            with contextlib.suppress(AccessError):  # hosts may be ends of names
                urls.append(parsed(text))
    return homes_of(*urls)


def client_of(name: str, provider: Provider, *, workers: int = 1) -> Client:
    """A client within the limits that the recipe states for a provider, with its credentials.

    Args:
        name: The provider's name in the recipe, for messages.
        provider: Its entry.
        workers: Processes that share the provider: each gets its part of the rate, and of the concurrency at least one.

    Raises:
        SettingError: its address names an environment variable that is not set, or `signer_of`.
    """
    return Client(
        concurrency=max(1, provider.concurrency // workers),
        retries=provider.retries,
        timeout_s=provider.timeout_s,
        requests_per_s=None if provider.requests_per_s is None else provider.requests_per_s / workers,
        signer=signer_of(name, provider),
        homes=_homes(name, provider),
    )
