"""Lists of assets: pages, and the part of the filter language (AIP-160) that the client writes."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shapely import from_wkt
from shapely.errors import ShapelyError
from shapely.geometry import shape

from testbed.earthengine.errors import EeError, bad

if TYPE_CHECKING:
    from testbed.earthengine.catalogue import EeCatalogue, EeImage

Test = Callable[["EeImage"], bool]
_DEFAULT_PAGE = 1000
_TERM = re.compile(
    r'\s*(?:intersects\("(?P<region>[^"]*)"\)|(?P<field>[\w.:]+)\s*(?P<op><=|>=|!=|=|<|>)\s*'
    r'(?P<value>"[^"]*"|\'[^\']*\'|[^\s"\']+))\s*(?:AND|$)'
)
_OPS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def asset_id(name: str) -> str:
    """Asset id of a Cloud API name.

    Raises:
        EeError: 404.
    """
    found = re.match(r"^projects/(?P<project>[^/]+)/assets/(?P<id>.+)$", name)
    if found is None:
        raise EeError(404, "Requested entity was not found.")
    return found["id"] if found["project"].startswith("earthengine-") else name


def missing(asset: str) -> EeError:
    """The asset API's words for an asset that is not there."""
    return EeError(404, f"Asset '{asset}' does not exist or doesn't allow this operation.")


def page(catalogue: EeCatalogue, collection: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of a collection's images.

    Raises:
        EeError: 404, or 400 for a filter that cannot be read.
    """
    if not catalogue.is_collection(collection):
        raise missing(collection)
    tests = _tests(query.get("filter", ""))
    images = [i for i in catalogue.collection(collection) if all(t(i) for t in tests)]
    size = max(1, min(int(query.get("pageSize") or _DEFAULT_PAGE), _DEFAULT_PAGE))
    start = int(query.get("pageToken") or 0)
    full = query.get("view", "FULL") != "BASIC"
    found: dict[str, Any] = {"assets": [i.asset(full=full) for i in images[start : start + size]]}
    if start + size < len(images):
        found["nextPageToken"] = str(start + size)
    return found


def _tests(text: str) -> list[Test]:
    tests, at = [], 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise bad(f"Invalid filter: cannot read '{text[at : at + 40]}'.")
        tests.append(_touching(term["region"]) if term["region"] is not None else _comparing(term))
        at = term.end()
    return tests


def _touching(region: str) -> Test:
    try:
        outline = shape(json.loads(region.replace("'", '"'))) if region.startswith("{") else from_wkt(region)
    except (ValueError, KeyError, ShapelyError):
        raise bad("Invalid filter: the region is neither GeoJSON nor WKT.") from None
    return lambda image: bool(image.footprint.intersects(outline))


def _comparing(term: re.Match[str]) -> Test:
    field, op, text = term["field"], _OPS[term["op"]], term["value"].strip("\"'")
    if field in ("startTime", "endTime"):
        when = dt.datetime.fromisoformat(text)

        def by_time(image: EeImage) -> bool:
            own = image.start if field == "startTime" else image.end or image.start
            # `endTime < x` is how the client asks for images that start before x
            own = image.start if field == "endTime" and term["op"] == "<" else own
            return own is not None and op(own, when if when.tzinfo else when.replace(tzinfo=dt.UTC))

        return by_time
    name = field.removeprefix("properties.")

    def by_property(image: EeImage) -> bool:
        own = image.all_properties().get(name)
        if own is None:
            return False
        return op(own, text) if isinstance(own, str) else op(float(own), float(text))

    return by_property
