"""Parses an address once; signing, connections, redirects, limits and messages use the same parts.

Two parsers may find different hosts in the same text, and the author of an item chooses the text. So only plain
addresses are accepted: no user name, no backslash, no control character, a host in ASCII, numbers in their usual form.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin

from pipelines.access.errors import AccessError, named
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS = {"http": 80, "https": 443}
_BUCKETS = frozenset({"s3", "gs"})
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{0,5}))?")
BESIDE = "recipe.invalid"
"""Host of the files beside the recipe. No such host exists (RFC 6761): `pipelines.access.http.folder` reads them."""
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,221}[A-Za-z0-9])?")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PLAIN = re.compile(
    r"(?:https?|s3|gs)://[A-Za-z0-9][A-Za-z0-9._-]*\.[A-Za-z][A-Za-z0-9-]*(?::[0-9]{2,4})?/[A-Za-z0-9/._~%!$'()*+,;=:&?-]*"
)
"""Pattern of nearly all addresses, which need no parsing."""
_ENGINE = "earthengine:"
"""Images of Earth Engine are named by this; its own reader alone knows it."""
_MOST_CHARS = 8192
"""Signed addresses have some hundred characters; a longer text than this is no address."""
_SAFE_PATH = "/!$&'()*+,;=:@-._~%"
_SHOWN_CHARS = 200


class Url(str):
    """An absolute address in its canonical form, which is also its text; made by `parsed` alone.

    The parts are read-only: what was judged is what is asked.
    """

    __slots__ = ("host", "port", "scheme", "target")

    scheme: str
    """'http', 'https', 's3' or 'gs'."""
    host: str
    """Host in small letters, IPv6 without brackets; of s3 and gs the bucket."""
    port: int
    """0 for s3 and gs."""
    target: str
    """Path and query, percent-encoded, beginning with '/'."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an address cannot be changed: {name}")

    def __reduce__(self) -> tuple[object, ...]:
        return (parsed, (str(self),))

    @property
    def origin(self) -> tuple[str, str, int]:
        """(scheme, host, port)."""
        return (self.scheme, self.host, self.port)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def is_loopback(self) -> bool:
        """Whether the host is written as this machine itself."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def keeps_secrets(self) -> bool:
        """Whether credentials may be sent there: encrypted, or to this machine itself."""
        return self.scheme == "https" or (self.scheme == "http" and self.is_loopback)


@lru_cache(maxsize=8192)
def parsed(text: str) -> Url:
    """The address in a text.

    Raises:
        AccessError: BAD_ITEM if the text is none that may be asked, with the reason.
    """
    if type(text) is Url:
        return text
    _check_characters(text)
    match = _PARTS.fullmatch(text.strip(" "))
    if match is None:
        raise _unusable(text, "expected an http, https, s3 or gs address")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    if "@" in authority:
        raise _unusable(text, "it contains a user name; put credentials into environment variables")
    if scheme in _BUCKETS:
        if not _BUCKET.fullmatch(authority):
            raise _unusable(text, "its bucket name is not valid")
        return _made(scheme, authority, 0, _encoded(path or "/"))
    if scheme not in _PORTS:
        raise _unusable(text, f"expected an http, https, s3 or gs address, got scheme {scheme[:16]!r}")
    host, port = _host_and_port(text, scheme, authority)
    return _made(scheme, host, port, _encoded(_without_dots(path)) + _encoded(query, "?"))


def joined(base: Url, href: str) -> Url:
    """The address that `href`, absolute or relative, has in a document at `base`.

    A document that came encrypted and names its own host in the clear (services behind a proxy do) means itself.

    Raises:
        AccessError: BAD_ITEM if it is none that may be asked.
    """
    _check_characters(href)
    if not _SCHEME.match(href):
        try:
            href = urljoin(base, href)
        except ValueError:
            raise _unusable(href, "it cannot be read") from None
    found = parsed(href)
    if (base.scheme, found.scheme, found.port) == ("https", "http", 80) and base.host == found.host:
        return _made("https", found.host, base.port, found.target)
    return found


def public_url(href: str) -> Url:
    """The https form of an href of a public bucket (s3://, gs://); http and https pass through.

    Raises:
        AccessError: BAD_ITEM for any other scheme: a path or a file is never read because an item names it.
    """
    url = parsed(href)
    if url.scheme == "gs":
        return _made("https", "storage.googleapis.com", 443, f"/{url.host}{url.target}")
    if url.scheme == "s3":
        if "." in url.host:  # a dotted bucket name does not match the wildcard certificate
            return _made("https", "s3.amazonaws.com", 443, f"/{url.host}{url.target}")
        return _made("https", f"{url.host}.s3.amazonaws.com".lower(), 443, url.target)
    return url


def asset_url(item: Mapping[str, Any], href: str) -> str:
    """The address of an item's asset as the item writes it; a relative one is resolved by the self link, if any.

    Raises:
        AccessError: BAD_ITEM if it is none that may be asked: a scheme of our own in an item of others, for one.
    """
    if _PLAIN.fullmatch(href) or href.startswith(_ENGINE):
        return href
    if _SCHEME.match(href):
        parsed(href)
        return href
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self" and isinstance(link.get("href"), str):
            return str(joined(parsed(link["href"]), href))
    return href  # nobody knows of what it is a part: refused when it is read


def shown(url: str) -> str:
    """URL that is safe to log: scheme, host and path, without user, query or fragment; never raises.

    If it starts with the value of a variable that the recipe names, the variable's name replaces the value. A file
    beside the recipe is shown as provider://NAME/path.
    """
    try:
        found = parsed(url)
    except AccessError:
        match = _PARTS.match(url)
        if match is None:
            return "an address that cannot be read"
        found_text = f"{match[1]}://{match[2].rpartition('@')[2]}{match[3]}"
        return _printable(found_text)
    if found.host == BESIDE:
        return _printable(f"provider:/{found.path}")
    return _printable(_as_named(found))


def _as_named(text: str) -> str:
    """The address, without its query, with the variable that it was made from in place of that variable's value."""
    is_read = type(text) is Url
    text = text.partition("?")[0]
    for name in sorted(named, key=lambda n: (-len(os.environ.get(n, "")), n)):
        value = os.environ.get(name, "").rstrip("/")
        if value and is_read:
            with contextlib.suppress(AccessError):
                value = parsed(value).partition("?")[0].rstrip("/")
        if value and (text == value or text.startswith(value + "/")):
            return f"${name}{text.removeprefix(value)}"
    return text


def _made(scheme: str, host: str, port: int, target: str) -> Url:
    bracketed = f"[{host}]" if ":" in host else host
    where = bracketed if port == _PORTS.get(scheme, 0) else f"{bracketed}:{port}"
    url = str.__new__(Url, f"{scheme}://{where}{target}")
    for name, value in (("scheme", scheme), ("host", host), ("port", port), ("target", target)):
        object.__setattr__(url, name, value)
    return url


def _host_and_port(text: str, scheme: str, authority: str) -> tuple[str, int]:
    match = _HOST.fullmatch(authority)
    if match is None:
        raise _unusable(text, "its host is not plain ASCII" if authority else "it has no host")
    port = int(match[2]) if match[2] else _PORTS[scheme]
    if not 0 < port < 65536:
        raise _unusable(text, f"port {port} does not exist")
    host = match[1].lower()
    if host.startswith("["):
        try:
            return ipaddress.IPv6Address(host[1:-1]).compressed, port
        except ValueError:
            raise _unusable(text, "its IPv6 address is not valid") from None
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _unusable(text, "its host is not a valid name")
    if _NUMBER.fullmatch(labels[-1]):  # then every reader takes it for an IPv4 address, in more forms than one
        try:
            return str(ipaddress.IPv4Address(host)), port
        except ValueError:
            raise _unusable(text, "its host is a number that is not an IPv4 address in its usual form") from None
    return host, port


def _check_characters(text: str) -> None:
    if len(text) > _MOST_CHARS:
        raise AccessError(Reason.BAD_ITEM, f"an address of {len(text):,} characters; the limit is {_MOST_CHARS:,}")
    if (match := _UNSAFE.search(text)) is not None:
        raise _unusable(text, f"it contains the character {match[0]!a}")


def _encoded(part: str, more: str = "") -> str:
    """Percent-encoded where it is not yet."""
    return quote(_PERCENT.sub("%25", part), safe=_SAFE_PATH + more)


def _without_dots(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    if "/." not in path:
        return path or "/"
    found: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del found[-1:]
        elif segment != ".":
            found.append(segment)
    if segments[-1] in (".", ".."):
        found.append("")
    return "/" + "/".join(found)


def _unusable(text: str, why: str) -> AccessError:
    text = _as_named(text)  # what stands before an '@' may be a password
    named = "an address" if "@" in text else f"the address {_printable(text)}"
    return AccessError(Reason.BAD_ITEM, f"{named} cannot be used: {why}")


def _printable(text: str) -> str:
    """ASCII that a terminal shows as it is, and not too much of it."""
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = "".join(c if c.isprintable() else "?" for c in plain)
    return plain if len(plain) <= _SHOWN_CHARS else plain[:_SHOWN_CHARS] + "..."
