"""Reads chips with one other tool: jobs are JSON lines, answers give time, CPU and checksums.

Knows nothing of landweave, so that it runs in its own environment: `python benchmarks/peers.py odc-stac`.
A chip is 12 bands of Sentinel-2 on one 10 m grid, 20 m and 60 m pixels repeated; its checksum is of those numbers.
Hashing is not in the times.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Chip = dict[str, Any]
    """'href' (address with {band}), 'item', 'date', 'left', 'top' of the granule; 'x', 'y', 'px' of the chip."""
    Bands = dict[str, int]
    """Band -> pixel, metres."""


def repeated(pixels: NDArray[Any], resolution: int, px: int) -> NDArray[Any]:
    """(y, x) at 10, 20 or 60 m on the chip's 10 m grid."""
    return pixels.repeat(resolution // 10, 0).repeat(resolution // 10, 1)[:px, :px] if resolution > 10 else pixels


def checksum(pixels: list[NDArray[Any]]) -> str:
    """Of the bands on the 10 m grid."""
    digest = hashlib.blake2b(digest_size=8)
    for band in pixels:
        digest.update(np.ascontiguousarray(band, dtype="<u2").tobytes())
    return digest.hexdigest()


def _item(chip: Chip, bands: Bands, epsg: int) -> Any:
    import datetime as dt

    import pystac

    left, top, edge = chip["left"], chip["top"], 109_800
    import pyproj

    ring = np.array([(0, 0), (1, 0), (1, -1), (0, -1), (0, 0)]) * edge + (left, top)
    lon, lat = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True).transform(ring[:, 0], ring[:, 1])
    geometry = {"type": "Polygon", "coordinates": [[list(p) for p in zip(lon.tolist(), lat.tolist(), strict=True)]]}
    when = dt.datetime.fromisoformat(chip["date"]).replace(tzinfo=dt.UTC)
    box = [float(v) for v in (lon.min(), lat.min(), lon.max(), lat.max())]
    properties = {"proj:epsg": epsg, "proj:code": f"EPSG:{epsg}"}
    item = pystac.Item(chip["item"], geometry, box, when, properties, collection="sentinel-2-l2a")
    item.stac_extensions.append("https://stac-extensions.github.io/projection/v1.1.0/schema.json")
    for band, resolution in bands.items():
        size = edge // resolution
        more = {"proj:shape": [size, size], "proj:transform": [resolution, 0, left, 0, -resolution, top]}
        item.add_asset(band, pystac.Asset(chip["href"].format(band=band), media_type="image/tiff", extra_fields=more))
    return item


def odc_stac(bands: Bands, epsg: int) -> Callable[[Chip], list[NDArray[Any]]]:
    """A load per chip, as its documentation shows it for pixels at hand (no Dask); metadata from the item."""
    import odc.stac
    from affine import Affine
    from odc.geo.geobox import GeoBox

    odc.stac.configure_rio(cloud_defaults=True)
    known = {"sentinel-2-l2a": {"assets": {"*": {"data_type": "uint16", "nodata": 0}}}}
    threads = int(os.environ.get("BENCHMARK_POOL", "0")) or None

    def read(chip: Chip) -> list[NDArray[Any]]:
        box = GeoBox((chip["px"], chip["px"]), Affine(10, 0, chip["x"], 0, -10, chip["y"]), f"EPSG:{epsg}")
        loaded = odc.stac.load(
            [_item(chip, bands, epsg)],
            bands=list(bands),
            geobox=box,
            resampling="nearest",
            stac_cfg=known,
            pool=threads,
        )
        return [loaded[band].to_numpy()[0] for band in bands]

    return read


def stackstac(bands: Bands, epsg: int) -> Callable[[Chip], list[NDArray[Any]]]:
    """A stack per chip, computed by Dask's threads."""
    import stackstac as library
    from rasterio.enums import Resampling

    def read(chip: Chip) -> list[NDArray[Any]]:
        edge = chip["px"] * 10
        box = (chip["x"], chip["y"] - edge, chip["x"] + edge, chip["y"])
        stack = library.stack(
            [_item(chip, bands, epsg)], assets=list(bands), epsg=epsg, bounds=box, resolution=10, snap_bounds=False,
            resampling=Resampling.nearest, dtype="uint16", fill_value=np.uint16(0), rescale=False, properties=False,
            xy_coords=False,
        )  # fmt: skip
        return list(stack.compute().to_numpy()[0])

    return read


def rasterio_windows(bands: Bands, epsg: int) -> Callable[[Chip], list[NDArray[Any]]]:
    """Windows of datasets that stay open, GDAL tuned for COGs."""
    del epsg
    tuned = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
        "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "VSI_CACHE": "TRUE",
        "VSI_CACHE_SIZE": "67108864",
        "GDAL_CACHEMAX": "1024",
    }
    os.environ.update(tuned)
    import rasterio
    from rasterio.windows import Window

    opened: dict[str, Any] = {}

    def read(chip: Chip) -> list[NDArray[Any]]:
        found = []
        for band, resolution in bands.items():
            href = chip["href"].format(band=band)
            if href not in opened:
                opened[href] = rasterio.open(href)
            size = -(-chip["px"] * 10 // resolution)
            column, row = (chip["x"] - chip["left"]) // resolution, (chip["top"] - chip["y"]) // resolution
            found.append(opened[href].read(1, window=Window(column, row, size, size)))
        return found

    return read


def async_geotiff(bands: Bands, epsg: int) -> Callable[[Chip], list[NDArray[Any]]]:
    """Windows of all bands of a chip at once; handles are kept."""
    del epsg
    from urllib.parse import urlsplit

    from async_geotiff import GeoTIFF, Window
    from obstore.store import HTTPStore

    loop = asyncio.new_event_loop()
    stores: dict[str, HTTPStore] = {}
    opened: dict[str, GeoTIFF] = {}

    async def one(chip: Chip, band: str, resolution: int) -> NDArray[Any]:
        href = chip["href"].format(band=band)
        if href not in opened:
            parts = urlsplit(href)
            root = f"{parts.scheme}://{parts.netloc}"
            store = stores.setdefault(root, HTTPStore(root, client_options={"allow_http": True}))
            opened[href] = await GeoTIFF.open(parts.path.lstrip("/"), store=store)
        size = -(-chip["px"] * 10 // resolution)
        column, row = int((chip["x"] - chip["left"]) // resolution), int((chip["top"] - chip["y"]) // resolution)
        got = await opened[href].read(window=Window(col_off=column, row_off=row, width=size, height=size))
        pixels: NDArray[Any] = np.asarray(got.data)[0]
        return pixels

    async def chip_of(chip: Chip) -> list[NDArray[Any]]:
        return list(await asyncio.gather(*(one(chip, band, resolution) for band, resolution in bands.items())))

    return lambda chip: loop.run_until_complete(chip_of(chip))


def rslearn(bands: Bands, epsg: int) -> Callable[[Chip], list[NDArray[Any]]]:
    """The function by which its data sources read a window of one asset's address, band after band."""
    from types import SimpleNamespace

    from rasterio.crs import CRS
    from rasterio.enums import Resampling
    from rslearn.data_sources.direct_materialize_data_source import (  # type: ignore[import-not-found]
        DirectMaterializeDataSource,
    )
    from rslearn.utils.geometry import Projection  # type: ignore[import-not-found]

    projection = Projection(CRS.from_epsg(epsg), 10, -10)
    source: Any = SimpleNamespace()

    def read(chip: Chip) -> list[NDArray[Any]]:
        column, row = round(chip["x"] / 10), round(-chip["y"] / 10)
        box = (column, row, column + chip["px"], row + chip["px"])
        hrefs = [chip["href"].format(band=band) for band in bands]
        ask = DirectMaterializeDataSource._read_raster_from_url
        got = [ask(source, href, projection, box, Resampling.nearest)[0] for href in hrefs]
        return [np.asarray(pixels).reshape(-1, chip["px"], chip["px"])[0] for pixels in got]

    return read


def gdal_warp(bands: Bands, epsg: int) -> Callable[[Chip], list[NDArray[Any]]]:
    """A warped view of one file for each chip; the file stays open."""
    del bands
    import rasterio
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    opened: dict[str, Any] = {}

    def read(chip: Chip) -> list[NDArray[Any]]:
        if chip["href"] not in opened:
            opened[chip["href"]] = rasterio.open(chip["href"])
        m = chip["resolution_m"]
        px = round(chip["px"] * 10 / m)
        place = {
            "crs": f"EPSG:{epsg}",
            "transform": Affine(m, 0, chip["x"], 0, -m, chip["y"]),
            "width": px,
            "height": px,
        }
        with WarpedVRT(opened[chip["href"]], resampling=Resampling[chip["kernel"]], **place) as view:
            return list(view.read())

    return read


METHODS: dict[str, Callable[[Bands, int], Callable[[Chip], list[NDArray[Any]]]]] = {
    "odc-stac": odc_stac,
    "stackstac": stackstac,
    "rasterio-windows": rasterio_windows,
    "async-geotiff": async_geotiff,
    "rslearn": rslearn,
    "gdal-warp": gdal_warp,
}


def _sized(pixels: list[NDArray[Any]], bands: Bands, px: int) -> Iterator[NDArray[Any]]:
    for band, (_, resolution) in zip(pixels, bands.items(), strict=True):
        yield repeated(band, resolution, px) if band.shape != (px, px) else band


def main() -> None:
    """Say hello, then answer jobs until there are no more."""
    method = METHODS[sys.argv[1]]
    first = True
    for line in sys.stdin:
        job = json.loads(line)
        if first:  # imports are no part of reading
            read = method(job["bands"], job["epsg"])
            first = False
        wall = cpu = 0.0
        sums = []
        for chip in job["chips"]:
            started, busy = time.perf_counter(), time.process_time()
            pixels = read({**chip, **{k: job[k] for k in ("resolution_m", "kernel") if k in job}})
            wall, cpu = wall + time.perf_counter() - started, cpu + time.process_time() - busy
            if "kernel" not in job:
                sums.append(checksum(list(_sized(pixels, job["bands"], chip["px"]))))
        print(json.dumps({"wall_s": wall, "cpu_s": cpu, "checksums": sums}), flush=True)


if __name__ == "__main__":
    main()
