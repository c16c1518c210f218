"""Reads the blobs and messages of a .osm.pbf, with memory limits that depend on the size of the file.

The format: https://wiki.openstreetmap.org/wiki/PBF_Format; protobuf's wire format:
https://protobuf.dev/programming-guides/encoding/. All bytes here are untrusted: unusual files are refused.
"""

from __future__ import annotations

import bz2
import shlex
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

MAX_BLOB_HEADER = 64 << 10
MAX_BLOB = 32 << 20
"""Bytes that the format allows for the header of a blob, and for what a blob holds, packed or not."""
MAX_NUMBERS = 4 << 20
"""Numbers in one packed field. Writers put 8,000 objects into a block: this allows 500 corners per object."""
_SNIFF = 4096


class RefusedError(ValueError):
    """The extract cannot be used; one line with the reason and the fix, to follow the file's name."""


class DamagedError(RefusedError):
    """The file cannot be repaired: download it again."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; download it again")


def blobs(path: Path, at: int = 0) -> Iterator[tuple[str, bytes, int]]:
    """(type, content, where the next one begins) of every blob from byte `at`, one in memory at a time.

    Raises:
        RefusedError: the file is no PBF, is cut short, or holds a blob that the format does not allow.
    """
    with path.open("rb") as file:
        first = file.read(_SNIFF)
        if len(first) < 5 or not 0 < int.from_bytes(first[:4], "big") <= MAX_BLOB_HEADER or first[4] != 0x0A:
            raise _no_pbf(first, shlex.quote(path.name))
        file.seek(at)
        while length := file.read(4):
            kind, data = _blob(file, int.from_bytes(length, "big") if len(length) == 4 else -1)
            yield kind, data, file.tell()


def _blob(file: BinaryIO, length: int) -> tuple[str, bytes]:
    at = file.tell()
    if length > MAX_BLOB_HEADER:
        raise DamagedError(f"a blob's header at byte {at:,} has {length:,} bytes; the limit is 65,536")
    head = _whole(file, length)
    kind, size = b"", -1
    for number, start, stop in fields(head, 0, len(head)):
        if number == 1 and stop >= 0:
            kind = head[start:stop]
        elif number == 3 and stop < 0:
            size = start
    if size > MAX_BLOB:
        raise DamagedError(f"a blob at byte {at:,} has {size:,} bytes; the limit is {MAX_BLOB:,}")
    return kind.decode("ascii", "replace"), _unpacked(_whole(file, size), at)


def _whole(file: BinaryIO, size: int) -> bytes:
    at = file.tell()
    data = file.read(size) if size >= 0 else b""
    if size < 0 or len(data) < size:
        raise DamagedError(f"not a complete OpenStreetMap file (it is truncated or damaged at byte {at:,})")
    return data


def _unpacked(blob: bytes, at: int) -> bytes:
    """Content of a blob: raw, or compressed with zlib or lz4, as osmium reads them."""
    said, found = None, None
    for number, start, stop in fields(blob, 0, len(blob)):
        if number == 2 and stop < 0:
            said = start
        elif stop >= 0 and number in (1, 3, 4, 5, 6, 7):
            found = (number, blob[start:stop])
    if said is not None and said > MAX_BLOB:
        raise DamagedError(f"a blob at byte {at:,} unpacks to {said:,} bytes; the limit is {MAX_BLOB:,}")
    if found is None:
        raise DamagedError(f"a blob at byte {at:,} is empty")
    number, packed = found
    if number == 1:
        return packed
    if number not in (3, 6):
        name = {4: "LZMA", 5: "bzip2", 7: "zstd"}[number]
        raise RefusedError(
            f"its blobs are compressed with {name}, which osmium does not read; write it again with the program that "
            "wrote it, compressed with zlib"
        )
    try:
        data = _inflate(packed) if number == 3 else pa.decompress(packed, said or 0, codec="lz4_raw", asbytes=True)
    except (zlib.error, OSError, pa.ArrowException) as error:
        raise DamagedError(f"a blob at byte {at:,} cannot be unpacked ({error})") from None
    if said is None or len(data) != said:
        raise DamagedError(f"a blob at byte {at:,} unpacks to another size than it states")
    return bytes(data)


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, MAX_BLOB + 1)
    if len(data) <= MAX_BLOB and not unpacker.eof:
        raise zlib.error("it is truncated")
    return data


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a protobuf message in `data[at:end]`: (number, start, stop) of bytes, (number, value, -1) of a
    number; fields of a fixed width, which the format does not use, are passed over.

    Raises:
        RefusedError: it is no message.
    """
    while at < end:
        key = data[at]
        at += 1
        if key > 127:
            key, at = _varint(data, at - 1, end)
        kind = key & 7
        if kind in (0, 2):
            if at >= end:
                break
            value = data[at]
            at += 1
            if value > 127:
                value, at = _varint(data, at - 1, end)
            if kind == 0:
                yield key >> 3, value, -1
                continue
            at += value
            if at <= end:
                yield key >> 3, at - value, at
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise malformed()
    if at != end or (end and at > len(data)):
        raise malformed()


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise malformed()


def malformed() -> DamagedError:
    """The error about an invalid message."""
    return DamagedError("not a complete OpenStreetMap file (a block in it is damaged)")


def signed(value: int) -> int:
    """A number of 64 bits as protobuf's int64."""
    return value - (1 << 64) if value >> 63 else value


def numbers(packed: bytes) -> NDArray[np.uint64]:
    """The numbers of a packed field.

    Raises:
        RefusedError: they are cut short, or more than `MAX_NUMBERS`.
    """
    raw = np.frombuffer(packed, dtype=np.uint8)
    if np.count_nonzero(raw < 128) > MAX_NUMBERS:
        raise DamagedError(f"one of its blocks contains more than {MAX_NUMBERS:,} numbers in a row")
    ends = np.flatnonzero(raw < 128)
    if not len(raw):
        return np.zeros(0, dtype=np.uint64)
    if raw[-1] > 127:
        raise malformed()
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise malformed()
    found = np.zeros(len(ends), dtype=np.uint64)
    for place in range(int(lengths.max())):
        more = lengths > place
        found[more] |= (raw[starts[more] + place] & 127).astype(np.uint64) << np.uint64(7 * place)
    return found


def zigzag(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Protobuf's sint64."""
    return (values >> np.uint64(1)).astype(np.int64) ^ -(values & np.uint64(1)).astype(np.int64)


def _no_pbf(first: bytes, name: str) -> RefusedError:
    """The real type of a file that is not a PBF, and the way to convert it."""
    if not first:
        return DamagedError("it is empty")
    packed = "gz" if first.startswith(b"\x1f\x8b") else "bz2" if first.startswith(b"BZh") else ""
    inside = _opened(first) if packed else first
    if b"<osm" in inside:
        return RefusedError(_as_xml(inside, name, packed and f".{packed}"))
    if packed:
        unpack = "gunzip" if packed == "gz" else "bunzip2"
        return RefusedError(f"it is compressed with {packed}; decompress it first: {unpack} {name}")
    if first.lstrip()[:1] == b"<":
        return DamagedError("it is a web page or other XML, not a map: the server answered with a message")
    if first.startswith(b"\xff\xe0"):
        convert = f"osmium cat {name} -F o5m -o converted.osm.pbf"
        return RefusedError(f"it is an .o5m file, not an .osm.pbf file; convert it: {convert}")
    return DamagedError("not an OpenStreetMap file (it does not start like an .osm.pbf file)")


def _opened(first: bytes) -> bytes:
    """The first bytes of the content that gzip or bzip2 compressed."""
    try:
        if first[0] == 0x1F:
            return zlib.decompressobj(31).decompress(first, _SNIFF)
        return bz2.BZ2Decompressor().decompress(first, _SNIFF)
    except (zlib.error, OSError, EOFError):
        return b""


def _as_xml(text: bytes, name: str, packed: str) -> str:
    if b"<osmChange" in text:
        return (
            "it is a change file, not an extract; apply it to an extract: "
            f"osmium apply-changes EXTRACT {name} -F osc{packed} -o changed.osm.pbf"
        )
    convert = f"osmium cat {name} -F osm{packed} -o converted.osm.pbf"
    return f"it is an .osm{packed} file, not an .osm.pbf file; convert it: {convert}"
