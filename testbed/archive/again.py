"""The planet's scenes on other days: every item of an overpass comes again, in the rhythm of its satellite.

An item of another day is the planet's with its dates moved, in its identifiers too. Its rasters are the planet's with
numbers changed block by block when they are asked for; clouds, classes and masks are those of the day that is repeated.
"""

from __future__ import annotations

import json
import math
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.shutil import copy
from scipy.ndimage import distance_transform_edt

from testbed.archive.change import ROOT, change_of, changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Json = dict[str, Any]
FIRST, LAST = date(2015, 7, 1), date(2024, 12, 31)
"""Days that scenes come again on."""
RHYTHM = {
    "sentinel-2-l2a": 30,
    "dynamic-world-v1": 30,
    "sentinel-1-rtc": 12,
    "landsat-c2-l2": 16,
    "ENMAP_HSI_L2A": 27,
    "HLSS30_2.0": 10,
    "HLSL30_2.0": 16,
    "modis-09A1-061": 8,
}
"""Collection -> days until a scene comes again. Three Sentinel-2 datatakes make three a month, one of them cloudy."""
CLEARED = {
    "sentinel2/S2B_20210723_N0301_T": "sentinel2/S2B_20220703_N0400_T",
    "dynamicworld/20210723_T": "dynamicworld/20220703_T",
    "landsat/LC08_20210720/": "landsat/LC09_20220707/",
}
"""Start of a fair overpass's files -> the other one of its product, which fills what its clouds hide."""
_DATE = re.compile(r"(?<!\d)(20[0-3]\d)(-?)([01]\d)\2([0-3]\d)(?=[T _Z\"])")
_DAY_OF_YEAR = re.compile(r"(20[0-3]\d)([0-3]\d\d)(?=T\d{6}|LGN|\.h\d)")


def day_of(item: Json) -> date:
    """The day of an item, that of its start where it has no moment."""
    facts = item["properties"]
    return datetime.fromisoformat(str(facts.get("datetime") or facts["start_datetime"]).replace("Z", "+00:00")).date()


def other_days(item: Json) -> Iterator[int]:
    """How many days before or after its own an item comes again, from FIRST to LAST."""
    rhythm, here = RHYTHM.get(item["collection"], 0), day_of(item)
    if not rhythm:
        return
    first = -((here - FIRST).days // rhythm)
    yield from (k * rhythm for k in range(first, (LAST - here).days // rhythm + 1) if k)


def moved(item: Json, days: int, prefix: str) -> Json:
    """An item some days later (earlier, if negative), its files at the address of that day.

    Args:
        item: an item of the planet, hrefs relative to its `files/`.
        days: how much later.
        prefix: address of the planet's own files, for those that are the same on every day.
    """

    def later(found: re.Match[str]) -> str:
        year, dash, month, day = found.groups()
        when = date(int(year), int(month), int(day)) + timedelta(days=days)
        return when.strftime(f"%Y{dash}%m{dash}%d")

    def later_in_year(found: re.Match[str]) -> str:
        when = date(int(found[1]), 1, 1) + timedelta(days=int(found[2]) - 1 + days)
        return when.strftime("%Y%j")

    bare = {k: v for k, v in item.items() if k != "assets"}
    made: Json = json.loads(_DAY_OF_YEAR.sub(later_in_year, _DATE.sub(later, json.dumps(bare))))
    facts, when = made["properties"], day_of(item) + timedelta(days=days)
    clear = is_clear(item, days)
    if clear and "eo:cloud_cover" in facts:
        facts["eo:cloud_cover"] = 0.0
    if "sat:absolute_orbit" in facts:
        facts["sat:absolute_orbit"] += round(14.6 * days)
    if "s1:datatake_id" in facts:
        facts["s1:datatake_id"] = str(int(facts["s1:datatake_id"]) + days)
    for identity in ("enmap:datatakeID",):
        facts |= {identity: f"{int(facts[identity]) + days:010d}"} if identity in facts else {}
    if "enmap:datatakeID" in facts:
        made["id"] = re.sub(r"DT\d{10}", f"DT{facts['enmap:datatakeID']}", made["id"])
    return made | {"assets": {k: _asset(a, when, prefix, clear) for k, a in item["assets"].items()}}


def is_clear(item: Json, days: int) -> bool:
    """Whether an overpass is repeated without its clouds: every other time of a fair one, whose clouds hide little."""
    rhythm = RHYTHM.get(item["collection"], 1)
    fair = any(name in asset["href"] for asset in item["assets"].values() for name in CLEARED)
    return bool(fair and (days // rhythm) % 2)


def clear_path(path: str) -> str:
    """The path of the cloudless file: 'clear/sentinel2/...' -> its first folder goes behind the product's."""
    product, _, rest = path.partition("/")
    return f"{product}/clear/{rest}"


def _asset(asset: Json, when: date, prefix: str, clear: bool) -> Json:
    href = asset["href"].removeprefix(ROOT + "base/")
    mine = href != asset["href"] or clear
    href = clear_path(href) if clear else href
    if change_of(href) is not None:
        address = f"{ROOT}{when:%Y%m%d}/{href}"
    else:
        address = f"{ROOT}base/{href}" if mine else prefix + href
    return {k: v for k, v in asset.items() if k != "alternate"} | {"href": address}


def again_days(items: Iterable[Json]) -> Iterator[tuple[Json, int]]:
    """(item, days): each item on its own day (0) and all others; a second processing of a datatake only on its own."""
    seen: set[tuple[Any, ...]] = set()
    for item in items:
        own = (item["collection"], day_of(item), item["properties"].get("proj:epsg"), tuple(item["bbox"]))
        yield item, 0
        if own not in seen or item["collection"] not in RHYTHM:
            yield from ((item, days) for days in other_days(item))
        seen.add(own)


def again(items: Iterable[Json], prefix: str) -> Iterator[Json]:
    """The items of a provider on all other days."""
    yield from (moved(item, days, prefix) for item, days in again_days(items) if days)


def on(day: date, path: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The change of a file on a day, for Earth Engine's bands."""
    return partial(changed, path, day)


@dataclass
class Rasters:
    """Rasters of other days as files, made when they are asked for."""

    files: Path
    """The planet's `files/`."""
    scratch: Path
    """Folder for what is made."""
    base: Callable[[str], Path | None] = lambda _: None
    """Makes a file that the planet does not hold: path below `files/` -> where it is now; None = there is none."""
    locks: dict[str, threading.Lock] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def find(self, url_path: str) -> Path | None:
        """The file at a URL path, made if need be; None if it is none of ours."""
        day, _, path = url_path.removeprefix(ROOT).partition("/")
        if not url_path.startswith(ROOT) or not re.fullmatch(r"\d{8}|base", day) or ".." in path or not path:
            return None
        with self.guard:
            lock = self.locks.setdefault(url_path, threading.Lock())
        with lock:
            return (
                self.own(path)
                if day == "base"
                else self._made(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(), path)
            )

    def own(self, path: str) -> Path | None:
        """A file of the planet's, or one that is made."""
        here = self.files / path
        return here if here.is_file() else self._cleared(path) if "/clear/" in path else self.base(path)

    def _cleared(self, path: str) -> Path | None:
        """A fair overpass's file with the other one's pixels where clouds and shadows are; under both, the nearest."""
        bare, target = path.replace("/clear/", "/", 1), self.scratch / "base" / path
        other = next((bare.replace(a, b) for a, b in CLEARED.items() if bare.startswith(a)), None)
        if target.is_file() or other is None:
            return target if target.is_file() else None
        with rasterio.open(self.files / bare) as file, rasterio.open(self.files / other) as second:
            pixels, grid = file.read(1), dict(file.profile)
            hidden, still = self._hidden(bare, pixels.shape), self._hidden(other, pixels.shape)
            fill = second.read(1)
            fill = np.where(fill > 0, fill - 1000, 0) if "_N0400_" in other and pixels.dtype == np.uint16 else fill
        pixels = np.where(hidden, fill, pixels).astype(pixels.dtype)
        near = distance_transform_edt(hidden & still, return_distances=False, return_indices=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{threading.get_ident()}")
        with rasterio.open(aside, "w", **grid | {"compress": "none", "predictor": 1}) as file:
            file.write(pixels[tuple(near)], 1)
        aside.replace(target)
        return target

    def _hidden(self, path: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """(y, x) True where clouds or shadows are, on the lattice of a file of that shape."""
        folder = path.rpartition("/")[0]
        if path.startswith("dynamicworld"):
            with rasterio.open(self.files / path) as file:
                return np.asarray(file.read(1) == 255)
        mask = "SCL.tif" if path.startswith("sentinel2") else "QA_PIXEL.TIF"
        with rasterio.open(self.files / folder / mask) as file:
            codes = file.read(1, out_shape=shape, resampling=Resampling.nearest)
        return np.isin(codes, (3, 7, 8, 9, 10)) if mask == "SCL.tif" else np.asarray((codes & 0b11110) != 0)

    def _made(self, day: date, path: str) -> Path | None:
        target = self.scratch / f"{day:%Y%m%d}" / path
        if target.is_file():
            return target
        with self.guard:
            lock = self.locks.setdefault("plain " + path, threading.Lock())
        with lock:
            plain = self._plain(path)
        if plain is None:
            return None
        content = bytearray(plain.read_bytes())
        for start, size, dtype in _blocks(plain):
            raw = np.frombuffer(content, dtype, size // dtype.itemsize, start)
            content[start : start + size] = changed(path, day, raw).tobytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def _plain(self, path: str) -> Path | None:
        """The file without compression, so that its numbers can be changed where they lie."""
        target = self.scratch / "plain" / path
        if not target.is_file():
            source = self.own(path)
            if source is None or change_of(path) is None:
                return None
            target.parent.mkdir(parents=True, exist_ok=True)
            tile = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
            with rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE="256"), rasterio.open(source) as file:
                copy(file, target, driver="GTiff", **tile, compress="none", copy_src_overviews=True, bigtiff="NO")
        return target


def _blocks(path: Path) -> Iterator[tuple[int, int, np.dtype[Any]]]:
    """(first byte, bytes, dtype) of every block of an uncompressed file, those of its overviews too."""
    with rasterio.open(path) as file:
        for band in file.indexes:
            dtype = np.dtype(file.dtypes[band - 1]).newbyteorder("<")
            for level, factor in ((None, 1), *enumerate(file.overviews(band))):
                across, down = (math.ceil(math.ceil(n / factor) / 256) for n in (file.width, file.height))
                for name in (f"{x}_{y}" for y in range(down) for x in range(across)):
                    at, size = (
                        file.get_tag_item(f"BLOCK_{what}_{name}", "TIFF", bidx=band, ovr=level)
                        for what in ("OFFSET", "SIZE")
                    )
                    if at is not None:
                        yield int(at), int(size), dtype
