"""A stranger's own data: orthophotos of 0.2 m as JPEG COGs in a national CRS, and the parcels on them as GeoParquet."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import rasterio
import rasterio.features
import shapely
import shapely.ops
from affine import Affine

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EPSG = 2154
"""RGF93 / Lambert-93, the national system of France."""
ORIGIN = (652_000.0, 6_862_600.0)
"""North-western corner, metres."""
TILES, TILE_PX, PIXEL_M = 2, 1500, 0.2
"""Tiles along an edge; pixels along an edge of a tile; edge of a pixel."""
TAKEN = datetime(2021, 6, 5, 10, 30, tzinfo=UTC)
CROPS: dict[str, tuple[int, int, int]] = {
    "wheat": (196, 178, 104),
    "maize": (92, 140, 60),
    "meadow": (120, 168, 88),
    "rapeseed": (210, 200, 60),
    "pond": (46, 74, 96),
}
"""Value of the parcels' column `crop` -> its colour."""


def make_orthophotos(folder: Path, seed: int = 7) -> Path:
    """Write orthos/ (four JPEG COGs), parcels.parquet and area.geojson into a folder; the folder."""
    (folder / "orthos").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    edge = TILES * TILE_PX * PIXEL_M
    parcels = _parcels(rng, shapely.box(ORIGIN[0], ORIGIN[1] - edge, ORIGIN[0] + edge, ORIGIN[1]))
    crops = [list(CROPS)[int(rng.integers(len(CROPS)))] for _ in parcels]
    _write_parcels(folder / "parcels.parquet", parcels, crops)
    _write_area(folder / "area.geojson", edge)
    for row in range(TILES):
        for column in range(TILES):
            step = TILE_PX * PIXEL_M
            place = Affine(PIXEL_M, 0.0, ORIGIN[0] + column * step, 0.0, -PIXEL_M, ORIGIN[1] - row * step)
            path = folder / "orthos" / f"ortho_{row}_{column}.tif"
            _write_photo(path, _photo(parcels, crops, place, rng), place)
    return folder


def _parcels(rng: np.random.Generator, ground: Any) -> list[Any]:
    """The ground cut again and again along oblique lines, and hedges between what is left."""
    pieces = [ground]
    for _ in range(6):
        cut = []
        for piece in pieces:
            x, y = shapely.get_coordinates(shapely.centroid(piece))[0] + rng.uniform(-15.0, 15.0, 2)
            turn = rng.choice([0.2, 0.2 + np.pi / 2]) + rng.uniform(-0.1, 0.1)
            way = np.array([np.cos(turn), np.sin(turn)]) * 2_000.0
            line = shapely.LineString([(x - way[0], y - way[1]), (x + way[0], y + way[1])])
            cut += list(shapely.get_parts(shapely.ops.split(piece, line)))
        pieces = cut
    shrunk = [shapely.buffer(piece, -1.5, join_style="mitre") for piece in pieces]
    return [p for p in shrunk if p.geom_type == "Polygon" and p.area > 100.0]


def _photo(parcels: list[Any], crops: list[str], place: Affine, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(band, y, x): crops in their colours with rows and noise, hedges between them."""
    shape = (TILE_PX, TILE_PX)
    burnt = rasterio.features.rasterize(
        [(p, 1 + list(CROPS).index(c)) for p, c in zip(parcels, crops, strict=True)], shape, transform=place
    )
    colours = np.array([(70, 86, 52), *CROPS.values()], np.float32)[burnt]
    y, x = np.indices(shape)
    rows = 10.0 * np.sin((x + 0.2 * y) / 2.5) * (burnt > 0)
    noise = rng.normal(0.0, 6.0, shape)
    seen: NDArray[np.float64] = np.clip(np.moveaxis(colours, -1, 0) + rows + noise, 0, 255)
    return seen.astype(np.uint8)


def _write_photo(path: Path, pixels: NDArray[np.uint8], place: Affine) -> None:
    shape = {"count": 3, "height": TILE_PX, "width": TILE_PX, "dtype": "uint8"}
    tiles = {"blocksize": 256, "compress": "JPEG", "quality": 90}
    with rasterio.open(path, "w", driver="COG", crs=f"EPSG:{EPSG}", transform=place, **shape, **tiles) as file:
        file.write(pixels)
        file.update_tags(TIFFTAG_DATETIME=f"{TAKEN:%Y:%m:%d %H:%M:%S}")


def _write_parcels(path: Path, parcels: list[Any], crops: list[str]) -> None:
    columns = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": json.loads(pyproj.CRS(EPSG).to_json())}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": columns}}
    table = pa.table(
        {
            "parcel": pa.array(range(len(parcels)), pa.int64()),
            "crop": pa.array(crops),
            "geometry": pa.array(shapely.to_wkb(parcels).tolist(), pa.binary()),
        }
    )
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)


def _write_area(path: Path, edge_m: float) -> None:
    """Outline of the photos, WGS 84."""
    ring = shapely.segmentize(shapely.box(ORIGIN[0], ORIGIN[1] - edge_m, ORIGIN[0] + edge_m, ORIGIN[1]), 50.0)
    change = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True)
    outline = shapely.transform(ring, lambda p: np.stack(change.transform(p[:, 0], p[:, 1]), axis=1))
    feature = {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(outline))}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}) + "\n")
