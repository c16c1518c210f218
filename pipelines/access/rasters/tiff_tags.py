"""Codes of the TIFF tags that are read (TIFF 6.0, BigTIFF, GeoTIFF, GDAL), and the sizes of their values."""

from __future__ import annotations

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes per value of each TIFF field type; 16 to 18 are BigTIFF's."""
LETTERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}
SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
SUBSAMPLING = 530
OFFSETS, COUNTS = (TILE_OFFSETS, STRIP_OFFSETS), (TILE_COUNTS, STRIP_COUNTS)
"""The lists of a file's blocks: some writers list tiles in the tags of strips, and GDAL reads them."""
DECODING = frozenset((
    SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, 266, 274, SAMPLES, ROWS_PER_STRIP, PLANAR,
    PREDICTOR, 320, TILE_WIDTH, TILE_LENGTH, 332, 334, EXTRA, FORMAT, 347, 529, SUBSAMPLING, 531, 532, 32995,
    32996, 42113, 50674,
))  # fmt: skip
"""Tags that say how blocks become pixels: with fill order, orientation, colour map, inks, tables of JPEG, parameters of
YCbCr and of LERC, and GDAL's nodata."""
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION = 33550, 33922, 34264
GEO = frozenset((PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, 34735, 34736, 34737, 42112))
"""Pixel scale, tie points, transformation, geo keys, GDAL metadata: describe the whole file, not blocks of it."""
DATE_TIME = 306
"""TIFFTAG_DATETIME: 'YYYY:MM:DD HH:MM:SS', without a time zone (TIFF 6.0)."""
KNOWN = DECODING | GEO | frozenset((*OFFSETS, *COUNTS, DATE_TIME))
"""All others (texts, sub-directories, EXIF, XMP, ICC, private ones) are nothing that pixels need: they are not read."""
