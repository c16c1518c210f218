"""Checks the decoded size of a stored block before GDAL decodes it.

If a block decodes to too few bytes, libtiff leaves the rest of its buffer unchanged, with old memory contents: for
plain blocks, for JPEG, and for deflate where a stored run is longer than the buffer. LZW, PackBits, LZMA, ZSTD, WebP
and LERC that come out too short are its errors (tests hold every codec to that).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import rasterio
from rasterio.io import MemoryFile
from rasterio.windows import Window

from pipelines.access.http.client import AccessError
from pipelines.access.rasters.crs import GDAL_ERRORS
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.access.rasters.tiff import Block, Directory

_PLAIN, _JPEG, _DEFLATE = 1, 7, (8, 32946)
"""TIFF's numbers of codecs; Adobe's and the older number of deflate."""
_TABLES = 347
_PADDING_BYTES = 16 << 20
"""More than a block's pixels that a deflate stream may unfold to: some writers pad the last strip to full height."""
_MAX_JPEG_PX = 1 << 26
"""Largest JPEG picture; that of a last strip may be taller than what is left of the image."""
_STEP_BYTES = 1 << 20
_START, _END = b"\xff\xd8", b"\xff\xd9"
"""Markers SOI and EOI (ITU-T T.81, table B.1)."""
_FRAMES = frozenset((*range(0xC0, 0xD0),)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the markers SOF: what follows says how large the picture is (ITU-T T.81, B.2.2)."""


def sound(image: Directory, block: Block, raw: bytes, read: Callable[[int, int], bytes]) -> bytes:
    """A block that is safe for GDAL to decode: as stored, or for deflate with exactly the bytes that it needs.

    Of the codecs in use deflate carries a check sum (Adler-32) that GDAL does not look at: measured, one flipped byte
    in eight gives other pixels and no error. It is verified here. LERC verifies its own; LZW, ZSTD, LZMA, PackBits and
    plain blocks have none.

    Args:
        image: The image.
        block: Which block of it.
        raw: The block as it is stored.
        read: Bytes of the file, for tables that its blocks share.

    Raises:
        AccessError: CORRUPT.
    """
    due = image.stored_bytes(image.rows_of(block))
    if image.compression in _DEFLATE:
        return _exact(raw, due)
    if image.compression == _JPEG:
        _check_jpeg(image, block, raw, image.tag(_TABLES, read) or b"")
    elif image.compression == _PLAIN and len(raw) < due:
        raise _corrupt(f"holds {len(raw)} of {due} bytes")
    return raw


def _exact(raw: bytes, due: int) -> bytes:
    """A deflate stream of exactly `due` bytes: the given one, or an uncompressed one if the given one holds more."""
    came = sum(len(piece) for piece in _unfolded(raw, due))
    if came < due:
        raise _corrupt(f"holds {came} of {due} bytes")
    if came == due:
        return raw
    pixels = bytearray()
    for piece in _unfolded(raw, due):
        pixels += piece[: due - len(pixels)]
    return zlib.compress(pixels, 0)


def _unfolded(raw: bytes, due: int) -> Iterator[bytes]:
    """Decompresses a deflate stream piece by piece to its end, and verifies its checksum.

    Raises:
        AccessError: CORRUPT: damaged, cut short, or far more than `due` bytes.
    """
    inflate, rest, came = zlib.decompressobj(), raw, 0
    while not inflate.eof:
        try:
            piece = inflate.decompress(rest, _STEP_BYTES)
        except zlib.error as error:
            raise _corrupt(f"is a damaged deflate stream: {error}") from None
        rest, came = inflate.unconsumed_tail, came + len(piece)
        if came > due + _PADDING_BYTES:
            raise _corrupt(f"decompresses to more than {due + _PADDING_BYTES} bytes, but its pixels take {due}")
        if not piece and not inflate.eof:
            raise _corrupt(f"is a deflate stream that ends after {came} of {due} bytes")
        yield piece


def _check_jpeg(image: Directory, block: Block, raw: bytes, tables: bytes) -> None:
    """Refuse a JPEG that is smaller than its block or ends early: the missing pixels would be undefined memory."""
    rows = min(image.rows_of(block), image.height - block[1] * image.block_height)
    columns = min(image.block_width, image.width - block[2] * image.block_width)
    height, width = _jpeg_size(raw)
    if height < rows or width < columns:
        raise _corrupt(f"is a JPEG image of {width} x {height} pixels, expected {columns} x {rows}")
    if (image.tiled and height > image.block_height) or width > image.block_width or height * width > _MAX_JPEG_PX:
        raise _corrupt(f"is a JPEG image of {width} x {height} pixels, larger than its block")
    whole = (tables[: -len(_END)] if tables.endswith(_END) else _START) + raw[len(_START) :]
    try:
        strict = rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING="YES")
        with strict, MemoryFile(whole) as file, file.open(driver="JPEG") as picture:
            picture.read(window=Window(0, 0, columns, rows))
    except GDAL_ERRORS:
        raise _corrupt("is a JPEG image that is damaged or truncated") from None


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    """(rows, columns) that a JPEG picture says it has."""
    at = len(_START)
    while raw.startswith(_START) and at + 9 <= len(raw) and raw[at] == 0xFF:
        if raw[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        if raw[at + 1] in _FRAMES:
            return int.from_bytes(raw[at + 5 : at + 7], "big"), int.from_bytes(raw[at + 7 : at + 9], "big")
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    raise _corrupt("is not a JPEG image")


def _corrupt(what: str) -> AccessError:
    return AccessError(Reason.CORRUPT, what)
