"""What another day does to a scene's numbers: one gain for the whole scene, that follows the season."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray


ROOT = "/archive/"
"""URL path of rasters that are made when asked for: /archive/YYYYMMDD/<path below the planet's files>; 'base' as the
day is the file itself."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """How one product's numbers change."""

    nodata: float | None
    """Fill value, which stays."""
    low: float
    """Least number written."""
    high: float
    """Largest number written."""
    added: bool = False
    """True = the season adds up to 12 units (temperatures); else it multiplies."""


CHANGES: dict[str, Change] = {
    "sentinel2": Change(nodata=0, low=1, high=16_000),
    "sentinel1": Change(nodata=-32768, low=0, high=1e9),
    "landsat": Change(nodata=0, low=1, high=65_455),
    "hls": Change(nodata=-9999, low=-2000, high=16_000),
    "enmap": Change(nodata=-32768, low=-1000, high=20_000),
    "naip": Change(nodata=None, low=1, high=255),
    "modis": Change(nodata=-28672, low=-100, high=16_000),
    "palsar": Change(nodata=0, low=1, high=65_535),
    "era5-temperature": Change(nodata=None, low=200, high=340, added=True),
    "era5-water": Change(nodata=None, low=-1, high=10),
}
"""First part of a file's path -> its product's numbers. Files of other folders (classes, bits) never change."""


def season(day: date) -> float:
    """-1 in winter to 1 in summer, and a number of the day's own within 0.2."""
    own = ((day.toordinal() * 2_654_435_761) % 2**32) / 2**32 - 0.5
    return math.sin(2 * math.pi * (day.timetuple().tm_yday - 110) / 365.25) + 0.4 * own


def gain(day: date) -> float:
    """Factor of a day, 0.86 to 1.14."""
    return 1.0 + 0.115 * season(day)


def change_of(path: str) -> Change | None:
    """The change of a file by its path below the planet's `files/`; None = it is the same on every day."""
    name, product = path.rsplit("/", 1)[-1], path.split("/", 1)[0]
    same = any(mark in name for mark in ("SCL", "QA_PIXEL", "Fmask", "QL_"))
    return None if same else CHANGES.get(product)


def changed(path: str, day: date, raw: NDArray[Any]) -> NDArray[Any]:
    """A file's numbers on another day, of the same dtype; a harmonised offset (baseline 04.00) is kept."""
    how = change_of(path)
    if how is None:
        return raw
    offset = 1000.0 if "_N0400_" in path else 0.0
    number = raw.astype(np.float64)
    made = number + 12.0 * season(day) if how.added else offset + (number - offset) * gain(day)
    made = np.clip(made, how.low, how.high)
    made = made if raw.dtype.kind == "f" else np.rint(made)
    return (made if how.nodata is None else np.where(number == how.nodata, number, made)).astype(raw.dtype)
