"""Writes Sentinel-2 L2A: twelve bands and the scene classification, one COG per band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from schemas.modality import SENTINEL2
from testbed.cog import write_cog
from testbed.landcover import Cover
from testbed.spectra import NAMES, bands_of, responses
from testbed.world import Weather

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.overpasses import Sentinel2Pass
    from testbed.plane import Grid
    from testbed.world import Scenery

NOISE_DN = 2.5
"""Standard deviation of the sensor's noise at 10 m, DN; a half and a quarter of it at 20 m and 60 m."""
SHADE = 0.62
"""Share of light that a full cloud takes from the ground below its shadow."""
_SCL = {Cover.WATER: 6, Cover.ROOF: 5, Cover.ROAD: 5, Cover.ROCK: 5, Cover.SNOW: 11, Cover.BARE_SOIL: 5}
"""Class of the truth -> SCL code; what is green is 4."""
RESOLUTION_OF = {b.name: int(x.resolution_m) for x in SENTINEL2.layers for b in x.bands}
"""Band -> pixel edge, metres."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Ground, light and weather of one overpass on one tile, before a band is chosen."""

    lit: NDArray[np.float32]
    """(y, x, material) at 10 m: shares of materials times light."""
    weather: Weather
    observed: NDArray[np.bool_]
    """(y, x) at 10 m, False beyond the edge of the swath."""


def block_mean(values: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Mean of whole blocks of the first two axes."""
    rows, cols = values.shape[0] // factor, values.shape[1] // factor
    blocks = values.reshape(rows, factor, cols, factor, *values.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def observe(scenery: Scenery, grid: Grid, taken: Sentinel2Pass, zone: int) -> Scene:
    """What one overpass sees of one tile."""
    light = scenery.light(grid, taken.sky)
    lit = scenery.shares(grid, 10.0, 2, taken.sky.when) * light[..., None]
    rows, cols = np.mgrid[0 : grid.height, 0 : grid.width]
    swath = (
        cols - 0.2 * (rows - grid.height / 2) < 0.86 * grid.width
        if zone in taken.edge
        else np.ones_like(rows, dtype=bool)
    )
    return Scene(lit=lit, weather=scenery.weather(grid, taken.sky), observed=swath)


def coarsen(scene: Scene, factor: int) -> Scene:
    """The same scene with pixels `factor` times as long; observed = the whole pixel was."""
    if factor == 1:
        return scene
    sky = scene.weather
    means = (block_mean(v, factor) for v in (sky.thickness, sky.shadow, sky.cirrus))
    thickness, shadow, cirrus = means
    return Scene(
        lit=block_mean(scene.lit, factor),
        weather=Weather(thickness=thickness, shadow=shadow, cirrus=cirrus),
        observed=block_mean(scene.observed.astype(np.float32), factor) == 1,
    )


def reflectance(scene: Scene, response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Surface reflectance as L2A gives it, clouds included, without noise: (y, x).

    Args:
        scene: what is seen.
        response: (material,), reflectance of each material in the band.
    """
    thick, dark, thin = scene.weather.thickness, scene.weather.shadow, scene.weather.cirrus
    ground = np.einsum("yxm,m->yx", scene.lit, response) * (1 - SHADE * dark * (1 - thick))
    white = response[NAMES.index("cloud")]
    veil = 0.9 * white * thin * (1 - thick)
    return np.asarray(ground * (1 - thick) * (1 - thin) + white * (0.55 + 0.55 * thick) * thick + veil)


def classify(scenery: Scenery, grid: Grid, scene: Scene) -> NDArray[np.uint8]:
    """SCL at 20 m, from the scene at 20 m: truth, clouds, shadows, cirrus; soft cloud edges are 7 or missed."""
    table = np.full(max(Cover) + 1, 4, dtype=np.uint8)
    for cover, code in _SCL.items():
        table[cover] = code
    scl = table[scenery.covers(grid)]
    thick, dark, thin = scene.weather.thickness, scene.weather.shadow, scene.weather.cirrus
    scl[dark > 0.25] = 3
    scl[thin > 0.06] = 10
    scl[thick > 0.12] = 7
    scl[thick > 0.25] = 8
    scl[thick > 0.6] = 9
    scl[~scene.observed] = 0
    return np.asarray(scl, dtype=np.uint8)


def write_sentinel2(
    scenery: Scenery, taken: tuple[Sentinel2Pass, ...], zone: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Write every processing of one datatake on one tile; they share light, weather and noise.

    Args:
        scenery: the world.
        taken: processings of the same datatake.
        zone: 32 or 33.
        folder: files go to `<folder>/<pass name>_T<zone>/<band>.tif`.

    Returns:
        Folder name -> shares (0..100) of SCL classes, as the item's properties need them.
    """
    tile = scenery.layout.tile(zone)
    finest = observe(scenery, tile, taken[0], zone)
    scenes = {factor: coarsen(finest, factor) for factor in (1, 2, 6)}
    rng = scenery.rng(41, zone, taken[0].sky.number)
    bands = bands_of("sentinel2")
    table = responses(bands)
    scl = classify(scenery, tile.coarser(2), scenes[2])
    places = [(t.name + f"_T{zone}", t.offset_dn) for t in taken]
    for name, _ in places:
        write_cog(folder / name / "SCL.tif", scl, tile.coarser(2), nodata=0, classes=True)
    for k, band in enumerate(bands):
        factor = RESOLUTION_OF[band] // 10
        grid = tile.coarser(factor)
        value = reflectance(scenes[factor], table[:, k]) * 10_000
        value += rng.standard_normal(value.shape, dtype=np.float32) * (NOISE_DN / {1: 1, 2: 2, 6: 4}[factor])
        for name, offset in places:
            dn = np.where(scenes[factor].observed, np.clip(np.rint(value + offset), 1, 16_000), 0).astype(np.uint16)
            write_cog(folder / name / f"{band}.tif", dn, grid, nodata=0)
    seen = scl[scl > 0]
    share = {str(c): round(float((seen == c).mean()) * 100, 6) for c in range(1, 12)}
    share["0"] = round(float((scl == 0).mean()) * 100, 6)
    return {name: share for name, _ in places}
