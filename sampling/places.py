"""Makes the list of Places from a recipe's sampling section and seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

import numpy as np

from sampling import candidates, majortom
from sampling.attributes import Attribute, attributes_of, check_dates
from sampling.draw import Drawer, draw, placed, stratum_name
from sampling.errors import SamplingError
from sampling.frames import names_in
from sampling.leakage import leakage
from sampling.located import Located
from sampling.notes import notes_on, why_nothing
from sampling.numbers import with_numbers
from sampling.overlap import OccupiedGround
from sampling.points import checked_ids, read_points
from sampling.pool import Pool, chosen_from
from sampling.region import area_m2, region_of
from sampling.rows import columns_at, read_frame
from sampling.shared import shared_ground
from sampling.split_rules import divide, note_on_strata, said_by, split_reader, splits_strata
from sampling.strata import strata_of
from sampling.subset import subset_of
from schemas.attribute import PREFIX
from schemas.crs import metric
from schemas.number import of_files
from schemas.sampling import DrawSampling, GridSampling, PointsSampling, UniformSampling
from schemas.splits import AttributeSplits, FoldSplits, Splits, YearSplits
from schemas.strata import STRATUM, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.candidates import Candidates
    from sampling.points import PointTable
    from sampling.region import Region
    from sampling.rows import FrameRows
    from sampling.splits import Assignment
    from sampling.strata import Strata
    from schemas.recipe import Recipe
    from schemas.splits import AnySplits

MOST_CELLS = 2_000_000_000
"""Cells of a grid in an area: 500 m over the whole Earth."""
_NAMED = 8
"""Strata that a note names."""


def locate(recipe: Recipe, recipe_dir: Path) -> Located:
    """The places of a recipe: a pure function of its sampling, grid, splits and subset, its seed, and files they name.

    Memory: about 150 bytes per sample while it runs, and about 300 MB for any recipe.

    Args:
        recipe: checked recipe.
        recipe_dir: folder that file names in the recipe are relative to.

    Raises:
        SamplingError: a file is wrong, or no sample is left; one clear line.
    """
    found = _whole(recipe, recipe_dir)
    if recipe.subset is not None:
        named = {name_of(by).removeprefix(PREFIX) for by in recipe.subset.keep}
        if named & set(of_files(recipe.numbers)):
            found = with_numbers(found, recipe, recipe_dir)
        found = subset_of(found, recipe, recipe.subset)
    return found.limited(recipe.limit)


def _whole(recipe: Recipe, recipe_dir: Path) -> Located:
    """All places, before a subset or a limit."""
    sampling, grid, seed = recipe.sampling, recipe.grid, recipe.seed
    region = region_of(sampling.area, recipe_dir)
    if isinstance(sampling, GridSampling) and (cells := area_m2(region) / sampling.spacing_m**2) > MOST_CELLS:
        raise SamplingError(
            f"a grid of {sampling.spacing_m:g} m has about {cells:,.0f} cells in this area, at most {MOST_CELLS:,} are "
            "possible: make sampling.spacing_m larger or the area smaller"
        )
    _check_crs(region, recipe)
    left_out = dict.fromkeys(("outside_area", "outside_crs", "not_on_land", "no_stratum", "overlap", "split_buffer"), 0)
    if isinstance(sampling, DrawSampling):
        return _from_frame(sampling, recipe, recipe_dir, region, left_out)
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
            check_dates(table.name, table.attributes, recipe.dates, table.where)
            attributes, said = table.attributes, _said(recipe.splits, table)
            stream, names = _listed(sampling, region, table, recipe, left_out), table.names
        case _:
            assert_never(sampling)
    pool = Pool(stream, None if sampling.allow_overlap else OccupiedGround(grid.size_m), left_out)

    def divided(some: Candidates) -> Assignment:
        row = some.key[:, 0]
        stated = None if said is None else said[row]
        return divide(some, recipe.splits, seed, stated, _strata(recipe.splits, attributes, row))

    chosen, assignment = chosen_from(pool, wanted, divided)
    left_out["split_buffer"] = int((~assignment.kept).sum())
    index = np.flatnonzero(assignment.kept)[:wanted]
    if not len(index):
        raise SamplingError(f"no sample is left: {why_nothing(recipe, region, left_out)}")
    found = _located(recipe, chosen, assignment, index, left_out)
    carried = tuple(replace(a, values=a.values.take(found.key[:, 0])) for a in attributes)
    return replace(found, names=names, attributes=_with_fold(carried, assignment, index))


def _listed(
    sampling: PointsSampling, region: Region, table: PointTable, recipe: Recipe, left_out: dict[str, int]
) -> Iterator[Candidates]:
    return candidates.listed(sampling, region, table.footprints(recipe.grid), table.held(recipe.grid), left_out)


def _check_crs(region: Region, recipe: Recipe) -> None:
    """The area of the samples must meet the area that the grid's CRS is for.

    Raises:
        SamplingError: it does not.
    """
    if recipe.grid.epsg is None:
        return
    crs = metric(recipe.grid.epsg)
    west, south, east, north = crs.area
    east = east if east >= west else east + 360.0
    for box in region.boxes.tolist():
        for turn in (-360.0, 0.0, 360.0):
            if box[0] + turn <= east and box[2] + turn >= west and box[1] <= north and box[3] >= south:
                return
    raise SamplingError(f"the area of the samples lies outside that of grid.crs: {crs.words}")


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

    def divided(chosen: Candidates, row: NDArray[np.int64]) -> Assignment:
        return divide(chosen, splits, seed, rows.split[row], _frame_strata(recipe, recipe_dir, rows, chosen, row))

    drawn = draw(
        sampling,
        rows,
        drawer,
        placed(drawer, sampling, recipe.grid, region, ground, left_out),
        divided,
        seed,
    )
    if splits_strata(splits) and splits.least_gap_m is None:  # more were drawn than are samples: divide these alone
        some, row = drawn.chosen.take(drawn.index), drawn.row[drawn.index]
        drawn = replace(drawn, chosen=some, row=row, assignment=divided(some, row), index=np.arange(len(row)))
    left_out["split_buffer"] = int((~drawn.assignment.kept).sum())
    found = _located(recipe, drawn.chosen, drawn.assignment, drawn.index, left_out)
    numbers = np.unique(found.key[:, 0])
    place = np.searchsorted(numbers, found.key[:, 0])
    carried = _carried(sampling, recipe_dir, numbers, recipe.dates)
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


def _strata(splits: AnySplits, attributes: tuple[Attribute, ...], row: NDArray[np.int64]) -> Strata | None:
    """Strata of rows of a points file, where shares are to hold within them."""
    wanted = splits_strata(splits)
    if not wanted:
        return None
    return strata_of("splits.stratify", wanted, {PREFIX + a.name: a.values.take(row) for a in attributes})


def _frame_strata(
    recipe: Recipe, recipe_dir: Path, rows: FrameRows, chosen: Candidates, row: NDArray[np.int64]
) -> Strata | None:
    """Strata of candidates of a frame, where shares are to hold within them: one pass over the file."""
    wanted, sampling = splits_strata(recipe.splits), recipe.sampling
    if not wanted or not isinstance(sampling, DrawSampling):
        return None
    import pyarrow as pa

    values: dict[str, pa.Array] = {}
    named = {name_of(by).removeprefix(PREFIX) for by in wanted}
    if sampling.balance:
        names = [stratum_name(sampling, one) for one in rows.strata]
        values[STRATUM] = pa.array([names[s] for s in rows.stratum[row].tolist()])
    numbers = np.unique(chosen.key[:, 0])
    place = np.searchsorted(numbers, chosen.key[:, 0])
    some = sampling.model_copy(update={"attributes": tuple(n for n in sampling.attributes if n in named)})
    values |= {PREFIX + a.name: a.values.take(place) for a in _carried(some, recipe_dir, numbers, set())}
    return strata_of("splits.stratify", wanted, values)


def _located(
    recipe: Recipe, chosen: Candidates, assignment: Assignment, index: NDArray[np.int64], left_out: dict[str, int]
) -> Located:
    """Samples number `index` of the candidates, with their splits; names and attributes are added later."""
    split, splits = assignment.split[index], recipe.splits
    footprints = chosen.footprints.take(index)
    measured, wide = splits.least_gap_m is None, recipe.widest_m > recipe.grid.size_m
    return Located(
        footprints=footprints,
        split=split,
        key=chosen.key[index],
        names=_drawn,
        block_m=splits.block_m,
        resolution_m=recipe.grid.resolution_m,
        left_out={reason: count for reason, count in left_out.items() if count},
        notes=(*notes_on(footprints, split, left_out, recipe), *note_on_strata(splits, assignment, index)),
        shared=shared_ground(footprints, split) if measured else (),
        parted=not isinstance(splits, Splits | FoldSplits),
        leaks=leakage(footprints.over(recipe.widest_m), split)
        if measured or wide or not isinstance(splits, Splits)
        else (),
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
    """Adds the fold of every sample to its attributes."""
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
