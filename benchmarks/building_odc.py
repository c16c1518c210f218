"""Builds the stack of `benchmarks.building` as a script with odc-stac, rasterio and osmium: one job (JSON) in.

Knows nothing of landweave, so that it runs in its own environment. It is written as its libraries' documentation
advises: one search per collection and date, GDAL set up for COGs with its caches on, footprints in eight threads, and
arrays of Zarr with one chunk per sample, so that threads write side by side.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import osmium
import pyproj
import pystac_client
import rasterio.features
import shapely
import shapely.wkb
import zarr
from affine import Affine
from building_meter import Meter  # type: ignore[import-not-found] # beside this file, which runs as a script
from odc.geo.geobox import GeoBox
from zarr.codecs import BloscCodec

Job = dict[str, Any]
THREADS = 8
S2 = {10: ["B02", "B03", "B04", "B08"], 20: ["B05", "B06", "B07", "B8A", "B11", "B12"], 60: ["B01", "B09"]}
LANDSAT = ["coastal", "blue", "green", "red", "nir08", "swir16", "swir22"]
KNOWN = {
    "sentinel-2-l2a": {"assets": {"*": {"data_type": "uint16", "nodata": 0}, "SCL": {"data_type": "uint8"}}},
    "sentinel-1-rtc": {"assets": {"*": {"data_type": "float32", "nodata": -32768}}},
    "landsat-c2-l2": {"assets": {"*": {"data_type": "uint16", "nodata": 0}}},
    "cop-dem-glo-30": {"assets": {"*": {"data_type": "float32", "nodata": -32767}}},
    "esa-worldcover": {"assets": {"*": {"data_type": "uint8", "nodata": 0}}},
}
"""What the items do not say of their assets."""
CLASSES = (
    ("landuse", {"forest"}, 1), ("natural", {"wood"}, 1), ("natural", {"scrub"}, 2), ("natural", {"grassland"}, 3),
    ("landuse", {"meadow", "grass"}, 3), ("landuse", {"farmland"}, 4), ("landuse", {"residential"}, 5),
    ("building", None, 5), ("natural", {"bare_rock", "scree"}, 6), ("natural", {"water"}, 8),
    ("natural", {"wetland"}, 9),
)  # fmt: skip
"""Key, values (None: any), class."""
ROADS_M = 5.0


class Builder:
    """What all samples share: items, map and arrays on disk."""

    def __init__(self, job: Job) -> None:
        self.job, self.dates = job, job["dates"]
        places = job["places"]
        lon, lat = [p["lon"] for p in places], [p["lat"] for p in places]
        reach = job["size_m"] / 70_000
        self.box = [min(lon) - reach, min(lat) - reach, max(lon) + reach, max(lat) + reach]
        client = pystac_client.Client.open(f"{job['url']}/pc/stac")
        self.items = {
            (name, date): self._search(client, name, None if date is None else self.dates[date])
            for name, date in [(c, d) for c in list(KNOWN)[:3] for d in range(len(self.dates))]
            + [("cop-dem-glo-30", None), ("esa-worldcover", None)]
        }
        self.map = Map(job["url"], Path(job["out"])) if job["map"] else None
        self.arrays = self._arrays(len(places))

    def _search(self, client: Any, collection: str, period: list[str] | None) -> list[tuple[Any, Any]]:
        found = client.search(collections=[collection], bbox=self.box, datetime=period).items()
        kept = [i for i in found if collection != "esa-worldcover" or "2021_v200" in i.id]
        newest: dict[str, Any] = {}  # a tile's reprocessing replaces the older one
        for item in sorted(kept, key=lambda i: i.properties.get("s2:generation_time") or i.id):
            tile = item.id.rsplit("_", 1)[0] if collection == "sentinel-2-l2a" else item.id
            newest[tile] = item
        ordered = sorted(newest.values(), key=lambda i: (i.properties.get("eo:cloud_cover") or 0.0, i.id))
        return [(item, shapely.geometry.shape(item.geometry)) for item in ordered]

    def _arrays(self, count: int) -> dict[str, Any]:
        px = self.job["size_m"] / 10
        sizes = {r: int(-(-self.job["size_m"] // r)) for r in (10, 20, 30, 60)}
        forms = {f"sentinel2_{r}m": ((2, len(b), sizes[r], sizes[r]), "uint16") for r, b in S2.items()} | {
            "sentinel2_scl": ((2, 1, sizes[20], sizes[20]), "uint8"),
            "sentinel1": ((2, 2, sizes[10], sizes[10]), "float32"),
            "landsat": ((2, 7, sizes[30], sizes[30]), "uint16"),
            "landsat_qa": ((2, 1, sizes[30], sizes[30]), "uint16"),
            "dem": ((sizes[30], sizes[30]), "float32"),
            "worldcover": ((int(px), int(px)), "uint8"),
            "openstreetmap": ((int(px), int(px)), "uint8"),
        }
        group = zarr.open_group(Path(self.job["out"]) / "data.zarr", mode="w")
        codec = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
        return {
            name: group.create_array(name, shape=(count, *form), chunks=(1, *form), dtype=dtype, compressors=codec)
            for name, (form, dtype) in forms.items()
        }

    def build(self, index: int) -> dict[str, Any]:
        """All products of one sample."""
        place = self.job["places"][index]
        used = {"id": place["id"]}
        ground = shapely.box(*self._lonlat(place))
        for date in range(len(self.dates)):
            used |= self._dated(index, date, place, ground)
        dem = [i for i, outline in self.items["cop-dem-glo-30", None] if outline.intersects(ground)]
        self.arrays["dem"][index] = self._load(dem, ["data"], place, 30, "bilinear")[0]
        cover = [i for i, outline in self.items["esa-worldcover", None] if outline.intersects(ground)]
        self.arrays["worldcover"][index] = self._load(cover, ["map"], place, 10, "nearest")[0]
        if self.map is not None:
            self.arrays["openstreetmap"][index] = self.map.drawn(place, self.job["size_m"])
        return used

    def _dated(self, index: int, date: int, place: Any, ground: Any) -> dict[str, Any]:
        scene = self._best("sentinel-2-l2a", date, ground)
        offset = 1000 if scene.properties["s2:processing_baseline"] >= "04.00" else 0
        for resolution, bands in S2.items():
            pixels = self._load([scene], bands, place, resolution, "nearest")
            harmonised = np.where(pixels == 0, 0, np.maximum(pixels.astype(np.int32) - offset, 1)).astype(np.uint16)
            self.arrays[f"sentinel2_{resolution}m"][index, date] = harmonised
        self.arrays["sentinel2_scl"][index, date] = self._load([scene], ["SCL"], place, 20, "nearest")
        radar = self._best("sentinel-1-rtc", date, ground)
        linear = self._load([radar], ["vv", "vh"], place, 10, "nearest")
        with np.errstate(divide="ignore", invalid="ignore"):
            self.arrays["sentinel1"][index, date] = 10 * np.log10(np.where(linear > 0, linear, np.nan))
        landsat = self._best("landsat-c2-l2", date, ground)
        self.arrays["landsat"][index, date] = self._load([landsat], LANDSAT, place, 30, "bilinear")
        self.arrays["landsat_qa"][index, date] = self._load([landsat], ["qa_pixel"], place, 30, "nearest")
        return {f"{name}_{date}": item.id for name, item in (("s2", scene), ("s1", radar), ("landsat", landsat))}

    def _best(self, collection: str, date: int, ground: Any) -> Any:
        """The least cloudy scene that covers the footprint best."""
        found = [(item, outline.intersection(ground).area) for item, outline in self.items[collection, date]]
        most = max(area for _, area in found)
        return next(item for item, area in found if area >= 0.999 * most)

    def _load(self, items: list[Any], bands: list[str], place: Any, resolution: int, kernel: str) -> Any:
        px = int(-(-self.job["size_m"] // resolution))
        grid = GeoBox((px, px), Affine(resolution, 0, place["x"], 0, -resolution, place["y"]), f"EPSG:{place['epsg']}")
        loaded = odc.stac.load(
            items, bands=bands, geobox=grid, resampling=kernel, stac_cfg=KNOWN, groupby=lambda *_: "one"
        )
        return np.stack([loaded[band].to_numpy()[0] for band in bands])

    def _lonlat(self, place: Any) -> tuple[float, float, float, float]:
        size = self.job["size_m"]
        change = pyproj.Transformer.from_crs(place["epsg"], 4326, always_xy=True)
        box: tuple[float, float, float, float] = change.transform_bounds(
            place["x"], place["y"] - size, place["x"] + size, place["y"]
        )
        return box


class Map(osmium.SimpleHandler):
    """The areas and roads of an extract, with an index."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__()
        self._shapes: list[Any] = []
        self._codes: list[int] = []
        self._factory = osmium.geom.WKBFactory()
        file = folder / "map.osm.pbf"
        urllib.request.urlretrieve(f"{url}/osm/planet.osm.pbf", file)  # noqa: S310 - loopback
        self.apply_file(str(file), locations=True)
        self._tree = shapely.STRtree(self._shapes)

    def area(self, area: Any) -> None:
        """Keep an area that has a class."""
        for key, values, code in CLASSES:
            said = area.tags.get(key)
            if said is not None and (values is None or said in values):
                self._keep(lambda: self._factory.create_multipolygon(area), code)
                return

    def way(self, way: Any) -> None:
        """Keep a road."""
        if "highway" in way.tags and not way.is_closed():
            self._keep(lambda: self._factory.create_linestring(way), 7)

    def _keep(self, made: Any, code: int) -> None:
        try:
            self._shapes.append(shapely.wkb.loads(made(), hex=True))
            self._codes.append(code)
        except (RuntimeError, shapely.errors.GEOSException):
            pass

    def drawn(self, place: Any, size_m: float) -> Any:
        """Classes of a footprint at 10 m; 0 = unmapped."""
        box = (place["x"], place["y"] - size_m, place["x"] + size_m, place["y"])
        back = pyproj.Transformer.from_crs(place["epsg"], 4326, always_xy=True)
        forth = pyproj.Transformer.from_crs(4326, place["epsg"], always_xy=True)
        near = sorted(
            self._tree.query(shapely.box(*back.transform_bounds(*box))).tolist(), key=lambda i: self._codes[i]
        )
        drawn = []
        for i in near:
            moved = shapely.transform(self._shapes[i], lambda xy: np.column_stack(forth.transform(xy[:, 0], xy[:, 1])))
            drawn.append((moved.buffer(ROADS_M) if self._codes[i] == 7 else moved, self._codes[i]))
        px = int(size_m // 10)
        if not drawn:
            return np.zeros((px, px), np.uint8)
        return rasterio.features.rasterize(
            drawn, (px, px), transform=Affine(10, 0, place["x"], 0, -10, place["y"]), dtype="uint8"
        )


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    os.environ["CPL_VSIL_CURL_CACHE_SIZE"] = str(200 << 20)
    os.environ["VSI_CACHE"] = "TRUE"
    odc.stac.configure_rio(cloud_defaults=True)
    meter = Meter()
    builder = Builder(job)
    with ThreadPoolExecutor(THREADS) as pool:
        used = list(pool.map(builder.build, range(len(job["places"]))))
    (Path(job["out"]) / "items.json").write_text(json.dumps(used))
    print(json.dumps(meter.read() | {"samples": len(used)}))


if __name__ == "__main__":
    main()
