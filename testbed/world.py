"""The miniature Earth as sensors see it: cover, ground, light, clouds and shadows, at any pixel of any grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from shapely.geometry import box

from testbed.landcover import LandCover, make_landcover
from testbed.settlements import Settlements, make_settlements
from testbed.spectra import NAMES, mixtures
from testbed.terrain import CELL_M, WHOLE, Terrain, fractal, make_terrain

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from testbed.plane import Grid, Layout, Patch


@dataclass(frozen=True, kw_only=True)
class Sky:
    """One overpass: when, where the sun stands, how cloudy it is."""

    when: datetime
    """Time, UTC."""
    sun_azimuth_deg: float
    """Clockwise from north."""
    sun_elevation_deg: float
    cloud: float
    """Share of the written ground under clouds, 0..1."""
    haze: float = 0.0
    """Share under thin cirrus, 0..1."""
    number: int = 0
    """Tells the clouds of one overpass from those of another."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Clouds over one grid."""

    thickness: NDArray[np.float32]
    """(y, x), opacity of clouds 0..1."""
    shadow: NDArray[np.float32]
    """(y, x), share of direct light taken by clouds, 0..1."""
    cirrus: NDArray[np.float32]
    """(y, x), opacity of cirrus 0..1."""


@dataclass(frozen=True, kw_only=True)
class Scenery:
    """The rasters that products are made from."""

    seed: int
    layout: Layout
    cover: NDArray[np.uint8]
    """(y, x) on `patch`, codes of `Cover`."""
    variety: NDArray[np.uint8]
    """(y, x) on `patch`."""
    elevation_m: NDArray[np.float32]
    """(y, x) on `terrain.WHOLE`, bare ground, metres."""
    texture: NDArray[np.float32]
    """(y, x) on `patch` at 10 m, brightness around 1."""

    @property
    def patch(self) -> Patch:
        """The 5 m grid of `cover` and `variety`."""
        return self.layout.patch()

    def save(self, folder: Path) -> None:
        """Write the rasters for other processes."""
        for name in ("cover", "variety", "elevation_m", "texture"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path, seed: int, layout: Layout) -> Scenery:
        """Map the rasters that `save` wrote."""
        arrays = {
            n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("cover", "variety", "elevation_m", "texture")
        }
        return cls(seed=seed, layout=layout, **arrays)

    def rng(self, *what: int) -> np.random.Generator:
        """Chance of its own for a product: depends on the seed and `what` alone."""
        return np.random.default_rng([self.seed, *what])

    def inside(self, grid: Grid) -> NDArray[np.bool_]:
        """True where a pixel centre lies on the written ground (y, x)."""
        return self.patch.contains(*grid.plane_xy)

    def covers(self, grid: Grid) -> NDArray[np.uint8]:
        """Class at each pixel centre (y, x)."""
        return np.asarray(self.patch.nearest(self.cover, *grid.plane_xy))

    def height(self, grid: Grid) -> NDArray[np.float32]:
        """Bare ground at each pixel centre, metres (y, x)."""
        return WHOLE.bilinear(self.elevation_m, *grid.plane_xy)

    def shares(self, grid: Grid, step_m: float, across: int, when: datetime) -> NDArray[np.float32]:
        """Mean shares of materials in each pixel, light not counted: (y, x, material).

        Args:
            grid: pixels.
            step_m: ground size of a pixel, metres.
            across: points per pixel edge that are averaged.
            when: day that sets crops and leaves.
        """
        table = mixtures(when.date())
        x, y = grid.plane_xy
        offsets = ((np.arange(across) + 0.5) / across - 0.5) * step_m
        out = np.zeros((*x.shape, len(NAMES)), dtype=np.float32)
        for dy in offsets:
            for dx in offsets:
                cover = self.patch.nearest(self.cover, x + np.float32(dx), y + np.float32(dy))
                variety = self.patch.nearest(self.variety, x + np.float32(dx), y + np.float32(dy))
                out += np.take(table, cover.astype(np.int32) * 256 + variety, axis=0)
        out /= across**2
        return out

    def light(self, grid: Grid, sky: Sky) -> NDArray[np.float32]:
        """Brightness from slope, sun and texture, around 1 (y, x); 60 % of the terrain's effect is corrected away."""
        x, y = grid.plane_xy
        gy, gx = (np.asarray(np.gradient(self.elevation_m, CELL_M, axis=a)) for a in (0, 1))
        dz_dx, dz_dy = WHOLE.bilinear(gx, x, y), WHOLE.bilinear(-gy, x, y)
        azimuth, elevation = np.deg2rad(sky.sun_azimuth_deg), np.deg2rad(sky.sun_elevation_deg)
        facing = np.sin(elevation) - np.cos(elevation) * (dz_dx * np.sin(azimuth) + dz_dy * np.cos(azimuth))
        incidence = np.clip(facing / np.sqrt(1 + dz_dx**2 + dz_dy**2), 0.05, None) / np.sin(elevation)
        fine = self.patch.coarser(2).bilinear(self.texture, x, y)
        return np.asarray(np.clip(0.6 + 0.4 * incidence, 0.35, 1.5) * fine, dtype=np.float32)

    def weather(self, grid: Grid, sky: Sky) -> Weather:
        """Clouds, the shadows they throw (1,400 m high, away from the sun) and cirrus."""
        rng = self.rng(31, sky.number)
        long_m = min(4_500.0, 0.45 * self.layout.edge_m + 500.0)
        lumps = fractal(rng, WHOLE.shape, CELL_M, long_m, 3.3)
        veil = fractal(rng, WHOLE.shape, CELL_M, 2 * long_m, 3.6)
        window = self._window(lumps)
        edge = np.quantile(lumps[window], 1 - sky.cloud) if sky.cloud > 0 else np.inf
        veil_edge = np.quantile(veil[window], 1 - sky.haze) if sky.haze > 0 else np.inf
        thickness = np.clip((lumps - edge) / 0.35, 0.0, 1.0).astype(np.float32)
        cirrus = (0.35 * np.clip((veil - veil_edge) / 0.5, 0.0, 1.0)).astype(np.float32)
        x, y = grid.plane_xy
        azimuth = np.deg2rad(sky.sun_azimuth_deg)
        reach_m = 1_400.0 / np.tan(np.deg2rad(sky.sun_elevation_deg))
        sx, sy = x + np.float32(reach_m * np.sin(azimuth)), y + np.float32(reach_m * np.cos(azimuth))
        return Weather(
            thickness=WHOLE.bilinear(thickness, x, y),
            shadow=WHOLE.bilinear(thickness, sx, sy),
            cirrus=WHOLE.bilinear(cirrus, x, y),
        )

    def _window(self, field: NDArray[np.float32]) -> tuple[slice, slice]:
        x0, y0, x1, y1 = self.patch.bounds
        rows = slice(int((WHOLE.y_max - y1) / CELL_M), int((WHOLE.y_max - y0) / CELL_M) + 1)
        return rows, slice(int((x0 - WHOLE.x_min) / CELL_M), min(int((x1 - WHOLE.x_min) / CELL_M) + 1, field.shape[1]))


@dataclass(frozen=True, kw_only=True)
class World:
    """All that was made: rasters and shapes."""

    scenery: Scenery
    terrain: Terrain
    settlements: Settlements
    landcover: LandCover


def make_world(seed: int, layout: Layout) -> World:
    """Make the world of a seed on the ground of a layout."""
    patch = layout.patch()
    terrain = make_terrain(np.random.default_rng([seed, 1]))
    settlements = make_settlements(np.random.default_rng([seed, 2]), terrain, box(*patch.bounds).buffer(100.0))
    landcover = make_landcover(np.random.default_rng([seed, 3]), terrain, settlements, patch)
    grain = fractal(np.random.default_rng([seed, 4]), (600, 600), 10.0, 600.0, 4.0)
    shape = patch.coarser(2).shape
    grain = np.tile(grain, (shape[0] // 600 + 1, shape[1] // 600 + 1))[: shape[0], : shape[1]]
    scenery = Scenery(
        seed=seed,
        layout=layout,
        cover=landcover.cover,
        variety=landcover.variety,
        elevation_m=terrain.elevation_m,
        texture=(1.0 + 0.02 * grain).astype(np.float32),
    )
    return World(scenery=scenery, terrain=terrain, settlements=settlements, landcover=landcover)
