"""The one warp against GDAL's warp of the whole file, and mosaics against GDAL's warp of a virtual mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from schemas.place import GeoBox
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SIZE = 600


def smooth(shape: tuple[int, int], seed: int, low: int = 100, high: int = 9000) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    field = sum(np.sin(x / rng.uniform(3, 60) + rng.uniform(0, 6)) + np.cos(y / rng.uniform(3, 60)) for _ in range(6))
    noise = rng.normal(size=shape) * 0.2
    scaled = (field + noise - (field + noise).min()) / np.ptp(field + noise)
    return (low + scaled * (high - low)).astype(np.uint16)


def write(path: Path, pixels: NDArray[Any], crs: str, transform: Affine, nodata: float | None) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=pixels.shape[0], width=pixels.shape[1], dtype=pixels.dtype, crs=crs,
        transform=transform, nodata=nodata, tiled=True, blockxsize=128, blockysize=128, compress="deflate",
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    return path


def oracle(path: Path, geobox: GeoBox, kernel: str, **how: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """GDAL's own warp of the whole file onto the chip."""
    how |= {
        "dst_transform": Affine(*geobox.transform),
        "dst_crs": f"EPSG:{geobox.epsg}",
        "resampling": Resampling[kernel],
    }
    with rasterio.open(path) as dataset:
        how |= {"src_transform": dataset.transform, "src_crs": dataset.crs}
        valid = np.zeros(geobox.shape, np.uint8)
        mask = (dataset.read_masks(1) > 0).astype(np.uint8)
        if kernel == "nearest":
            out = np.zeros(geobox.shape, dataset.dtypes[0])
            reproject(dataset.read(1), out, **how)
            reproject(mask, valid, **how)
            return out, valid > 0
        how |= scales(dataset, geobox)
        source = np.where(mask > 0, dataset.read(1), np.nan).astype(np.float64)
        out = np.full(geobox.shape, np.nan)
        reproject(source, out, src_nodata=np.nan, dst_nodata=np.nan, **how)
        return out, ~np.isnan(out)


def scales(dataset: Any, geobox: GeoBox) -> dict[str, float]:
    """The resampling factor, for GDAL: left alone it takes it from boxes, which are too large where grids lie askew."""
    to_source = pyproj.Transformer.from_crs(geobox.epsg, dataset.crs.to_wkt(), always_xy=True).transform
    x, y = geobox.x_min + geobox.width * geobox.resolution_m / 2, geobox.y_max - geobox.height * geobox.resolution_m / 2
    step = geobox.resolution_m
    points = [~dataset.transform @ to_source(px, py) for px, py in ((x, y), (x + step, y), (x, y - step))]
    ratios = [np.hypot(points[1][i] - points[0][i], points[2][i] - points[0][i]) for i in (0, 1)]
    return {name: 1.0 if r < 1.5 else 1.0 / r for name, r in zip(("XSCALE", "YSCALE"), ratios, strict=True)}


def read(hrefs: tuple[str, ...], boxes: list[GeoBox], kernel: Any) -> list[Chip]:
    with Reader(Client()) as reader:
        got = reader.read_chips([ChipRequest(hrefs=hrefs, bands=(1,), geobox=b, kernel=kernel) for b in boxes])
    for chip in got:
        assert isinstance(chip, Chip), chip
    return [c for c in got if isinstance(c, Chip)]


def same(chip: Chip, expected: tuple[NDArray[Any], NDArray[np.bool_]], kernel: str, tolerance: float = 0.01) -> None:
    pixels, valid = expected
    np.testing.assert_array_equal(chip.valid[0], valid)
    if kernel == "nearest":
        np.testing.assert_array_equal(chip.pixels[0][valid], pixels[valid])
    else:
        np.testing.assert_allclose(chip.pixels[0][valid], pixels[valid], atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Services]]:
    path = tmp_path_factory.mktemp("warp")
    utm = smooth((SIZE, SIZE), 1)
    utm[200:230, 100:400] = 0
    utm[:, 590:] = 0
    write(path / "utm.tif", utm, "EPSG:32632", Affine(10, 0, 600_000, 0, -10, 5_200_000), 0)
    write(path / "full.tif", smooth((SIZE, SIZE), 2), "EPSG:32632", Affine(10, 0, 600_000, 0, -10, 5_200_000), None)
    degrees = Affine(1 / 3600, 0, 10.2 - 0.5 / 3600, 0, -1 / 3600, 46.99 + 0.5 / 3600)
    write(path / "degrees.tif", smooth((SIZE, SIZE), 3), "EPSG:4326", degrees, None)
    with serve_catalogue([], {"/f/": path}) as services:
        yield path, services


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(["utm", "full", "degrees"]),
    epsg=st.sampled_from([32632, 32633]),
    place=st.tuples(st.floats(-0.05, 1.0), st.floats(-0.05, 1.0)),
    resolution_m=st.sampled_from([5, 10, 20, 30, 60]),
    phase=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_equals_gdal_on_the_whole_file(
    kernel: str, folder: tuple[Path, Services], name: str, epsg: int, place: tuple[float, float], resolution_m: int,
    phase: tuple[int, int],
) -> None:  # fmt: skip
    path, services = folder
    with rasterio.open(path / f"{name}.tif") as dataset:
        x = dataset.bounds.left + place[0] * (dataset.bounds.right - dataset.bounds.left)
        y = dataset.bounds.top - place[1] * (dataset.bounds.top - dataset.bounds.bottom)
        there = pyproj.Transformer.from_crs(dataset.crs.to_wkt(), epsg, always_xy=True).transform(x, y)
    geobox = GeoBox(
        epsg=epsg, x_min=round(there[0] / 60) * 60 + phase[0], y_max=round(there[1] / 60) * 60 + phase[1],
        resolution_m=resolution_m, width=64, height=48,
    )  # fmt: skip
    (chip,) = read((f"{services.base_url}/f/{name}.tif",), [geobox], kernel)
    copied = epsg == 32632 and name != "degrees" and resolution_m == 10 and phase == (0, 0)
    if chip.valid.any():
        assert chip.resampling == ("none" if copied else kernel)
    expected = oracle(path / f"{name}.tif", geobox, "nearest" if copied else kernel)
    same(chip, expected, kernel)


def vrt(path: Path, tiles: list[Path]) -> Path:
    """A virtual mosaic as gdalbuildvrt writes it, for tiles of one lattice."""
    opened = [rasterio.open(t) for t in tiles]
    first = opened[0]
    left, top = min(d.bounds.left for d in opened), max(d.bounds.top for d in opened)
    a, e = first.transform.a, first.transform.e
    width = round((max(d.bounds.right for d in opened) - left) / a)
    height = round((min(d.bounds.bottom for d in opened) - top) / e)
    nodata = "" if first.nodata is None else f"<NoDataValue>{first.nodata}</NoDataValue>"
    kind = {"uint16": "UInt16", "float32": "Float32", "uint8": "Byte"}[first.dtypes[0]]
    parts = "".join(
        f"<ComplexSource><SourceFilename>{escape(str(t))}</SourceFilename><SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{d.width}" ySize="{d.height}"/>'
        f'<DstRect xOff="{round((d.bounds.left - left) / a)}" yOff="{round((d.bounds.top - top) / e)}" '
        f'xSize="{d.width}" ySize="{d.height}"/></ComplexSource>'
        for t, d in zip(tiles, opened, strict=True)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{escape(first.crs.to_wkt())}</SRS>'
        f"<GeoTransform>{left!r}, {a!r}, 0, {top!r}, 0, {e!r}</GeoTransform>"
        f'<VRTRasterBand dataType="{kind}" band="1">{nodata}{parts}</VRTRasterBand></VRTDataset>'
    )
    for dataset in opened:
        dataset.close()
    return path


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
def test_tiles_that_meet_leave_no_seam(kernel: str, tmp_path: Path) -> None:
    step = 1 / 3600
    whole = smooth((400, 400), 5).astype(np.float32)
    tiles = []
    for i, (row, column) in enumerate([(0, 0), (0, 200), (200, 0), (200, 200)]):
        transform = Affine(step, 0, 10.2 + column * step - step / 2, 0, -step, 46.99 - row * step + step / 2)
        tiles.append(
            write(tmp_path / f"t{i}.tif", whole[row : row + 200, column : column + 200], "EPSG:4326", transform, None)
        )
    mosaic = vrt(tmp_path / "m.vrt", tiles)
    x, y = pyproj.Transformer.from_crs(4326, 32632, always_xy=True).transform(10.2 + 200 * step, 46.99 - 200 * step)
    boxes = [
        GeoBox(epsg=32632, x_min=round(x) - 900 + dx, y_max=round(y) + 900 + dy, resolution_m=30, width=60, height=60)
        for dx, dy in ((0, 0), (7, 13), (890, 0), (-905, 905))
    ]
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        hrefs = tuple(f"{services.base_url}/f/{t.name}" for t in tiles)
        for geobox, chip in zip(boxes, read(hrefs, boxes, kernel), strict=True):
            assert chip.valid.all()
            same(chip, oracle(mosaic, geobox, kernel), kernel)


def test_first_valid_pixel_wins_across_zones(folder: tuple[Path, Services], tmp_path: Path) -> None:
    """Two granules in two UTM zones: each is brought to the chip, the first goes where it has pixels."""
    path, _ = folder
    with rasterio.open(path / "utm.tif") as dataset:
        pixels = dataset.read(1)
    pixels[:, 300:] = 0
    write(tmp_path / "half.tif", pixels, "EPSG:32632", Affine(10, 0, 600_000, 0, -10, 5_200_000), 0)
    east = pyproj.Transformer.from_crs(32632, 32633, always_xy=True).transform(602_900, 5_199_000)
    transform = Affine(10, 0, round(east[0] / 10) * 10 - 3000, 0, -10, round(east[1] / 10) * 10 + 3000)
    write(tmp_path / "other.tif", smooth((700, 700), 8, 20_000, 30_000), "EPSG:32633", transform, 0)
    geobox = GeoBox(epsg=32632, x_min=602_500, y_max=5_199_500, resolution_m=10, width=100, height=80)
    with serve_catalogue([], {"/g/": tmp_path}) as more:
        hrefs = (f"{more.base_url}/g/half.tif", f"{more.base_url}/g/other.tif")
        (chip,) = read(hrefs, [geobox], "bilinear")
    assert chip.resampling == "bilinear"
    assert chip.valid.all()
    np.testing.assert_array_equal(chip.pixels[0][:, :50], pixels[50:130, 250:300])
    expected, _ = oracle(tmp_path / "other.tif", geobox, "bilinear")
    np.testing.assert_allclose(chip.pixels[0][:, 50:], expected[:, 50:], atol=0.01)


@pytest.mark.parametrize("middle", [179.999, -179.999])
@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_tiles_that_meet_at_the_180th_meridian(kernel: str, middle: float, tmp_path: Path) -> None:
    step = 1 / 3600
    whole = smooth((400, 400), 6).astype(np.float32)
    west = Affine(step, 0, 180.0 - 200 * step - step / 2, 0, -step, -16.4 + step / 2)
    east = Affine(step, 0, -180.0 - step / 2, 0, -step, -16.4 + step / 2)
    tiles = [
        write(tmp_path / "w.tif", whole[:, :200], "EPSG:4326", west, None),
        write(tmp_path / "e.tif", whole[:, 200:], "EPSG:4326", east, None),
    ]
    epsg = 32760 if middle > 0 else 32701
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(middle, -16.45)
    geobox = GeoBox(epsg=epsg, x_min=round(x) - 900, y_max=round(y) + 900, resolution_m=30, width=60, height=60)
    turned = write(
        tmp_path / "t.tif", whole, "+proj=longlat +datum=WGS84 +pm=180", Affine.translation(-180, 0) * west, None
    )
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        for order in (tiles, tiles[::-1]):
            (chip,) = read(tuple(f"{services.base_url}/f/{t.name}" for t in order), [geobox], kernel)
            assert chip.valid.all()
            same(chip, oracle(turned, geobox, kernel), kernel)


@pytest.mark.slow
@pytest.mark.parametrize("epsg", [32661, 32761])
def test_a_pole_has_all_longitudes(epsg: int, tmp_path: Path) -> None:
    step = 1 / 120
    rows = 24
    whole = smooth((rows, 360 * 120), 9).astype(np.float32)
    top = 90.0 if epsg == 32661 else -90.0 + rows * step
    tiles = []
    for i in range(36):
        transform = Affine(step, 0, -180.0 + 10 * i, 0, -step, top)
        tiles.append(write(tmp_path / f"p{i}.tif", whole[:, 1200 * i : 1200 * (i + 1)], "EPSG:4326", transform, None))
    mosaic = write(tmp_path / "all.tif", whole, "EPSG:4326", Affine(step, 0, -180.0, 0, -step, top), None)
    geobox = GeoBox(epsg=epsg, x_min=2_000_000 - 6000, y_max=2_000_000 + 6000, resolution_m=200, width=60, height=60)
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        (chip,) = read(tuple(f"{services.base_url}/f/{t.name}" for t in tiles), [geobox], "nearest")
    assert chip.valid.all()
    same(chip, oracle(mosaic, geobox, "nearest", SAMPLE_GRID="YES"), "nearest")


def test_a_gradient_stays_where_it_is(tmp_path: Path) -> None:
    """Residual shift of a plane through bilinear and cubic warps: below 0.05 px."""
    y, x = np.indices((SIZE, SIZE), dtype=np.float64)
    write(tmp_path / "g.tif", 5.0 * x + 3.0 * y + 1000, "EPSG:32632", Affine(10, 0, 600_000, 0, -10, 5_200_000), None)
    centre = pyproj.Transformer.from_crs(32632, 32633, always_xy=True).transform(603_000, 5_197_000)
    geobox = GeoBox(
        epsg=32633, x_min=round(centre[0]) - 640, y_max=round(centre[1]) + 640, resolution_m=10, width=128, height=128
    )
    back = pyproj.Transformer.from_crs(32633, 32632, always_xy=True)
    gx, gy = np.meshgrid(geobox.x_min + 10 * (np.arange(128) + 0.5), geobox.y_max - 10 * (np.arange(128) + 0.5))
    sx, sy = back.transform(gx, gy)
    truth = 5.0 * ((sx - 600_000) / 10 - 0.5) + 3.0 * ((5_200_000 - sy) / 10 - 0.5) + 1000
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        for kernel in ("bilinear", "cubic"):
            (chip,) = read((f"{services.base_url}/f/g.tif",), [geobox], kernel)
            assert chip.valid.all()
            shift = np.abs(chip.pixels[0] - truth) / np.hypot(5.0, 3.0)
            assert shift.mean() < 0.05
            assert shift.max() < 0.15  # GDAL's approximate transformer allows 0.125 px


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
def test_bands_in_files_of_their_own_are_each_as_read_alone(folder: tuple[Path, Services], kernel: Any) -> None:
    """Files that lie alike are warped at once: with the same gaps, with others, of another dtype, one that lies
    elsewhere, one whose pixels are damaged, and one that is not there."""
    path, services = folder
    place = Affine(10, 0, 600_000, 0, -10, 5_200_000)
    holes = np.ones((SIZE, SIZE), bool)
    holes[100:200:3, 200:300] = False
    names = [f"band-{i}.tif" for i in range(8)]
    for i, name in enumerate(names):
        pixels = smooth((SIZE, SIZE), 30 + i)
        gaps = holes if i < 3 else np.roll(holes, i, axis=1)
        kept = np.where(gaps, pixels, 0) if i < 5 else pixels
        moved = Affine.translation(5, 0) * place if i == 6 else place
        write(path / name, kept.astype(np.float32 if i == 4 else np.uint16), "EPSG:32632", moved, 0)
    broken = bytearray((path / names[7]).read_bytes())
    broken[len(broken) // 3 : 2 * len(broken) // 3] = bytes(len(broken) // 3)
    (path / names[7]).write_bytes(broken)
    boxes = [GeoBox(epsg=32632, x_min=600_005 + 1_500 * i, y_max=5_199_985, resolution_m=30, width=60, height=50)
             for i in range(3)]  # fmt: skip
    hrefs = [f"{services.base_url}/f/{name}" for name in (*names, "absent.tif")]
    asked = [ChipRequest(hrefs=(href,), bands=(1,), geobox=box, kernel=kernel) for box in boxes for href in hrefs]
    with Reader(Client()) as reader:
        together = reader.read_chips(asked)
        alone = [reader.read_chips([one])[0] for one in asked]
    assert sum(isinstance(chip, Chip) for chip in alone) >= 7 * len(boxes)
    for one, other in zip(together, alone, strict=True):
        if isinstance(one, Chip) and isinstance(other, Chip):
            assert (one.pixels.dtype, one.resampling) == (other.pixels.dtype, other.resampling)
            np.testing.assert_array_equal(one.valid, other.valid)
            np.testing.assert_array_equal(one.pixels[one.valid], other.pixels[one.valid])
        else:
            assert (type(one), str(one)) == (type(other), str(other))


def test_many_bands_of_a_large_chip_are_each_as_read_alone(folder: tuple[Path, Services]) -> None:
    """Files far coarser than the chip: GDAL would divide the chips of all of them, and place pixels by each part."""
    path, services = folder
    for i in range(10):
        write(
            path / f"{i}.tif",
            smooth((80, 80), i).astype(np.float64),
            "EPSG:32632",
            Affine(100, 0, 600_000, 0, -100, 5_200_000),
            0,
        )
    x, y = pyproj.Transformer.from_crs(32632, 32633, always_xy=True).transform(604_000, 5_196_000)
    box = GeoBox(epsg=32633, x_min=round(x) - 2_500, y_max=round(y) + 2_500, resolution_m=5, width=1_200, height=900)
    asked = [
        ChipRequest(hrefs=(f"{services.base_url}/f/{i}.tif",), bands=(1,), geobox=box, kernel="bilinear")
        for i in range(10)
    ]
    with Reader(Client()) as reader:
        together = reader.read_chips(asked)
        alone = reader.read_chips(asked[:1]) + reader.read_chips(asked[1:2])
    for one, other in zip(together, alone, strict=False):
        assert isinstance(one, Chip)
        assert isinstance(other, Chip)
        assert one.valid.all()
        np.testing.assert_array_equal(one.pixels, other.pixels)
