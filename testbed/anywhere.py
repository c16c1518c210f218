"""A STAC API for any place on Earth: it makes Sentinel-2 items on request, by tile and overpass.

Nothing is stored and no raster is behind it: it exists for planning at scale. Items are laid out as Earth Search does.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shapely.geometry import box

from schemas.place import BBox
from testbed.items_sentinel2 import ES_KEYS
from testbed.sentinel2 import RESOLUTION_OF
from testbed.server import Answer, Request, Server
from testbed.services import Services
from testbed.tiling import passes, tiles, views

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
Found = tuple[float, int, int, str, int]
"""(days since the first, tile, day, satellite, number of the view): sorts by time."""
FIRST_DAY = date(2015, 6, 23)
"""Start of the first satellite: days are counted from here."""
COLLECTION = "sentinel-2-l2a"
PAGE = "application/geo+json"


@dataclass(kw_only=True)
class Anywhere:
    """Answers POST searches (bbox, datetime, collections, limit, token) below one root."""

    base_url: str
    root: str = "/anywhere"
    largest_page: int = 250
    keep: Path | None = None
    """Folder of answers that were made once: asked for again, they cost this server next to nothing."""

    def __call__(self, request: Request) -> Answer | None:
        """Answer a request below the root, None for any other."""
        if request.path == self.root:
            return Answer.of(
                {"type": "Catalog", "stac_version": "1.0.0", "id": "anywhere", "description": "", "links": []}
            )
        if request.path != self.root + "/search":
            return None
        if request.method != "POST":
            return Answer.error(405, "search by POST")
        if self.keep is None:
            return self._searched(request)
        asked = hashlib.sha256(self.base_url.encode() + b"\n" + request.body).hexdigest()
        kept = self.keep / f"{asked}.json"
        if kept.exists():
            return Answer(body=kept.read_bytes(), headers={"Content-Type": PAGE})
        answer = self._searched(request)
        if answer.status == HTTPStatus.OK:
            aside = self.keep / f"{asked}.{threading.get_ident()}"
            aside.write_bytes(answer.body)
            aside.replace(kept)
        return answer

    def _searched(self, request: Request) -> Answer:
        body = request.json()
        if set(body) - {"bbox", "datetime", "collections", "limit", "token"} or COLLECTION not in body["collections"]:
            return Answer.error(400, "expected bbox, datetime and collections: [sentinel-2-l2a]")
        found = _found(BBox(*body["bbox"]), body["datetime"])
        start = int(body.get("token", "next:0").removeprefix("next:"))
        page = found[start : start + min(body.get("limit", 10), self.largest_page)]
        links = []
        if start + len(page) < len(found):
            following = body | {"token": f"next:{start + len(page)}"}
            links = [{"rel": "next", "method": "POST", "href": self.base_url + request.path, "body": following}]
        answer = {
            "type": "FeatureCollection",
            "features": [item_of(self.base_url, *entry[1:]) for entry in page],
            "links": links,
            "numberMatched": len(found),
            "numberReturned": len(page),
        }
        return Answer.of(answer, kind=PAGE)


def serve_anywhere(port: int = 0, keep: Path | None = None) -> Services:
    """Serve it on 127.0.0.1; the API is at `Services.base_url + '/anywhere'`. Answers are kept in `keep`, if given."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    services = Services(server=Server(port))
    services.server.routes.append(Anywhere(base_url=services.base_url, keep=keep))
    return services


@lru_cache(maxsize=64)
def _found(bounds: BBox, period: str) -> list[Found]:
    """Everything that matches a search, latest first; periods count by whole days."""
    first, last = ((datetime.fromisoformat(t).date() - FIRST_DAY).days for t in period.split("/"))
    asked = box(*bounds)
    found = [
        (day + _hours(tile) / 24.0, tile, day, satellite, number)
        for tile in tiles().touching(*bounds).tolist()
        for number, view in enumerate(views(tile))
        if view.shape.intersects(asked)
        for day, satellite in passes(view.orbit, first, last)
    ]
    return sorted(found, reverse=True)


@lru_cache(maxsize=65_536)
def _hours(tile: int) -> float:
    """Hours of UTC at about half past ten by the sun, the same day."""
    return (10.5 - float(tiles().corners[tile, :, 0].mean()) / 15.0) % 24.0


def _moment(tile: int, day: int) -> datetime:
    return datetime.combine(FIRST_DAY, datetime.min.time(), UTC) + timedelta(days=day, hours=_hours(tile))


def item_of(base_url: str, tile: int, day: int, satellite: str, number: int) -> Json:
    """One item; its cloud cover is drawn from its name."""
    earth, view = tiles(), views(tile)[number]
    name, when = earth.names[tile], _moment(tile, day)
    identity = f"S2{satellite}_{name}_{when:%Y%m%d}_{number}_L2A"
    chance = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") / 2**32
    folder = f"{base_url}/files/anywhere/{name}/{identity}"
    left, top = float(earth.left[tile]), float(earth.top[tile])
    assets = {}
    for band, key in [*ES_KEYS.items(), ("SCL", "scl")]:
        gsd = RESOLUTION_OF[band]
        assets[key] = {
            "href": f"{folder}/{band}.tif",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "proj:shape": [109_800 // gsd, 109_800 // gsd],
            "proj:transform": [gsd, 0, left, 0, -gsd, top],
        }
    longitudes, latitudes = zip(*view.ring, strict=True)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": identity,
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [view.ring]},
        "bbox": [min(longitudes), min(latitudes), max(longitudes), max(latitudes)],
        "links": [],
        "assets": assets,
        "properties": {
            "datetime": when.isoformat().replace("+00:00", "Z"),
            "platform": f"sentinel-2{satellite.lower()}",
            "proj:epsg": int(earth.epsg[tile]),
            "grid:code": f"MGRS-{name}",
            "sat:relative_orbit": view.orbit,
            "eo:cloud_cover": round(100.0 * chance**0.7, 2),
            "s2:processing_baseline": "05.00",
            "s2:datatake_id": f"GS2{satellite}_{when:%Y%m%d}T{10_000 + view.orbit:06d}_000000_N05.00",
            "earthsearch:boa_offset_applied": True,
            "updated": (when + timedelta(hours=9)).isoformat().replace("+00:00", "Z"),
        },
    }
