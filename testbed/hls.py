"""Writes Harmonized Landsat Sentinel-2 (HLS): seven reflectance bands and Fmask on MGRS tiles at 30 m; its items.

S30 is made of the Sentinel-2 overpass of 2022, L30 of the Landsat overpass of 2021, both with OLI's responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.modality import HLS
from testbed.cog import write_cog
from testbed.items import COG, item, stamp
from testbed.landcover import Cover
from testbed.overpasses import LANDSAT_PASSES, SENTINEL2_PASSES, TILES
from testbed.sentinel2 import SHADE
from testbed.spectra import NAMES, bands_of, responses

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.plane import Grid
    from testbed.world import Scenery, Sky

Json = dict[str, Any]
KEYS: dict[str, dict[str, str]] = {
    "S30": {"nir08": "B8A", "swir16": "B11", "swir22": "B12"},
    "L30": {"nir08": "B05", "swir16": "B06", "swir22": "B07"},
}
"""Half -> band -> the product's own key, where the halves differ."""
SHARED = {"coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "Fmask": "Fmask"}
NOISE_DN = 5.0


@dataclass(frozen=True, kw_only=True)
class HlsPass:
    """One overpass in one half of HLS."""

    half: str
    """'S30' or 'L30'."""
    sky: Sky

    @property
    def stamp(self) -> str:
        """Year, day of the year and time, as HLS names them."""
        return f"{self.sky.when:%Y%jT%H%M%S}"


HLS_PASSES = (
    HlsPass(half="S30", sky=SENTINEL2_PASSES[-1].sky),
    HlsPass(half="L30", sky=LANDSAT_PASSES[0].sky),
)


def hls_grid(scenery: Scenery, zone: int) -> Grid:
    """The tile's 30 m pixels: corners are the Sentinel-2 tile's."""
    return scenery.layout.tile(zone).coarser(3)


def write_hls(scenery: Scenery, taken: HlsPass, zone: int, folder: Path) -> dict[str, float]:
    """Write one tile of one overpass to `<folder>/<id>.<key>.tif`.

    Returns:
        'cloud', share 0..100.
    """
    grid = hls_grid(scenery, zone)
    bands = bands_of("landsat")
    table = responses(bands)
    lit = scenery.shares(grid, 30.0, 3, taken.sky.when) * scenery.light(grid, taken.sky)[..., None]
    weather, inside = scenery.weather(grid, taken.sky), scenery.inside(grid)
    rng = scenery.rng(71, zone, taken.sky.number)
    thick, thin, dark = weather.thickness, weather.cirrus, weather.shadow
    names = [b.name for b in HLS.layer("bands_30m").bands]
    for k, name in enumerate(names):
        white = table[NAMES.index("cloud"), k]
        ground = np.einsum("yxm,m->yx", lit, table[:, k]) * (1 - SHADE * dark * (1 - thick))
        value = ground * (1 - thick) * (1 - thin) + white * ((0.55 + 0.55 * thick) * thick + 0.9 * thin * (1 - thick))
        value = value * 10_000 + rng.standard_normal(value.shape, dtype=np.float32) * np.float32(NOISE_DN)
        dn = np.where(inside, np.clip(np.rint(value), -2000, 16_000), -9999).astype(np.int16)
        write_cog(folder / f"{identity(taken, zone)}.{key_of(taken.half, name)}.tif", dn, grid, nodata=-9999)
    cloud, shadow = thick > 0.25, (dark > 0.3) & (thick <= 0.25)
    beside = (thick > 0.08) & ~cloud
    cover = scenery.covers(grid)
    fmask = np.zeros(cloud.shape, np.uint8)
    marks = ((1, cloud), (2, beside), (3, shadow), (4, cover == Cover.SNOW), (5, (cover == Cover.WATER) & ~cloud))
    for bit, mask in marks:
        fmask |= mask.astype(np.uint8) << np.uint8(bit)
    fmask = np.where(inside, fmask, np.uint8(255))
    write_cog(folder / f"{identity(taken, zone)}.Fmask.tif", fmask, grid, nodata=255, classes=True)
    return {"cloud": round(100 * float(cloud[inside].mean()), 2)}


def key_of(half: str, band: str) -> str:
    """The product's own key of a band."""
    return (SHARED | KEYS[half])[band]


def identity(taken: HlsPass, zone: int) -> str:
    """The granule's name: 'HLS.S30.T32UQU.2022184T101041.v2.0'."""
    return f"HLS.{taken.half}.T{TILES[zone]}.{taken.stamp}.v2.0"


def hls_item(scenery: Scenery, taken: HlsPass, zone: int, shares: dict[str, float]) -> Json:
    """CMR-STAC's layout (LPCLOUD): keys of the product, no projection, no scale, cloud in percent."""
    name = identity(taken, zone)
    when = taken.sky.when
    assets = {
        key_of(taken.half, band): {"href": f"hls/{name}.{key_of(taken.half, band)}.tif", "type": COG, "roles": ["data"]}
        for band in HLS.band_names
    }
    facts = {
        "datetime": stamp(when),
        "start_datetime": stamp(when),
        "end_datetime": stamp(when),
        "eo:cloud_cover": round(shares["cloud"]),
    }
    ring = hls_grid(scenery, zone).footprint()
    return item(name, f"HLS{taken.half}_2.0", ring, facts, assets, ("eo/v1.0.0",))
