"""The input and output of pystac-client: each request goes through `Client`, each page through our checks.

pystac-client writes the query and goes from page to page. Its own requests know neither deadlines nor limits, and it
follows links that lead in circles; so it gets pages and links from here alone.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pystac_client.stac_api_io import StacApiIO

from pipelines.access.http.client import AccessError, joined, parsed, shown
from pipelines.access.stac.walk import Ask, incomplete, next_ask
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.access.http.client import Client, Url
    from pipelines.access.stac.walk import Walk

Item = dict[str, Any]

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


class SearchIO(StacApiIO):
    """Pages of one search for `pystac_client.ItemSearch`."""

    def __init__(self, client: Client, walk: Walk, before_page: Callable[[], None]) -> None:
        """`walk`: notes what came; `before_page`: called for every page that is requested."""
        super().__init__(max_retries=None)
        self.session.adapters.clear()  # nothing leaves through the library's own session
        self._client, self._walk, self._before_page = client, walk, before_page
        self._base: Url | None = None
        self._following: Ask | None = None

    def read_json(self, source: Any, *_: Any, **how: Any) -> Item:
        """The next page that has items, or the last one.

        Args:
            source: The search's address for its first page; for each later page the link of the page before, which
                stands for the request that was made of it.
            how: `method` and `parameters` of the first page.

        Returns:
            The page's `features`, and in its `links` one to the next page if there is one.

        Raises:
            AccessError: the service did not answer, pages go in circles, or the search does not end.
        """
        ask = self._following
        if ask is None:
            ask = Ask(how["method"], parsed(str(source)), how["parameters"])
            self._base = ask.url
        empty = 0
        while True:
            page = self._checked(ask, self._base or ask.url)
            entries, self._following = page["features"], next_ask(page, ask)
            empty = 0 if entries else empty + 1
            if entries or self._following is None or self._ended(empty):
                following = [] if self._following is None else [{"rel": "next", "href": str(self._following.url)}]
                return {"features": entries, "links": following}
            ask = self._following

    def _ended(self, empty: int) -> bool:
        """True if an empty page is the last one, even if it has a next link."""
        matched = self._walk.matched
        return empty > _MAX_EMPTY or (matched is not None and len(self._walk.seen) >= matched)

    def _checked(self, ask: Ask, base: Url) -> Item:
        """A page that was not requested before, with a list of features, counted."""
        walk = self._walk
        if ask.key in walk.requested:
            raise incomplete(base, f"its next links form a loop after {len(walk.seen)} items")
        walk.requested.add(ask.key)
        _check_budget(base, walk)
        self._before_page()
        page = _page(self._client, ask)
        if not isinstance(page.get("features"), list):
            raise AccessError(Reason.UNAVAILABLE, f"{shown(base)} answered without a list of features", retryable=True)
        walk.sizes.append(len(page["features"]))
        matched = _matched(page)
        walk.matched = walk.matched if matched is None else matched
        return page


def _check_budget(base: Url, walk: Walk) -> None:
    """Stops searches that return too much, take too long, or continue with nearly empty pages."""
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


def _page(client: Client, ask: Ask) -> Item:
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
        final = problem if error.status in _NO_POST else error
        raise AccessError(final.reason, final.detail, status=final.status) from error


def _flat(key: str, value: Any) -> str:
    return json.dumps(value) if key == "intersects" else ",".join(str(v) for v in value)


def _matched(page: Item) -> int | None:
    """Number of matching items according to the service: OGC's numberMatched, or the older context extension."""
    context = page.get("context")
    for value in (page.get("numberMatched"), context.get("matched") if isinstance(context, dict) else None):
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
