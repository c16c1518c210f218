"""Towns, villages, roads and houses of the miniature Earth, as shapes on the plane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import Delaunay
from shapely.geometry import LineString, Polygon

from testbed.terrain import CELL_M, WHOLE, smooth_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from testbed.plane import Patch
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
_ROUTE_CELLS = 4
"""Roads are routed on a grid of this many terrain cells (160 m)."""


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


@dataclass(frozen=True, kw_only=True)
class Settlements:
    """All that people built."""

    towns: tuple[Town, ...]
    roads: tuple[Road, ...]
    buildings: NDArray[np.object_] = field(repr=False)
    """shapely polygons on the plane."""
    industrial: NDArray[np.bool_] = field(repr=False)
    """(building,), True = a large hall."""


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


def _place_towns(rng: np.random.Generator, terrain: Terrain) -> list[Town]:
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


def _route_costs(terrain: Terrain) -> tuple[Patch, coo_matrix]:
    """Grid and symmetric cost of driving between neighbouring cells: length, steep ground, water."""
    grid = WHOLE.coarser(_ROUTE_CELLS)
    k = _ROUTE_CELLS
    high = (
        terrain.elevation_m[: grid.height * k, : grid.width * k]
        .reshape(grid.height, k, grid.width, k)
        .mean(axis=(1, 3))
    )
    wet = np.asarray(terrain.lakes.reshape(grid.height, k, grid.width, k).any(axis=(1, 3)))
    near = np.asarray(terrain.valley_m.reshape(grid.height, k, grid.width, k).min(axis=(1, 3)) < 90.0)
    index = np.arange(high.size).reshape(high.shape)
    rows, cols, costs = [], [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a = (slice(0, grid.height - dy), slice(max(0, -dx), grid.width - max(0, dx)))
        b = (slice(dy, grid.height), slice(max(0, dx), grid.width + min(0, dx)))
        length = grid.step_m * np.hypot(dx, dy)
        climb = np.abs(high[a] - high[b]) / length
        cost = length * (1 + 18 * climb + 60 * climb**2 + 40.0 * (wet[a] | wet[b]) + 1.2 * (near[a] | near[b]))
        rows.append(index[a].ravel())
        cols.append(index[b].ravel())
        costs.append(cost.ravel())
    at = (np.concatenate(rows), np.concatenate(cols))
    return grid, coo_matrix((np.concatenate(costs), at), shape=(high.size, high.size))


def _neighbours(points: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Edges of the Gabriel graph: no third point in the circle over the edge."""
    edges = set()
    for simplex in Delaunay(points).simplices.tolist():
        for a, b in ((0, 1), (1, 2), (0, 2)):
            edges.add((min(simplex[a], simplex[b]), max(simplex[a], simplex[b])))
    kept = []
    for i, j in sorted(edges):
        middle, reach = (points[i] + points[j]) / 2, np.hypot(*(points[i] - points[j])) / 2
        others = np.delete(np.hypot(*(points - middle).T), [i, j])
        if others.size == 0 or others.min() >= reach:
            kept.append((i, j))
    return kept


def _connect(terrain: Terrain, towns: list[Town]) -> list[Road]:
    """Roads between neighbouring settlements along the cheapest way, and one motorway from west to east."""
    grid, costs = _route_costs(terrain)
    xs, ys = grid.centres()
    points = np.array([[t.x, t.y] for t in towns] + [[xs[0], 2_700.0], [xs[-1], 3_400.0]])
    cells = [
        int((grid.y_max - y) / grid.step_m) * grid.width + int((x - grid.x_min) / grid.step_m) for x, y in points[:-2]
    ]
    ends = [
        int((grid.y_max - y) / grid.step_m) * grid.width + c
        for (_, y), c in zip(points[-2:], (0, grid.width - 1), strict=True)
    ]
    cells += ends
    wanted = [(i, j, _kind(towns[i], towns[j])) for i, j in _neighbours(points[:-2])]
    wanted.append((len(cells) - 2, len(cells) - 1, "motorway"))
    sources = sorted({i for i, _, _ in wanted})
    _, before = dijkstra(costs.tocsr(), directed=False, indices=[cells[i] for i in sources], return_predecessors=True)
    roads = []
    for i, j, kind in wanted:
        back = before[sources.index(i)]
        path = [cells[j]]
        while path[-1] != cells[i] and back[path[-1]] >= 0:
            path.append(int(back[path[-1]]))
        at = np.array(path)
        line = np.column_stack([xs[at % grid.width], ys[at // grid.width]])
        line[0], line[-1] = points[j], points[i]
        if kind == "motorway":
            line = np.concatenate([line[:1], line[1:-1:5], line[-1:]])
        if len(line) >= 2:
            roads.append(Road(kind=kind, line=LineString(smooth_line(line))))
    return roads


def _kind(a: Town, b: Town) -> str:
    towns = [a.kind, b.kind].count("town")
    return "primary" if towns == 2 else "secondary" if towns else "tertiary"


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
    towns = _place_towns(rng, terrain)
    roads = _connect(terrain, towns)
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
