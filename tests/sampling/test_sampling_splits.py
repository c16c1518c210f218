"""How blocks are shared out among splits: pinned by hand on small cases, and by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sampling import nearness
from sampling import splits as module
from sampling.chance import Purpose, ranks
from sampling.geobox import Footprints, place_footprints
from sampling.majortom import cells_of
from sampling.sphere import geocentric
from sampling.splits import SPLITS, assign
from schemas.grid import GridSpec
from schemas.splits import Splits

SHARES = np.array([0.8, 0.1, 0.1])


def shared_out(counts: list[int], order: list[int], shares: list[float] | None = None) -> list[int]:
    wanted = SHARES if shares is None else np.array(shares)
    return module.shared_out(np.array(counts), np.array(order, np.uint64), wanted).tolist()


def test_ten_equal_blocks_in_the_order_of_the_seed() -> None:
    """The first block goes to train, the next to val and test at their turn: worked out by hand.

    With n blocks of one, wanted 8, 1, 1: a block goes where (1 + 2 (got - wanted)) / wanted is least, ties to the
    earlier split: -1.875 for train against -1 for the others, until train has got 4 (-7 / 8).
    """
    assert shared_out([1] * 10, list(range(10))) == [0, 0, 0, 0, 1, 2, 0, 0, 0, 0]
    assert shared_out([1] * 10, list(range(10))[::-1]) == [0, 0, 0, 0, 2, 1, 0, 0, 0, 0]


def test_fuller_blocks_come_first_by_powers_of_two() -> None:
    # 9 and 8 are of one class (8 to 15), taken by order; 7 is of a lower one and comes last, whatever its order
    assert shared_out([7, 9, 8], [0, 2, 1], [0.5, 0.5, 0.0]) == [0, 1, 0]
    assert shared_out([7, 9, 8], [0, 1, 2], [0.5, 0.5, 0.0]) == [1, 0, 1]


def test_an_empty_split_gets_the_least_block_of_the_fullest() -> None:
    # 100 and 4 both go to train; val and test get one of the small blocks of the split that holds most
    found = shared_out([100, 4, 2], [0, 1, 2], [0.98, 0.01, 0.01])
    assert sorted(found) == [0, 1, 2]
    assert found[0] == 0
    # nothing to give: one block stays where it is
    assert shared_out([5], [0]) == [0]
    # of equal blocks the one that comes first by the seed is given
    assert shared_out([8, 8, 8, 8], [3, 1, 2, 0], [0.999, 0.0005, 0.0005]).count(0) == 2
    assert shared_out([8, 8, 8, 8], [3, 1, 2, 0], [0.999, 0.001, 0.0]) == [0, 0, 0, 1]


@settings(max_examples=100, deadline=None)
@example(
    counts=[1, 410, 1, 100, 210, 229, 500, 138, 255, 403], seed=127, shares=[0.6, 0.4, 0.0]
)  # 100 serves both alike
@given(
    counts=st.lists(st.integers(1, 500), min_size=1, max_size=40),
    seed=st.integers(0, 2**32),
    shares=st.sampled_from([[0.8, 0.1, 0.1], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0], [0.6, 0.4, 0.0], [0.34, 0.33, 0.33]]),
)
def test_each_block_goes_where_it_serves_best(counts: list[int], seed: int, shares: list[float]) -> None:
    """The rule again, written as the chi-square distance itself; of splits that serve equally well any may be taken.

    A block that is alone in its split may have been moved there, because the rule left that split empty.
    """
    order = np.random.default_rng(seed).permutation(len(counts)).tolist()
    found = shared_out(counts, order, shares)
    open_splits = [k for k in range(3) if shares[k]]
    assert set(found) <= set(open_splits)
    if len(counts) >= len(open_splits):
        assert set(found) == set(open_splits)
    wanted = {k: shares[k] * sum(counts) for k in open_splits}
    turns = sorted(range(len(counts)), key=lambda b: (-int(np.log2(counts[b])), order[b]))
    alone = [b for b in turns if found.count(found[b]) == 1]
    ways = [dict(zip(alone, way, strict=True)) for way in itertools.product(open_splits, repeat=len(alone))]
    assert any(_each_serves_best([(counts[b], way.get(b, found[b])) for b in turns], wanted) for way in ways)


def _each_serves_best(blocks: list[tuple[int, int]], wanted: dict[int, float]) -> bool:
    """Whether each block (samples, split), in turn, went where the chi-square distance is least within rounding."""
    got = dict.fromkeys(wanted, 0)
    for size, split in blocks:
        distance = {k: sum((got[j] + size * (j == k) - w) ** 2 / w for j, w in wanted.items()) for k in wanted}
        if distance[split] > min(distance.values()) + 1e-9 * sum(wanted.values()):
            return False
        got[split] += size
    return True


def strewn(count: int = 60, wide: float = 8.0) -> Footprints:
    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(5.0, 5.0 + wide, count), rng.uniform(44.0, 44.0 + wide / 2, count)
    return place_footprints(lon, lat, GridSpec(size_m=960, resolution_m=10))


def test_the_splits_of_a_small_dataset_are_pinned() -> None:
    found = assign(strewn(), Splits(block_m=100_000, buffer_m=5_000), 42)
    assert "".join(str(s) for s in found.split.tolist()) == PINNED
    assert found.blocks == len(
        set(zip(*(c.tolist() for c in cells_of(strewn().lon, strewn().lat, 100_000)), strict=True))
    )


def test_samples_of_one_block_are_never_parted() -> None:
    footprints = strewn(300)
    found = assign(footprints, Splits(block_m=50_000), 3)
    row, column = cells_of(footprints.lon, footprints.lat, 50_000)
    split_of: dict[tuple[int, int], int] = {}
    for key, split in zip(zip(row.tolist(), column.tolist(), strict=True), found.split.tolist(), strict=True):
        assert split_of.setdefault(key, split) == split
    order = ranks(
        3, Purpose.BLOCKS, np.array([k[0] for k in sorted(split_of)]), np.array([k[1] for k in sorted(split_of)])
    )
    counts = np.array([sum(1 for k in zip(row, column, strict=True) if k == key) for key in sorted(split_of)])
    assert [split_of[k] for k in sorted(split_of)] == module.shared_out(counts, order, SHARES).tolist()


def test_negative_rows_and_columns_are_told_apart() -> None:
    """Blocks west of 0 and south of the equator are blocks of their own."""
    lon, lat = np.array([-0.5, 0.5, -0.5, 0.5] * 3), np.array([-0.5, -0.5, 0.5, 0.5] * 3)
    footprints = place_footprints(lon, lat, GridSpec(size_m=960, resolution_m=10))
    assert assign(footprints, Splits(block_m=100_000), 0).blocks == 4


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.1), (0.4, 0.3, 0.3), (0.1, 0.8, 0.1)])
def test_the_split_with_the_larger_share_pays_for_the_buffer(shares: tuple[float, float, float]) -> None:
    """At equal shares train pays before val, and val before test."""
    footprints = strewn(400, 2.0)
    rules = Splits(train=shares[0], val=shares[1], test=shares[2], block_m=20_000, buffer_m=8_000)
    found = assign(footprints, rules, 1)
    lost = np.bincount(found.split[~found.kept], minlength=3)
    order = sorted(range(3), key=lambda k: (shares[k], -k))
    assert lost[order[0]] == 0, "the split with the smallest share loses nothing; of equal ones the later one"
    assert lost[order[2]] > 0


def test_overlap_on_request_keeps_everything() -> None:
    footprints = strewn(400, 2.0)
    assert assign(footprints, Splits(block_m=20_000, buffer_m=8_000, allow_overlap=True), 1).kept.all()
    assert not assign(footprints, Splits(block_m=20_000, buffer_m=8_000), 1).kept.all()


def test_many_footprints_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held at once is bounded, and the bound changes nothing."""
    footprints = strewn(500, 2.0)
    whole = assign(footprints, Splits(block_m=20_000, buffer_m=8_000), 1)
    for bound in (1, 7, 100):
        monkeypatch.setattr(nearness, "_AT_ONCE", bound)
        np.testing.assert_array_equal(assign(footprints, Splits(block_m=20_000, buffer_m=8_000), 1).kept, whole.kept)


def test_neighbourhoods_are_those_within_reach() -> None:
    footprints = strewn(200, 2.0)
    mine, others = np.arange(0, 120), np.arange(120, 200)
    points = geocentric(footprints.lon, footprints.lat)
    apart = np.linalg.norm(points[mine][:, None] - points[others][None], axis=-1)
    seen: list[int] = []
    for part, near in nearness.neighbourhoods(footprints, mine, others, 10_000.0):
        assert len(set(footprints.epsg[part].tolist())) == 1
        assert set(near.tolist()) == {int(i) + 120 for i in np.flatnonzero((apart[part] <= 10_000.0).any(axis=0))}
        seen += part.tolist()
    assert sorted(seen) == np.flatnonzero((apart <= 10_000.0).any(axis=1)).tolist()


PINNED = "100000000000200000202000001000000200100001100001000000200002"
assert SPLITS == ("train", "val", "test")
