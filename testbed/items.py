"""STAC items of the optical and radar scenes, in the layout of each provider."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from schemas.enmap_bands import ENMAP_BANDS
from schemas.modality import LANDSAT
from testbed.enmap import QUALITY, enmap_grid
from testbed.landsat import OFFSET, SCALE, landsat_grid
from testbed.overpasses import ENMAP_SKY, ZONES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from testbed.overpasses import LandsatPass, Sentinel1Pass
    from testbed.plane import Grid
    from testbed.world import Scenery

Json = dict[str, Any]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
LANDSAT_KEYS = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
"""Planetary Computer asset keys of SR_B1..SR_B7."""


def stamp(when: datetime, digits: int = 3) -> str:
    """RFC 3339 in UTC with this many fractional digits."""
    text = when.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text[: 20 + digits].rstrip(".") + "Z"


def item(
    identity: str, collection: str, ring: list[list[float]], properties: Json, assets: Json, extensions: tuple[str, ...]
) -> Json:
    """An item with bbox from its ring; asset hrefs are relative to the planet's `files/`."""
    lon, lat = zip(*ring, strict=True)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [_EXTENSION.format(e) for e in extensions],
        "id": identity,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "properties": properties,
        "links": [],
        "assets": assets,
    }


def place_of(grid: Grid, *, box: bool = False) -> Json:
    """`proj:shape` and `proj:transform` of a grid, and `proj:bbox` if wanted."""
    found: Json = {"proj:shape": [grid.height, grid.width], "proj:transform": [*grid.transform[:6]]}
    return found | ({"proj:bbox": list(grid.bounds)} if box else {})


def sentinel1_rtc(scenery: Scenery, taken: Sentinel1Pass, zone: int) -> Json:
    """Planetary Computer's sentinel-1-rtc layout, with its times written with a blank."""
    tile = scenery.layout.tile(zone)
    # a scene of the real archive is larger than a tile; here each tile is a slice of the pass, the next 12.4 s later
    middle = taken.when + timedelta(seconds=12.4 * ZONES.index(zone))
    start, end = (middle + timedelta(seconds=s) for s in (-6.2, 6.2))
    bands = {"vh": "VH: vertical transmit, horizontal receive", "vv": "VV: vertical transmit, vertical receive"}
    number = {"nodata": -32768, "data_type": "float32", "spatial_resolution": 10.0}
    folder = f"sentinel1/{taken.when:%Y%m%d}_T{zone}"
    assets = {
        key: {
            "href": f"{folder}/{key.upper()}.tif",
            "type": COG,
            "roles": ["data"],
            "title": title,
            "raster:bands": [number],
        }
        for key, title in bands.items()
    }
    facts = {
        "datetime": stamp(middle, 6),
        "start_datetime": f"{start:%Y-%m-%d %H:%M:%S.%f}+00:00",
        "end_datetime": f"{end:%Y-%m-%d %H:%M:%S.%f}+00:00",
        "platform": "SENTINEL-1A",
        "constellation": "Sentinel-1",
        "proj:epsg": tile.epsg,
        "s1:datatake_id": str(taken.datatake),
        "s1:processing_level": "1",
        "sar:product_type": "GRD",
        "sar:polarizations": ["VV", "VH"],
        "sar:frequency_band": "C",
        "sar:instrument_mode": "IW",
        "sar:center_frequency": 5.405,
        "sar:looks_equivalent_number": 4.4,
        "sat:orbit_state": taken.state,
        "sat:absolute_orbit": taken.absolute_orbit,
        "sat:relative_orbit": taken.orbit,
    }
    facts |= place_of(tile, box=True)
    span = f"{start:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}"
    identity = f"S1A_IW_GRDH_1SDV_{span}_{taken.absolute_orbit:06d}_{taken.datatake:06X}_rtc"
    return item(
        identity,
        "sentinel-1-rtc",
        tile.footprint(),
        facts,
        assets,
        ("sar/v1.0.0", "sat/v1.0.0", "projection/v1.1.0", "raster/v1.1.0"),
    )


def landsat_c2_l2(scenery: Scenery, taken: LandsatPass, shares: Mapping[str, float]) -> Json:
    """Planetary Computer's landsat-c2-l2 layout; EPSG, shape and transform on the item, not on its assets."""
    grid = landsat_grid(scenery)
    folder = f"landsat/LC0{taken.satellite}_{taken.sky.when:%Y%m%d}"
    number = {"scale": SCALE, "nodata": 0, "offset": OFFSET, "data_type": "uint16", "spatial_resolution": 30}
    assets: Json = {}
    for key, band in zip(LANDSAT_KEYS, LANDSAT.layer("bands_30m").bands, strict=True):
        eo = {"name": f"OLI_{band.name[3:]}", "common_name": band.common_name, "center_wavelength": band.center_um}
        assets[key] = {
            "href": f"{folder}/{band.name}.TIF",
            "type": COG,
            "roles": ["data", "reflectance"],
            "eo:bands": [eo],
            "raster:bands": [number],
        }
    quality = {"unit": "bit index", "nodata": 1, "data_type": "uint16", "spatial_resolution": 30}
    assets["qa_pixel"] = {
        "href": f"{folder}/QA_PIXEL.TIF",
        "type": COG,
        "roles": ["cloud", "cloud-shadow", "snow-ice", "water-mask"],
        "raster:bands": [quality],
    }
    facts = {
        "datetime": stamp(taken.sky.when, 6),
        "gsd": 30,
        "platform": f"landsat-{taken.satellite}",
        "instruments": ["oli", "tirs"],
        "proj:epsg": grid.epsg,
        "eo:cloud_cover": shares["cloud"],
        "landsat:cloud_cover_land": shares["cloud"],
        "landsat:wrs_path": "192",
        "landsat:wrs_row": "026",
        "landsat:wrs_type": "2",
        "landsat:correction": "L2SP",
        "landsat:collection_number": "02",
        "landsat:collection_category": "T1",
        "landsat:scene_id": f"LC{taken.satellite}192026{taken.sky.when:%Y%j}LGN00",
        "view:off_nadir": 0,
        "view:sun_azimuth": taken.sky.sun_azimuth_deg,
        "view:sun_elevation": taken.sky.sun_elevation_deg,
        "created": stamp(taken.sky.when + timedelta(days=9)),
    } | place_of(grid)
    identity = f"LC0{taken.satellite}_L2SP_192026_{taken.sky.when:%Y%m%d}_02_T1"
    extensions = ("raster/v1.1.0", "eo/v1.0.0", "view/v1.0.0", "projection/v1.1.0", "landsat/v1.1.1")
    return item(identity, "landsat-c2-l2", grid.footprint(), facts, assets, extensions)


def enmap_l2a(scenery: Scenery, shares: Mapping[str, float]) -> Json:
    """DLR EOC's ENMAP_HSI_L2A layout: EPSG null on the item and given on each asset, numbers written as text."""
    grid = enmap_grid(scenery)
    place = {"proj:epsg": grid.epsg} | place_of(grid, box=True)
    bands = [
        {
            "name": i,
            "center_wavelength": round(centre * 1000, 6),
            "full_width_half_max": round(width * 1000, 6),
            "enmap:gain_of_band": 0.0001,
            "enmap:offset_of_band": 0,
        }
        for i, (centre, width) in enumerate(ENMAP_BANDS, 1)
    ]
    assets: Json = {
        "image": {
            "href": "enmap/SPECTRAL_IMAGE_COG.TIF",
            "type": COG,
            "title": "Spectral Image",
            "roles": ["data"],
            "eo:bands": bands,
        }
        | place
    }
    keys = dict(zip(QUALITY, ("cloud", "cloud_shadow", "cirrus", "haze", "snow"), strict=True)) | {"CLASSES": "classes"}
    for name, key in keys.items():
        number: Json = {"data_type": "uint8", "scale": 1.0, "offset": 0.0, "sampling": "area"}
        if key == "classes":
            number["nodata"] = 3.0
        assets[f"quality_{key}"] = {
            "href": f"enmap/QL_QUALITY_{name}_COG.TIF",
            "type": COG,
            "roles": ["quality"],
            "raster:bands": [number],
        } | place
    when = ENMAP_SKY.when
    made = when + timedelta(hours=28)
    facts = {
        "version": "01.04.02",
        "datetime": f"{when:%Y-%m-%dT%H:%M:%SZ}",
        "start_datetime": stamp(when, 6),
        "end_datetime": stamp(when + timedelta(seconds=4.4), 6),
        "created": stamp(made),
        "updated": stamp(made),
        "platform": "enmap",
        "proj:epsg": None,
        "sat:relative_orbit": "1507",
        "sat:orbit_state": "DESCENDING",
        "eo:cloud_cover": f"{shares['cloud']:.0f}",
        "eo:snow_cover": f"{shares['snow']:.0f}",
        "view:sun_azimuth": ENMAP_SKY.sun_azimuth_deg,
        "view:sun_elevation": ENMAP_SKY.sun_elevation_deg,
        "processing:level": "L2A",
        "enmap:cirrus_cover": "0",
        "enmap:cloud_shadow": f"{shares['shadow']:.0f}",
        "enmap:datatakeID": "0000027311",
        "enmap:nodata": "-32768",
        "enmap:overallQuality": "0",
        "enmap:processingDate": stamp(made, 6),
        "enmap:tileID": "01",
        "enmap:water_cover": f"{shares['water']:.0f}",
        "eo:instrument": "HSI",
    }
    identity = f"ENMAP01-____L2A-DT0000027311_{when:%Y%m%dT%H%M%SZ}_001_V010402_{made:%Y%m%dT%H%M%SZ}"
    extensions = ("eo/v1.1.0", "view/v1.0.0", "projection/v1.0.0", "sat/v1.0.0", "raster/v1.1.0", "processing/v1.1.0")
    return item(identity, "ENMAP_HSI_L2A", grid.footprint(), facts, assets, extensions)
