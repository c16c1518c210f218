"""Rasters in every kind of coordinate reference system against GDAL's warp of the whole file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters import crs as systems
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.raster import open_raster
from pipelines.access.rasters.warp import frames
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.services import Services, serve_catalogue
from tests.access.rasters.test_cog_warp import oracle, same, smooth, write
from tests.geoboxes import utm_epsg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 300
WGS84 = 'DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0]'
ARC_SECONDS = f'GEOGCS["in seconds",{WGS84},UNIT["arc-second",4.84813681109536e-06]]'
GRADS = f'GEOGCS["in grads",{WGS84},UNIT["grad",0.01570796326794897]]'
SYSTEMS = {
    "EPSG:27572": (2.4, 48.8),  # NTF (Paris) / Lambert zone II
    "EPSG:4807": (2.4, 48.8),  # NTF (Paris), grads from Paris
    "EPSG:4804": (119.4, -5.1),  # Makassar (Jakarta)
    "EPSG:4801": (7.5, 47.0),  # Bern 1898 (Bern)
    "EPSG:31257": (10.5, 47.2),  # MGI / Austria GK M28
    "EPSG:31281": (10.5, 47.2),  # MGI (Ferro) / Austria West Zone
    "EPSG:2065": (15.0, 50.0),  # S-JTSK (Ferro) / Krovak, axes south and west
    "EPSG:5514": (15.0, 50.0),  # S-JTSK / Krovak East North
    "EPSG:2154": (2.4, 48.8),
    "EPSG:25832": (9.1, 48.0),
    "EPSG:3035": (9.1, 48.0),
    "EPSG:27700": (-1.5, 52.5),
    "EPSG:4267": (-100.0, 40.0),  # NAD27
    "EPSG:4269": (-100.0, 40.0),
    "EPSG:5070": (-100.0, 40.0),
    "EPSG:2193": (172.5, -43.5),
    "EPSG:3031": (20.0, -82.0),
    "EPSG:3413": (20.0, 85.0),
    "EPSG:5041": (20.0, 85.0),
    "EPSG:5042": (20.0, -85.0),
    "EPSG:32661": (20.0, 85.0),
    "EPSG:3857": (9.1, 48.0),
    "EPSG:9707": (9.1, 48.0),  # WGS 84 + EGM96 height
    "EPSG:4979": (9.1, 48.0),  # WGS 84, three-dimensional
    ARC_SECONDS: (9.1, 48.0),
    GRADS: (9.1, 48.0),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Services]]:
    path = tmp_path_factory.mktemp("crs")
    with serve_catalogue([], {"/f/": path}) as services:
        yield path, services


def chip_at(lon: float, lat: float, size: int = 64) -> GeoBox:
    epsg = utm_epsg(lon, lat)
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    return GeoBox(epsg=epsg, x_min=round(x) - 300, y_max=round(y) + 300, resolution_m=10, width=size, height=size)


def raster_over(path: Path, text: str, geobox: GeoBox, offset: tuple[float, float] = (0.5, 0.5)) -> None:
    """A raster in a system with pixels of about 10 m; `offset`: which share of it lies left of and above the chip."""
    crs = CRS.from_user_input(text)
    middle = (geobox.x_min + geobox.width * 5, geobox.y_max - geobox.height * 5)
    (x,), (y,) = transform(CRS.from_epsg(geobox.epsg), crs, [middle[0]], [middle[1]])
    turn = systems.turn_of(crs)
    step = 10.0 if turn is None else turn / 4e6
    left, top = x - offset[0] * SIZE * step, y + offset[1] * SIZE * step
    write(path, smooth((SIZE, SIZE), 4), crs, Affine(step, 0, left, 0, -step, top), 0)  # type: ignore[arg-type]


def read(services: Services, name: str, geobox: GeoBox, kernel: Any = "nearest", **how: Any) -> Any:
    request = ChipRequest(hrefs=(f"{services.base_url}/f/{name}",), bands=(1,), geobox=geobox, kernel=kernel, **how)
    with Reader(Client(retries=0)) as reader:
        (got,) = reader.read_chips([request])
    return got


@pytest.mark.slow
@pytest.mark.parametrize("offset", [(0.5, 0.5), (0.98, 0.9), (0.05, 0.1)], ids=["inside", "edge", "other edge"])
@pytest.mark.parametrize("text", SYSTEMS, ids=lambda t: t[:20])
def test_equals_gdal_on_the_whole_file(text: str, offset: tuple[float, float], folder: tuple[Path, Services]) -> None:
    path, services = folder
    geobox = chip_at(*SYSTEMS[text])
    raster_over(path / "a.tif", text, geobox, offset)
    for kernel in ("nearest", "bilinear"):
        got = read(services, "a.tif", geobox, kernel)
        assert isinstance(got, Chip), got
        assert got.valid.any()
        same(got, oracle(path / "a.tif", geobox, kernel), kernel)


@pytest.mark.slow
def test_a_raster_round_the_globe_from_0_to_360_has_no_seam(tmp_path: Path) -> None:
    step = 0.25
    whole = smooth((720, 1440), 3)
    for left in (0.0, -180.0, -90.0):
        write(tmp_path / "g.tif", whole, "EPSG:4326", Affine(step, 0, left, 0, -step, 90), None)
        with serve_catalogue([], {"/f/": tmp_path}) as services:
            for lon in (0.0, -0.01, 0.01, 179.99, -179.99, 90.0, -90.0):
                geobox = chip_at(lon, 30.1, 256)
                got = read(services, "g.tif", geobox)
                assert isinstance(got, Chip), got
                assert got.valid.all(), (left, lon)
                x, y = np.meshgrid(*(np.arange(256) * 10.0 + 5 for _ in range(2)))
                lons, lats = pyproj.Transformer.from_crs(geobox.epsg, 4326, always_xy=True).transform(
                    geobox.x_min + x, geobox.y_max - y
                )
                columns = np.floor(((lons - left) % 360.0) / step).astype(int)
                rows = np.floor((90.0 - lats) / step).astype(int)
                assert (got.pixels[0] == whole[rows, columns]).mean() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("width", [170, 190, 225, 265, 271])
@pytest.mark.parametrize("left", [-200.0, -180.0, -20.0, 0.0, 60.0])
def test_a_raster_over_part_of_the_globe_is_found_where_it_is(width: int, left: float, tmp_path: Path) -> None:
    """Also where its longitudes are a turn away from the chip's, and nowhere else."""
    columns = np.broadcast_to(np.arange(1, width + 1, dtype=np.uint16), (180, width))
    write(tmp_path / "w.tif", np.ascontiguousarray(columns), "EPSG:4326", Affine(1, 0, left, 0, -1, 90), None)
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        for lon in (
            left + 0.5,
            left + 9.5,
            left + width // 2 + 0.5,
            left + width - 0.5,
            left + width + 2.5,
            left - 2.5,
        ):
            got = read(services, "w.tif", chip_at((lon + 180.0) % 360.0 - 180.0, 0.3, 16))
            column = (lon - left) % 360.0
            assert isinstance(got, Chip), got
            if column >= width:
                assert not got.valid.any(), lon
            else:
                assert got.valid.all(), lon
                assert set(np.unique(got.pixels)) == {int(column) + 1}, lon


def test_across_180_degrees_only_degrees_and_projected_rasters_are_read(tmp_path: Path) -> None:
    """In grads there are 400 round the Earth: GDAL sees to the jump in degrees alone."""
    crs = CRS.from_wkt(GRADS)
    turn = systems.turn_of(crs)
    assert turn == pytest.approx(400.0)
    step = turn / 4e6
    inside = chip_at(12.0, 40.0)
    raster_over(tmp_path / "in.tif", GRADS, inside)
    write(tmp_path / "over.tif", smooth((SIZE, SIZE), 4), crs, Affine(step, 0, 200.0 - 300 * step, 0, -step, 44.46), 0)  # type: ignore[arg-type]
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        got = read(services, "in.tif", inside)
        assert isinstance(got, Chip), got
        assert got.valid.any()
        (lon,), (lat,) = transform(crs, CRS.from_epsg(4326), [200.0], [44.459])
        refused = read(services, "over.tif", chip_at(lon, lat))
    assert isinstance(refused, AccessError), refused
    assert refused.reason is Reason.WRONG_GRID
    assert "must be in degrees or projected" in refused.detail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("resolution_m", "level"), [(10, 1), (150, 1), (160, 4), (310, 4), (320, 8), (640, 16), (1280, 16)]
)
def test_wide_pixels_start_from_an_overview_of_four_pixels_each(resolution_m: int, level: int, tmp_path: Path) -> None:
    """From 16 source pixels in one of the chip's, and for averaging kernels only."""
    write(tmp_path / "o.tif", smooth((2048, 2048), 1), "EPSG:32632", Affine(10, 0, 500_000, 0, -10, 5_000_000), None)
    with rasterio.open(tmp_path / "o.tif", "r+") as dataset:
        dataset.build_overviews([2, 4, 8, 16], rasterio.enums.Resampling.average)
    geobox = GeoBox(epsg=32632, x_min=501_000, y_max=4_999_000, resolution_m=resolution_m, width=8, height=8)
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        raster = open_raster(Client(retries=0), f"{services.base_url}/f/o.tif")
        for kernel, expected in (("bilinear", level), ("cubic", level), ("nearest", 1)):
            (frame,) = frames(geobox, kernel, [raster])
            assert {part.level.width for part in frame.parts} == {2048 // expected}, kernel


LATTICES = {
    "turned": Affine(10, 0, 500_000, 0, -10, 5_000_000) * Affine.rotation(17),
    "sheared": Affine(10, 3, 500_000, 2, -10, 5_000_000),
    "south up": Affine(10, 0, 500_000, 0, 10, 4_997_000),
    "east to west": Affine(-10, 0, 503_000, 0, -10, 5_000_000),
}


@pytest.mark.parametrize("kind", LATTICES)
def test_however_a_lattice_lies(kind: str, folder: tuple[Path, Services]) -> None:
    path, services = folder
    write(path / "l.tif", smooth((SIZE, SIZE), 1), "EPSG:32632", LATTICES[kind], None)
    for x, y in ((500_305, 4_999_505), (499_700, 5_000_200)):
        geobox = GeoBox(epsg=32632, x_min=x, y_max=y, resolution_m=10, width=64, height=64)
        for kernel in ("nearest", "bilinear"):
            got = read(services, "l.tif", geobox, kernel)
            assert got.valid.any()
            same(got, oracle(path / "l.tif", geobox, kernel), kernel)


@pytest.mark.slow
@pytest.mark.parametrize("left", [180.0, -180.0])
@pytest.mark.parametrize("code", ["EPSG:4326", "EPSG:4258"])
def test_one_raster_on_both_sides_of_180_degrees(left: float, code: str, folder: tuple[Path, Services]) -> None:
    path, services = folder
    step = 1 / 3600
    place = Affine(step, 0, left - 150 * step, 0, -step, -16.4)
    write(path / "x.tif", smooth((SIZE, SIZE), 2), code, place, None)
    for lon in (179.99, -179.99, 179.9999):
        geobox = chip_at(lon, -16.44)
        for kernel in ("nearest", "bilinear"):
            got = read(services, "x.tif", geobox, kernel)
            assert got.valid.all()
            same(got, oracle(path / "x.tif", geobox, kernel), kernel)


SAME = {
    "esri": CRS.from_epsg(32632).to_wkt(version="WKT1_ESRI"),
    "wkt2": CRS.from_epsg(32632).to_wkt(version="WKT2_2019"),
    "with heights": "EPSG:32632+5773",
    "datum without a name": 'PROJCS["unnamed",GEOGCS["Unknown datum based upon the WGS 84 ellipsoid",'
    'DATUM["Not_specified_based_on_WGS_84_spheroid",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",9],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",0],UNIT["metre",1]]',
    "ellipsoid alone": "+proj=utm +zone=32 +ellps=WGS84 +units=m",
    "shift of nothing": "+proj=utm +zone=32 +datum=WGS84 +towgs84=0,0,0 +units=m",
    "no codes": pyproj.CRS.from_epsg(32632).to_wkt("WKT1_GDAL").replace('AUTHORITY["EPSG","32632"]', ""),
}
OTHER = {
    "zone": "EPSG:32633",
    "datum": "EPSG:23032",
    "near datum": "EPSG:25832",
    "unnamed zone": "+proj=utm +zone=33 +ellps=WGS84 +units=m",
    "unnamed ellipsoid": "+proj=utm +zone=32 +ellps=clrk66 +units=m",
    "shift": "+proj=utm +zone=32 +ellps=WGS84 +towgs84=100,0,0 +units=m",
    "feet": "+proj=utm +zone=32 +ellps=WGS84 +units=us-ft",
    "degrees": "EPSG:4326",
    "plane": 'LOCAL_CS["a plane",UNIT["metre",1]]',
}


@pytest.mark.parametrize("kind", SAME)
def test_a_system_is_the_same_whatever_its_writer_calls_it(kind: str, folder: tuple[Path, Services]) -> None:
    path, services = folder
    pixels = smooth((64, 64), 1)
    place = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    write(path / "s.tif", pixels, CRS.from_user_input(SAME[kind]), place, None)  # type: ignore[arg-type]
    geobox = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=64, height=64)
    for said in ((), (32632,)):
        got = read(services, "s.tif", geobox, epsgs=said)
        assert isinstance(got, Chip), got
        assert got.resampling == "none"
        np.testing.assert_array_equal(got.pixels[0], pixels)


@pytest.mark.parametrize("kind", OTHER)
def test_another_system_than_the_item_says_is_refused_by_its_name(kind: str, folder: tuple[Path, Services]) -> None:
    path, services = folder
    crs = CRS.from_user_input(OTHER[kind])
    assert not systems.same(crs, 32632)
    write(path / "o.tif", smooth((64, 64), 1), crs, Affine(10, 0, 500_000, 0, -10, 5_000_000), None)  # type: ignore[arg-type]
    geobox = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=64, height=64)
    got = read(services, "o.tif", geobox, epsgs=(32632,))
    assert isinstance(got, AccessError)
    assert got.reason is Reason.WRONG_GRID
    assert "its item states EPSG:32632" in got.detail
    assert "None" not in got.detail
    assert "\n" not in got.detail


def test_a_code_that_is_none_is_refused(folder: tuple[Path, Services]) -> None:
    path, services = folder
    geobox = chip_at(9.1, 48.0)
    raster_over(path / "n.tif", "EPSG:32632", geobox)
    got = read(services, "n.tif", geobox, epsgs=(999_999,))
    assert isinstance(got, AccessError)
    assert got.reason is Reason.WRONG_GRID
