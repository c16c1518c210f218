"""Blocks of ground: each box holds its places' footprints, everywhere on Earth, and the cuts are the cheapest."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.plan.blocks import ITEMS_A_PAGE, MOST_ITEMS, Block, Ground, days_of, requests_at_most, search_cost
from schemas.grid import GridSpec
from schemas.modality import MODALITIES, SENTINEL2, STATIC_DENSITY, SearchDensity
from schemas.place import Place
from tests.geoboxes import geobox_at

POINTS = {
    "inside a zone": (9.0, 46.0),
    "zone border": (6.0, 46.0),
    "equator": (12.0, 0.0),
    "antimeridian east": (179.999, -17.0),
    "antimeridian west": (-179.999, -17.0),
    "Wrangel": (180.0, 71.2),
    "North Pole": (0.0, 90.0),
    "South Pole": (0.0, -90.0),
    "UPS north": (117.3, 85.2),
    "UPS south": (-63.0, -84.9),
    "UPS south, on the seam": (179.99, -83.0),
}


def place(number: int, lon: float, lat: float, size_m: float = 2_560.0) -> Place:
    return Place(
        sample_id=f"s{number:05d}",
        lon=lon,
        lat=lat,
        geobox=geobox_at(lon, lat, GridSpec(size_m=size_m, resolution_m=10)),
        split="train",
        block="b",
        cell="c",
    )


def outline(here: Place, points: int = 41) -> tuple[np.ndarray, np.ndarray]:
    """(longitudes, latitudes) along the edges of a footprint, by PROJ."""
    x0, y0, x1, y1 = here.geobox.bounds
    t = np.linspace(0.0, 1.0, points)
    x = np.concatenate([x0 + t * (x1 - x0), np.full(points, x1), x1 - t * (x1 - x0), np.full(points, x0)])
    y = np.concatenate([np.full(points, y0), y0 + t * (y1 - y0), np.full(points, y1), y1 - t * (y1 - y0)])
    return pyproj.Transformer.from_crs(here.geobox.epsg, 4326, always_xy=True).transform(x, y)


def holds(block: Block, here: Place) -> bool:
    lon, lat = outline(here)
    inside = np.zeros(len(lon), bool)
    for west, south, east, north in block.bboxes:
        for turn in (-360.0, 0.0, 360.0):
            inside |= (
                (lon + turn >= west - 1e-7)
                & (lon + turn <= east + 1e-7)
                & (lat >= south - 1e-7)
                & (lat <= north + 1e-7)
            )
    return bool(inside.all())


def tight(block: Block) -> bool:
    """No box is far larger than its places: the sum of widths is that of their outlines, margins aside."""
    return all(-180.0 <= w <= e <= 180.0 and -90.0 <= s <= n <= 90.0 for w, s, e, n in block.bboxes)


@pytest.mark.parametrize(("lon", "lat"), POINTS.values(), ids=POINTS)
@pytest.mark.parametrize("size_m", [960.0, 2_560.0, 10_240.0])
def test_a_block_of_one_place_holds_its_footprint_and_little_more(lon: float, lat: float, size_m: float) -> None:
    here = place(0, lon, lat, size_m)
    (block,) = Ground([here]).blocks(SENTINEL2.density, 30.0)
    assert block.places == (here,)
    assert holds(block, here)
    assert tight(block)
    found = sum((n - s) for _, s, _, n in block.bboxes) / len(block.bboxes)
    got = np.ptp(outline(here)[1])
    assert found <= got * 1.05 + 1e-6 or abs(lat) > 84.0 - 0.1
    if abs(lat) < 80.0:
        degrees = size_m / 111_195.0 / math.cos(math.radians(lat))
        assert sum(e - w for w, _, e, _ in block.bboxes) <= degrees * 1.2


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    layer=st.sampled_from(sorted(MODALITIES)),
    days=st.sampled_from([1.0, 30.0, 365.0]),
    where=st.sampled_from(sorted(POINTS)),
    wide=st.sampled_from([0.05, 3.0, 40.0]),
)
def test_blocks_part_the_places_and_hold_every_footprint(
    seed: int, layer: str, days: float, where: str, wide: float
) -> None:
    rng = np.random.default_rng(seed)
    lon, lat = POINTS[where]
    lons = (lon + rng.uniform(-wide, wide, 24) + 180.0) % 360.0 - 180.0
    lats = np.clip(lat + rng.uniform(-wide / 2, wide / 2, 24), -90.0, 90.0)
    places = [place(i, float(x), float(y)) for i, (x, y) in enumerate(zip(lons, lats, strict=True))]
    blocks = Ground(places).blocks(MODALITIES[layer].density, days)
    assert sorted(p.sample_id for b in blocks for p in b.places) == [p.sample_id for p in places]
    for block in blocks:
        assert [p.sample_id for p in block.places] == sorted(p.sample_id for p in block.places)
        assert all(holds(block, p) for p in block.places)
        assert tight(block)
    assert Ground(places[::-1]).blocks(MODALITIES[layer].density, days) == blocks


def least(places: list[Place], density: SearchDensity, days: float, edge: float) -> tuple[int, float]:
    """The least (pages, items) of any cut into quarters, by trying each, with boxes as a block of its own has them."""
    cost = [search_cost(density, hull, days) for hull in blocks_of_one(places)]
    whole = (sum(c[0] for c in cost), sum(c[1] for c in cost))
    if edge <= 1.0 or whole[0] == 1:
        return whole
    cells: dict[tuple[int, int], list[Place]] = {}
    for p in places:
        cells.setdefault((int((p.lat + 90) // (edge / 2)), int((p.lon + 180) // (edge / 2))), []).append(p)
    parts = [least(c, density, days, edge / 2) for c in cells.values()]
    apart = (sum(p[0] for p in parts), sum(p[1] for p in parts))
    return apart if apart < whole or whole[1] > MOST_ITEMS else whole


def blocks_of_one(places: list[Place]) -> list[tuple[float, float, float, float]]:
    """The hull of all footprints, taken as one block: a density that answers with one page whatever the ground."""
    everything = SearchDensity(edge_km=0.0, step_km=1e9, per_day=None)
    (block,) = Ground(places).blocks(everything, 1.0)
    return list(block.bboxes)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 60), days=st.sampled_from([1.0, 20.0, 200.0]))
def test_the_cut_is_the_cheapest_of_all_cuts_into_quarters(seed: int, count: int, days: float) -> None:
    rng = np.random.default_rng(seed)
    density = SENTINEL2.density
    # one square of 16 degrees: rows and columns of the grid start at 90 S, 180 W
    lons, lats = rng.uniform(-4.0, 12.0, count) * 0.99, rng.uniform(-10.0, 6.0, count) * 0.99
    places = [place(i, float(x), float(y)) for i, (x, y) in enumerate(zip(lons, lats, strict=True))]
    blocks = Ground(places).blocks(density, days)
    pages = sum(search_cost(density, b, days)[0] for block in blocks for b in block.bboxes)
    items = sum(block.items for block in blocks)
    assert (pages, items) == pytest.approx(least(places, density, days, 16.0))


def test_what_one_search_answers_with_is_counted_from_scenes_ground_and_days() -> None:
    density = SearchDensity(edge_km=100.0, step_km=50.0, per_day=0.5)
    # one degree at the equator: (111.3 + 100) / 50 = 4.226 scenes each way, at half a scene per day
    pages, items = search_cost(density, (0.0, -0.5, 1.0, 0.5), 10.0)
    middle = math.cos(math.radians(0.0))
    assert items == pytest.approx((111.3 * middle + 100) / 50 * (111.3 + 100) / 50 * 5.0)
    assert pages == 1
    north = search_cost(density, (0.0, 59.5, 1.0, 60.5), 10.0)[1]
    assert north == pytest.approx((111.3 * 0.5 + 100) / 50 * (111.3 + 100) / 50 * 5.0, rel=1e-6)
    assert search_cost(density, (0.0, -60.5, 1.0, -59.5), 10.0)[1] == pytest.approx(north)
    many = search_cost(density, (0.0, -0.5, 1.0, 0.5), 365.0)
    assert many[0] == math.ceil(many[1] / ITEMS_A_PAGE) > 1
    # fewer than one scene on average still counts as one, and static products do not grow with days
    assert search_cost(density, (0.0, -0.5, 1.0, 0.5), 0.1)[1] == pytest.approx(many[1] / 365.0 / 0.5)
    static = [search_cost(STATIC_DENSITY, (0.0, -0.5, 1.0, 0.5), days) for days in (1.0, 3_000.0)]
    assert static[0] == static[1]
    # at the poles the width of a degree is not counted below that of 89 degrees
    assert search_cost(density, (0.0, 89.9, 10.0, 90.0), 1.0)[1] > 0.0


def test_a_block_that_could_be_cut_never_brings_more_than_memory_holds() -> None:
    places = [place(i, x + 0.5, y + 0.5) for i, (x, y) in enumerate((x, y) for x in range(8) for y in range(8))]
    thick = SearchDensity(edge_km=10.0, step_km=10.0, per_day=5.0)
    for block in Ground(places).blocks(thick, 30.0):
        ((west, south, east, north),) = block.bboxes
        assert block.items <= MOST_ITEMS or max(east - west, north - south) <= 1.2


def test_days_of_a_period_are_those_of_a_calendar() -> None:
    first = dt.date(2019, 12, 30)
    for count in (1, 2, 3, 62, 366):
        last = first + dt.timedelta(days=count - 1)
        assert days_of((first, last)) == len({first + dt.timedelta(days=n) for n in range(count)})
    assert days_of(None) == 365.0, "a product without dates is taken for a year of them"


def test_the_bound_of_requests_is_pinned() -> None:
    density = SENTINEL2.density
    asked = [(1, 1.0, 1), (1_000, 1e6, 1), (100_000, 1.5e8, 7), (10_000_000, 4.5e8, 610)]
    bounds = [requests_at_most(count, area, parts, density, 90.0) for count, area, parts in asked]
    assert bounds == PINNED
    for (count, area, parts), bound in zip(asked, bounds, strict=True):
        assert bound <= count * (1.0 + 90.0 * 0.35 / 1e4 * 112.0**2 / 250.0) + 1.0
        assert requests_at_most(count, area, parts, STATIC_DENSITY, 90.0) <= bound


PINNED = [2, 37, 4314, 17369]
