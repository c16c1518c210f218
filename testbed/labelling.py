"""Label products of the miniature Earth: the truth with the documented errors of each product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.special import ndtr

from schemas.label import COMMON_CLASSES
from testbed.cog import write_cog
from testbed.dem import split_at_meridian
from testbed.landcover import COMMON, Cover
from testbed.plane import LON_DEG
from testbed.terrain import fractal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.overpasses import Sentinel2Pass
    from testbed.plane import Grid
    from testbed.world import Scenery

STEP_DEG = 1 / 12_000
"""WorldCover's pixel edge, degrees."""
COMMON_CODE = np.array([0] + [COMMON_CLASSES.index(COMMON[c]) for c in Cover], dtype=np.uint8)
"""Code of `Cover` -> code in COMMON_CLASSES."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How a product departs from the truth."""

    unit_px: int
    """Edge of the window that a class must win, pixels: minimum mapping unit."""
    border: float
    """Share of pixels on a class border that take a neighbour's class."""
    blob_m: float
    """Size of the patches that are called wrong, metres."""
    confusion: Mapping[str, tuple[tuple[str, float], ...]]
    """True class -> (class given instead, share), names in COMMON_CLASSES; the rest is right (before the other two)."""


_CONFUSION_2021: dict[str, tuple[tuple[str, float], ...]] = {
    "grass": (("crops", 0.10), ("trees", 0.04), ("shrub", 0.02)),
    "crops": (("grass", 0.09), ("bare", 0.01)),
    "trees": (("grass", 0.03), ("shrub", 0.01)),
    "shrub": (("grass", 0.22), ("trees", 0.18)),
    "wetland": (("grass", 0.30), ("water", 0.08)),
    "built": (("grass", 0.10), ("bare", 0.05)),
    "bare": (("grass", 0.12), ("built", 0.04)),
    "water": (("wetland", 0.02),),
    "snow and ice": (("bare", 0.15),),
}
_CONFUSION_2020: dict[str, tuple[tuple[str, float], ...]] = {
    k: tuple((name, round(share * 1.35, 4)) for name, share in v) for k, v in _CONFUSION_2021.items()
}
WORLDCOVER: dict[int, Errors] = {
    2021: Errors(unit_px=3, border=0.18, blob_m=140.0, confusion=_CONFUSION_2021),
    2020: Errors(unit_px=3, border=0.24, blob_m=180.0, confusion=_CONFUSION_2020),
}
"""WorldCover v200 (2021) and v100 (2020): 100 m^2 pixels, small objects lost, grass and crops confused."""
DYNAMIC_WORLD = Errors(
    unit_px=7,
    border=0.30,
    blob_m=320.0,
    confusion={
        "grass": (("crops", 0.16), ("shrub", 0.08), ("trees", 0.04)),
        "crops": (("grass", 0.10), ("shrub", 0.03), ("bare", 0.04)),
        "trees": (("shrub", 0.03), ("grass", 0.02)),
        "shrub": (("trees", 0.20), ("grass", 0.15), ("crops", 0.08)),
        "wetland": (("grass", 0.25), ("crops", 0.10), ("water", 0.10)),
        "built": (("bare", 0.04), ("trees", 0.04)),
        "bare": (("built", 0.08), ("grass", 0.06)),
        "water": (("wetland", 0.03),),
        "snow and ice": (("bare", 0.10),),
    },
)
"""Dynamic World V1: smooth 50 m shapes, shrub wherever it is unsure, other errors on every date."""
ESRI = Errors(
    unit_px=5,
    border=0.08,
    blob_m=260.0,
    confusion={
        "grass": (("crops", 0.24), ("trees", 0.06), ("built", 0.03)),
        "crops": (("grass", 0.21), ("built", 0.02)),
        "trees": (("grass", 0.12), ("shrub", 0.03)),
        "shrub": (("trees", 0.18), ("crops", 0.06), ("bare", 0.05)),
        "wetland": (("grass", 0.20), ("water", 0.10), ("crops", 0.06)),
        "built": (("grass", 0.10), ("crops", 0.07)),
        "bare": (("grass", 0.20), ("built", 0.08)),
        "water": (("wetland", 0.03),),
        "snow and ice": (("bare", 0.15),),
    },
)
"""A yearly map like Esri's: large units; grass and shrub are one class, rangeland; three quarters of it are right."""
PERSISTING = 0.8
"""Share of the variance of a yearly map's errors that all its years have in common."""
ESRI_CODE = dict(zip(COMMON_CLASSES, (0, 1, 2, 11, 11, 5, 7, 8, 9, 4, 0), strict=True))
"""Common class -> code of the Impact Observatory's annual map (Planetary Computer, io-lulc-annual-v02)."""
WORLDCOVER_CODE = dict(zip(COMMON_CLASSES, (0, 80, 10, 20, 30, 40, 50, 60, 70, 90, 100), strict=True))
"""Common class -> WorldCover code (ESA WorldCover product user manual)."""
DYNAMIC_WORLD_CODE = dict(zip(COMMON_CLASSES, (255, 0, 1, 5, 2, 4, 6, 7, 8, 3, 255), strict=True))
"""Common class -> Dynamic World V1 band 'label' (Earth Engine catalogue, GOOGLE/DYNAMICWORLD/V1)."""


def _winner(classes: NDArray[np.uint8], edge_px: int) -> NDArray[np.uint8]:
    """Commonest class in a window around each pixel; the smallest code wins a tie."""
    best = np.zeros(classes.shape, dtype=np.float32)
    out = np.zeros_like(classes)
    for code in np.unique(classes).tolist():
        share = uniform_filter((classes == code).astype(np.float32), edge_px, mode="nearest")
        better = share > best + 1e-6
        out[better], best = code, np.maximum(best, share)
    return out


def spoil(
    classes: NDArray[np.uint8],
    errors: Errors,
    rng: np.random.Generator,
    step_m: float,
    own: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """A product's version of a map of common classes (y, x): unit, then blobs of confusion, then frayed borders.

    With `own`, the chance of one year, `PERSISTING` of what the blobs hang on comes from `rng`, which the years share.
    """
    out = _winner(classes, errors.unit_px)
    truth = out.copy()
    side = 768
    field = fractal(rng, (side, side), step_m, errors.blob_m * 4, 3.0)
    if own is not None:
        here = fractal(own, (side, side), step_m, errors.blob_m * 4, 3.0)
        field, rng = np.sqrt(PERSISTING) * field + np.sqrt(1 - PERSISTING) * here, own
    reps = (classes.shape[0] // side + 1, classes.shape[1] // side + 1)
    rank = ndtr(np.tile(field, reps)[: classes.shape[0], : classes.shape[1]])
    for name, wrong in errors.confusion.items():
        here = truth == COMMON_CLASSES.index(name)
        low = 0.0
        for instead, share in wrong:
            out[here & (rank >= low) & (rank < low + share)] = COMMON_CLASSES.index(instead)
            low += share
    dy, dx = rng.integers(-1, 2, size=(2, *out.shape), dtype=np.int8)
    rows = np.clip(np.arange(out.shape[0])[:, None] + dy, 0, out.shape[0] - 1)
    cols = np.clip(np.arange(out.shape[1])[None, :] + dx, 0, out.shape[1] - 1)
    frayed = rng.random(out.shape, dtype=np.float32) < errors.border
    return np.where(frayed, out[rows, cols], out)


def worldcover_grids(scenery: Scenery) -> dict[str, Grid]:
    """Grids of the needed parts of WorldCover's 3-degree tiles N48E009 and N48E012, which meet at 12 degrees east."""
    return split_at_meridian(scenery.layout.around("EPSG:4326", STEP_DEG, STEP_DEG, 0.0, 20 * STEP_DEG), LON_DEG)


def write_worldcover(scenery: Scenery, year: int, folder: Path) -> None:
    """Write `ESA_WorldCover_10m_<year>_<version>_<tile>_Map.tif` for both tiles; one map cut in two."""
    grids = worldcover_grids(scenery)
    truth = np.concatenate([COMMON_CODE[scenery.covers(g)] for g in grids.values()], axis=1)
    found = spoil(truth, WORLDCOVER[year], scenery.rng(91, year), 9.3)
    table = np.array([WORLDCOVER_CODE[c] for c in COMMON_CLASSES], dtype=np.uint8)
    version = {2020: "v100", 2021: "v200"}[year]
    start = 0
    for tile, grid in zip(("N48E009", "N48E012"), grids.values(), strict=True):
        part = table[found[:, start : start + grid.width]]
        start += grid.width
        tags = {"product_version": f"V{version[1]}.0.0", "product_tile": tile, "license": "CC-BY 4.0"}
        name = f"ESA_WorldCover_10m_{year}_{version}_{tile}_Map.tif"
        write_cog(folder / name, part, grid, nodata=0, classes=True, tags=tags)


def write_dynamic_world(scenery: Scenery, taken: Sentinel2Pass, zone: int, folder: Path) -> float:
    """Write `<folder>/<date>_T<zone>.tif` for one Sentinel-2 date; nodata 255 under clouds and their shadows.

    Returns:
        Share of pixels with a label, 0..1.
    """
    grid = scenery.layout.tile(zone)
    found = spoil(COMMON_CODE[scenery.covers(grid)], DYNAMIC_WORLD, scenery.rng(95, zone, taken.sky.number), 10.0)
    table = np.array([DYNAMIC_WORLD_CODE[c] for c in COMMON_CLASSES], dtype=np.uint8)
    weather = scenery.weather(grid, taken.sky)
    hidden = (weather.thickness > 0.12) | (weather.shadow > 0.25)
    pixels = np.where(hidden, np.uint8(255), table[found])
    write_cog(folder / f"{taken.sky.when:%Y%m%d}_T{zone}.tif", pixels, grid, nodata=255, classes=True)
    return float((~hidden).mean())


def write_truth(scenery: Scenery, zone: int, folder: Path) -> None:
    """Write what no recipe reads: `cover_<zone>.tif`, `common_<zone>.tif` and `elevation_<zone>.tif` at 10 m."""
    grid = scenery.layout.tile(zone)
    cover = scenery.covers(grid)
    write_cog(folder / f"cover_{zone}.tif", cover, grid, nodata=0, classes=True)
    write_cog(folder / f"common_{zone}.tif", COMMON_CODE[cover], grid, nodata=0, classes=True)
    coarse = grid.coarser(3)
    write_cog(folder / f"elevation_{zone}.tif", np.round(scenery.height(coarse), 1).astype(np.float32), coarse)
