"""Reads all pages of a search, with limits; the result is complete or an error."""

from __future__ import annotations

import json
import re
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pipelines.access.foreign import ForeignJsonError, read_json
from pipelines.access.http.client import AccessError, Url, joined, parsed, shown
from pipelines.access.stac.static import item_of
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.access.http.client import Client

Item = dict[str, Any]

PAGES = (250, 100, 50, 10)
"""Items per page that are asked for, the next one where a service refuses the one before: many allow 100
(Element84/earth-search#60), and answer 502 to much larger pages than 250 (stac-utils/pystac-client#659)."""
_REFUSING = frozenset({400, 413, 414, 422})
"""Statuses by which services refuse a page's size; they have other uses too, so the first refusal is reported."""
_NO_POST = frozenset({404, 405, 501})
"""Statuses of services that have no POST /search, which STAC leaves to them."""
_MOST_PAGES = 200
"""And one more for each `_LEAST_A_PAGE` items: services whose pages are nearly empty, and never end, end here."""
_LEAST_A_PAGE = 5
_MOST_ITEMS = 100_000
"""Of one search; places are searched for in blocks that are expected to answer with 5,000 (`pipelines.plan.blocks`)."""
_MOST_SECONDS = 1_800.0
"""Of one search, all its pages together."""
_MAX_EMPTY = 3
"""Empty pages in a row that still point to a next one."""
_FILTERS = ("collections", "bbox", "intersects", "datetime", "limit")
_ESTIMATED = 10_000
"""From this count on it may be an estimate or a cap, and the pages' own end is believed: Elasticsearch counts to
10,000, pgstac estimates what is dear to count."""
_USUAL = frozenset({10, 20, 25, 30, 50, 100, 200, 250, 500, 1000})
"""Sizes at which services cut pages without a word."""
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_OURS = re.compile(
    r"host|content-.*|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|authorization|cookie|proxy-.*|"
    r"accept-encoding|range|ocp-apim-.*|x-amz-.*",
    re.IGNORECASE,
)
"""Headers that a next link does not set: they frame the request, or stand for credentials."""
_sizes: weakref.WeakKeyDictionary[Client, dict[str, int]] = weakref.WeakKeyDictionary()


def _as_it_is(item: Item) -> Any:
    return item


@dataclass(frozen=True, slots=True)
class Take:
    """Processing of items as answers arrive, so that a search need not keep all items as JSON."""

    item: Callable[[Item], Any] = _as_it_is
    """Item -> what is kept of it; called again for an item whose search is tried again."""
    page: Callable[[], None] = lambda: None
    """Called for every page that is asked for."""
    dropped: Callable[[str, str], None] = lambda *_: None
    """Called with (whose, why) for what an archive gave and the search does not take; again when it is tried again.
    'Whose' is an item's id, or where an entry without one stands."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """Request of one page."""

    method: str
    url: Url
    body: Item
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return json.dumps([self.method, self.url, self.body, self.headers], sort_keys=True)


@dataclass(slots=True)
class _Walk:
    """Pages gone through so far."""

    began_s: float
    seen: set[str] = field(default_factory=set)
    """Ids, and places of entries without one."""
    sizes: list[int] = field(default_factory=list)
    """Entries of each page."""
    matched: int | None = None
    """Number of matching items according to the service."""


def whole_search(client: Client, url: str, body: Item, take: Take) -> Iterator[Item]:
    """Items of one search, each once.

    Args:
        client: HTTP to the service.
        url: of its search.
        body: filters.
        take: told of pages, and of entries that are no items.

    Raises:
        AccessError: the search is incomplete, or goes on beyond what one search may bring.
    """
    base = parsed(url)
    known = _sizes.setdefault(client, {})
    problem: AccessError | None = None
    for limit in [size for size in PAGES if size <= known.get(base, PAGES[0])]:
        ask, walk = _Ask("POST", base, {**body, "limit": limit}), _Walk(time.monotonic())
        try:
            yield from _pages(client, ask, take, walk)
        except AccessError as error:
            problem = problem or error
            if walk.sizes or not (error.status in _REFUSING or error.reason is Reason.CORRUPT):
                raise problem from None
            continue
        known[base] = limit
        if not (_complete(walk, limit) or _proven(client, ask, take, walk)):
            raise _incomplete(base, f"it states {walk.matched} matching items but returned {len(walk.seen)}")
        return
    raise problem or _incomplete(base, "no page was requested")


def _pages(client: Client, ask: _Ask, take: Take, walk: _Walk) -> Iterator[Item]:
    """Items, page by page, checked for circles; ends where the pages end."""
    base = ask.url
    requested: set[str] = set()
    empty = 0
    following: _Ask | None = ask
    while following is not None:
        ask = following
        if ask.key in requested:
            raise _incomplete(base, f"its next links form a loop after {len(walk.seen)} items")
        requested.add(ask.key)
        _check_budget(base, walk)
        take.page()
        page = _page(client, ask)
        before, entries = len(walk.seen), _entries(page, base)
        yield from _fresh(entries, walk, take)
        if entries and len(walk.seen) == before:
            raise _incomplete(base, f"a page repeats earlier items, after {before} items")
        walk.sizes.append(len(entries))
        walk.matched = _matched(page) if _matched(page) is not None else walk.matched
        following = _next(page, ask)
        empty = 0 if entries else empty + 1
        done = walk.matched is not None and len(walk.seen) >= walk.matched
        if (not entries and done) or empty > _MAX_EMPTY:
            return


def _check_budget(base: Url, walk: _Walk) -> None:
    """Searches end that bring too much, take too long, or go on with next to nothing."""
    spent = {
        f"{len(walk.sizes):,} pages": len(walk.sizes) >= _MOST_PAGES + len(walk.seen) / _LEAST_A_PAGE,
        f"{_MOST_ITEMS:,} items": len(walk.seen) >= _MOST_ITEMS,
        f"{_MOST_SECONDS:,.0f} s": time.monotonic() - walk.began_s > _MOST_SECONDS,
    }
    for what, over in spent.items():
        if over:
            raise AccessError(
                Reason.UNAVAILABLE, f"{shown(base)}: the search does not end after {what}: landweave stopped it"
            )


def _fresh(entries: list[Any], walk: _Walk, take: Take) -> Iterator[Item]:
    """Items of a page that were not on an earlier one."""
    for number, entry in enumerate(entries):
        found = item_of(entry)
        whose = f"page {len(walk.sizes) + 1} entry {number + 1}" if isinstance(found, str) else found["id"]
        if whose in walk.seen:
            continue
        walk.seen.add(whose)
        if isinstance(found, str):
            take.dropped(whose, found)
        else:
            yield found


def _complete(walk: _Walk, limit: int) -> bool:
    """Whether the count, or the pages' own end, says that all came."""
    if walk.matched is None or len(walk.seen) >= walk.matched:
        return True
    *before, last = walk.sizes
    own_end = last < max(before, default=limit) and last not in _USUAL
    return own_end and walk.matched >= _ESTIMATED


def _proven(client: Client, ask: _Ask, take: Take, walk: _Walk) -> bool:
    """Whether smaller pages, each with a link to the next, end with the same items: then the count is a guess.

    The pages' size does not divide the number of items, so that the last page is not full: a full last page is what a
    service gives that lost its next link.
    """
    seen = len(walk.seen)
    sizes = [n for n in range(min(seen, ask.body["limit"]) // 2, 1, -1) if seen % n]
    if not sizes:
        return False
    again = _Walk(walk.began_s)
    for _ in _pages(client, _Ask("POST", ask.url, {**ask.body, "limit": sizes[0]}), take, again):
        pass
    return again.seen == walk.seen and len(again.sizes) > 1 and max(again.sizes) <= sizes[0] > again.sizes[-1]


def _page(client: Client, ask: _Ask) -> Item:
    try:
        return client.json(ask.method, ask.url, ask.body if ask.method == "POST" else None, headers=ask.headers)
    except AccessError as error:
        if error.status not in _NO_POST or ask.method != "POST":  # no attempt is left: do not start again
            raise AccessError(error.reason, error.detail, status=error.status) from error
        problem = error
    flat = {k: v if isinstance(v, (str, int, float)) else _flat(k, v) for k, v in ask.body.items()}
    try:
        return client.json("GET", joined(ask.url, f"?{urlencode(flat)}"), headers=ask.headers)
    except AccessError as error:
        told = problem if error.status in _NO_POST else error
        raise AccessError(told.reason, told.detail, status=told.status) from error


def _flat(key: str, value: Any) -> str:
    return json.dumps(value) if key == "intersects" else ",".join(str(v) for v in value)


def _entries(page: Item, url: Url) -> list[Any]:
    features = page.get("features")
    if not isinstance(features, list):
        raise AccessError(Reason.UNAVAILABLE, f"{shown(url)} answered without a list of features", retryable=True)
    return features


def _matched(page: Item) -> int | None:
    """Number of matching items according to the service: OGC's numberMatched, or the older context extension."""
    context = page.get("context")
    for value in (page.get("numberMatched"), context.get("matched") if isinstance(context, dict) else None):
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _next(page: Item, asked: _Ask) -> _Ask | None:
    """The next page.

    A body that lost the filters of the search (as DLR's does: start index and limit alone) is completed with them,
    whether or not the link says 'merge'.
    """
    links = page.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "next" and isinstance(link.get("href"), str):
            try:
                href = joined(asked.url, link["href"])
            except AccessError as error:
                raise _incomplete(asked.url, f"its next link is not usable: {error.detail}") from None
            headers = _headers(link.get("headers"))
            if str(link.get("method", "GET")).upper() != "POST":
                return _Ask("GET", href, {}, headers)
            kept = asked.body if link.get("merge") else {k: v for k, v in asked.body.items() if k in _FILTERS}
            return _Ask("POST", href, {**kept, **_body(link.get("body"))}, headers)
    return None


def _body(said: object) -> Item:
    """A link's body, which some write as text."""
    if isinstance(said, str):
        try:
            said = read_json(said.encode())
        except ForeignJsonError:
            return {}
    return said if isinstance(said, dict) else {}


def _headers(said: object) -> dict[str, str]:
    """Headers that a next link asks for (STAC API's pagination); those that are not its business are left out."""
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


def _incomplete(url: Url, why: str) -> AccessError:
    return AccessError(Reason.UNAVAILABLE, f"{shown(url)}: the search is incomplete: {why}", retryable=True)
