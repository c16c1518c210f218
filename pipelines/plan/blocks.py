"""Groups places into blocks of ground, so that a search covers a block and not a single sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sampling.geobox import UPS, bbox, by_code, transformer
from schemas.place import BBox, Place

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from schemas.modality import SearchDensity

Cost = tuple[int, float]
"""(pages of search results, items in them)."""
LARGEST_DEG = 16.0
"""Edge of the largest block, degrees; blocks are quarters of it, quarters of quarters, and so on."""
SMALLEST_DEG = 1.0
"""Edge of the smallest, degrees: about one Sentinel-2 tile."""
ITEMS_A_PAGE = 250
"""Items per page of a search (`pipelines.access.stac.search`)."""
MOST_ITEMS = 5_000
"""More than this are not expected of one block, if it can be quartered: its scenes are held in memory together."""
KM_A_DEG = 111.3
_EDGE_PARTS = 8
"""Parts that an edge of a footprint is cut into to find its box in degrees."""
_MARGIN = 0.02
"""Share of a footprint's box that is added on each side: more than its edges bend between those parts."""


def search_cost(density: SearchDensity, hull: BBox, days: float) -> Cost:
    """Expected pages and items of a search over a box (degrees) and a period."""
    west, south, east, north = hull
    middle = math.cos(math.radians(min(abs(south + north) / 2, 89.0)))
    wide, high = ((east - west) * KM_A_DEG * middle, (north - south) * KM_A_DEG)
    scenes = (wide + density.edge_km) / density.step_km * (high + density.edge_km) / density.step_km
    items = scenes * (1.0 if density.per_day is None else max(density.per_day * days, 1.0))
    return max(1, math.ceil(items / ITEMS_A_PAGE)), items


def requests_at_most(count: int, area_km2: float, parts: int, density: SearchDensity, days: float) -> int:
    """Pages of search results that planning one layer and period asks for, from how many places lie on how much ground.

    Ground is taken as `parts` squares, cut into blocks that lie askew to them, of half the edge that `MOST_ITEMS`
    allows, half as wide in kilometres as they are high (60 degrees of latitude); or, where that is less, each place as
    its own block. It is correct as far as the scenes are as dense as `density` states and the ground is
    connected: coasts and islands cost more blocks.

    Args:
        count: places.
        area_km2: the ground that the partitions cover, added up. The shards of each split lie side by side over all the
            ground there is, so with train, val and test it is at most three times as much.
        parts: partitions, planned one by one.
        density: of the layer.
        days: of the period.
    """
    per_km2 = (1.0 if density.per_day is None else max(density.per_day * days, 1.0)) / density.step_km**2
    edge = min(LARGEST_DEG * KM_A_DEG, max(math.sqrt(MOST_ITEMS / per_km2) - density.edge_km, KM_A_DEG)) / 2.0
    wide = math.sqrt(area_km2 / parts)
    rows, columns = wide / edge + 1.0, 2.0 * wide / edge + 1.0
    items = per_km2 * (wide + rows * density.edge_km) * (wide + columns * density.edge_km)
    dense = parts * (rows * columns + items / ITEMS_A_PAGE)
    lonely = count * (1.0 + per_km2 * (density.edge_km + 2.0) ** 2 / ITEMS_A_PAGE)
    return math.ceil(min(dense, lonely))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Places that are searched for together."""

    places: tuple[Place, ...]
    """Sorted by sample id."""
    bboxes: tuple[BBox, ...]
    """(west, south, east, north) that hold all footprints; two where they cross the antimeridian."""
    items: float = 0.0
    """Expected of the archive."""


class Ground:
    """The footprints of some places in degrees, to be cut into blocks in several ways."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = sorted(places, key=lambda p: p.sample_id)
        lon, lat = np.array([p.lon for p in self.places]), np.array([p.lat for p in self.places])
        self._column = np.floor((lon + 180.0) / SMALLEST_DEG).astype(np.int64)
        self._row = np.floor((lat + 90.0) / SMALLEST_DEG).astype(np.int64)
        self._boxes, self._owner = _outlines(self.places)

    def blocks(self, density: SearchDensity, days: float) -> list[Block]:
        """Blocks that hold all places, from south to north and west to east: those that cost the fewest pages.

        A square of 16 degrees is taken whole, or as its quarters where they are expected to answer with fewer pages (or
        as many with fewer items), and so on down to a degree; no block is expected to answer with more than
        `MOST_ITEMS` if it can be quartered. Answers of archives do not matter, so the same places
        always give the same blocks.
        """
        found: list[Block] = []
        everything = np.arange(len(self.places))
        for part in self._cells(everything, LARGEST_DEG):
            found += [self._block(chosen, density, days) for chosen in self._best(part, LARGEST_DEG, density, days)[1]]
        return found

    def whole(self, spread: SearchDensity, days: float) -> Block:
        """One block of all places."""
        return self._block(np.arange(len(self.places)), spread, days)

    def _best(
        self, index: NDArray[np.int64], edge: float, density: SearchDensity, days: float
    ) -> tuple[Cost, list[NDArray[np.int64]]]:
        """The cheapest way to search for some places of one square, and its cost."""
        costs = [search_cost(density, hull, days) for hull in self._hulls(index)]
        whole = (sum(c[0] for c in costs), sum(c[1] for c in costs))
        if edge <= SMALLEST_DEG or whole[0] == 1:
            return whole, [index]
        ways = [self._best(part, edge / 2.0, density, days) for part in self._cells(index, edge / 2.0)]
        apart = (sum(cost[0] for cost, _ in ways), sum(cost[1] for cost, _ in ways))
        if apart < whole or whole[1] > MOST_ITEMS:
            return apart, [p for _, parts in ways for p in parts]
        return whole, [index]

    def _cells(self, index: NDArray[np.int64], edge: float) -> list[NDArray[np.int64]]:
        """Places by the square of this edge that holds them, squares from south to north."""
        step = round(edge / SMALLEST_DEG)
        code = (self._row[index] // step << 32) + self._column[index] // step
        order = np.argsort(code, kind="stable")
        return np.split(index[order], np.flatnonzero(np.diff(code[order])) + 1)

    def _hulls(self, index: NDArray[np.int64]) -> list[BBox]:
        """Hulls of the places' boxes, east and west of the antimeridian apart when they lie on both of its sides."""
        boxes = self._boxes[np.isin(self._owner, index)] if len(index) < len(self.places) else self._boxes
        touches = bool(((boxes[:, 0] <= -180.0) | (boxes[:, 2] >= 180.0)).any())
        sides = [boxes[boxes[:, 0] < 0.0], boxes[boxes[:, 0] >= 0.0]] if touches else [boxes]
        found = []
        for side in sides:
            if len(side):
                west, south = side[:, :2].min(axis=0).tolist()
                east, north = side[:, 2:].max(axis=0).tolist()
                found.append(BBox(west, south, east, north))
        return found

    def _block(self, index: NDArray[np.int64], density: SearchDensity, days: float) -> Block:
        hulls = self._hulls(index)
        return Block(
            places=tuple(self.places[i] for i in np.sort(index).tolist()),
            bboxes=tuple(hulls),
            items=sum(search_cost(density, hull, days)[1] for hull in hulls),
        )


def days_of(period: tuple[dt.date, dt.date] | None) -> float:
    """Days of a period, both ends included; 365 where there is none."""
    return 365.0 if period is None else (period[1] - period[0]).days + 1.0


def _outlines(places: Sequence[Place]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes in degrees that hold each footprint, (n, 4) west, south, east, north, and whose they are.

    At the antimeridian and the poles exactly (two boxes there), elsewhere from points along the edges, with a margin.
    """
    boxes, hard = np.empty((len(places), 4)), np.zeros(len(places), dtype=bool)
    epsg = np.array([p.geobox.epsg for p in places], dtype=np.int32)
    bounds = np.array([p.geobox.bounds for p in places])
    u, v = _along_edges()
    for code, index in by_code(epsg):
        if code in UPS:
            hard[index] = True
            continue
        x = bounds[index, 0, None] + u * (bounds[index, 2] - bounds[index, 0])[:, None]
        y = bounds[index, 1, None] + v * (bounds[index, 3] - bounds[index, 1])[:, None]
        lon, lat = (np.asarray(c).reshape(x.shape) for c in transformer(code, 4326).transform(x.ravel(), y.ravel()))
        boxes[index] = np.stack([lon.min(axis=1), lat.min(axis=1), lon.max(axis=1), lat.max(axis=1)], axis=1)
        more = _MARGIN * (boxes[index, 2:] - boxes[index, :2])
        boxes[index] += np.concatenate([-more, more], axis=1)
        hard[index] = (boxes[index, 0] < -180.0) | (boxes[index, 2] > 180.0)
    exact = [(box, i) for i in np.flatnonzero(hard).tolist() for box in bbox(places[i].geobox)]
    easy = np.flatnonzero(~hard)
    rest = np.array([box for box, _ in exact]).reshape(-1, 4)
    # these follow the outline from point to point and are rounded: the margin holds what bends between the points
    more = _MARGIN * (rest[:, 2:] - rest[:, :2])
    rest = np.clip(rest + np.concatenate([-more, more], axis=1), [-180.0, -90.0] * 2, [180.0, 90.0] * 2)
    return np.concatenate([boxes[easy], rest]), np.concatenate([easy, np.array([i for _, i in exact], dtype=np.int64)])


@lru_cache(maxsize=1)
def _along_edges() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(u, v) of points along the edges of a unit square."""
    step = np.arange(_EDGE_PARTS) / _EDGE_PARTS
    zero, one = np.zeros(_EDGE_PARTS), np.ones(_EDGE_PARTS)
    return np.concatenate([step, one, 1 - step, zero]), np.concatenate([zero, step, one, 1 - step])
