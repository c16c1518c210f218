"""Checks whether the coordinates in a file are longitude and latitude, for every way to state a CRS."""

from __future__ import annotations

from typing import Any

import pyproj

from sampling.errors import SamplingError

_MOST = 80
"""Characters of a CRS that a message shows."""


def is_lon_lat(crs: object) -> bool:
    """True where a CRS (EPSG code, name, PROJJSON) is longitude/latitude on WGS 84, whatever the order of its axes."""
    try:
        given = pyproj.CRS.from_user_input(crs)
    except (pyproj.exceptions.CRSError, TypeError, ValueError, OverflowError, AttributeError):
        return False
    return any(given.equals(pyproj.CRS.from_user_input(c), ignore_axis_order=True) for c in ("EPSG:4326", "OGC:CRS84"))


def check_geojson(name: str, document: dict[str, Any]) -> None:
    """Refuse a GeoJSON document whose `crs` is another; RFC 7946 knows none, GeoJSON 2008 and its writers many forms.

    Raises:
        SamplingError: says what was found.
    """
    said = document.get("crs")
    if said is None:
        return
    properties = said.get("properties", said) if isinstance(said, dict) else said
    if isinstance(properties, dict):
        code = properties.get("code")
        properties = properties.get("name", None if code is None else f"EPSG:{code}")
    if not is_lon_lat(properties):
        stated = ascii(properties if isinstance(properties, str) else said)[:_MOST]
        raise SamplingError(
            f"{name!r} is in another CRS ({stated}); expected longitude/latitude, reproject it to EPSG:4326"
        )
