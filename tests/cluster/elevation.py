"""A small planned dataset (elevation alone, one sample a shard) and its archive, to build on any engine.

python -m tests.cluster.elevation FOLDER HOST PORT DELAY_S    # serves a folder that `make` wrote, until it is killed
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from ruamel.yaml import YAML

import testbed
from pipelines.jobs import plan_dataset
from pipelines.recipes import read_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.recipes import RecipeFile

EPSG, X_MIN, Y_MAX, SIDE = 32633, 400_000, 5_400_000, 600
"""A tile of 18 km at 30 m."""


@dataclass(frozen=True)
class Elevation:
    """The recipe, which can be planned and built while the archive is served."""

    recipe: Path
    shards: int

    def file(self) -> RecipeFile:
        return read_recipe(self.recipe)

    def planned(self, out: Path) -> Path:
        """A folder with the frozen plan."""
        assert plan_dataset(self.file(), out, again=False).shards == self.shards
        return out


def make(folder: Path, samples: int, address: tuple[str, int]) -> Elevation:
    """Write the tile and the recipe for `samples` places on it, of an archive at `address`."""
    folder.mkdir()
    tile, points = folder / "tile.tif", folder / "points.csv"
    # rough, so that no shard finds what it needs in the header of the tile or of its neighbours' blocks
    heights = np.random.default_rng(1).normal(500.0, 100.0, (SIDE, SIDE)).astype(np.float32)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "float32", "crs": f"EPSG:{EPSG}"}
    profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with rasterio.open(tile, "w", transform=from_origin(X_MIN, Y_MAX, 30, 30), **profile) as target:
        target.write(heights, 1)
    with points.open("w", newline="") as file:
        rows = [(f"s{n:02d}", *_place(n)) for n in range(samples)]
        csv.writer(file).writerows([("sample_id", "lon", "lat"), *rows])
    recipe = folder / "recipe.yaml"
    with recipe.open("w") as file:
        YAML(typ="safe").dump(_recipe("http://{}:{}/stac".format(*address), points.name), file)
    return Elevation(recipe, samples)


def serve(folder: Path, address: tuple[str, int], delay_s: float = 0.0) -> testbed.Services:
    """Serve the tile of a folder that `make` wrote, each read after `delay_s`."""
    tile = folder / "tile.tif"
    services = testbed.serve_catalogue([_item(tile)], {"/files/tile.tif": tile}, name="earth", address=address)
    services.faults.append(lambda request: testbed.Fault(delay_s=delay_s) if "/files/" in request.path else None)
    return services


@contextlib.contextmanager
def served(folder: Path, samples: int, delay_s: float = 0.0) -> Iterator[Elevation]:
    """Make the archive and serve it on loopback, each read after `delay_s`; yields the recipe."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = ("127.0.0.1", probe.getsockname()[1])
    elevation = make(folder, samples, address)
    with serve(folder, address, delay_s):
        yield elevation


def tree(out: Path) -> dict[str, str]:
    """Path -> SHA-256 of every file of a dataset, without what belongs to the build."""
    files = (p for p in out.rglob("*") if p.is_file())
    found = {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    return {path: digest for path, digest in sorted(found.items()) if not path.startswith((".", "plan/"))}


def _place(number: int) -> tuple[float, float]:
    x, y = X_MIN + 2000 + 2500 * (number % 6), Y_MAX - 2000 - 2500 * (number // 6)
    lon, lat = rasterio.warp.transform(f"EPSG:{EPSG}", "EPSG:4326", [x], [y])
    return lon[0], lat[0]


def _item(tile: Path) -> dict[str, Any]:
    with rasterio.open(tile) as source:
        west, south, east, north = rasterio.warp.transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "tile",
        "collection": "cop-dem-glo-30",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
        "bbox": [west, south, east, north],
        "properties": {"datetime": "2021-04-22T00:00:00Z", "proj:code": f"EPSG:{EPSG}"},
        "assets": {"data": {"href": "/files/tile.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]}},
        "links": [],
    }


def _recipe(stac: str, points: str) -> dict[str, Any]:
    return {
        "name": "elevation",
        "seed": 1,
        "sampling": {"kind": "points", "file": points},
        "grid": {"size_m": 960},
        "windows": [{"name": "ever", "start": "2020-01-01", "end": "2023-12-31"}],
        "providers": {"earth": {"url": stac, "timeout_s": 5.0}},
        "sources": [{"kind": "dem", "providers": ["earth"]}],
        "quality": {"min_modalities": 1},
        "splits": {"train": 1.0, "val": 0.0, "test": 0.0},
        "shards": {"samples": 1},
    }


if __name__ == "__main__":
    with serve(Path(sys.argv[1]), (sys.argv[2], int(sys.argv[3])), float(sys.argv[4])):
        threading.Event().wait()
