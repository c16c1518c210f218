"""Tiles of a JPEG 2000 file as blocks: each is fetched by range and decoded alone.

A file whose TLM segments state the length of every tile-part needs no more than its head and the tile-parts of the
wanted tiles. Each tile becomes a codestream of its own at its own coordinates (`Size.of_tile`), so its pixels equal
those of the whole file. Files without these lengths, and unusual ones, are read whole.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from pipelines.access.http.client import AccessError
from pipelines.access.rasters.jpeg2000_head import EOC, SOT, Head, Parts, head_of, header_too_fine, parts_of
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipelines.access.rasters.tiff import Block

_MAX_TILE_SAMPLES = 1 << 25
"""Largest tile that is decoded alone and whole, samples; of larger ones GDAL decodes only what a window needs."""
_MAX_TAIL_BYTES = 1 << 16
"""Boxes behind the codestream that are fetched too: the place on the ground may be in them."""
_THREADS = min(8, os.cpu_count() or 1)
"""Threads that decode the code-blocks of one tile."""
_SIGNED = 0x80


class Tiles:
    """The image of a file whose tiles can be had one by one: where they lie, and how one is decoded."""

    separate = False
    sparse = False

    def __init__(self, head: Head, parts: Parts, end: int, *, tail: bytes | None = None) -> None:
        """Describe them from the header.

        Args:
            head: Of the file.
            parts: Its tile-parts.
            end: Byte after the codestream.
            tail: What follows, where the header states the parts (TLM); None = the parts were seen in the whole file.
        """
        self.head = head
        self.end = end
        self._tail = tail or b""
        size = head.size
        self._parts = parts
        self._source = "the file's list of tile-parts (TLM)" if tail is not None else "the order of tile-parts"
        self.width, self.height = size.width, size.height
        self.block_width, self.block_height = size.wide, size.high
        self.samples = size.components
        self.grid = size.grid
        depth = (size.rest[0] & ~_SIGNED) + 1
        self._dtype = np.dtype(f"{'int' if size.rest[0] & _SIGNED else 'uint'}{8 if depth == 8 else 16}")

    def described(self) -> bytes:
        """A file with the same boxes and header, and no pixels."""
        return self.head.file() + self._tail

    @property
    def block_bytes(self) -> int:
        """Bytes of one tile while it is decoded: 4 for each sample in the decoder, and its pixels."""
        return self.head.size.tile_samples * (4 + self._dtype.itemsize)

    def rows_of(self, block: Block) -> int:  # noqa: ARG002 - as `Directory.rows_of`
        """Rows of a tile."""
        return self.block_height

    @property
    def mean_bytes(self) -> float:
        """Mean stored size of a tile, bytes."""
        return float(self._parts.sizes.sum()) / self.head.size.tiles

    def spans(self, block: Block) -> Sequence[tuple[int, int]]:
        """(offset, size) of the parts of a tile, in the order of the file."""
        return self._parts.of(block[1] * self.grid[1] + block[2])

    def absurd(self, block: Block, total: int | None) -> str | None:  # noqa: ARG002 - as `Layout.absurd`
        """None: all tile-parts were checked to fill the codestream."""
        return None

    def decode(self, block: Block, raw: bytes) -> NDArray[Any]:
        """Pixels (band, y, x) of a tile.

        Args:
            block: Which tile.
            raw: Its tile-parts, one after the other.

        Raises:
            AccessError: CORRUPT.
        """
        size = self.head.size.of_tile(block[1], block[2])
        stream = self.head.codestream(size, self._alone(block, raw))
        try:
            found = imagecodecs.jpeg2k_decode(stream, numthreads=_THREADS)
        except (imagecodecs.Jpeg2kError, ValueError, RuntimeError):
            raise _corrupt("cannot be decoded") from None
        pixels: NDArray[Any] = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
        if pixels.shape != (self.samples, size.height, size.width) or pixels.dtype != self._dtype:
            raise _corrupt(f"is a tile of {pixels.shape} {pixels.dtype} pixels, expected {size.width} x {size.height}")
        return pixels

    def _alone(self, block: Block, raw: bytes) -> bytes:
        """The parts of a tile as those of a file's only tile, after a check that they are what the header says."""
        tile, spans = block[1] * self.grid[1] + block[2], self.spans(block)
        parts, at = bytearray(raw), 0
        for number, (offset, length) in enumerate(spans):
            code, own, index, stated, part, of = struct.unpack_from(">HHHLBB", raw, at)
            last = stated == 0 and offset + length == self.end - len(EOC)
            if (code, own, index, part) != (SOT, 10, tile, number) or not (stated == length or last):
                there = f"part {part} of tile {index} in {stated} bytes" if code == SOT else "no tile-part"
                raise _corrupt(
                    f"is not at byte {offset}, where {self._source} requires part {number} of tile {tile} in "
                    f"{length} bytes: {there} is there"
                )
            if of > len(spans):
                raise _corrupt(f"is tile {tile} in {of} parts, and {self._source} has {len(spans)} of them")
            if (problem := header_too_fine(raw, at, self.head.size)) is not None:
                raise _corrupt(problem)
            struct.pack_into(">HHHLBB", parts, at, SOT, 10, 0, length, number, len(spans))
            at += length
        return bytes(parts)


def tiles_of(read: Callable[[int, int], bytes], total: int | None) -> Tiles | None:
    """The tiles of a JPEG 2000 file from its head; None if it must be read whole.

    Args:
        read: Bytes of the file.
        total: Size of the file, bytes; None if the archive does not state it.

    Raises:
        AccessError: CORRUPT, the image is beyond the limits; or what `read` raises.
    """
    try:
        head = head_of(read)
        if isinstance(head, str) or total is None:
            return None
        if (problem := head.problem()) is not None:
            raise _corrupt(f"the JPEG 2000 header {problem}")
    except struct.error:
        return None
    end = total if head.end is None else head.end
    parts = parts_of(head, end) if 0 <= total - end <= _MAX_TAIL_BYTES and usual(head) else None
    return None if parts is None else Tiles(head, parts, end, tail=read(end, total - end) if end < total else b"")


def usual(head: Head) -> bool:
    """True if a tile of the file is an image that can be decoded alone, and begins where a block of its size does."""
    size = head.size
    depth, signed = (size.rest[0] & ~_SIGNED) + 1, size.rest[0] & _SIGNED
    plain = size.even and (8 < depth <= 16 or (depth == 8 and not signed)) and not head.packed
    first = (size.left, size.top) == (size.tile_left, size.tile_top)
    return plain and first and size.tiles > 1 and size.tile_samples <= _MAX_TILE_SAMPLES


def _corrupt(what: str) -> AccessError:
    return AccessError(Reason.CORRUPT, what)
