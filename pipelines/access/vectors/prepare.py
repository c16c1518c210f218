"""Prepares a file of vectors for a build: features near the samples, valid, in longitude and latitude, for box queries.

The prepared file has the form of a prepared OpenStreetMap extract, so that one store answers boxes for both.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from pyproj.enums import TransformDirection

from pipelines.access.openstreetmap.extract import (
    Extract,
    file_sha256,
    is_extract,
    open_extract,
    table_of,
    write_tables,
)
from pipelines.access.openstreetmap.near import UNITS
from pipelines.access.vectors.read import BadVectorsError, batches, opened
from pipelines.durable import durably
from schemas.vector_label import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.access.openstreetmap.near import Near
    from pipelines.access.openstreetmap.objects import Row
    from pipelines.access.vectors.read import Batch, Box, Vectors

FORMAT = 1
"""Version of what this file writes; part of the prepared file's name."""
MENDED, EMPTY, BROKEN = "mended", "without_shape", "unreadable"
WORDS = {
    MENDED: "invalid geometries, mended (make_valid)",
    EMPTY: "features without a geometry",
    BROKEN: "geometries that cannot be read or brought to longitude and latitude",
}
"""Count -> what it counts, in words."""
NO_DAY = date(1, 1, 1)
"""Snapshot of a prepared file whose features are there for a time each: nothing reads it."""
_LONG_M, _LONG_DEG = 500.0, 0.005
"""Edges are cut into pieces of this length before they are projected: straight in the file, they are not elsewhere."""
_KINDS = ("point", "line", "area")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a label needs of a file."""

    name: str
    """The file as the recipe names it."""
    table: str | None
    crs: str | None
    """CRS that the recipe states, for a file that states none."""
    columns: tuple[str, ...] | None
    """Columns to keep; None = all."""
    needed: tuple[str, ...]
    """Columns that must be there."""
    date: date | None
    """Day that the vectors describe; None where each sample has its own."""

    @property
    def sha256(self) -> str:
        """Hash of what is asked for, lower-case hex."""
        said = [self.table, self.crs, self.columns, self.needed, "" if self.date is None else self.date.isoformat()]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def values_of(path: Path, asked: Asked, column: str | None, work: Path) -> Counter[str | None]:
    """Each value of a column, as text, and how many features have it; without a column the file is only looked at.

    Raises:
        BadVectorsError: the file cannot be read, or lacks a column.
    """
    found: Counter[str | None] = Counter()
    with opened(asked.name, path, work, asked.table) as file:
        _check(file, asked)
        for batch in batches(asked.name, file, [column], None, shapes=False) if column is not None else ():
            found.update(map(text_of, batch.columns[str(column)]))
    return found


def prepare(path: Path, asked: Asked, cache_dir: Path, near: Near) -> Extract:
    """Read the features near the samples into `cache_dir`, or find them there from last time.

    Raises:
        BadVectorsError: the file cannot be read, lacks a column or its CRS; one line.
    """
    sha256 = file_sha256(path)
    target = cache_dir / f"vectors-{sha256[:32]}-{asked.sha256[:16]}-{near.sha256[:16]}-f{FORMAT}.parquet"
    if target.is_file() and is_extract(target):
        return open_extract(target)
    cache_dir.mkdir(parents=True, exist_ok=True)
    day = asked.date or NO_DAY
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    short = asked.name.rpartition("/")[2].partition("?")[0]
    counts: Counter[str] = Counter(dict.fromkeys(WORDS, 0))
    about: dict[str, Any] = {"name": f"{short} sha256:{sha256}", "sha256": sha256, "snapshot": noon.isoformat()}
    with opened(asked.name, path, cache_dir, asked.table) as file, durably(target) as aside:
        _check(file, asked)
        write_tables(_Reading(file, asked, near, counts, about).tables(), about, counts, aside)
    return open_extract(target)


def _check(file: Vectors, asked: Asked) -> None:
    absent = [c for c in (*asked.needed, *(asked.columns or ())) if c not in file.columns]
    if absent:
        raise BadVectorsError(
            f"{asked.name!r}: has no column {absent[0]!r}; it has {', '.join(file.columns[:20]) or 'none'}"
        )
    if (file.crs is None) == (asked.crs is None):
        said = "states no CRS; add `crs: EPSG:...`" if file.crs is None else "states its CRS; remove `crs`"
        raise BadVectorsError(f"{asked.name!r}: {said}")


class _Reading:
    """One pass over a file: batches become tables of rows."""

    def __init__(self, file: Vectors, asked: Asked, near: Near, counts: Counter[str], about: dict[str, Any]) -> None:
        """`counts` and `about` are complete after the last table."""
        self._file, self._asked, self._near, self._counts, self._about = file, asked, near, counts, about
        self._crs = file.crs if file.crs is not None else pyproj.CRS.from_user_input(asked.crs)
        self._to_lonlat = pyproj.Transformer.from_crs(self._crs, 4326, always_xy=True)
        self._reached: list[Box] = []

    def tables(self) -> Iterator[pa.Table]:
        columns = [c for c in self._file.columns if self._wanted(c)]
        extent = None if self._file.bounds is None else self._lonlat(self._file.bounds)
        box = None if extent is None else self._near_box()  # without an extent all features are read, to find it
        for batch in batches(self._asked.name, self._file, columns, box):
            rows = list(self._rows(batch))
            if rows:
                yield table_of(rows)
        if extent is None and self._reached:
            found = np.array(self._reached)
            extent = (*found[:, :2].min(axis=0).tolist(), *found[:, 2:].max(axis=0).tolist())
        self._about["bounds"] = extent

    def _lonlat(self, box: Box) -> Box | None:
        """Box in longitude and latitude; None where it has none, or crosses the 180th meridian."""
        return _sound(self._to_lonlat.transform_bounds(*box, densify_pts=21))

    def _near_box(self) -> Box | None:
        """Box around all samples in the file's CRS; None where it has none."""
        boxes = self._near.boxes
        (west, south), (east, north) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
        change = self._to_lonlat.transform_bounds
        return _sound(change(west, south, east, north, densify_pts=21, direction=TransformDirection.INVERSE))

    def _wanted(self, column: str) -> bool:
        chosen = self._asked.columns
        return chosen is None or column in chosen or column in self._asked.needed

    def _rows(self, batch: Batch) -> Iterator[Row]:
        shapes = batch.geometries
        absent = shapely.is_missing(shapes) | shapely.is_empty(shapes)
        self._counts[EMPTY] += int(absent.sum())
        bounds = shapely.bounds(self._placed(shapes))
        broken = ~absent & ~np.isfinite(bounds).all(axis=1)
        self._counts[BROKEN] += int(broken.sum())
        usable = np.flatnonzero(~absent & ~broken)
        if not len(usable):
            return
        low, high = bounds[usable, :2].min(axis=0), bounds[usable, 2:].max(axis=0)
        self._reached.append((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
        usable = usable[self._near.touches(np.round(bounds[usable] * UNITS).astype(np.int64))]
        texts = {name: [text_of(value) for value in values] for name, values in batch.columns.items()}
        for i, shape in zip(usable, self._sound(shapes[usable]), strict=True):
            dimension = int(shapely.get_dimensions(shape))
            if dimension < 0:  # nothing is left of a shape without extent
                self._counts[EMPTY] += 1
                continue
            tags = {name: said for name, values in texts.items() if (said := values[i]) is not None}
            yield f"v{int(batch.numbers[i])}", _KINDS[dimension], tags, shapely.to_wkb(shape)

    def _sound(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        """Valid shapes in longitude and latitude. They are mended first: cutting edges loses parts of invalid ones."""
        invalid = ~shapely.is_valid(shapes)
        self._counts[MENDED] += int(invalid.sum())
        shapes[invalid] = shapely.make_valid(shapes[invalid])
        longest = _LONG_DEG if self._crs.is_geographic else _LONG_M / self._metres
        placed = self._placed(shapely.segmentize(shapes, longest))
        folded = ~shapely.is_valid(placed)
        placed[folded] = shapely.make_valid(placed[folded])
        return placed

    def _placed(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        """In longitude and latitude; infinite where that is not possible."""
        change = self._to_lonlat.transform

        def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack(change(xy[:, 0], xy[:, 1]))

        found: NDArray[np.object_] = shapely.transform(shapes, move)
        return found

    @property
    def _metres(self) -> float:
        return float(self._crs.axis_info[0].unit_conversion_factor) if self._crs.axis_info else 1.0


def _sound(box: Box) -> Box | None:
    return box if np.isfinite(box).all() and box[0] <= box[2] else None
