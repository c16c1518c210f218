"""The whole of where: from a recipe's sampling section and seed to the list of Places."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

import numpy as np

from sampling import candidates, majortom
from sampling.errors import SamplingError
from sampling.overlap import OccupiedGround
from sampling.points import read_points
from sampling.region import region_of
from sampling.splits import SPLITS, Assignment, assign
from schemas.place import Place
from schemas.recipe import GridSampling, PointsSampling, UniformSampling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.candidates import Candidates
    from sampling.points import PointTable
    from schemas.recipe import Recipe, Sampling, Splits

_CROWDED = 20_000
"""Candidates in a row without free ground, after which the area counts as full."""
_ROUNDS = 12
"""Times that the split buffer's losses are made up for before fewer samples than asked for are accepted."""


@dataclass(frozen=True, slots=True)
class SamplingResult:
    """Where the samples are, and what was not taken."""

    places: list[Place]
    """In the order of their draw (uniform), of the grid or of the file; sample_ids are unique."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Candidates left out, by reason: outside_area, not_on_land (cells of a whole grid and points of a file only),
    overlap, split_buffer."""
    notes: tuple[str, ...] = ()
    """What a user should know about this set, one line each: fewer samples than asked for, an empty split."""


def sample_places(recipe: Recipe, recipe_dir: Path) -> SamplingResult:
    """The places of a recipe: a pure function of its sampling, grid and splits sections, its seed, and files they name.

    Args:
        recipe: checked recipe.
        recipe_dir: folder that file names in the recipe are relative to.

    Raises:
        SamplingError: a file is wrong, or no sample is left; one clear line.
    """
    sampling, grid, seed = recipe.sampling, recipe.grid, recipe.seed
    region = region_of(sampling.area, recipe_dir)
    left_out = dict.fromkeys(("outside_area", "not_on_land", "overlap", "split_buffer"), 0)
    wanted, table = None, None
    match sampling:
        case UniformSampling():
            wanted, stream = sampling.count, candidates.uniform(sampling, region, grid, seed)
        case GridSampling(count=None):
            stream = candidates.all_cells(sampling, region, grid, left_out)
        case GridSampling():
            wanted, stream = sampling.count, candidates.shuffled_cells(sampling, region, grid, seed)
        case PointsSampling():
            table = read_points(sampling.file, recipe_dir)
            stream = candidates.listed(sampling, region, table.footprints(grid), left_out)
        case _:
            assert_never(sampling)
    pool = _Pool(stream, None if sampling.allow_overlap else OccupiedGround(grid.size_m), left_out)
    chosen, assignment = _chosen(pool, wanted, recipe.splits, seed)
    left_out["split_buffer"] = int((~assignment.kept).sum())
    names = _names(sampling, table, chosen.key)
    places = _places(chosen, assignment, names, grid.resolution_m)[:wanted]
    if not places:
        raise SamplingError(f"no sample is left: {_why(left_out) or 'the area is empty or has no land'}")
    notes = _notes(places, left_out, wanted, recipe)
    return SamplingResult(places, {reason: count for reason, count in left_out.items() if count}, notes)


class _Pool:
    """Candidates admitted so far: pulled from a stream as they are needed, none on ground already taken."""

    def __init__(self, stream: Iterator[Candidates], ground: OccupiedGround | None, left_out: dict[str, int]) -> None:
        self.exhausted = False
        self._stream = stream
        self._ground = ground
        self._left_out = left_out
        self._admitted = candidates.nothing()
        self._rest: Candidates | None = None
        self._refused_in_a_row = 0

    def grow_to(self, target: int | None) -> Candidates:
        """At least `target` admitted candidates (all there are if None), or as many as can be had."""
        parts, count = [self._admitted], len(self._admitted)
        while not self.exhausted and (target is None or count < target):
            batch, self._rest = self._rest or next(self._stream, None), None
            if batch is None:
                self.exhausted = True
                break
            parts.append(self._admit(batch, None if target is None else target - count))
            count += len(parts[-1])
        self._admitted = candidates.joined(parts)
        return self._admitted

    def _admit(self, batch: Candidates, at_most: int | None) -> Candidates:
        if self._ground is None:
            free = np.ones(len(batch) if at_most is None else min(at_most, len(batch)), dtype=bool)
        else:
            free = self._ground.admit(batch.footprints, at_most)
        if len(free) < len(batch):
            self._rest = batch.take(slice(len(free), None))
        self._left_out["overlap"] += int((~free).sum())
        last = np.flatnonzero(free)
        self._refused_in_a_row = len(free) - 1 - int(last[-1]) if len(last) else self._refused_in_a_row + len(free)
        self.exhausted = at_most is not None and self._refused_in_a_row >= _CROWDED
        return batch.take(slice(0, len(free))).take(free)


def _chosen(pool: _Pool, wanted: int | None, splits: Splits, seed: int) -> tuple[Candidates, Assignment]:
    """Candidates and their splits, enough of them that `wanted` are left once the buffer has been kept."""
    target = wanted
    for _ in range(_ROUNDS):
        chosen = pool.grow_to(target)
        assignment = assign(chosen.footprints, splits, seed)
        kept = int(assignment.kept.sum())
        if wanted is None or kept >= wanted or pool.exhausted:
            break
        target = len(chosen) + math.ceil((wanted - kept) * 1.1 * min(len(chosen) / max(kept, 1), 4.0)) + 8
    return chosen, assignment


def _names(sampling: Sampling, table: PointTable | None, key: NDArray[np.int64]) -> list[str]:
    """Sample ids: the draw's number, the cell's id or what the file says; they depend on no other sample."""
    if table is not None:
        return [table.sample_id[row] for row in key[:, 0].tolist()]
    if isinstance(sampling, GridSampling):
        return majortom.names(key[:, 0], key[:, 1])
    return [f"u{number:09d}" for number in key[:, 0].tolist()]


def _places(chosen: Candidates, assignment: Assignment, names: list[str], resolution_m: float) -> list[Place]:
    footprints = chosen.footprints
    cells = majortom.names(*majortom.cells_of(footprints.lon, footprints.lat))
    blocks = majortom.names(*assignment.block)
    return [
        Place(
            sample_id=names[i],
            lon=float(footprints.lon[i]),
            lat=float(footprints.lat[i]),
            geobox=footprints.geobox(i, resolution_m),
            split=SPLITS[assignment.split[i]],
            block=blocks[i],
            cell=cells[i],
        )
        for i in np.flatnonzero(assignment.kept).tolist()
    ]


def _notes(places: list[Place], left_out: dict[str, int], wanted: int | None, recipe: Recipe) -> tuple[str, ...]:
    notes, splits = [], recipe.splits
    if wanted is not None and len(places) < wanted:
        reasons = _why(left_out)
        notes.append(
            f"{len(places)} samples were placed of {wanted} asked for: the area has no more room"
            + (f" ({reasons})" if reasons else "")
        )
    if isinstance(recipe.sampling, GridSampling) and left_out["overlap"] > len(places) / 20:
        size, spacing, lost = recipe.grid.size_m, recipe.sampling.spacing_m, left_out["overlap"]
        notes.append(
            f"{lost} cells were left out: footprints of {size:g} m overlap at a spacing of {spacing:g} m; "
            f"spacing_m: {_roomy_spacing_m(recipe):g} keeps them apart, allow_overlap: true keeps them all"
        )
    blocks = len({p.block for p in places})
    notes += [
        f"split {name!r} is empty: the samples lie in {blocks} block{'s' if blocks > 1 else ''} "
        f"of {splits.block_m:g} m; make splits.block_m smaller or the area larger"
        for name in SPLITS
        if getattr(splits, name) > 0 and not any(p.split == name for p in places)
    ]
    lost = left_out["split_buffer"]
    if lost > len(places) / 4:
        notes.append(
            f"the split buffer cost {lost} samples against {len(places)} kept; larger splits.block_m "
            f"({splits.block_m:g} m) or smaller splits.buffer_m ({splits.buffer_m:g} m) loses fewer"
        )
    return tuple(notes)


def _roomy_spacing_m(recipe: Recipe) -> float:
    """A spacing at which no two footprints of a grid overlap, in tens of metres.

    Cells follow meridians, footprints the zone's own north, up to 3 degrees apart: a neighbour half a cell to the
    side comes nearer by 0.5 * sin(3 deg) = 2.6 %; snapping takes up to snap_m, cells are a little under the spacing.
    """
    return math.ceil((recipe.grid.size_m * 1.05 + (recipe.grid.snap_m or 0.0)) / 10.0) * 10.0


def _why(left_out: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in left_out.items() if count)
