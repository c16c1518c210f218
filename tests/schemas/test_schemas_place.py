"""Boxes: one type, cut in one place where they cross the antimeridian."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.place import BBox, GeoBox

LONGITUDES = st.floats(-180.0, 180.0)


@given(LONGITUDES, LONGITUDES, LONGITUDES)
def test_the_sides_of_a_box_hold_its_longitudes_and_no_others(west: float, east: float, lon: float) -> None:
    sides = BBox(west, -10.0, east, 20.0).sides()
    inside = west <= lon <= east if west <= east else lon >= west or lon <= east
    assert any(side.west <= lon <= side.east for side in sides) == inside
    assert all(side.west <= side.east and (side.south, side.north) == (-10.0, 20.0) for side in sides)
    assert len(sides) == (1 if west <= east else 2)


def test_the_bounds_of_a_grid_are_a_box_by_name() -> None:
    box = GeoBox(epsg=32632, x_min=500_000.0, y_max=5_000_000.0, resolution_m=10.0, width=8, height=4).bounds
    assert (box.west, box.south, box.east, box.north) == (500_000.0, 4_999_960.0, 500_080.0, 5_000_000.0)
    assert box == (500_000.0, 4_999_960.0, 500_080.0, 5_000_000.0), "and still a plain tuple for rasterio and shapely"
