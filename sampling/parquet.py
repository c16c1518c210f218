"""Reads GeoParquet files of points or polygons, and checks their coordinate reference system."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import shapely

from sampling.errors import SamplingError
from sampling.lonlat import is_lon_lat

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq


class Table(NamedTuple):
    """Data read from a file."""

    columns: dict[str, list[Any]]
    """All columns but that of the geometries by name; those that were not asked for without their values."""
    geometries: list[shapely.Geometry] | None
    """None if the file is Parquet but not GeoParquet."""
    rows: int


def read_parquet(name: str, path: Path, wanted: Collection[str] = ()) -> Table:
    """Columns of a Parquet file, and its geometries if it is GeoParquet with an encoding of WKB (1.0, 1.1).

    Args:
        name: the file as the recipe names it, for messages.
        path: where it is.
        wanted: columns whose values are read; what is in others does not matter.

    Raises:
        SamplingError: unreadable, or not in longitude/latitude WGS 84.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            opened = pq.ParquetFile(file)
            entry = entry_of(name, opened)
            names = opened.schema_arrow.names
            twice = next((c for c in (*wanted, *entry) if names.count(c) > 1), None)
            if twice is not None:
                raise SamplingError(f"{name!r}: column {twice!r} occurs twice")
            table = opened.read([c for c in names if c in wanted or c in entry])
    except (OSError, pa.ArrowException) as e:
        raise SamplingError(f"{name!r} is not readable as Parquet: {one_line(e)}") from e
    values = {c: _values(name, table, c) if c in table.column_names else [] for c in names}
    geometries = [values.pop(c) for c in entry]
    return Table(values, _geometries(name, geometries[0]) if entry else None, opened.metadata.num_rows)


def entry_of(name: str, opened: pq.ParquetFile) -> tuple[str, ...]:
    """The column that holds the geometries, () if the file is not GeoParquet."""
    schema = opened.schema_arrow
    metadata = ((opened.metadata.metadata or {}) | (schema.metadata or {})).get(b"geo")  # the footer's; Arrow's own
    if metadata is None:
        return ()
    try:
        geo = json.loads(metadata)
        column = geo["primary_column"]
        entry = dict(geo["columns"][column])
        schema.field(column)
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise SamplingError(f"{name!r}: its GeoParquet metadata is not readable: {one_line(e)}") from e
    if entry.get("encoding") != "WKB":
        raise SamplingError(f"{name!r}: geometry encoding is {entry.get('encoding')!r}, expected 'WKB'")
    _check_crs(name, entry)
    return (column,)


def _values(name: str, table: pa.Table, column: str) -> list[Any]:
    import pyarrow as pa

    try:
        values: list[Any] = table.column(column).to_pylist()
    except (pa.ArrowException, ValueError, OverflowError, ArithmeticError) as e:  # a date that no calendar has
        raise SamplingError(f"{name!r}: column {column!r} holds a value that cannot be read: {one_line(e)}") from e
    return values


def _geometries(name: str, raw: list[Any]) -> list[shapely.Geometry]:
    try:
        return list(shapely.from_wkb(raw))
    except (shapely.errors.ShapelyError, TypeError) as e:
        raise SamplingError(f"{name!r}: a geometry is not readable as WKB: {one_line(e)}") from e


def _check_crs(name: str, entry: dict[str, Any]) -> None:
    """GeoParquet: a missing `crs` means OGC:CRS84, null means unknown."""
    if "crs" not in entry:
        return
    if entry["crs"] is None:
        raise SamplingError(f"{name!r} does not state its CRS (crs: null); write it in EPSG:4326")
    if not is_lon_lat(entry["crs"]):
        crs = entry["crs"].get("name") if isinstance(entry["crs"], dict) else entry["crs"]
        raise SamplingError(f"{name!r} is in CRS {crs!r}; expected longitude/latitude, reproject it to EPSG:4326")


def one_line(error: Exception) -> str:
    """The message on one line, without the path of a file on this machine."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]
