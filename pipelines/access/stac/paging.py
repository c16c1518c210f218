"""Reads all items of a search through pystac-client; the result is complete or an error."""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.access.http.client import AccessError, Url, parsed
from pipelines.access.stac.static import item_of
from pipelines.access.stac.walk import Walk, incomplete
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
_ESTIMATED = 10_000
"""From this count on it may be an estimate or a cap, and the pages' own end is believed: Elasticsearch counts to
10,000, pgstac estimates what is dear to count."""
_USUAL = frozenset({10, 20, 25, 30, 50, 100, 200, 250, 500, 1000})
"""Sizes at which services cut pages without a word."""
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


def whole_search(client: Client, url: str, body: Item, take: Take) -> Iterator[Item]:
    """Items of one search, each once.

    Args:
        client: HTTP to the service.
        url: Address of its search.
        body: Filters, by their names in STAC's item search.
        take: Processes the pages; entries that are no items go to its `dropped`.

    Raises:
        AccessError: the search is incomplete, or goes on beyond what one search may bring.
    """
    base = parsed(url)
    known = _sizes.setdefault(client, {})
    problem: AccessError | None = None
    for limit in [size for size in PAGES if size <= known.get(base, PAGES[0])]:
        walk = Walk(time.monotonic())
        try:
            yield from _items(client, base, {**body, "limit": limit}, take, walk)
        except AccessError as error:
            problem = problem or error
            if walk.sizes or not (error.status in _REFUSING or error.reason is Reason.CORRUPT):
                raise problem from None
            continue
        known[base] = limit
        if not (_complete(walk, limit) or _proven(client, base, {**body, "limit": limit}, take, walk)):
            raise incomplete(base, f"it states {walk.matched} matching items but returned {len(walk.seen)}")
        return
    raise problem or incomplete(base, "no page was requested")


def _items(client: Client, url: Url, body: Item, take: Take, walk: Walk) -> Iterator[Item]:
    """The items, page by page."""
    from pystac_client import ItemSearch  # the library takes a while to import

    from pipelines.access.stac.search_io import SearchIO

    for page in ItemSearch(url, stac_io=SearchIO(client, walk, take.page), **body).pages_as_dicts():
        before = len(walk.seen)
        yield from _fresh(page["features"], walk, take)
        if len(walk.seen) == before:
            raise incomplete(url, f"a page repeats earlier items, after {before} items")


def _fresh(entries: list[Any], walk: Walk, take: Take) -> Iterator[Item]:
    """Items of a page that were not on an earlier one."""
    for number, entry in enumerate(entries):
        found = item_of(entry)
        whose = f"page {len(walk.sizes)} entry {number + 1}" if isinstance(found, str) else found["id"]
        if whose in walk.seen:
            continue
        walk.seen.add(whose)
        if isinstance(found, str):
            take.dropped(whose, found)
        else:
            yield found


def _complete(walk: Walk, limit: int) -> bool:
    """True if the count, or the end of the pages, shows that all items were received."""
    if walk.matched is None or len(walk.seen) >= walk.matched:
        return True
    *before, last = walk.sizes
    own_end = last < max(before, default=limit) and last not in _USUAL
    return own_end and walk.matched >= _ESTIMATED


def _proven(client: Client, url: Url, body: Item, take: Take, walk: Walk) -> bool:
    """True if smaller pages lead to the same items; the stated count is then only an estimate.

    The pages' size does not divide the number of items, so that the last page is not full: a full last page is what a
    service gives that lost its next link.
    """
    seen = len(walk.seen)
    sizes = [n for n in range(min(seen, body["limit"]) // 2, 1, -1) if seen % n]
    if not sizes:
        return False
    again = Walk(walk.began_s)
    for _ in _items(client, url, {**body, "limit": sizes[0]}, take, again):
        pass
    return again.seen == walk.seen and len(again.sizes) > 1 and max(again.sizes) <= sizes[0] > again.sizes[-1]
