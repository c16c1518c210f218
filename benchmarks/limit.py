"""A lower bound for any reader: fetches each needed internal tile once and decodes it once, in C.

libcurl fetches the stored bytes of each run of adjoining tiles; libdeflate and imagecodecs' delta coder decode them
into one buffer that is used again. Nothing is planned, checked, cut or kept: no reader can do less.
"""

from __future__ import annotations

import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from pipelines.access.http.client import Client
from pipelines.access.rasters.raster import open_raster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.access.rasters.raster import Raster

_ADJOINING_BYTES = 8
"""GDAL's COG driver puts 4 bytes before and 4 after each tile."""
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Run:
    """Tiles that adjoin in a file."""

    href: str
    tiles: tuple[tuple[int, int], ...]
    """(offset, size), bytes."""
    shape: tuple[int, int]
    """(rows, columns) of a tile."""
    dtype: np.dtype[Any]
    predictor: int


def needed(job: Mapping[str, Any]) -> list[Run]:
    """Runs of tiles that the chips of a job touch."""
    windows: dict[str, list[tuple[float, float, float, float]]] = {}
    for chip in job["chips"]:
        edge = chip["px"] * 10
        box = (chip["x"], chip["y"] - edge, chip["x"] + edge, chip["y"])
        for band in job["bands"]:
            windows.setdefault(chip["href"].format(band=band), []).append(box)
    client = Client()
    runs = [run for href, boxes in windows.items() for run in _runs(open_raster(client, href), boxes, job)]
    client.close()
    return runs


def _runs(raster: Raster, boxes: Sequence[tuple[float, float, float, float]], job: Mapping[str, Any]) -> Iterator[Run]:
    image = raster.levels[0].image
    assert image is not None  # noqa: S101 - the files of this benchmark are TIFFs
    assert raster.crs is not None  # noqa: S101
    layout = raster.layout(image)
    rows, columns = image.grid
    tiles: set[tuple[int, int]] = set()
    for box in boxes:
        west, south, east, north = transform_bounds(CRS.from_epsg(job["epsg"]), raster.crs, *box, densify_pts=21)
        left, top = ~raster.levels[0].transform * (west, north)
        right, bottom = ~raster.levels[0].transform * (east, south)
        lines = range(int(top + 1e-6) // image.block_height, int(bottom - 1e-6) // image.block_height + 1)
        across = range(int(left + 1e-6) // image.block_width, int(right - 1e-6) // image.block_width + 1)
        tiles.update((y, x) for y in lines for x in across if 0 <= y < rows and 0 <= x < columns)
    planes = range(raster.count if image.separate else 1)
    spans = sorted(span for p in planes for y, x in tiles for span in layout.spans((p, y, x)))
    more = (raster.href, (image.block_height, image.block_width), raster.dtype, job.get("predictor", 2))
    run: list[tuple[int, int]] = []
    for span in spans:
        if run and span[0] - sum(run[-1]) > _ADJOINING_BYTES:
            yield Run(more[0], tuple(run), *more[1:])
            run = []
        run.append(span)
    yield Run(more[0], tuple(run), *more[1:])


def fetch_and_decode(runs: Sequence[Run]) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    import imagecodecs
    import pycurl

    def work(part: Sequence[Run]) -> None:
        curl = pycurl.Curl()
        for run in part:
            first, last = run.tiles[0][0], sum(run.tiles[-1])
            buffer = io.BytesIO()
            curl.setopt(pycurl.URL, run.href)
            curl.setopt(pycurl.RANGE, f"{first}-{last - 1}")
            curl.setopt(pycurl.WRITEDATA, buffer)
            curl.setopt(pycurl.BUFFERSIZE, 512 << 10)
            curl.perform()
            data = buffer.getbuffer()
            raw = np.empty(run.shape, run.dtype)
            pixels = np.empty(run.shape, run.dtype)
            for offset, size in run.tiles:
                imagecodecs.deflate_decode(
                    data[offset - first : offset - first + size],  # type: ignore[arg-type]  # any buffer will do
                    out=raw.reshape(-1).view(np.uint8),  # type: ignore[arg-type]
                )
                if run.predictor == 2:
                    imagecodecs.delta_decode(raw, axis=-1, out=pixels)
                elif run.predictor == 3:
                    imagecodecs.floatpred_decode(raw, axis=-1, out=pixels)
        curl.close()

    started, busy = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, [runs[i::_THREADS] for i in range(_THREADS)]))
    return time.perf_counter() - started, time.process_time() - busy


def main() -> None:
    """Answer jobs until there are no more."""
    import imagecodecs  # noqa: F401 - loaded before the clock runs
    import pycurl  # noqa: F401

    for line in sys.stdin:
        runs = needed(json.loads(line))
        wall, cpu = fetch_and_decode(runs)
        size = sum(size for run in runs for _, size in run.tiles)
        print(json.dumps({"wall_s": wall, "cpu_s": cpu, "runs": len(runs), "least_bytes": size}), flush=True)


if __name__ == "__main__":
    main()
