"""Fast decoding of a stored block: deflate with or without a predictor, by libdeflate, with its checksum.

Most rasters of the archives are deflate. libdeflate is two to three times faster than zlib and, other than GDAL,
verifies the Adler-32 of each block. Unusual blocks (byte order, bits, interleaving, a stream of another
length, damage) are left to GDAL in `pipelines.access.rasters.raster`, which reports the error.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.access.rasters.tiff import Directory

_COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _PREDICTOR = 259, 262, 266, 317
_DEFLATE = (8, 32946)
"""Adobe's and the older number of the same codec."""
_PLAIN = (1, 2)
"""Photometric interpretations whose numbers are the pixels: black is zero, RGB."""


@dataclass(frozen=True, slots=True)
class Deflate:
    """Decodes the blocks of one image."""

    dtype: np.dtype[Any]
    width: int
    """Columns of a block."""
    samples: int
    """Bands that share a block."""
    predictor: int
    """TIFF predictor: 1 none, 2 horizontal differences, 3 floating point."""

    def decode(
        self, raw: bytes | memoryview, rows: int, needed: tuple[int, int, int], into: NDArray[np.uint8]
    ) -> NDArray[Any] | None:
        """Pixels (band, y, x) of a block of `rows` rows; None if GDAL must decode it.

        Args:
            raw: The block as it is stored.
            rows: Rows of the block.
            needed: (first row, row after the last, column after the last) of what is wanted: a predictor is undone
                there and no further, so that numbers elsewhere mean nothing.
            into: Room for the pixels, `self.bytes_of(rows)` bytes or more; what is returned lies in it.
        """
        packed = into[: self.bytes_of(rows)]
        try:
            found = imagecodecs.deflate_decode(raw, out=packed)  # type: ignore[arg-type]
        except (imagecodecs.DeflateError, ValueError, RuntimeError):
            return None
        if len(found) != packed.nbytes:
            return None
        pixels: NDArray[Any] = packed.view(self.dtype).reshape(rows, self.width, self.samples)
        first, last, right = needed
        if self.predictor == 2 and self.samples == 1:
            part = pixels[first:last, :right, 0]
            imagecodecs.delta_decode(part, axis=1, out=part)
        elif self.predictor == 2:
            part = pixels[first:last, :right]
            imagecodecs.delta_decode(part, axis=1, out=part)
        elif self.predictor == 3:
            _undo_floating_point(pixels[first:last, :, 0], right)
        return pixels.transpose(2, 0, 1)

    def bytes_of(self, rows: int) -> int:
        """Decoded bytes of a block."""
        return rows * self.width * self.samples * self.dtype.itemsize


def _undo_floating_point(rows: NDArray[Any], right: int) -> None:
    """Predictor 3 in place: differences of bytes along a row, most significant bytes of all its pixels first.

    Two and a half times as fast as imagecodecs.floatpred_decode, which goes byte by byte (measured, 1.7 and 4.3 ms).

    Args:
        rows: (y, x), as they are stored, contiguous.
        right: Columns that are wanted.
    """
    size = rows.dtype.itemsize
    stored = rows.view(np.uint8).copy()
    imagecodecs.delta_decode(stored, axis=1, out=stored)
    planes = stored.reshape(len(rows), size, -1)
    pixels = rows.view(np.uint8).reshape(len(rows), -1, size)
    little = sys.byteorder == "little"
    for i in range(size):
        pixels[:, :right, size - 1 - i if little else i] = planes[:, i, :right]


def deflate_of(image: Directory, dtype: np.dtype[Any]) -> Deflate | None:
    """Decoder for blocks of this image; None if there is none.

    Args:
        image: The image.
        dtype: The pixels' dtype as GDAL reads the file.
    """
    if _number(image, _COMPRESSION, 1) not in _DEFLATE or image.order != "<" or dtype.kind not in "uif":
        return None
    if image.bits != 8 * dtype.itemsize:
        return None
    predictor = _number(image, _PREDICTOR, 1)
    samples = 1 if image.separate else image.samples
    usual = predictor == 1 or (predictor == 2 and dtype.kind in "ui") or (predictor == 3 and dtype.kind == "f")
    if predictor is None or not usual or (predictor == 3 and samples > 1):
        return None
    if _number(image, _PHOTOMETRIC, 1) not in _PLAIN or _number(image, _FILL_ORDER, 1) != 1:
        return None
    return Deflate(dtype.newbyteorder("="), image.block_width, samples, predictor)


def _number(image: Directory, code: int, default: int) -> int | None:
    """First number of a tag; None if it is not in the directory itself."""
    tag = image.tags.get(code)
    if tag is None:
        return default
    if tag.raw is None or tag.kind not in (3, 4):
        return None
    size = 2 if tag.kind == 3 else 4
    return int.from_bytes(tag.raw[:size], "little" if image.order == "<" else "big")
