"""TIFF directories read from a few bytes, and small TIFFs made of chosen blocks, for GDAL to decode from memory.

Only the skeleton of a file is read here (TIFF 6.0, BigTIFF): where each block lies and how the file describes itself.
Decoding stays GDAL's: the chosen blocks, as they came, are put under a copy of the file's own tags, so that every
codec, predictor and byte order that GDAL reads works, and a block that was not fetched cannot be read as zeros.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.http import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

Block = tuple[int, int, int]
"""(plane, row, column) of a tile or strip; plane is 0 where all bands share a block."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes per value of each TIFF field type; 16 to 18 are BigTIFF's."""
_LETTERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q", 18: "Q"}

_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_GEO = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 50844)
"""Pixel scale, tie points, transformation, geo keys, GDAL metadata, RPC: describe the whole file, not blocks of it."""
_PER_SAMPLE = (_BITS, 280, 281, _FORMAT, 340, 341)
_DROPPED = frozenset((270, 305, 306, 330, 34665, 34853, 700, 33723, 34377, 34675))
"""Texts, sub-directories, EXIF, XMP, ICC: nothing that decoding needs."""

_DEFLATE = (8, 32946)
"""Adobe's and the older number of the same codec."""
_SLACK_BYTES = 1 << 16
"""More than a block's pixels that a stream may hold, for writers that pad."""
_PREDICTOR = 317
_CODECS = (1, 5, 7, 8, 32773, 32946, 34887, 34925, 50000, 50001)
"""None, LZW, JPEG, deflate, PackBits, deflate (old), LERC, LZMA, ZSTD, WebP. libtiff's others are of fax and film."""
_MAX_DIRECTORIES = 64
_MAX_ENTRIES = 1024
_MAX_BLOCKS = 1 << 22
_MAX_TAG_BYTES = 1 << 27
_MAX_BLOCK_BYTES = 1 << 28
_MAX_SAMPLES = 4096
"""Limits that no raster of an archive comes near: beyond them a header is taken for corrupt."""


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    raw: bytes | None
    offset: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of a TIFF file: its size, how it is cut into blocks, and its tags as they stand in the file."""

    order: str
    """'<' little-endian or '>' big-endian, of tags and pixels."""
    tags: dict[int, _Tag]
    width: int
    height: int
    block_width: int
    """Columns of a block; the image's width for strips."""
    block_height: int
    """Rows of a block."""
    samples: int
    """Bands."""
    separate: bool
    """True: each band has blocks of its own (planar configuration 2)."""
    sample_bytes: int
    """Bytes of one sample once decoded (1 for a single bit)."""

    @property
    def tiled(self) -> bool:
        """False for strips."""
        return _TILE_OFFSETS in self.tags

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of blocks in one plane."""
        return (-(-self.height // self.block_height), -(-self.width // self.block_width))

    @property
    def subfile(self) -> int:
        """NewSubfileType: bit 0 = reduced resolution, bit 2 = mask."""
        tag = self.tags.get(_SUBFILE)
        return int.from_bytes(tag.raw or b"", "little" if self.order == "<" else "big") if tag else 0

    @property
    def block_bytes(self) -> int:
        """Decoded bytes of one block."""
        return self.block_width * self.block_height * self.sample_bytes * (1 if self.separate else self.samples)

    @property
    def compression(self) -> int:
        """The Compression tag: 1 where a block's bytes are its pixels."""
        tag = self.tags.get(_COMPRESSION)
        return 1 if tag is None else _numbers(self.order, tag)[0]


class Layout:
    """Where each block of a directory lies in its file."""

    def __init__(self, directory: Directory, read: Callable[[int, int], bytes]) -> None:
        """Read the offsets and sizes of all blocks.

        Raises:
            AccessError: CORRUPT where their number contradicts the image's size.
        """
        rows, columns = directory.grid
        expected = rows * columns * (directory.samples if directory.separate else 1)
        pair = (_TILE_OFFSETS, _TILE_COUNTS) if directory.tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
        found = [_array(directory, code, read) for code in pair]
        if any(len(values) < expected for values in found):
            raise _corrupt(f"{expected} blocks in the image, {len(found[0])} offsets and {len(found[1])} sizes")
        self._offsets, self._sizes = found
        self._rows, self._columns = rows, columns

    @property
    def mean_bytes(self) -> float:
        """Mean stored size of a block, bytes; blocks that the file leaves out do not count."""
        there = self._sizes[self._sizes > 0]
        return float(there.mean()) if len(there) else 0.0

    @property
    def sparse(self) -> bool:
        """True where the file leaves blocks out."""
        return bool((self._sizes == 0).any())

    def span(self, block: Block) -> tuple[int, int]:
        """(offset, size) of a block in the file, bytes; (0, 0) where the file leaves it out (sparse)."""
        plane, row, column = block
        index = (plane * self._rows + row) * self._columns + column
        return int(self._offsets[index]), int(self._sizes[index])


def sound(directory: Directory, raw: bytes) -> bytes:
    """A block that GDAL may decode.

    Of the codecs in use deflate carries a check sum (Adler-32) that GDAL does not look at: measured, one flipped byte
    in eight gives other pixels and no error. It is verified here, and the block goes on as a deflate stream without
    compression, which costs GDAL a copy. LERC verifies its own; LZW, ZSTD, LZMA, PackBits and plain blocks have none.

    Raises:
        AccessError: CORRUPT.
    """
    if directory.compression not in _DEFLATE:
        return raw
    inflate = zlib.decompressobj()
    try:
        pixels = inflate.decompress(raw, 2 * directory.block_bytes + _SLACK_BYTES)
    except zlib.error as error:
        raise AccessError(Reason.CORRUPT, f"a deflate block is damaged: {error}") from None
    if not inflate.eof:
        raise AccessError(Reason.CORRUPT, "a deflate block is cut short, or is far larger than its image's blocks")
    return zlib.compress(pixels, 0)


def directories(read: Callable[[int, int], bytes]) -> list[Directory]:
    """All images of a file, in the order they are chained. `read(offset, length)` gives bytes of the file.

    Raises:
        AccessError: CORRUPT, or what `read` raises.
    """
    head = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    version = struct.unpack(f"{order}H", head[2:4])[0] if order else 0
    if version not in (42, 43):
        raise _corrupt("not a TIFF file")
    big = version == 43
    at = struct.unpack(f"{order}Q", head[8:16])[0] if big else struct.unpack(f"{order}L", head[4:8])[0]
    found: list[Directory] = []
    seen: set[int] = set()
    while at:
        if at in seen or len(found) >= _MAX_DIRECTORIES:
            raise _corrupt("directories form a circle, or there are too many")
        seen.add(at)
        tags, at = _tags(order, big, at, read)
        found.append(_directory(order, tags, read))
    if not found:
        raise _corrupt("no image in the file")
    return found


def is_tiff(head: bytes) -> bool:
    """True if these first bytes begin a TIFF or BigTIFF file."""
    return head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def header_tiff(directory: Directory, read: Callable[[int, int], bytes]) -> bytes:
    """A TIFF with the image's description and no pixel: for GDAL to read CRS, transform, nodata and dtypes from."""
    rows, columns = directory.grid
    blocks = rows * columns * (directory.samples if directory.separate else 1)
    skip = (*_layout_tags(directory), *_DROPPED)
    values = {
        code: (t.kind, t.count, _raw(directory, code, read)) for code, t in directory.tags.items() if code not in skip
    }
    values[_SUBFILE] = _longs(directory.order, [0])
    offsets, sizes = _layout_tags(directory)
    values[offsets] = values[sizes] = (4, blocks, bytes(4 * blocks))
    return _write(directory.order, values, [])


def block_tiff(
    directory: Directory, read: Callable[[int, int], bytes], planes: Sequence[int], blocks: Mapping[Block, bytes]
) -> tuple[bytes, tuple[int, int]]:
    """A TIFF of some blocks of an image: the smallest rectangle of blocks that holds them.

    Args:
        directory: The image.
        read: Bytes of its file (for tags that lie outside the directory).
        planes: Planes to put in, ascending; they become bands 1, 2, ... (all bands where they share blocks).
        blocks: Block -> its bytes. Blocks of the rectangle that are not in here are left out (sparse).

    Returns:
        (file, (row, column)): the second is the pixel of the image that is the file's pixel (0, 0).
    """
    order = directory.order
    row_0, row_1 = min(b[1] for b in blocks), max(b[1] for b in blocks)
    column_0, column_1 = min(b[2] for b in blocks), max(b[2] for b in blocks)
    top, left = row_0 * directory.block_height, column_0 * directory.block_width
    height = min(directory.height, (row_1 + 1) * directory.block_height) - top
    width = min(directory.width, (column_1 + 1) * directory.block_width) - left
    skip = (*_layout_tags(directory), *_DROPPED, *_GEO)
    values = {
        code: (t.kind, t.count, _raw(directory, code, read)) for code, t in directory.tags.items() if code not in skip
    }
    values[_SUBFILE] = _longs(order, [0])
    values[_WIDTH], values[_LENGTH] = _longs(order, [width]), _longs(order, [height])
    values[33550] = (12, 3, struct.pack(f"{order}3d", 1.0, 1.0, 0.0))
    values[33922] = (12, 6, struct.pack(f"{order}6d", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    if directory.separate:
        _select_samples(order, values, len(planes))
    elif directory.subfile & 4:
        values[_PHOTOMETRIC] = (3, 1, struct.pack(f"{order}H", 1))
    sizes, offsets, at = [], [], 16
    parts: list[bytes] = []
    for plane in planes if directory.separate else (0,):
        for row in range(row_0, row_1 + 1):
            for column in range(column_0, column_1 + 1):
                data = blocks.get((plane, row, column), b"")
                offsets.append(at if data else 0)
                sizes.append(len(data))
                parts.append(data)
                at += len(data)
    code_offsets, code_sizes = _layout_tags(directory)
    values[code_offsets], values[code_sizes] = _longs(order, offsets), _longs(order, sizes)
    return _write(order, values, parts), (top, left)


def _select_samples(order: str, values: dict[int, tuple[int, int, bytes]], count: int) -> None:
    """Keep the first `count` samples' worth of the per-sample tags: an image's bands share format and size."""
    for code in _PER_SAMPLE:
        if code in values:
            kind, n, raw = values[code]
            values[code] = (kind, min(n, count), raw[: min(n, count) * _SIZES[kind]])
    values[_SAMPLES] = (3, 1, struct.pack(f"{order}H", count))
    values[_PHOTOMETRIC] = (3, 1, struct.pack(f"{order}H", 1))
    values.pop(_EXTRA, None)
    if count > 1:
        values[_EXTRA] = (3, count - 1, struct.pack(f"{order}{count - 1}H", *[0] * (count - 1)))


def _kept(
    directory: Directory, skip: Sequence[int], read: Callable[[int, int], bytes]
) -> dict[int, tuple[int, int, bytes]]:
    """(type, count, value) of the tags that a small copy of the image needs too."""
    return {
        code: (tag.kind, tag.count, _raw(directory, code, read))
        for code, tag in directory.tags.items()
        if code not in skip
    }


def _layout_tags(directory: Directory) -> tuple[int, int]:
    return (_TILE_OFFSETS, _TILE_COUNTS) if directory.tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)


def _longs(order: str, numbers: Sequence[int]) -> tuple[int, int, bytes]:
    return (4, len(numbers), np.asarray(numbers, dtype=f"{order}u4").tobytes())


def _write(order: str, values: Mapping[int, tuple[int, int, bytes]], parts: Sequence[bytes]) -> bytes:
    """A BigTIFF: header, parts from byte 16 on, tag values, one directory."""
    at = 16 + sum(len(p) for p in parts)
    out: list[bytes] = [b"", *parts]
    entries: list[bytes] = []
    for code in sorted(values):
        kind, count, raw = values[code]
        if len(raw) <= 8:
            field = raw.ljust(8, b"\0")
        else:
            pad = -at % 8
            out.append(b"\0" * pad + raw)
            field = struct.pack(f"{order}Q", at + pad)
            at += pad + len(raw)
        entries.append(struct.pack(f"{order}HHQ", code, kind, count) + field)
    pad = -at % 8
    out[0] = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, at + pad)
    out.append(b"\0" * pad + struct.pack(f"{order}Q", len(entries)) + b"".join(entries) + struct.pack(f"{order}Q", 0))
    return b"".join(out)


def _tags(order: str, big: bool, at: int, read: Callable[[int, int], bytes]) -> tuple[dict[int, _Tag], int]:
    """The entries of the directory at `at`, and where the next one is."""
    head, entry = (8, 20) if big else (2, 12)
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", read(at, head))[0]
    if not 0 < count <= _MAX_ENTRIES:
        raise _corrupt(f"a directory of {count} entries")
    body = read(at + head, count * entry + (8 if big else 4))
    tags: dict[int, _Tag] = {}
    for i in range(count):
        raw = body[i * entry : (i + 1) * entry]
        code, kind, number = struct.unpack(f"{order}HH{'Q' if big else 'L'}", raw[: 12 if big else 8])
        field = raw[12:] if big else raw[8:]
        size = _SIZES.get(kind, 0) * number
        if kind not in _SIZES:
            continue
        if size > _MAX_TAG_BYTES:
            raise _corrupt(f"tag {code} of {size} bytes")
        if size <= len(field):
            tags[code] = _Tag(kind, number, field[:size], 0)
        else:
            tags[code] = _Tag(kind, number, None, struct.unpack(f"{order}{'Q' if big else 'L'}", field)[0])
    following = struct.unpack(f"{order}{'Q' if big else 'L'}", body[count * entry :])[0]
    return tags, following


def _directory(order: str, tags: dict[int, _Tag], read: Callable[[int, int], bytes]) -> Directory:
    def number(code: int, default: int | None = None) -> int:
        tag = tags.get(code)
        if tag is None or tag.count == 0:
            if default is None:
                raise _corrupt(f"tag {code} is missing")
            return default
        if tag.raw is None:
            tag = _Tag(tag.kind, tag.count, read(tag.offset, _SIZES[tag.kind] * tag.count), tag.offset)
        return _numbers(order, tag)[0]

    width, height = number(_WIDTH), number(_LENGTH)
    if _TILE_OFFSETS in tags:
        block_width, block_height = number(_TILE_WIDTH), number(_TILE_LENGTH)
    else:
        if _STRIP_OFFSETS not in tags:
            raise _corrupt("neither tiles nor strips")
        block_width, block_height = width, min(number(_ROWS_PER_STRIP, height), height)
    samples = number(_SAMPLES, 1)
    if min(width, height, block_width, block_height, samples) <= 0:
        raise _corrupt(f"an image of {width} x {height} x {samples} in blocks of {block_width} x {block_height}")
    directory = Directory(
        order=order,
        tags=tags,
        width=width,
        height=height,
        block_width=block_width,
        block_height=block_height,
        samples=samples,
        separate=samples > 1 and number(_PLANAR, 1) == 2,
        sample_bytes=max(1, number(_BITS, 1) // 8),
    )
    _usual(directory, number)
    rows, columns = directory.grid
    if rows * columns * samples > _MAX_BLOCKS or directory.block_bytes > _MAX_BLOCK_BYTES:
        raise _corrupt(f"{rows} x {columns} blocks of {directory.block_bytes} bytes")
    return directory


def _usual(directory: Directory, number: Callable[[int, int], int]) -> None:
    """Refuse what no archive's raster has and GDAL's decoders would have to cope with."""
    compression, predictor, bits = number(_COMPRESSION, 1), number(_PREDICTOR, 1), number(_BITS, 1)
    if compression not in _CODECS:
        raise _corrupt(f"compression {compression}")
    if predictor not in (1, 2, 3) or not 1 <= bits <= 64 or directory.samples > _MAX_SAMPLES:
        raise _corrupt(f"{directory.samples} bands of {bits} bits, predictor {predictor}")
    said = directory.tags[_BITS].count if _BITS in directory.tags else 1
    if said not in (1, directory.samples):
        raise _corrupt(f"{directory.samples} bands and the depths of {said}")
    if directory.tiled and (directory.block_width % 16 or directory.block_height % 16):
        raise _corrupt(f"tiles of {directory.block_width} x {directory.block_height}, not multiples of 16")


def _raw(directory: Directory, code: int, read: Callable[[int, int], bytes]) -> bytes:
    tag = directory.tags[code]
    return tag.raw if tag.raw is not None else read(tag.offset, _SIZES[tag.kind] * tag.count)


def _array(directory: Directory, code: int, read: Callable[[int, int], bytes]) -> NDArray[np.int64]:
    if code not in directory.tags:
        raise _corrupt(f"tag {code} is missing")
    letter = _LETTERS.get(directory.tags[code].kind)
    if letter is None:
        raise _corrupt(f"tag {code} is not a list of whole numbers")
    width = _SIZES[directory.tags[code].kind]
    return np.frombuffer(_raw(directory, code, read), dtype=f"{directory.order}u{width}").astype(np.int64)


def _numbers(order: str, tag: _Tag) -> tuple[int, ...]:
    letter = _LETTERS.get(tag.kind)
    if letter is None or tag.raw is None:
        raise _corrupt("a tag that must be a whole number is not")
    return struct.unpack(f"{order}{tag.count}{letter}", tag.raw)


def _corrupt(what: str) -> AccessError:
    return AccessError(Reason.CORRUPT, f"unreadable TIFF header: {what}")
