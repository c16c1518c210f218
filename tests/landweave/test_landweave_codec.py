"""Bytes of chunks and indexes, pinned against numcodecs and the sharding specification, not against ourselves."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from awscrt.checksums import crc32c
from numcodecs import Blosc, blosc

from landweave import codec
from landweave.layout import CodecSpec

SPECS = [
    CodecSpec(cname="lz4hc", level=5, shuffle="shuffle", block_bytes=256 << 10),
    CodecSpec(cname="lz4hc", level=2, shuffle="noshuffle", block_bytes=256 << 10),
    CodecSpec(cname="zstd", level=1, shuffle="bitshuffle", block_bytes=1 << 20),
    CodecSpec(cname="zstd", level=3, shuffle="shuffle"),
]
FILTERS = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


def pixels(dtype: str, shape: tuple[int, ...] = (3, 64, 64)) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(7)
    if dtype == "bool":
        return np.repeat(rng.random((*shape[:-1], shape[-1] // 8)) > 0.5, 8, axis=-1)
    return (rng.normal(1000.0, 30.0, shape).cumsum(axis=-1)).astype(dtype)


@pytest.fixture
def _threads() -> Any:
    before = blosc.use_threads
    yield
    blosc.use_threads = before


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.cname}-{s.shuffle}")
@pytest.mark.parametrize("dtype", ["uint8", "bool", "int16", "uint16", "float32", "float64", ">u2"])
def test_a_chunk_is_what_numcodecs_writes_with_a_crc_behind(spec: CodecSpec, dtype: str) -> None:
    """numcodecs' own codec object with the same settings is the oracle; booleans are bytes to it."""
    data = pixels(dtype)
    little = data.astype(data.dtype.newbyteorder("<"))
    blosc.use_threads = False
    oracle = Blosc(spec.cname, spec.level, FILTERS[spec.shuffle], spec.block_bytes)
    expected = oracle.encode(little.view("u1") if dtype == "bool" else little)
    found = codec.encode_chunk(data, spec)
    assert found[:-4] == expected
    assert found[-4:] == struct.pack("<I", crc32c(expected))
    back = np.zeros(data.shape, little.dtype)
    codec.decode_chunk(found, back)
    np.testing.assert_array_equal(back, data)


@pytest.mark.slow
@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("spec", SPECS[:3:2], ids=lambda s: s.cname)
def test_large_chunks_have_the_same_bytes_whatever_threads_blosc_has(spec: CodecSpec) -> None:
    """Blosc's threads write blocks in the order they finish: 24 MB have many, and would differ from time to time."""
    data = pixels("uint16", (12, 1024, 1024))
    found = set()
    for threads in (True, None, False):
        blosc.use_threads = threads
        found.add(codec.encode_chunk(data, spec))
    assert len(found) == 1


def test_booleans_shrink_as_runs_do() -> None:
    data = np.zeros((256, 256), np.bool_)
    data[64:192] = True
    assert len(codec.encode_chunk(data, SPECS[0])) < 1_000


def test_a_view_that_is_not_contiguous_is_written_in_c_order() -> None:
    data = pixels("int16", (4, 32, 32)).transpose(1, 2, 0)
    assert codec.encode_chunk(data, SPECS[0]) == codec.encode_chunk(np.ascontiguousarray(data), SPECS[0])


@pytest.mark.usefixtures("_threads")
def test_decoding_leaves_a_choice_of_threads_alone_and_makes_one_where_there_is_none() -> None:
    found = codec.encode_chunk(pixels("uint16"), SPECS[0])
    for before, after in ((True, True), (False, False), (None, False)):
        blosc.use_threads = before
        codec.decode_chunk(found, np.zeros((3, 64, 64), np.uint16))
        assert blosc.use_threads is after


def resealed(body: bytes) -> bytes:
    return body + struct.pack("<I", crc32c(body))


def test_damage_is_told_before_a_pixel_is_written() -> None:
    data = pixels("uint16")
    good = codec.encode_chunk(data, SPECS[0])
    out = np.full(data.shape, 7, np.uint16)
    body = good[:-4]
    bad = {
        "too few": good[:19],
        "crc32c": good[:-5] + bytes([good[-5] ^ 1]) + good[-4:],
        "decodes to": resealed(body[:4] + struct.pack("<I", 24_577) + body[8:]),
        f"expected {out.nbytes}": resealed(body + b"\0"),
    }
    for word, damaged in bad.items():
        with pytest.raises(codec.DamageError, match=word):
            codec.decode_chunk(damaged, out)
        assert (out == 7).all()
    with pytest.raises(codec.DamageError, match="blosc cannot decode"):
        codec.decode_chunk(resealed(body[:16] + b"\xff" * (len(body) - 16)), out)
    with pytest.raises(codec.DamageError, match="24576 bytes, expected 12288"):
        codec.decode_chunk(good, np.zeros((3, 32, 64), np.uint16))
    # the least that blosc writes: a header and nothing behind it
    with pytest.raises(codec.DamageError, match="decodes to"):
        codec.decode_chunk(resealed(struct.pack("<BBBBIII", 2, 1, 2, 2, 0, 0, 16)), out)


def test_the_index_is_that_of_the_sharding_specification() -> None:
    entries = np.array([[0, 10], [codec.ABSENT, codec.ABSENT], [10, 2**40]], np.uint64)
    raw = struct.pack("<6Q", 0, 10, 2**64 - 1, 2**64 - 1, 10, 2**40)
    data = codec.encode_index(entries)
    assert data == raw + struct.pack("<I", crc32c(raw))
    assert len(data) == codec.index_bytes(3) == 52
    assert codec.encode_index(entries.astype(">u8")) == data
    np.testing.assert_array_equal(codec.decode_index(data, 3), entries)
    for damaged, chunks in ((data, 2), (data[:-1], 3), (data + b"\0", 3)):
        with pytest.raises(codec.DamageError, match="shard index has"):
            codec.decode_index(damaged, chunks)
    for at in (0, 47, 48, 51):
        flipped = bytearray(data)
        flipped[at] ^= 1
        with pytest.raises(codec.DamageError, match="crc32c of the shard index"):
            codec.decode_index(bytes(flipped), 3)
