"""Candidate samples in order of preference: random points, grid cells, or points of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sampling import majortom
from sampling.chance import Purpose, ranks
from sampling.geobox import Footprints, place_footprints, usable
from sampling.geobox import joined as footprints_joined
from sampling.land import on_land
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sampling.region import Region
    from schemas.area import Area
    from schemas.grid import GridSpec
    from schemas.sampling import GridSampling, PointsSampling, UniformSampling

_CHUNK = 65_536
"""Candidates made at once."""
_HELD = 2_000_000
"""Cells held in order of rank at most: for more of them the grid is gone through again."""
_PATIENCE = 2_000_000
"""Points drawn in a row without one inside the area and on land, after which the area counts as having none."""


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """Candidate footprints, in order of preference, with the numbers that identify them."""

    footprints: Footprints
    key: NDArray[np.int64]
    """(n, 2) draw number and 0, row and column of a cell, or row of the file and 0."""

    def __len__(self) -> int:
        return len(self.footprints)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Candidates:
        """The entries at `index` (positions, mask or slice)."""
        return Candidates(self.footprints.take(index), self.key[index])


def nothing() -> Candidates:
    """No candidates."""
    none = np.empty(0)
    empty = Footprints(np.empty(0, dtype=np.int32), none, none, none, none, size_m=1.0)
    return Candidates(empty, np.empty((0, 2), dtype=np.int64))


def joined(parts: list[Candidates]) -> Candidates:
    """Joins several lists of candidates, in order; empty lists are left out."""
    full = [p for p in parts if len(p)]
    if len(full) < 2:
        return full[0] if full else nothing()
    return Candidates(footprints_joined([p.footprints for p in full]), np.concatenate([p.key for p in full]))


def uniform(sampling: UniformSampling, region: Region, grid: GridSpec, seed: int) -> Iterator[Candidates]:
    """Points uniform over the area, on land if requested; ends when no more points seem to exist."""
    start, barren = 0, 0
    step = min(_CHUNK, max(1_024, 4 * sampling.count))
    while barren < _PATIENCE:
        lon, lat, taken = region.draw(seed, start, start + step)
        if sampling.area.land_only:
            taken &= on_land(lon, lat)
        taken &= usable(lon, lat, grid.epsg)
        index = np.flatnonzero(taken)
        key = np.stack([start + index, np.zeros_like(index)], axis=1)
        drawn = Candidates(place_footprints(lon[index], lat[index], grid), key)
        drawn = drawn.take(_within(drawn.footprints, sampling.area, region))
        barren = 0 if len(drawn) else barren + step
        if len(drawn):
            yield drawn
        start += step
        step = _CHUNK


def all_cells(sampling: GridSampling, region: Region, grid: GridSpec, left_out: dict[str, int]) -> Iterator[Candidates]:
    """Every cell of the grid whose middle is in the area, from south to north and west to east; sea is counted."""
    for row, column, sea in _cells_on_land(sampling, region):
        row, column = _on_grid(row, column, sampling, grid, left_out)  # noqa: PLW2901
        found = _cell_candidates(row, column, sampling, grid)
        within = _within(found.footprints, sampling.area, region)
        left_out["not_on_land"] += sea
        left_out["not_on_land" if sampling.area.land_only else "outside_area"] += int((~within).sum())
        if within.any():
            yield found.take(within)


def shuffled_cells(sampling: GridSampling, region: Region, grid: GridSpec, seed: int) -> Iterator[Candidates]:
    """The cells in the order of a rank made from seed, row and column: a cell's rank depends on no other cell.

    The grid is read several times, each time for a limited number of cells, so that a fine grid over the Earth needs
    only the memory of the cells in use.
    """
    held, above = min(max(4 * (sampling.count or 1), _CHUNK), _HELD), -1
    more = True
    while more:
        row, column, more = _first_ranked(sampling, region, seed, held, above)
        for begin in range(0, len(row), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            found = _cell_candidates(*_on_grid(row[part], column[part], sampling, grid, {}), sampling, grid)
            yield found.take(_within(found.footprints, sampling.area, region))
        if len(row):
            above = int(ranks(seed, Purpose.CELLS, row[-1:], column[-1:])[0])


def within(footprints: Footprints, area: Area, region: Region) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the centre, moved by the lattice, is still in the area and on land; whether it is in the area at sea."""
    inside = region.contains(footprints.lon, footprints.lat)
    land = inside & on_land(footprints.lon, footprints.lat) if area.land_only else inside
    return land, inside & ~land


def _within(footprints: Footprints, area: Area, region: Region) -> NDArray[np.bool_]:
    """True where the centre, moved by the lattice, is still in the area and on land."""
    return within(footprints, area, region)[0]


def _first_ranked(
    sampling: GridSampling, region: Region, seed: int, held: int, above: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """The `held` cells of lowest rank above `above`, in order of rank, and whether there are more."""
    parts: list[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]] = []
    more, waiting = False, 0
    for row, column, _ in _cells_on_land(sampling, region):
        rank = ranks(seed, Purpose.CELLS, row, column)
        later = rank > np.uint64(above) if above >= 0 else np.ones(len(rank), dtype=bool)
        parts.append((rank[later], row[later], column[later]))
        waiting += len(parts[-1][0])
        if waiting > 2 * held:
            parts, more, waiting = [_lowest(parts, held)], True, held
    if not parts:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), False
    more = more or waiting > held
    rank, row, column = _lowest(parts, held)
    order = np.argsort(rank, kind="stable")
    return row[order], column[order], more


def _lowest(
    parts: list[tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]], held: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """(rank, row, column) of the `held` cells of lowest rank, in the order they came."""
    rank, row, column = (np.concatenate(c) for c in zip(*parts, strict=True))
    if len(rank) <= held:
        return rank, row, column
    low = np.sort(np.argpartition(rank, held - 1)[:held])
    return rank[low], row[low], column[low]


def _cells_on_land(
    sampling: GridSampling, region: Region
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Chunks of cells (row, column) in the area, and how many of the chunk were left out as sea."""
    for number, box in enumerate(region.boxes):
        west, south, east, north = box.tolist()
        for row, column in majortom.cells_in(BBox(west, south, east, north), sampling.spacing_m, _CHUNK):
            lon, lat = majortom.centres(row, column, sampling.spacing_m)
            inside = region.within(np.full(len(row), number), lon, lat)
            land = inside & on_land(lon, lat) if sampling.area.land_only else inside
            yield row[land], column[land], int(inside.sum() - land.sum())


def _on_grid(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    sampling: GridSampling,
    grid: GridSpec,
    left_out: dict[str, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells whose middle the grid's CRS is for; the others are counted."""
    held = usable(*majortom.centres(row, column, sampling.spacing_m), grid.epsg)
    left_out["outside_crs"] = left_out.get("outside_crs", 0) + int((~held).sum())
    return row[held], column[held]


def _cell_candidates(
    row: NDArray[np.int64], column: NDArray[np.int64], sampling: GridSampling, grid: GridSpec
) -> Candidates:
    lon, lat = majortom.centres(row, column, sampling.spacing_m)
    return Candidates(place_footprints(lon, lat, grid), np.stack([row, column], axis=1))


def listed(
    sampling: PointsSampling,
    region: Region,
    footprints: Footprints,
    held: NDArray[np.bool_],
    left_out: dict[str, int],
) -> Iterator[Candidates]:
    """The file's points whose centre is in the area, in the order of the file; (n,) `held`: their CRS is for them."""
    land, sea = within(footprints, sampling.area, region)
    left_out["outside_crs"] = int((~held).sum())
    land, sea = land & held, sea | ~held
    left_out["outside_area"] = int((~land & ~sea).sum())
    left_out["not_on_land"] = int((sea & held).sum())
    index = np.flatnonzero(land)
    key = np.stack([index, np.zeros_like(index)], axis=1)
    for begin in range(0, len(index), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        yield Candidates(footprints.take(index[part]), key[part])
