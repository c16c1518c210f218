"""The fast way from a stored block to pixels: deflate with or without a predictor, by libdeflate, check sum included.

Most rasters of the archives are deflate. libdeflate is two to three times faster than zlib and, other than GDAL,
verifies the Adler-32 of each block. Whatever is unusual here (byte order, bits, interleaving, a stream of another
length, damage) is left to GDAL's way in `pipelines.access.raster`, which then says what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.access.tiff import Directory

_BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _PREDICTOR = 258, 259, 262, 266, 317
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

    def decode(self, raw: bytes | memoryview, rows: int) -> NDArray[Any] | None:
        """Pixels (band, y, x) of a block of `rows` rows; None where GDAL must look at it."""
        shape = (rows, self.width, self.samples)
        packed = np.empty(rows * self.width * self.samples, self.dtype)
        try:
            found = imagecodecs.deflate_decode(raw, out=packed.view(np.uint8))  # type: ignore[arg-type]
        except (imagecodecs.DeflateError, ValueError, RuntimeError):
            return None
        if len(found) != packed.nbytes:
            return None
        pixels: NDArray[Any] = packed.reshape(shape)
        if self.predictor == 2:
            pixels = imagecodecs.delta_decode(pixels, axis=1, out=pixels)
        elif self.predictor == 3:
            pixels = imagecodecs.floatpred_decode(pixels[:, :, 0], axis=-1)[:, :, None]
        return pixels.transpose(2, 0, 1)


def deflate_of(image: Directory, dtype: np.dtype[Any]) -> Deflate | None:
    """How blocks of this image can be decoded here; None = not at all.

    Args:
        image: The image.
        dtype: The pixels' dtype as GDAL reads the file.
    """
    if _number(image, _COMPRESSION, 1) not in _DEFLATE or image.order != "<" or dtype.kind not in "uif":
        return None
    bits = _number(image, _BITS, 1)
    if bits is None and (dtype.itemsize == 1 or image.sample_bytes != dtype.itemsize):
        return None
    if bits is not None and bits != 8 * dtype.itemsize:
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
    """First number of a tag; None where it is not in the directory itself."""
    tag = image.tags.get(code)
    if tag is None:
        return default
    if tag.raw is None or tag.kind not in (3, 4):
        return None
    size = 2 if tag.kind == 3 else 4
    return int.from_bytes(tag.raw[:size], "little" if image.order == "<" else "big")
