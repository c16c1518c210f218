"""The 1 km GLOBE land mask, read once and no further south than asked; memory holds blocks that a shore crosses."""

from __future__ import annotations

import threading
import zipfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sampling.errors import SamplingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_CELLS_PER_DEG = 120
"""The mask has 30 arc-second cells: 21,600 rows from 90 N, 43,200 columns from 180 W."""
_ROWS, _COLUMNS = 180 * _CELLS_PER_DEG, 360 * _CELLS_PER_DEG
_BLOCK_ROWS, _BLOCK_BYTES = 60, 10
"""A block is 60 rows of 80 cells, half a degree high: blocks fill the mask exactly, and few of them have a shore."""


class _Sea:
    """The land mask in blocks, read from the north as far as it was asked for; blocks of only land or only sea are not
    stored pixel by pixel."""

    def __init__(self, path: Path) -> None:
        """`path`: the data file of `global-land-mask`."""
        self.block = np.zeros((_ROWS // _BLOCK_ROWS, _COLUMNS // 8 // _BLOCK_BYTES), dtype=np.int32)
        """(360, 540): row of `bits` that holds the block; row 0 is all land, row 1 is all sea."""
        plain = np.repeat(np.array([0, 255], dtype=np.uint8), _BLOCK_ROWS * _BLOCK_BYTES)
        self.bits = plain.reshape(2, _BLOCK_ROWS, -1)
        """(n, 60, 10): one bit per cell, most significant first, 1 = sea."""
        self._lines = enumerate(_lines(path))
        self._read = 0
        self._lock = threading.Lock()

    def at(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.bool_]:
        """True where the cell is sea; rows count from 90 N, columns from 180 W."""
        if row.size:
            self._reach(int(row.max()) // _BLOCK_ROWS + 1)
        byte = column >> 3
        which = self.block[row // _BLOCK_ROWS, byte // _BLOCK_BYTES]
        held = self.bits[which, row % _BLOCK_ROWS, byte % _BLOCK_BYTES]
        return np.asarray((held >> (7 - (column & 7)).astype(np.uint8)) & 1 == 1)

    def _reach(self, lines: int) -> None:
        """Read the first `lines` lines of blocks."""
        with self._lock:
            kept, count = [self.bits], len(self.bits)
            while self._read < lines:
                number, blocks = next(self._lines)
                line = self.block[number]
                line[:] = (blocks == 255).all(axis=(1, 2))
                shores = (line == 0) & blocks.any(axis=(1, 2))
                line[shores] = np.arange(count, count + shores.sum(), dtype=np.int32)
                kept.append(blocks[shores])
                count += len(kept[-1])
                self._read += 1
            if len(kept) > 1:
                self.bits = np.concatenate(kept)


def _lines(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Lines of blocks from the north, each (540, 60, 10)."""
    across = _COLUMNS // 8 // _BLOCK_BYTES
    with zipfile.ZipFile(path) as archive, archive.open("mask.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        if shape != (_ROWS, _COLUMNS):
            raise SamplingError(f"the land mask of global-land-mask has shape {shape}, expected {(_ROWS, _COLUMNS)}")
        for _ in range(_ROWS // _BLOCK_ROWS):
            raw = np.frombuffer(file.read(_BLOCK_ROWS * _COLUMNS), dtype=np.uint8).reshape(_BLOCK_ROWS, _COLUMNS)
            yield np.packbits(raw, axis=1).reshape(_BLOCK_ROWS, across, _BLOCK_BYTES).swapaxes(0, 1)


def on_land(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True where a point is on land (lakes, the Caspian and grounded ice count as land, ice shelves as sea).

    Data: NOAA GLOBE elevation, 30 arc-seconds, sea cells left out (doi:10.7289/V52R3PMS), as packed by
    `global-land-mask` 1.0.0. Only its data file is read: its own code unpacks 0.9 GB on import; the blocks kept
    here are 9 MB. Against the GSHHG full-resolution shoreline 99.9 % of random points between 60 S and 60 N agree;
    what differs is within a kilometre of a shore.

    Args:
        lon: (n,) longitudes, degrees.
        lat: (n,) latitudes, degrees, in [-90, 90].

    Returns:
        (n,) bool.
    """
    row = np.clip(np.floor((90.0 - lat) * _CELLS_PER_DEG), 0, 180 * _CELLS_PER_DEG - 1).astype(np.int64)
    column = np.floor((lon + 180.0) * _CELLS_PER_DEG).astype(np.int64) % (360 * _CELLS_PER_DEG)
    return ~_sea().at(row, column)


@lru_cache(maxsize=1)
def _sea() -> _Sea:
    package = find_spec("global_land_mask")
    if package is None or not package.submodule_search_locations:
        raise SamplingError("area.land_only needs the package global-land-mask; install it, or set land_only: false")
    return _Sea(Path(package.submodule_search_locations[0]) / "globe_combined_mask_compressed.npz")
