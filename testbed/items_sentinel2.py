"""STAC items of Sentinel-2 L2A, in the layouts of Planetary Computer and Earth Search."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from schemas.modality import SENTINEL2
from testbed.items import COG, item, place_of, stamp
from testbed.overpasses import TILES
from testbed.sentinel2 import RESOLUTION_OF

if TYPE_CHECKING:
    from collections.abc import Mapping

    from testbed.overpasses import Sentinel2Pass
    from testbed.plane import Grid
    from testbed.world import Scenery

Json = dict[str, Any]
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
        asset |= place_of(tile.coarser(gsd // 10), box=True)
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
        asset |= place_of(tile.coarser(gsd // 10)) | {"raster:bands": [numbers | {"offset": said}]}
        spectral = next(b for layer in SENTINEL2.layers for b in layer.bands if b.name == band)
        eo = {"name": key, "center_wavelength": spectral.center_um, "full_width_half_max": spectral.fwhm_um}
        assets[key] = asset | {"eo:bands": [eo]}
    scl = {"href": f"{folder}/SCL.tif", "type": COG, "roles": ["data", "reflectance"]} | place_of(tile.coarser(2))
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
