"""The fast way decodes what GDAL would, and hands on whatever is unusual or damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.access.rasters.decode import deflate_of
from pipelines.access.rasters.mosaic import _as_number
from pipelines.access.rasters.ranges import AHEAD_BYTES, RANGE_BYTES, WASTE_SHARE, fetched, gap_limit, merged
from pipelines.access.rasters.tiff import Layout, directories

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.access.rasters.decode import Deflate

SIZE = 200


def write(path: Path, dtype: str, **how: Any) -> np.ndarray:
    rng = np.random.default_rng(5)
    count = how.pop("count", 2)
    pixels = (rng.normal(size=(count, SIZE, SIZE)).cumsum(axis=2) * 9 + 100).astype(dtype)
    tile = {"tiled": True, "blockxsize": 64, "blockysize": 48, "compress": "deflate", "interleave": "band"}
    with rasterio.open(
        path, "w", driver="GTiff", count=count, width=SIZE, height=SIZE, dtype=dtype, **{**tile, **how}
    ) as dataset:
        dataset.write(pixels)
    return pixels


def reader(path: Path) -> Callable[[int, int], bytes]:
    data = path.read_bytes()
    return lambda offset, size: data[offset : offset + size]


def decoded(fast: Deflate, raw: bytes, rows: int, needed: tuple[int, int, int] = (0, 48, 64)) -> NDArray[Any] | None:
    return fast.decode(raw, rows, needed, np.empty(1 << 16, np.uint8))


WHOLE = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]
PREDICTED = [(d, p) for d in WHOLE for p in (1, 2)] + [(d, p) for d in ("float32", "float64") for p in (1, 3)]


@pytest.mark.parametrize("interleave", ["band", "pixel"])
@pytest.mark.parametrize(("dtype", "predictor"), PREDICTED)
def test_blocks_are_what_gdal_reads(dtype: str, interleave: str, predictor: int, tmp_path: Path) -> None:
    pixels = write(tmp_path / "a.tif", dtype, interleave=interleave, predictor=predictor)
    read = reader(tmp_path / "a.tif")
    image = directories(read)[0]
    fast = deflate_of(image, np.dtype(dtype))
    if predictor == 3 and interleave == "pixel":
        assert fast is None
        return
    assert fast is not None
    layout = Layout(image, read)
    for plane in range(2 if image.separate else 1):
        for row in range(image.grid[0]):
            for column in range(image.grid[1]):
                bands = slice(plane, plane + 1) if image.separate else slice(None)
                expected = pixels[bands, row * 48 : row * 48 + 48, column * 64 : column * 64 + 64]
                raw = read(*layout.span((plane, row, column)))
                for first, last, right in ((0, 48, 64), (7, 31, 40), (47, 48, 1)):  # all of it, or what is needed
                    got = decoded(fast, raw, 48, (first, last, right))
                    assert got is not None
                    part = (slice(None), slice(first, last), slice(right))
                    wanted = expected[part]
                    np.testing.assert_array_equal(got[part][:, : wanted.shape[1], : wanted.shape[2]], wanted)


@pytest.mark.parametrize(
    ("dtype", "how"),
    [
        ("uint16", {"ENDIANNESS": "BIG"}),
        ("uint16", {"compress": "zstd"}),
        ("uint16", {"compress": "lerc"}),
        ("uint16", {"NBITS": 12}),
        ("uint8", {"NBITS": 1, "count": 1}),
        ("uint8", {"photometric": "MINISWHITE", "count": 1}),
        ("complex64", {}),
    ],
)
def test_the_unusual_is_left_to_gdal(dtype: str, how: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "a.tif", dtype, **how)
    image = directories(reader(tmp_path / "a.tif"))[0]
    assert deflate_of(image, np.dtype(dtype)) is None


def test_damage_is_never_decoded(tmp_path: Path) -> None:
    """Any flipped bit is found: deflate's own check, or its check sum."""
    write(tmp_path / "a.tif", "uint16", predictor=2)
    read = reader(tmp_path / "a.tif")
    image = directories(read)[0]
    fast = deflate_of(image, np.dtype("uint16"))
    assert fast is not None
    raw = read(*Layout(image, read).span((0, 1, 1)))
    whole = decoded(fast, raw, 48)
    assert whole is not None
    rng = np.random.default_rng(1)
    for at in rng.integers(2, len(raw), 400):  # the first two bytes say how it was made, not what
        bad = bytearray(raw)
        bad[at] ^= 1 << int(rng.integers(8))
        assert decoded(fast, bytes(bad), 48) is None
    for length in (0, 1, 5, len(raw) // 2, len(raw) - 1):
        assert decoded(fast, raw[:length], 48) is None
    assert decoded(fast, raw, 47, (0, 47, 64)) is None
    assert decoded(fast, raw, 49, (0, 49, 64)) is None


spans = st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 900_000)), max_size=60).map(
    lambda drawn: [(sum(g + s for g, s in drawn[:i]) + gap, size, (0, 0, i)) for i, (gap, size) in enumerate(drawn)]
)


@given(spans)
@settings(max_examples=100, deadline=None)
def test_ranges_hold_all_blocks_once_and_waste_little(blocks: list[tuple[int, int, tuple[int, int, int]]]) -> None:
    groups = list(merged(blocks, gap_limit(blocks)))
    assert [s for group in groups for s in group] == blocks
    wanted = sum(size for _, size, _ in blocks)
    taken = sum(g[-1][0] + g[-1][1] - g[0][0] for g in groups)
    assert taken - wanted <= WASTE_SHARE * wanted + 64 * len(blocks)
    assert all(len(g) == 1 or g[-1][0] + g[-1][1] - g[0][0] <= RANGE_BYTES for g in groups)


def test_the_nearest_blocks_are_joined_first() -> None:
    size, gaps = 100_000, [8, 900, 3_000, 200_000, 1_200, 8]
    at, blocks = 0, [(0, size, (0, 0, 0))]
    for i, gap in enumerate(gaps, 1):
        at += size + gap
        blocks.append((at, size, (0, 0, i)))
    assert gap_limit(blocks) == 3_000
    assert [len(g) for g in merged(blocks, 3_000)] == [4, 3]


def test_little_is_on_its_way_at_once() -> None:
    blocks = [(i * 5 << 20, 3 << 20, (0, 0, i)) for i in range(40)]
    running: list[int] = []
    at_once = []

    def start(offset: int, size: int) -> Callable[[], bytes]:
        running.append(size)
        at_once.append(len(running))
        assert sum(running) <= AHEAD_BYTES

        def wait() -> bytes:
            running.remove(size)
            return offset.to_bytes(8, "big")

        return wait

    seen = [int.from_bytes(wait(), "big") for _, wait in fetched([[b] for b in blocks], start)]
    assert seen == [b[0] for b in blocks]
    assert max(at_once) == 5, "as many of 3 MiB as 16 MiB hold: the next are fetched while one is decoded"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 255.0, -9999.0, 65536.0, 0.5, -9999.9, 1e39, np.inf, np.nan])
def test_fill_in_the_pixels_own_dtype_finds_the_same_pixels(dtype: str, value: float) -> None:
    limits = np.iinfo(dtype) if np.dtype(dtype).kind != "f" else np.finfo(dtype)
    numbers = [v for v in (0.0, 1.0, 255.0, -9999.0, -9999.9, 0.5) if limits.min <= v <= limits.max]
    pixels = np.array([*numbers, *([np.inf] if np.isinf(value) and np.dtype(dtype).kind == "f" else [])]).astype(dtype)
    number = _as_number(value, np.dtype(dtype))
    with np.errstate(over="ignore"):
        expected = pixels == value
    np.testing.assert_array_equal(np.zeros(len(pixels), bool) if number is None else pixels == number, expected)
