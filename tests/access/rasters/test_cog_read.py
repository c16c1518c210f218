"""Pixels of remote rasters against rasterio's own reading of the same files: every layout, codec and byte order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 300
LAYOUTS: dict[str, dict[str, Any]] = {
    "tiled-deflate-2": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 2},
    "tiled-deflate-float": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 3},
    "tiled-deflate-float-pixel": {
        "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 3, "interleave": "pixel",
    },
    "tiled-zstd": {"tiled": True, "blockxsize": 128, "blockysize": 64, "compress": "zstd"},
    "tiled-zstd-float": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "zstd", "predictor": 3},
    "tiled-zstd-2": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "zstd", "predictor": 2},
    "tiled-lzw-pixel": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "lzw", "interleave": "pixel"},
    "tiled-lerc": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "lerc"},
    "tiled-lerc-zstd": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "lerc_zstd"},
    "tiled-packbits": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "packbits"},
    "strips": {"blockysize": 7},
    "strips-pixel-big": {"blockysize": 1, "interleave": "pixel", "ENDIANNESS": "BIG"},
    "tiled-big-endian-deflate": {
        "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "predictor": 2, "ENDIANNESS": "BIG",
    },
    "bigtiff": {"tiled": True, "blockxsize": 64, "blockysize": 64, "BIGTIFF": "YES", "compress": "deflate"},
    "bigtiff-big-endian-zstd": {
        "tiled": True, "blockxsize": 64, "blockysize": 64, "BIGTIFF": "YES", "ENDIANNESS": "BIG", "compress": "zstd",
    },
    "sparse": {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": True},
    "one-strip": {"blockysize": SIZE, "compress": "deflate"},
}  # fmt: skip


def write(path: Path, pixels: np.ndarray, nodata: float | None = 0, **how: Any) -> Path:
    profile = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "crs": "EPSG:32632",
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "nodata": nodata,
        "interleave": "band",
    }
    with rasterio.open(path, "w", **{**profile, **how}) as dataset:
        for i in range(len(pixels)):
            if how.get("SPARSE_OK"):  # only one corner is written
                dataset.write(pixels[i, :128, :128], i + 1, window=rasterio.windows.Window(0, 0, 128, 128))
            else:
                dataset.write(pixels[i], i + 1)
    return path


def box(column: int, row: int, width: int, height: int, resolution_m: float = 10) -> GeoBox:
    return GeoBox(
        epsg=32632, x_min=500_000 + column * 10, y_max=5_000_000 - row * 10, resolution_m=resolution_m,
        width=width, height=height,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, Services]]:
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        yield tmp_path, services


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "dtype", ["uint16", "float64", *(pytest.param(t, marks=pytest.mark.slow) for t in ("uint8", "int16", "float32"))]
)
def test_every_layout_is_copied_pixel_for_pixel(layout: str, dtype: str, folder: tuple[Path, Services]) -> None:
    path, services = folder
    how = LAYOUTS[layout]
    if how.get("predictor") == 3 and np.dtype(dtype).kind != "f":
        how = how | {"predictor": 2}
    rng = np.random.default_rng(7)
    pixels = (rng.normal(size=(3, SIZE, SIZE)).cumsum(axis=2) * 10 + 100).astype(dtype)
    write(path / "a.tif", pixels, nodata=None if layout.startswith("strips") else 0, **how)
    boxes = [
        box(0, 0, 40, 40),
        box(50, 60, 100, 90),
        box(290, 290, 40, 40),
        box(-30, 100, 64, 64),
        box(0, 0, SIZE, SIZE),
    ]
    with Reader(Client()) as reader:
        chips = reader.read_chips(
            [
                ChipRequest(hrefs=(f"{services.base_url}/f/a.tif",), bands=(3, 1), geobox=b, kernel="cubic")
                for b in boxes
            ]
        )
    with rasterio.open(path / "a.tif") as dataset:
        for geobox, chip in zip(boxes, chips, strict=True):
            assert isinstance(chip, Chip), chip
            window = rasterio.windows.from_bounds(*geobox.bounds, transform=dataset.transform)
            expected = dataset.read([3, 1], window=window, boundless=True, masked=True, fill_value=0)
            inside = dataset.read_masks([3, 1], window=window, boundless=True) > 0
            columns = round(window.col_off) + np.arange(geobox.width)
            rows = round(window.row_off) + np.arange(geobox.height)
            inside &= ((columns >= 0) & (columns < SIZE))[None, None, :]
            inside &= ((rows >= 0) & (rows < SIZE))[None, :, None]
            assert chip.resampling == "none"
            assert chip.pixels.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(chip.valid, inside)
            np.testing.assert_array_equal(chip.pixels[inside], expected.data[inside])


def test_mask_inside_the_file_decides(folder: tuple[Path, Services]) -> None:
    path, services = folder
    pixels = np.arange(SIZE * SIZE, dtype="uint16").reshape(1, SIZE, SIZE)
    mask = np.indices((SIZE, SIZE)).sum(axis=0) % 3 > 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        path / "m.tif", "w", driver="GTiff", count=1, height=SIZE, width=SIZE, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), tiled=True, blockxsize=64, blockysize=64,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
        dataset.write_mask(mask)
    with Reader(Client()) as reader:
        request = ChipRequest(
            hrefs=(f"{services.base_url}/f/m.tif",), bands=(1,), geobox=box(10, 20, 150, 130), kernel="nearest"
        )
        (chip,) = reader.read_chips([request])
    assert isinstance(chip, Chip)
    np.testing.assert_array_equal(chip.valid[0], mask[20:150, 10:160])
    np.testing.assert_array_equal(chip.pixels[0], pixels[0, 20:150, 10:160])


def test_jpeg2000_is_read_whole(folder: tuple[Path, Services]) -> None:
    path, services = folder
    pixels = np.random.default_rng(1).integers(1, 4000, (1, SIZE, SIZE)).astype("uint16")
    with rasterio.open(
        path / "a.jp2", "w", driver="JP2OpenJPEG", count=1, height=SIZE, width=SIZE, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), QUALITY=100, REVERSIBLE="YES",
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    with Reader(Client()) as reader:
        (chip,) = reader.read_chips(
            [
                ChipRequest(
                    hrefs=(f"{services.base_url}/f/a.jp2",), bands=(1,), geobox=box(5, 6, 70, 80), kernel="nearest"
                )
            ]
        )
    assert isinstance(chip, Chip), chip
    np.testing.assert_array_equal(chip.pixels[0], pixels[0, 6:86, 5:75])


def test_a_file_that_names_others_is_not_opened(folder: tuple[Path, Services]) -> None:
    path, services = folder
    write(path / "a.tif", np.ones((1, SIZE, SIZE), "uint8"))
    (path / "v.tif").write_text(
        f'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{path / 'a.tif'}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with Reader(Client()) as reader:
        (got,) = reader.read_chips(
            [ChipRequest(hrefs=(f"{services.base_url}/f/v.tif",), bands=(1,), geobox=box(0, 0, 9, 9), kernel="nearest")]
        )
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


def test_each_block_is_fetched_once_and_ranges_are_merged(folder: tuple[Path, Services]) -> None:
    path, services = folder
    rng = np.random.default_rng(3)
    write(
        path / "a.tif", rng.integers(1, 60_000, (1, 2048, 2048)).astype("uint16"), tiled=True, blockxsize=256,
        blockysize=256, compress="deflate",
    )  # fmt: skip
    size = (path / "a.tif").stat().st_size
    boxes = [box(int(x), int(y), 128, 128) for x, y in rng.integers(0, 1900, (200, 2))]
    client = Client()
    with Reader(client) as reader:
        chips = reader.read_chips(
            [
                ChipRequest(hrefs=(f"{services.base_url}/f/a.tif",), bands=(1,), geobox=b, kernel="nearest")
                for b in boxes
            ]
        )
    assert all(isinstance(c, Chip) for c in chips)
    assert client.counters.requests <= 3
    assert client.counters.bytes_received <= size + (1 << 16)


def test_bands_of_another_crs_than_the_item_says_are_refused(folder: tuple[Path, Services]) -> None:
    path, services = folder
    write(path / "a.tif", np.ones((1, SIZE, SIZE), "uint8"))
    href = f"{services.base_url}/f/a.tif"
    with Reader(Client()) as reader:
        got = reader.read_chips(
            [
                ChipRequest(hrefs=(href,), bands=(1,), geobox=box(0, 0, 9, 9), kernel="nearest", epsgs=(32633,)),
                ChipRequest(hrefs=(href,), bands=(2,), geobox=box(0, 0, 9, 9), kernel="nearest"),
                ChipRequest(hrefs=("file:///etc/hostname",), bands=(1,), geobox=box(0, 0, 9, 9), kernel="nearest"),
                ChipRequest(hrefs=(href,), bands=(1,), geobox=box(0, 0, 9, 9), kernel="nearest", epsgs=(32632,)),
            ]
        )
    assert [g.reason if isinstance(g, AccessError) else None for g in got] == [
        Reason.WRONG_GRID, Reason.BAD_ITEM, Reason.BAD_ITEM, None,
    ]  # fmt: skip
