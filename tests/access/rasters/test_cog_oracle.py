"""TIFF files of every make, written by hand, block by block against GDAL's own reading of the same files."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.services import serve_catalogue
from tests.access.rasters.tiffs import PLACED, Image, cut, format_of, stored, tiff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "plain": (1, bytes),
    "deflate": (8, zlib.compress),
    "deflate-old": (32946, zlib.compress),
    "deflate-stored": (8, lambda raw: zlib.compress(raw, 0)),
    "lzw": (5, imagecodecs.lzw_encode),
    "packbits": (32773, imagecodecs.packbits_encode),
    "zstd": (50000, imagecodecs.zstd_encode),
    "lzma": (34925, imagecodecs.lzma_encode),
}
WIDTH, HEIGHT = 70, 53
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "uint64", "int64")


class Served:
    """A folder behind HTTP, and a reader."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.reader = Reader(Client(retries=0, timeout_s=10.0), workers=1)
        self._written = 0

    def write(self, raw: bytes) -> Path:
        self._written += 1
        path = self.folder / f"{self._written}.tif"
        path.write_bytes(raw)
        return path

    def read(self, path: Path, bands: tuple[int, ...], size: tuple[int, int] = (HEIGHT, WIDTH), **how: Any) -> Any:
        box = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=size[1], height=size[0])
        href = f"{self.url}/f/{path.name}"
        (got,) = self.reader.read_chips([ChipRequest(hrefs=(href,), bands=bands, geobox=box, kernel="nearest", **how)])
        return got


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("oracle")
    with serve_catalogue([], {"/f/": folder}) as services:
        yield Served(folder, services.base_url)


def numbers(dtype: str, count: int, seed: int, bits: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=(count, HEIGHT, WIDTH)).astype(dtype)
    limits = np.iinfo(dtype)
    high = (1 << bits) - 1 if bits else limits.max
    return rng.integers(limits.min, high, (count, HEIGHT, WIDTH), dtype=dtype, endpoint=True)


def leave_out(number: int, image: Image, pixels: np.ndarray) -> None:
    """Make a block sparse: no bytes of it, and zeros for pixels."""
    image.blocks[number] = b""
    rows, columns = image.tile or (min(image.rows_per_strip, HEIGHT), WIDTH)
    across, down = -(-WIDTH // columns), -(-HEIGHT // rows)
    plane, place = divmod(number, across * down)
    y, x = place // across * rows, place % across * columns
    pixels[plane if image.planar == 2 else slice(None), y : y + rows, x : x + columns] = 0


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, np.ndarray, bool]:
    """A file, its pixels (0 where it leaves a block out), and whether GDAL reads all of it.

    GDAL leaves memory as it was where stored runs of a deflate stream are longer than the block.
    """
    bits = draw(st.sampled_from((0, 0, 0, 1, 2, 4, 12)))
    dtype = draw(st.sampled_from(DTYPES)) if not bits else "uint16" if bits > 8 else "uint8"
    count, planar = draw(st.integers(1, 3)), draw(st.sampled_from((1, 2)))
    order, codec = draw(st.sampled_from("<>")), draw(st.sampled_from(sorted(CODECS)))
    code, encode = CODECS[codec]
    usual = (1, 2) if np.dtype(dtype).kind != "f" else (1, 3)
    able = not bits and code in (5, 8, 32946, 50000, 34925)
    predictor = draw(st.sampled_from(usual if able else (1,)))
    tile = draw(st.sampled_from((None, (16, 16), (32, 48), (64, 96))))
    rows = draw(st.sampled_from((1, 7, 20, HEIGHT, 60)))
    pad_last = draw(st.booleans())  # the last strip goes on to its full height
    surplus = draw(st.sampled_from((0, 0, 1, 77, 5000)))
    pixels = numbers(dtype, count, draw(st.integers(0, 99)), bits)
    blocks = cut(pixels, *(tile or (min(rows, HEIGHT), WIDTH)), planar, full=tile is not None or pad_last)
    packed = [encode(stored(b, order, predictor, bits) + bytes(surplus)) for b in blocks]
    image = Image(
        WIDTH, HEIGHT, packed, dict(PLACED), tile, rows, samples=count, planar=planar if count > 1 else 1,
        bits=bits or 8 * np.dtype(dtype).itemsize, format=format_of(np.dtype(dtype)), compression=code,
        predictor=predictor,
    )  # fmt: skip
    if draw(st.booleans()) and len(packed) > 1:
        leave_out(draw(st.integers(0, len(packed) - 1)), image, pixels)
    longer = surplus or (tile is None and pad_last and HEIGHT % min(rows, HEIGHT) > 0)
    raw = tiff([image], order=order, big=draw(st.booleans()), gap=draw(st.sampled_from((0, 3))))
    return raw, pixels, not (longer and code in (8, 32946))


@pytest.mark.slow
@given(files())
@settings(max_examples=150, deadline=None)
def test_every_make_of_file_reads_as_gdal_reads_it(served: Served, made: tuple[bytes, np.ndarray, bool]) -> None:
    raw, pixels, readable = made
    path = served.write(raw)
    bands = tuple(range(len(pixels), 0, -1))
    got = served.read(path, bands)
    with rasterio.open(path) as dataset:
        try:
            expected = dataset.read(list(bands))
        except rasterio.errors.RasterioIOError:
            assert isinstance(got, AccessError)
            return
        valid = dataset.read_masks(list(bands)) > 0
    assert isinstance(got, Chip), got
    assert got.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(got.valid, valid)
    np.testing.assert_array_equal(got.pixels, pixels[::-1])
    if readable:
        np.testing.assert_array_equal(got.pixels, expected)
    path.unlink()


SHAPE = (64, 64)
PIXELS = (np.random.default_rng(0).integers(1, 6, (1, *SHAPE)) * 40).astype("uint8")


def one_tile(block: bytes, code: int, **how: Any) -> bytes:
    tags = PLACED | how.pop("tags", {})
    return tiff([Image(SHAPE[1], SHAPE[0], [block], tags, SHAPE, compression=code, **how)])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("more", [1, 4096, 100_000])
def test_surplus_bytes_of_a_block_change_nothing(codec: str, more: int, served: Served) -> None:
    code, encode = CODECS[codec]
    path = served.write(one_tile(encode(PIXELS.tobytes() + bytes(more)), code))
    got = served.read(path, (1,), SHAPE)
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels, PIXELS)
    if codec != "deflate-stored":
        with rasterio.open(path) as dataset:
            np.testing.assert_array_equal(dataset.read(), PIXELS)


def test_a_last_strip_padded_to_a_height_far_beyond_the_image(served: Served) -> None:
    raw = zlib.compress(PIXELS.tobytes() + bytes(64 * 4000))
    path = served.write(tiff([Image(64, 64, [raw], dict(PLACED), rows_per_strip=4064, compression=8)]))
    got = served.read(path, (1,), SHAPE)
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels, PIXELS)


def refused(got: Any, words: str = "") -> None:
    assert isinstance(got, AccessError), "pixels out of nothing"
    assert got.reason is Reason.CORRUPT
    assert words in got.detail
    assert "\n" not in got.detail


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("less", [1, 100, 4095])
def test_a_block_that_holds_too_little_is_a_failed_read(codec: str, less: int, served: Served) -> None:
    code, encode = CODECS[codec]
    refused(served.read(served.write(one_tile(encode(PIXELS.tobytes()[:-less]), code)), (1,), SHAPE))
    strips = [encode(PIXELS[0, :40].tobytes()), encode(PIXELS[0, 40:].tobytes()[: max(1, 24 * 64 - less)])]
    raw = tiff([Image(64, 64, strips, dict(PLACED), rows_per_strip=40, compression=code)])
    refused(served.read(served.write(raw), (1,), SHAPE))
    whole = encode(PIXELS.tobytes())
    got = served.read(served.write(one_tile(whole[: max(1, len(whole) - less)], code)), (1,), SHAPE)
    if less == 1 and isinstance(got, Chip):  # some streams end with a byte that no pixel needs
        np.testing.assert_array_equal(got.pixels, PIXELS)
    else:
        refused(got)


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_packed_samples_are_counted_in_bits(bits: int, served: Served) -> None:
    block = numbers("uint16" if bits > 8 else "uint8", 1, 3, bits)[:, :48, :64].transpose(1, 2, 0)
    packed = stored(block, bits=bits)
    for raw, whole in ((packed, True), (packed[:-1], False)):
        path = served.write(tiff([Image(64, 48, [raw], dict(PLACED), (48, 64), bits=bits)]))
        got = served.read(path, (1,), (48, 64))
        if whole:
            np.testing.assert_array_equal(got.pixels[0], block[:, :, 0])
        else:
            refused(got, f"holds {len(raw)} of {len(packed)} bytes")


def pictures(kind: str, rows: int, columns: int) -> bytes:
    block = np.pad(PIXELS[0], ((0, 32), (0, 32)), mode="edge")[:rows, :columns]
    rgb = np.ascontiguousarray(np.repeat(block[:, :, None], 3, axis=2))
    coders: dict[str, Callable[[], bytes]] = {
        "jpeg": lambda: imagecodecs.jpeg8_encode(np.ascontiguousarray(block), level=97),
        "webp": lambda: imagecodecs.webp_encode(rgb, lossless=True),
        "lerc": lambda: imagecodecs.lerc_encode(np.ascontiguousarray(block)),
    }
    return bytes(coders[kind]())


PICTURES: dict[str, dict[str, Any]] = {
    "jpeg": {"code": 7},
    "webp": {"code": 50001, "samples": 3, "photometric": 2},
    "lerc": {"code": 34887, "tags": {50674: ("L", [4, 0])}},
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("size", [(64, 64), (40, 64), (64, 40), (8, 8), (96, 96), (96, 64)])
def test_a_picture_of_another_size_than_its_tile_is_a_failed_read(
    kind: str, size: tuple[int, int], served: Served
) -> None:
    got = served.read(served.write(one_tile(pictures(kind, *size), **PICTURES[kind])), (1,), SHAPE)
    if size == SHAPE:
        assert isinstance(got, Chip), got
        assert np.abs(got.pixels.astype(int) - PIXELS).max() < 9
    else:
        refused(got)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
def test_a_picture_that_ends_early_is_a_failed_read(kind: str, share: float, served: Served) -> None:
    whole = pictures(kind, *SHAPE)
    for end in (b"", b"\xff\xd9"):
        cut_short = whole[: max(2, int(share * len(whole)))] + end
        refused(served.read(served.write(one_tile(cut_short, **PICTURES[kind])), (1,), SHAPE))


@pytest.mark.parametrize("photometric", ["ycbcr", "rgb", "minisblack"])
def test_jpeg_with_shared_tables_reads_as_gdal_reads_it(photometric: str, served: Served) -> None:
    count = 1 if photometric == "minisblack" else 3
    path = served.folder / f"{photometric}.tif"
    pixels = np.repeat(np.kron(PIXELS[:, ::8, ::8], np.ones((8, 8), "uint8")), count, axis=0)
    with rasterio.open(
        path, "w", driver="GTiff", width=60, height=50, count=count, dtype="uint8", crs="EPSG:32632", tiled=True,
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000), blockxsize=32, blockysize=32, compress="jpeg",
        photometric=photometric, interleave="pixel",
    ) as dataset:  # fmt: skip
        dataset.write(pixels[:, :50, :60])
    got = served.read(path, tuple(range(1, count + 1)), (50, 60))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(got.pixels, dataset.read())


def test_a_picture_in_a_last_strip_may_be_as_tall_as_the_others(served: Served) -> None:
    strips = [pictures("jpeg", 40, 64), pictures("jpeg", 40, 64)]
    path = served.write(tiff([Image(64, 64, strips, dict(PLACED), rows_per_strip=40, compression=7)]))
    got = served.read(path, (1,), SHAPE)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(got.pixels, dataset.read())
