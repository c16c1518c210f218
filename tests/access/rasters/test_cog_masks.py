"""Which pixels are measured: alpha bands, masks inside files and beside them, against GDAL's masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.server import Fault
from testbed.services import Services, serve_catalogue
from tests.access.rasters.test_cog_warp import oracle, same
from tests.access.rasters.tiffs import PLACED, Image, cut, tiff

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 96
RNG = np.random.default_rng(3)
PIXELS = RNG.integers(1, 250, (5, SIZE, SIZE)).astype("uint8")
HOLES = np.indices((SIZE, SIZE)).sum(axis=0) // 5 % 4 > 0
BOX = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=SIZE, height=SIZE)
X, Y = pyproj.Transformer.from_crs(32632, 32633, always_xy=True).transform(500_450, 4_999_600)
ASKEW = GeoBox(epsg=32633, x_min=round(X) - 320, y_max=round(Y) + 320, resolution_m=10, width=64, height=64)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Services]]:
    path = tmp_path_factory.mktemp("masks")
    with serve_catalogue([], {"/f/": path}) as services:
        yield path, services


@pytest.fixture
def folder(served: tuple[Path, Services]) -> Iterator[tuple[Path, Services]]:
    yield served
    served[1].faults.clear()
    for path in served[0].iterdir():
        path.unlink()


def read(services: Services, name: str, bands: tuple[int, ...] = (1,), box: GeoBox = BOX, **how: Any) -> Any:
    request = ChipRequest(
        hrefs=(f"{services.base_url}/f/{name}",), bands=bands, geobox=box, kernel=how.pop("kernel", "nearest"), **how
    )
    with Reader(Client(retries=0, timeout_s=5.0)) as reader:
        (got,) = reader.read_chips([request])
    return got


def masks(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read_masks() > 0


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize(("count", "dtype"), [(2, "uint8"), (4, "uint8"), (4, "uint16"), (5, "uint8"), (5, "float32")])
@pytest.mark.parametrize("kind", [1, 2], ids=["associated", "unassociated"])
def test_pixels_without_alpha_are_not_measured(
    kind: int, count: int, dtype: str, planar: int, folder: tuple[Path, Services]
) -> None:
    path, services = folder
    pixels = PIXELS[:count].astype(dtype)
    pixels[-1] = np.where(HOLES, pixels[-1], 0)
    extra = count - (3 if count >= 4 else 1)
    image = Image(
        SIZE, SIZE, [b.tobytes() for b in cut(pixels, 32, 32, planar)],
        PLACED | {338: ("H", [0] * (extra - 1) + [kind])}, (32, 32), samples=count, planar=planar,
        bits=8 * pixels.itemsize, format=3 if dtype == "float32" else 1, photometric=2 if count >= 4 else 1,
    )  # fmt: skip
    (path / "a.tif").write_bytes(tiff([image]))
    got = read(services, "a.tif", tuple(range(1, count + 1)))
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels, pixels)
    np.testing.assert_array_equal(got.valid, np.stack([HOLES] * (count - 1) + [np.ones_like(HOLES)]))
    if count in (2, 4):  # elsewhere GDAL's masks leave the alpha band to its warp
        np.testing.assert_array_equal(got.valid, masks(path / "a.tif"))
    (only,) = read(services, "a.tif", (2,) if count > 2 else (1,)).valid
    np.testing.assert_array_equal(only, HOLES)


def written(path: Path, inside: bool, overviews: bool = False, driver: str = "GTiff", **how: Any) -> None:
    more = {"tiled": True, "blockxsize": 32, "blockysize": 32} if driver == "GTiff" else {"QUALITY": 100}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(
        path, "w", driver=driver, count=2, height=SIZE, width=SIZE, dtype="uint8", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), **more, **how,
    ) as dataset:  # fmt: skip
        dataset.write(PIXELS[:2])
        dataset.write_mask(HOLES)
        if overviews:
            dataset.build_overviews([2, 4])


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "beside"])
@pytest.mark.parametrize("overviews", [True, False])
def test_a_mask_decides_wherever_it_lies(inside: bool, overviews: bool, folder: tuple[Path, Services]) -> None:
    path, services = folder
    written(path / "m.tif", inside, overviews)
    assert (path / "m.tif.msk").exists() != inside
    got = read(services, "m.tif", (1, 2))
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.valid, masks(path / "m.tif"))
    np.testing.assert_array_equal(got.valid[0], HOLES)
    for kernel in ("nearest", "bilinear"):
        got = read(services, "m.tif", box=ASKEW, kernel=kernel)
        assert got.valid.any()
        assert not got.valid.all()
        same(got, oracle(path / "m.tif", ASKEW, kernel), kernel)
    coarse = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=240, width=4, height=4)
    assert isinstance(read(services, "m.tif", box=coarse, kernel="bilinear"), Chip)


def test_a_mask_beside_that_has_no_overviews_takes_them_from_its_raster_alone(folder: tuple[Path, Services]) -> None:
    """Rasters that lie alike are planned once; the mask of one of them is sought after they were read without it."""
    path, services = folder
    for name in ("a.tif", "b.tif"):
        written(path / name, False)
        (path / f"{name}.msk").rename(path / f"{name}.kept")
        with rasterio.open(path / name, "r+") as dataset:
            dataset.build_overviews([2, 4])
    (path / "b.tif.kept").rename(path / "b.tif.msk")
    coarse = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=240, width=4, height=4)
    how = {"bands": (1,), "geobox": coarse, "kernel": "bilinear"}
    stated, asked = (
        [ChipRequest(hrefs=(f"{services.base_url}/f/{name}.tif",), fill=fill, **how) for name in "ab"]  # type: ignore[arg-type]
        for fill in ((0.0,), ())
    )
    with Reader(Client(retries=0)) as reader:
        reader.read_chips(stated)
        together = reader.read_chips(asked)
    for got, name in zip(together, ("a.tif", "b.tif"), strict=True):
        alone = read(services, name, box=coarse, kernel="bilinear")
        assert isinstance(got, Chip), got
        np.testing.assert_array_equal(got.valid, alone.valid)
        np.testing.assert_array_equal(got.pixels, alone.pixels)


def test_a_mask_beside_a_jpeg2000(folder: tuple[Path, Services]) -> None:
    path, services = folder
    written(path / "t.tif", False)
    with rasterio.open(
        path / "m.jp2", "w", driver="JP2OpenJPEG", count=2, height=SIZE, width=SIZE, dtype="uint8", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), QUALITY=100, REVERSIBLE="YES",
    ) as dataset:  # fmt: skip
        dataset.write(PIXELS[:2])
    (path / "t.tif.msk").rename(path / "m.jp2.msk")
    got = read(services, "m.jp2", (2,))
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels[0], PIXELS[1])
    np.testing.assert_array_equal(got.valid, masks(path / "m.jp2")[:1])


def test_a_mask_is_not_asked_for_where_something_else_says_what_is_measured(folder: tuple[Path, Services]) -> None:
    path, services = folder
    written(path / "n.tif", False, nodata=7)
    client = Client(retries=0)
    with Reader(client) as reader:
        one = ChipRequest(hrefs=(f"{services.base_url}/f/n.tif",), bands=(1,), geobox=BOX, kernel="nearest")
        reader.read_chips([one, one])
        assert client.counters.requests == 1
    written(path / "s.tif", False)
    client = Client(retries=0)
    with Reader(client) as reader:
        href = f"{services.base_url}/f/s.tif"
        stated = ChipRequest(hrefs=(href,), bands=(1,), geobox=BOX, kernel="nearest", fill=(0.0,))
        reader.read_chips([stated])
        assert client.counters.requests == 1
        for _ in range(2):
            reader.read_chips([ChipRequest(hrefs=(href,), bands=(1,), geobox=BOX, kernel="nearest")])
        assert client.counters.requests == 2


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_mask_that_is_not_there_is_none(status: int, folder: tuple[Path, Services]) -> None:
    path, services = folder
    written(path / "x.tif", False)
    (path / "x.tif.msk").unlink()
    services.faults.append(lambda r: Fault(status=status) if r.path.endswith(".msk") else None)
    got = read(services, "x.tif")
    assert isinstance(got, Chip), got
    assert got.valid.all()


def test_a_web_page_in_place_of_a_mask_is_none(folder: tuple[Path, Services]) -> None:
    path, services = folder
    written(path / "x.tif", False)
    (path / "x.tif.msk").write_text("\n<!doctype html><title>Not here</title>" + " " * 999)
    got = read(services, "x.tif")
    assert isinstance(got, Chip), got
    assert got.valid.all()


def test_a_mask_that_cannot_be_had_is_a_failed_read(folder: tuple[Path, Services]) -> None:
    path, services = folder
    written(path / "x.tif", False)
    services.faults.append(lambda r: Fault(status=503) if r.path.endswith(".msk") else None)
    got = read(services, "x.tif")
    assert isinstance(got, AccessError)
    assert got.reason is Reason.UNAVAILABLE
    services.faults.clear()
    whole = (path / "x.tif.msk").read_bytes()
    (path / "x.tif.msk").write_bytes(b"no raster" * 9)
    got = read(services, "x.tif")
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT
    (path / "x.tif.msk").write_bytes(whole.replace((SIZE).to_bytes(2, "little"), (SIZE - 1).to_bytes(2, "little"), 1))
    got = read(services, "x.tif")
    assert isinstance(got, AccessError)
    assert got.reason in (Reason.WRONG_GRID, Reason.CORRUPT)
