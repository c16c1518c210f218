"""Reads TIFF directories from a few bytes, and makes small TIFFs of chosen blocks for GDAL to decode from memory.

Only the skeleton of a file is read here (TIFF 6.0, BigTIFF): where each block lies and how the file describes itself.
Decoding stays GDAL's: the chosen blocks, checked (`pipelines.access.rasters.decoded_size`), are put under a
copy of the file's own tags, so that every codec, predictor and byte order that GDAL reads works, and a block that was
not fetched cannot be read as zeros.

Files are untrusted. The values of a header are checked against limits before any fetch or allocation, and lists of
blocks cannot be longer than in the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.http.client import AccessError
from pipelines.access.rasters.tiff_tags import (
    BITS,
    COMPRESSION,
    COUNTS,
    KNOWN,
    LENGTH,
    LETTERS,
    OFFSETS,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    ROWS_PER_STRIP,
    SAMPLES,
    SIZES,
    STRIP_OFFSETS,
    SUBFILE,
    SUBSAMPLING,
    TIE_POINTS,
    TILE_LENGTH,
    TILE_OFFSETS,
    TILE_WIDTH,
    TRANSFORMATION,
    WIDTH,
)
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Block = tuple[int, int, int]
"""(plane, row, column) of a tile or strip; plane is 0 where all bands share a block."""


_CODECS = (1, 5, 7, 8, 32773, 32946, 34887, 34925, 50000, 50001)
"""None, LZW, JPEG, deflate, PackBits, deflate (old), LERC, LZMA, ZSTD, WebP. libtiff's others are of fax and film."""
_INKS = (5, 6, 8, 9, 10, 32844, 32845)
"""Photometric interpretations (CMYK, YCbCr, Lab, LogLuv) in which one band alone is no picture: GDAL turns all bands
of a pixel into red, green and blue, which it does not do where each band has its own blocks."""
_YCBCR, _JPEG = 6, 7
_MAX_DIRECTORIES = 64
_MAX_ENTRIES = 1024
_MAX_BLOCKS = 1 << 22
_MAX_TAG_BYTES = 1 << 22
"""Of a directory's tags together, the lists of its blocks left out; 224 bands with their metadata take 0.1 MiB."""
_MAX_BLOCK_BYTES = 1 << 28
_MAX_SAMPLES = 4096
"""Limits that no raster of an archive comes near: beyond them a header is taken for corrupt."""
_HEAD_BYTES = 8
"""Start of every file; no block is there."""
_SURPLUS_ENTRIES = 1024
"""More entries than blocks that a list of blocks may have."""
_SURPLUS_BYTES = 1 << 20
"""More bytes than twice its pixels that a stored block may have: no codec makes pixels larger than that."""


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    raw: bytes | None
    offset: int


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of a TIFF file: its size, its blocks, and its tags as in the file."""

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
    """True: each band has its own blocks (planar configuration 2)."""
    bits: int
    """Bits of one sample as it is stored."""
    tiled: bool
    """False for strips."""

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as a number in memory: 1, 2, 4 or 8."""
        return 1 << max(0, (-(-self.bits // 8) - 1).bit_length())

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of blocks in one plane."""
        return (-(-self.height // self.block_height), -(-self.width // self.block_width))

    @property
    def subfile(self) -> int:
        """NewSubfileType: bit 0 = reduced resolution, bit 2 = mask."""
        tag = self.tags.get(SUBFILE)
        return int.from_bytes(tag.raw or b"", "little" if self.order == "<" else "big") if tag else 0

    @property
    def block_bytes(self) -> int:
        """Decoded bytes of one block."""
        return self.block_width * self.block_height * self.sample_bytes * (1 if self.separate else self.samples)

    def stored_bytes(self, rows: int) -> int:
        """Decompressed bytes of a block with this many rows, with samples packed into bits."""
        samples = 1 if self.separate else self.samples
        across, down = self._subsampling
        if across * down == 1:
            return rows * -(-self.block_width * samples * self.bits // 8)
        units = -(-self.block_width // across)  # luminances of a unit and its two chrominances (TIFF 6.0, section 21)
        return -(-rows // down) * -(-units * (across * down + 2) * self.bits // 8)

    @property
    def _subsampling(self) -> tuple[int, int]:
        """(columns, rows) of luminance to each chrominance as blocks hold them; JPEG comes out at full resolution."""
        photometric = self.tags.get(PHOTOMETRIC)
        if photometric is None or self.samples != 3 or self.separate or self.compression == _JPEG:
            return 1, 1
        if _numbers(self.order, photometric)[0] != _YCBCR:
            return 1, 1
        said = _numbers(self.order, self.tags[SUBSAMPLING]) if SUBSAMPLING in self.tags else (2, 2)
        return (max(1, said[0]), max(1, said[1])) if len(said) == 2 else (1, 1)

    @property
    def placed(self) -> bool:
        """False if the file states no position of any pixel; a pixel size is not enough."""
        return bool({TIE_POINTS, TRANSFORMATION} & self.tags.keys())

    def tag(self, code: int, read: Callable[[int, int], bytes]) -> bytes | None:
        """A tag's value as in the file, None if the image has no such tag."""
        return raw_value(self, code, read) if code in self.tags else None

    def rows_of(self, block: Block) -> int:
        """Rows of a block: the last strip is as short as the image, the last tiles are not."""
        return self.block_height if self.tiled else min(self.block_height, self.height - block[1] * self.block_height)

    @property
    def compression(self) -> int:
        """The Compression tag: 1 where a block's bytes are its pixels."""
        tag = self.tags.get(COMPRESSION)
        return 1 if tag is None else _numbers(self.order, tag)[0]


class Layout:
    """Position of each block of a directory in its file."""

    def __init__(self, directory: Directory, read: Callable[[int, int], bytes]) -> None:
        """Read the offsets and sizes of all blocks.

        Raises:
            AccessError: CORRUPT if their number contradicts the image's size.
        """
        rows, columns = directory.grid
        expected = rows * columns * (directory.samples if directory.separate else 1)
        self._offsets, self._sizes = (_array(directory, codes, expected, read) for codes in (OFFSETS, COUNTS))
        self._rows, self._columns = rows, columns
        self._directory = directory
        self._plain = directory.compression == 1

    @property
    def mean_bytes(self) -> float:
        """Mean stored size of a block, bytes; blocks that the file leaves out do not count."""
        there = self._sizes[self._sizes > 0]
        return float(there.mean()) if len(there) else 0.0

    @property
    def end(self) -> int:
        """Byte behind the last block of the image; 0 where the file leaves all out."""
        sizes = np.minimum(self._sizes, self._directory.block_bytes) if self._plain else self._sizes
        there = self._sizes > 0
        return int((self._offsets + sizes)[there].max(initial=0))

    @property
    def sparse(self) -> bool:
        """True where the file leaves blocks out."""
        return bool((self._sizes == 0).any())

    def span(self, block: Block) -> tuple[int, int]:
        """(offset, size) of a block in the file, bytes; size 0 where the file leaves it out (sparse).

        Of a block whose bytes are its pixels no more is asked for than its pixels.
        """
        plane, row, column = block
        index = (plane * self._rows + row) * self._columns + column
        offset, size = int(self._offsets[index]), int(self._sizes[index])
        if self._plain:
            size = min(size, self._directory.stored_bytes(self._directory.rows_of(block)))
        return offset, size

    def spans(self, block: Block) -> tuple[tuple[int, int], ...]:
        """(offset, size) of each stored piece of a block: one, or none where the file leaves it out."""
        span = self.span(block)
        return (span,) if span[1] > 0 else ()

    def absurd(self, block: Block, total: int | None) -> str | None:
        """The reason why a block cannot be at its listed position; None if it can.

        Args:
            block: One that the file does not leave out.
            total: Size of the file, bytes; None if it is not known.
        """
        offset, size = self.span(block)
        if offset < _HEAD_BYTES:
            return f"begins at byte {offset}"
        if size > 2 * self._directory.block_bytes + _SURPLUS_BYTES:
            return f"has {size} bytes for {self._directory.block_bytes} of pixels"
        if total is not None and offset + size > total:
            return f"ends at byte {offset + size} of {total}"
        return None


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
            raise _corrupt("directories form a loop, or there are too many")
        seen.add(at)
        tags, at = _tags(order, big, at, read)
        found.append(_directory(order, tags, read))
    if not found:
        raise _corrupt("no image in the file")
    return found


def is_tiff(head: bytes) -> bool:
    """True if these first bytes begin a TIFF or BigTIFF file."""
    return head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def _tags(order: str, big: bool, at: int, read: Callable[[int, int], bytes]) -> tuple[dict[int, _Tag], int]:
    """The entries of the directory at `at`, and where the next one is."""
    head, entry = (8, 20) if big else (2, 12)
    count = struct.unpack(f"{order}{'Q' if big else 'H'}", read(at, head))[0]
    if not 0 < count <= _MAX_ENTRIES:
        raise _corrupt(f"a directory of {count} entries")
    body = read(at + head, count * entry + (8 if big else 4))
    tags: dict[int, _Tag] = {}
    budget = _MAX_TAG_BYTES
    for i in range(count):
        raw = body[i * entry : (i + 1) * entry]
        code, kind, number = struct.unpack(f"{order}HH{'Q' if big else 'L'}", raw[: 12 if big else 8])
        field = raw[12:] if big else raw[8:]
        if kind not in SIZES or code not in KNOWN or code in tags:  # of a tag that is there twice the first counts
            continue
        size = SIZES[kind] * number
        if code not in (*OFFSETS, *COUNTS) and (budget := budget - size) < 0:
            raise _corrupt(f"tags of more than {_MAX_TAG_BYTES} bytes")
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
            tag = _Tag(tag.kind, tag.count, read(tag.offset, SIZES[tag.kind] * tag.count), tag.offset)
        return _numbers(order, tag)[0]

    width, height = number(WIDTH), number(LENGTH)
    tiled = TILE_WIDTH in tags or TILE_LENGTH in tags  # whichever tags list the blocks: libtiff takes either
    if not {TILE_OFFSETS, STRIP_OFFSETS} & tags.keys():
        raise _corrupt("neither tiles nor strips")
    if tiled:
        block_width, block_height = number(TILE_WIDTH), number(TILE_LENGTH)
    else:
        block_width, block_height = width, min(number(ROWS_PER_STRIP, height), height)
    samples = number(SAMPLES, 1)
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
        separate=samples > 1 and number(PLANAR, 1) == 2,
        bits=number(BITS, 1),
        tiled=tiled,
    )
    _usual(directory, number)
    rows, columns = directory.grid
    if rows * columns * samples > _MAX_BLOCKS or directory.block_bytes > _MAX_BLOCK_BYTES:
        raise _corrupt(f"{rows} x {columns} blocks of {directory.block_bytes} bytes")
    return directory


def _usual(directory: Directory, number: Callable[[int, int], int]) -> None:
    """Refuse unusual TIFF features that no archive uses, so that GDAL's decoders never see them."""
    compression, predictor, bits = number(COMPRESSION, 1), number(PREDICTOR, 1), directory.bits
    if compression not in _CODECS:
        raise _corrupt(f"compression {compression}")
    if predictor not in (1, 2, 3) or not 1 <= bits <= 64 or directory.samples > _MAX_SAMPLES:
        raise _corrupt(f"{directory.samples} bands of {bits} bits, predictor {predictor}")
    said = directory.tags[BITS].count if BITS in directory.tags else 1
    if said not in (1, directory.samples):
        raise _corrupt(f"{directory.samples} bands and the depths of {said}")
    if directory.separate and (photometric := number(PHOTOMETRIC, 1)) in _INKS:
        raise _corrupt(f"separate planes in photometric interpretation {photometric}, of which none is an image")
    if directory.tiled and (directory.block_width % 16 or directory.block_height % 16):
        raise _corrupt(f"tiles of {directory.block_width} x {directory.block_height}, not multiples of 16")


def raw_value(directory: Directory, code: int, read: Callable[[int, int], bytes]) -> bytes:
    """Bytes of the value of a tag that the image has, as they are in the file."""
    tag = directory.tags[code]
    return tag.raw if tag.raw is not None else read(tag.offset, SIZES[tag.kind] * tag.count)


def _array(
    directory: Directory, codes: Sequence[int], expected: int, read: Callable[[int, int], bytes]
) -> NDArray[np.int64]:
    """The first `expected` numbers of the first of these tags that the image has."""
    code = next((c for c in codes if c in directory.tags), None)
    if code is None:
        raise _corrupt(f"tag {codes[0]} is missing")
    tag = directory.tags[code]
    if tag.kind not in LETTERS:
        raise _corrupt(f"tag {code} is not a list of whole numbers")
    if not expected <= tag.count <= 2 * expected + _SURPLUS_ENTRIES:
        raise _corrupt(f"{expected} blocks in the image, {tag.count} entries in tag {code}")
    size = SIZES[tag.kind]
    raw = tag.raw if tag.raw is not None else read(tag.offset, size * expected)
    numbers = np.frombuffer(raw, f"{directory.order}u{size}", count=expected)
    if size == 8 and numbers.max() >= 1 << 63:
        raise _corrupt(f"tag {code} points beyond the end of any file")
    return numbers.astype(np.int64)


def _numbers(order: str, tag: _Tag) -> tuple[int, ...]:
    letter = LETTERS.get(tag.kind)
    if letter is None or tag.raw is None:
        raise _corrupt("a tag that must be an integer is not")
    return struct.unpack(f"{order}{tag.count}{letter}", tag.raw)


def _corrupt(what: str) -> AccessError:
    return AccessError(Reason.CORRUPT, f"unreadable TIFF header: {what}")
