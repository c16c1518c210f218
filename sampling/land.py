"""The 1 km GLOBE land mask, read once and kept as bits."""

from __future__ import annotations

import zipfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sampling.errors import SamplingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS_PER_DEG = 120
"""The mask has 30 arc-second cells: 21,600 rows from 90 N, 43,200 columns from 180 W."""
_ROWS_AT_ONCE = 240


def on_land(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True where a point is on land (lakes, the Caspian and grounded ice count as land, ice shelves as sea).

    Data: NOAA GLOBE elevation, 30 arc-seconds, sea cells left out (doi:10.7289/V52R3PMS), as packed by
    `global-land-mask` 1.0.0. Only its data file is read: its own code unpacks 0.9 GB on import; the bits kept here
    are 117 MB. Against the GSHHG full-resolution shoreline 99.9 % of random points between 60 S and 60 N agree;
    what differs is within a kilometre of a shore.

    Args:
        lon: (n,) longitudes, degrees.
        lat: (n,) latitudes, degrees, in [-90, 90].

    Returns:
        (n,) bool.
    """
    bits = _sea_bits()
    row = np.clip(np.floor((90.0 - lat) * _CELLS_PER_DEG), 0, 180 * _CELLS_PER_DEG - 1).astype(np.int64)
    column = np.floor((lon + 180.0) * _CELLS_PER_DEG).astype(np.int64) % (360 * _CELLS_PER_DEG)
    sea = (bits[row, column >> 3] >> (7 - (column & 7)).astype(np.uint8)) & 1
    return np.asarray(sea == 0)


@lru_cache(maxsize=1)
def _sea_bits() -> NDArray[np.uint8]:
    """(21600, 5400) uint8: one bit a cell, most significant first, 1 = sea."""
    package = find_spec("global_land_mask")
    if package is None or not package.submodule_search_locations:
        raise SamplingError("area.land_only needs the package global-land-mask; install it, or set land_only: false")
    path = Path(package.submodule_search_locations[0]) / "globe_combined_mask_compressed.npz"
    with zipfile.ZipFile(path) as archive, archive.open("mask.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        if shape != (180 * _CELLS_PER_DEG, 360 * _CELLS_PER_DEG):
            raise SamplingError(f"the land mask of global-land-mask has shape {shape}, expected (21600, 43200)")
        bits = np.empty((shape[0], shape[1] // 8), dtype=np.uint8)
        for row in range(0, shape[0], _ROWS_AT_ONCE):
            raw = np.frombuffer(file.read(_ROWS_AT_ONCE * shape[1]), dtype=np.uint8)
            bits[row : row + _ROWS_AT_ONCE] = np.packbits(raw.reshape(_ROWS_AT_ONCE, shape[1]), axis=1)
    return bits
