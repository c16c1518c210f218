"""Sentinel-2's tiles and orbits over the whole Earth: which relative orbit covers which tile, on which days."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
from shapely.geometry import Polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray

EDGE_M, STEP_M = 109_800.0, 100_000.0
"""Edge of a tile, and the 100 km squares of MGRS that tiles start at (Sentinel-2 products specification)."""
ORBITS, CYCLE_DAYS = 143, 10
"""Relative orbits, and days until one satellite repeats them (the same)."""
SWATH_M = 290_000.0
INCLINATION_DEG = 98.62
_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_M_A_DEG = 111_320.0


@dataclass(frozen=True, slots=True)
class View:
    """What one relative orbit sees of one tile."""

    orbit: int
    """Relative orbit, 1..143."""
    ring: tuple[tuple[float, float], ...]
    """Outline of the observed part, longitude and latitude, closed, counter-clockwise."""
    shape: Polygon


@dataclass(frozen=True, eq=False, slots=True)
class Tiles:
    """All tiles between 80 S and 84 N whose middle lies in their own zone and which do not touch 180 degrees."""

    names: list[str]
    """MGRS ids, '32UQU'."""
    epsg: NDArray[np.int32]
    left: NDArray[np.float64]
    top: NDArray[np.float64]
    """North-western corner, metres."""
    corners: NDArray[np.float64]
    """(n, 4, 2) longitude and latitude, counter-clockwise from the south-west."""

    def touching(self, west: float, south: float, east: float, north: float) -> NDArray[np.int64]:
        """Numbers of the tiles whose box touches a box."""
        low, high = self.corners.min(axis=1), self.corners.max(axis=1)
        inside = (low[:, 0] <= east) & (high[:, 0] >= west) & (low[:, 1] <= north) & (high[:, 1] >= south)
        return np.flatnonzero(inside)


@lru_cache(maxsize=1)
def tiles() -> Tiles:
    """The tiles, zone after zone."""
    found: list[tuple[list[str], int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    for zone in range(1, 61):
        for north in (True, False):
            column, row = (
                c.ravel() for c in np.meshgrid(np.arange(1, 9), np.arange(0, 94) if north else np.arange(12, 100))
            )
            left, bottom = column * STEP_M, row * STEP_M
            epsg = (32600 if north else 32700) + zone
            x = left[:, None] + np.array([0.0, EDGE_M, EDGE_M, 0.0, EDGE_M / 2])
            top = bottom + STEP_M
            y = top[:, None] - np.array([EDGE_M, EDGE_M, 0.0, 0.0, EDGE_M / 2])
            lon, lat = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
            middle = 6.0 * zone - 183.0
            kept = (np.abs(lon[:, 4] - middle) <= 3.0) & (np.abs(lat[:, 4]) < (83.9 if north else 79.9))
            kept &= np.ptp(lon, axis=1) < 90.0
            names = [
                f"{zone:02d}{_BANDS[min(int((la + 80) // 8), 19)]}{_COLUMNS[(zone - 1) % 3][c - 1]}"
                f"{_ROWS[(r + (5 if zone % 2 == 0 else 0)) % 20]}"
                for la, c, r in zip(lat[kept, 4].tolist(), column[kept].tolist(), row[kept].tolist(), strict=True)
            ]
            corners = np.stack([lon[kept, :4], lat[kept, :4]], axis=2)
            found.append((names, epsg, left[kept], top[kept], corners))
    return Tiles(
        names=[name for names, *_ in found for name in names],
        epsg=np.concatenate([np.full(len(names), epsg, np.int32) for names, epsg, *_ in found]),
        left=np.concatenate([f[2] for f in found]),
        top=np.concatenate([f[3] for f in found]),
        corners=np.round(np.concatenate([f[4] for f in found]), 6),
    )


def node_of(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude at which a satellite that passes over a point going south crosses the equator, degrees."""
    limit = math.sin(math.radians(180.0 - INCLINATION_DEG))
    u = np.arcsin(np.clip(np.sin(np.radians(lat)) / limit, -1.0, 1.0))
    inclined = np.degrees(np.arctan2(-math.cos(math.radians(INCLINATION_DEG)) * np.sin(u), np.cos(u)))
    turned = np.degrees(u) / 360.0 * (360.0 * CYCLE_DAYS / ORBITS)
    return np.asarray(lon - inclined - turned)


@lru_cache(maxsize=65_536)
def views(tile: int) -> tuple[View, ...]:
    """The relative orbits that see a tile, ascending."""
    ring = tiles().corners[tile]
    nodes = node_of(ring[:, 0], ring[:, 1])
    metres = _M_A_DEG * np.cos(np.radians(ring[:, 1]))
    crossings = -360.0 * CYCLE_DAYS / ORBITS * np.arange(ORBITS)[:, None]
    across_all = ((nodes - crossings + 180.0) % 360.0 - 180.0) * metres
    low, high = across_all.min(axis=1), across_all.max(axis=1)
    seen = (high - low <= 20 * EDGE_M) & (low <= SWATH_M / 2) & (high >= -SWATH_M / 2)
    found = []
    for number in np.flatnonzero(seen).tolist():
        orbit, across = number + 1, across_all[number]
        points = list(zip(ring[:, 0].tolist(), ring[:, 1].tolist(), across.tolist(), strict=True))
        for sign in (1.0, -1.0):
            points = _cut(points, sign)
        if len(points) < 3:
            continue
        closed = tuple((round(p[0], 6), round(p[1], 6)) for p in [*points, points[0]])
        shape = Polygon(closed)
        if shape.is_valid and shape.area > 1e-4:
            found.append(View(orbit, closed, shape))
    return tuple(found)


def passes(orbit: int, first: int, last: int) -> list[tuple[int, str]]:
    """(day, satellite) of every pass of a relative orbit on days first..last, counted from 2015-06-23."""
    phase = (orbit - 1) * CYCLE_DAYS // ORBITS
    days = [(day, "A") for day in range(first + (phase - first) % CYCLE_DAYS, last + 1, CYCLE_DAYS)]
    days += [(day, "B") for day in range(first + (phase + 5 - first) % CYCLE_DAYS, last + 1, CYCLE_DAYS)]
    return sorted(days)


def _cut(points: list[tuple[float, float, float]], sign: float) -> list[tuple[float, float, float]]:
    """The part of a ring (lon, lat, metres across) on this side of the swath's edge."""
    kept: list[tuple[float, float, float]] = []
    for here, there in zip(points, [*points[1:], *points[:1]], strict=True):
        a, b = (SWATH_M / 2 - sign * p[2] for p in (here, there))
        if a >= 0:
            kept.append(here)
        if (a < 0) != (b < 0):
            t = a / (a - b)
            kept.append(tuple(h + t * (n - h) for h, n in zip(here, there, strict=True)))  # type: ignore[arg-type]
    return kept
