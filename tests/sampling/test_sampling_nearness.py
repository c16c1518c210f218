"""Overlap, distance and shared ground of splits: the same as by comparing every pair, without comparing every pair."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling.geobox import Footprints, joined
from sampling.leakage import leakage
from sampling.separation import TOUCH_M, gaps, outlines_in
from sampling.shared import shared_ground
from sampling.splits import SPLITS, keeping
from tests.sampling.test_sampling_overlap import WHERE, cluster


def by_every_pair(footprints: Footprints, one: np.ndarray, two: np.ndarray, within_m: float = 0.0) -> np.ndarray:
    """(one, two) distances, negative where footprints overlap."""
    left, right = np.repeat(one, len(two)), np.tile(two, len(one))
    return gaps(footprints.take(left), footprints.take(right), within_m).reshape(len(one), len(two))


def covered(footprints: Footprints, mine: int, others: np.ndarray) -> float:
    """Share of one footprint that others cover."""
    around = outlines_in(footprints.take(np.full(len(others), mine)), footprints.take(others))
    x, y, size = footprints.x_min[mine], footprints.y_max[mine], footprints.size_m
    square = shapely.box(x, y - size, x + size, y)
    return float(shapely.area(shapely.intersection(square, shapely.union_all(around)))) / size**2


@settings(max_examples=15, deadline=None)
@given(
    where=st.sampled_from(sorted(WHERE)),
    count=st.integers(6, 25),
    radius_m=st.sampled_from([1.0, 500.0, 3_000.0, 9_000.0, 60_000.0]),
    size_m=st.sampled_from([600.0, 2_560.0, 10_240.0]),
    seed=st.integers(0, 2**31),
)
def test_what_splits_share_is_what_every_pair_of_footprints_says(
    where: str, count: int, radius_m: float, size_m: float, seed: int
) -> None:
    footprints = cluster(*WHERE[where], count, radius_m, size_m, seed)
    split = np.random.default_rng(seed).choice(3, count, p=[0.5, 0.3, 0.2]).astype(np.int8)
    members = [np.flatnonzero(split == code) for code in range(3)]
    shared = {(s.split, s.other): s for s in shared_ground(footprints, split)}
    for a, b in permutations(range(3), 2):
        if not len(members[a]) or not len(members[b]):
            assert (SPLITS[a], SPLITS[b]) not in shared
            continue
        shares = np.array([covered(footprints, m, members[b]) for m in members[a].tolist()])
        said = shared.get((SPLITS[a], SPLITS[b]))
        assert (said.samples if said else 0) == int((shares > TOUCH_M / size_m).sum())
        assert (said.share if said else 0.0) == pytest.approx(float(shares.mean()), abs=1.1e-6)
    leaks = {(x.split, x.other): x for x in leakage(footprints, split)}
    for a, b in combinations(range(3), 2):
        if not len(members[a]) or not len(members[b]):
            continue
        one, two = (members[a], members[b]) if len(members[a]) <= len(members[b]) else (members[b], members[a])
        apart, told = by_every_pair(footprints, one, two), leaks[SPLITS[a], SPLITS[b]]
        assert told.pairs == int((apart < -TOUCH_M).sum())
        # the scale of a projection is bounded over the surroundings that are looked at, so the audit may say less
        assert 0.995 * max(0.0, apart.min()) - 0.001 <= told.nearest_m <= max(0.0, apart.min()) + 0.001


@settings(max_examples=15, deadline=None)
@given(
    where=st.sampled_from(sorted(WHERE)),
    radius_m=st.sampled_from([500.0, 5_000.0, 30_000.0]),
    buffer_m=st.sampled_from([0.0, 60.0, 500.0, 5_000.0]),
    seed=st.integers(0, 2**31),
)
def test_the_buffer_leaves_out_what_every_pair_of_footprints_says(
    where: str, radius_m: float, buffer_m: float, seed: int
) -> None:
    footprints = cluster(*WHERE[where], 40, radius_m, 600.0, seed)
    split = np.random.default_rng(seed).choice(3, 40, p=[0.6, 0.3, 0.1]).astype(np.int8)
    shares = np.array([0.6, 0.3, 0.1])
    kept = np.ones(40, dtype=bool)
    protected = np.empty(0, dtype=np.int64)
    for code in (2, 1, 0):
        mine = np.flatnonzero(split == code)
        if len(mine) and len(protected):
            apart = by_every_pair(footprints, mine, protected, buffer_m)
            kept[mine[(apart < buffer_m - TOUCH_M).any(axis=1)]] = False
        protected = np.concatenate([protected, mine[kept[mine]]])
    assert (keeping(footprints, split, shares, buffer_m) == kept).all()


@pytest.mark.parametrize("far", [(12.0, 46.0), (60.0, 10.0), (-171.0, -46.0)], ids=["near", "a continent", "antipode"])
def test_splits_that_are_far_apart_are_measured_too(far: tuple[float, float]) -> None:
    two = [cluster(9.0, 46.0, 20, 5_000.0, 600.0), cluster(*far, 20, 5_000.0, 600.0)]
    footprints = joined(two)
    split = np.repeat([0, 1], 20).astype(np.int8)
    (told,) = leakage(footprints, split)
    centres = shapely.points(np.stack([footprints.lon, footprints.lat], axis=1))
    assert told.pairs == 0
    assert told.nearest_m > 1_000.0 * min(float(shapely.distance(c, centres[20:]).min()) for c in centres[:20])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["inside a zone", "zone border"])
def test_a_crowd_at_one_spot_is_not_compared_pair_by_pair(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the samples at one spot take about twice the comparisons, not four times as many."""
    compared = [0]
    real = {name: getattr(shapely, name) for name in ("intersection", "distance", "polygons")}

    def counting(name: str) -> Any:
        def counted(*arguments: Any, **more: Any) -> Any:
            found = real[name](*arguments, **more)
            compared[0] += np.size(found)
            return found

        return counted

    for name in real:
        monkeypatch.setattr(shapely, name, counting(name))
    took = []
    for count in (300, 600):
        footprints = cluster(*WHERE[where], count, 1_000.0, 2_560.0)
        split = np.random.default_rng(1).choice(3, count, p=[0.6, 0.2, 0.2]).astype(np.int8)
        compared[0] = 0
        assert shared_ground(footprints, split)
        assert leakage(footprints, split)
        keeping(footprints, split, np.array([0.6, 0.2, 0.2]), 1_000.0)
        took.append(compared[0])
    assert took[1] < 2.5 * took[0]
