"""Reads a frame: a file of places, scenes, objects or areas that samples are drawn from, some rows at a time."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from sampling.errors import SamplingError
from sampling.lonlat import check_geojson
from sampling.parquet import entry_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

ROWS = 65_536
"""Rows read together: bounds memory."""


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Consecutive rows of the file."""

    first: int
    """Number of the first row, from 0."""
    where: Sequence[str]
    """(n,) how to find a row in the file: 'line 3', 'feature 2', 'row 2'."""
    columns: dict[str, list[Any]]
    """Name -> (n,) values, of the columns that were asked for."""
    shapes: NDArray[np.object_] | None
    """(n,) geometries, longitude and latitude; None where they were not asked for."""


def rows_of(
    name: str, recipe_dir: Path, columns: Sequence[str], *, shapes: bool, key: str = "sampling.from.file"
) -> Iterator[Rows]:
    """The rows of a frame, at most ROWS at a time (a GeoJSON file is held whole).

    Args:
        name: the file as the recipe names it: .csv, .geojson, .json, .parquet or .geoparquet.
        recipe_dir: folder of the recipe.
        columns: columns to read; 'tags.building' is the entry `building` of the map column `tags`.
        shapes: whether geometries are wanted: of a CSV, or of Parquet without geometries, points of lon and lat.
        key: key of the recipe that names the file, for messages.

    Raises:
        SamplingError: the file, a column or a value is not what was expected; one line.
    """
    path = recipe_dir / name
    if not path.is_file():
        raise SamplingError(f"{name!r} ({key}) does not exist; its path is relative to the recipe")
    match path.suffix.lower():
        case ".csv":
            return _csv(name, path, columns, shapes=shapes)
        case ".geojson" | ".json":
            return _geojson(name, path, columns, shapes=shapes)
        case ".parquet" | ".geoparquet":
            return _parquet(name, path, columns, shapes=shapes)
    found = path.suffix or "no suffix"
    raise SamplingError(f"{name!r} ({key}): expected .csv, .geojson, .json or .parquet, found {found!r}")


def _csv(name: str, path: Path, columns: Sequence[str], *, shapes: bool) -> Iterator[Rows]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [h.strip() for h in next(reader, [])]
            wanted = [*columns, *(["lon", "lat"] if shapes else [])]
            at = {c: _place_of(name, header, c) for c in wanted}
            first = 0
            while part := list(itertools.islice(_cells(name, reader, len(header)), ROWS)):
                where = [f"line {line}" for line, _ in part]
                found: dict[str, list[Any]] = {c: [row[i].strip() or None for _, row in part] for c, i in at.items()}
                yield Rows(first, where, found, _points(name, found, where) if shapes else None)
                first += len(part)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise SamplingError(f"{name!r} is not readable as CSV in UTF-8: {one_line(e)}") from e


def _cells(name: str, reader: Any, width: int) -> Iterator[tuple[int, list[str]]]:
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != width:
            raise SamplingError(f"{name!r}, line {reader.line_num}: {len(row)} values under {width} columns")
        yield reader.line_num, row


def _place_of(name: str, header: Sequence[str], column: str) -> int:
    if header.count(column) == 1:
        return list(header).index(column)
    if column in header:
        raise SamplingError(f"{name!r}: column {column!r} occurs twice")
    raise _absent(name, column, header)


def _absent(name: str, column: str, there: Sequence[str]) -> SamplingError:
    named = ", ".join(ascii(c)[1:-1][:40] for c in list(there)[:40])
    return SamplingError(f"{name!r} has no column {column!r}; its columns are {named or '(none)'}")


def _points(name: str, columns: dict[str, list[Any]], where: Sequence[str]) -> NDArray[np.object_]:
    """Points of the columns lon and lat."""
    from sampling.points import numbers_of

    lon, lat = (numbers_of(name, c, columns[c], where, optional=False) for c in ("lon", "lat"))
    return np.asarray(shapely.points(lon, lat), dtype=object)


def _geojson(name: str, path: Path, columns: Sequence[str], *, shapes: bool) -> Iterator[Rows]:
    try:
        document: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise SamplingError(f"{name!r} is not readable as GeoJSON: {one_line(e)}") from e
    if not isinstance(document, dict) or not isinstance(document.get("features"), list):
        raise SamplingError(f"{name!r} is not a GeoJSON FeatureCollection")
    check_geojson(name, document)
    features = document["features"]
    bad = next((i for i, f in enumerate(features, 1) if not isinstance(f, dict)), None)
    if bad is not None:
        raise SamplingError(f"{name!r}, feature {bad}: is not a Feature")
    properties = [p if isinstance(p := f.get("properties"), dict) else {} for f in features]
    there = list(dict.fromkeys(key for p in properties for key in p))
    for column in columns:
        if column not in there and column.split(".", 1)[0] not in there:
            raise _absent(name, column, there)
    for first in range(0, len(features), ROWS):
        part = slice(first, first + ROWS)
        where = [f"feature {i + 1}" for i in range(first, first + len(features[part]))]
        found = {c: [p[c] if c in p else _inside(p, c) for p in properties[part]] for c in columns}
        geometries = _read_shapes(name, features[part], where) if shapes else None
        yield Rows(first, where, found, geometries)


def _read_shapes(name: str, features: Sequence[Any], where: Sequence[str]) -> NDArray[np.object_]:
    found = np.empty(len(features), dtype=object)
    for i, feature in enumerate(features):
        geometry = feature.get("geometry")
        try:
            found[i] = None if geometry is None else shapely.from_geojson(json.dumps(geometry))
        except (shapely.errors.ShapelyError, ValueError, TypeError) as e:
            raise SamplingError(f"{name!r}, {where[i]}: no readable geometry: {one_line(e)}") from e
    return found


def _inside(row: dict[str, Any], column: str) -> Any:
    """'tags.building' of {'tags': {'building': ...}}; None where it is not there."""
    outer, _, inner = column.partition(".")
    held = row.get(outer)
    return held.get(inner) if isinstance(held, dict) else None


def _parquet(name: str, path: Path, columns: Sequence[str], *, shapes: bool) -> Iterator[Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as opened:
            there = opened.schema_arrow.names
            geometry = entry_of(name, opened)
            located = [] if not shapes else list(geometry) or ["lon", "lat"]
            source = {c: c if c in there else c.split(".", 1)[0] for c in (*columns, *located)}
            for column, outer in source.items():
                if there.count(outer) != 1:
                    raise (
                        SamplingError(f"{name!r}: column {outer!r} occurs twice")
                        if outer in there
                        else _absent(name, column, there)
                    )
            first = 0
            for batch in opened.iter_batches(ROWS, columns=sorted(set(source.values())), use_threads=False):
                held = {c: batch.column(c).to_pylist() for c in batch.schema.names}
                where = _Numbered("row", first, batch.num_rows)
                found = {c: held[o] if c == o else [_entry(v, c) for v in held[o]] for c, o in source.items()}
                made = _of_wkb(name, found[geometry[0]]) if geometry and shapes else None
                yield Rows(first, where, found, _points(name, found, where) if shapes and made is None else made)
                first += batch.num_rows
    except (OSError, pa.ArrowException, ValueError, OverflowError) as e:
        if isinstance(e, SamplingError):
            raise
        raise SamplingError(f"{name!r} is not readable as Parquet: {one_line(e)}") from e


class _Numbered(Sequence[str]):
    """Names of rows, 'row 1', 'row 2', made only when a message needs one."""

    def __init__(self, word: str, first: int, count: int) -> None:
        self._word, self._first, self._count = word, first, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return f"{self._word} {self._first + int(index) + 1}"


def _entry(value: Any, column: str) -> Any:
    """An entry of a map (a list of pairs, or a dict) of a Parquet file."""
    inner = column.split(".", 1)[1]
    if isinstance(value, dict):
        return value.get(inner)
    if isinstance(value, list):
        return next((v for k, v in (p for p in value if isinstance(p, tuple) and len(p) == 2) if k == inner), None)
    return None


def _of_wkb(name: str, raw: list[Any]) -> NDArray[np.object_]:
    try:
        return np.asarray(shapely.from_wkb(np.array(raw, dtype=object)), dtype=object)
    except (shapely.errors.ShapelyError, TypeError) as e:
        raise SamplingError(f"{name!r}: a geometry is not readable as WKB: {one_line(e)}") from e


def names_in(name: str, recipe_dir: Path) -> list[str]:
    """Names of the columns of a frame (GeoJSON: of the properties of its first feature)."""
    path = recipe_dir / name
    match path.suffix.lower():
        case ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                return [h.strip() for h in next(csv.reader(file), [])]
        case ".geojson" | ".json":
            features = json.loads(path.read_bytes())["features"]
            return list(features[0].get("properties") or {}) if features else []
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        return list(pq.read_schema(file).names)
