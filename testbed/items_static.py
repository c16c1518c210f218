"""STAC items of elevation and land-cover maps, and the collections of every provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testbed.dem import NAMES, dem_grids
from testbed.items import COG, item, stamp
from testbed.labelling import DYNAMIC_WORLD_CODE, worldcover_grids
from testbed.overpasses import TILES
from testbed.stac_api import collection_of

if TYPE_CHECKING:
    from testbed.overpasses import Sentinel2Pass
    from testbed.plane import Grid
    from testbed.world import Scenery

Json = dict[str, Any]
LICENCES = {
    "sentinel-2-l2a": "proprietary",
    "sentinel-1-rtc": "CC-BY-4.0",
    "landsat-c2-l2": "proprietary",
    "ENMAP_HSI_L2A": "proprietary",
    "cop-dem-glo-30": "proprietary",
    "esa-worldcover": "CC-BY-4.0",
    "dynamic-world-v1": "CC-BY-4.0",
    "sentinel-2-c1-l2a": "proprietary",
    "landsat-c2l2-sr": "proprietary",
    "cop-dem-glo-30-dged-cog": "proprietary",
    "HLSS30_2.0": "proprietary",
    "HLSL30_2.0": "proprietary",
}
"""Collection -> licence, as the real collections say."""


def _place(grid: Grid) -> Json:
    return {"proj:epsg": grid.epsg, "proj:shape": [grid.height, grid.width], "proj:transform": [*grid.transform[:6]]}


def dem_items(scenery: Scenery, *, earth_search: bool) -> list[Json]:
    """cop-dem-glo-30: one item a side of 12 degrees east, in Earth Search's or Planetary Computer's words."""
    found = []
    for side, grid in dem_grids(scenery).items():
        identity = f"Copernicus_DSM_COG_10_{NAMES[side]}_DEM"
        asset: Json = {"href": f"dem/{identity}.tif", "type": COG, "roles": ["data"], "title": NAMES[side]}
        facts: Json = {"datetime": "2021-04-22T00:00:00Z", "gsd": 30, "platform": "TanDEM-X"} | _place(grid)
        if earth_search:
            number = {"sampling": "point", "data_type": "float32", "spatial_resolution": 30, "unit": "meter"}
            asset["raster:bands"] = [number]
            facts |= {
                "platform": "tandem-x",
                "grid:code": f"CDEM-N48E{NAMES[side][-6:-3]}",
                "storage:requester_pays": False,
            }
        found.append(item(identity, "cop-dem-glo-30", grid.footprint(), facts, {"data": asset}, ("projection/v1.1.0",)))
    return found


def worldcover_items(scenery: Scenery) -> list[Json]:
    """esa-worldcover in Planetary Computer's layout: 2020 (v100) and 2021 (v200), two 3-degree tiles each."""
    found = []
    for year, version in ((2020, "v100"), (2021, "v200")):
        for tile, grid in zip(("N48E009", "N48E012"), worldcover_grids(scenery).values(), strict=True):
            identity = f"ESA_WorldCover_10m_{year}_{version}_{tile}"
            number = {"nodata": 0, "sampling": "area", "data_type": "uint8", "spatial_resolution": 10}
            asset = {"href": f"worldcover/{identity}_Map.tif", "type": COG, "roles": ["data"], "raster:bands": [number]}
            facts = {
                "datetime": None,
                "start_datetime": f"{year}-01-01T00:00:00Z",
                "end_datetime": f"{year}-12-31T23:59:59Z",
                "esa_worldcover:product_version": f"{version[1]}.0.0",
                "esa_worldcover:product_tile": tile,
                "grid:code": f"ESAWORLDCOVER-{tile}",
                "mission": "sentinel-1, sentinel-2",
            } | _place(grid)
            extensions = ("projection/v1.1.0", "raster/v1.1.0", "grid/v1.0.0")
            found.append(item(identity, "esa-worldcover", grid.footprint(), facts, {"map": asset}, extensions))
    return found


def dynamic_world_item(scenery: Scenery, taken: Sentinel2Pass, zone: int, labelled: float) -> Json:
    """dynamic-world-v1 in a layout of our own (Earth Engine is its home); the id is made like Earth Engine's."""
    tile = scenery.layout.tile(zone)
    when = f"{taken.sky.when:%Y%m%dT%H%M%S}"
    classes = [{"value": v, "name": k} for k, v in sorted(DYNAMIC_WORLD_CODE.items(), key=lambda kv: kv[1]) if v != 255]
    asset = {
        "href": f"dynamicworld/{taken.sky.when:%Y%m%d}_T{zone}.tif",
        "type": COG,
        "roles": ["data"],
        "raster:bands": [{"nodata": 255, "data_type": "uint8", "spatial_resolution": 10}],
        "classification:classes": classes,
    }
    facts = {
        "datetime": stamp(taken.sky.when),
        "dynamicworld:version": "v1",
        "dynamicworld:label_percentage": round(100 * labelled, 2),
        "s2:mgrs_tile": TILES[zone],
    } | _place(tile)
    identity = f"{when}_{when}_T{TILES[zone]}"
    extensions = ("projection/v1.1.0", "raster/v1.1.0", "classification/v1.1.0")
    return item(identity, "dynamic-world-v1", tile.footprint(), facts, {"label": asset}, extensions)


def collections_of(items: list[Json]) -> list[Json]:
    """A collection for every name that items carry, with its licence."""
    names = sorted({i["collection"] for i in items})
    return [collection_of(n, items) | {"license": LICENCES[n]} for n in names]
