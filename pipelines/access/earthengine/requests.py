"""Cutting one chip into requests that Earth Engine accepts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemas.place import GeoBox

MAX_BYTES = 50_331_648
"""'Total request size must be less than or equal to 50331648 bytes' (google/Xee#50)."""
MAX_SIDE_PX = 32_768
"""'Pixel grid dimensions must be less than or equal to 32768' (google/Xee#85)."""
MAX_BANDS = 1_024
"""https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels"""
MASK_BYTES = 1
"""The service counts one mask byte per pixel and band (google/Xee#209)."""
BANDS_PER_REQUEST = 32
"""Validity of up to this many bands travels as bits of one more band; so MAX_BANDS is never reached."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a chip that one request brings."""

    bands: slice
    """Of the chip's bands."""
    rows: slice
    columns: slice

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.columns.stop - self.columns.start)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.rows.stop - self.rows.start)

    def grid(self, geobox: GeoBox) -> dict[str, Any]:
        """The PixelGrid of the request."""
        step = geobox.resolution_m
        return {
            "dimensions": {"width": self.width, "height": self.height},
            "affineTransform": {
                "scaleX": step,
                "shearX": 0,
                "translateX": geobox.x_min + self.columns.start * step,
                "shearY": 0,
                "scaleY": -step,
                "translateY": geobox.y_max - self.rows.start * step,
            },
            "crsCode": f"EPSG:{geobox.epsg}",
        }

    def halves(self) -> tuple[Piece, Piece] | None:
        """The two halves of the piece, cut across its longer side; None if it is too small to cut."""
        if self.width * self.height <= 64 * 64:
            return None
        if self.height >= self.width:
            middle = self.rows.start + self.height // 2
            return (
                Piece(self.bands, slice(self.rows.start, middle), self.columns),
                Piece(self.bands, slice(middle, self.rows.stop), self.columns),
            )
        middle = self.columns.start + self.width // 2
        return (
            Piece(self.bands, self.rows, slice(self.columns.start, middle)),
            Piece(self.bands, self.rows, slice(middle, self.columns.stop)),
        )


def bits_dtype(bands: int) -> np.dtype[Any]:
    """Smallest type that has a bit for each band of a request."""
    return np.dtype("uint8" if bands <= 8 else "uint16" if bands <= 16 else "uint32")


def pixel_bytes(bands: int, dtype: np.dtype[Any]) -> int:
    """Bytes of one pixel of a request as the service counts them: bands, the band of validity bits, and masks."""
    return bands * (dtype.itemsize + MASK_BYTES) + bits_dtype(bands).itemsize + MASK_BYTES


def pieces(geobox: GeoBox, bands: int, dtype: np.dtype[Any]) -> Iterator[Piece]:
    """Requests for a chip: groups of bands, then stripes, then columns, as few as the limits allow."""
    groups = -(-bands // BANDS_PER_REQUEST)
    for first, last in _cuts(bands, groups):
        size = pixel_bytes(last - first, dtype)
        across = -(-geobox.width // MAX_SIDE_PX)
        widest = -(-geobox.width // across)
        tallest = min(MAX_SIDE_PX, MAX_BYTES // (widest * size))
        for top, bottom in _cuts(geobox.height, -(-geobox.height // tallest)):
            for left, right in _cuts(geobox.width, across):
                yield Piece(slice(first, last), slice(top, bottom), slice(left, right))


def _cuts(length: int, parts: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of nearly equal parts."""
    yield from pairwise(length * i // parts for i in range(parts + 1))
