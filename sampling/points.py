"""Reads points from the user's file (CSV, GeoJSON or GeoParquet) and checks each row."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from sampling.attributes import attributes_of
from sampling.errors import SamplingError
from sampling.geobox import (
    UPS,
    Footprints,
    by_code,
    footprints_at,
    joined,
    place_footprints,
    projected,
    usable,
    utm_epsgs,
)
from sampling.lonlat import check_geojson
from sampling.parquet import one_line, read_parquet
from schemas.crs import is_utm_or_ups, metric

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling.attributes import Attribute
    from schemas.grid import GridSpec

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_POINT = 0
"""Type id of a Point in GEOS."""
_CORNER = ("epsg", "x_min", "y_max")
_ZONE_WIDTH_M = 1_000_000.0
"""Eastings of a UTM zone lie in 0..1,000,000 m: 500 km to either side of its central meridian."""


@dataclass(frozen=True, eq=False, slots=True)
class PointTable:
    """The rows of a points file."""

    name: str
    """The file as the recipe names it."""
    where: Sequence[str]
    """(n,) how to find a row in the file: 'line 3', 'feature 2', 'row 2'."""
    sample_id: list[str]
    """(n,) unique."""
    lon: NDArray[np.float64]
    """(n,) degrees in [-180, 180]."""
    lat: NDArray[np.float64]
    """(n,) degrees in [-90, 90]."""
    epsg: NDArray[np.int32]
    """(n,) CRS of a footprint given exactly; 0 where the row leaves it to the lattice."""
    x_min: NDArray[np.float64]
    """(n,) western edge of a footprint given exactly, metres; NaN where it is not."""
    y_max: NDArray[np.float64]
    """(n,) northern edge of a footprint given exactly, metres; NaN where it is not."""
    attributes: tuple[Attribute, ...] = ()
    """Columns that are carried along, by name."""
    deciding: Sequence[Any] = ()
    """(n,) values of the column that decides the splits, () if the file does not."""

    def names(self, key: NDArray[np.int64]) -> list[str]:
        """Sample ids of rows key[:, 0]."""
        return [self.sample_id[row] for row in key[:, 0].tolist()]

    def footprints(self, grid: GridSpec) -> Footprints:
        """Footprints in the order of the file: exact corners kept as they are, other points snapped.

        Raises:
            SamplingError: an exact footprint lies elsewhere than its point, or outside its zone.
        """
        exact = self.epsg > 0
        given = footprints_at(self.epsg[exact], self.x_min[exact], self.y_max[exact], grid.size_m)
        self._check_exact(np.flatnonzero(exact), grid.size_m)
        code = self.codes(grid)
        code = np.where(self.held(grid), code, utm_epsgs(self.lon, self.lat))[~exact].astype(np.int32)
        snapped = place_footprints(self.lon[~exact], self.lat[~exact], grid, code)
        order = np.argsort(np.concatenate([np.flatnonzero(exact), np.flatnonzero(~exact)]), kind="stable")
        return joined([given, snapped]).take(order)

    def codes(self, grid: GridSpec) -> NDArray[np.int32]:
        """(n,) CRS of each row: its own, the grid's, or its UTM zone."""
        rest = utm_epsgs(self.lon, self.lat) if grid.epsg is None else np.full(len(self.lon), grid.epsg, np.int32)
        if grid.crs_column is not None:
            stated = self._stated(grid.crs_column)
            rest = np.where(stated > 0, stated, rest)
        return np.where(self.epsg > 0, self.epsg, rest).astype(np.int32)

    def _stated(self, column: str) -> NDArray[np.int32]:
        """(n,) EPSG code that an attribute states, 'EPSG:2154' or 2154; 0 where it states none."""
        values = next(a for a in self.attributes if a.name == column).values.to_pylist()
        codes = {value: _code(value) for value in dict.fromkeys(values) if value is not None}
        for value, code in codes.items():
            if isinstance(code, str):
                raise SamplingError(f"{self.name!r}, {self.where[values.index(value)]}: {column} {code}")
        return np.array([codes.get(value, 0) for value in values], dtype=np.int32)

    def held(self, grid: GridSpec) -> NDArray[np.bool_]:
        """(n,) whether the CRS of a row is for its place; UTM and UPS may be used beyond their zones."""
        code = self.codes(grid)
        found = np.ones(len(code), dtype=bool)
        for one, index in by_code(code):
            if grid.epsg == one or not is_utm_or_ups(np.array([one])).all():
                found[index] = usable(self.lon[index], self.lat[index], one)
        return found

    def _check_exact(self, rows: NDArray[np.int64], size_m: float) -> None:
        epsg, centre_x, centre_y = self.epsg[rows], self.x_min[rows] + size_m / 2, self.y_max[rows] - size_m / 2
        zoned = is_utm_or_ups(epsg) & ~np.isin(epsg, list(UPS))
        outside = zoned & ((centre_x < 0) | (centre_x > _ZONE_WIDTH_M))
        self._refuse(rows, outside, lambda r: f"x_min {self.x_min[r]:g} is outside the zone of EPSG:{self.epsg[r]}")
        x, y = projected(epsg, self.lon[rows], self.lat[rows])
        away = np.maximum(np.abs(x - centre_x), np.abs(y - centre_y))
        self._refuse(
            rows,
            ~(away <= size_m),
            lambda r: (
                f"lon {self.lon[r]:g}, lat {self.lat[r]:g} is not in the footprint that epsg, x_min and y_max give"
            ),
        )

    def _refuse(self, rows: NDArray[np.int64], bad: NDArray[np.bool_], what: Callable[[int], str]) -> None:
        if bad.any():
            row = int(rows[np.flatnonzero(bad)[0]])
            raise SamplingError(f"{self.name!r}, {self.where[row]}: {what(row)}{_more(bad)}")


def read_points(
    name: str, recipe_dir: Path, attributes: Collection[str] = (), deciding: str | None = None
) -> PointTable:
    """Read a points file: longitude and latitude, and where present sample_id, epsg, x_min and y_max.

    Rows without sample_id are named p0000001, p0000002, … by their place in the file.

    Args:
        name: file name from the recipe, relative to `recipe_dir`; .csv, .geojson, .json, .parquet or .geoparquet.
        recipe_dir: folder of the recipe.
        attributes: columns to carry along.
        deciding: column that decides the splits.

    Raises:
        SamplingError: says which row is wrong, what was found and what was expected.
    """
    path = recipe_dir / name
    if not path.is_file():
        raise SamplingError(f"points file {name!r} does not exist; its path is relative to the recipe")
    suffix = path.suffix.lower()
    wanted = {*attributes, *([] if deciding is None else [deciding])}
    if suffix == ".csv":
        columns, where = _csv(name, path)
        said = columns
    elif suffix in {".geojson", ".json"}:
        columns, where, said = _geojson(name, path, wanted)
    elif suffix in {".parquet", ".geoparquet"}:
        columns, where = _geoparquet(name, path, wanted)
        said = columns
    else:
        raise SamplingError(f"points file {name!r}: expected .csv, .geojson, .json or .parquet, found {suffix!r}")
    table = _table(name, columns, where)
    if deciding is not None and deciding not in said:
        raise SamplingError(f"{name!r} has no column {deciding!r} for splits; it has {', '.join(said) or '(none)'}")
    return replace(
        table,
        attributes=attributes_of(name, attributes, said, where, typed=suffix != ".csv"),
        deciding=() if deciding is None else said[deciding],
    )


def _csv(name: str, path: Path) -> tuple[dict[str, list[Any]], list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [h.strip() for h in next(reader, [])]
            rows, where = [], []
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(header):
                    raise SamplingError(
                        f"{name!r}, line {reader.line_num}: {len(row)} values under {len(header)} columns"
                    )
                rows.append(row)
                where.append(f"line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise SamplingError(f"{name!r} is not readable as CSV in UTF-8: {one_line(e)}") from e
    twice = sorted({h for h in header if header.count(h) > 1})
    if twice:
        raise SamplingError(f"{name!r}: column {twice[0]!r} occurs twice")
    return {h: [row[i].strip() for row in rows] for i, h in enumerate(header)}, where


def _geojson(
    name: str, path: Path, wanted: Collection[str]
) -> tuple[dict[str, list[Any]], list[str], dict[str, list[Any]]]:
    """Columns, positions of rows, and properties by name; unrequested properties have no values."""
    try:
        document: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise SamplingError(f"{name!r} is not readable as GeoJSON: {one_line(e)}") from e
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise SamplingError(f"{name!r} is not a GeoJSON FeatureCollection")
    check_geojson(name, document)
    features = document.get("features") or []
    if not isinstance(features, list):
        raise SamplingError(f"{name!r} is not a GeoJSON FeatureCollection: its features are not a list")
    columns: dict[str, list[Any]] = {"lon": [], "lat": []}
    properties = []
    for number, feature in enumerate(features, 1):
        try:
            geometry = feature["geometry"]
            kind, position = geometry["type"], geometry["coordinates"]
            if kind != "Point":
                raise SamplingError(f"{name!r}, feature {number}: geometry is a {kind}, expected a Point")
            columns["lon"].append(position[0])
            columns["lat"].append(position[1])
        except (KeyError, TypeError, IndexError) as e:
            raise SamplingError(f"{name!r}, feature {number}: no readable Point geometry") from e
        said = feature.get("properties") or {}
        if not isinstance(said, dict):
            raise SamplingError(f"{name!r}, feature {number}: properties are not an object")
        properties.append(said)
    for key in ("sample_id", *_CORNER):
        if any(key in p for p in properties):
            columns[key] = [p.get(key) for p in properties]
    names = dict.fromkeys(key for p in properties for key in p)
    named = {key: [p.get(key) for p in properties] if key in wanted else [] for key in names}
    return columns, [f"feature {i}" for i in range(1, len(features) + 1)], named


def _geoparquet(name: str, path: Path, attributes: Collection[str]) -> tuple[dict[str, list[Any]], list[str]]:
    columns, geometries, rows = read_parquet(name, path, {*attributes, "lon", "lat", "sample_id", *_CORNER})
    where = [f"row {i}" for i in range(1, rows + 1)]
    if geometries is not None:
        shapes = np.array(geometries, dtype=object)
        bad = (shapely.get_type_id(shapes) != _POINT) | shapely.is_empty(shapes)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            kind = "missing" if shapes[row] is None else str(shapes[row].geom_type)
            kind = f"an empty {kind}" if shapes[row] is not None and shapes[row].is_empty else kind
            raise SamplingError(f"{name!r}, {where[row]}: geometry is {kind}, expected a Point{_more(bad)}")
        columns |= {"lon": shapely.get_x(shapes).tolist(), "lat": shapely.get_y(shapes).tolist()}
    return columns, where


def _table(name: str, columns: dict[str, list[Any]], where: list[str]) -> PointTable:
    for required in ("lon", "lat"):
        if required not in columns:
            raise SamplingError(
                f"{name!r} has no column {required!r}; its columns are {', '.join(columns) or '(none)'}"
            )
    if not where:
        raise SamplingError(f"{name!r} contains no point")
    corner = [c for c in _CORNER if c in columns]
    if corner and len(corner) < len(_CORNER):
        raise SamplingError(f"{name!r} has {' and '.join(corner)} but not all of {', '.join(_CORNER)}")
    lon, lat = (numbers_of(name, c, columns[c], where, optional=False) for c in ("lon", "lat"))
    check_degrees(name, lon, lat, where)
    epsg, x_min, y_max = _corners(name, columns, where)
    ids = columns.get("sample_id")
    sample_id = [f"p{i:07d}" for i in range(1, len(where) + 1)] if ids is None else checked_ids(name, ids, where)
    return PointTable(name, where, sample_id, lon, lat, epsg, x_min, y_max)


def check_degrees(name: str, lon: NDArray[np.float64], lat: NDArray[np.float64], where: Sequence[str]) -> None:
    """Refuse coordinates that are no longitudes and latitudes.

    Raises:
        SamplingError: names the first such row.
    """
    for column, values, limit in (("lat", lat, 90.0), ("lon", lon, 180.0)):
        bad = np.asarray(np.abs(values) > limit)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            swapped = column == "lat" and not np.any(np.abs(lon) > 90.0)
            hint = "; are lon and lat swapped?" if swapped else ""
            raise SamplingError(
                f"{name!r}, {where[row]}: {column} {values[row]:g} is outside [{-limit:g}, {limit:g}]{_more(bad)}{hint}"
            )


def _corners(
    name: str, columns: dict[str, list[Any]], where: list[str]
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """EPSG code (0 where absent), western and northern edges (NaN where absent)."""
    absent: list[Any] = [None] * len(where)
    code, x_min, y_max = (numbers_of(name, c, columns.get(c, absent), where, optional=True) for c in _CORNER)
    given = np.stack([np.isfinite(code), np.isfinite(x_min), np.isfinite(y_max)])
    partial = np.asarray(given.any(axis=0) & ~given.all(axis=0))
    if partial.any():
        row = int(np.flatnonzero(partial)[0])
        raise SamplingError(f"{name!r}, {where[row]}: give all of {', '.join(_CORNER)}, or none{_more(partial)}")
    for one in np.unique(code[given[0]]).tolist():
        why = _code(int(one) if float(one).is_integer() else one)
        if isinstance(why, str):
            raise SamplingError(
                f"{name!r}, {where[int(np.flatnonzero(code == one)[0])]}: epsg {one:g} is not UTM (32601..32660, "
                f"32701..32760), UPS (32661, 32761) or another grid of metres: {why}{_more(code == one)}"
            )
    return np.where(given[0], np.nan_to_num(code), 0).astype(np.int32), x_min, y_max


def _code(value: Any) -> int | str:
    """EPSG code of 2154 or 'EPSG:2154'; else why it cannot be used, in words."""
    digits = str(value).upper().removeprefix("EPSG:")
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{4,6}", digits):
        return f"is {ascii(value)[:40]}, expected an EPSG code (EPSG:2154 or 2154)"
    try:
        return metric(int(digits)).code
    except ValueError as error:
        return str(error)


def numbers_of(
    name: str, column: str, values: list[Any], where: Sequence[str], *, optional: bool
) -> NDArray[np.float64]:
    """float64 column; missing values become NaN if they may be missing."""
    numbers = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if value is None or value == "":
            if optional:
                continue
            raise SamplingError(f"{name!r}, {where[i]}: {column} is missing")
        try:
            numbers[i] = np.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            raise SamplingError(f"{name!r}, {where[i]}: {column} is {value!r}, expected a number") from None
        if not np.isfinite(numbers[i]) and not (optional and np.isnan(numbers[i])):
            raise SamplingError(f"{name!r}, {where[i]}: {column} is {value!r}, expected a finite number")
    return numbers


def checked_ids(name: str, values: Sequence[Any], where: Sequence[str]) -> list[str]:
    """Checks that sample names are valid and unique.

    Raises:
        SamplingError: one is no name, or occurs twice.
    """
    seen: dict[str, int] = {}
    for i, value in enumerate(values):
        text = "" if value is None else str(value)
        if not _ID.fullmatch(text):
            raise SamplingError(
                f"{name!r}, {where[i]}: sample_id {text!r} is not 1 to 128 of letters, digits, '_' and '-'"
            )
        if text in seen:
            raise SamplingError(f"{name!r}, {where[i]}: sample_id {text!r} is also the id of {where[seen[text]]}")
        seen[text] = i
    return list(seen)


def _more(bad: NDArray[np.bool_]) -> str:
    others = int(bad.sum()) - 1
    return f" (and {others} more such row{'s' if others > 1 else ''})" if others else ""
