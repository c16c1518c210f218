"""Files that other writers make and ours does not: read as GDAL reads them, or refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from pipelines.access.chips import Chip
from pipelines.access.http.client import AccessError
from schemas.outcome import Reason
from testbed.services import serve_catalogue
from tests.access.rasters.test_cog_oracle import Served
from tests.access.rasters.tiffs import PLACED, Image, cut, format_of, tiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 64
PIXELS = np.random.default_rng(2).integers(1, 250, (4, SIZE, SIZE)).astype("uint8")
TILE = (32, 32)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("strange")
    with serve_catalogue([], {"/f/": folder}) as services:
        yield Served(folder, services.base_url)


def image(count: int = 1, tags: dict[int, Any] | None = None, planar: int = 1, **how: Any) -> Image:
    pixels = how.pop("pixels", PIXELS)[:count]
    blocks = [b.tobytes() for b in cut(pixels, *TILE, planar)]
    return Image(SIZE, SIZE, blocks, PLACED | (tags or {}), TILE, samples=count, planar=planar, **how)


def gdal(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.read_masks() > 0


def read(served: Served, *images: Image, bands: tuple[int, ...] = (1,), **how: Any) -> tuple[Any, Path]:
    path = served.write(tiff(images, **how))
    return served.read(path, bands, (SIZE, SIZE)), path


def one_line(got: Any, reason: Reason, words: str) -> None:
    assert isinstance(got, AccessError), got
    assert got.reason is reason
    assert words in got.detail
    assert "\n" not in got.detail


COMPLEX = {"cint16": (5, 32), "cint32": (5, 64), "cfloat32": (6, 64), "cfloat64": (6, 128)}


@pytest.mark.parametrize("kind", COMPLEX)
def test_complex_numbers_are_refused(kind: str, served: Served) -> None:
    form, bits = COMPLEX[kind]
    blocks = [bytes(32 * 32 * bits // 8)] * 4
    got, _ = read(served, Image(SIZE, SIZE, blocks, dict(PLACED), TILE, bits=bits, format=form))
    one_line(got, Reason.CORRUPT, "complex" if bits < 128 else "128 bits")


@pytest.mark.parametrize("also", ["nothing else", "stale strips"])
def test_tiles_that_are_listed_as_strips_are(also: str, served: Served) -> None:
    made = image()
    raw = tiff([made])
    offsets = [raw.index(b) for b in made.blocks]
    sizes = [len(b) for b in made.blocks]
    if also == "nothing else":
        made.tags |= {324: None, 325: None, 273: ("L", offsets), 279: ("L", sizes)}  # type: ignore[dict-item]
    else:
        made.tags |= {273: ("L", [8]), 279: ("L", [99])}
    got, path = read(served, made)
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels[0], PIXELS[0])
    np.testing.assert_array_equal(gdal(path)[0][0], PIXELS[0])


@pytest.mark.parametrize(("photometric", "count"), [(5, 4), (6, 3), (8, 3)], ids=["cmyk", "ycbcr", "lab"])
def test_inks_that_lie_apart_are_refused(photometric: int, count: int, served: Served) -> None:
    got, _ = read(served, image(count, planar=2, photometric=photometric))
    one_line(got, Reason.CORRUPT, f"photometric interpretation {photometric}")


@pytest.mark.parametrize(("photometric", "count"), [(5, 4), (6, 3), (2, 3), (0, 1), (3, 1)])
def test_inks_that_share_blocks_read_as_gdal_reads_them(photometric: int, count: int, served: Served) -> None:
    tags: dict[int, Any] = {530: ("H", [1, 1])} if photometric == 6 else {}
    if photometric == 3:
        tags = {320: ("H", np.arange(768) % 65_536)}
    got, path = read(served, image(count, tags, photometric=photometric))
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels[0], gdal(path)[0][0])


@pytest.mark.parametrize("missing", [(33922,), (33550, 33922)], ids=["no tie point", "neither"])
def test_a_crs_without_a_transform_is_refused(missing: tuple[int, ...], served: Served) -> None:
    got, _ = read(served, image(tags=dict.fromkeys(missing)))
    one_line(got, Reason.WRONG_GRID, "does not state where")


def test_ground_control_points_or_rational_functions_alone_are_refused(served: Served) -> None:
    corners = [(0, 0, 0, 5e5, 5e6, 0), (0, 64, 0, 5e5, 4.99936e6, 0), (64, 0, 0, 5.00064e5, 5e6, 0)]
    got, _ = read(served, image(tags={33550: None, 33922: ("d", np.ravel(corners))}))
    one_line(got, Reason.WRONG_GRID, "no coordinate reference system")
    got, _ = read(served, image(tags={33550: None}))
    one_line(got, Reason.WRONG_GRID, "no coordinate reference system")
    got, _ = read(served, image(tags={33550: None, 33922: None, 34735: None, 50844: ("d", [0.0] * 92)}))
    one_line(got, Reason.WRONG_GRID, "no coordinate reference system")


TEXTS = ["nan", "-3.4e38", "1e400", "-1e400", "", " ", "none", "7", "7.0", " 7 ", "7.5", "-1", "256", "1e2", "inf"]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "float32", "float64", "int64", "uint64"])
def test_every_text_of_a_nodata_tag_means_what_gdal_makes_of_it(dtype: str, served: Served) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 120, (1, SIZE, SIZE)).astype(dtype)
    if np.dtype(dtype).kind != "u":
        pixels[0, :4] = -1
    if np.dtype(dtype).kind == "f":
        pixels[0, 4:8], pixels[0, 8:10] = np.nan, np.asarray(-3.4e38, dtype)
        pixels[0, 10], pixels[0, 11] = np.finfo(dtype).max, -np.inf
    how = {"bits": 8 * np.dtype(dtype).itemsize, "format": format_of(np.dtype(dtype))}
    for text in TEXTS:
        got, path = read(served, image(tags={42113: ("s", text)}, pixels=pixels, **how))
        assert isinstance(got, Chip), (text, got)
        told, valid = gdal(path)
        expected = valid & ~np.isnan(told)
        np.testing.assert_array_equal(got.valid, expected, err_msg=repr(text))
        np.testing.assert_array_equal(got.pixels, told)


ODD_SIZES = [(-10.0, 10.0), (10.0, -10.0), (-10.0, -10.0), (0.0, 10.0), (10.0, 0.0), (1e-30, 10.0)]


@pytest.mark.parametrize("size", ODD_SIZES)
def test_pixels_that_run_backwards_or_nowhere(size: tuple[float, float], served: Served) -> None:
    got, path = read(served, image(tags={33550: ("d", (*size, 0.0))}))
    with rasterio.open(path) as dataset:
        transform = dataset.transform
    if isinstance(got, AccessError):
        assert got.reason in (Reason.CORRUPT, Reason.WRONG_GRID)
        assert transform.is_identity or abs(transform.determinant) < 1e-20
    else:
        lies_here = abs(transform.a) == abs(transform.e) == 10.0
        assert lies_here
        assert got.valid.mean() == (transform.a > 0 and transform.e < 0)


def test_pixel_is_point_moves_by_half_a_pixel(served: Served) -> None:
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3072, 0, 1, 32632)
    tie = ("d", (0.0, 0.0, 0.0, 500_005.0, 4_999_995.0, 0.0))
    got, _ = read(served, image(tags={34735: ("H", keys), 33922: tie}))
    assert got.resampling == "none"
    np.testing.assert_array_equal(got.pixels[0], PIXELS[0])


def test_the_first_page_counts_and_private_tags_do_not(served: Served) -> None:
    other = image(pixels=PIXELS[::-1])
    giant = {65_000: ("s", b"x" * 70_000), 270: ("s", "text" * 999), 700: ("B", [60] * 5000), 330: ("L", [12, 99])}
    got, _ = read(served, image(tags=giant), other, image(tags={254: ("L", 2)}))
    np.testing.assert_array_equal(got.pixels[0], PIXELS[0])


def test_of_a_tag_that_is_there_twice_the_first_counts(served: Served) -> None:
    raw = bytearray(tiff([image()]))
    at = raw.index(bytes((0x06, 0x01, 3, 0)))  # PhotometricInterpretation
    raw[at : at + 2] = (256).to_bytes(2, "little")  # another ImageWidth, of 1
    path = served.write(bytes(raw))
    got = served.read(path, (1,), (SIZE, SIZE))
    with rasterio.open(path) as dataset:
        assert dataset.width == SIZE
    np.testing.assert_array_equal(got.pixels[0], PIXELS[0])
