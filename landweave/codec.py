"""Bytes of a shard: inner chunks (blosc, then crc32c) and the index of their positions.

Zarr v3 sharding codec: https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-codec/v1.0.html
crc32c codec: the same site, v3/codecs/crc32c/v1.0.html. An index entry is (offset, length), both uint64 little-endian;
an absent chunk has 2**64 - 1 in both.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from awscrt.checksums import crc32c
from numcodecs import blosc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.layout import CodecSpec

ABSENT = 2**64 - 1
"""Offset and length of an inner chunk that was not written."""
_FARTHEST = 2**60
_CRC_BYTES = 4
_PLAIN = frozenset("biuf")
"""numpy's kinds of plain numbers: bool, integers, floats."""
_BLOSC_HEADER_BYTES = 16
_UINT32, _BLOSC_SIZES = struct.Struct("<I"), struct.Struct("<III")
"""crc32c; at byte 4 of a blosc header: decoded bytes, bytes of a block, encoded bytes with the header."""
_SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}


class DamageError(ValueError):
    """The bytes differ from those that were written; the caller adds the sample and the array."""


def _one_thread() -> None:
    """Blosc's own threads write blocks in the order they finish, which changes bytes: parallelism is the caller's.

    A process that has chosen `numcodecs.blosc.use_threads` itself keeps its choice for decoding.
    """
    if blosc.use_threads is None:
        blosc.use_threads = False


def index_bytes(chunks: int) -> int:
    """Length of the index at the end of a shard with this many inner chunks."""
    return 16 * chunks + _CRC_BYTES


def most_bytes(decoded: int) -> int:
    """Largest size of a chunk on disk: if compression gains nothing, blosc stores it unchanged after a header."""
    return decoded + _BLOSC_HEADER_BYTES + _CRC_BYTES


def encode_chunk(pixels: NDArray[Any], codec: CodecSpec) -> bytes:
    """One inner chunk: little-endian C-order pixels -> blosc -> crc32c. Deterministic for a numcodecs version."""
    blosc.use_threads = False
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    raw = little.view(np.uint8) if little.dtype == np.bool_ else little
    packed = blosc.compress(raw, codec.cname.encode(), codec.level, _SHUFFLES[codec.shuffle], codec.block_bytes)
    return bytes(packed) + _crc(packed)


def decode_chunk(data: bytes | memoryview | NDArray[np.uint8], out: NDArray[Any]) -> None:
    """Decode one inner chunk into `out` (C-contiguous, of the chunk's dtype and shape; plain numbers).

    Raises:
        DamageError: truncated, crc32c wrong, or not the size that `out` has.
        TypeError: `out` holds something else than plain numbers: decoded bytes would be pointers.
    """
    if out.dtype.kind not in _PLAIN:
        raise TypeError(f"pixels must be plain numbers, not {out.dtype}")
    view: Any = memoryview(data)  # type: ignore[arg-type]
    length = len(view) - _CRC_BYTES
    if length < _BLOSC_HEADER_BYTES:
        raise DamageError(f"{len(data)} bytes are too few for a chunk")
    body = view[:length]
    if crc32c(body) != _UINT32.unpack_from(view, length)[0]:
        raise DamageError("crc32c of the chunk is wrong")
    size, _, packed = _BLOSC_SIZES.unpack_from(view, 4)
    if size != out.nbytes or packed != length:
        raise DamageError(f"chunk decodes to {size} bytes, expected {out.nbytes}")
    if blosc.use_threads is None:
        _one_thread()
    try:
        blosc.decompress(body, out)
    except (RuntimeError, ValueError) as error:
        raise DamageError(f"blosc cannot decode the chunk: {error}") from error


def is_whole(data: memoryview) -> bool:
    """Whether the bytes of a chunk are those that its crc32c is of."""
    length = len(data) - _CRC_BYTES
    return length > 0 and crc32c(data[:length]) == _UINT32.unpack_from(data, length)[0]


def encode_index(entries: NDArray[np.uint64]) -> bytes:
    """Index of a shard from (chunks, 2) offsets and lengths."""
    raw = np.ascontiguousarray(entries, dtype="<u8").tobytes()
    return raw + _crc(raw)


def decode_index(data: bytes | memoryview, chunks: int, most: int = _FARTHEST) -> NDArray[np.uint64]:
    """(chunks, 2) offsets and lengths.

    Args:
        data: the bytes.
        chunks: how many inner chunks there are.
        most: bytes that one takes on disk at most.

    Raises:
        DamageError: wrong length or crc32c, or a chunk that cannot be where it is said to be.
    """
    if len(data) != index_bytes(chunks):
        raise DamageError(f"shard index has {len(data)} bytes, expected {index_bytes(chunks)}")
    view = memoryview(data)
    if _crc(view[:-_CRC_BYTES]) != bytes(view[-_CRC_BYTES:]):
        raise DamageError("crc32c of the shard index is wrong")
    entries = np.frombuffer(view[:-_CRC_BYTES], dtype="<u8").reshape(chunks, 2)
    there = entries[entries[:, 0] != ABSENT]
    if len(there) and (there[:, 1].max() > most or there[:, 0].max() > _FARTHEST):
        raise DamageError("the shard index names a chunk that is too long, or beyond the end of any file")
    return entries


def _crc(data: bytes | memoryview) -> bytes:
    """crc32c, little-endian."""
    return int(crc32c(data)).to_bytes(_CRC_BYTES, "little")
