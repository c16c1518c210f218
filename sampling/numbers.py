"""Numbers of samples from files beside the recipe: columns of polygons and of tables, read in pieces.

Held meanwhile: one value for each sample and number, and FRAME rows of a file (`sampling.frames.ROWS`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from sampling.attributes import attributes_of, check_dates
from sampling.errors import SamplingError
from sampling.frames import rows_of
from sampling.geobox import outlines
from sampling.region import ground_of
from schemas.number import PolygonNumber, TableNumber, of_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.attributes import Attribute
    from sampling.frames import Rows
    from sampling.geobox import Footprints
    from sampling.located import Located
    from schemas.number import FileNumber
    from schemas.recipe import Recipe

_TOGETHER = 16_384
"""Samples that are compared with polygons together."""
_POLYGONS = (3, 6)
"""GEOS's numbers of polygons and multipolygons."""


@dataclass(frozen=True, eq=False, slots=True)
class _Found:
    """Values of a file for each sample."""

    values: list[Any]
    """(n,) None where it says nothing."""
    where: list[str]
    """(n,) row that says it; '' where none does."""

    @classmethod
    def nothing(cls, count: int) -> _Found:
        return cls([None] * count, [""] * count)

    def put(self, sample: int, rows: Rows, row: int, column: str) -> None:
        self.values[sample], self.where[sample] = rows.columns[column][row], rows.where[row]


def with_numbers(located: Located, recipe: Recipe, recipe_dir: Path) -> Located:
    """The samples with numbers from files added as attributes, those that a subset needed before among them.

    Args:
        located: all samples.
        recipe: checked recipe.
        recipe_dir: folder of the recipe.

    Raises:
        SamplingError: a file, a column or a value cannot be used, or says nothing of any sample; names the number.
    """
    dates = recipe.dates
    made, notes = list(located.attributes), list(located.notes)
    there = {a.name for a in located.attributes}
    wanted = {name: entry for name, entry in of_files(recipe.numbers).items() if name not in there}
    for name in sorted(wanted, key=lambda n: isinstance(wanted[n], TableNumber)):  # tables may ask for polygons'
        entry = wanted[name]
        found = _of_polygons(name, entry, located.footprints, recipe_dir) if isinstance(entry, PolygonNumber) else (
            _of_table(name, entry, _keys(entry, located, made), recipe_dir)
        )  # fmt: skip
        attribute, without = _attribute(name, entry, found)
        check_dates(entry.file, (attribute,), dates, found.where)
        made.append(attribute)
        if without:
            what = "lie in no polygon" if isinstance(entry, PolygonNumber) else "have no row"
            notes.append(
                f"numbers.{name}: {without:,} of {len(located):,} samples {what} of {entry.file} with a value of "
                f"{entry.column}"
            )
    return replace(located, attributes=tuple(sorted(made, key=lambda a: a.name)), notes=tuple(notes))


def _attribute(name: str, entry: FileNumber, found: _Found) -> tuple[Attribute, int]:
    """The column, and the number of samples without a value."""
    typed = not entry.file.lower().endswith(".csv")
    without = sum(value is None for value in found.values)
    if without == len(found.values):
        what = "lies in a polygon" if isinstance(entry, PolygonNumber) else "has a row"
        raise SamplingError(
            f"numbers.{name}: no sample {what} of {entry.file!r} with a value of {entry.column!r}; is it the right file"
            + (", and in longitude and latitude?" if isinstance(entry, PolygonNumber) else ", `id` and `match`?")
        )
    values = found.values if typed else [v or "" for v in found.values]
    (made,) = attributes_of(entry.file, (entry.column,), {entry.column: values}, found.where, typed=typed)
    return replace(made, name=name), without


def _of_polygons(name: str, entry: PolygonNumber, places: Footprints, recipe_dir: Path) -> _Found:
    found, best = _Found.nothing(len(places)), np.zeros(len(places))
    for rows in rows_of(entry.polygons, recipe_dir, (entry.column,), shapes=True, key=f"numbers.{name}.polygons"):
        shapes, row_of = _grounds(entry.polygons, rows)
        if not len(shapes):
            continue
        tree = shapely.STRtree(shapes)
        for sample, shape, area in _covering(entry, places, tree, best):
            best[sample] = area
            found.put(sample, rows, int(row_of[shape]), entry.column)
    return found


def _covering(
    entry: PolygonNumber, places: Footprints, tree: shapely.STRtree, best: NDArray[np.float64]
) -> Iterator[tuple[int, int, float]]:
    """(sample, number of a shape, ground covered) of the shapes that beat `best`, the first of equals."""
    west, south, east, north = shapely.total_bounds(tree.geometries)
    reach = 0.0 if entry.by == "centre" else np.degrees(places.size_m / 6.3e6) * 2.0
    near = (places.lat >= south - reach) & (places.lat <= north + reach)
    if entry.by == "centre":
        near &= (places.lon >= west) & (places.lon <= east) & (best == 0.0)
    samples = np.flatnonzero(near)
    for first in range(0, len(samples), _TOGETHER):
        some = samples[first : first + _TOGETHER]
        area, at, shape = (_holding if entry.by == "centre" else _shared)(places.take(some), tree)
        order = np.lexsort((shape, -area, at))
        at, shape, area = at[order], shape[order], area[order]
        lead = np.flatnonzero(np.diff(at, prepend=-1))
        better = lead[area[lead] > best[some[at[lead]]]]
        yield from zip(some[at[better]].tolist(), shape[better].tolist(), area[better].tolist(), strict=True)


Pairs = tuple["NDArray[np.float64]", "NDArray[np.intp]", "NDArray[np.intp]"]
"""(ground covered, number of a place, number of a shape) of each pair."""


def _holding(places: Footprints, tree: shapely.STRtree) -> Pairs:
    """Pairs of a place and a shape that holds its centre, or has it on its edge; all count alike."""
    at, shape = tree.query(shapely.points(places.lon, places.lat))
    shapely.prepare(tree.geometries)
    holds = shapely.intersects_xy(tree.geometries[shape], places.lon[at], places.lat[at])
    return np.ones(int(holds.sum())), at[holds], shape[holds]


def _shared(places: Footprints, tree: shapely.STRtree) -> Pairs:
    """Pairs of a place and a shape that covers ground of it, and the ground, in units of a cylinder's surface."""
    grounds = outlines(places)
    at, shape = tree.query(grounds)
    shapely.prepare(tree.geometries)
    whole = shapely.contains_properly(tree.geometries[shape], grounds[at])
    common = np.array(grounds[at], dtype=object)
    common[~whole] = shapely.intersection(tree.geometries[shape[~whole]], grounds[at[~whole]])
    area = shapely.area(shapely.transform(common, _equal_area))
    some = area > 0.0
    return area[some], at[some], shape[some]


def _equal_area(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitude and latitude, degrees, on a cylinder: areas are in proportion to those on the sphere."""
    return np.stack([points[:, 0], np.degrees(np.sin(np.radians(points[:, 1])))], axis=1)


def _grounds(file: str, rows: Rows) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """The shapes of some rows, valid and within [-180, 180] degrees, and the row of each."""
    shapes = rows.shapes
    assert shapes is not None  # noqa: S101 - asked for
    there = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
    kinds = shapely.get_type_id(shapes[there])
    strange = np.flatnonzero(~np.isin(kinds, _POLYGONS))
    if len(strange):
        row = int(there[strange[0]])
        kind = shapes[row].geom_type
        raise SamplingError(f"{file!r}, {rows.where[row]}: geometry is a {kind}; expected polygons")
    bounds = shapely.bounds(shapes[there])
    odd = (np.abs(bounds) > [180.0, 90.0, 180.0, 90.0]).any(axis=1) | (bounds[:, 2] - bounds[:, 0] > 180.0)
    odd |= ~shapely.is_valid(shapes[there])
    for row in there[odd].tolist():
        try:
            shapes[row] = shapely.union_all(ground_of(repr(file), shapes[row]))
        except SamplingError as error:
            raise SamplingError(f"{file!r}, {rows.where[row]}: {error}") from None
    return shapes[there], there


def _keys(entry: TableNumber, located: Located, made: Sequence[Attribute]) -> list[Any]:
    """Key of each sample, with which rows of a table are compared."""
    if entry.match == "sample_id":
        return list(located.names(located.key))
    name = entry.match.removeprefix("attr_")
    return list(next(a for a in made if a.name == name).values.to_pylist())


def _of_table(name: str, entry: TableNumber, keys: Sequence[Any], recipe_dir: Path) -> _Found:
    found = _Found.nothing(len(keys))
    samples: dict[str, list[int]] = {}
    for sample, key in enumerate(keys):
        if key is not None:
            samples.setdefault(_word(key), []).append(sample)
    columns = tuple(dict.fromkeys((entry.id, entry.column)))
    for rows in rows_of(entry.table, recipe_dir, columns, shapes=False, key=f"numbers.{name}.table"):
        for row, key in enumerate(rows.columns[entry.id]):
            for sample in () if key is None else samples.get(_word(key), ()):
                if found.where[sample]:
                    raise SamplingError(
                        f"{entry.table!r}: {found.where[sample]} and {rows.where[row]} have the same {entry.id}, "
                        f"{ascii(key)[:40]}; a sample takes one value"
                    )
                found.put(sample, rows, row, entry.column)
    return found


def _word(value: Any) -> str:
    """A key as text: 7, 7.0 and '7' are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
