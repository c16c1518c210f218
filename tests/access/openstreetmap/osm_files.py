"""Small extracts for tests: written with osmium, or byte by byte where osmium would not write them."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import osmium
from osmium.osm.mutable import Node, Relation, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

WHEN = "2024-01-01T00:00:00Z"
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def written(path: Path, fill: Callable[[osmium.SimpleWriter], None]) -> Path:
    """An extract that osmium writes; `fill` adds its objects."""
    with osmium.SimpleWriter(path, overwrite=True) as writer:
        fill(writer)
    return path


def nodes(
    writer: osmium.SimpleWriter, first: int, corners: Iterable[tuple[float, float]], size: float = 0.01
) -> list[int]:
    """Add nodes at corners of a square of `size` degrees at 10 east, 50 north; their ids."""
    ids = []
    for number, (x, y) in enumerate(corners, first):
        writer.add_node(Node(id=number, location=(10 + x * size, 50 + y * size), version=1, timestamp=WHEN))
        ids.append(number)
    return ids


def ring(
    writer: osmium.SimpleWriter, number: int, first: int, corners: Iterable[tuple[float, float]] = SQUARE, **tags: str
) -> None:
    """Add a closed way with nodes of its own; all nodes must be added before: use with `nodes` for more than one."""
    ids = nodes(writer, first, corners)
    way(writer, number, [*ids, ids[0]], **tags)


def way(writer: osmium.SimpleWriter, number: int, refs: Sequence[int], **tags: str) -> None:
    """Add a way."""
    writer.add_way(Way(id=number, nodes=list(refs), tags=tags, version=1, timestamp=WHEN))


def tree(writer: osmium.SimpleWriter, number: int, **tags: str) -> None:
    """Add a node with tags."""
    tags = {"natural": "tree", **tags}
    writer.add_node(Node(id=number, location=(10.0, 50.0), tags=tags, version=1, timestamp=WHEN))


def relate(writer: osmium.SimpleWriter, number: int, *members: tuple[str, int, str], **tags: str) -> None:
    """Add a relation, a multipolygon if `tags` do not say another type; members are (type, id, role)."""
    tags = {"type": "multipolygon", **tags}
    writer.add_relation(Relation(id=number, members=list(members), tags=tags, timestamp=WHEN))


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def bytes_field(number: int, data: bytes) -> bytes:
    """A field of bytes, or a message in a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    """A field of one number."""
    return varint(number << 3) + varint(value)


def blob(kind: str, content: bytes, *, packing: int = 3, says: int | None = None) -> bytes:
    """A whole blob: packing 1 raw, 3 zlib, others as they are given."""
    packed = zlib.compress(content, 9) if packing == 3 else content
    body = number_field(2, len(content) if says is None else says) + bytes_field(packing, packed)
    head = bytes_field(1, kind.encode()) + number_field(3, len(body))
    return struct.pack(">I", len(head)) + head + body


HEADER = blob("OSMHeader", bytes_field(4, b"OsmSchema-V0.6") + bytes_field(4, b"DenseNodes"))


def block(group: bytes, strings: Sequence[bytes] = (b"",)) -> bytes:
    """A blob of one group of objects."""
    return blob("OSMData", bytes_field(1, b"".join(bytes_field(1, s) for s in strings)) + bytes_field(2, group))
