"""Draws samples from a frame: stratum by stratum, each until it has its share or nothing is left in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyproj
import shapely

from sampling.candidates import Candidates, joined, nothing, within
from sampling.chance import Purpose, ranks, scattered
from sampling.errors import SamplingError
from sampling.frames import rows_of
from sampling.geobox import place_footprints, usable
from sampling.region import ground_of
from sampling.rows import area_of
from sampling.sphere import authalic_sine, latitude_of, rounded, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.overlap import OccupiedGround
    from sampling.region import Region
    from sampling.rows import FrameRows
    from sampling.splits import Assignment
    from schemas.grid import GridSpec
    from schemas.sampling import DrawSampling

_TOGETHER = 262_144
"""Most candidates per round: bounds memory."""
_CROWDED = 20_000
"""Candidates of a stratum in a row that found no free ground in the area, after which it counts as full."""
_LEAST_SUCCESS = 0.02
"""Share of candidates that is reckoned to be admitted at least: bounds how many are drawn for each that is lacking."""
_ROUNDS = 12
"""Times that the split buffer's losses are made up for before fewer samples than asked for are accepted."""
_TRIES = 10_000
"""Points drawn in the box of a polygon until one lies inside, before the candidate is given up."""
_GEOD = pyproj.Geod(ellps="WGS84")


@dataclass(eq=False)
class Strata:
    """Progress of each stratum; all columns are (strata,)."""

    quota: NDArray[np.int64]
    """Samples wanted."""
    next: NDArray[np.int64]
    """Number of the next candidate."""
    drawn: NDArray[np.int64]
    """Candidates looked at."""
    admitted: NDArray[np.int64]
    """Candidates admitted."""
    barren: NDArray[np.int64]
    """Candidates in a row that were not admitted."""
    ended: NDArray[np.bool_]
    """True where nothing more can be drawn."""

    @classmethod
    def of(cls, quota: NDArray[np.int64]) -> Strata:
        """The state before the first draw."""
        zero = np.zeros(len(quota), dtype=np.int64)
        return cls(quota, zero.copy(), zero.copy(), zero.copy(), zero.copy(), quota == 0)

    def asking(self, lacking: NDArray[np.int64]) -> NDArray[np.int64]:
        """Candidates to draw so that about `lacking` more are admitted, 0 where a stratum has ended."""
        success = np.clip((self.admitted + 1.0) / (self.drawn + 1.0), _LEAST_SUCCESS, 1.0)
        wanted = np.where(self.ended | (lacking <= 0), 0, np.ceil(lacking / success * 1.05) + 4).astype(np.int64)
        total = int(wanted.sum())
        if total > _TOGETHER:
            wanted = np.ceil(wanted * (_TOGETHER / total)).astype(np.int64)
        return np.asarray(wanted, dtype=np.int64)


def quotas(sampling: DrawSampling, rows: FrameRows, seed: int) -> NDArray[np.int64]:
    """(strata,) requested samples of each stratum; the sum is `count`."""
    strata = len(rows.strata)
    if sampling.shares == "equal":
        exact = np.full(strata, sampling.count / strata)
    else:
        held = np.bincount(rows.stratum, weights=rows.weight, minlength=strata)
        exact = sampling.count * held / held.sum()
    found: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    rest = sampling.count - int(found.sum())
    order = np.lexsort((ranks(seed, Purpose.ROWS, np.arange(strata), np.full(strata, -1)), found - exact))
    found[order[:rest]] += 1
    return found


class Drawer:
    """Makes candidate number k of a stratum: it depends on seed, stratum, k and the file alone."""

    def __init__(self, sampling: DrawSampling, rows: FrameRows, recipe_dir: Path, seed: int) -> None:
        """Order the rows for drawing."""
        self._sampling, self._rows, self._folder, self._seed = sampling, rows, recipe_dir, seed
        self.once = rows.shape == "point" and sampling.frame.spread_m is None
        """Whether each row gives one sample at most."""
        last = self._turns() if self.once else rows.row
        self._order = np.lexsort((last, rows.stratum))
        self._starts = np.searchsorted(rows.stratum[self._order], np.arange(len(rows.strata) + 1))
        self._chance = np.cumsum(rows.weight[self._order])

    def left(self, strata: Strata) -> NDArray[np.int64]:
        """(strata,) candidates that have not been drawn yet."""
        if self.once:
            return np.diff(self._starts) - strata.next
        return np.full(len(strata.quota), np.iinfo(np.int64).max)

    def candidates(
        self, stratum: NDArray[np.int64], number: NDArray[np.int64], grid: GridSpec
    ) -> tuple[Candidates, NDArray[np.int64]]:
        """Footprints of candidates, and the number among the usable rows that each comes from."""
        name = number * len(self._rows.strata) + stratum
        row = self._order[self._starts[stratum] + number] if self.once else self._chosen(stratum, name)
        lon, lat = self._rows.lon[row], self._rows.lat[row]
        if self._rows.shape == "ground":
            lon, lat = self._inside(self._rows.row[row], name)
        elif self._sampling.frame.spread_m is not None:
            lon, lat = _spread(lon, lat, self._sampling.frame.spread_m, self._seed, name)
        there = np.isfinite(lon)
        there[there] = usable(wrapped(lon[there]), lat[there], grid.epsg)
        lon, lat = wrapped(lon[there]), rounded(lat[there])
        key = np.stack([self._rows.row[row[there]], name[there]], axis=1)
        return Candidates(place_footprints(lon, lat, grid), key), row[there]

    def _turns(self) -> NDArray[np.float64]:
        """(n,) turn of each row: those of a greater weight tend to come first (Efraimidis and Spirakis 2006)."""
        u = scattered(self._seed, Purpose.ROWS, self._rows.row, 0)
        return -np.log1p(-u) / self._rows.weight

    def _chosen(self, stratum: NDArray[np.int64], name: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) rows drawn in proportion to their weight."""
        first, last = self._starts[stratum], self._starts[stratum + 1]
        low = np.where(first > 0, self._chance[first - 1], 0.0)
        high = self._chance[last - 1]
        aim = low + scattered(self._seed, Purpose.DRAWS, name, 0) * (high - low)
        return self._order[np.clip(np.searchsorted(self._chance, aim, side="right"), first, last - 1)]

    def _inside(
        self, rows: NDArray[np.int64], name: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points uniform over the ground of rows of the file: one pass over it, only those rows' shapes are held."""
        lon, lat = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        order = np.argsort(rows, kind="stable")
        for part in rows_of(self._sampling.frame.file, self._folder, (), shapes=True):
            low, high = np.searchsorted(rows[order], [part.first, part.first + len(part.where)])
            mine = order[low:high]
            if not len(mine):
                continue
            assert part.shapes is not None  # noqa: S101 - asked for
            for row in np.unique(rows[mine]).tolist():
                here = mine[rows[mine] == row]
                polygons = ground_of(repr(self._sampling.frame.file), part.shapes[row - part.first])
                lon[here], lat[here] = _points_in(polygons, self._seed, name[here])
        return lon, lat


def _spread(
    lon: NDArray[np.float64], lat: NDArray[np.float64], spread_m: float, seed: int, name: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points around points: the same Gaussian east and north, along geodesics of WGS 84."""
    far = spread_m * np.sqrt(-2.0 * np.log1p(-scattered(seed, Purpose.DRAWS, name, 1)))
    bearing = 360.0 * scattered(seed, Purpose.DRAWS, name, 2)
    east, north, _ = _GEOD.fwd(lon, lat, bearing, far)
    return np.asarray(east), np.asarray(north)


def _points_in(
    polygons: list[shapely.Polygon], seed: int, name: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A point in polygons for each name, uniform over their ground; NaN where none was found."""
    areas = np.cumsum([area_of([p]) for p in polygons])
    aim = scattered(seed, Purpose.DRAWS, name, 1) * areas[-1]
    part = np.minimum(np.searchsorted(areas, aim, side="right"), len(polygons) - 1)
    shapes = np.array(polygons, dtype=object)
    shapely.prepare(shapes)
    box = shapely.bounds(shapes)[part]
    low, high = authalic_sine(box[:, 1]), authalic_sine(box[:, 3])
    lon, lat = np.full(len(name), np.nan), np.full(len(name), np.nan)
    open_ = np.arange(len(name))
    for attempt in range(_TRIES):
        u, v = (scattered(seed, Purpose.DRAWS, name[open_], 2 + 2 * attempt + i) for i in (0, 1))
        x = box[open_, 0] + u * (box[open_, 2] - box[open_, 0])
        y = latitude_of(low[open_] + v * (high - low)[open_])
        hit = shapely.contains_xy(shapes[part[open_]], x, y)
        lon[open_[hit]], lat[open_[hit]] = x[hit], y[hit]
        open_ = open_[~hit]
        if not len(open_):
            break
    return lon, lat


class Admitted(NamedTuple):
    """Candidates that lie in the area and on free ground."""

    candidates: Candidates
    row: NDArray[np.int64]
    """(n,) number among the usable rows, of each."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples that were drawn from a frame."""

    chosen: Candidates
    """All candidates admitted, in the order of their draw; key: number of the row in the file, name of the draw."""
    row: NDArray[np.int64]
    """(n,) number among the usable rows."""
    assignment: Assignment
    index: NDArray[np.int64]
    """Those of them that are samples."""
    short: list[str]
    """Strata that have fewer samples than they should: 'biome=14: 3 of 10'."""


def draw(
    sampling: DrawSampling,
    rows: FrameRows,
    drawer: Drawer,
    place: Callable[[NDArray[np.int64], NDArray[np.int64]], Admitted],
    divide: Callable[[Candidates, NDArray[np.int64]], Assignment],
    seed: int,
) -> Drawn:
    """Draw until every stratum has its samples, split buffers kept, or can give no more.

    Args:
        sampling: the section.
        rows: the frame.
        drawer: makes candidates.
        place: (strata, numbers of candidates) -> those that are admitted.
        divide: candidates and their rows -> splits.
        seed: the recipe's seed.
    """
    strata = Strata.of(quotas(sampling, rows, seed))
    chosen, row = nothing(), np.empty(0, dtype=np.int64)
    kept = np.zeros_like(strata.quota)
    assignment: Assignment | None = None
    for _ in range(_ROUNDS):
        chosen, row = _grown(strata, strata.quota - kept, drawer, place, rows, Admitted(chosen, row))
        if not len(chosen):
            raise SamplingError(
                f"{sampling.frame.file!r}: no sample could be placed: no row lies in the area on free land"
            )
        assignment = divide(chosen, row)
        kept = np.bincount(rows.stratum[row[assignment.kept]], minlength=len(strata.quota))
        if not ((kept < strata.quota) & ~strata.ended).any():
            break
    assert assignment is not None  # noqa: S101 - at least one round
    index = _first_of_each(rows.stratum[row], assignment.kept, strata.quota)
    got = np.bincount(rows.stratum[row[index]], minlength=len(strata.quota))
    lacking = np.flatnonzero(got < strata.quota).tolist()
    short = [f"{_title(sampling, rows.strata[s])}{got[s]:,} of {strata.quota[s]:,}" for s in lacking]
    return Drawn(chosen, row, assignment, index, short)


def _title(sampling: DrawSampling, values: tuple[str, ...]) -> str:
    return stratum_name(sampling, values) + (": " if values else "")


def stratum_name(sampling: DrawSampling, values: tuple[str, ...]) -> str:
    """'biome=14, realm=NA'."""
    return ", ".join(f"{c}={ascii(v)[1:-1][:40]}" for c, v in zip(sampling.balance, values, strict=True))


def _grown(
    strata: Strata,
    lacking: NDArray[np.int64],
    drawer: Drawer,
    place: Callable[[NDArray[np.int64], NDArray[np.int64]], Admitted],
    rows: FrameRows,
    so_far: Admitted,
) -> Admitted:
    """More admitted candidates: `lacking` of each stratum, or fewer if it has no more."""
    parts = [so_far]
    lacking = lacking.copy()
    while (asked := np.minimum(strata.asking(lacking), drawer.left(strata))).any():
        stratum = np.repeat(np.arange(len(asked)), asked)
        turn = np.arange(len(stratum)) - np.repeat(np.cumsum(asked) - asked, asked)
        order = np.lexsort((stratum, turn))  # the strata take turns
        stratum, turn = stratum[order], turn[order]
        admitted = place(stratum, strata.next[stratum] + turn)
        got = np.bincount(rows.stratum[admitted.row], minlength=len(asked))
        strata.next += asked
        strata.drawn += asked
        strata.admitted += got
        strata.barren = np.where(got > 0, 0, strata.barren + asked)
        strata.ended |= (strata.barren >= _CROWDED) | (drawer.left(strata) <= 0)
        lacking -= got
        parts.append(admitted)
    return Admitted(joined([p.candidates for p in parts]), np.concatenate([p.row for p in parts]))


def _first_of_each(stratum: NDArray[np.int32], kept: NDArray[np.bool_], quota: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the first `quota` kept candidates of each stratum, ascending."""
    index = np.flatnonzero(kept)
    order = np.argsort(stratum[index], kind="stable")
    mine = stratum[index][order]
    turn = np.arange(len(mine)) - np.searchsorted(mine, mine)
    return np.sort(index[order[turn < quota[mine]]])


def placed(
    drawer: Drawer,
    sampling: DrawSampling,
    grid: GridSpec,
    region: Region,
    ground: OccupiedGround | None,
    left_out: dict[str, int],
) -> Callable[[NDArray[np.int64], NDArray[np.int64]], Admitted]:
    """Function that admits candidates: inside the area, and on ground that none admitted before has taken."""

    def place(stratum: NDArray[np.int64], number: NDArray[np.int64]) -> Admitted:
        found, row = drawer.candidates(stratum, number, grid)
        inside, sea = within(found.footprints, sampling.area, region)
        if drawer.once:  # a row that is left out is lost; a draw is only made again
            left_out["outside_area"] += int((~inside & ~sea).sum())
            left_out["not_on_land"] += int(sea.sum())
        found, row = found.take(inside), row[inside]
        free = np.ones(len(found), dtype=bool) if ground is None else ground.admit(found.footprints)
        left_out["overlap"] += int((~free).sum())
        return Admitted(found.take(free), row[free])

    return place
