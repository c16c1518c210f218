"""Logins of archives and their environment variables; reports a missing login before any request.

docs/providers.md has the table for people. A copy of a service at another address (a mirror, the testbed)
needs no login, unless its provider sets `signing`.
"""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.access.errors import SettingError, interpolate
from schemas.earthengine import EarthEngineProvider
from schemas.source import ImageSource, RasterSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.provider import Provider
    from schemas.recipe import Recipe

_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_AWS_ROLES = (
    ("AWS_WEB_IDENTITY_TOKEN_FILE",),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
)
"""Set by AWS where a role is attached: obstore fetches the keys itself then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """The login of one service."""

    home: str
    """Host of its API, or the end of its name; other hosts need no login."""
    variables: tuple[str, ...]
    """Environment variables; all are required."""
    instead: tuple[tuple[str, ...], ...] = ()
    """Other sets of variables, each of which will do."""
    where: str = ""
    """Where users get the login."""
    collections: tuple[str, ...] = ()
    """Collections that need it; none = all."""


_LOGINS: dict[str, Login] = {
    "dlr-eoc": Login(
        home="geoservice.dlr.de", variables=("DLR_EOC_USER", "DLR_EOC_PASSWORD"), where="https://geoservice.dlr.de"
    ),
    "copernicus-data-space": Login(
        home="dataspace.copernicus.eu",
        variables=("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"),
        where="https://eodata-s3keysmanager.dataspace.copernicus.eu",
    ),
    "earthdata": Login(
        home="earthdata.nasa.gov",
        variables=("EARTHDATA_TOKEN",),
        instead=(("EARTHDATA_USERNAME", "EARTHDATA_PASSWORD"),),
        where="https://urs.earthdata.nasa.gov",
    ),
    "usgs": Login(home="landsatlook.usgs.gov", variables=_AWS, instead=_AWS_ROLES, where="AWS, requester pays"),
    "earth-search": Login(
        home="earth-search.aws.element84.com",
        variables=_AWS,
        instead=_AWS_ROLES,
        where="AWS, requester pays",
        collections=("landsat-c2-l2",),
    ),
    "generic": Login(home="", variables=_AWS, instead=_AWS_ROLES, where="the store's owner"),
}
CDSE_HTTPS = Login(
    home="dataspace.copernicus.eu",
    variables=("CDSE_USERNAME", "CDSE_PASSWORD"),
    where="https://dataspace.copernicus.eu",
)
"""Copernicus Data Space by `alternate: https`."""


def check_credentials(recipe: Recipe) -> None:
    """Look for the login of every provider that a source or label names, before anything is fetched.

    Raises:
        SettingError: one line for the first that is missing: provider, service and variable.
    """
    for entry in (*recipe.sources, *recipe.read_labels):
        if not isinstance(entry, RasterSource):
            continue
        for name in entry.providers:
            provider = recipe.providers[name]
            if isinstance(provider, EarthEngineProvider):
                continue  # has its own, checked by EarthEngineArchive.check
            login = login_of(name, provider, entry.collection_at(name, provider).split(","))
            if login is None or not (missing := missing_of(login)):
                continue
            who = entry.name if isinstance(entry, ImageSource) else getattr(entry, "kind", "it")
            others = [" and ".join(other) for other in login.instead if other not in _AWS_ROLES]
            raise SettingError(
                f"provider {name!r}: {who} needs a login ({login.where}): set the environment "
                f"variable{'s' if len(missing) > 1 else ''} {', or '.join([' and '.join(missing), *others])}"
            )


def login_of(name: str, provider: Provider, collections: Sequence[str] | None = None) -> Login | None:
    """The login for these collections (None = any) at a provider; None = no login.

    Raises:
        SettingError: its address names an environment variable that is not set.
    """
    login = _LOGINS.get(provider.dialect)
    if provider.dialect == "copernicus-data-space" and provider.alternate == "https":
        login = CDSE_HTTPS
    if login is None:
        return None
    if login.collections and collections is not None and not set(login.collections) & set(collections):
        return None
    host = urlsplit(expanded(name, provider.url)).hostname or ""
    at_home = bool(login.home) and (host == login.home or host.endswith("." + login.home))
    return login if at_home or provider.signing is not None else None


def missing_of(login: Login) -> list[str]:
    """Variables that are not set, in order; none where another set of them is."""
    if any(all(os.environ.get(v) for v in other) for other in login.instead):
        return []
    if login.home == "earthdata.nasa.gov" and netrc_login() is not None:
        return []
    return [v for v in login.variables if not os.environ.get(v)]


def netrc_login() -> tuple[str, str] | None:
    """User and password for Earthdata in ~/.netrc, or in the file that NETRC names."""
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators("urs.earthdata.nasa.gov")
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2]) if found and found[0] and found[2] else None


def expanded(name: str, url: str) -> str:
    """A provider's address with the environment's words in it."""
    return interpolate(url, dict(os.environ), where=f"provider {name!r}")
