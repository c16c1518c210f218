"""Writes CBERS-4 WFI L4: four reflectance bands and CMASK at 64 m over both tiles; its item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.modality import CBERS
from testbed.cog import write_cog
from testbed.items import COG, item, stamp
from testbed.overpasses import SENTINEL2_PASSES
from testbed.spectra import NAMES, responses

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.plane import Grid
    from testbed.world import Scenery

SKY = SENTINEL2_PASSES[-1].sky
NAME = f"CBERS_4_WFI_{SKY.when:%Y%m%d}_157_124_L4"


def cbers_grid(scenery: Scenery) -> Grid:
    """64 m pixels in UTM 32 around both tiles."""
    return scenery.layout.around("EPSG:32632", 64.0, 64.0, 0.0, 128.0)


def write_cbers(scenery: Scenery, folder: Path) -> dict[str, float]:
    """Write `<folder>/<band>.tif`; the share of cloud, 0..100."""
    grid = cbers_grid(scenery)
    bands = {b.name: (b.center_um or 0.0, b.fwhm_um or 0.0) for b in CBERS.layer("bands_64m").bands}
    table = responses(bands)
    lit = scenery.shares(grid, 64.0, 3, SKY.when) * scenery.light(grid, SKY)[..., None]
    thick, inside = scenery.weather(grid, SKY).thickness, scenery.inside(grid)
    for k, band in enumerate(bands):
        ground = np.einsum("yxm,m->yx", lit, table[:, k])
        value = (ground * (1 - thick) + table[NAMES.index("cloud"), k] * thick) * 10_000
        dn = np.where(inside, np.clip(np.rint(value), 0, 16_000), -9999).astype(np.int16)
        write_cog(folder / f"{band}.tif", dn, grid, nodata=-9999)
    mask = np.where(inside, np.where(thick > 0.25, 255, 127), 0).astype(np.uint8)
    write_cog(folder / "CMASK.tif", mask, grid, nodata=0, classes=True)
    return {"cloud": round(100 * float((thick[inside] > 0.25).mean()), 2)}


def cbers_item(scenery: Scenery, shares: dict[str, float]) -> dict[str, Any]:
    """The Brazil Data Cube's layout."""
    assets = {b: {"href": f"cbers/{b}.tif", "type": COG, "roles": ["data"]} for b in CBERS.band_names}
    facts = {"datetime": stamp(SKY.when), "eo:cloud_cover": shares["cloud"]}
    return item(NAME, "CB4-WFI-L4-SR-1", cbers_grid(scenery).footprint(), facts, assets, ("eo/v1.0.0",))
