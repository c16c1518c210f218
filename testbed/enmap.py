"""Writes one EnMAP L2A scene: 224 bands in one COG, and its quality layers.

The scene carries no texture and no light of the terrain, and no noise but in the water vapour bands: 224 bands of it
would not fit the planet's size on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemas.enmap_bands import ENMAP_BANDS
from testbed.cog import write_cog
from testbed.landcover import Cover
from testbed.overpasses import ENMAP_SKY
from testbed.sentinel2 import SHADE
from testbed.spectra import NAMES, bands_of, responses

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.plane import Grid
    from testbed.world import Scenery

NODATA = -32768
QUALITY = ("CLOUD", "CLOUDSHADOW", "CIRRUS", "HAZE", "SNOW")
"""Masks 0 or 1 beside the image, names as in the product's file names."""
WET_NOISE_DN = 24.0
"""Standard deviation of noise where water vapour leaves little light (1.34 to 1.46 and 1.77 to 1.98 um), DN."""
STEP_DN = (20, 60)
"""Values are rounded to this, DN, below and above 0.7 um: the sensor's least step here."""


def enmap_grid(scenery: Scenery) -> Grid:
    """30 m pixels in UTM 32 around both tiles; corners 15 m off multiples of 30 m, as the real scenes' are."""
    return scenery.layout.around("EPSG:32632", 30.0, 30.0, 15.0, 90.0)


def write_enmap(scenery: Scenery, folder: Path) -> dict[str, float]:
    """Write `SPECTRAL_IMAGE_COG.TIF` and `QL_QUALITY_*_COG.TIF`.

    Returns:
        'cloud', 'shadow', 'water', 'snow', 'valid': shares 0..100.
    """
    grid = enmap_grid(scenery)
    table = responses(bands_of("enmap"))
    lit = scenery.shares(grid, 30.0, 2, ENMAP_SKY.when)
    weather = scenery.weather(grid, ENMAP_SKY)
    inside = scenery.inside(grid)
    rng = scenery.rng(71)
    thick = weather.thickness[..., None]
    lit *= 1 - SHADE * weather.shadow[..., None] * (1 - thick)
    lit *= 1 - thick
    lit[..., NAMES.index("cloud")] += (thick * (0.55 + 0.55 * thick))[..., 0]
    centres = np.array([c for c, _ in ENMAP_BANDS], dtype=np.float32)
    wet = ((centres > 1.34) & (centres < 1.46)) | ((centres > 1.77) & (centres < 1.98))
    image = np.empty((len(ENMAP_BANDS), grid.height, grid.width), dtype=np.int16)
    for k in range(len(ENMAP_BANDS)):
        value = np.einsum("yxm,m->yx", lit, table[:, k]) * 10_000
        if wet[k]:
            value += rng.standard_normal(value.shape, dtype=np.float32) * np.float32(WET_NOISE_DN)
        step = STEP_DN[int(centres[k] > 0.7)]
        dn = np.clip(np.rint(value / step) * step, -400, 12_000)
        image[k] = np.where(inside, dn, NODATA)
    write_cog(folder / "SPECTRAL_IMAGE_COG.TIF", image, grid, nodata=NODATA, predictor=1)
    cover = scenery.covers(grid)
    cloud, shadow = weather.thickness > 0.25, (weather.shadow > 0.3) & (weather.thickness <= 0.25)
    snow = (cover == Cover.SNOW) & ~cloud
    masks = {"CLOUD": cloud, "CLOUDSHADOW": shadow, "SNOW": snow, "HAZE": (weather.thickness > 0.08) & ~cloud}
    for name in QUALITY:
        mask = masks.get(name, np.zeros_like(cloud))
        pixels = np.where(inside, mask, 255).astype(np.uint8)
        write_cog(folder / f"QL_QUALITY_{name}_COG.TIF", pixels, grid, classes=True)
    # 1 land, 2 water, 3 background
    kinds = np.where(inside, np.where(cover == Cover.WATER, 2, 1), 3).astype(np.uint8)
    write_cog(folder / "QL_QUALITY_CLASSES_COG.TIF", kinds, grid, nodata=3, classes=True)
    shares = {"cloud": cloud, "shadow": shadow, "snow": snow, "water": cover == Cover.WATER}
    found = {k: round(100 * float(v[inside].mean()), 2) for k, v in shares.items()}
    return found | {"valid": round(100 * float(inside.mean()), 2)}
