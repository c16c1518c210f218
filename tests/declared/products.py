"""Ten foreign products as YAML, their rasters written by GDAL, and the items that an archive would have of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import rasterio
import rasterio.shutil
from rasterio.transform import Affine
from shapely.geometry import box, mapping

from schemas.place import GeoBox, Place

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Json = dict[str, Any]
EPSG, LEFT, TOP = 32631, 448_020.0, 5_412_000.0
"""Near Paris: the upper left corner of the chip."""
SIZE_M = 960.0
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def place() -> Place:
    lon, lat = pyproj.Transformer.from_crs(EPSG, 4326, always_xy=True).transform(LEFT + 480, TOP - 480)
    geobox = GeoBox(epsg=EPSG, x_min=LEFT, y_max=TOP, resolution_m=10, width=96, height=96)
    return Place(sample_id="s0", lon=lon, lat=lat, geobox=geobox, split="train", block="b", cell="c")


@dataclass(frozen=True, kw_only=True)
class Product:
    """One foreign product: a source's YAML, and how its rasters are laid out."""

    name: str
    yaml: str
    crs: str
    pixel: float
    """Edge of a pixel in the units of `crs`."""
    dtype: str
    values: tuple[float, float]
    assets: dict[str, int] = field(default_factory=lambda: {"data": 1})
    """Asset -> bands in its raster."""
    nodata: float | None = None
    properties: Json = field(default_factory=dict)
    stated: Json = field(default_factory=dict)
    """raster:bands entry of each band."""
    whole_earth: bool = False
    jpeg: bool = False


PRODUCTS = (
    Product(
        name="ortho", crs="EPSG:2154", pixel=0.8, dtype="uint8", values=(20, 235), assets={"image": 3}, jpeg=True,
        yaml="""
          collection: ortho
          acquisition: year
          arrays:
            rgb: { resolution_m: 2, dtype: uint8, unit: digital number, bands: { R: image#1, G: image#2, B: image#3 } }
        """,
    ),
    Product(
        name="naip", crs="EPSG:32631", pixel=0.6, dtype="uint8", values=(1, 255), assets={"image": 4},
        yaml="kind: naip\n          arrays: { rgbn: { resolution_m: 1.2 } }",
    ),
    Product(
        name="modis", crs=SINUSOIDAL, pixel=463.312716528, dtype="int16", values=(-100, 16_000), nodata=-28672,
        assets={**{f"sur_refl_b0{i}": 1 for i in range(1, 8)}, "sur_refl_state_500m": 1},
        yaml="kind: modis-mod09a1\n          collection: modis",
        properties={"start_datetime": "2021-06-10T00:00:00Z", "end_datetime": "2021-06-17T23:59:59Z", "datetime": None},
    ),
    Product(
        name="palsar", crs="EPSG:4326", pixel=1 / 4500, dtype="uint16", values=(1, 9_000), assets={"HH": 1, "HV": 1},
        nodata=0, yaml="kind: alos-palsar\n          collection: palsar",
    ),
    Product(
        name="canopy", crs="EPSG:3857", pixel=1.194, dtype="uint8", values=(0, 40), nodata=255,
        yaml="kind: canopy-height\n          collection: canopy\n          arrays: { height: { resolution_m: 2 } }",
    ),
    Product(
        name="toa", crs="EPSG:32631", pixel=30, dtype="float32", values=(0, 1),
        assets={**{f"B{i}": 1 for i in range(2, 8)}, "QA_PIXEL": 1},
        yaml="kind: landsat-8-9-toa\n          collection: toa",
    ),
    Product(
        name="l1c", crs="EPSG:32631", pixel=10, dtype="uint16", values=(900, 9_000), nodata=0,
        assets=dict.fromkeys(
            ("blue", "green", "red", "nir", "rededge1", "rededge2", "rededge3", "nir08", "swir16", "swir22", "coastal",
             "nir09", "cirrus"), 1,
        ),
        properties={"s2:processing_baseline": "04.00", "eo:cloud_cover": 12.0},
        yaml="kind: sentinel2-l1c\n          collection: l1c\n          max_scene_cloud: 0.2",
    ),
    Product(
        name="era5", crs="EPSG:4326", pixel=0.1, dtype="float32", values=(250, 310),
        assets=dict.fromkeys(
            ("temperature_2m", "soil_temperature_level_1", "total_precipitation_sum", "total_evaporation_sum"), 1
        ),
        whole_earth=True, yaml="kind: era5-land-monthly\n          collection: era5",
    ),
    Product(
        name="scaled", crs="EPSG:32632", pixel=300, dtype="int16", values=(-200, 5_000), nodata=-1,
        stated={"scale": 2e-4, "offset": -0.01},
        yaml="""
          collection: scaled
          arrays:
            "*": { dtype: int16, nodata: -9999, unit: reflectance, scale: 1.0e-4 }
            sdr: { resolution_m: 300, kernel: cubic, bands: { red: { asset: "role:data", center_um: 0.66 } } }
        """,
    ),
    Product(
        name="landuse", crs="EPSG:3035", pixel=100, dtype="uint8", values=(1, 9), assets={"map": 1}, nodata=0,
        yaml="""
          collection: landuse
          dated: false
          arrays:
            codes: { resolution_m: 100, dtype: uint8, nodata: 0, kind: classes, unit: class, bands: { code: map } }
        """,
    ),
)  # fmt: skip


def write(product: Product, folder: Path) -> Json:
    """Rasters of a product in a folder, plain copies of each band for GDAL beside them, and the item."""
    folder.mkdir(parents=True)
    seed = sum(map(ord, product.name))
    corner = pyproj.Transformer.from_crs(EPSG, product.crs, always_xy=True).transform
    x, y = corner(LEFT + SIZE_M / 2, TOP - SIZE_M / 2)
    metres = product.pixel * (111_320 if product.crs == "EPSG:4326" else 1)
    edge = max(40, int(1.8 * SIZE_M / metres))
    transform = Affine(product.pixel, 0, x - edge / 2 * product.pixel, 0, -product.pixel, y + edge / 2 * product.pixel)
    assets = {}
    for number, (key, count) in enumerate(product.assets.items()):
        pixels = _pixels(product, key, (count, edge, edge), seed + number)
        _cog(folder / f"{key}.tif", pixels, product, transform)
        with rasterio.open(folder / f"{key}.tif") as written:
            for band in range(1, count + 1):
                _plain(folder / f"{key}-{band}.tif", written.read(band), written)
        assets[key] = {"href": f"/{product.name}/{key}.tif", "type": "image/tiff", "roles": ["data"]}
        if product.stated:
            assets[key]["raster:bands"] = [product.stated] * count
    outline = box(-180, -90, 180, 90) if product.whole_earth else box(1.5, 48.3, 3.2, 49.4)
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": f"{product.name}-1", "collection": product.name,
        "geometry": mapping(outline), "bbox": list(outline.bounds), "links": [], "assets": assets,
        "properties": {"datetime": "2021-06-15T10:30:00Z", "platform": product.name, **product.properties},
    }  # fmt: skip


def _pixels(product: Product, key: str, shape: tuple[int, int, int], seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if key in ("QA_PIXEL", "sur_refl_state_500m"):
        return rng.choice(np.array([0, 0, 0, 64, 0, 0, 0, 2], np.uint16), shape)
    low, high = product.values
    y, x = np.indices(shape[1:])
    field = np.stack(
        [np.sin(x / 7 + i) + np.cos(y / 9 - i) + 0.1 * rng.normal(size=shape[1:]) for i in range(shape[0])]
    )
    field = low + (field - field.min()) / np.ptp(field) * (high - low)
    pixels = field.astype(product.dtype)
    if product.nodata is not None:
        pixels[:, 2:4, :] = product.nodata
    return pixels


def _cog(path: Path, pixels: NDArray[Any], product: Product, transform: Affine) -> None:
    memory = {"driver": "GTiff", "count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2]}
    nodata = product.nodata if pixels.dtype == np.dtype(product.dtype) else None
    how: Json = {"dtype": pixels.dtype, "crs": product.crs, "transform": transform, "nodata": nodata}
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(plain, "w", **memory, **how) as dataset:
        dataset.write(pixels)
    with rasterio.open(plain) as dataset:
        rasterio.shutil.copy(dataset, path, driver="COG", blocksize=256, compress="JPEG" if product.jpeg else "DEFLATE")
    plain.unlink()


def _plain(path: Path, pixels: NDArray[Any], like: Any) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=pixels.shape[0], width=pixels.shape[1], dtype=pixels.dtype,
        crs=like.crs, transform=like.transform, nodata=like.nodata,
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
