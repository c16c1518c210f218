"""Further products of the miniature Earth, drawn from the planet's own files when they are asked for.

Orthophotos of 0.25 m in national CRSs (JPEG COG), NAIP of 0.6 m, MODIS in sinusoidal projection, yearly L-band mosaics,
a coarse reanalysis, canopy height, CDL and a yearly land-cover map. The name of a file says what it is:
'naip/32_3_5/image.tif' is the tile in column 3 and row 5 of zone 32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.warp import reproject

from schemas.label import COMMON_CLASSES
from testbed.archive.change import ROOT
from testbed.items import COG, item
from testbed.labelling import COMMON_CODE, ESRI, ESRI_CODE, spoil
from testbed.landcover import Cover
from testbed.overpasses import ZONES
from testbed.plane import Grid, Layout, stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

Json = dict[str, Any]
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
MODIS_M = 463.312716528
"""Edge of a MODIS pixel of '500 m', metres."""
NAIP_YEARS = (2011, 2012, 2015, 2018, 2021, 2022)
"""Years that NAIP was flown in: 20 August."""
NAIP_M, NAIP_TILE_M = 0.6, 600.0
ORTHO_M, ORTHO_TILE_M = 0.25, 250.0
ORTHO_CRS = ("EPSG:2154", "EPSG:2180")
"""French Lambert-93 and Poland's CS92: national metric CRSs, here far from home."""
CLEAR = {32: "S2B_20210723_N0301_T32", 33: "S2B_20210723_N0301_T33"}
"""Sentinel-2 scene that aerial images and MODIS are drawn from, by zone."""
TABLES: dict[str, dict[Cover, int]] = {
    "cdl": {
        Cover.WATER: 111, Cover.BROADLEAF: 141, Cover.NEEDLELEAF: 142, Cover.SHRUB: 152, Cover.MEADOW: 176,
        Cover.CROPS: 1, Cover.GARDEN: 121, Cover.ROOF: 124, Cover.ROAD: 123, Cover.ROCK: 131, Cover.WETLAND: 195,
        Cover.SNOW: 112, Cover.BARE_SOIL: 61,
    },
    "canopy": {Cover.BROADLEAF: 18, Cover.NEEDLELEAF: 24, Cover.SHRUB: 3, Cover.GARDEN: 4},
}  # fmt: skip
"""Codes of USDA's Cropland Data Layer; heights of trees, metres."""
YEARS = range(2015, 2025)
"""Of the yearly maps."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One raster of a product."""

    path: str
    """Below `files/`, of the form that `Foreign.base` makes."""
    grid: Grid


def table_of(name: str) -> NDArray[np.uint8]:
    """Code of each class of the truth; 0 where a table has none."""
    found = np.zeros(max(Cover) + 1, np.uint8)
    for cover, code in TABLES[name].items():
        found[cover] = code
    return found


class Foreign:
    """The further products of one planet."""

    def __init__(self, planet: Path, scratch: Path) -> None:
        """Nothing is made yet."""
        self.planet, self.scratch = planet, scratch
        made = json.loads((planet / "planet.json").read_text())
        self.layout, self.seed = Layout(size_px=made["size_px"]), int(made["seed"])

    def base(self, path: str) -> Path | None:
        """The file of a product, made if it is not there; None if there is none of this name."""
        target = self.scratch / "base" / path
        if target.is_file():
            return target
        tile = self.tiles.get(path)
        maker: dict[str, Callable[[Tile, Path], None]] = {
            "naip": self._naip, "ortho": self._ortho, "modis": self._modis, "palsar": self._palsar,
            "cdl": self._classes, "io-lulc": self._annual, "canopy": self._classes,
            "era5-temperature": self._era5, "era5-water": self._era5,
        }  # fmt: skip
        if tile is None:
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name("." + target.name)
        maker[path.split("/", maxsplit=1)[0]](tile, aside)
        aside.replace(target)
        return target

    @cached_property
    def tiles(self) -> dict[str, Tile]:
        """Path -> tile, of all files that can be made."""
        return {tile.path: tile for tile in self._all()}

    def _all(self) -> Iterator[Tile]:
        for zone in ZONES:
            whole = self.layout.tile(zone)
            yield from _cut(f"naip/{zone}_{{}}_{{}}/image.tif", whole, NAIP_M, NAIP_TILE_M)
        for crs in ORTHO_CRS:
            around = self.layout.around(crs, 1.0, 1.0, 0.0, 0.0)
            yield from self._whole(list(_cut(f"ortho/{crs[5:]}_{{}}_{{}}.tif", around, ORTHO_M, ORTHO_TILE_M)))
        sinusoidal = self.layout.around(SINUSOIDAL, MODIS_M, MODIS_M, 0.0, 2 * MODIS_M)
        for name in (*(f"sur_refl_b0{i}" for i in range(1, 8)), "sur_refl_state_500m"):
            yield Tile(path=f"modis/{name}.tif", grid=sinusoidal)
        step = 1 / 4500
        for name in ("HH", "HV"):
            yield Tile(path=f"palsar/{name}.tif", grid=self.layout.around("EPSG:4326", step, step, 0.0, 4 * step))
        wide = self.layout.around("EPSG:32633", 30.0, 30.0, 0.0, 120.0)
        yield Tile(path="cdl/cropland.tif", grid=wide)
        for year in YEARS:
            yield Tile(path=f"io-lulc/{year}.tif", grid=self.layout.around("EPSG:32632", 10.0, 10.0, 0.0, 60.0))
        yield Tile(path="canopy/height.tif", grid=self.layout.around("EPSG:3857", 4.777, 4.777, 0.0, 50.0))
        for path in ("temperature/temperature_2m", "temperature/soil_temperature_level_1",
                     "water/total_precipitation_sum", "water/total_evaporation_sum"):  # fmt: skip
            yield Tile(path=f"era5-{path}.tif", grid=self.layout.around("EPSG:4326", 0.1, 0.1, 0.05, 1.0))

    def _whole(self, tiles: list[Tile]) -> list[Tile]:
        """Those that lie in one zone's tile with all their corners."""
        rings, kept = _rings(tiles), np.zeros(len(tiles), bool)
        for zone in ZONES:
            ground = self.layout.tile(zone)
            x, y = Transformer.from_crs("EPSG:4326", ground.crs, always_xy=True).transform(rings[..., 0], rings[..., 1])
            x0, y0, x1, y1 = ground.bounds
            kept |= ((x > x0) & (x < x1) & (y > y0) & (y < y1)).all(axis=1)
        return [tile for tile, inside in zip(tiles, kept, strict=True) if inside]

    def _ring(self, tile: Tile) -> list[list[float]]:
        """Closed ring of a tile's corners, longitude and latitude."""
        return self._corners[tile.path]

    @cached_property
    def _corners(self) -> dict[str, list[list[float]]]:
        found: dict[str, list[list[float]]] = {}
        for crs in {t.grid.crs for t in self.tiles.values()}:
            mine = [t for t in self.tiles.values() if t.grid.crs == crs]
            for tile, ring in zip(mine, _rings(mine).tolist(), strict=True):
                found[tile.path] = [*ring, ring[0]]
        return found

    def _item(
        self, name: str, collection: str, tile: Tile, facts: Json, paths: dict[str, str], day: str = "base"
    ) -> Json:
        assets = {key: {"href": f"{ROOT}{day}/{path}", "type": COG, "roles": ["data"]} for key, path in paths.items()}
        return item(name, collection, self._ring(tile), facts, assets, ("projection/v1.1.0",))

    def _seen(self, name: str, grid: Grid, how: Resampling) -> NDArray[np.float32]:
        """A file of the planet on a grid: zone 32's, then zone 33's; NaN where neither has anything."""
        found = np.full((grid.height, grid.width), np.nan, np.float32)
        for zone in ZONES:
            if not np.isnan(found).any():
                break
            with rasterio.open(self.planet / name.format(zone=zone, clear=CLEAR[zone])) as file:
                part = np.full_like(found, np.nan)
                reproject(
                    rasterio.band(file, 1), part, dst_transform=grid.transform, dst_crs=grid.crs, dst_nodata=np.nan,
                    resampling=how, num_threads=1,
                )  # fmt: skip
            found = np.where(np.isnan(found), part, found)
        return found

    def _aerial(self, tile: Tile, bands: tuple[str, ...]) -> NDArray[np.uint8]:
        """Bytes of a camera: Sentinel-2's reflectance between its pixels, and a grain of the ground's own."""
        grid, out = tile.grid, []
        x = np.arange(grid.width) + round(grid.x_min / grid.step)
        y = np.arange(grid.height) - round(grid.y_max / grid.step)
        grain = (4.0 * np.sin(0.9 * x)[None] * np.cos(1.1 * y)[:, None]).astype(np.float32)
        for band in bands:
            name = f"files/sentinel2/{{clear}}/{band}.tif"
            flown = tile.path.startswith("naip/")
            light = self._between(name, tile) if flown else self._seen(name, grid, Resampling.bilinear)
            strong = 5_000.0 if band == "B08" else 2_200.0
            np.nan_to_num(light, copy=False)
            light *= np.float32(250.0 / strong)
            light += grain
            out.append(np.clip(light, 1, 255).astype(np.uint8))
        return np.stack(out)

    def _between(self, name: str, tile: Tile) -> NDArray[np.float32]:
        """A file of the tile's own zone between its pixel centres; the edge goes on outside."""
        zone, grid = int(tile.path.split("/")[1][:2]), tile.grid
        with rasterio.open(self.planet / name.format(clear=CLEAR[zone])) as file:
            pixels, (x0, y0), step = file.read(1), (file.transform.c, file.transform.f), file.transform.a
        cols = (grid.x_min - x0 + grid.step * (np.arange(grid.width) + 0.5)) / step - 0.5
        rows = (y0 - grid.y_max + grid.step * (np.arange(grid.height) + 0.5)) / step - 0.5
        most = pixels.shape[0] - 1.001
        return stretch(pixels.astype(np.float64), np.clip(cols, 0, most), np.clip(rows, 0, most))

    def _naip(self, tile: Tile, target: Path) -> None:
        _write(target, self._aerial(tile, ("B04", "B03", "B02", "B08")), tile.grid)

    def _ortho(self, tile: Tile, target: Path) -> None:
        _write(target, self._aerial(tile, ("B04", "B03", "B02")), tile.grid, jpeg=True)

    def _modis(self, tile: Tile, target: Path) -> None:
        if "state" in tile.path:
            scl = self._seen("files/sentinel2/{clear}/SCL.tif", tile.grid, Resampling.mode)
            bits = np.where(np.isin(scl, (8, 9, 10)), 1, 0) + np.where(scl == 3, 4, 0)
            _write(target, np.where(np.isnan(scl), 65_535, bits).astype(np.uint16), tile.grid, nodata=65_535)
            return
        source = ("B04", "B08", "B02", "B03", "B8A", "B11", "B12")[int(tile.path[-5]) - 1]
        mean = self._seen(f"files/sentinel2/{{clear}}/{source}.tif", tile.grid, Resampling.average)
        _write(target, np.where(np.isnan(mean), -28_672, mean).astype(np.int16), tile.grid, nodata=-28_672)

    def _palsar(self, tile: Tile, target: Path) -> None:
        """DN of which gamma0 is 20 log10(DN) - 83 dB: C-band's VV and VH, 3 dB stronger from trees."""
        band = {"HH": "VV", "HV": "VH"}[Path(tile.path).stem]
        power = self._seen(f"files/sentinel1/20210721_T{{zone}}/{band}.tif", tile.grid, Resampling.average)
        cover = self._seen("truth/cover_{zone}.tif", tile.grid, Resampling.nearest)
        power = power * np.where(np.isin(cover, (Cover.BROADLEAF, Cover.NEEDLELEAF)), 2.0, 1.0)
        dn = np.sqrt(np.maximum(power, 1e-6)) * 10 ** (83 / 20)
        _write(target, np.nan_to_num(np.clip(np.rint(dn), 1, 65_535)).astype(np.uint16), tile.grid, nodata=0)

    def _classes(self, tile: Tile, target: Path) -> None:
        name = tile.path.split("/")[0]
        cover = np.nan_to_num(self._seen("truth/cover_{zone}.tif", tile.grid, Resampling.nearest)).astype(np.uint8)
        codes = table_of(name)[cover]
        empty = 255 if name == "canopy" else 0
        _write(target, np.where(cover == 0, np.uint8(empty), codes), tile.grid, nodata=empty)

    def _annual(self, tile: Tile, target: Path) -> None:
        """The year's map: its errors are mostly those of the other years (`testbed.labelling.ESRI`)."""
        year = int(Path(tile.path).stem)
        cover = np.nan_to_num(self._seen("truth/cover_{zone}.tif", tile.grid, Resampling.nearest)).astype(np.uint8)
        all_years, own = (np.random.default_rng([self.seed, 97, *more]) for more in ((), (year,)))
        codes = np.array([ESRI_CODE[c] for c in COMMON_CLASSES], np.uint8)
        found = codes[spoil(COMMON_CODE[cover], ESRI, all_years, tile.grid.step, own)]
        _write(target, np.where(cover == 0, np.uint8(0), found), tile.grid, nodata=0)

    def _era5(self, tile: Tile, target: Path) -> None:
        row, col = np.indices((tile.grid.height, tile.grid.width))
        start = {"temperature_2m": 283.0, "soil_temperature_level_1": 284.5, "total_precipitation_sum": 0.08}
        mean = start.get(Path(tile.path).stem, -0.05)
        slope = 0.4 if mean > 1 else 0.002
        _write(target, (mean + slope * (row - col)).astype(np.float32), tile.grid)

    def items(self) -> list[Json]:
        """STAC items: those of each year, and of MODIS one day."""
        found = [self.modis_item(), *self._yearly()]
        for year in NAIP_YEARS:
            for path, tile in self.tiles.items():
                if path.startswith("naip/"):
                    facts = {"datetime": f"{year}-08-20T16:00:00Z", "gsd": 0.6, "naip:year": str(year)} | _place(tile)
                    name = f"xx_m_{path.split('/')[1]}_{year}0820"
                    found.append(self._item(name, "naip", tile, facts, {"image": path}, f"{year}0820"))
        return found + self._orthophotos()

    def _orthophotos(self) -> list[Json]:
        found = []
        for path, tile in self.tiles.items():
            if path.startswith("ortho/"):
                facts = {"datetime": "2021-07-20T10:00:00Z", "gsd": ORTHO_M} | _place(tile)
                found.append(self._item(Path(path).stem, f"ortho-{tile.grid.crs[5:]}", tile, facts, {"image": path}))
        return found

    def modis_item(self) -> Json:
        """MOD09A1 of eight days in June 2021."""
        paths = {Path(p).stem: p for p in self.tiles if p.startswith("modis/")}
        facts = {
            "datetime": None, "start_datetime": "2021-06-10T00:00:00Z", "end_datetime": "2021-06-17T23:59:59Z",
            "platform": "terra", "modis:horizontal-tile": 19, "modis:vertical-tile": 4,
        }  # fmt: skip
        return self._item(
            "MOD09A1.A2021161.h19v04.061", "modis-09A1-061", self.tiles["modis/sur_refl_b01.tif"], facts, paths
        )

    def _yearly(self) -> Iterator[Json]:
        for year in YEARS:
            facts = {
                "datetime": None,
                "start_datetime": f"{year}-01-01T00:00:00Z",
                "end_datetime": f"{year}-12-31T23:59:59Z",
            }
            radar = {name: f"palsar/{name}.tif" for name in ("HH", "HV")}
            tile = self.tiles["palsar/HH.tif"]
            yield self._item(f"N49E011_{year}_MOS", "alos-palsar-mosaic", tile, facts, radar, f"{year}0701")
            cdl = {"cropland": "cdl/cropland.tif"}
            yield self._item(f"cropland_{year}", "usda-cdl", self.tiles["cdl/cropland.tif"], facts, cdl)
            path = f"io-lulc/{year}.tif"
            yield self._item(f"32U-{year}", "io-lulc-annual-v02", self.tiles[path], facts, {"data": path})


def _place(tile: Tile) -> Json:
    """What an item says of its lattice."""
    grid = tile.grid
    return {"proj:epsg": grid.epsg, "proj:shape": [grid.height, grid.width], "proj:transform": [*grid.transform[:6]]}


def _cut(path: str, whole: Grid, step: float, edge_m: float) -> Iterator[Tile]:
    """Tiles every `edge_m`, with 10 % more of their neighbours, as surveys deliver them; all within the whole."""
    x0, y0, x1, y1 = whole.bounds
    pixels = round(1.1 * edge_m / step)
    for column in range(int((x1 - x0) / edge_m)):
        for row in range(int((y1 - y0) / edge_m)):
            left, top = min(x0 + column * edge_m, x1 - pixels * step), max(y1 - row * edge_m, y0 + pixels * step)
            grid = Grid(crs=whole.crs, x_min=left, y_max=top, step=step, width=pixels, height=pixels)
            yield Tile(path=path.format(column, row), grid=grid)


def _rings(tiles: list[Tile]) -> NDArray[np.float64]:
    """Corners of tiles of one CRS, counter-clockwise from the south-west: (tile, corner, longitude and latitude)."""
    x0, y0, x1, y1 = np.array([t.grid.bounds for t in tiles]).T
    xs, ys = np.stack([x0, x1, x1, x0], axis=1), np.stack([y0, y0, y1, y1], axis=1)
    lon, lat = Transformer.from_crs(tiles[0].grid.crs, "EPSG:4326", always_xy=True).transform(xs, ys)
    return np.round(np.stack([lon, lat], axis=-1), 6)


def _write(target: Path, pixels: NDArray[Any], grid: Grid, *, nodata: float | None = None, jpeg: bool = False) -> None:
    """One raster without compression, or a JPEG COG of three bands."""
    stack = pixels if pixels.ndim == 3 else pixels[None]
    shape = {"width": grid.width, "height": grid.height, "count": len(stack), "dtype": stack.dtype.name}
    place: Json = {"crs": grid.crs, "transform": Affine(*grid.transform[:6]), "nodata": nodata}
    plain = target.with_suffix(".plain.tif") if jpeg else target
    tile = {"tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
    with rasterio.open(plain, "w", driver="GTiff", **shape, **place, **tile) as file:
        file.write(stack)
    if jpeg:
        with rasterio.open(plain) as file:
            copy(file, target, driver="COG", compress="JPEG", blocksize=256, quality=90)
        plain.unlink()
