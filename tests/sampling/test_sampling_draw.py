"""Points: counter-based, equal-area, inside their area, on land."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from sampling import pack
from sampling.chance import Purpose, ranks, uniforms
from sampling.errors import SamplingError
from sampling.land import on_land
from sampling.region import region_of
from sampling.sphere import authalic_sine, geocentric, latitude_of, rounded, wrapped
from schemas.area import Area
from tests.sampling.placed import sample_places

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.recipe import Recipe

HERE = Path()
GLOBE = region_of(Area(land_only=False), HERE)


@given(seed=st.integers(0, 2**63 - 1), index=st.integers(0, 2**40), length=st.integers(1, 50))
def test_number_i_is_the_same_alone_and_in_a_row(seed: int, index: int, length: int) -> None:
    row = uniforms(seed, Purpose.POINTS, index, index + length)
    alone = uniforms(seed, Purpose.POINTS, index + length - 1, index + length)
    assert np.array_equal(row[-1:], alone)
    assert ((row >= 0) & (row < 1)).all()


@given(seed=st.integers(0, 2**63 - 1), first=st.integers(0, 10**9))
def test_candidate_i_depends_on_no_other(seed: int, first: int) -> None:
    many = GLOBE.draw(seed, first, first + 20)
    one = GLOBE.draw(seed, first + 13, first + 14)
    assert many[0][13] == one[0][0]
    assert many[1][13] == one[1][0]


def test_the_millionth_point_needs_none_before_it() -> None:
    lon, lat, _ = GLOBE.draw(42, 0, 1_000_000)
    last = GLOBE.draw(42, 999_999, 1_000_000)
    assert (lon[-1], lat[-1]) == (last[0][0], last[1][0])


def test_streams_and_seeds_differ() -> None:
    draws = [uniforms(s, p, 0, 8).tobytes() for s in (1, 2) for p in Purpose]
    assert len(set(draws)) == len(draws)
    rows = np.arange(-5, 5)
    assert len({ranks(s, p, rows, rows[::-1].copy()).tobytes() for s in (1, 2) for p in Purpose}) == 2 * len(Purpose)


def test_ranks_are_pinned() -> None:
    """Changing these numbers changes every dataset ever planned."""
    assert ranks(7, Purpose.BLOCKS, np.array([-3, 4]), np.array([11, -12])).tolist() == RANKS
    assert uniforms(7, Purpose.POINTS, 5, 6)[0].tolist() == UNIFORMS


RANKS = [17833837459232052687, 7634118969111793895]
UNIFORMS = [0.47200123282368456, 0.07512480624510365, 0.9703308563476163, 0.29626076021081094]


def test_uniform_over_the_ellipsoid() -> None:
    """Counts in cells of equal area (EPSG:6933, an independent equal-area projection) pass a chi-square test."""
    lon, lat, _ = GLOBE.draw(3, 0, 1_000_000)
    to_area = pyproj.Transformer.from_crs(4326, 6933, always_xy=True)
    x, y = to_area.transform(lon, lat)
    east, north = to_area.transform(180.0, 90.0)
    counts, _, _ = np.histogram2d(x, y, bins=(36, 20), range=[[-east, east], [-north, north]])
    assert counts.sum() == 1_000_000
    expected = 1_000_000 / counts.size
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, counts.size - 1)


def test_uniform_on_the_sphere_to_the_flattening() -> None:
    lon, lat, _ = GLOBE.draw(4, 0, 100_000)
    counts, _ = np.histogram(np.sin(np.radians(lat)), bins=20, range=(-1, 1))
    assert ((counts - 5_000) ** 2 / 5_000).sum() < chi2.ppf(0.999, 19)
    counts, _ = np.histogram(lon, bins=36, range=(-180, 180))
    assert ((counts - 100_000 / 36) ** 2 / (100_000 / 36)).sum() < chi2.ppf(0.999, 35)


@given(st.floats(-90, 90))
def test_authalic_latitude_inverts(lat: float) -> None:
    assert latitude_of(authalic_sine(np.array([lat])))[0] == pytest.approx(lat, abs=2e-6 if abs(lat) > 89.9 else 2e-8)


def test_authalic_latitude_agrees_with_proj() -> None:
    lat = np.linspace(-90, 90, 181)
    _, y = pyproj.Transformer.from_crs(4326, "+proj=cea +ellps=WGS84", always_xy=True).transform(lat * 0, lat)
    assert authalic_sine(lat) == pytest.approx(np.asarray(y) / y[-1], abs=1e-12)


@given(st.floats(-720, 720))
def test_longitudes_wrap(lon: float) -> None:
    out = float(wrapped(np.array([lon]))[0])
    assert -180.0 <= out < 180.0
    assert abs((out - lon + 180.0) % 360.0 - 180.0) < 1e-6
    assert np.copysign(1.0, rounded(np.array([-1e-9]))[0]) == 1.0


def test_geocentric_agrees_with_proj() -> None:
    lon, lat, _ = GLOBE.draw(5, 0, 200)
    x, y, z = pyproj.Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, lat * 0)
    assert geocentric(lon, lat) == pytest.approx(np.stack([x, y, z], axis=1), abs=1e-6)


@settings(max_examples=50)
@given(west=st.floats(-180, 180), width=st.floats(0.01, 359), south=st.floats(-90, 89), height=st.floats(0.01, 90))
def test_boxes_are_drawn_from_directly(west: float, width: float, south: float, height: float) -> None:
    east = float((west + width + 180) % 360 - 180)
    north = min(south + height, 90.0)
    region = region_of(Area(bbox=(west, south, east, north)), HERE)
    lon, lat, inside = region.draw(1, 0, 500)
    assert inside.all()
    assert ((lat >= south) & (lat <= north)).all()
    assert (np.mod(lon - west + 1e-6, 360) <= np.mod(east - west, 360) + 2e-6).all()
    assert region.contains(lon, lat).mean() > 0.99


def test_box_across_the_antimeridian() -> None:
    region = region_of(Area(bbox=(177.0, -20.0, -178.0, -15.0)), HERE)
    lon, _, _ = region.draw(9, 0, 10_000)
    assert ((lon >= 177) | (lon <= -178)).all()
    assert (lon > 0).mean() == pytest.approx(0.6, abs=0.03)
    assert region.contains(np.array([179.9, -179.9, 0.0, 176.9]), np.full(4, -17.0)).tolist() == [
        True,
        True,
        False,
        False,
    ]


def write_polygons(path: Path, *rings: list[tuple[float, float]]) -> Area:
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [[*r, r[0]]]}}
        for r in rings
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return Area(file=path.name, land_only=False)


def equal_area(polygon: shapely.Polygon) -> float:
    x, y = pyproj.Transformer.from_crs(4326, 6933, always_xy=True).transform(*polygon.exterior.xy)
    return float(shapely.Polygon(np.stack([x, y], axis=1)).area)


@pytest.mark.slow
def test_polygons_are_filled_evenly_wherever_they_lie(tmp_path: Path) -> None:
    """Two overlapping squares and a far triangle: density per area is the same, overlap counts once."""
    area = write_polygons(
        tmp_path / "a.geojson",
        [(0, 0), (2, 0), (2, 2), (0, 2)],
        [(1, 0), (3, 0), (3, 2), (1, 2)],
        [(100, 60), (106, 60), (100, 64)],
    )
    region = region_of(area, tmp_path)
    lon, lat, inside = region.draw(1, 0, 60_000)
    lon, lat = lon[inside], lat[inside]
    triangle = equal_area(shapely.segmentize(shapely.Polygon([(100, 60), (106, 60), (100, 64)]), 0.05))
    square = equal_area(shapely.box(0, 0, 3, 2))
    share = float((lat > 50).mean())
    assert share == pytest.approx(triangle / (triangle + square), abs=0.01)
    assert ((lon[lat < 50] < 1).mean()) == pytest.approx(1 / 3, abs=0.015)
    assert region.contains(lon, lat).all()


@pytest.mark.parametrize(
    "ring",
    [
        [(177, -19), (-178, -19), (-178, -15), (177, -15)],
        [(177, -19), (182, -19), (182, -15), (177, -15)],
        [(-183, -19), (-178, -19), (-178, -15), (-183, -15)],
    ],
)
def test_polygons_across_the_antimeridian(tmp_path: Path, ring: list[tuple[float, float]]) -> None:
    region = region_of(write_polygons(tmp_path / "fiji.geojson", ring), tmp_path)
    lon, lat, inside = region.draw(2, 0, 5_000)
    assert inside.all()
    assert ((lon >= 177) | (lon <= -178)).all()
    assert (lon > 0).mean() == pytest.approx(0.6, abs=0.03)
    assert ((lat >= -19) & (lat <= -15)).all()


def share_inside(folder: Path, ring: list[tuple[float, float]]) -> float:
    region = region_of(write_polygons(folder / "a.geojson", ring), folder)
    lon = np.arange(-179.5, 180.0, 1.0)
    return float(region.contains(lon, np.zeros_like(lon)).mean())


WIDE = [
    (-180, 180, 360), (-180.0001, 180.0001, 360), (0, 360, 360), (-360, 0, 360), (-90, 270, 360), (-190, 190, 360),
    (-179.9, 179.9, 360), (-170, 170, 340), (10, 350, 340), (-100, 100, 200), (160, 220, 60), (-720, 720, 360),
]  # fmt: skip


@pytest.mark.parametrize(("west", "east", "degrees"), WIDE)
@pytest.mark.parametrize("steps", [1, 4, 40])
def test_an_area_is_as_wide_as_it_says(west: float, east: float, degrees: float, steps: int, tmp_path: Path) -> None:
    """Round the globe or nearly so, within 180 degrees or beyond, with long edges or short ones."""
    lon = np.linspace(west, east, steps + 1).tolist()
    ring = [(x, -10.0) for x in lon] + [(x, 10.0) for x in lon[::-1]]
    assert share_inside(tmp_path, ring) == pytest.approx(degrees / 360, abs=0.003)
    if west < -180 or east > 180 or (degrees == 360 and west == -180):
        assert share_inside(tmp_path, ring[::-1]) == pytest.approx(degrees / 360, abs=0.003)


def test_an_area_across_180_degrees_keeps_its_hole(tmp_path: Path) -> None:
    outer = [(170, -10), (-170, -10), (-170, 10), (170, 10), (170, -10)]
    hole = [(178, -2), (178, 2), (-178, 2), (-178, -2), (178, -2)]
    (tmp_path / "h.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [outer, hole]}))
    region = region_of(Area(file="h.geojson"), tmp_path)
    lon = np.array([171.0, 177.0, 179.0, -179.0, -177.0, -171.0, 0.0])
    assert region.contains(lon, np.zeros(7)).tolist() == [True, True, False, False, True, True, False]


def test_geoparquet_area(tmp_path: Path) -> None:
    import geopandas as gpd

    gpd.GeoDataFrame(geometry=[shapely.box(5, 45, 6, 46)], crs=4326).to_parquet(tmp_path / "a.parquet")
    region = region_of(Area(file="a.parquet"), tmp_path)
    assert region.boxes.tolist() == [[5, 45, 6, 46]]
    gpd.GeoDataFrame(geometry=[shapely.box(5, 45, 6, 46)], crs=4326).to_crs(3857).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(SamplingError, match=r"area file b\.parquet.*Pseudo-Mercator.*reproject"):
        region_of(Area(file="b.parquet"), tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.geojson", None, "does not exist"),
        ("a.geojson", "{", "not readable as GeoJSON"),
        ("a.geojson", "[1]", "not readable as GeoJSON"),
        ("a.geojson", "[" * 99_999, "not readable as GeoJSON"),
        ("a.geojson", '{"type": "Point", "coordinates": []}', "holds no polygon"),
        ("a.geojson", '{"type": "Polygon", "coordinates": []}', "holds no polygon"),
        ("a.geojson", '{"type": "Polygon", "crs": "EPSG:3857", "coordinates": []}', "is in another CRS .'EPSG:3857'."),
        ("a.geojson", '{"type": "Polygon", "coordinates": [[[NaN, 1], [2, 1], [2, 2], [NaN, 1]]]}', "area file"),
        ("a.geojson", '{"type": "FeatureCollection", "features": []}', "holds no polygon"),
        ("a.geojson", '{"type": "Point", "coordinates": [1, 2]}', "holds no polygon"),
        ("a.geojson", '{"type":"Polygon","coordinates":[[[5e5,5e6],[6e5,5e6],[6e5,6e6],[5e5,5e6]]]}', "degrees"),
        ("a.kml", "<kml/>", "expected .geojson"),
        ("a.parquet", "no", "not readable as Parquet"),
    ],
)
def test_bad_area_files_are_one_clear_line(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SamplingError, match=message) as caught:
        region_of(Area(file=name), tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


PLACES = {
    "Fiji, Viti Levu": (178.0, -17.8, True),
    "Fiji, Taveuni": (-179.98, -16.85, True),
    "Wrangel": (-179.5, 71.2, True),
    "Chukotka": (-180.0, 67.0, True),
    "Chukotka, other side": (179.999, 67.0, True),
    "South Pole": (0.0, -90.0, True),
    "North Pole": (0.0, 90.0, False),
    "Sao Tome": (6.6, 0.25, True),
    "Gulf of Guinea": (0.0, 0.0, False),
    "Greenland": (-40.0, 75.0, True),
    "Pacific at 180": (180.0, 30.0, False),
}


@pytest.mark.parametrize(("lon", "lat", "land"), PLACES.values(), ids=PLACES)
def test_land_at_known_places(lon: float, lat: float, land: bool) -> None:
    assert on_land(np.array([lon]), np.array([lat])).tolist() == [land]


@pytest.mark.real
def test_land_agrees_with_natural_earth(real: Path) -> None:
    """Natural Earth 1:110m is coarse; what it and the 1 km mask disagree on must lie near its shoreline."""
    document = json.loads((real / "sampling" / "ne_110m_land.json").read_text())
    land = shapely.union_all([shapely.geometry.shape(f["geometry"]) for f in document["features"]])
    shapely.prepare(land)
    lon, lat, _ = GLOBE.draw(11, 0, 50_000)
    ours, theirs = on_land(lon, lat), shapely.contains_xy(land, lon, lat)
    assert (ours == theirs).mean() > 0.99
    temperate = np.abs(lat) < 60
    assert (ours == theirs)[temperate].mean() > 0.993
    shore = shapely.boundary(land)
    shapely.prepare(shore)
    far = temperate & ~shapely.dwithin(shore, shapely.points(lon, lat), 1.0)
    assert (ours == theirs)[far].mean() > 0.999


@pytest.mark.real
def test_natural_earth_countries_as_area(real: Path) -> None:
    """Real polygons (Antarctica's ring runs along the seam, Fiji and Russia are cut there) are taken as they are."""
    region = region_of(Area(file="ne_110m_land.json", land_only=False), real / "sampling")
    lon, lat, inside = region.draw(1, 0, 20_000)
    assert inside.mean() > 0.3
    assert region.contains(lon[inside], lat[inside]).all()
    antarctic = (lat[inside] < -60).mean()
    assert antarctic == pytest.approx(0.0837, abs=0.015)


@pytest.mark.slow
def test_same_places_in_another_process(tmp_path: Path, recipe: Callable[..., Recipe]) -> None:
    """Hash seeds and processes have no say in where samples are."""
    code = (
        "from pathlib import Path\nimport hashlib\nfrom sampling import pack\n"
        "from tests.sampling.placed import sample_places\nfrom recipe_of_tests import recipe_of\n"
        "r = recipe_of({'kind': 'uniform', 'count': 400, 'area': {'bbox': [5, 44, 9, 47]}})\n"
        "p = sample_places(r, Path())\n"
        "print(hashlib.sha256(repr((p, pack(p.places, r.shards))).encode()).hexdigest())\n"
    )
    (tmp_path / "recipe_of_tests.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)])
    env = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    here = recipe({"kind": "uniform", "count": 400, "area": {"bbox": [5, 44, 9, 47]}})
    places = sample_places(here, HERE)
    assert run.stdout.strip() == hashlib.sha256(repr((places, pack(places.places, here.shards))).encode()).hexdigest()
