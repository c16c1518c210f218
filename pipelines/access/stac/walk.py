"""The way from page to page: the request of a page, what its answer says of the next one, and what came so far."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.access.http.client import AccessError, joined, shown
from schemas.outcome import Reason

if TYPE_CHECKING:
    from pipelines.access.http.client import Url

Item = dict[str, Any]

_FILTERS = ("collections", "bbox", "intersects", "datetime", "limit")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_OURS = re.compile(
    r"host|content-.*|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|authorization|cookie|proxy-.*|"
    r"accept-encoding|range|ocp-apim-.*|x-amz-.*",
    re.IGNORECASE,
)
"""Headers that a next link does not set: they frame the request, or stand for credentials."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Request of one page."""

    method: str
    """'GET' or 'POST'."""
    url: Url
    body: Item
    """Sent with POST alone."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """A key that is equal for equal requests."""
        return json.dumps([self.method, self.url, self.body, self.headers], sort_keys=True)


@dataclass(slots=True)
class Walk:
    """Pages of one search so far."""

    began_s: float
    requested: set[str] = field(default_factory=set)
    """Keys of the requests."""
    seen: set[str] = field(default_factory=set)
    """Ids, and places of entries without one; `whole_search` adds to it."""
    sizes: list[int] = field(default_factory=list)
    """Entries of each page."""
    matched: int | None = None
    """Number of matching items according to the service."""


def next_ask(page: Item, asked: Ask) -> Ask | None:
    """The request of the next page; None = this page names none.

    A body that lost the filters of the search (as DLR's does: start index and limit alone) is completed with them,
    whether or not the link says 'merge'.

    Raises:
        AccessError: the link's address cannot be requested.
    """
    links = page.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "next" and isinstance(link.get("href"), str):
            try:
                href = joined(asked.url, link["href"])
            except AccessError as error:
                raise incomplete(asked.url, f"its next link is not usable: {error.detail}") from None
            headers = _headers(link.get("headers"))
            if str(link.get("method", "GET")).upper() != "POST":
                return Ask("GET", href, {}, headers)
            kept = asked.body if link.get("merge") else {k: v for k, v in asked.body.items() if k in _FILTERS}
            return Ask("POST", href, {**kept, **_body(link.get("body"))}, headers)
    return None


def _body(said: object) -> Item:
    """The body of a link, which some services write as text."""
    if isinstance(said, str):
        try:
            said = read_json(said.encode())
        except ForeignJsonError:
            return {}
    return said if isinstance(said, dict) else {}


def _headers(said: object) -> dict[str, str]:
    """Headers that a next link asks for (STAC API pagination), without those that a link must not set."""
    return {
        name: value
        for name, value in (said.items() if isinstance(said, dict) else ())
        if isinstance(value, str)
        and _HEADER.fullmatch(name)
        and not _OURS.fullmatch(name)
        and len(value) <= 4096
        and value.isascii()
        and value.isprintable()
    }


def incomplete(url: Url, why: str) -> AccessError:
    """The error of a search that did not bring all items."""
    return AccessError(Reason.UNAVAILABLE, f"{shown(url)}: the search is incomplete: {why}", retryable=True)
