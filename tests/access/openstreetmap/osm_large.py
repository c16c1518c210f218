"""Large extracts from a seed, written block by block as planet files are: dense nodes, then ways that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.access.openstreetmap.osm_files import HEADER, blob, bytes_field, number_field

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BLOCK = 8000
_INFO = bytes_field(4, number_field(1, 3) + number_field(2, 1_400_000_000) + number_field(3, 99_000_000))
"""Version, time and changeset of a way."""
_A_WAY = bytes_field(10, b"\1")
"""Types of the members of a relation: one way."""
_CORNERS = 8
"""Nodes of a way."""
_TAGS = (
    (b"building", b"yes"), (b"highway", b"residential"), (b"landuse", b"farmland"), (b"natural", b"water"),
    (b"landuse", b"forest"), (b"", b""),
)  # fmt: skip


def large_extract(path: Path, *, seed: int, nodes: int = 0, size: int = 0) -> Path:
    """An extract of `nodes` nodes, or of about `size` bytes, between 6 and 14 E, 46 and 54 N.

    Every eighth node begins a way of eight neighbours; one way in a hundred spans far; one in six has no tags and is
    the outline of a multipolygon. Node ids have gaps.
    """
    rng = np.random.default_rng(seed)
    count = nodes or max(BLOCK, int(size / 8.8))
    blocks = -(-count // BLOCK)
    with path.open("wb") as file:
        file.write(HEADER)
        for number in range(blocks):
            file.write(_nodes(number, rng))
        bare: list[int] = []
        for number in range(blocks // _CORNERS + 1):
            file.write(_ways(number, blocks * BLOCK, rng, bare))
        for start in range(0, len(bare), BLOCK):
            file.write(_relations(start, bare[start : start + BLOCK]))
    return path


def _relations(first: int, ways: list[int]) -> bytes:
    """A wood for each way without tags."""
    said = bytes_field(2, b"\1\3") + bytes_field(3, b"\2\4") + bytes_field(8, b"\5")
    content = [
        bytes_field(4, number_field(1, first + at) + said + bytes_field(9, packed(np.array([way]))) + _A_WAY)
        for at, way in enumerate(ways, 1)
    ]
    strings = [b"", b"type", b"multipolygon", b"natural", b"wood", b"outer"]
    return _block(bytes_field(2, b"".join(content)), strings)


def packed(values: NDArray[np.int64]) -> bytes:
    """Numbers as protobuf packs them, zigzag."""
    return packed_rows(values.reshape(1, -1))[0]


def packed_rows(values: NDArray[np.int64]) -> list[bytes]:
    """The same for each row of a table."""
    zigzag = ((values.ravel() << 1) ^ (values.ravel() >> 63)).astype(np.uint64)
    parts = np.stack([(zigzag >> np.uint64(7 * i)) & np.uint64(127) for i in range(6)], axis=1).astype(np.uint8)
    length = np.where(parts.any(axis=1), 6 - np.argmax(parts[:, ::-1] > 0, axis=1), 1)
    at = np.arange(6)
    parts |= np.where(at < length[:, None] - 1, 128, 0).astype(np.uint8)
    data, ends = parts[at < length[:, None]].tobytes(), np.cumsum(length).reshape(values.shape)[:, -1].tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _id(number: NDArray[np.int64]) -> NDArray[np.int64]:
    return 1000 + number * 7


def _nodes(number: int, rng: np.random.Generator) -> bytes:
    """8,000 nodes that walk about in a town."""
    ids = _id(np.arange(number * BLOCK, (number + 1) * BLOCK))
    town = np.random.default_rng(number * 7919)
    lon, lat = town.uniform(6, 14) * 1e7, town.uniform(46, 54) * 1e7
    steps = rng.integers(-3000, 3000, (2, BLOCK))
    x, y = (np.cumsum(steps[0]) + int(lon)), (np.cumsum(steps[1]) + int(lat))
    dense = bytes_field(1, packed(np.diff(ids, prepend=0)))
    dense += bytes_field(8, packed(np.diff(y, prepend=0))) + bytes_field(9, packed(np.diff(x, prepend=0)))
    steady = np.sort(rng.integers(0, 400_000_000, (3, BLOCK)), axis=1)
    info = bytes_field(1, bytes(rng.integers(1, 9, BLOCK, np.uint8)))  # version, then time, changeset, user
    for field, column in enumerate((steady[0] + 1_300_000_000, steady[1] // 4, steady[2] // 40), 2):
        info += bytes_field(field, packed(np.diff(column, prepend=0)))
    dense += bytes_field(5, info)
    tagged = rng.random(BLOCK) < 0.02
    words = b"".join(b"\1\2\0" if one else b"\0" for one in tagged)
    return _block(bytes_field(2, bytes_field(2, dense + bytes_field(10, words))), [b"", b"natural", b"tree"])


def _ways(number: int, nodes: int, rng: np.random.Generator, bare: list[int]) -> bytes:
    """8,000 ways of eight nodes each; those without tags are added to `bare`."""
    first = number * BLOCK
    ways = np.arange(first, min(first + BLOCK, nodes // _CORNERS))
    if not len(ways):
        return b""
    strings = [b"", *(word for pair in _TAGS for word in pair if word)]
    kinds, far = rng.integers(0, len(_TAGS), len(ways)), rng.random(len(ways)) < 0.01
    refs = ways[:, None] * _CORNERS + np.arange(_CORNERS)
    refs[far, -1] = (refs[far, -1] * 31) % nodes
    whole = _id(np.hstack([refs, refs[:, :1]]))
    closed, content = packed_rows(np.diff(whole, prepend=0)), []
    opened = packed_rows(np.diff(whole[:, :-1], prepend=0))
    for at, (way, kind) in enumerate(zip(ways.tolist(), kinds.tolist(), strict=True)):
        fields = number_field(1, way + 1)
        if _TAGS[kind][0]:
            fields += bytes_field(2, bytes([strings.index(_TAGS[kind][0])]))
            fields += bytes_field(3, bytes([strings.index(_TAGS[kind][1])]))
        else:
            bare.append(way + 1)
        corners = opened[at] if kind == 1 else closed[at]
        content.append(bytes_field(3, fields + _INFO + bytes_field(8, corners)))
    return _block(bytes_field(2, b"".join(content)), strings)


def _block(group: bytes, strings: list[bytes]) -> bytes:
    return blob("OSMData", bytes_field(1, b"".join(bytes_field(1, s) for s in strings)) + group)
