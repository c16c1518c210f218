"""What an archive can fail with, and addresses as they may be asked and told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")


class SettingError(ValueError):
    """The user's mistake outside the recipe: an environment variable that is not set. One clear line."""


class AccessError(Exception):
    """An archive did not give what was asked for.

    `retryable` says whether the same request may succeed at once; after the client's own retries it only says which
    class the failure was of. `detail` never holds a query string, a signature or a user name.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.retryable = retryable
        self.status = status
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


def interpolate(text: str, environment: Mapping[str, str], *, where: str) -> str:
    """Replace $NAME and ${NAME} by environment variables.

    Raises:
        SettingError: a variable is not set, or is empty.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if not environment.get(name):
            raise SettingError(
                f"{where}: environment variable {name} is not set; set it, or write the url into the recipe"
            )
        return environment[name]

    return _VARIABLE.sub(value, text)


def public_url(href: str) -> str:
    """The https form of an href of a public bucket (s3://, gs://); http and https pass through.

    Raises:
        AccessError: BAD_ITEM for any other scheme: a path or a file is never read because an item names it.
    """
    parts = urlsplit(href)
    if parts.scheme in ("http", "https") and parts.hostname:
        return href
    if parts.scheme in ("s3", "gs") and parts.netloc:
        path = quote(parts.path, safe="/%")
        if parts.scheme == "gs":
            return f"https://storage.googleapis.com/{parts.netloc}{path}"
        if "." in parts.netloc:  # a dotted bucket name does not match the wildcard certificate
            return f"https://s3.amazonaws.com/{parts.netloc}{path}"
        return f"https://{parts.netloc}.s3.amazonaws.com{path}"
    raise AccessError(Reason.BAD_ITEM, f"expected an http, https, s3 or gs address, got scheme {parts.scheme[:16]!r}")


def shown(url: str) -> str:
    """An address as it may be told: scheme, host and path, without user, query or fragment."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
