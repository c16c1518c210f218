"""Writes Copernicus DEM GLO-30: two EPSG:4326 rasters that meet at 12 degrees east."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from testbed.cog import write_cog
from testbed.landcover import Cover
from testbed.plane import LON_DEG, Grid

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.world import Scenery

STEP_DEG = 1 / 3600
"""GLO-30 spacing below 50 degrees of latitude, both ways."""
CANOPY_M = {Cover.BROADLEAF: 13.0, Cover.NEEDLELEAF: 16.0, Cover.ROOF: 6.0, Cover.SHRUB: 1.5, Cover.GARDEN: 1.5}
"""Height that the radar surface stands above bare ground, metres: GLO-30 is a surface model."""
NAMES = {"west": "N48_00_E011_00", "east": "N48_00_E012_00"}
"""Side of 12 degrees east -> lower left corner in the tile's name."""


def split_at_meridian(whole: Grid, at: float) -> dict[str, Grid]:
    """The western and the eastern part of a grid, cut at the column edge nearest to x = `at`."""
    cols = min(max(round((at - whole.x_min) / whole.step), 1), whole.width - 1)
    common = {"crs": whole.crs, "y_max": whole.y_max, "step": whole.step, "height": whole.height}
    return {
        "west": Grid(x_min=whole.x_min, width=cols, **common),  # type: ignore[arg-type]
        "east": Grid(x_min=whole.x_min + cols * whole.step, width=whole.width - cols, **common),  # type: ignore[arg-type]
    }


def dem_grids(scenery: Scenery) -> dict[str, Grid]:
    """Grids of the two tiles' needed parts: pixel centres on whole arc seconds, so corners lie half a pixel off."""
    half = STEP_DEG / 2
    whole = scenery.layout.around("EPSG:4326", STEP_DEG, STEP_DEG, half, 8 * STEP_DEG)
    return split_at_meridian(whole, LON_DEG - half)


def write_dem(scenery: Scenery, folder: Path) -> dict[str, Grid]:
    """Write `Copernicus_DSM_COG_10_<name>_DEM.tif` for both sides: ground, canopy, roofs and half a metre of noise."""
    grids = dem_grids(scenery)
    rng = scenery.rng(81)
    above = np.zeros(max(Cover) + 1, dtype=np.float32)
    for kind, height in CANOPY_M.items():
        above[kind] = height
    for side, grid in grids.items():
        cover = scenery.covers(grid)
        noise = np.where(cover == Cover.WATER, 0.0, 0.5) * rng.standard_normal(cover.shape)
        surface = np.round((scenery.height(grid) + above[cover] + noise) * 16) / 16
        path = folder / f"Copernicus_DSM_COG_10_{NAMES[side]}_DEM.tif"
        write_cog(path, surface.astype(np.float32), grid, point=True)
    return grids
