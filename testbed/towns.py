"""Towns, villages and the records of the roads between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt
from shapely.geometry import LineString, Polygon

from testbed.terrain import CELL_M, WHOLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from testbed.terrain import Terrain

ROAD_WIDTH_M = {
    "motorway": 22.0,
    "primary": 12.0,
    "secondary": 9.0,
    "tertiary": 7.5,
    "residential": 7.0,
    "track": 3.5,
}
"""Sealed width by OSM `highway` class, metres; a motorway is two carriageways."""


@dataclass(frozen=True, kw_only=True)
class Town:
    """One settlement."""

    name: str
    """Invented name."""
    kind: str
    """OSM `place`: 'town' or 'village'."""
    x: float
    y: float
    radius_m: float
    """Mean radius, metres."""
    turn: float
    """Direction of its streets, radians."""
    outline: Polygon
    """Built-up area on the plane."""


@dataclass(frozen=True, kw_only=True)
class Road:
    """One road."""

    kind: str
    """Key of ROAD_WIDTH_M."""
    line: LineString
    """Centre line on the plane."""


_FIRST = (
    "Ober",
    "Unter",
    "Neu",
    "Alt",
    "Hohen",
    "Klein",
    "Gross",
    "Mitter",
    "Wald",
    "Stein",
    "See",
    "Erl",
    "Birk",
    "Lind",
)
_LAST = (
    "hausen",
    "bach",
    "dorf",
    "berg",
    "kirchen",
    "feld",
    "brunn",
    "ried",
    "heim",
    "au",
    "ach",
    "furt",
    "stetten",
    "moos",
)


def _suitability(terrain: Terrain) -> NDArray[np.float64]:
    """How good a place each terrain cell is to live, 0 = never (y, x): flat, low, near but not in water."""
    gy, gx = np.gradient(terrain.elevation_m, CELL_M)
    slope = np.hypot(gx, gy)
    dry = distance_transform_edt(~terrain.lakes, sampling=CELL_M)
    near = np.exp(-(((terrain.valley_m - 450.0) / 900.0) ** 2))
    good = np.exp(-((slope / 0.07) ** 2)) * (0.25 + near) * (terrain.elevation_m < 760.0)
    return np.where((dry > 260.0) & (terrain.valley_m > 130.0), good, 0.0)


def _outline(rng: np.random.Generator, x: float, y: float, radius_m: float) -> Polygon:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    wave = sum(rng.normal(0, 0.16 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 7))
    r = radius_m * np.clip(1 + wave, 0.55, 1.5)
    return Polygon(np.column_stack([x + r * np.cos(angle), y + r * np.sin(angle)]))


def place_towns(rng: np.random.Generator, terrain: Terrain) -> list[Town]:
    """One town near the origin, some more towns, many villages; none closer than 1.4 km to another."""
    good = _suitability(terrain)
    xs, ys = WHOLE.centres()
    pull = np.exp(-((xs[None, :] / 1_300.0) ** 2 + (ys[:, None] / 1_300.0) ** 2))
    towns: list[Town] = []
    names = [f"{a}{b}" for a in _FIRST for b in _LAST]
    rng.shuffle(names)
    tried = good * rng.random(good.shape) ** 2
    for k in range(52):
        weight = tried * pull if k == 0 else tried
        row, col = np.unravel_index(int(np.argmax(weight)), weight.shape)
        if weight[row, col] <= 0.02:
            break
        x, y = float(xs[col]), float(ys[row])
        radius_m = float(1_000.0 if k == 0 else rng.uniform(650, 900) if k < 7 else rng.uniform(190, 380))
        spread = 2_600.0 if k < 7 else 1_500.0
        tried[np.hypot(xs[None, :] - x, ys[:, None] - y) < spread] = 0.0
        towns.append(
            Town(
                name=names[k],
                kind="town" if k < 7 else "village",
                x=x,
                y=y,
                radius_m=radius_m,
                turn=float(rng.uniform(0, np.pi / 2)),
                outline=_outline(rng, x, y, radius_m),
            )
        )
    return towns
