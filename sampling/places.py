"""Makes the list of Places from a recipe's sampling section and seed."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from sampling import candidates, majortom
from sampling.attributes import Attribute, attributes_of, check_dates
from sampling.draw import Drawer, draw, placed, stratum_name
from sampling.errors import SamplingError
from sampling.frames import names_in
from sampling.land import on_land
from sampling.leakage import Leakage, leakage
from sampling.overlap import OccupiedGround, up_to
from sampling.packing import packed
from sampling.points import checked_ids, read_points
from sampling.region import area_m2, region_of
from sampling.rows import columns_at, read_frame
from sampling.shared import SharedGround, shared_ground
from sampling.split_rules import divide, said_by, split_reader
from sampling.splits import SPLITS, Assignment
from sampling.times import dates_of
from schemas.attribute import PREFIX
from schemas.place import GeoBox, Place
from schemas.sampling import DrawSampling, GridSampling, PointsSampling, UniformSampling
from schemas.splits import AttributeSplits, FoldSplits, Splits, YearSplits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.candidates import Candidates
    from sampling.geobox import Footprints
    from sampling.packing import Packed
    from sampling.points import PointTable
    from sampling.region import Region
    from schemas.output import Shards
    from schemas.recipe import Recipe
    from schemas.splits import AnySplits

_LOOKED_AT = 4_096
"""Places that are enough to see whether an area has land."""
_CROWDED = 20_000
"""Candidates in a row without free ground, after which the area counts as full."""
_TOGETHER = 262_144
"""Approximate candidates per round: many, so that the index of the ground is rarely rebuilt."""
MOST_CELLS = 2_000_000_000
"""Cells of a grid in an area: 500 m over the whole Earth."""
_NAMED = 8
"""Strata that a note names."""
_ROUNDS = 12
"""Times that the split buffer's losses are made up for before fewer samples than asked for are accepted."""


@dataclass(frozen=True, eq=False, slots=True)
class Located:
    """Places of the samples, as columns (54 bytes per sample), and the samples left out.

    In the order of their draw (uniform), of the grid or of the file; sample ids are unique. A `Place` is made of a
    sample when it is asked for.
    """

    footprints: Footprints
    split: NDArray[np.int8]
    """(n,) place in `sampling.splits.SPLITS`."""
    key: NDArray[np.int64]
    """(n, 2) what names a sample: draw number and 0, row and column of a cell, or row of the file and 0."""
    names: Callable[[NDArray[np.int64]], list[str]]
    """Keys -> sample ids."""
    block_m: float
    """Edge of a block of ground, metres."""
    resolution_m: float
    """Base pixel, metres."""
    left_out: dict[str, int]
    """Candidates left out, by reason: outside_area, not_on_land (cells of a whole grid and points of a file only),
    overlap, split_buffer."""
    notes: tuple[str, ...] = ()
    """Notes for the user, one line each: fewer samples than requested, an empty split."""
    attributes: tuple[Attribute, ...] = ()
    """Columns of the points file that are carried along, one value per sample."""
    shared: tuple[SharedGround, ...] = ()
    """Ground that splits have in common, where the recipe allows it."""
    leaks: tuple[Leakage, ...] = ()
    """Overlaps and distances between splits; () where the rule of the splits keeps a distance of its own."""
    strata: tuple[str, ...] = ()
    """Names of the strata that samples were drawn from."""
    stratum: NDArray[np.int32] | None = None
    """(n,) place in `strata`."""
    parted: bool = False
    """True where the rule of the splits parts blocks of ground: the split is then part of a block's name."""

    def __len__(self) -> int:
        return len(self.footprints)

    def columns(self, index: NDArray[np.int64]) -> dict[str, list[Any] | NDArray[Any]]:
        """Samples number `index` as columns named like the fields of `Place` and of its `GeoBox`; 'attr_NAME'."""
        some = self.footprints.take(index)
        count = round(some.size_m / self.resolution_m)
        return {
            "sample_id": self.names(self.key[index]),
            "split": [SPLITS[code] for code in self.split[index].tolist()],
            "lon": some.lon,
            "lat": some.lat,
            "epsg": some.epsg,
            "x_min": some.x_min,
            "y_max": some.y_max,
            "resolution_m": np.full(len(index), self.resolution_m),
            "width": np.full(len(index), count, dtype=np.int32),
            "height": np.full(len(index), count, dtype=np.int32),
            "block": self._blocks(some, self.split[index]),
            "cell": majortom.names(*majortom.cells_of(some.lon, some.lat)),
            **({} if self.stratum is None else {"stratum": [self.strata[s] for s in self.stratum[index].tolist()]}),
            **{PREFIX + a.name: a.values.take(index).to_pylist() for a in self.attributes},
        }

    def _blocks(self, footprints: Footprints, split: NDArray[np.int8]) -> list[str]:
        """Blocks of ground whose samples are of one split: '269U_44R', or '269U_44R-val' where splits part blocks."""
        names = majortom.names(*majortom.cells_of(footprints.lon, footprints.lat, self.block_m))
        if not self.parted:
            return names
        return [f"{name}-{SPLITS[code]}" for name, code in zip(names, split.tolist(), strict=True)]

    def places(self, index: NDArray[np.int64]) -> list[Place]:
        """Samples number `index` as Places."""
        found = {k: v if isinstance(v, list) else v.tolist() for k, v in self.columns(index).items()}
        boxes = [found.pop(k) for k in _BOX]
        said = [[(a.name, value) for value in found.pop(PREFIX + a.name)] for a in self.attributes]
        rows = zip(*found.values(), strict=True)
        geoboxes = (GeoBox(**dict(zip(_BOX, b, strict=True))) for b in zip(*boxes, strict=True))
        pairs = zip(*said, strict=True) if said else itertools.repeat((), len(index))
        return [
            Place(geobox=g, attributes=more, **dict(zip(found, row, strict=True)))
            for g, row, more in zip(geoboxes, rows, pairs, strict=True)
        ]

    def limited(self, limit: int | None) -> Located:
        """At most `limit` of the samples, spread evenly over all of them; each is what it is without a limit."""
        if limit is None or limit >= len(self):
            return self
        index = np.arange(limit, dtype=np.int64) * len(self) // limit
        return replace(
            self,
            footprints=self.footprints.take(index),
            split=self.split[index],
            key=self.key[index],
            notes=(f"a trial of {limit:,} of {len(self):,} samples (limit)",),
            attributes=tuple(replace(a, values=a.values.take(index)) for a in self.attributes),
            shared=(),
            leaks=(),
            stratum=None if self.stratum is None else self.stratum[index],
        )

    def packed(self, shards: Shards) -> Packed:
        """The samples in shards: see `sampling.packing`."""
        size = shards.size(len(self.footprints))
        return packed(self.footprints, self.split, lambda index: self.names(self.key[index]), size)


_BOX = ("epsg", "x_min", "y_max", "resolution_m", "width", "height")


@dataclass(frozen=True, slots=True)
class SamplingResult:
    """`Located` as a list of Places, for small sets."""

    places: list[Place]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sample_places(recipe: Recipe, recipe_dir: Path) -> SamplingResult:
    """`locate`, every sample as a Place."""
    found = locate(recipe, recipe_dir)
    return SamplingResult(found.places(np.arange(len(found))), found.left_out, found.notes)


def locate(recipe: Recipe, recipe_dir: Path) -> Located:
    """The places of a recipe: a pure function of its sampling, grid and splits sections, its seed, and files they name.

    Memory: about 150 bytes per sample while it runs, and about 300 MB for any recipe.

    Args:
        recipe: checked recipe.
        recipe_dir: folder that file names in the recipe are relative to.

    Raises:
        SamplingError: a file is wrong, or no sample is left; one clear line.
    """
    sampling, grid, seed = recipe.sampling, recipe.grid, recipe.seed
    region = region_of(sampling.area, recipe_dir)
    if isinstance(sampling, GridSampling) and (cells := area_m2(region) / sampling.spacing_m**2) > MOST_CELLS:
        raise SamplingError(
            f"a grid of {sampling.spacing_m:g} m has about {cells:,.0f} cells in this area, at most {MOST_CELLS:,} are "
            "possible: make sampling.spacing_m larger or the area smaller"
        )
    left_out = dict.fromkeys(("outside_area", "not_on_land", "no_stratum", "overlap", "split_buffer"), 0)
    if isinstance(sampling, DrawSampling):
        return _from_frame(sampling, recipe, recipe_dir, region, left_out).limited(recipe.limit)
    wanted = None
    attributes: tuple[Attribute, ...] = ()
    said: NDArray[np.int8] | None = None
    match sampling:
        case UniformSampling():
            wanted, stream, names = sampling.count, candidates.uniform(sampling, region, grid, seed), _drawn
        case GridSampling(count=None):
            stream, names = candidates.all_cells(sampling, region, grid, left_out), _cells
        case GridSampling():
            wanted, stream, names = sampling.count, candidates.shuffled_cells(sampling, region, grid, seed), _cells
        case PointsSampling():
            table = read_points(sampling.file, recipe_dir, sampling.attributes, _split_column(recipe.splits))
            check_dates(table.name, table.attributes, dates_of(recipe.windows), table.where)
            attributes, said = table.attributes, _said(recipe.splits, table)
            stream, names = candidates.listed(sampling, region, table.footprints(grid), left_out), table.names
        case _:
            assert_never(sampling)
    pool = _Pool(stream, None if sampling.allow_overlap else OccupiedGround(grid.size_m), left_out)
    chosen, assignment = _chosen(
        pool, wanted, lambda c: divide(c, recipe.splits, seed, None if said is None else said[c.key[:, 0]])
    )
    left_out["split_buffer"] = int((~assignment.kept).sum())
    index = np.flatnonzero(assignment.kept)[:wanted]
    if not len(index):
        raise SamplingError(f"no sample is left: {_nothing(recipe, region, left_out)}")
    found = _located(recipe, chosen, assignment, index, left_out)
    carried = tuple(replace(a, values=a.values.take(found.key[:, 0])) for a in attributes)
    whole = replace(found, names=names, attributes=_with_fold(carried, assignment, index))
    return whole.limited(recipe.limit)


def _from_frame(
    sampling: DrawSampling, recipe: Recipe, recipe_dir: Path, region: Region, left_out: dict[str, int]
) -> Located:
    """Samples drawn from a file: see `sampling.draw`."""
    splits, seed, name = recipe.splits, recipe.seed, sampling.frame.file
    column = _split_column(splits)
    reader = (
        split_reader(splits, name) if isinstance(splits, AttributeSplits | YearSplits) else lambda _value, _where: -1
    )
    rows = read_frame(sampling, recipe_dir, column, reader)
    left_out["no_stratum"] = rows.without
    drawer = Drawer(sampling, rows, recipe_dir, seed)
    ground = None if sampling.allow_overlap else OccupiedGround(recipe.grid.size_m)
    drawn = draw(
        sampling,
        rows,
        drawer,
        placed(drawer, sampling, recipe.grid, region, ground, left_out),
        lambda chosen, row: divide(chosen, splits, seed, rows.split[row]),
        seed,
    )
    left_out["split_buffer"] = int((~drawn.assignment.kept).sum())
    found = _located(recipe, drawn.chosen, drawn.assignment, drawn.index, left_out)
    numbers = np.unique(found.key[:, 0])
    place = np.searchsorted(numbers, found.key[:, 0])
    carried = _carried(sampling, recipe_dir, numbers, dates_of(recipe.windows))
    names = _named_by_file(sampling, recipe_dir, numbers) if drawer.once else _drawn_names
    stratum = rows.stratum[drawn.row[drawn.index]] if sampling.balance else None
    return replace(
        found,
        names=names,
        notes=(*found.notes, *_short(drawn.short, sampling)),
        attributes=_with_fold(
            tuple(replace(a, values=a.values.take(place)) for a in carried), drawn.assignment, drawn.index
        ),
        strata=tuple(stratum_name(sampling, values) for values in rows.strata),
        stratum=stratum,
    )


def _located(
    recipe: Recipe, chosen: Candidates, assignment: Assignment, index: NDArray[np.int64], left_out: dict[str, int]
) -> Located:
    """Samples number `index` of the candidates, with what is known of their splits; names and attributes follow."""
    split, splits = assignment.split[index], recipe.splits
    footprints = chosen.footprints.take(index)
    measured = splits.least_gap_m is None
    return Located(
        footprints=footprints,
        split=split,
        key=chosen.key[index],
        names=_drawn,
        block_m=splits.block_m,
        resolution_m=recipe.grid.resolution_m,
        left_out={reason: count for reason, count in left_out.items() if count},
        notes=_notes(footprints, split, left_out, recipe),
        shared=shared_ground(footprints, split) if measured else (),
        parted=not isinstance(splits, Splits | FoldSplits),
        leaks=leakage(footprints, split) if measured or not isinstance(splits, Splits) else (),
    )


def _split_column(splits: AnySplits) -> str | None:
    """Column of the points file that decides the splits."""
    return splits.column if isinstance(splits, AttributeSplits | YearSplits) else None


def _said(splits: AnySplits, table: PointTable) -> NDArray[np.int8] | None:
    """(rows of the file,) split that the file states."""
    if not isinstance(splits, AttributeSplits | YearSplits):
        return None
    return said_by(splits, table.name, table.deciding, table.where)


def _with_fold(
    attributes: tuple[Attribute, ...], assignment: Assignment, index: NDArray[np.int64]
) -> tuple[Attribute, ...]:
    """The fold of every sample beside its other attributes."""
    if assignment.fold is None:
        return attributes
    import pyarrow as pa

    fold = Attribute("fold", "int64", pa.array(assignment.fold[index]))
    return tuple(sorted((*attributes, fold), key=lambda a: a.name))


def _carried(
    sampling: DrawSampling, recipe_dir: Path, rows: NDArray[np.int64], dates: set[str]
) -> tuple[Attribute, ...]:
    """Columns of some rows of the file; those named in `dates` must hold dates."""
    if not sampling.attributes:
        return ()
    name = sampling.frame.file
    columns, where = columns_at(name, recipe_dir, sampling.attributes, rows)
    typed = not name.lower().endswith(".csv")
    said = columns if typed else {c: [v or "" for v in values] for c, values in columns.items()}
    carried = attributes_of(name, sampling.attributes, said, where, typed=typed)
    check_dates(name, carried, dates, where)
    return carried


def _named_by_file(
    sampling: DrawSampling, recipe_dir: Path, rows: NDArray[np.int64]
) -> Callable[[NDArray[np.int64]], list[str]]:
    """Names of the rows: their sample_id, else their number."""
    name = sampling.frame.file
    if "sample_id" not in names_in(name, recipe_dir):
        return lambda key: [f"p{row + 1:07d}" for row in key[:, 0].tolist()]
    columns, where = columns_at(name, recipe_dir, ("sample_id",), rows)
    ids = checked_ids(name, columns["sample_id"], where)
    return lambda key: [ids[i] for i in np.searchsorted(rows, key[:, 0]).tolist()]


def _drawn_names(key: NDArray[np.int64]) -> list[str]:
    return [f"d{number:09d}" for number in key[:, 1].tolist()]


def _short(short: list[str], sampling: DrawSampling) -> list[str]:
    """Notes on strata that have fewer samples than they should."""
    if not short or not sampling.balance:
        return []
    some = "; ".join(short[:_NAMED]) + ("; ..." if len(short) > _NAMED else "")
    of = f"{len(short)} of the strata could not give their share"
    return [f"{of}: {some}: the file has no more rows of them on free ground in the area"]


def _drawn(key: NDArray[np.int64]) -> list[str]:
    return [f"u{number:09d}" for number in key[:, 0].tolist()]


def _cells(key: NDArray[np.int64]) -> list[str]:
    return majortom.names(key[:, 0], key[:, 1])


class _Pool:
    """Candidates admitted so far: pulled from a stream as they are needed, none on ground already taken."""

    def __init__(self, stream: Iterator[Candidates], ground: OccupiedGround | None, left_out: dict[str, int]) -> None:
        self.exhausted = False
        self._stream = stream
        self._ground = ground
        self._left_out = left_out
        self._admitted = candidates.nothing()
        self._rest: list[Candidates] = []
        self._refused_in_a_row = 0

    def grow_to(self, target: int | None) -> Candidates:
        """At least `target` admitted candidates (all there are if None), or as many as can be had."""
        parts, count = [self._admitted], len(self._admitted)
        while not self.exhausted and (target is None or count < target):
            batches = self._rest or self._pulled(_TOGETHER if target is None else min(target - count, _TOGETHER))
            self._rest = []
            if not batches:
                self.exhausted = True
                break
            parts.append(self._admit(batches, None if target is None else target - count))
            count += len(parts[-1])
        self._admitted = candidates.nothing()
        self._admitted = candidates.joined(parts)
        return self._admitted

    def _pulled(self, enough: int) -> list[Candidates]:
        """The stream's next batches, together at least `enough` candidates; [] at its end."""
        batches: list[Candidates] = []
        while sum(len(b) for b in batches) < enough and (batch := next(self._stream, None)) is not None:
            batches.append(batch)
        return batches

    def _admit(self, batches: list[Candidates], at_most: int | None) -> Candidates:
        """As if batch after batch came alone, but looked at together."""
        together = candidates.joined(batches)
        free = np.ones(len(together), dtype=bool) if self._ground is None else self._ground.free(together.footprints)
        free = up_to(free, at_most)
        done = 0
        for number, batch in enumerate(batches, 1):
            answer = free[done : done + len(batch)]
            done += len(answer)
            last = np.flatnonzero(answer)
            self._refused_in_a_row = (
                len(answer) - 1 - int(last[-1]) if len(last) else self._refused_in_a_row + len(answer)
            )
            self.exhausted = at_most is not None and self._refused_in_a_row >= _CROWDED
            if len(answer) < len(batch):
                self._rest = [batch.take(slice(len(answer), None)), *batches[number:]]
            elif self.exhausted or done == len(free):
                self._rest = batches[number:]
            if self.exhausted or done == len(free):
                break
        free = free[:done]
        self._left_out["overlap"] += int((~free).sum())
        admitted = together.take(np.flatnonzero(free))
        if self._ground is not None:
            self._ground.occupy(admitted.footprints)
        return admitted


def _chosen(
    pool: _Pool, wanted: int | None, divided: Callable[[Candidates], Assignment]
) -> tuple[Candidates, Assignment]:
    """Candidates and their splits, enough of them that `wanted` are left once the buffer has been kept."""
    target = wanted
    for _ in range(_ROUNDS):
        chosen = pool.grow_to(target)
        assignment = divided(chosen)
        kept = int(assignment.kept.sum())
        if wanted is None or kept >= wanted or pool.exhausted:
            break
        target = len(chosen) + math.ceil((wanted - kept) * 1.1 * min(len(chosen) / max(kept, 1), 4.0)) + 8
    return chosen, assignment


def _notes(
    footprints: Footprints, split: NDArray[np.int8], left_out: dict[str, int], recipe: Recipe
) -> tuple[str, ...]:
    notes, splits, sampling, count = [], recipe.splits, recipe.sampling, len(footprints)
    wanted = None if isinstance(sampling, PointsSampling) else sampling.count
    if wanted is not None and count < wanted:
        reasons = _why(left_out)
        notes.append(
            f"{count} of {wanted} samples were placed: the area has no more room" + (f" ({reasons})" if reasons else "")
        )
    if isinstance(sampling, GridSampling) and left_out["overlap"] > count / 20:
        size, spacing, lost = recipe.grid.size_m, sampling.spacing_m, left_out["overlap"]
        notes.append(
            f"{lost} cells were left out: footprints of {size:g} m overlap at a spacing of {spacing:g} m; "
            f"spacing_m: {_roomy_spacing_m(recipe):g} keeps them apart, allow_overlap: true keeps them all"
        )
    got = np.bincount(split, minlength=len(SPLITS)).tolist()
    empty = [name for name, held in zip(SPLITS, got, strict=True) if splits.asked(name) != 0 and not held]
    if empty and not isinstance(splits, Splits):
        notes += [f"split {name!r} is empty" for name in empty if splits.asked(name) is not None]
    elif empty:
        row, column = majortom.cells_of(footprints.lon, footprints.lat, splits.block_m)
        blocks = len(np.unique(np.stack([row, column], axis=1), axis=0))
        notes += [
            f"split {name!r} is empty: the samples lie in {blocks} block{'s' if blocks > 1 else ''} "
            f"of {splits.block_m:g} m; make splits.block_m smaller or the area larger"
            for name in empty
        ]
    if not sampling.area.land_only and _land_if_swapped(footprints.lon[:_LOOKED_AT], footprints.lat[:_LOOKED_AT]):
        notes.append(f"hardly any sample is on land; {_SWAPPED}")
    lost = left_out["split_buffer"]
    if lost > count / 4 and isinstance(splits, Splits):
        notes.append(
            f"the split buffer cost {lost} samples against {count} kept; larger splits.block_m "
            f"({splits.block_m:g} m) or smaller splits.buffer_m ({splits.buffer_m:g} m) loses fewer, "
            "splits.allow_overlap: true loses none"
        )
    return tuple(notes)


def _nothing(recipe: Recipe, region: Region, left_out: dict[str, int]) -> str:
    """Why no sample is left: what was left out, or that the area has no land."""
    if any(left_out.values()):
        return _why(left_out)
    lon, lat, inside = region.draw(recipe.seed, 0, _LOOKED_AT)
    lon, lat = lon[inside], lat[inside]
    if not recipe.sampling.area.land_only or not len(lon):
        return "the area is empty"
    where = f"longitude {lon.min():.2f} to {lon.max():.2f}, latitude {lat.min():.2f} to {lat.max():.2f}"
    if on_land(lon, lat).any():
        return f"hardly any of the area is land ({where}); make it larger"
    hint = f"; {_SWAPPED}" if _land_if_swapped(lon, lat) else ""
    return f"the area is empty or has no land ({where}); area.land_only: false keeps samples at sea{hint}"


_SWAPPED = "with longitude and latitude swapped there would be land: longitude comes first; are the two swapped?"


def _land_if_swapped(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Whether nearly all places would be on land if they were (lat, lon), and few are as they stand."""
    if not len(lon) or np.abs(lon).max() > 90.0:
        return False
    return bool(on_land(lon, lat).mean() < 0.1 and on_land(lat, lon).mean() > 0.9)


def _roomy_spacing_m(recipe: Recipe) -> float:
    """A spacing at which no two footprints of a grid overlap, in tens of metres.

    Cells follow meridians, footprints the zone's own north, up to 3 degrees apart: a neighbour half a cell to the
    side comes nearer by 0.5 * sin(3 deg) = 2.6 %; snapping takes up to snap_m, cells are a little under the spacing.
    """
    return math.ceil((recipe.grid.size_m * 1.05 + (recipe.grid.snap_m or 0.0)) / 10.0) * 10.0


def _why(left_out: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in left_out.items() if count)
