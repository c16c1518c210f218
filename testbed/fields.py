"""Fields of the miniature Earth: districts with their own direction, strips, parcels, tracks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.spatial import Voronoi
from shapely.geometry import LineString, Polygon, box

from testbed.terrain import WHOLE
from testbed.towns import Road

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from testbed.plane import Patch


def _districts(rng: np.random.Generator) -> tuple[list[Polygon], NDArray[np.float64]]:
    """Cells of a Voronoi mosaic of about 1.1 km over the whole domain, and four numbers 0..1 for each."""
    x0, y0, x1, y1 = WHOLE.bounds
    step = 1_100.0
    x, y = np.meshgrid(np.arange(x0 - step, x1 + 2 * step, step), np.arange(y0 - step, y1 + 2 * step, step))
    points = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-0.42, 0.42, (x.size, 2)) * step
    mosaic = Voronoi(points)
    traits = rng.random((len(points), 4))
    cells, kept = [], []
    for number, region in enumerate(mosaic.point_region):
        corners = mosaic.regions[region]
        if corners and -1 not in corners:
            cells.append(Polygon(mosaic.vertices[corners]))
            kept.append(traits[number])
    return cells, np.array(kept)


def _parcels(
    cell: Polygon, traits: NDArray[np.float64], number: int
) -> tuple[NDArray[np.object_], NDArray[np.uint8], NDArray[np.bool_]]:
    """Fields of one district: strips across its own direction, cut into parcels, clipped to the cell."""
    rng = np.random.default_rng([number, int(traits[3] * 2**31)])
    turn, wide_m, long_m = traits[0] * np.pi, 120.0 + 230.0 * traits[1] ** 2, 320.0 + 420.0 * traits[2]
    reach = np.hypot(cell.bounds[2] - cell.bounds[0], cell.bounds[3] - cell.bounds[1]) / 2
    centre = np.array(cell.centroid.coords[0])
    edges = np.cumsum(rng.uniform(0.6, 1.4, int(2 * reach / wide_m) + 4) * wide_m) - reach - wide_m
    corners = []
    for low, high in pairwise(edges):
        cuts = (
            np.cumsum(rng.uniform(0.6, 1.5, int(2 * reach / long_m) + 5) * long_m) - reach - long_m * rng.uniform(1, 2)
        )
        for a, b in pairwise(cuts):
            corners.append([[a, low], [b, low], [b, high], [a, high], [a, low]])
    local = np.array(corners)
    c, s = np.cos(turn), np.sin(turn)
    turned = np.stack([local[..., 0] * c - local[..., 1] * s, local[..., 0] * s + local[..., 1] * c], axis=-1) + centre
    cut = np.asarray(shapely.intersection(shapely.polygons(turned), cell))
    cut = cut[(shapely.get_type_id(cut) == 3) & (shapely.area(cut) > 1_500.0)]
    return cut, rng.integers(0, 256, len(cut)).astype(np.uint8), rng.random(len(cut)) < 0.45 + 0.5 * traits[1]


def make_fields(rng: np.random.Generator, patch: Patch) -> tuple[list[tuple[Polygon, int, bool]], list[Road]]:
    """All parcels that touch the patch with their variety and use, and the roads between districts."""
    cells, traits = _districts(rng)
    window = box(*patch.bounds)
    parcels: list[tuple[Polygon, int, bool]] = []
    tracks: list[Road] = []
    for number, (cell, own) in enumerate(zip(cells, traits, strict=True)):
        if not cell.intersects(window):
            continue
        polygons, variety, ploughed = _parcels(cell, own, number)
        parcels += zip(polygons.tolist(), variety.tolist(), ploughed.tolist(), strict=True)
        ring = np.array(cell.exterior.coords)
        for a, b in pairwise(ring):
            if tuple(a) < tuple(b) and np.hypot(*(a - b)) > 120.0:
                tracks.append(Road(kind="track", line=LineString([a, b])))
    return parcels, tracks
