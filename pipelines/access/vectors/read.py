"""Reads GeoParquet, GeoPackage, GeoJSON, FlatGeobuf and zipped shapefiles in batches, only what touches a box.

Files are untrusted. GeoParquet is read by Arrow and GeoJSON by the JSON parser. GDAL reads the others, after their
first bytes show that they are what their names say: GDAL goes by content, and some of its formats name further files.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import sqlite3
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import shapely

from pipelines.access.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


Box = tuple[float, float, float, float]
"""West, south, east, north in the file's own units."""
SUFFIXES = (".parquet", ".geoparquet", ".geojson", ".json", ".gpkg", ".fgb", ".zip")
BATCH = 65_536
"""Features read at once."""
_MOST_JSON = 1 << 30
"""Bytes of a GeoJSON file, which is parsed whole."""
_MOST_UNPACKED = 64 << 30
"""Bytes of a zipped shapefile's parts."""
_MAGIC = {".gpkg": b"SQLite format 3\0", ".fgb": b"fgb\x03fgb", ".shp": b"\x00\x00\x27\x0a"}
_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_VIRTUAL = b"<OGRVRT"
"""What GDAL takes for a list of other files, wherever it stands in the first bytes."""


class BadVectorsError(SettingError):
    """A file of vectors cannot be used; the message is one line that says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some features of a file, in its order."""

    numbers: NDArray[np.int64]
    """(n,) number of each feature: its id in a GeoPackage, else its place in the file, 1-based."""
    geometries: NDArray[np.object_]
    """(n,) geometries in the file's CRS, two-dimensional; None where a feature has none that can be read."""
    columns: dict[str, list[Any]]
    """Column -> its values, None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """A file of vectors, described."""

    path: Path
    table: str | None
    """Table of a file that can hold several."""
    columns: tuple[str, ...]
    """Columns beside the geometry."""
    crs: pyproj.CRS | None
    """None where the file does not state it."""
    covering: tuple[str, ...] = ()
    """GeoParquet: columns that hold the box of each feature."""
    geometry: str = ""
    """GeoParquet: column of the geometries."""
    bounds: Box | None = None
    """Around all features, in the file's CRS; None where that is not known without reading them."""


@contextmanager
def opened(name: str, path: Path, work: Path, table: str | None) -> Iterator[Vectors]:
    """Describe a file; what has to be unpacked lies in `work` meanwhile.

    Raises:
        BadVectorsError: one line.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise BadVectorsError(f"{name!r}: expected one of {', '.join(SUFFIXES)} (a zipped shapefile), found {suffix!r}")
    if table is not None and suffix != ".gpkg":
        raise BadVectorsError(f"{name!r}: `table` is for GeoPackages, which hold several; remove it")
    try:
        if suffix in (".parquet", ".geoparquet"):
            yield _parquet(name, path)
        elif suffix in (".geojson", ".json"):
            yield _geojson(name, path)
        elif suffix == ".zip":
            with _unzipped(name, path, work) as shp:
                yield _by_gdal(name, shp, ".shp", None)
        else:
            yield _by_gdal(name, path, suffix, table)
    except BadVectorsError:
        raise
    except (OSError, pa.ArrowException, pyogrio.errors.DataSourceError, zipfile.BadZipFile) as error:
        raise BadVectorsError(f"{name!r} cannot be read: {_plain(error, path)}") from None


def batches(
    name: str, file: Vectors, columns: Sequence[str], box: Box | None, *, shapes: bool = True
) -> Iterator[Batch]:
    """Features of an opened file that touch a box, in the file's order.

    Args:
        name: as the recipe names it, for messages.
        file: from `opened`.
        columns: those to read.
        box: in the file's CRS; None = all. A few features outside it may come too.
        shapes: False = columns alone.

    Raises:
        BadVectorsError: one line.
    """
    suffix = file.path.suffix.lower()
    try:
        if file.geometry:
            yield from _of_parquet(file, columns, box, shapes=shapes)
        elif suffix in (".geojson", ".json"):
            yield from _of_geojson(name, file, columns)
        else:
            yield from _of_gdal(file, columns, box, shapes=shapes)
    except BadVectorsError:
        raise
    except (OSError, pa.ArrowException, pyogrio.errors.DataSourceError, ValueError) as error:
        raise BadVectorsError(f"{name!r} cannot be read: {_plain(error, file.path)}") from None


def _box(said: Any) -> Box | None:
    """A box of 4 or 6 numbers, as files state it."""
    try:
        numbers = [float(v) for v in said]
    except (TypeError, ValueError):
        return None
    if len(numbers) not in (4, 6) or not all(map(math.isfinite, numbers)):
        return None
    west, south, east, north = numbers if len(numbers) == 4 else (*numbers[:2], *numbers[3:5])
    return (west, south, east, north) if west <= east and south <= north else None


def _plain(error: Exception, path: Path) -> str:
    """An error's words on one line, without a path of this machine."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.replace(str(path), "it").split())[:200]


def _parquet(name: str, path: Path) -> Vectors:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        metadata = (file.metadata.metadata or {}) | (schema.metadata or {})
    try:
        geo = json.loads(metadata[b"geo"])
        column = geo["primary_column"]
        entry = dict(geo["columns"][column])
        schema.field(column)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadVectorsError(f"{name!r}: is no GeoParquet: it lacks usable 'geo' metadata") from None
    if entry.get("encoding") != "WKB":
        raise BadVectorsError(f"{name!r}: geometry encoding is {entry.get('encoding')!r}, expected 'WKB'")
    covering = entry.get("covering", {}).get("bbox", {}) if isinstance(entry.get("covering"), dict) else {}
    sides = [covering.get(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    paths = tuple(".".join(side) for side in sides if isinstance(side, list) and all(isinstance(s, str) for s in side))
    said = entry.get("crs", "OGC:CRS84")
    return Vectors(
        path=path, table=None, crs=None if said is None else _crs(name, said), geometry=column,
        columns=tuple(n for n in schema.names if n not in (column, *(p.split(".")[0] for p in paths))),
        covering=paths if len(paths) == 4 else (), bounds=_box(entry.get("bbox")),
    )  # fmt: skip


def _of_parquet(file: Vectors, columns: Sequence[str], box: Box | None, *, shapes: bool) -> Iterator[Batch]:
    at = read = 0
    with pq.ParquetFile(file.path) as parquet:
        for group in range(parquet.num_row_groups):
            about = parquet.metadata.row_group(group)
            if box is not None and _outside(about, file.covering, box):
                at += about.num_rows
                continue
            wanted = [*columns, *([file.geometry] if shapes else [])]
            for batch in parquet.iter_batches(BATCH, row_groups=[group], columns=wanted):
                raw = batch.column(file.geometry).to_numpy(zero_copy_only=False) if shapes else [None] * len(batch)
                yield Batch(
                    numbers=np.arange(at + 1, at + 1 + len(batch)),
                    geometries=_from_wkb(raw),
                    columns={c: batch.column(c).to_pylist() for c in columns},
                )
                at, read = at + len(batch), read + len(batch)


def _outside(about: Any, covering: Sequence[str], box: Box) -> bool:
    """Whether a row group's statistics say that nothing in it touches the box."""
    if not covering:
        return False
    known = {about.column(i).path_in_schema: about.column(i).statistics for i in range(about.num_columns)}
    found = [known.get(path) for path in covering]
    if any(s is None or not s.has_min_max for s in found):
        return False
    west, south, east, north = (getattr(s, side) for s, side in zip(found, ("min", "min", "max", "max"), strict=True))
    return bool(west > box[2] or east < box[0] or south > box[3] or north < box[1])


def _geojson(name: str, path: Path) -> Vectors:
    if path.stat().st_size > _MOST_JSON:
        raise BadVectorsError(f"{name!r}: has more than {_MOST_JSON >> 30} GiB; write it as GeoParquet or FlatGeobuf")
    document = _document(name, path)
    said = document.get("crs")
    properties = said.get("properties") if isinstance(said, dict) else None
    crs = properties.get("name") if isinstance(properties, dict) else None
    columns = dict.fromkeys(k for f in document["features"] for k in f.get("properties") or {})
    return Vectors(path=path, table=None, columns=tuple(map(str, columns)), crs=_crs(name, crs or "OGC:CRS84"))


def _document(name: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise BadVectorsError(f"{name!r}: is no JSON") from None
    features = found.get("features") if isinstance(found, dict) else None
    good = isinstance(features, list) and all(isinstance(f, dict) for f in features)
    if not good or not all(isinstance(f.get("properties") or {}, dict) for f in features or ()):
        raise BadVectorsError(f"{name!r}: is no GeoJSON FeatureCollection")
    return dict(found)


def _of_geojson(name: str, file: Vectors, columns: Sequence[str]) -> Iterator[Batch]:
    features = _document(name, file.path)["features"]
    for first in range(0, len(features), BATCH):
        some = features[first : first + BATCH]
        texts = [json.dumps(f.get("geometry")) if f.get("geometry") else None for f in some]
        yield Batch(
            numbers=np.arange(first + 1, first + 1 + len(some)),
            geometries=shapely.force_2d(shapely.from_geojson(texts, on_invalid="ignore")),
            columns={c: [(f.get("properties") or {}).get(c) for f in some] for c in columns},
        )


def _by_gdal(name: str, path: Path, suffix: str, table: str | None) -> Vectors:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.startswith(_MAGIC[suffix]) or _VIRTUAL in head:
        raise BadVectorsError(f"{name!r}: its content is not what its name says ({suffix})")
    if suffix == ".gpkg":
        _check_sqlite(name, path)
    tables = [str(row[0]) for row in pyogrio.list_layers(path) if row[1] is not None]
    if not tables:
        raise BadVectorsError(f"{name!r}: holds no table with geometries")
    if table is None and len(tables) > 1:
        raise BadVectorsError(f"{name!r}: holds the tables {', '.join(sorted(tables)[:12])}; choose one with `table:`")
    if table is not None and table not in tables:
        raise BadVectorsError(f"{name!r}: has no table {table!r}; it has {', '.join(sorted(tables)[:12])}")
    about = pyogrio.read_info(path, layer=table or tables[0])
    crs = about["crs"]
    return Vectors(
        path=path, table=table or tables[0], columns=tuple(map(str, about["fields"])),
        bounds=_box(about["total_bounds"]), crs=None if crs is None else _crs(name, crs),
    )  # fmt: skip


def _check_sqlite(name: str, path: Path) -> None:
    """Refuse virtual tables but those of indices: modules of GDAL and SpatiaLite open other files."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as base:
            made = base.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    except sqlite3.Error as error:
        raise BadVectorsError(f"{name!r}: is no sound GeoPackage ({error})") from None
    for table, sql in made:
        found = re.search(r"CREATE\s+VIRTUAL\s+TABLE.*?USING\s+(\w+)", str(sql), re.IGNORECASE | re.DOTALL)
        if found and not found[1].lower().startswith(("rtree", "fts")):
            raise BadVectorsError(f"{name!r}: table {str(table)[:60]!r} is virtual ({found[1]}), which is not read")


def _of_gdal(file: Vectors, columns: Sequence[str], box: Box | None, *, shapes: bool) -> Iterator[Batch]:
    how = {"layer": file.table, "columns": list(columns), "bbox": box, "batch_size": BATCH, "return_fids": True}
    with pyogrio.open_arrow(file.path, read_geometry=shapes, use_pyarrow=True, **how) as (about, reader):
        read, counted = 0, int(file.path.suffix.lower() != ".gpkg")  # other formats count their features from 0
        for batch in reader:
            raw = batch.column(about["geometry_name"] or "wkb_geometry") if shapes else None
            fids = batch.column(about["fid_column"]) if about.get("fid_column") else None
            yield Batch(
                numbers=np.arange(read + 1, read + 1 + len(batch)) if fids is None else fids.to_numpy() + counted,
                geometries=_from_wkb([None] * len(batch) if raw is None else raw.to_numpy(zero_copy_only=False)),
                columns={c: batch.column(c).to_pylist() for c in columns},
            )
            read += len(batch)


@contextmanager
def _unzipped(name: str, path: Path, work: Path) -> Iterator[Path]:
    """The shapefile in a zip, unpacked under names of ours."""
    with zipfile.ZipFile(path) as packed, tempfile.TemporaryDirectory(dir=work, prefix=".shape-") as folder:
        shapes = [i for i in packed.infolist() if i.filename.lower().endswith(".shp")]
        if len(shapes) != 1:
            raise BadVectorsError(f"{name!r}: expected one shapefile in the zip, found {len(shapes)}")
        stem = shapes[0].filename[:-4]
        parts = {s: i for i in packed.infolist() for s in _PARTS if i.filename.lower() == f"{stem.lower()}{s}"}
        if sum(i.file_size for i in parts.values()) > _MOST_UNPACKED:
            raise BadVectorsError(f"{name!r}: unpacks to more than {_MOST_UNPACKED >> 30} GiB")
        for suffix, entry in parts.items():
            with packed.open(entry) as source, Path(folder, f"vectors{suffix}").open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        yield Path(folder, "vectors.shp")


def _from_wkb(raw: Any) -> NDArray[np.object_]:
    found: NDArray[np.object_] = shapely.force_2d(shapely.from_wkb(np.asarray(raw, dtype=object), on_invalid="ignore"))
    return found


def _crs(name: str, said: object) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_user_input(said)
    except (pyproj.exceptions.CRSError, TypeError, ValueError, OverflowError, AttributeError):
        raise BadVectorsError(f"{name!r}: its CRS {ascii(said)[:60]} is unknown to PROJ") from None
