"""STAC items of the optical and radar scenes, laid out as each provider lays out its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from schemas.enmap_bands import ENMAP_BANDS
from schemas.modality import LANDSAT, SENTINEL2
from testbed.enmap import QUALITY, enmap_grid
from testbed.landsat import OFFSET, SCALE, landsat_grid
from testbed.overpasses import ENMAP_SKY, TILES, ZONES
from testbed.sentinel2 import RESOLUTION_OF

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from testbed.overpasses import LandsatPass, Sentinel1Pass, Sentinel2Pass
    from testbed.plane import Grid
    from testbed.world import Scenery

Json = dict[str, Any]
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
ES_KEYS = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
}
"""Band -> Earth Search v1 asset key."""
LANDSAT_KEYS = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22")
"""Planetary Computer asset keys of SR_B1..SR_B7."""
_SCL_NAMES = {
    "0": "nodata_pixel",
    "2": "dark_features",
    "3": "cloud_shadow",
    "4": "vegetation",
    "5": "not_vegetated",
    "6": "water",
    "7": "unclassified",
    "8": "medium_proba_clouds",
    "9": "high_proba_clouds",
    "10": "thin_cirrus",
    "11": "snow_ice",
}


def stamp(when: datetime, digits: int = 3) -> str:
    """RFC 3339 in UTC with a fraction of so many digits."""
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


def _place(grid: Grid, *, box: bool = False) -> Json:
    found: Json = {"proj:shape": [grid.height, grid.width], "proj:transform": [*grid.transform[:6]]}
    return found | ({"proj:bbox": list(grid.bounds)} if box else {})


def _swath(grid: Grid, taken: Sentinel2Pass, zone: int) -> list[list[float]]:
    """Footprint of the observed part, as `sentinel2.observe` cuts it."""
    ring = grid.footprint()
    if zone not in taken.edge:
        return ring
    top, bottom = (replace(grid, width=round(grid.width * share)).footprint() for share in (0.76, 0.96))
    return [ring[0], bottom[1], top[2], ring[3], ring[0]]


def _sentinel2_facts(taken: Sentinel2Pass, zone: int, shares: Mapping[str, float]) -> Json:
    mgrs, made, when = TILES[zone], f"{taken.made:%Y%m%dT%H%M%S}", f"{taken.sky.when:%Y%m%dT%H%M%S}"
    oper, absolute = f"{taken.platform}_OPER_MSI_L2A", f"{taken.absolute_orbit:06d}"
    base = taken.baseline.replace(".", "")
    uri = f"{taken.platform}_MSIL2A_{when}_N{base}_R{taken.orbit:03d}_T{mgrs}_{made}.SAFE"
    facts = {f"s2:{name}_percentage": shares[code] for code, name in _SCL_NAMES.items()}
    return facts | {
        "datetime": stamp(taken.sky.when),
        "eo:cloud_cover": round(sum(shares[c] for c in ("8", "9", "10")), 6),
        "instruments": ["msi"],
        "s2:product_uri": uri,
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": taken.baseline,
        "s2:generation_time": stamp(taken.made, 6),
        "s2:datatake_id": f"G{taken.platform}_{when}_{absolute}_N{taken.baseline}",
        "s2:datatake_type": "INS-NOBS",
        "s2:datastrip_id": f"{oper}_DS_VGS4_{made}_S{when}_N{taken.baseline}",
        "s2:granule_id": f"{oper}_TL_VGS4_{made}_A{absolute}_T{mgrs}_N{taken.baseline}",
        "s2:degraded_msi_data_percentage": 0.0,
        "s2:saturated_defective_pixel_percentage": 0.0,
    }


def sentinel2_planetary_computer(
    scenery: Scenery, taken: Sentinel2Pass, zone: int, shares: Mapping[str, float]
) -> Json:
    """Planetary Computer's layout: pixels as ESA made them, no word about the offset but the baseline."""
    tile, mgrs = scenery.layout.tile(zone), TILES[zone]
    folder = f"sentinel2/{taken.name}_T{zone}"
    assets: Json = {}
    for band in (b for layer in SENTINEL2.layers for b in layer.bands):
        gsd = RESOLUTION_OF[band.name]
        asset = {"href": f"{folder}/{band.name}.tif", "type": COG, "roles": ["data"], "gsd": float(gsd)}
        asset |= _place(tile.coarser(gsd // 10), box=True)
        if band.name != "SCL":
            asset["eo:bands"] = [
                {"name": band.name, "common_name": band.common_name, "center_wavelength": band.center_um}
            ]
        assets[band.name] = asset
    facts = _sentinel2_facts(taken, zone, shares) | {
        "platform": f"Sentinel-2{taken.platform[-1]}",
        "constellation": "Sentinel 2",
        "proj:epsg": tile.epsg,
        "s2:mgrs_tile": mgrs,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": taken.orbit,
        "s2:mean_solar_zenith": 90.0 - taken.sky.sun_elevation_deg,
        "s2:mean_solar_azimuth": taken.sky.sun_azimuth_deg,
    }
    identity = (
        f"{taken.platform}_MSIL2A_{taken.sky.when:%Y%m%dT%H%M%S}_R{taken.orbit:03d}_T{mgrs}_{taken.made:%Y%m%dT%H%M%S}"
    )
    ring = _swath(tile, taken, zone)
    return item(identity, "sentinel-2-l2a", ring, facts, assets, ("eo/v1.0.0", "sat/v1.0.0", "projection/v1.1.0"))


def sentinel2_earth_search(
    scenery: Scenery, taken: Sentinel2Pass, zone: int, shares: Mapping[str, float], older: Sentinel2Pass | None
) -> Json:
    """Earth Search v1's layout.

    Args:
        scenery: the world.
        taken: the processing.
        zone: 32 or 33.
        shares: SCL shares.
        older: an earlier processing of the same datatake without the offset: as the archive does, this item then says
            `earthsearch:boa_offset_applied` and its pixels carry no offset; they are the same numbers as the older's.
    """
    tile, mgrs = scenery.layout.tile(zone), TILES[zone]
    applied = older is not None and taken.offset_dn > 0
    folder = f"sentinel2/{(older if older is not None and applied else taken).name}_T{zone}"
    # Earth Search writes this offset for every baseline from 04.00 on, also where it has been applied to the pixels
    said = -0.1 if taken.offset_dn else 0
    assets: Json = {}
    for band, key in ES_KEYS.items():
        gsd = RESOLUTION_OF[band]
        numbers = {
            "nodata": 0,
            "data_type": "uint16",
            "bits_per_sample": 15,
            "spatial_resolution": gsd,
            "scale": 0.0001,
        }
        asset = {"href": f"{folder}/{band}.tif", "type": COG, "roles": ["data", "reflectance"], "gsd": gsd}
        asset |= _place(tile.coarser(gsd // 10)) | {"raster:bands": [numbers | {"offset": said}]}
        spectral = next(b for layer in SENTINEL2.layers for b in layer.bands if b.name == band)
        eo = {"name": key, "center_wavelength": spectral.center_um, "full_width_half_max": spectral.fwhm_um}
        assets[key] = asset | {"eo:bands": [eo]}
    scl = {"href": f"{folder}/SCL.tif", "type": COG, "roles": ["data", "reflectance"]} | _place(tile.coarser(2))
    assets["scl"] = scl | {"raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}]}
    sequence = "0" if older is None else "1"
    facts = _sentinel2_facts(taken, zone, shares) | {
        "platform": f"sentinel-2{taken.platform[-1].lower()}",
        "constellation": "sentinel-2",
        "proj:epsg": tile.epsg,
        "mgrs:utm_zone": zone,
        "mgrs:latitude_band": mgrs[2],
        "mgrs:grid_square": mgrs[3:],
        "grid:code": f"MGRS-{mgrs}",
        "view:sun_azimuth": taken.sky.sun_azimuth_deg,
        "view:sun_elevation": taken.sky.sun_elevation_deg,
        "s2:sequence": sequence,
        "earthsearch:boa_offset_applied": applied,
        "created": stamp(taken.made + timedelta(hours=3)),
        "updated": stamp(taken.made + timedelta(hours=3)),
    }
    identity = f"{taken.platform}_{mgrs}_{taken.sky.when:%Y%m%d}_{sequence}_L2A"
    extensions = ("eo/v1.1.0", "raster/v1.1.0", "projection/v1.1.0", "view/v1.0.0", "mgrs/v1.0.0", "grid/v1.0.0")
    return item(identity, "sentinel-2-l2a", _swath(tile, taken, zone), facts, assets, extensions)


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
    facts |= _place(tile, box=True)
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
    } | _place(grid)
    identity = f"LC0{taken.satellite}_L2SP_192026_{taken.sky.when:%Y%m%d}_02_T1"
    extensions = ("raster/v1.1.0", "eo/v1.0.0", "view/v1.0.0", "projection/v1.1.0", "landsat/v1.1.1")
    return item(identity, "landsat-c2-l2", grid.footprint(), facts, assets, extensions)


def enmap_l2a(scenery: Scenery, shares: Mapping[str, float]) -> Json:
    """DLR EOC's ENMAP_HSI_L2A layout: EPSG null on the item and given on each asset, numbers written as text."""
    grid = enmap_grid(scenery)
    place = {"proj:epsg": grid.epsg} | _place(grid, box=True)
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
