"""The rows of a frame as columns: which stratum each belongs to, how likely it is drawn, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely

from sampling.errors import SamplingError
from sampling.frames import rows_of
from sampling.points import check_degrees, numbers_of
from sampling.region import ground_of
from sampling.sphere import authalic_sine
from schemas.sampling import CATEGORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.frames import Rows
    from schemas.sampling import DrawSampling

MOST_ROWS = 20_000_000
"""Rows of a frame that are used: 29 bytes are held of each."""
MOST_STRATA = 20_000
_LONGEST_DEGREES = 1.0
"""Edges are cut to this before their area is measured: a straight edge in degrees is then right to 1e-5."""
Shape = Literal["point", "ground"]


@dataclass(frozen=True, eq=False, slots=True)
class FrameRows:
    """The rows of a frame that can be drawn."""

    strata: list[tuple[str, ...]]
    """Values of the `balance` columns of each stratum, sorted; [()] without `balance`."""
    row: NDArray[np.int64]
    """(n,) number in the file, from 0, ascending."""
    stratum: NDArray[np.int32]
    """(n,) place in `strata`."""
    weight: NDArray[np.float64]
    """(n,) chance of the row against others of its stratum: 1, the column `weight`, or square units of ground."""
    lon: NDArray[np.float64]
    """(n,) degrees; NaN where the row is ground."""
    lat: NDArray[np.float64]
    """(n,) degrees; NaN where the row is ground."""
    split: NDArray[np.int8]
    """(n,) place in `sampling.splits.SPLITS`; -1 where the file does not decide it."""
    shape: Shape
    """point: rows are points, or stand for their centres; ground: samples lie anywhere inside."""
    without: int
    """Rows that meet `where` and lack a value of `balance`."""


def read_frame(
    sampling: DrawSampling, recipe_dir: Path, split_column: str | None, split_of: Callable[[Any, str], int]
) -> FrameRows:
    """One pass over the file of a `draw`.

    Args:
        sampling: the section.
        recipe_dir: folder of the recipe.
        split_column: column that states the splits.
        split_of: (value, where it stands) -> place in SPLITS.

    Raises:
        SamplingError: the file or a value of it cannot be used, or no row is left.
    """
    frame = sampling.frame
    made = {CATEGORY} if frame.categories else set()
    named = [*frame.where, *(c for conditions in frame.categories.values() for c in conditions), *sampling.balance]
    named += [c for c in (frame.weight, split_column) if c is not None]
    columns = [c for c in dict.fromkeys(named) if c not in made]
    reading = _Reading(sampling, split_column, split_of)
    for rows in rows_of(frame.file, recipe_dir, columns, shapes=True):
        reading.add(rows)
    return reading.done()


class _Reading:
    def __init__(self, sampling: DrawSampling, split_column: str | None, split_of: Callable[[Any, str], int]) -> None:
        self._sampling, self._name = sampling, sampling.frame.file
        self._split_column, self._split_of = split_column, split_of
        self._codes: dict[tuple[str, ...], int] = {}
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._shape: Shape | None = None
        self._without = self._count = 0

    def add(self, rows: Rows) -> None:
        """Keep the needed values of some rows."""
        used, codes = self._strata(rows)
        shapes = rows.shapes
        assert shapes is not None  # noqa: S101 - asked for
        used &= ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        index = np.flatnonzero(used)
        weight = self._weights(rows, index)
        lon, lat = self._located(rows, index, weight)
        split = np.full(len(index), -1, dtype=np.int8)
        if self._split_column is not None:
            said = rows.columns[self._split_column]
            split[:] = [self._split_of(said[i], rows.where[i]) for i in index.tolist()]
        keep = weight > 0
        part = (rows.first + index, codes[index], weight, lon, lat, split)
        self._parts.append(tuple(column[keep] for column in part))
        self._count += int(keep.sum())
        if self._count > MOST_ROWS:
            raise SamplingError(
                f"{self._name!r} has more than {MOST_ROWS:,} usable rows: make a smaller file, or narrow from.where"
            )

    def done(self) -> FrameRows:
        """All rows, strata sorted by their values."""
        if not self._count:
            raise SamplingError(
                f"{self._name!r}: no row can be drawn: none has a geometry, meets `from.where`, is of a category and "
                "has a value in each column of `balance`"
            )
        row, stratum, *others = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        strata = sorted(self._codes)
        place = np.empty(len(strata), dtype=np.int32)
        place[[self._codes[s] for s in strata]] = np.arange(len(strata))
        weight, lon, lat, split = others
        shape = self._shape or "point"
        return FrameRows(strata, row, place[stratum], weight, lon, lat, split, shape, self._without)

    def _strata(self, rows: Rows) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Which rows are used, and the code of each one's stratum."""
        frame, balance = self._sampling.frame, self._sampling.balance
        count = len(rows.where)
        used, codes = np.ones(count, dtype=bool), np.zeros(count, dtype=np.int32)
        for column, wanted in frame.where.items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            used &= np.fromiter((_meets(v, values) for v in rows.columns[column]), dtype=bool, count=count)
        category = [self._category(rows, i) if used[i] else None for i in range(count)] if frame.categories else []
        if category:
            used &= np.fromiter((c is not None for c in category), dtype=bool, count=count)
        columns = [category if c == CATEGORY and frame.categories else rows.columns[c] for c in balance]
        for i in np.flatnonzero(used).tolist():
            key = tuple(_text(column[i]) for column in columns)
            if "" in key:
                used[i] = False
                self._without += 1
                continue
            codes[i] = self._codes.setdefault(key, len(self._codes))
        if len(self._codes) > MOST_STRATA:
            raise SamplingError(
                f"{self._name!r}: balance over {', '.join(balance)} gives more than {MOST_STRATA:,} strata; "
                "name columns with fewer values"
            )
        return used, codes

    def _category(self, rows: Rows, i: int) -> str | None:
        for name, conditions in self._sampling.frame.categories.items():
            if all(
                _meets(rows.columns[column][i], wanted if isinstance(wanted, tuple) else (wanted,))
                for column, wanted in conditions.items()
            ):
                return name
        return None

    def _weights(self, rows: Rows, index: NDArray[np.int64]) -> NDArray[np.float64]:
        column = self._sampling.frame.weight
        if column is None:
            return np.ones(len(index))
        values, where = rows.columns[column], rows.where
        some = [values[i] for i in index.tolist()]
        found = np.nan_to_num(
            numbers_of(self._name, column, some, [where[i] for i in index.tolist()], optional=True), nan=0.0
        )
        if (found < 0).any():
            row = where[int(index[np.flatnonzero(found < 0)[0]])]
            raise SamplingError(f"{self._name!r}, {row}: {column} is negative, and a weight cannot be")
        return found

    def _located(
        self, rows: Rows, index: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitude and latitude of points and centres; ground has none, and `then: area` makes it its weight."""
        assert rows.shapes is not None  # noqa: S101 - asked for
        shapes, nowhere = rows.shapes[index], np.full(len(index), np.nan)
        if not len(index):
            return nowhere, nowhere
        kinds = shapely.get_type_id(shapes)
        self._one_shape(rows, index, kinds)
        if self._shape == "point":
            middle = shapes if self._sampling.frame.at == "within" else _centres(self._name, shapes)
            lon, lat = shapely.get_x(middle), shapely.get_y(middle)
            check_degrees(self._name, lon, lat, [rows.where[i] for i in index.tolist()])
            return lon, lat
        for i, shape in enumerate(shapes.tolist()):
            try:
                polygons = ground_of(repr(self._name), shape)
            except SamplingError as error:
                raise SamplingError(f"{self._name!r}, {rows.where[int(index[i])]}: {error}") from None
            weight[i] *= area_of(polygons) if self._sampling.then == "area" else bool(polygons)
        return nowhere, nowhere

    def _one_shape(self, rows: Rows, index: NDArray[np.int64], kinds: NDArray[np.int32]) -> None:
        """Points, or polygons: never both, and nothing else unless a row stands for its centre."""
        sampling = self._sampling
        spread = sampling.frame.spread_m is not None
        if sampling.frame.at == "centre":
            self._shape = "point"
            return
        wanted: Shape = self._shape or ("point" if kinds[0] == 0 else "ground")
        good = kinds == 0 if wanted == "point" else np.isin(kinds, [3, 6])
        if spread or not good.all():
            bad = np.flatnonzero(kinds != 0 if spread else ~good)
            if len(bad):
                at, kind = int(index[bad[0]]), rows.shapes[index[bad[0]]].geom_type  # type: ignore[index]
                need = "points for `spread_m`" if spread else "points only or polygons only"
                raise SamplingError(
                    f"{self._name!r}, {rows.where[at]}: geometry is a {kind}; a frame has {need}, or write "
                    "`at: centre` for one sample at the centre of each object"
                )
        if sampling.then == "area" and wanted == "point":
            raise SamplingError(f"{self._name!r} holds points, and `then: area` draws inside polygons: write then: row")
        self._shape = wanted


def _meets(value: Any, wanted: Sequence[Any]) -> bool:
    """Whether a value is one of those wanted; "*" is any value."""
    if value is None or value == "":
        return False
    return any(w == "*" or _text(value) == _text(w) for w in wanted)


def _text(value: Any) -> str:
    """A value as text, the same from a CSV and from a typed column: 14 and 14.0 are '14', true is 'true'."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _centres(name: str, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Centres of objects of any shape; of one that crosses 180 degrees, of its largest part."""
    middle = shapely.centroid(shapes)
    for i in np.flatnonzero(shapely.bounds(shapes)[:, 2] - shapely.bounds(shapes)[:, 0] > 180.0).tolist():
        parts = ground_of(repr(name), shapes[i]) or list(shapely.get_parts(shapes[i]))
        middle[i] = shapely.centroid(max(parts, key=lambda p: (p.area, p.length)))
    return np.asarray(middle, dtype=object)


def area_of(polygons: Sequence[shapely.Polygon]) -> float:
    """Ground of polygons, in an equal-area plane of WGS 84: degrees of longitude times sine of authalic latitude."""
    if not polygons:
        return 0.0
    cut = shapely.segmentize(np.array(polygons, dtype=object), _LONGEST_DEGREES)
    return float(shapely.area(shapely.transform(cut, _equal_area)).sum())


def _equal_area(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([positions[:, 0], authalic_sine(positions[:, 1])], axis=1)


def columns_at(
    name: str, recipe_dir: Path, columns: Sequence[str], rows: NDArray[np.int64]
) -> tuple[dict[str, list[Any]], list[str]]:
    """Values of some columns in some rows (numbers, ascending), and where they stand in the file."""
    found: dict[str, list[Any]] = {c: [] for c in columns}
    where: list[str] = []
    for part in rows_of(name, recipe_dir, columns, shapes=False):
        low, high = np.searchsorted(rows, [part.first, part.first + len(part.where)]).tolist()
        index = [int(r) - part.first for r in rows[low:high]]
        where += [part.where[i] for i in index]
        for column, values in part.columns.items():
            if column in found:
                found[column] += [values[i] for i in index]
    return found, where
