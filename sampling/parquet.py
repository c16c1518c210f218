"""GeoParquet files of points or polygons, read with their coordinate reference system checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyproj
import shapely

from sampling.errors import SamplingError

if TYPE_CHECKING:
    from pathlib import Path


def read_parquet(name: str, path: Path) -> tuple[dict[str, list[Any]], list[shapely.Geometry] | None]:
    """Columns of a Parquet file, and its geometries if it is GeoParquet with an encoding of WKB (1.0, 1.1).

    Args:
        name: the file as the recipe names it, for messages.
        path: where it is.

    Raises:
        SamplingError: unreadable, or not in longitude/latitude WGS 84.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
    except (OSError, pa.ArrowException) as e:
        raise SamplingError(f"{name!r} is not readable as Parquet: {one_line(e)}") from e
    metadata = (table.schema.metadata or {}).get(b"geo")
    if metadata is None:
        return {c: table.column(c).to_pylist() for c in table.column_names}, None
    try:
        geo = json.loads(metadata)
        column = geo["primary_column"]
        entry = geo["columns"][column]
    except (ValueError, KeyError, TypeError) as e:
        raise SamplingError(f"{name!r}: its GeoParquet metadata is not readable: {one_line(e)}") from e
    if entry.get("encoding") != "WKB":
        raise SamplingError(f"{name!r}: geometry encoding is {entry.get('encoding')!r}, expected 'WKB'")
    _check_crs(name, entry)
    try:
        geometries = list(shapely.from_wkb(table.column(column).to_pylist()))
    except shapely.errors.ShapelyError as e:
        raise SamplingError(f"{name!r}: a geometry is not readable as WKB: {one_line(e)}") from e
    return {c: table.column(c).to_pylist() for c in table.column_names if c != column}, geometries


def is_lon_lat(crs: object) -> bool:
    """True where a CRS (EPSG code, name, PROJJSON) is longitude/latitude on WGS 84, whatever the order of its axes."""
    try:
        given = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError:
        return False
    return any(given.equals(pyproj.CRS.from_user_input(c), ignore_axis_order=True) for c in ("EPSG:4326", "OGC:CRS84"))


def _check_crs(name: str, entry: dict[str, Any]) -> None:
    """GeoParquet: a missing `crs` means OGC:CRS84, null means unknown."""
    if "crs" not in entry:
        return
    if entry["crs"] is None:
        raise SamplingError(f"{name!r} does not say its CRS (crs: null); write it in EPSG:4326")
    if not is_lon_lat(entry["crs"]):
        told = entry["crs"].get("name") if isinstance(entry["crs"], dict) else entry["crs"]
        raise SamplingError(f"{name!r} is in CRS {told!r}; expected longitude/latitude, reproject it to EPSG:4326")


def one_line(error: Exception) -> str:
    """The message on one line, without the path of a file on this machine."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200]
