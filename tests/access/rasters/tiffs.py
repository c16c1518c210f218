"""TIFF files written by hand, entry by entry, so that tests can say what no writer would."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_KINDS = {"B": 1, "s": 2, "H": 3, "L": 4, "Q": 16, "d": 12, "b": 6, "h": 8, "l": 9, "f": 11}
"""Letter of `struct` -> TIFF field type."""
_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}

Value = tuple[str, Any]
"""(letter, a number or several or text)."""


@dataclass
class Image:
    """One directory and its blocks."""

    width: int
    height: int
    blocks: list[bytes]
    """As they are stored, in the file's order; b"" = the file leaves the block out."""
    tags: dict[int, Value] = field(default_factory=dict)
    """Entries beside or instead of the usual ones; a value None leaves one out."""
    tile: tuple[int, int] | None = None
    """(rows, columns) of a tile; None = strips."""
    rows_per_strip: int = 0
    samples: int = 1
    bits: int = 8
    format: int = 1
    planar: int = 1
    compression: int = 1
    predictor: int = 1
    photometric: int = 1


PLACED: dict[int, Value] = {
    33550: ("d", (10.0, 10.0, 0.0)),
    33922: ("d", (0.0, 0.0, 0.0, 500_000.0, 5_000_000.0, 0.0)),
    34735: ("H", (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)),
}
"""UTM zone 32 north, pixels of 10 m from (500000, 5000000)."""


def tiff(images: Sequence[Image], *, order: str = "<", big: bool = False, gap: int = 0) -> bytes:
    """A file of these images, chained; `gap` bytes lie between blocks."""
    head = 16 if big else 8
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42))
    out += struct.pack(f"{order}HH", 8, 0) if big else b""
    link = len(out)
    out += bytes(head - len(out))
    for image in images:
        offsets, sizes = [], []
        for block in image.blocks:
            offsets.append(len(out) if block else 0)
            sizes.append(len(block))
            out += block + bytes(gap)
        out += bytes(-len(out) % 8)
        link = _directory(out, image, (offsets, sizes), (order, big, link))
    return bytes(out)


def _directory(out: bytearray, image: Image, layout: tuple[list[int], list[int]], place: tuple[str, bool, int]) -> int:
    """Append a directory, point the link at it, and give where the next link stands."""
    order, big, link = place
    entries = {**_usual(image, layout, "Q" if big else "L"), **image.tags}
    packed = []
    for code in sorted(entries):
        if entries[code] is None:
            continue
        letter, value = entries[code]
        count, raw = _packed(order, letter, value)
        room = 8 if big else 4
        if len(raw) > room:
            at = len(out)
            out += raw + bytes(-len(raw) % 8)
            raw = struct.pack(f"{order}{'Q' if big else 'L'}", at)
        kind = struct.pack(f"{order}HH{'Q' if big else 'L'}", code, _KINDS[letter], count)
        packed.append(kind + raw.ljust(room, b"\0"))
    struct.pack_into(f"{order}{'Q' if big else 'L'}", out, link, len(out))
    out += struct.pack(f"{order}{'Q' if big else 'H'}", len(packed)) + b"".join(packed)
    link = len(out)
    out += bytes(8 if big else 4)
    return link


def _packed(order: str, letter: str, value: Any) -> tuple[int, bytes]:
    if letter == "s":
        text = value if isinstance(value, bytes) else value.encode() + b"\0"
        return len(text), text
    numbers = np.atleast_1d(value).tolist()
    return len(numbers), struct.pack(f"{order}{len(numbers)}{letter}", *numbers)


def _usual(image: Image, layout: tuple[list[int], list[int]], wide: str) -> dict[int, Value]:
    tags: dict[int, Value] = {
        256: ("L", image.width),
        257: ("L", image.height),
        258: ("H", [image.bits] * image.samples),
        259: ("H", image.compression),
        262: ("H", image.photometric),
        277: ("H", image.samples),
        284: ("H", image.planar),
        339: ("H", [image.format] * image.samples),
    }
    if image.predictor != 1:
        tags[317] = ("H", image.predictor)
    if image.samples > 1 and image.photometric == 1:
        tags[338] = ("H", [0] * (image.samples - 1))
    if image.tile is None:
        tags |= {273: (wide, layout[0]), 278: ("L", image.rows_per_strip or image.height), 279: (wide, layout[1])}
    else:
        tags |= {322: ("L", image.tile[1]), 323: ("L", image.tile[0]), 324: (wide, layout[0]), 325: (wide, layout[1])}
    return tags


def cut(pixels: NDArray[Any], rows: int, columns: int, planar: int, *, full: bool = True) -> list[NDArray[Any]]:
    """Blocks (rows, columns, samples) of pixels (band, y, x) in a file's order; `full`: also at the edges."""
    count, height, width = pixels.shape
    found = []
    for bands in [pixels] if planar == 1 else pixels[:, None]:
        for y in range(0, height, rows):
            for x in range(0, width, columns):
                block = bands[:, y : y + rows, x : x + columns]
                if full:
                    more = ((0, 0), (0, rows - block.shape[1]), (0, columns - block.shape[2]))
                    block = np.pad(block, more, mode="edge")
                found.append(np.ascontiguousarray(block.transpose(1, 2, 0)))
    assert count
    return found


def format_of(dtype: np.dtype[Any]) -> int:
    """TIFF's SampleFormat of a dtype."""
    return _FORMATS[dtype.kind]


def stored(block: NDArray[Any], order: str = "<", predictor: int = 1, bits: int = 0) -> bytes:
    """Bytes of a block (rows, columns, samples) before its codec: predicted, in the file's byte order, packed."""
    rows, columns, samples = block.shape
    if bits and bits != 8 * block.dtype.itemsize:
        lines = np.unpackbits(block.astype(">u2").reshape(rows, -1, 1).view(np.uint8), axis=2)[:, :, 16 - bits :]
        return np.packbits(lines.reshape(rows, -1), axis=1).tobytes()
    if predictor == 2:
        whole = block.view(f"u{block.dtype.itemsize}")
        block = np.concatenate([whole[:, :1], whole[:, 1:] - whole[:, :-1]], axis=1)
    if predictor == 3:
        size = block.dtype.itemsize
        digits = block.astype(block.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, columns * samples, size)
        planes = digits.transpose(0, 2, 1).reshape(rows, -1)
        return np.concatenate([planes[:, :samples], planes[:, samples:] - planes[:, :-samples]], axis=1).tobytes()
    return block.astype(block.dtype.newbyteorder(order)).tobytes()
