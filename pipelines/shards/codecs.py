"""Compression of the inner chunks per kind of array; docs/codecs.md has the measurements.

Blosc alone, because zarr-python, tensorstore and GDAL all read it. Blosc compresses block by block, and the blocks it
chooses by itself (32 kB at zstd's level 1) are so small that zstd loses a tenth of its ratio and a third of its speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from landweave.layout import CodecSpec

if TYPE_CHECKING:
    from schemas.modality import Kind

KIB = 1 << 10
SPECTRAL_BANDS = 64
"""Arrays with at least this many bands hold one spectrum per pixel: the largest and most compressible arrays."""

NUMBERS = CodecSpec(cname="lz4hc", level=5, shuffle="shuffle", block_bytes=256 * KIB)
"""Reflectance and heights: decodes 2.7 times as fast as zstd and is a twentieth larger. It encodes at 50 MB/s, once,
for a quarter more speed than level 2 has at every reading, and 4 % less to store and to send."""
BACKSCATTER = CodecSpec(cname="lz4hc", level=2, shuffle="shuffle", block_bytes=256 * KIB)
"""Speckle has little to be found: level 5 is 1 % smaller and takes ten times as long to encode."""
SPECTRA = CodecSpec(cname="zstd", level=1, shuffle="shuffle", block_bytes=1024 * KIB)
"""Hundreds of bands that resemble one another: lz4 finds half of what zstd finds."""
CODES = CodecSpec(cname="lz4hc", level=5, shuffle="noshuffle", block_bytes=256 * KIB)
"""Classes, bit fields and masks: runs of equal values, which any filter breaks up."""

SMALL_NUMBERS = CodecSpec(cname="zstd", level=3, shuffle="shuffle", block_bytes=1024 * KIB)
SMALL_FLOATS = CodecSpec(cname="zstd", level=3, shuffle="bitshuffle", block_bytes=1024 * KIB)
"""Backscatter: bits of the mantissa that are seldom set fold away."""
SMALL_CODES = CodecSpec(cname="zstd", level=3, shuffle="noshuffle", block_bytes=1024 * KIB)


def codec_of(
    kind: Kind | Literal["mask"], dtype: str, unit: str, bands: int, aim: Literal["balanced", "small"]
) -> CodecSpec:
    """The codec of an array.

    Args:
        kind: what its values are.
        dtype: numpy dtype name.
        unit: of its values; heights are in 'm'.
        bands: how many it has.
        aim: the recipe's `shards.codec`.
    """
    small = aim == "small"
    if kind != "continuous":
        return SMALL_CODES if small else CODES
    rough = dtype.startswith("float") and unit != "m"
    if small:
        return SMALL_FLOATS if rough else SMALL_NUMBERS
    if bands >= SPECTRAL_BANDS:
        return SPECTRA
    return BACKSCATTER if rough else NUMBERS
