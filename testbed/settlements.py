"""Settlements of the miniature Earth: towns, roads, streets and houses, as shapes on the plane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry import LineString, Polygon

from testbed.routes import connect
from testbed.towns import ROAD_WIDTH_M, Road, Town, place_towns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from testbed.terrain import Terrain


@dataclass(frozen=True, kw_only=True)
class Settlements:
    """All that people built."""

    towns: tuple[Town, ...]
    roads: tuple[Road, ...]
    buildings: NDArray[np.object_] = field(repr=False)
    """shapely polygons on the plane."""
    industrial: NDArray[np.bool_] = field(repr=False)
    """(building,), True = a large hall."""


def _streets(rng: np.random.Generator, town: Town) -> list[Road]:
    """Two families of streets across the outline, blocks of about 70 m x 120 m."""
    roads = []
    reach = town.radius_m * 1.6
    for turn, step_m in ((town.turn, 72.0), (town.turn + np.pi / 2, 125.0)):
        along = np.array([np.cos(turn), np.sin(turn)])
        across = np.array([-along[1], along[0]])
        count = int(reach / step_m)
        for k in range(-count, count + 1):
            at = np.array([town.x, town.y]) + across * (k * step_m + rng.uniform(-5, 5))
            cut = LineString([at - along * reach, at + along * reach]).intersection(town.outline)
            parts = getattr(cut, "geoms", [cut])
            roads += [
                Road(kind="residential", line=p) for p in parts if p.geom_type == "LineString" and p.length > 60.0
            ]
    return roads


def _rectangles(centre: NDArray[np.float64], size: NDArray[np.float64], turn: float) -> NDArray[np.object_]:
    """Polygons from (n, 2) centres and (n, 2) edge lengths, turned."""
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) / 2
    local = corner[None] * size[:, None, :]
    c, s = np.cos(turn), np.sin(turn)
    turned = np.stack([local[..., 0] * c - local[..., 1] * s, local[..., 0] * s + local[..., 1] * c], axis=-1)
    return np.asarray(shapely.polygons(turned + centre[:, None, :]))


def _houses(rng: np.random.Generator, town: Town) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Houses in rows along the streets of the first family; halls in one sector of a town's rim."""
    reach = town.radius_m * 1.5
    rows = np.arange(-reach, reach, 36.0) + 18.0
    along = np.arange(-reach, reach, 21.0)
    u, v = (a.ravel() for a in np.meshgrid(along, rows))
    u, v = u + rng.uniform(-3, 3, u.size), v + rng.uniform(-2, 2, v.size)
    x = town.x + u * np.cos(town.turn) - v * np.sin(town.turn)
    y = town.y + u * np.sin(town.turn) + v * np.cos(town.turn)
    size = np.column_stack([rng.uniform(9, 15, u.size), rng.uniform(9, 13, u.size)])
    centre_m = np.hypot(u, v)
    size[centre_m < 0.3 * town.radius_m] += (6.0, 5.0)
    keep = rng.random(u.size) < np.where(centre_m < 0.45 * town.radius_m, 0.95, 0.72)
    angle = np.mod(np.arctan2(v, u) - 4 * town.turn, 2 * np.pi)
    works = (angle < 1.3) & (centre_m > 0.5 * town.radius_m) & (town.kind == "town")
    halls = works & (rng.random(u.size) < 0.16)
    size[halls] = np.column_stack([rng.uniform(35, 55, halls.sum()), rng.uniform(20, 27, halls.sum())])
    inside = shapely.contains_xy(town.outline.buffer(-12.0), x, y)
    chosen = inside & np.where(works, halls, keep)
    shapes = _rectangles(np.column_stack([x, y])[chosen], size[chosen], town.turn)
    return shapes, halls[chosen]


def make_settlements(rng: np.random.Generator, terrain: Terrain, window: Polygon) -> Settlements:
    """Everything built; streets and houses only for settlements that touch `window` (same ones whatever the window)."""
    towns = place_towns(rng, terrain)
    roads = connect(terrain, towns)
    shapes, halls = [], []
    for town, own_seed in zip(towns, rng.integers(0, 2**31, len(towns)).tolist(), strict=True):
        own = np.random.default_rng(own_seed)
        if not town.outline.intersects(window):
            continue
        roads += _streets(own, town)
        found = _houses(own, town)
        shapes.append(found[0])
        halls.append(found[1])
    buildings = np.concatenate(shapes) if shapes else np.array([], dtype=object)
    industrial = np.concatenate(halls) if halls else np.array([], dtype=bool)
    if len(buildings):
        main = shapely.union_all(
            [r.line.buffer(ROAD_WIDTH_M[r.kind] / 2 + 3) for r in roads if r.line.intersects(window)]
        )
        shapely.prepare(main)
        free = ~shapely.intersects(main, buildings)
        buildings, industrial = buildings[free], industrial[free]
    return Settlements(towns=tuple(towns), roads=tuple(roads), buildings=buildings, industrial=industrial)
