"""No two samples on the same ground; splits further apart than the buffer: against brute force with shapely."""

from __future__ import annotations

import tracemalloc
from functools import cache
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import overlap
from sampling.geobox import Footprints, place_footprints
from sampling.majortom import cells_of
from sampling.overlap import OccupiedGround
from sampling.separation import gaps
from sampling.shared import shared_ground
from sampling.splits import SPLITS, assign
from schemas.grid import GridSpec
from schemas.splits import Splits

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHERE = {
    "inside a zone": (9.0, 46.0),
    "zone border": (6.0, 46.0),
    "zone border at the equator": (12.0, 0.0),
    "antimeridian": (180.0, -17.0),
    "Wrangel": (180.0, 71.2),
    "Norway": (3.0, 60.0),
    "Svalbard": (9.0, 78.0),
    "84 N": (30.0, 84.0),
    "80 S": (30.0, -80.0),
    "North Pole": (0.0, 90.0),
    "South Pole": (0.0, -90.0),
    "many zones meet": (0.0, 83.9),
}
places = pytest.mark.parametrize(("lon", "lat"), WHERE.values(), ids=WHERE)


def cluster(lon: float, lat: float, count: int, radius_m: float, size_m: float, seed: int = 0) -> Footprints:
    """Footprints strewn over a disc, in their own zones."""
    rng = np.random.default_rng(seed)
    to_degrees = pyproj.Transformer.from_crs(local(lon, lat), 4326, always_xy=True)
    r, angle = radius_m * np.sqrt(rng.random(count)), rng.random(count) * 2 * np.pi
    x, y = to_degrees.transform(r * np.cos(angle), r * np.sin(angle))
    return place_footprints(np.asarray(x), np.asarray(y), GridSpec(size_m=size_m, resolution_m=10))


def local(lon: float, lat: float) -> str:
    return f"+proj=laea +lat_0={lat} +lon_0={lon} +ellps=WGS84"


@cache
def transformer(source: int, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def polygons(footprints: Footprints, lon: float, lat: float) -> list[shapely.Polygon]:
    """Outlines in one local plane, edges cut into 12 parts: another projection than the code uses."""
    size, step = footprints.size_m, np.arange(12) / 12
    found = []
    for i in range(len(footprints)):
        u = np.concatenate([step, step * 0 + 1, 1 - step, step * 0]) * size
        v = np.concatenate([step * 0, step, step * 0 + 1, 1 - step]) * size
        x, y = transformer(int(footprints.epsg[i]), local(lon, lat)).transform(
            footprints.x_min[i] + u, footprints.y_max[i] - size + v
        )
        found.append(shapely.Polygon(np.stack([x, y], axis=1)))
    return found


@pytest.mark.slow
@places
def test_no_overlap_and_nothing_dropped_for_no_reason(lon: float, lat: float) -> None:
    """Brute force over all pairs; overlaps under 0.5 m wide may be judged either way."""
    footprints = cluster(lon, lat, 120, 9_000.0, 2_000.0)
    admitted = OccupiedGround(2_000.0).admit(footprints)
    outlines = polygons(footprints, lon, lat)
    kept = np.flatnonzero(admitted)
    assert 5 < len(kept) < 60
    for a, b in combinations(kept.tolist(), 2):
        assert outlines[a].intersection(outlines[b]).area < 2_000.0 * 0.5
    for b in np.flatnonzero(~admitted).tolist():
        assert any(outlines[a].buffer(0.5).intersects(outlines[b]) for a in kept.tolist() if a < b)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), chunk=st.integers(1, 60), where=st.sampled_from(sorted(WHERE)))
def test_chunks_and_limits_change_nothing(seed: int, chunk: int, where: str) -> None:
    footprints = cluster(*WHERE[where], 60, 8_000.0, 2_560.0, seed)
    whole = OccupiedGround(2_560.0).admit(footprints)
    ground = OccupiedGround(2_560.0)
    parts = [ground.admit(footprints.take(slice(i, i + chunk))) for i in range(0, 60, chunk)]
    assert np.array_equal(np.concatenate(parts), whole)
    limited = OccupiedGround(2_560.0).admit(footprints, at_most=5)
    assert limited.sum() == 5
    assert limited[-1]
    assert np.array_equal(limited, whole[: len(limited)])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), most=st.integers(1, 5000), where=st.sampled_from(sorted(WHERE)))
def test_a_crowd_is_settled_as_it_would_be_all_at_once(seed: int, most: int, where: str) -> None:
    found = cluster(*WHERE[where], 150, 2_000.0, 960.0, seed)
    whole = OccupiedGround(960.0).free(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_MOST_PAIRS", most)
        np.testing.assert_array_equal(OccupiedGround(960.0).free(found), whole)


def test_a_crowd_on_little_ground_takes_little_memory() -> None:
    found = cluster(11.2, 48.3, 30_000, 15_000.0, 7_680.0)
    tracemalloc.start()
    free = OccupiedGround(7_680.0).free(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 3 <= free.sum() <= 12
    assert peak < 1 << 30


def test_neighbours_that_share_an_edge_do_not_overlap() -> None:
    x = 500_040.0 + 2_520.0 * np.arange(5)
    epsg = np.full(5, 32632, dtype=np.int32)
    lon, lat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(x + 1_260, np.full(5, 5_098_740.0))
    row = Footprints(epsg=epsg, x_min=x, y_max=np.full(5, 5_100_000.0), lon=lon, lat=lat, size_m=2_520.0)
    assert OccupiedGround(2_520.0).admit(row).all()
    nudged = Footprints(epsg=epsg, x_min=x - np.arange(5), y_max=row.y_max, lon=lon, lat=lat, size_m=2_520.0)
    assert OccupiedGround(2_520.0).admit(nudged).tolist() == [True, False, True, False, True]


@places
def test_gaps_never_exceed_the_ground(lon: float, lat: float) -> None:
    footprints = cluster(lon, lat, 40, 12_000.0, 2_560.0, seed=3)
    outlines = polygons(footprints, lon, lat)
    first, second = (np.array(i) for i in zip(*combinations(range(40), 2), strict=True))
    found = gaps(footprints.take(first), footprints.take(second), within_m=25_000.0)
    truth = shapely.distance(np.array(outlines, dtype=object)[first], np.array(outlines, dtype=object)[second])
    assert (found <= truth + 0.05).all()
    assert (found >= truth * 0.99 - 0.5)[truth > 0].all()
    assert ((found > 0) <= (truth > 0)).all()


@places
def test_splits_keep_the_buffer(lon: float, lat: float) -> None:
    footprints = cluster(lon, lat, 250, 20_000.0, 1_000.0, seed=5)
    splits = Splits(block_m=5_000, buffer_m=700, train=0.6, val=0.2, test=0.2)
    found = assign(footprints, splits, seed=1)
    kept = np.flatnonzero(found.kept)
    outlines = np.array(polygons(footprints, lon, lat), dtype=object)
    assert {SPLITS[s] for s in found.split[kept]} == set(SPLITS)
    first, second = shapely.STRtree(outlines[kept]).query(outlines[kept], predicate="dwithin", distance=700 - 0.05)
    assert len(first) > len(kept)
    assert (found.split[kept[first]] == found.split[kept[second]]).all()
    assert_lost_only_near_borders(found.kept, found.split, outlines, buffer_m=700)
    blocks = np.stack(cells_of(footprints.lon, footprints.lat, splits.block_m), axis=1)
    assert len(np.unique(blocks, axis=0)) == found.blocks
    for block in np.unique(blocks, axis=0):
        assert len(set(found.split[(blocks == block).all(axis=1)].tolist())) == 1


def assert_lost_only_near_borders(
    kept: NDArray[np.bool_], split: NDArray[np.int64], outlines: NDArray[np.object_], buffer_m: float
) -> None:
    """Whatever was left out is nearer than the buffer (and its safety of 1 %) to a kept sample of another split."""
    assert kept.mean() > 0.4
    for i in np.flatnonzero(~kept).tolist():
        others = kept & (split != split[i])
        assert shapely.dwithin(outlines[others], outlines[i], buffer_m * 1.01 + 0.5).any()


@places
def test_the_ground_that_splits_share_is_measured(lon: float, lat: float) -> None:
    """Where a recipe keeps overlap: nobody is left out, and the shares are those of shapely in another projection."""
    footprints = cluster(lon, lat, 150, 6_000.0, 1_000.0, seed=3)
    found = assign(footprints, Splits(block_m=4_000, allow_overlap=True, train=0.6, val=0.2, test=0.2), seed=0)
    assert found.kept.all()
    outlines = np.array(polygons(footprints, lon, lat), dtype=object)
    told = {(s.split, s.other): s for s in shared_ground(footprints, found.split)}
    assert told
    for one, two in permutations(range(len(SPLITS)), 2):
        mine, others = outlines[found.split == one], shapely.union_all(outlines[found.split == two])
        areas = shapely.area(shapely.intersection(mine, others))
        said = told.get((SPLITS[one], SPLITS[two]))
        assert (said.samples if said else 0) == pytest.approx(int((areas > 1.0).sum()), abs=1)
        assert (said.share if said else 0.0) == pytest.approx(areas.sum() / shapely.area(mine).sum(), abs=2e-3)


def test_splits_that_are_apart_share_nothing() -> None:
    footprints = cluster(9.0, 46.0, 300, 10_000.0, 2_560.0, seed=2)
    found = assign(footprints, Splits(block_m=5_000, buffer_m=0), seed=0)
    kept = np.flatnonzero(found.kept)
    assert shared_ground(footprints.take(kept), found.split[kept]) == ()


def test_train_pays_for_the_buffer() -> None:
    footprints = cluster(9.0, 46.0, 400, 30_000.0, 1_000.0, seed=2)
    found = assign(footprints, Splits(block_m=10_000, buffer_m=1_000, train=0.8, val=0.15, test=0.05), seed=0)
    lost = [int(((found.split == code) & ~found.kept).sum()) for code in range(3)]
    assert lost[0] > 0
    assert lost[2] == 0


def test_no_buffer_still_parts_overlapping_samples() -> None:
    footprints = cluster(9.0, 46.0, 300, 10_000.0, 2_560.0, seed=2)
    found = assign(footprints, Splits(block_m=5_000, buffer_m=0), seed=0)
    outlines = np.array(polygons(footprints, 9.0, 46.0), dtype=object)[found.kept]
    split = found.split[found.kept]
    shared = shapely.area(shapely.intersection(outlines[:, None], outlines[None, :]))
    assert shared[split[:, None] != split[None, :]].max() < 1_000


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), blocks=st.integers(3, 60), each=st.integers(1, 40))
def test_shares_hold_to_a_block(seed: int, blocks: int, each: int) -> None:
    """Ten blocks or sixty, every split has samples and its share to within one block."""
    lon = np.repeat(np.arange(blocks) * 1.0, each) + np.tile(np.arange(each) * 1e-4, blocks)
    footprints = place_footprints(lon, np.full(len(lon), 10.02), GridSpec(size_m=100, resolution_m=10))
    found = assign(footprints, Splits(), seed)
    counts = np.bincount(found.split, minlength=3) / each
    assert (counts > 0).all()
    assert np.abs(counts - np.array([0.8, 0.1, 0.1]) * blocks).max() <= (1.001 if blocks > 4 else 1.401)
    if blocks == 10:
        assert counts.tolist() == [8, 1, 1]


def test_shares_hold_with_a_crowded_block() -> None:
    """A city with a third of all samples goes where it fits."""
    lon = np.concatenate([np.full(500, 0.5) + np.arange(500) * 1e-5, np.arange(1_000) * 0.2 - 100.0])
    footprints = place_footprints(lon, np.full(1_500, 10.02), GridSpec(size_m=100, resolution_m=10))
    counts = np.bincount(assign(footprints, Splits(), 3).split, minlength=3) / 1_500
    assert counts == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_seeds_choose_other_blocks() -> None:
    footprints = cluster(9.0, 46.0, 200, 200_000.0, 1_000.0)
    splits = [assign(footprints, Splits(), seed).split.tolist() for seed in range(4)]
    assert len({tuple(s) for s in splits}) == 4
    assert splits[0] == assign(footprints, Splits(), 0).split.tolist()


def test_a_share_of_nothing_gets_nothing() -> None:
    footprints = cluster(9.0, 46.0, 50, 100_000.0, 1_000.0)
    found = assign(footprints, Splits(train=1.0, val=0.0, test=0.0), 0)
    assert found.kept.all()
    assert (found.split == 0).all()
