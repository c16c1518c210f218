"""Footprints of single points, and the UTM zone of one point written out as the standard has it."""

from __future__ import annotations

import math

import numpy as np

from sampling.geobox import place_footprints
from schemas.grid import GridSpec
from schemas.place import GeoBox


def geobox_at(lon: float, lat: float, grid: GridSpec) -> GeoBox:
    return place_footprints(np.array([lon]), np.array([lat]), grid).geobox(0, grid.resolution_m)


def utm_epsg(lon: float, lat: float) -> int:
    """EPSG code of the UTM zone of a point (WGS 84 degrees), with the Norway and Svalbard exceptions; UPS beyond.

    UPS north (32661) from 84 degrees N, UPS south (32761) below 80 degrees S: the limits of UTM,
    NGA.SIG.0012 (2014) sections 7 and 10. Zone exceptions 32V, 31X-37X: the same source, section 7-4.
    """
    if not (-90.0 <= lat <= 90.0):
        raise ValueError(f"latitude {lat} is outside [-90, 90]")
    if lat >= 84.0:
        return 32661
    if lat < -80.0:
        return 32761
    lon = (lon + 180.0) % 360.0 - 180.0
    zone = min(math.floor((lon + 180.0) / 6.0) + 1, 60)
    if 56.0 <= lat < 64.0 and 3.0 <= lon < 12.0:
        zone = 32
    elif lat >= 72.0 and 0.0 <= lon < 42.0:
        zone = 31 if lon < 9.0 else 33 if lon < 21.0 else 35 if lon < 33.0 else 37
    return (32600 if lat >= 0.0 else 32700) + zone
