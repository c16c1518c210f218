"""Scenes of real size for `benchmarks.building --scenes full`, made once: a folder that `testbed.serve` takes.

One granule of Sentinel-2 (10,980 px) at two dates, and what lies under it: Sentinel-1, a whole Landsat scene, tiles of
the DEM and of WorldCover. They are cut and compressed as the archives' own: tiles of 1,024 px (Sentinel-2 at Earth
Search, DEM, WorldCover), 512 (Sentinel-1) and 256 (Landsat), deflate with a predictor. Items are those of the miniature
Earth, moved. Bands of one pixel size are one file under several names, and so are the two dates: nothing is cached by
content. Sentinel-1 and WorldCover are cut to what lies under the granule: nobody reads the rest. No pixel is cloudy, so
that each footprint is read at both dates. There is no map: its extract does not grow with the scenes.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from affine import Affine
from shapely.geometry import box, mapping
from shapely.ops import transform

from benchmarks.building_stack import DATES, POINTS, SIZE_M
from benchmarks.scenes import EDGE_M, S2_BANDS, strips, write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Json = dict[str, Any]

VERSION = 2
SEED = 20_260_518
EPSG = 32632
LEFT, TOP = 499_980.0, 5_300_040.0
"""Corner of granule 32TNT: east of 9 E, so that one tile of WorldCover holds it."""
PLACES = 400
"""Footprints, uniformly at random in the granule and apart from one another."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One raster of real size, and the names that it goes by."""

    names: tuple[str, ...]
    """Below `files/`."""
    epsg: int
    transform: Affine
    width: int
    height: int
    dtype: str
    tile_px: int
    nodata: float | None = None
    level: float
    relief: float
    noise: float
    codes: tuple[int, ...] = ()
    """Of classes and bits: pixels are among these."""

    @property
    def predictor(self) -> int:
        """Predictor of TIFF."""
        return 1 if self.codes else 3 if self.dtype == "float32" else 2


def _metres(pixel: float, left: float = LEFT, top: float = TOP) -> Affine:
    return Affine(pixel, 0, left, 0, -pixel, top)


def _granule(pixel: int, bands: list[str], codes: tuple[int, ...] = ()) -> Made:
    """Bands of Sentinel-2 at both dates."""
    edge = round(EDGE_M / pixel)
    return Made(
        names=tuple(f"sentinel2/{date['name']}/{band}.tif" for date in DATES for band in bands), epsg=EPSG,
        transform=_metres(pixel), width=edge, height=edge, dtype="uint8" if codes else "uint16", tile_px=1024,
        nodata=0, level=2_500, relief=700, noise=60, codes=codes,
    )  # fmt: skip


def _landsat(bands: list[str], codes: tuple[int, ...] = ()) -> Made:
    return Made(
        names=tuple(f"landsat/{date['name']}/{band}.TIF" for date in DATES for band in bands), epsg=EPSG,
        transform=_metres(30, LEFT - 60_015, TOP + 60_015), width=7_681, height=7_801, dtype="uint16", tile_px=256,
        nodata=1 if codes else 0, level=11_000, relief=2_500, noise=120, codes=codes,
    )  # fmt: skip


def rasters() -> list[Made]:
    """All files, those that take longest first."""
    s2 = {pixel: [band for band, size in S2_BANDS.items() if size == pixel] for pixel in (10, 20, 60)}
    landsat = ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"]
    radar = Made(
        names=tuple(f"sentinel1/{date['name']}/{band}.tif" for date in DATES for band in ("VV", "VH")), epsg=EPSG,
        transform=_metres(10, LEFT - 2_000, TOP + 2_000), width=11_500, height=11_500, dtype="float32", tile_px=512,
        nodata=-32_768, level=0.12, relief=0.04, noise=0.02,
    )  # fmt: skip
    cover = Made(
        names=("worldcover/N45E009.tif",), epsg=4326, transform=Affine(1 / 12_000, 0, 9, 0, -1 / 12_000, 48),
        width=18_000, height=14_000, dtype="uint8", tile_px=1024, nodata=0, level=5, relief=2, noise=0.2,
        codes=(10, 20, 30, 40, 50, 60, 80, 90),
    )  # fmt: skip
    dem = [
        Made(
            names=(f"dem/N{lat}E0{lon:02d}.tif",), epsg=4326,
            transform=Affine(1 / 3600, 0, lon - 0.5 / 3600, 0, -1 / 3600, lat + 1 + 0.5 / 3600), width=3_600,
            height=3_600, dtype="float32", tile_px=1024, level=700, relief=300, noise=0.05,
        )
        for lat in (46, 47) for lon in (9, 10)
    ]  # fmt: skip
    scl, qa = (4, 5, 4, 5, 4, 4, 6, 5), (21_824, 21_824, 21_824, 21_952)
    return [
        radar, _granule(10, s2[10]), cover, _landsat(landsat), _granule(20, s2[20]), _landsat(["QA_PIXEL"], qa),
        _granule(20, ["SCL"], scl), _granule(60, s2[60]), *dem,
    ]  # fmt: skip


def make_full(earth: Path, folder: Path) -> Path:
    """Write the scenes, their items and the footprints, unless they are there: 1.1 GB, a minute of CPU.

    Args:
        earth: the miniature Earth, whose items are taken.
        folder: where it is to be.
    """
    home = folder / f"building-{VERSION}"
    if (home / "providers.json").is_file():
        return home
    made = rasters()
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(_write, home / "files", raster, number) for number, raster in enumerate(made)]:
            job.result()
    (home / "stac").mkdir(exist_ok=True)
    name = "planetary-computer"
    items = _items(json.loads((earth / "stac" / f"{name}-items.json").read_text()), made)
    (home / "stac" / "items.json").write_text(json.dumps(items))
    shutil.copyfile(earth / "stac" / f"{name}-collections.json", home / "stac" / "collections.json")
    (home / POINTS).write_text(points())
    said = json.loads((earth / "providers.json").read_text())[name]
    index = {name: said | {"items": ["stac/items.json"], "collections": "stac/collections.json"}}
    (home / "providers.json").write_text(json.dumps(index))
    return home


def _write(files: Path, raster: Made, number: int) -> None:
    first, *others = [files / name for name in raster.names]
    profile = {
        "width": raster.width, "height": raster.height, "count": 1, "dtype": raster.dtype, "nodata": raster.nodata,
        "crs": f"EPSG:{raster.epsg}", "transform": raster.transform,
    }  # fmt: skip
    if not first.exists():
        pixels = _pixels(raster, np.random.default_rng([SEED, number]))
        write_cog(first, pixels, profile, predictor=raster.predictor, tile_px=raster.tile_px)
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.unlink(missing_ok=True)
        os.link(first, other)


def _pixels(raster: Made, rng: np.random.Generator) -> Iterator[NDArray[Any]]:
    codes = np.array(raster.codes)
    for field, noise in strips(rng, raster.height, raster.width):
        if raster.codes:
            yield codes[np.clip((field + 2.0) * len(codes) / 4.0, 0, len(codes) - 1).astype(np.int64)]
        else:
            yield np.maximum(
                raster.level + raster.relief * field + raster.noise * noise, 1e-3 if raster.noise < 1 else 1
            )


def _items(known: list[Json], made: list[Made]) -> list[Json]:
    """Items of the miniature Earth, one per product and date, moved to the scenes."""
    by_name = {name: raster for raster in made for name in raster.names}
    found = []
    for collection, folder in (
        ("sentinel-2-l2a", "sentinel2"),
        ("sentinel-1-rtc", "sentinel1"),
        ("landsat-c2-l2", "landsat"),
    ):
        for date in DATES:
            item = next(
                i for i in known
                if i["collection"] == collection and date["start"] <= i["properties"]["datetime"] < date["end"]
            )  # fmt: skip
            found.append(_moved(item, f"{folder}/{date['name']}", by_name))
    for collection, folder in (("cop-dem-glo-30", "dem"), ("esa-worldcover", "worldcover")):
        item = next(i for i in known if i["collection"] == collection and "2020" not in i["id"])
        for name in (name for name in by_name if name.startswith(folder)):
            tile = name.partition("/")[2].removesuffix(".tif")
            named = f"Copernicus_DSM_COG_10_{tile[:3]}_00_{tile[3:]}_00_DEM" if folder == "dem" else item["id"]
            found.append(_moved(item | {"id": named}, name, by_name))
    return found


def _moved(item: Json, where: str, by_name: dict[str, Made]) -> Json:
    """An item whose assets are the files below `where`, or that file."""
    assets, properties = {}, dict(item["properties"])
    for key, asset in item["assets"].items():
        name = where if where in by_name else f"{where}/{asset['href'].rpartition('/')[2]}"
        raster = by_name[name]
        placed = {"proj:shape": [raster.height, raster.width], "proj:transform": list(raster.transform)[:6]}
        assets[key] = asset | {"href": name} | {k: v for k, v in placed.items() if k in asset}
        assets[key].pop("proj:bbox", None)
    properties |= {k: v for k, v in placed.items() if k in properties} | {"proj:epsg": raster.epsg}
    properties.pop("proj:bbox", None)
    properties |= {"eo:cloud_cover": 0.0} if "eo:cloud_cover" in properties else {}
    (left, top), (right, bottom) = (raster.transform * at for at in ((0, 0), (raster.width, raster.height)))
    to_lonlat = pyproj.Transformer.from_crs(raster.epsg, 4326, always_xy=True).transform
    outline = transform(to_lonlat, box(left, bottom, right, top).segmentize(max(right - left, 1.0) / 8))
    return item | {
        "properties": properties,
        "assets": assets,
        "geometry": mapping(outline),
        "bbox": list(outline.bounds),
    }


def points() -> str:
    """Longitude and latitude of footprints: uniformly at random, none within a footprint of another one."""
    rng = np.random.default_rng(SEED)
    centres: list[tuple[float, float]] = []
    while len(centres) < PLACES:
        x, y = rng.uniform(SIZE_M, EDGE_M - SIZE_M, 2).tolist()
        if all(math.dist((x, y), other) > 1.5 * SIZE_M for other in centres):
            centres.append((x, y))
    change = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)
    rows = [change.transform(LEFT + x, TOP - y) for x, y in centres]
    return "lon,lat\n" + "".join(f"{lon:.7f},{lat:.7f}\n" for lon, lat in rows)
