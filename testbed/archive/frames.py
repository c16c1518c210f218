"""Files that samples are drawn from, over the miniature Earth: shots with dates, fires, parcels, cities, ecoregions.

All of them lie within one area, so that footprints around their places lie whole in the planet's tiles.
"""

from __future__ import annotations

import csv
import json
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
import shapely
from pyproj import Transformer
from rasterio.features import shapes
from shapely.geometry import box, mapping, shape

from testbed.landcover import Cover
from testbed.overpasses import ZONES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

Json = dict[str, Any]
BIOMES = 14
"""Biomes of RESOLVE Ecoregions 2017."""
PFT = ("DBT", "ENT", "GSW")
"""Plant functional types of GEDI L4A, some of them."""


def places_in(area: Json, count: int, seed: int) -> list[tuple[float, float]]:
    """Longitudes and latitudes uniform in the polygon of a GeoJSON collection, rounded to 1e-6 degrees.

    Args:
        area: a FeatureCollection, as `testbed.planet.area_of` makes it.
        count: number of places.
        seed: the same seed gives the same places.
    """
    ground = shapely.unary_union([shape(f["geometry"]) for f in area["features"]])
    west, south, east, north = ground.bounds
    rng = np.random.default_rng(seed)
    found: list[tuple[float, float]] = []
    while len(found) < count:
        x, y = rng.uniform(west, east), rng.uniform(south, north)
        if ground.contains(shapely.Point(x, y)):
            found.append((round(float(x), 6), round(float(y), 6)))
    return found


def shots(area: Json, count: int = 24, seed: int = 3) -> list[Json]:
    """GEDI-like shots: places with a date and the columns of a biomass product, made up."""
    rng, rows = np.random.default_rng(seed), []
    for lon, lat in places_in(area, count, seed):
        day = np.datetime64("2020-04-01") + int(rng.integers(0, 800))
        height = float(rng.uniform(2, 35))
        rows.append(
            {
                "lon": lon, "lat": lat, "date": str(day), "agbd": round(4.1 * height**1.2, 2),
                "agbd_se": round(float(rng.uniform(2, 9)), 2), "rh98": round(height, 2),
                "sensitivity": round(float(rng.uniform(0.9, 0.99)), 3),
                "solar_elevation": round(float(rng.uniform(-40, 60)), 1), "pft": PFT[int(rng.integers(0, 3))],
            }
        )  # fmt: skip
    return rows


def fires(area: Json, count: int = 12, seed: int = 5) -> list[Json]:
    """Places with the day of a fire between 2017 and 2023, half of them without a fire, and the polygon burnt."""
    rng, rows = np.random.default_rng(seed), []
    for number, (lon, lat) in enumerate(places_in(area, count, seed)):
        day = np.datetime64(f"{2017 + number % 7}-06-01") + int(rng.integers(0, 90))
        ring = shapely.Point(lon, lat).buffer(float(rng.uniform(0.001, 0.004)), quad_segs=4)
        rows.append({"lon": lon, "lat": lat, "fire_date": str(day), "is_fire": number % 2 == 0, "geometry": ring})
    return rows


def ecoregions(area: Json) -> list[tuple[int, BaseGeometry]]:
    """The area cut into fourteen strips of unlike width, biome 1 to 14 from west to east."""
    ground = shapely.unary_union([shape(f["geometry"]) for f in area["features"]])
    west, south, east, north = ground.bounds
    edges = west + (east - west) * np.cumsum([0, *np.linspace(1, 2, BIOMES)]) / np.linspace(1, 2, BIOMES).sum()
    strips = [box(a, south, b, north) for a, b in pairwise(edges)]
    return [(i, ground.intersection(strip)) for i, strip in enumerate(strips, 1)]


def parcels(planet: Path, least_ha: float = 1.0) -> list[tuple[str, BaseGeometry]]:
    """Fields of the truth as polygons of longitude and latitude with their crop: 'arable land' or 'grassland'."""
    names = {int(Cover.CROPS): "arable land", int(Cover.BARE_SOIL): "arable land", int(Cover.MEADOW): "grassland"}
    found: list[tuple[str, BaseGeometry]] = []
    for zone in ZONES:
        with rasterio.open(planet / "truth" / f"cover_{zone}.tif") as file:
            cover, transform, crs = file.read(1), file.transform, file.crs
        parts = [(names[int(v)], shape(g)) for g, v in shapes(cover, np.isin(cover, list(names)), transform=transform)]
        large = [(name, g) for name, g in parts if g.area >= least_ha * 10_000]
        to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        for name, ground in large:
            found.append((name, shapely.transform(ground, partial(_lonlat, to_lonlat))))
    return found


def _lonlat(to_lonlat: Transformer, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack(to_lonlat.transform(points[:, 0], points[:, 1]))


def write_table(path: Path, rows: Sequence[Json]) -> Path:
    """Rows as CSV; geometries are left out."""
    names = [name for name in rows[0] if name != "geometry"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_polygons(path: Path, names: Iterable[Json], geometries: Iterable[Any]) -> Path:
    """Polygons with columns, as GeoParquet or GeoJSON by the ending of the path."""
    rows, ground = list(names), list(geometries)
    if path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows).append_column("geometry", pa.array(shapely.to_wkb(ground), pa.binary()))
        kinds = sorted({g.geom_type for g in ground})
        geo: Json = {"version": "1.0.0", "primary_column": "geometry"}
        geo["columns"] = {"geometry": {"encoding": "WKB", "geometry_types": kinds}}
        pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
        return path
    features = [
        {"type": "Feature", "properties": row, "geometry": mapping(g)} for row, g in zip(rows, ground, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def write_frames(planet: Path, area: Json, folder: Path) -> None:
    """Write gedi.csv, fires.csv, fires.parquet, parcels.parquet, ecoregions.parquet and cities.geojson."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "gedi.csv", shots(area))
    burnt = fires(area)
    write_table(folder / "fires.csv", burnt)
    write_polygons(
        folder / "fires.parquet",
        [{"fire_date": f["fire_date"], "class": "burnt"} for f in burnt if f["is_fire"]],
        [f["geometry"] for f in burnt if f["is_fire"]],
    )
    fields = parcels(planet)
    write_polygons(folder / "parcels.parquet", [{"crop": name} for name, _ in fields], [g for _, g in fields])
    strips = ecoregions(area)
    write_polygons(folder / "ecoregions.parquet", [{"biome": number} for number, _ in strips], [g for _, g in strips])
    towns = [shapely.Point(p).buffer(0.006, quad_segs=4) for p in places_in(area, 3, 11)]
    write_polygons(folder / "cities.geojson", [{"city": f"town {n}"} for n in range(3)], towns)
