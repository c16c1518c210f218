"""Files of one's own for the recipes that name them: images, masks, heights and vectors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import rasterio
import rasterio.features
import shapely
from affine import Affine

from pipelines.catalogue import Dates, make_catalogue, period_of
from testbed.orthophotos import EPSG, ORIGIN, PIXEL_M, TILE_PX, TILES, make_orthophotos

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
HOME = {2154: ORIGIN, 2180: (637_000.0, 487_600.0)}
"""National system -> north-western corner of the photos in it, metres."""
EDGE_M = TILES * TILE_PX * PIXEL_M


def own_files(tree: Json, folder: Path, ground_m: float) -> Json:
    """Write the folders of images and the vectors that a recipe names; the area that its samples lie in, whose widest
    ground has an edge of `ground_m`."""
    _beside(tree)
    made = make_orthophotos(folder / "made")
    code = str(tree["grid"].get("crs", f"EPSG:{EPSG}"))
    epsg = int(code.removeprefix("EPSG:"))
    for name, provider in tree["providers"].items():
        if "://" not in provider.get("url", "://"):
            (bands, dtype) = _wanted(tree, name)
            target = folder / str(provider["url"]).split("/", maxsplit=1)[0]
            for path in sorted((made / "orthos").glob("*.tif")):
                _copy(path, target / path.name, epsg, bands, dtype)
            dates = Dates(stated=period_of("2020-06-05"), pattern=None)
            assert not make_catalogue(target, target / "items.parquet", dates, None).refused
    for label in tree.get("labels", ()):
        if label["kind"] == "vector":
            _vectors(made / "parcels.parquet", folder / label["file"], label)
    return _area(epsg, ground_m)


def _beside(tree: Json) -> None:
    """Sentinel-2 of an archive as a folder of images: no archive of the testbed has anything at their place."""
    for number, source in enumerate(tree["sources"]):
        if source.get("kind") == "sentinel2":
            bands = {name: f"image#{n}" for n, name in enumerate(("B02", "B03", "B04", "B08"), 1)}
            arrays = {"bands_10m": {"resolution_m": 10, "dtype": "uint8", "bands": bands}}
            (name,) = source["providers"]
            tree["providers"][name] = {"url": "sentinel2/items.parquet"}
            made = {"layer": "sentinel2", "providers": [name], "collection": "sentinel2", "arrays": arrays}
            tree["sources"][number] = made | {key: source[key] for key in ("windows",) if key in source}


def _wanted(tree: Json, provider: str) -> tuple[int, str]:
    """Bands and dtype of a provider's images; masks have one band of codes."""
    for source in tree["sources"]:
        if provider in source["providers"]:
            ((_, array),) = source["arrays"].items()
            return len(array["bands"]), array["dtype"]
    return 1, "uint8"


def _copy(path: Path, target: Path, epsg: int, bands: int, dtype: str) -> None:
    """A photo in another system and place; of one band, codes of its brightness, or heights; of more, bands again."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path) as file:
        pixels, place = file.read(), file.transform
    if bands == 1:
        pixels = (pixels[:1] // 64).astype(dtype)
    pixels = pixels[np.arange(bands) % len(pixels)]
    x, y = place.c - ORIGIN[0] + HOME[epsg][0], place.f - ORIGIN[1] + HOME[epsg][1]
    shape = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype.name}
    tile = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    place = Affine(PIXEL_M, 0, x, 0, -PIXEL_M, y)
    with rasterio.open(target, "w", driver="GTiff", crs=f"EPSG:{epsg}", transform=place, **shape, **tile) as file:
        file.write(pixels)


def _vectors(parcels: Path, target: Path, label: Json) -> None:
    """The parcels with the label's column in place of `crop`."""
    table = pq.read_table(parcels)
    names = [label.get("column", "kind") if name == "crop" else name for name in table.schema.names]
    pq.write_table(table.rename_columns(names).replace_schema_metadata(table.schema.metadata), target)


def _area(epsg: int, size_m: float) -> Json:
    """Where footprints lie whole in the photos, longitude and latitude."""
    x, y = HOME[epsg]
    ground = shapely.box(x, y - EDGE_M, x + EDGE_M, y).buffer(-size_m / 2 - 15.0, join_style="mitre")
    change = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    outline = shapely.transform(ground, lambda p: np.stack(change.transform(p[:, 0], p[:, 1]), axis=1))
    feature = {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(outline))}
    return {"type": "FeatureCollection", "features": [feature]}


def burnt(parcels: Path, classes: dict[str, int], transform: tuple[float, ...], size: int) -> Any:
    """(y, x) codes by GDAL's rasterize of the parcels; 0 where none lies."""
    table: pa.Table = pq.read_table(parcels)
    name = next(n for n in table.schema.names if n not in ("parcel", "geometry"))
    shapes = [
        (shapely.from_wkb(g), classes[c])
        for g, c in zip(table["geometry"].to_pylist(), table[name].to_pylist(), strict=True)
        if c in classes
    ]
    return rasterio.features.rasterize(shapes, (size, size), transform=Affine(*transform[:6]))
