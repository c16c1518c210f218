"""GeoBoxes: whole pixels on the lattice, north up, the point inside; outlines safe at 180 degrees and the poles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from sampling import bbox, footprint
from sampling.geobox import place_footprints, utm_epsgs
from schemas.grid import GridSpec
from schemas.place import GeoBox
from tests.geoboxes import geobox_at, utm_epsg

if TYPE_CHECKING:
    from pathlib import Path

LON, LAT = st.floats(-180, 180), st.floats(-90, 90)
GRID = GridSpec(size_m=2_560, resolution_m=10)

CORNERS_OF_THE_EARTH = {
    "Fiji": (179.999, -17.0, 32760),
    "Fiji, east": (-179.999, -17.0, 32701),
    "180": (180.0, -17.0, 32701),
    "-180": (-180.0, 10.0, 32601),
    "Chukotka": (-179.9999, 66.5, 32601),
    "Wrangel": (179.99999, 71.2, 32660),
    "Bergen": (5.3, 60.4, 32632),
    "off Norway": (2.9999, 60.4, 32631),
    "Svalbard": (15.6, 78.2, 32633),
    "Svalbard, 8.99 E": (8.99, 78.2, 32631),
    "Svalbard, 41.99 E": (41.99, 80.0, 32637),
    "Svalbard, 42 E": (42.0, 80.0, 32638),
    "North Pole": (0.0, 90.0, 32661),
    "South Pole": (77.0, -90.0, 32761),
    "84 N": (10.0, 84.0, 32661),
    "below 84 N": (10.0, 83.9999, 32633),
    "80 S": (10.0, -80.0, 32732),
    "below 80 S": (10.0, -80.0001, 32761),
    "zone border": (6.0, 45.0, 32632),
    "west of it": (5.9999999, 45.0, 32631),
    "equator": (6.0, 0.0, 32632),
    "south of it": (6.0, -1e-9, 32732),
}


@pytest.mark.parametrize(("lon", "lat", "epsg"), CORNERS_OF_THE_EARTH.values(), ids=CORNERS_OF_THE_EARTH)
def test_the_corners_of_the_earth(lon: float, lat: float, epsg: int) -> None:
    box = geobox_at(lon, lat, GRID)
    assert box.epsg == epsg
    check_box(box, lon, lat, GRID)
    check_outline(box, lon, lat)


@given(LON, LAT)
@example(180.0, 0.0)
@example(-180.0, -80.0)
def test_zones_are_those_of_the_vocabulary(lon: float, lat: float) -> None:
    assert utm_epsgs(np.array([lon]), np.array([lat]))[0] == utm_epsg(lon, lat)


@given(LON, LAT, st.sampled_from([(2_560, 10.0, 60.0), (600, 20.0, 60.0), (1_920, 30.0, 30.0), (5_000, 50.0, None)]))
def test_snapping(lon: float, lat: float, spec: tuple[float, float, float | None]) -> None:
    grid = GridSpec(size_m=spec[0], resolution_m=spec[1], snap_m=spec[2])
    check_box(geobox_at(lon, lat, grid), lon, lat, grid)


def check_box(box: GeoBox, lon: float, lat: float, grid: GridSpec) -> None:
    assert (box.width, box.height) == (grid.size_m / grid.resolution_m,) * 2
    assert box.resolution_m == grid.resolution_m
    if grid.snap_m is not None:
        origin = 10_000_000 if 32700 < box.epsg <= 32760 else 0
        assert box.x_min % grid.snap_m == 0
        assert (box.y_max - origin) % grid.snap_m == 0
    x, y = pyproj.Transformer.from_crs(4326, box.epsg, always_xy=True).transform(lon, lat)
    nearest = (grid.snap_m or 0.001) / 2 + 1e-6
    assert abs(box.x_min + grid.size_m / 2 - x) <= nearest
    assert abs(box.y_max - grid.size_m / 2 - y) <= nearest


@pytest.mark.real
def test_lattice_is_that_of_real_sentinel2_tiles(real: Path) -> None:
    """Northern tiles of the archive have corners on the lattice; the southern case is pinned from published ULY."""
    item = json.loads((real / "sentinel2/S2A_29RKH_20200219_0_L2A/S2A_29RKH_20200219_0_L2A.json").read_text())
    transforms = {tuple(a["proj:transform"][:6]) for a in item["assets"].values() if "proj:transform" in a}
    assert transforms
    for _, _, x, _, _, y in transforms:
        assert (x % 60, y % 60) == (0, 0)


@pytest.mark.parametrize(("lon", "lat", "uly"), [(135.0, -25.5, 7_200_040), (-63.0, -33.5, 6_300_040)])
def test_southern_lattice_holds_real_tile_corners(lon: float, lat: float, uly: float) -> None:
    """ULY of Sentinel-2 tiles in 53S and 20S: whole 60 m pixels of theirs are whole pixels of ours."""
    assert (geobox_at(lon, lat, GRID).y_max - uly) % 60 == 0


def test_no_snapping_keeps_millimetres() -> None:
    box = geobox_at(11.123456, 46.987654, GridSpec(size_m=2_560, snap_m=None))
    assert box.x_min == round(box.x_min, 3)
    assert box.x_min % 1 != 0


@given(LON, LAT)
def test_many_at_once_are_as_one_by_one(lon: float, lat: float) -> None:
    many = place_footprints(np.array([3.0, lon, -70.0]), np.array([50.0, lat, -33.0]), GRID)
    assert many.geobox(1, 10.0) == geobox_at(lon, lat, GRID)
    assert -180 <= many.lon[1] < 180


def check_outline(box: GeoBox, lon: float, lat: float) -> None:
    """The outline is valid, within [-180, 180], has the right area and holds the point; boxes hold the outline."""
    geometry = shapely.geometry.shape(footprint(box))
    assert geometry.is_valid
    west, south, east, north = geometry.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    for part in shapely.get_parts(geometry):
        assert part.exterior.is_ccw
    boxes = shapely.union_all([shapely.box(*b) for b in bbox(box)])
    assert len(bbox(box)) <= 2
    assert boxes.buffer(2e-7).covers(geometry)
    area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(geometry)
    size = box.width * box.resolution_m
    if abs(lat) < 89:
        assert abs(area) == pytest.approx(size**2, rel=0.02)
        assert geometry.distance(shapely.Point((lon + 180) % 360 - 180, lat)) < 1e-6 or abs(lon) > 179.99
    else:
        assert abs(north if lat > 0 else south) == 90
        assert west == -180
        assert east == 180


@given(LON, LAT, st.sampled_from([200.0, 2_560.0, 20_480.0, 100_000.0]))
@example(180.0, -90.0, 2_560.0)
@example(0.0, 90.0, 100_000.0)
def test_outlines_everywhere(lon: float, lat: float, size_m: float) -> None:
    box = geobox_at(lon, lat, GridSpec(size_m=size_m, resolution_m=10))
    geometry = shapely.geometry.shape(footprint(box))
    assert geometry.is_valid
    west, south, east, north = geometry.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    boxes = shapely.union_all([shapely.box(*b) for b in bbox(box)])
    assert boxes.buffer(2e-7).covers(geometry)
    equal_area = pyproj.Transformer.from_crs(4326, 6933, always_xy=True)
    flat = shapely.transform(shapely.segmentize(geometry, 0.5), lambda c: np.stack(equal_area.transform(*c.T), axis=1))
    assert flat.area == pytest.approx(size_m**2, rel=0.015)


def test_a_footprint_on_the_antimeridian_has_two_parts_and_two_boxes() -> None:
    box = geobox_at(179.9999, -17.0, GRID)
    assert footprint(box)["type"] == "MultiPolygon"
    (w1, s1, e1, n1), (w2, s2, e2, n2) = bbox(box)
    assert (e1, w2) == (180.0, -180.0)
    assert 179.9 < w1 < 180
    assert -180 < e2 < -179.9
    assert (s1, n1) == (pytest.approx(s2, abs=1e-3), pytest.approx(n2, abs=1e-3))


POLAR = st.floats(0, 600_000) | st.sampled_from([0.0, 10.0, 640.0, 1_280.0, 2_560.0])


@given(
    st.sampled_from([32661, 32761]),
    st.tuples(POLAR, st.sampled_from([-1, 1])),
    st.tuples(POLAR, st.sampled_from([-1, 1])),
    st.sampled_from([600, 2_560, 20_480, 100_000]),
)
@example(32761, (1_280.0, -1), (10.0, -1), 2_560)
@example(32661, (2_560.0, -1), (0.0, 1), 2_560)
@example(32761, (1e-05, -1), (0.0, -1), 20_480)
@example(32661, (1e-05, 1), (1e-05, -1), 20_480)
@example(32761, (0.03, -1), (0.03, 1), 2_560)
def test_outlines_round_the_poles(epsg: int, dx: tuple[float, int], dy: tuple[float, int], size: int) -> None:
    """Boxes on, beside and along the pole and the meridian of 180 degrees: valid, within their boxes."""
    box = GeoBox(
        epsg=epsg,
        x_min=2_000_000 + dx[0] * dx[1],
        y_max=2_000_000 + dy[0] * dy[1],
        resolution_m=10,
        width=size // 10,
        height=size // 10,
    )
    geometry = shapely.geometry.shape(footprint(box))
    assert geometry.is_valid
    west, south, east, north = geometry.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    assert all(part.exterior.is_ccw for part in shapely.get_parts(geometry))
    assert shapely.union_all([shapely.box(*b) for b in bbox(box)]).covers(geometry)
    equal_area = pyproj.Transformer.from_crs(4326, 6933, always_xy=True)
    flat = shapely.transform(shapely.segmentize(geometry, 0.5), lambda c: np.stack(equal_area.transform(*c.T), axis=1))
    assert flat.area == pytest.approx(size**2, rel=0.035)
