"""Writes Landsat 8/9 Collection 2 Level-2: seven surface reflectance bands and QA_PIXEL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from testbed.cog import write_cog
from testbed.landcover import Cover
from testbed.sentinel2 import SHADE
from testbed.spectra import NAMES, bands_of, responses

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.overpasses import LandsatPass
    from testbed.plane import Grid
    from testbed.world import Scenery, Weather

SCALE, OFFSET = 2.75e-5, -0.2
"""Reflectance = DN * SCALE + OFFSET, USGS Collection 2 Level-2."""
NOISE = 0.0005
"""Standard deviation of noise, reflectance."""


def landsat_grid(scenery: Scenery) -> Grid:
    """30 m pixels in UTM 33 around both tiles; corners 15 m off multiples of 30 m, as in the real files."""
    return scenery.layout.around("EPSG:32633", 30.0, 30.0, 15.0, 120.0)


def qa_pixel(weather: Weather, water: NDArray[np.bool_], snow: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """QA_PIXEL bits (USGS LSDS-1619, Landsat 8-9 Collection 2): cloud, shadow, cirrus and their confidences agree."""
    cloud, shadow = weather.thickness > 0.25, (weather.shadow > 0.3) & (weather.thickness <= 0.25)
    dilated, cirrus = (weather.thickness > 0.08) & ~cloud, weather.cirrus > 0.06
    clear = ~cloud & ~dilated
    bits = np.zeros(cloud.shape, dtype=np.uint16)
    for bit, mask in ((1, dilated), (2, cirrus), (3, cloud), (4, shadow), (5, snow), (6, clear), (7, water & ~cloud)):
        bits |= mask.astype(np.uint16) << bit
    for low, high in ((8, cloud), (10, shadow), (12, snow), (14, cirrus)):
        bits |= np.where(high, np.uint16(3), np.uint16(1)) << np.uint16(low)
    return bits


def write_landsat(scenery: Scenery, taken: LandsatPass, folder: Path) -> dict[str, float]:
    """Write the bands of one overpass to `<folder>/<band>.TIF`.

    Returns:
        'cloud' and 'valid', shares 0..100.
    """
    grid = landsat_grid(scenery)
    bands = bands_of("landsat")
    table = responses(bands)
    lit = scenery.shares(grid, 30.0, 3, taken.sky.when) * scenery.light(grid, taken.sky)[..., None]
    weather = scenery.weather(grid, taken.sky)
    inside = scenery.inside(grid)
    rng = scenery.rng(61, taken.sky.number)
    thick, thin = weather.thickness, weather.cirrus
    for k, band in enumerate(bands):
        white = table[NAMES.index("cloud"), k]
        ground = np.einsum("yxm,m->yx", lit, table[:, k]) * (1 - SHADE * weather.shadow * (1 - thick))
        value = (
            ground * (1 - thick) * (1 - thin) + white * (0.55 + 0.55 * thick) * thick + 0.9 * white * thin * (1 - thick)
        )
        value += rng.standard_normal(value.shape, dtype=np.float32) * np.float32(NOISE)
        dn = np.clip(np.rint((value - OFFSET) / SCALE), 1, 65_455)
        write_cog(folder / f"{band}.TIF", np.where(inside, dn, 0).astype(np.uint16), grid, nodata=0, point=True)
    cover = scenery.covers(grid)
    qa = np.where(inside, qa_pixel(weather, cover == Cover.WATER, cover == Cover.SNOW), np.uint16(1))
    write_cog(folder / "QA_PIXEL.TIF", qa, grid, nodata=1, classes=True, point=True)
    cloud = float((thick[inside] > 0.25).mean())
    return {"cloud": round(100 * cloud, 2), "valid": round(100 * float(inside.mean()), 2)}
