"""Writes Sentinel-1 RTC: VV and VH gamma0, linear power with speckle, in UTM at 10 m."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from testbed.cog import write_cog
from testbed.landcover import Cover
from testbed.terrain import CELL_M, WHOLE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.overpasses import Sentinel1Pass
    from testbed.world import Scenery

BACKSCATTER_DB: dict[Cover, tuple[float, float]] = {
    Cover.WATER: (-20.0, -28.0),
    Cover.BROADLEAF: (-9.2, -14.8),
    Cover.NEEDLELEAF: (-10.0, -15.8),
    Cover.SHRUB: (-11.0, -17.2),
    Cover.MEADOW: (-12.8, -19.6),
    Cover.CROPS: (-11.6, -18.4),
    Cover.GARDEN: (-8.8, -16.0),
    Cover.ROOF: (-2.0, -11.0),
    Cover.ROAD: (-13.0, -21.5),
    Cover.ROCK: (-10.8, -18.8),
    Cover.WETLAND: (-11.2, -19.0),
    Cover.SNOW: (-15.0, -23.0),
    Cover.BARE_SOIL: (-13.5, -22.0),
}
"""Mean gamma0 (VV, VH) by class, decibels: familiar C-band levels, made up."""
LOOKS = 4.4
"""Equivalent number of looks, as Sentinel-1 IW GRD high resolution items state."""
_KEPT_BITS = 5
"""Mantissa bits kept (1.6 % steps, far below speckle) so that files stay small."""


def round_mantissa(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Values with their mantissa rounded to a number of bits."""
    raw = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    drop = 23 - bits
    half = np.uint32(1 << (drop - 1))
    mask = np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    return ((raw + half) & mask).view(np.float32)


def write_sentinel1(scenery: Scenery, taken: Sentinel1Pass, zone: int, folder: Path) -> None:
    """Write VV and VH of one pass on one tile to `<folder>/<VV|VH>.tif`; nodata is -32768 in a strip at one edge."""
    grid = scenery.layout.tile(zone)
    x, y = grid.plane_xy
    patch = scenery.patch
    cover, variety = patch.nearest(scenery.cover, x, y), patch.nearest(scenery.variety, x, y)
    gx = np.asarray(np.gradient(scenery.elevation_m, CELL_M, axis=1))
    # the radar looks right: to the west when descending, to the east when ascending; 12 % of the slope's effect remains
    toward = 1.0 if taken.state == "descending" else -1.0
    residual = 0.12 * np.clip(toward * WHOLE.bilinear(gx, x, y), -0.8, 0.8) * 10
    rng = scenery.rng(51, zone, taken.orbit)
    beyond = np.zeros(grid.plane_xy[0].shape, dtype=bool)
    if zone == 33 and taken.state == "ascending":
        beyond[:, -max(4, grid.width // 40) :] = True
    for k, band in enumerate(("VV", "VH")):
        level = np.zeros(max(Cover) + 1, dtype=np.float32)
        for code, both in BACKSCATTER_DB.items():
            level[code] = both[k]
        db = level[cover] + residual + (variety.astype(np.float32) - 128) / 128 * 1.6
        speckle = rng.standard_gamma(LOOKS, size=db.shape, dtype=np.float32) / np.float32(LOOKS)
        power = round_mantissa((10 ** (db / 10) * speckle).astype(np.float32), _KEPT_BITS)
        write_cog(folder / f"{band}.tif", np.where(beyond, np.float32(-32768), power), grid, nodata=-32768)
