"""Reads a map in GeoParquet: of each file the row groups near the samples, of each group the columns that matter."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely

from pipelines.access.openstreetmap.extract import FORMAT, is_extract, open_extract, table_of, write_tables
from pipelines.access.openstreetmap.near import UNITS
from pipelines.access.openstreetmap.objects import COUNTS, UNREADABLE
from pipelines.access.vectors.columns import columns_of, edited_of, id_of, leaves_of, number_of, overture, tags_of
from pipelines.access.vectors.read import BadVectorsError
from pipelines.durable import durably, make_folder
from schemas.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.near import Near
    from pipelines.access.openstreetmap.objects import Row
    from pipelines.access.vectors.place import MapFile
    from schemas.map_source import MapColumns, MapSource

_BATCH = 16_384
_MOST_GROUP = 1 << 30
"""Packed bytes of the needed columns of one row group: they are in memory while it is read."""
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_KINDS = ("point", "line", "area")
_PART = re.compile(r"(?:^|/)(theme|type)=([A-Za-z0-9_%-]+)(?=/)")


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How a file holds its shapes."""

    geometry: str
    """Column of the geometries, WKB in longitude and latitude."""
    box: tuple[str, ...]
    """Columns xmin, ymin, xmax, ymax, dotted; () where the file has none."""


def prepare_map(
    source: MapSource,
    files: Sequence[MapFile],
    cache_dir: Path,
    near: Near,
    progress: Callable[[int, int], None] | None = None,
) -> Extract:
    """Read the objects of a map near the samples into `cache_dir`, or find them there from last time.

    A call continues where an earlier, killed one stopped, file by file.

    Args:
        source: what the recipe says of it.
        files: its files.
        cache_dir: for the prepared file, and for those of each file while it is made.
        near: the ground.
        progress: gets files done and files in all.

    Raises:
        BadVectorsError: a file cannot be read, or lacks a column; one line.
        AccessError: a server did not deliver.
    """
    chosen = _chosen(source, files)
    listed = canonical_json([[file.name, file.size, file.version] for file, _ in chosen])
    sha256 = hashlib.sha256(listed.encode()).hexdigest()
    rules = hashlib.sha256(canonical_json([_json(mapping) for _, mapping in chosen]).encode()).hexdigest()
    target = cache_dir / f"map-{sha256[:32]}-{rules[:16]}-{near.sha256[:16]}-f{FORMAT}.parquet"
    if target.is_file() and is_extract(target):
        return open_extract(target)
    work = target.with_suffix(".reading")
    make_folder(work)
    parts = []
    for number, (file, mapping) in enumerate(chosen):
        part = work / f"{number:06d}.parquet"
        if not (part.is_file() and is_extract(part)):
            _prepare_file(file, mapping, near, part, source)
        parts.append(open_extract(part))
        if progress is not None:
            progress(number + 1, len(chosen))
    untimed = [] if any(mapping.edited for _, mapping in chosen) else [_name(source)]
    about = {"name": f"{_name(source)} sha256:{sha256}", "sha256": sha256, "snapshot": _noon(source)}
    _join(parts, target, about | {"edited": True, "untimed": untimed})
    shutil.rmtree(work)
    return open_extract(target)


def _name(source: MapSource) -> str:
    """Name of a map that is fit to be published: the last parts of its places, without queries and odd characters."""
    last = [place.partition("?")[0].rstrip("/").rpartition("/")[2] for place in source.places[:4]]
    what = "Overture Maps " if source.columns == "overture" else ""
    return what + ", ".join(re.sub(r"[^A-Za-z0-9._=-]", "_", name)[:80] for name in last)


def _json(mapping: MapColumns) -> Any:
    return mapping.model_dump(mode="json")


def _noon(source: MapSource) -> str:
    return datetime(source.date.year, source.date.month, source.date.day, 12, tzinfo=UTC).isoformat()


def _chosen(source: MapSource, files: Sequence[MapFile]) -> list[tuple[MapFile, MapColumns]]:
    """The files that are read and the rules of each.

    Raises:
        BadVectorsError: nothing says what type of Overture's a file holds, or no file holds a type that is asked for.
    """
    if source.columns != "overture":
        return [(file, source.columns) for file in files]
    kinds: list[str] = [_kind(file, source) for file in files]
    found = [(file, overture()[kind]) for file, kind in zip(files, kinds, strict=True) if kind in source.read_types]
    absent = [kind for kind in source.types if kind not in kinds]
    if absent or not found:
        there = ", ".join(sorted(set(kinds))[:20])
        raise BadVectorsError(
            f"{_name(source)}: has no files of {(absent or source.read_types)[0]}; it has {ascii(there)[1:-1]}"
        )
    return found


def _kind(file: MapFile, source: MapSource) -> str:
    """theme/type of a file of Overture, which its folders say; of a single file the recipe does."""
    said = dict(_PART.findall(f"/{file.name}"))
    if len(said) == 2:
        return f"{said['theme']}/{said['type']}"
    ends = {kind.partition("/")[2]: kind for kind in overture()}
    if "type" in said:
        return str(ends.get(said["type"], said["type"]))
    if len(source.types) == 1:
        return source.types[0]
    raise BadVectorsError(
        f"{_name(source)}: no folder theme=.../type=... says what {file.name[-80:]!a} holds; name it: "
        "`types: [buildings/building]`"
    )


def _prepare_file(file: MapFile, mapping: MapColumns, near: Near, part: Path, source: MapSource) -> None:
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    about: dict[str, Any] = {"name": "part", "sha256": "", "snapshot": _noon(source), "bounds": None}
    about["edited"] = True
    what = ascii(file.name[-120:])
    try:
        with pq.ParquetFile(pa.PythonFile(file.opened(), mode="r"), pre_buffer=True) as parquet, durably(part) as aside:
            reading = _Reading(what, parquet, mapping, near, counts)
            about["bounds"] = reading.bounds
            write_tables(reading.tables(file.name), about, counts, aside)
    except BadVectorsError:
        raise
    except (OSError, pa.ArrowException, ValueError, OverflowError) as error:  # also dates beyond the year 9999
        said = " ".join(str(error).split())[:200]
        raise BadVectorsError(f"{what}: cannot be read as Parquet: {ascii(said)[1:-1]}") from error


class _Reading:
    """One pass over a file."""

    def __init__(
        self, what: str, parquet: pq.ParquetFile, mapping: MapColumns, near: Near, counts: Counter[str]
    ) -> None:
        self._what, self._file, self._mapping, self._near, self._counts = what, parquet, mapping, near, counts
        self._form = _form(what, parquet)
        names = {parquet.schema.column(i).path for i in range(len(parquet.schema))}
        leaves = {column: leaves_of(column, sorted(names)) for column in columns_of(mapping)}
        absent = [column for column, found in leaves.items() if not found]
        tops = sorted({name.partition(".")[0] for name in names})
        if absent and (len(absent) == len(leaves) or mapping not in overture().values()):
            raise BadVectorsError(f"{what}: has no column {absent[0]!a}; it has {ascii(', '.join(tops)[:400])[1:-1]}")
        self._columns = list(dict.fromkeys(path for found in leaves.values() for path in found))

    @property
    def bounds(self) -> list[float] | None:
        """Around all objects by the statistics of their boxes; None where the file has none."""
        boxes = [self._box(group) for group in range(self._file.num_row_groups)]
        known = np.array([box for box in boxes if box is not None]).reshape(-1, 4)
        if not boxes or len(known) < len(boxes):
            return None
        return [*known[:, :2].min(axis=0).tolist(), *known[:, 2:].max(axis=0).tolist()]

    def tables(self, file: str) -> Iterator[pa.Table]:
        """Rows near the samples, group by group."""
        start = 0
        for group in range(self._file.num_row_groups):
            about = self._file.metadata.row_group(group)
            box = self._box(group)
            if (box is None or self._touch(np.array([box]))[0]) and (rows := self._near_rows(group)) is not None:
                found = list(self._rows(group, rows, start, file))
                if found:
                    yield table_of([row for row, _ in found], edited=[day for _, day in found])
            start += about.num_rows

    def _touch(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether boxes in degrees touch the ground; those that lie about their edges do."""
        odd = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 0] > boxes[:, 2])
        sound = np.where(odd[:, None], np.array([-180.0, -90.0, 180.0, 90.0]), boxes)
        whole = np.clip(sound, [-180.0, -90.0, -180.0, -90.0], [180.0, 90.0, 180.0, 90.0]) * UNITS
        return self._near.touches(np.hstack([np.floor(whole[:, :2]), np.ceil(whole[:, 2:])]).astype(np.int64))

    def _box(self, group: int) -> list[float] | None:
        """Box of a row group by its statistics; None where they are not there."""
        about = self._file.metadata.row_group(group)
        columns = {about.column(i).path_in_schema: about.column(i).statistics for i in range(about.num_columns)}
        found = [columns.get(name) for name in self._form.box]
        if not found or any(s is None or not s.has_min_max for s in found):
            return None
        return [float(getattr(s, side)) for s, side in zip(found, ("min", "min", "max", "max"), strict=True)]

    def _near_rows(self, group: int) -> NDArray[np.bool_] | None:
        """Which rows of a group are near, by their boxes alone; None = none is. Without boxes all may be."""
        about = self._file.metadata.row_group(group)
        if not self._form.box:
            return np.ones(about.num_rows, bool)
        table = self._file.read_row_group(group, columns=list(self._form.box))
        sides = []
        for name in self._form.box:
            column = table.column(name.partition(".")[0]).combine_chunks()
            for step in name.split(".")[1:]:
                column = column.field(step)
            sides.append(np.asarray(column.cast(pa.float64()).fill_null(np.nan), np.float64))
        near = self._touch(np.column_stack(sides))
        return near if near.any() else None

    def _rows(self, group: int, near: NDArray[np.bool_], start: int, file: str) -> Iterator[tuple[Row, int | None]]:
        """Near rows of a group, and the day of each one's last edit."""
        about = self._file.metadata.row_group(group)
        wanted = [*self._columns, self._form.geometry]
        packed = sum(
            about.column(i).total_compressed_size
            for i in range(about.num_columns)
            if about.column(i).path_in_schema in wanted
        )
        if packed > _MOST_GROUP:
            raise BadVectorsError(
                f"{self._what}: a row group has {packed >> 20:,} MiB; the limit is 1,024; write smaller row groups"
            )
        at = 0
        for batch in self._file.iter_batches(_BATCH, row_groups=[group], columns=wanted):
            mine = np.flatnonzero(near[at : at + len(batch)])
            if len(mine):
                numbers = start + at + mine
                yield from self._of(pa.Table.from_batches([batch]).take(mine), numbers.tolist(), file)
            at += len(batch)

    def _of(self, table: pa.Table, numbers: list[int], file: str) -> Iterator[tuple[Row, int | None]]:
        raw = table.column(self._form.geometry).to_pylist()
        shapes = shapely.force_2d(shapely.from_wkb(np.array(raw, dtype=object), on_invalid="ignore"))
        bounds = shapely.bounds(shapes)
        sound: NDArray[np.bool_] = np.logical_and.reduce(np.abs(bounds) <= [180.0, 90.0, 180.0, 90.0], axis=1)
        self._counts[UNREADABLE] += int((~sound).sum())
        near = np.zeros(len(sound), bool)
        near[sound] = self._touch(bounds[sound])
        rows = table.drop_columns([self._form.geometry]).to_pylist()
        dimensions = shapely.get_dimensions(shapes)
        for i in np.flatnonzero(near):
            said = id_of(rows[i], self._mapping)
            number = number_of(f"{file}#{numbers[i]}" if said is None else said)
            kind = _KINDS[dimensions[i]]
            self._counts[f"{kind}s"] += 1
            row = (f"v{number}", kind, tags_of(rows[i], self._mapping), shapely.to_wkb(shapes[i]))
            yield row, edited_of(rows[i], self._mapping)


def _form(what: str, parquet: pq.ParquetFile) -> _Form:
    """How a file holds its shapes, by its GeoParquet metadata.

    Raises:
        BadVectorsError: it has none, or shapes of another kind.
    """
    metadata = (parquet.metadata.metadata or {}) | (parquet.schema_arrow.metadata or {})
    try:
        geo = json.loads(metadata[b"geo"])
        column = geo["primary_column"]
        entry = dict(geo["columns"][column])
        parquet.schema_arrow.field(column)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadVectorsError(f"{what}: is no GeoParquet: it lacks usable 'geo' metadata") from None
    if entry.get("encoding") != "WKB":
        raise BadVectorsError(f"{what}: geometry encoding is {ascii(entry.get('encoding'))[:40]}, expected 'WKB'")
    _check_crs(what, entry.get("crs", "OGC:CRS84"))
    covering = entry.get("covering")
    sides = covering.get("bbox") if isinstance(covering, dict) else None
    paths = {parquet.schema.column(i).path for i in range(len(parquet.schema))}
    stated = [sides.get(side) for side in _SIDES] if isinstance(sides, dict) else []
    box = [".".join(map(str, side)) for side in stated if isinstance(side, list)] or [f"bbox.{s}" for s in _SIDES]
    return _Form(geometry=column, box=tuple(box) if len(box) == 4 and paths.issuperset(box) else ())


def _check_crs(what: str, said: object) -> None:
    """Longitude and latitude, whatever the order of the CRS's own axes: GeoParquet stores longitude first."""
    try:
        crs = pyproj.CRS.from_user_input(said)
    except (pyproj.exceptions.CRSError, TypeError, ValueError, OverflowError, AttributeError):
        raise BadVectorsError(f"{what}: its CRS {ascii(said)[:60]} is unknown to PROJ") from None
    if not crs.is_geographic:
        raise BadVectorsError(
            f"{what}: its CRS is {ascii(crs.name)[1:-1][:60]}; a map must be in longitude and latitude: "
            "ogr2ogr -t_srs OGC:CRS84"
        )


def _join(parts: Sequence[Extract], target: Path, about: dict[str, Any]) -> None:
    """One prepared file of those of each file; an object that is in several counts once."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    known = [part.bounds for part in parts]
    boxes = np.array([box for box in known if box is not None]).reshape(-1, 4)
    about["bounds"] = None
    if len(boxes) == len(known):
        about["bounds"] = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
    with durably(target) as aside:
        write_tables(_once(parts), about, counts, aside)


def _once(parts: Iterable[Extract]) -> Iterator[pa.Table]:
    seen: set[str] = set()
    for part in parts:
        with pq.ParquetFile(part.parquet) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                ids = table.column("osm_id").to_pylist()
                new = [at for at, one in enumerate(ids) if one not in seen and not seen.add(one)]  # type: ignore[func-returns-value]
                if new:
                    yield table.take(new)
