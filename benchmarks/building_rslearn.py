"""Builds the stack of `benchmarks.building` with rslearn's prepare, ingest and materialize: one job (JSON) in.

Knows nothing of landweave, so that it runs in its own environment. One dataset of rslearn has the dated layers, and
another DEM, WorldCover and the map. Band sets are at the powers of two of 10 m that rslearn has: 60 m bands at 40 m,
Landsat and DEM at 20 m. It runs in one process: CPU is what is counted, and workers would add to it.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio
from building_meter import Meter  # type: ignore[import-not-found] # beside this file, which runs as a script
from rasterio.crs import CRS
from rslearn.data_sources.planetary_computer import PlanetaryComputer  # type: ignore[import-not-found]
from rslearn.dataset import Dataset, Window  # type: ignore[import-not-found]
from rslearn.dataset.manage import (  # type: ignore[import-not-found]
    ingest_dataset_windows,
    materialize_dataset_windows,
    prepare_dataset_windows,
)
from rslearn.utils.geometry import Projection  # type: ignore[import-not-found]
from upath import UPath  # type: ignore[import-not-found, unused-ignore]

PC = "rslearn.data_sources.planetary_computer"
TAGS: dict[str, dict[str, list[str]]] = {
    "forest": {"landuse": ["forest"], "natural": ["wood"]}, "grass": {"landuse": ["meadow", "grass"]},
    "crops": {"landuse": ["farmland"]}, "built": {"building": []}, "water": {"natural": ["water"]},
    "roads": {"highway": []},
}  # fmt: skip


def _raster(source: str, bands: list[dict[str, Any]], kernel: str, **more: Any) -> dict[str, Any]:
    source_config = {"class_path": source, "init_args": more, "query_config": {"max_matches": 1}, "ingest": True}
    return {"type": "raster", "band_sets": bands, "resampling_method": kernel, "data_source": source_config}


def _bands(names: list[str], dtype: str, zoom: int = 0) -> dict[str, Any]:
    return {"bands": names, "dtype": dtype, "zoom_offset": zoom}


def dated_layers() -> dict[str, Any]:
    """Sentinel-2 with its classes, Sentinel-1 and Landsat, the least cloudy scene."""
    s2 = [
        _bands(["B02", "B03", "B04", "B08"], "uint16"),
        _bands(["B05", "B06", "B07", "B8A", "B11", "B12"], "uint16", -1),
        _bands(["B01", "B09"], "uint16", -2),
        _bands(["SCL"], "uint8", -1),
    ]
    return {
        "sentinel2": _raster(f"{PC}.Sentinel2", s2, "nearest", sort_by="eo:cloud_cover"),
        "sentinel1": _raster(f"{PC}.Sentinel1", [_bands(["vv", "vh"], "float32")], "nearest"),
        "landsat": _raster(
            f"{PC}.LandsatC2L2", [_bands([f"B{i}" for i in range(1, 8)], "uint16", -1)], "bilinear",
            sort_by="eo:cloud_cover", query={},
        ),
    }  # fmt: skip


def static_layers() -> dict[str, Any]:
    """Elevation, WorldCover and the map."""
    cover = {"collection_name": "esa-worldcover", "asset_bands": {"map": ["class"]}}
    categories = {
        name: {"feature_types": ["WAY"], "tag_conditions": {key: values}, "to_geometry": "Polygon"}
        for name, tags in TAGS.items()
        for key, values in list(tags.items())[:1]
    }
    source = {
        "class_path": "rslearn.data_sources.openstreetmap.OpenStreetMap",
        "init_args": {"pbf_fnames": ["map.osm.pbf"], "bounds_fname": "bounds.json", "categories": categories},
        "ingest": True,
    }
    return {
        "dem": _raster(f"{PC}.CopDemGlo30", [_bands(["DEM"], "float32", -1)], "bilinear"),
        "worldcover": _raster(f"{PC}.PlanetaryComputer", [_bands(["class"], "uint8")], "nearest", **cover),
        "openstreetmap": {"type": "vector", "data_source": source},
    }


def _moment(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def add_windows(dataset: Any, job: dict[str, Any], dates: list[list[str]]) -> None:
    """A window per footprint and date."""
    for place in job["places"]:
        column, row = round(place["x"] / 10), round(-place["y"] / 10)
        px = int(job["size_m"] // 10)
        for date, (start, end) in enumerate(dates):
            window = Window(
                storage=dataset.storage, group=f"date{date}", name=place["id"],
                projection=Projection(CRS.from_epsg(place["epsg"]), 10, -10),
                bounds=(column, row, column + px, row + px), time_range=(_moment(start), _moment(end)),
            )  # fmt: skip
            window.save()


def build(root: Path, layers: dict[str, Any], job: dict[str, Any], dates: list[list[str]]) -> None:
    """Prepare, ingest, materialize; scenes of real size (there is no map) are materialized straight from the archive.

    To ingest would decode and write them whole, for footprints that cover a thirtieth of them.

    Raises:
        SystemExit: a window lacks a layer.
    """
    root.mkdir(parents=True, exist_ok=True)
    for layer in layers.values() if not job["map"] else ():
        layer["data_source"]["ingest"] = False
    config = {"layers": layers, "tile_store": {"class_path": "rslearn.tile_stores.default.DefaultTileStore"}}
    (root / "config.json").write_text(json.dumps(config))
    dataset = Dataset(UPath(root))
    add_windows(dataset, job, dates)
    every = dataset.load_windows()
    prepare_dataset_windows(dataset, every)
    if job["map"]:
        ingest_dataset_windows(dataset, every)
    materialize_dataset_windows(dataset, every)
    for window in every:
        lacking = [name for name in layers if not window.is_layer_completed(name)]
        if lacking:
            raise SystemExit(f"rslearn: {window.group}/{window.name} lacks {', '.join(lacking)}")


def gather(out: Path, job: dict[str, Any]) -> None:
    """Sentinel-2 at 10 m of the first date as one array, for the comparison; not part of what is measured."""
    import numpy as np
    import zarr

    px = int(job["size_m"] // 10)
    group = zarr.open_group(out / "compare.zarr", mode="w")
    array = group.create_array("sentinel2_10m", shape=(len(job["places"]), 1, 4, px, px), chunks="auto", dtype="uint16")
    for position, place in enumerate(job["places"]):
        folder = out / "dated" / "windows" / "date0" / place["id"] / "layers" / "sentinel2"
        (file,) = [f for f in folder.rglob("*.tif") if "B02" in str(f)]
        with rasterio.open(file) as raster:
            array[position, 0] = np.asarray(raster.read())


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    PlanetaryComputer.STAC_ENDPOINT = f"{job['url']}/pc/stac"
    out = Path(job["out"])
    meter = Meter()
    build(out / "dated", dated_layers(), job, job["dates"])
    (out / "static").mkdir()
    layers = static_layers()
    if job["map"]:
        urllib.request.urlretrieve(  # noqa: S310 - loopback
            f"{job['url']}/osm/planet.osm.pbf", out / "static" / "map.osm.pbf"
        )
    else:
        del layers["openstreetmap"]
    build(out / "static", layers, job, job["dates"][:1])
    found = meter.read() | {"samples": len(job["places"])}
    if job.get("compare"):
        gather(out, job)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
