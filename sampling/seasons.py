"""Seasons: the meteorological season of a month at a latitude."""

from __future__ import annotations

from typing import Literal

Season = Literal["winter", "spring", "summer", "autumn", "tropics"]

TROPIC_DEG = 23.436
"""Latitude of the tropics: the obliquity of the ecliptic in 2020-2030, 23.436 degrees (IAU 2006, P03)."""

_NORTHERN: tuple[Season, ...] = ("winter", "spring", "summer", "autumn")


def season(month: int, lat: float) -> Season:
    """Meteorological season: whole months, December to February is the northern winter and the southern summer.

    Between the tropics temperature does not make four seasons: the answer there is 'tropics'.

    Args:
        month: 1..12, UTC.
        lat: latitude, degrees north.

    Raises:
        ValueError: month or latitude out of range.
    """
    if not 1 <= month <= 12:
        raise ValueError(f"month must be 1..12, got {month}")
    if not -90.0 <= lat <= 90.0:
        raise ValueError(f"latitude {lat} is outside [-90, 90]")
    if abs(lat) <= TROPIC_DEG:
        return "tropics"
    quarter = month % 12 // 3
    return _NORTHERN[quarter if lat > 0 else (quarter + 2) % 4]
