"""Grids in the projections of countries: what is refused, where places are left out, metres on the ground."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sampling import footprint, locate
from sampling.errors import SamplingError
from sampling.geobox import Footprints, footprints_at, outlines, place_footprints
from sampling.located import Located
from sampling.separation import gaps, stretch_of
from schemas.crs import MOST_STRETCH, ground_scale, metric
from schemas.grid import GridSpec
from schemas.recipe import Recipe

GEOD = pyproj.Geod(ellps="WGS84")
PLACES = {
    25832: (9.1, 50.2), 2154: (2.3, 48.8), 28992: (5.4, 52.1), 3035: (24.0, 61.0), 5070: (-112.0, 33.0),
    27700: (-3.2, 56.0), 2056: (8.5, 46.9), 3577: (147.0, -36.0), 2193: (174.0, -39.0), 5514: (15.5, 49.6),
    3338: (178.0, 52.0), 31467: (9.2, 50.0),
}  # fmt: skip


def recipe(grid: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "n", "seed": 3, "grid": grid, "sampling": more.pop("sampling", {"kind": "uniform", "count": 40}),
            "providers": {"far": {"url": "https://stac.example/v1"}},
            "sources": [{"kind": "dem", "providers": ["far"]}], "splits": {"buffer_m": 0, "block_m": 1000},
        } | more
    )  # fmt: skip


def placed(folder: Path, made: Recipe) -> Located:
    return locate(made, folder)


@pytest.mark.parametrize("code", PLACES)
def test_a_sample_in_a_countrys_projection_is_a_square_of_metres_on_the_ground(code: int) -> None:
    lon, lat = PLACES[code]
    grid = GridSpec(size_m=1024.0, resolution_m=0.5, crs=f"EPSG:{code}")
    found = place_footprints(np.array([lon]), np.array([lat]), grid)
    box = found.geobox(0, 0.5)
    assert (box.epsg, box.shape, grid.snap_m) == (code, (2048, 2048), 0.5)
    assert (box.x_min / 0.5).is_integer()
    assert (box.y_max / 0.5).is_integer()
    shape = shapely.geometry.shape(footprint(box))
    area, around = GEOD.geometry_area_perimeter(shape)
    metre, square = ground_scale(code, lon, lat)
    assert area == pytest.approx(1024.0**2 / square, rel=2e-4)
    assert around == pytest.approx(4 * 1024.0 / metre, rel=4e-3)
    assert 1 / MOST_STRETCH <= around / 4096.0 <= MOST_STRETCH
    assert shape.contains(shapely.Point(lon, lat))
    assert shapely.equals(outlines(found)[0], shape)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("4326", "(WGS 84) counts degrees; samples are squares of metres: leave `crs` out"),
        ("2263", "has axes in US survey foot, not metres"),
        ("2053", "has axes that point south and west"),
        ("3413", "has axes that point south and south"),
        ("3857", "has metres that are 0.086 to 1 metres on the ground"),
        ("6933", "metres on the ground in its area of use"),
        ("5698", "has heights, and a grid lies in the plane"),
        ("54009", "is no coordinate system of the EPSG register"),
        ("4978", "has heights"),
    ],
)
def test_what_cannot_be_a_grid_of_metres_is_refused_in_one_line(code: str, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        GridSpec(size_m=1000, crs=f"EPSG:{code}")
    (error,) = caught.value.errors()
    assert why in error["msg"]
    assert "\n" not in error["msg"]


def test_places_outside_are_left_out_with_a_word(tmp_path: Path) -> None:
    rows = ["lon,lat", "2.3,48.8", "13.4,52.5", "5.7,45.2", "-60,10"]
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    made = recipe(
        {"size_m": 100, "resolution_m": 0.2, "crs": "EPSG:2154"}, sampling={"kind": "points", "file": "p.csv"}
    )
    found = placed(tmp_path, made)
    assert found.left_out == {"outside_crs": 2}
    assert found.names(found.key) == ["p0000001", "p0000003"]
    assert set(found.footprints.epsg.tolist()) == {2154}


def test_an_area_elsewhere_is_one_line(tmp_path: Path) -> None:
    made = recipe(
        {"size_m": 1000, "crs": "EPSG:2154"},
        sampling={"kind": "uniform", "count": 4, "area": {"bbox": [13, 52, 14, 53]}},
    )
    with pytest.raises(SamplingError, match=r"lies outside that of grid\.crs: EPSG:2154 .*for -9.86 to 10.38 E"):
        placed(tmp_path, made)


@pytest.mark.parametrize("kind", ["uniform", "grid"])
def test_samples_lie_in_the_area_of_use_and_far_places_are_never_projected(tmp_path: Path, kind: str) -> None:
    sampling = {"kind": kind, "area": {"bbox": [0.0, 47.0, 20.0, 50.0]}}
    sampling |= {"count": 60} if kind == "uniform" else {"spacing_m": 60_000.0, "count": None}
    found = placed(tmp_path, recipe({"size_m": 1000, "crs": "EPSG:2154"}, sampling=sampling))
    assert found.footprints.lon.max() <= 10.4
    assert len(found) >= 60
    assert (found.left_out.get("outside_crs", 0) > 0) == (kind == "grid")


def test_each_point_may_have_a_projection_of_its_own(tmp_path: Path) -> None:
    x, y = pyproj.Transformer.from_crs(4326, 2056, always_xy=True).transform(8.5, 46.9)
    x, y = round(x - 40.0, 1), round(y + 40.0, 1)
    rows = ["lon,lat,zone,epsg,x_min,y_max", "2.3,48.8,2154,,,", f"8.5,46.9,,2056,{x},{y}", "5.4,52.1,,,,"]
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    sampling = {"kind": "points", "file": "p.csv", "attributes": ["zone"]}
    made = recipe({"size_m": 102.4, "resolution_m": 0.2, "snap_m": None, "crs": "attr_zone"}, sampling=sampling)
    found = placed(tmp_path, made)
    assert found.footprints.epsg.tolist() == [2154, 2056, 32631]
    assert (found.footprints.x_min[1], found.footprints.y_max[1]) == (x, y)
    (tmp_path / "p.csv").write_text("lon,lat,zone\n2.3,48.8,EPSG:4326\n")
    with pytest.raises(SamplingError, match=r"line 2: zone EPSG:4326 .*counts degrees"):
        placed(tmp_path, made)
    (tmp_path / "p.csv").write_text("lon,lat,zone\n2.3,48.8,EPSG:2056\n5,52,EPSG:28992\n")
    assert placed(tmp_path, made).left_out == {"outside_crs": 1}
    for grid in ({"crs": "attr_zone"}, {"crs": "attr_other"}):
        with pytest.raises(ValidationError, match=r"column of the points file|is not in sampling\.attributes"):
            recipe(
                {"size_m": 1000} | grid,
                sampling=sampling if grid["crs"] == "attr_other" else {"kind": "uniform", "count": 1},
            )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([2154, 3035, 5070, 3577, 27700, 2056]), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3),
    st.floats(0, 2 * math.pi), st.floats(1.0, 60_000.0), st.sampled_from([51.2, 2560.0, 30_000.0]),
)  # fmt: skip
def test_gaps_are_never_more_than_on_the_ground(
    code: int, east: float, north: float, angle: float, away: float, size: float
) -> None:
    lon, lat = PLACES.get(code, (0.0, 0.0))
    x, y = pyproj.Transformer.from_crs(4326, code, always_xy=True).transform(lon + east, lat + north)
    move = away + size * 1.5
    codes = np.array([code], dtype=np.int32)
    one = footprints_at(codes, np.array([x]), np.array([y]), size)
    two = footprints_at(codes, np.array([x + move * math.cos(angle)]), np.array([y + move * math.sin(angle)]), size)
    found = float(gaps(one, two, 60_000.0)[0])
    if found > 0:
        assert found <= _ground_gap(one, two) + 0.02, (
            "longitudes and latitudes are rounded to 1e-7 degrees: a centimetre"
        )
    assert stretch_of(one) > 1.05


def _ground_gap(one: Footprints, two: Footprints) -> float:
    """Least geodesic distance between points along the edges of two footprints."""
    rings = [np.asarray(shapely.segmentize(outlines(f)[0].exterior, 0.02).coords) for f in (one, two)]
    a, b = (r[:: max(1, len(r) // 64)] for r in rings)
    lon1, lon2 = np.repeat(a[:, 0], len(b)), np.tile(b[:, 0], len(a))
    lat1, lat2 = np.repeat(a[:, 1], len(b)), np.tile(b[:, 1], len(a))
    return float(GEOD.inv(lon1, lat1, lon2, lat2)[2].min())


def test_the_projection_is_part_of_what_a_recipe_says() -> None:
    plain, other = recipe({"size_m": 1000}), recipe({"size_m": 1000, "crs": "EPSG:2154"})
    assert plain.sha256 != other.sha256
    assert Recipe.model_validate_json(other.model_dump_json()) == other
    assert other.grid.snap_m == 10.0
    assert recipe({"size_m": 1000, "crs": "EPSG:2154", "snap_m": 60}).grid.snap_m == 60.0
    assert "crs" not in plain.model_dump_json()
    assert metric(3338).holds(np.array([175.0, -150.0, -120.0]), np.array([52.0, 60.0, 60.0])).tolist() == [
        True, True, False,
    ]  # fmt: skip
