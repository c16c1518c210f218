"""Roads between settlements: joins neighbours along the cheapest path over the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import Delaunay
from shapely.geometry import LineString

from testbed.terrain import WHOLE, smooth_line
from testbed.towns import Road, Town

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from testbed.plane import Patch
    from testbed.terrain import Terrain

_ROUTE_CELLS = 4
"""Roads are routed on a grid of this many terrain cells (160 m)."""


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


def connect(terrain: Terrain, towns: list[Town]) -> list[Road]:
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
