"""Major-TOM cells: real ids, and a grid without gaps or overlaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampling import majortom
from schemas.place import BBox

if TYPE_CHECKING:
    from pathlib import Path

SPACINGS = st.sampled_from([1_000.0, 2_560.0, 10_000.0, 20_000.0, 99_999.0, 1_000_000.0])


def cell(lon: float, lat: float, spacing_m: float = 10_000.0) -> str:
    return majortom.names(*majortom.cells_of(np.array([lon]), np.array([lat]), spacing_m))[0]


@pytest.mark.real
def test_real_terramesh_samples_lie_in_the_cells_they_are_named_after(real: Path) -> None:
    import rasterio
    from rasterio.warp import transform

    folders = sorted((real / "multimodal" / "terramesh").iterdir())
    assert len(folders) == 3
    for folder in folders:
        with rasterio.open(folder / "S2L2A.tif") as image:
            x, y = (image.bounds.left + image.bounds.right) / 2, (image.bounds.top + image.bounds.bottom) / 2
            (lon,), (lat,) = transform(image.crs, "EPSG:4326", [x], [y])
        assert folder.name.startswith(cell(lon, lat) + "_")


@pytest.mark.parametrize(
    ("lon", "lat", "name"),
    [
        (0.0, 0.0, "0U_0R"),
        (-1e-6, -1e-6, "1D_1L"),
        (1e-6, 1e-6, "0U_0R"),
        (-48.106045, -25.315940, "282D_485L"),
        (34.06604, -3.401355, "38D_378R"),
        (-72.47879, -38.83085, "433D_629L"),
    ],
)
def test_known_cells(lon: float, lat: float, name: str) -> None:
    assert cell(lon, lat) == name


@given(st.floats(-180, 179.999), st.floats(-89.9, 89.9), SPACINGS)
def test_every_point_lies_in_its_cell(lon: float, lat: float, spacing_m: float) -> None:
    row, column = majortom.cells_of(np.array([lon]), np.array([lat]), spacing_m)
    height = 180.0 / majortom.row_count(spacing_m)
    assert row[0] * height <= lat + 1e-9
    assert lat <= (row[0] + 1) * height + 1e-9
    columns = int(majortom.column_count(row, spacing_m)[0])
    width = 360.0 / columns
    assert (lon - column[0] * width + 1e-9) % 360.0 <= width + 2e-9
    assert -(columns // 2) <= column[0] < columns - columns // 2


@given(st.integers(0, 10**6), SPACINGS)
def test_centres_lie_in_their_cells(seed: int, spacing_m: float) -> None:
    rng = np.random.default_rng(seed)
    row, column = majortom.cells_of(rng.uniform(-180, 180, 50), rng.uniform(-90, 90, 50), spacing_m)
    again = majortom.cells_of(*majortom.centres(row, column, spacing_m), spacing_m)
    assert np.array_equal(np.stack(again), np.stack([row, column]))


@pytest.mark.parametrize("spacing_m", [200_000.0, 333_000.0, 1_000_000.0])
def test_the_globe_is_covered_once(spacing_m: float) -> None:
    cells = [
        pair
        for row, column in majortom.cells_in(BBox(-180, -90, 180, 90), spacing_m, at_once=100)
        for pair in zip(row.tolist(), column.tolist(), strict=True)
    ]
    assert len(cells) == len(set(cells))
    rng = np.random.default_rng(1)
    found = majortom.cells_of(
        rng.uniform(-180, 180, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000))), spacing_m
    )
    assert set(zip(*(f.tolist() for f in found), strict=True)) <= set(cells)


@given(west=st.floats(-180, 179), width=st.floats(0.5, 359), south=st.floats(-90, 89), height=st.floats(0.5, 60))
def test_cells_in_a_box_are_those_of_the_globe_whose_middle_is_inside(
    west: float, width: float, south: float, height: float
) -> None:
    box = (west, south, west + width, min(south + height, 90.0))
    every = list(majortom.cells_in(BBox(-180, -90, 180, 90), 300_000.0))
    row, column = (np.concatenate([e[i] for e in every]) for i in (0, 1))
    lon, lat = majortom.centres(row, column, 300_000.0)
    inside = (lat >= box[1]) & (lat <= box[3]) & (np.mod(lon - box[0], 360) <= box[2] - box[0])
    expected = set(zip(row[inside].tolist(), column[inside].tolist(), strict=True))
    found = [p for r, c in majortom.cells_in(box, 300_000.0, 7) for p in zip(r.tolist(), c.tolist(), strict=True)]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_core_grid_has_the_size_that_major_tom_gives() -> None:
    """2,004 rows at 10 km; neighbours in a row are between 9 and 10 km apart away from the poles."""
    assert majortom.row_count(10_000.0) == 2_004
    row = np.arange(-900, 900)
    width_m = 2 * np.pi * 6_378_137.0 * np.cos(np.radians(row * 180 / 2_004)) / majortom.column_count(row, 10_000.0)
    assert ((width_m > 9_900) & (width_m <= 10_000)).all()
