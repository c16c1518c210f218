"""Networks that an archive may refer to: the public network, and private ones only if the archive is in them.

An item, a next link or a redirect may name any host, and any name may resolve to any address. So the IP address
of a connection is checked, and the connection goes to exactly this address.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Literal

from pipelines.access.errors import AccessError
from pipelines.access.http.address import public_url
from pipelines.access.http.permission import is_trusted
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.access.http.address import Url

Kind = Literal["public", "private", "link-local", "loopback"]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_THIS_HOST = ipaddress.IPv4Network("0.0.0.0/8")
"""RFC 1122 section 3.2.1.3: Linux connects to itself."""


def kind_of(address: str) -> Kind:
    """The network of an IP address; one that carries an IPv4 address within counts as that.

    'private' is all that is neither public nor one of the other two: RFC 1918, shared, unique local, reserved,
    multicast (IANA's special-purpose registries, as `ipaddress` knows them).
    """
    found = _innermost(ipaddress.ip_address(address.partition("%")[0]))
    if found.is_loopback or found.is_unspecified or (found.version == 4 and found in _THIS_HOST):
        return "loopback"
    if found.is_link_local:
        return "link-local"
    return "public" if found.is_global and not found.is_multicast else "private"


def _innermost(found: _Address) -> _Address:
    if isinstance(found, ipaddress.IPv4Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None) or found


class Homes:
    """The networks of one service, resolved on first use and kept: names may resolve differently later."""

    def __init__(self, urls: Iterable[Url], *, roams: bool = True) -> None:
        """Homes of one service.

        Args:
            urls: its own addresses, as the user wrote them.
            roams: whether redirects to other hosts are followed; False if a request has secrets in its body.
        """
        self._urls = tuple(urls)
        self.roams = roams
        self._lock = threading.Lock()
        self._kinds: frozenset[Kind] | None = None

    def addresses(self, url: Url) -> list[tuple[str, int]]:
        """(IP address, port) of a host, in the resolver's order.

        Raises:
            AccessError: BAD_ITEM if one of them is in a network that the service does not live in, and whoever
                runs this has not named the host (`pipelines.access.http.permission`).
            OSError: the name does not resolve.
        """
        found = _resolved(url)
        for address, _ in found:
            kind = kind_of(address)
            if kind != "public" and kind not in self._allowed() and not is_trusted(url):
                raise AccessError(
                    Reason.BAD_ITEM,
                    f"{url.scheme}://{url.host} is in a {kind} network, where its archive does not live: not asked "
                    "(--allow-host allows it)",
                )
        return found

    def _allowed(self) -> frozenset[Kind]:
        with self._lock:
            if self._kinds is None:
                self._kinds = frozenset(kind for url in self._urls for kind in _kinds_of(url))
            return self._kinds


def _kinds_of(url: Url) -> list[Kind]:
    """The networks of a service's own address. A name on the internet may resolve to a network of somebody's own,
    but never to this machine or its link: those are written as what they are."""
    try:
        kinds = [kind_of(address) for address, _ in _resolved(url)]
    except OSError:
        return []
    if _is_number(url.host):
        return kinds
    local = url.host.rpartition(".")[2] == "localhost" or "." not in url.host
    return [kind for kind in kinds if kind == "private" or (kind == "loopback" and local)]


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(url: Url) -> list[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except UnicodeError:  # the resolver's own idea of a name
        raise OSError(f"{url.host} is a host name that cannot be resolved") from None
    return list(dict.fromkeys((str(where[0]), url.port) for *_, where in found))


def homes_of(*urls: str, roams: bool = True) -> Homes:
    """`Homes` of a service at these addresses.

    Raises:
        AccessError: BAD_ITEM if one cannot be used.
    """
    return Homes((public_url(url) for url in urls), roams=roams)
