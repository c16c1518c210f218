"""Objects of an extract that has been read, box by box."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from pipelines.access.openstreetmap.objects import FOREVER, id_order
from pipelines.access.openstreetmap.pieces import LARGE_BYTES, large_area
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True, slots=True)
class OsmFeature:
    """One object of the map."""

    osm_id: str
    """'n123', 'w123' or 'r123'."""
    kind: str
    """'point', 'line' or 'area'."""
    tags: dict[str, str]
    """Raw tags, keys sorted: untrusted text, data and never an instruction, a path or a query."""
    geometry: BaseGeometry
    """WGS 84 longitude, latitude, degrees."""
    whole_deg2: float | None = None
    """Area of the whole object, square degrees, where `geometry` may be its part around the box that was asked for."""
    valid: bool = False
    """Whether `geometry` is known to be valid; False: not known."""
    edited: int | None = None
    """Day of its last edit, since 1970-01-01; None: not known."""


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group that stays in memory, with the objects that were asked for."""

    boxes: NDArray[np.float64]
    """(row, 4): xmin, ymin, xmax, ymax."""
    table: pa.Table
    days: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
    """(row,) first day, and the one after the last, since 1970-01-01; None where objects have none."""
    read: dict[int, OsmFeature] = field(default_factory=dict)
    """Row -> its object, decoded and validated once for all boxes."""

    def within(self, part: BBox, cut: BBox | None, day: int | None) -> list[OsmFeature]:
        """Objects whose boxes touch `part` on a day; of large areas what is around `cut`."""
        there = _touch(self.boxes, part)
        if self.days is not None:
            there &= self.days[1] == FOREVER if day is None else (self.days[0] <= day) & (day < self.days[1])
        rows = np.flatnonzero(there).tolist()
        new = [row for row in rows if row not in self.read]
        large: dict[int, OsmFeature] = {}
        if new:
            for row, is_large, one in _features(self.table.take(new), new, cut):
                (large if is_large else self.read)[row] = one
        return [large[row] if row in large else self.read[row] for row in rows]


class FeatureStore:
    """An open extract that many boxes are asked of: row groups are picked by their statistics and kept."""

    def __init__(self, parquet: Path, *, keep: int = 32) -> None:
        """`keep` row groups stay decoded."""
        self._file = pq.ParquetFile(parquet)
        self._keep = keep
        self._groups: dict[int, _Group] = {}

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @cached_property
    def _boxes(self) -> NDArray[np.float64]:
        """(row group, 4): xmin, ymin, xmax, ymax over each group."""
        found = np.tile([np.inf, np.inf, -np.inf, -np.inf], (self._file.num_row_groups, 1))
        for group in range(self._file.num_row_groups):
            about = self._file.metadata.row_group(group)
            if not about.num_rows:
                continue
            columns = [about.column(i) for i in range(about.num_columns)]
            of = {column.path_in_schema: column.statistics for column in columns}
            found[group] = [of["bbox.xmin"].min, of["bbox.ymin"].min, of["bbox.xmax"].max, of["bbox.ymax"].max]
        return found

    @property
    def bounds(self) -> BBox:
        """Box of all objects, degrees; west is greater than east where there are none."""
        low, high = self._boxes.min(axis=0, initial=np.inf), self._boxes.max(axis=0, initial=-np.inf)
        return BBox(float(low[0]), float(low[1]), float(high[2]), float(high[3]))

    def within(self, bbox: BBox, *, whole: bool = True, day: date | None = None) -> list[OsmFeature]:
        """Objects whose boxes touch a box in degrees, sorted by osm_id; the line along an area's
        edge comes before the area.

        Not `whole`: of areas with very many corners, only what is around the box. Of a full history: those of a `day`,
        or of its end.
        """
        number = None if day is None else (day - date(1970, 1, 1)).days
        parts = bbox.sides()
        found: dict[tuple[str, str], OsmFeature] = {}
        for part in parts:
            for group in np.flatnonzero(_touch(self._boxes, part)):
                cut = None if whole or len(parts) > 1 else part
                found |= {(f.osm_id, f.kind): f for f in self._group(int(group)).within(part, cut, number)}
        return sorted(found.values(), key=lambda f: id_order(f.osm_id, f.kind))

    def _group(self, group: int) -> _Group:
        if group not in self._groups:
            while len(self._groups) >= self._keep:
                self._groups.pop(next(iter(self._groups)))
            table = self._file.read_row_group(group)
            struct = table.column("bbox").combine_chunks()
            boxes = np.column_stack([struct.field(i).to_numpy() for i in range(4)])
            days = None
            if "since" in table.column_names:
                days = (table.column("since").to_numpy(), table.column("until").to_numpy())
            self._groups[group] = _Group(boxes, table, days)
        return self._groups[group]


def _touch(boxes: NDArray[np.float64], bbox: BBox) -> NDArray[np.bool_]:
    west, south, east, north = bbox
    touching: NDArray[np.bool_] = (
        (boxes[:, 0] <= east) & (boxes[:, 2] >= west) & (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
    )
    return touching


def _features(table: pa.Table, rows: list[int], cut: BBox | None) -> Iterator[tuple[int, bool, OsmFeature]]:
    """(row, whether it is large, object) of each row of a table."""
    wkb = table.column("geometry").to_numpy(zero_copy_only=False)
    columns = [table.column(name).to_pylist() for name in ("osm_id", "kind", "tags")]
    edited = _edited(table)
    large = np.array(
        [kind == "area" and len(shape) >= LARGE_BYTES for kind, shape in zip(columns[1], wkb, strict=True)], bool
    )
    raw = wkb.copy()
    raw[large & (cut is not None)] = None
    shapes: NDArray[np.object_] = shapely.from_wkb(raw)
    valid: list[bool] = np.where(large, False, shapely.is_valid(shapes)).tolist()
    for at, (osm_id, kind, tags) in enumerate(zip(*columns, strict=True)):
        if cut is not None and large[at]:
            area = large_area(wkb[at])
            near = area.near(cut)
            yield (
                rows[at],
                True,
                OsmFeature(osm_id, kind, dict(tags), near, area.area_deg2, near is not area.shape, edited[at]),
            )
        else:
            yield (
                rows[at],
                bool(large[at]),
                OsmFeature(osm_id, kind, dict(tags), shapes[at], None, valid[at], edited[at]),
            )


def _edited(table: pa.Table) -> list[int | None]:
    """Day of the last edit of each object; in a full history the day before the first one of its map, 00:00 UTC."""
    if "since" in table.column_names:
        return [since - 1 for since in table.column("since").to_pylist()]
    return table.column("edited").to_pylist() if "edited" in table.column_names else [None] * len(table)
