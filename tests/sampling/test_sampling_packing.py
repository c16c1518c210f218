"""Shards by place: the curve against another implementation, the assignment pinned."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import packing
from sampling.geobox import Footprints, place_footprints
from sampling.packing import hilbert, pack, packed
from schemas.grid import GridSpec
from schemas.output import Shards
from schemas.place import Place


def hilbert_by_reflections(x: int, y: int, bits: int = 16) -> int:
    """Position on the Hilbert curve, bit by bit, with rotations written as swaps (Wikipedia, 'Hilbert curve')."""
    n, d = 1 << bits, 0
    s = n >> 1
    while s:
        rx, ry = int((x & s) > 0), int((y & s) > 0)
        d += s * s * ((3 * rx) ^ ry)
        if ry == 0:
            if rx == 1:
                x, y = n - 1 - x, n - 1 - y
            x, y = y, x
        s >>= 1
    return d


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 65_535), st.integers(0, 65_535), st.floats(0.0, 249.0))
def test_the_curve_is_hilberts(a: int, b: int, within: float) -> None:
    found = hilbert(np.array([a * 250.0 + within]), np.array([b * 250.0 + within]))
    assert found.tolist() == [hilbert_by_reflections(a, b)]


def test_places_beyond_the_grid_count_as_on_its_border() -> None:
    far = hilbert(np.array([-1e6, 1e9, 0.0]), np.array([0.0, 1e9, -5.0]))
    assert far.tolist() == [0, hilbert_by_reflections(65_535, 65_535), 0]


def strewn(count: int, seed: int = 3) -> Footprints:
    rng = np.random.default_rng(seed)
    return place_footprints(
        rng.uniform(-30, 30, count), rng.uniform(-60, 60, count), GridSpec(size_m=960, resolution_m=10)
    )


def names(index: np.ndarray) -> list[str]:
    return [f"s{i:06d}" for i in index.tolist()]


def split_of(count: int) -> np.ndarray:
    return (np.arange(count) % 10 // 8 + (np.arange(count) % 10 == 9)).astype(np.int8)


@pytest.mark.parametrize("at_most", [1, 7, 64, 500])
def test_shards_follow_split_zone_curve_and_id(at_most: int) -> None:
    footprints, split = strewn(400), split_of(400)
    found = packed(footprints, split, names, at_most)
    key = [
        (
            int(split[i]),
            int(footprints.epsg[i]),
            int(hilbert(footprints.x_min[i : i + 1] + 480.0, footprints.y_max[i : i + 1] - 480.0)[0]),
            f"s{i:06d}",
        )
        for i in range(400)
    ]
    expected = sorted(range(400), key=lambda i: key[i])
    assert found.order.tolist() == expected
    sizes = np.diff(found.starts)
    ends = np.cumsum([int((split == s).sum()) for s in range(3)])
    for number in range(len(found)):
        rows = found.shard(number)
        assert len(set(split[rows].tolist())) == 1
        last = int(found.starts[number + 1]) in ends
        assert len(rows) == at_most or (last and 0 < len(rows) <= at_most)
    assert len(found) == len(sizes) == sum(-(-int((split == s).sum()) // at_most) for s in range(3))


def test_twins_are_ordered_by_id_and_the_order_of_the_input_does_not_matter() -> None:
    """Places on one step of the curve: a file of points has many."""
    lon, lat = np.repeat([9.0, 9.0001, 12.0], 4), np.repeat([46.0, 46.0001, 44.0], 4)
    footprints = place_footprints(lon, lat, GridSpec(size_m=960, resolution_m=10))
    rng = np.random.default_rng(0)
    ids = [f"p{i}" for i in rng.permutation(12).tolist()]
    split = np.zeros(12, np.int8)
    found = packed(footprints, split, lambda index: [ids[i] for i in index.tolist()], 5)
    listed = [ids[i] for i in found.order.tolist()]
    turned = rng.permutation(12)
    again = packed(footprints.take(turned), split, lambda index: [ids[turned[i]] for i in index.tolist()], 5)
    assert [ids[turned[i]] for i in again.order.tolist()] == listed
    groups = [listed[:4], listed[4:8], listed[8:]] if listed[0] in ids[8:] else [listed[:8], listed[8:]]
    assert all(group == sorted(group) or len(group) == 8 for group in groups)


def test_memory_is_bounded_and_the_bound_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    footprints, split = strewn(300), split_of(300)
    whole = packed(footprints, split, names, 32)
    for bound in (1, 7, 299):
        monkeypatch.setattr(packing, "_AT_ONCE", bound)
        np.testing.assert_array_equal(packed(footprints, split, names, 32).order, whole.order)


def test_the_packing_of_a_small_dataset_is_pinned() -> None:
    found = packed(strewn(200), split_of(200), names, 16)
    assert found.starts.tolist() == STARTS
    assert hashlib.sha256(found.order.astype("<i8").tobytes()).hexdigest() == ORDER
    assert hashlib.sha256(found.ground.astype("<i8").tobytes()).hexdigest() == GROUND


@pytest.mark.parametrize("samples", [1, 20, 50, 10_000])
def test_neighbourhoods_hold_every_shard_once_and_follow_the_ground(samples: int) -> None:
    found = packed(strewn(300), split_of(300), names, 16)
    groups = found.neighbourhoods(samples)
    assert sorted(s for g in groups for s in g.tolist()) == list(range(len(found)))
    assert all(g.tolist() == sorted(g.tolist()) for g in groups)
    sizes = np.diff(found.starts)
    along = np.argsort(found.ground, kind="stable")
    assert [set(g.tolist()) for g in groups] == _cut(along.tolist(), sizes.tolist(), samples)


def _cut(along: list[int], sizes: list[int], samples: int) -> list[set[int]]:
    """Shards along the ground; a new group begins whenever another `samples` samples are full."""
    groups: dict[int, set[int]] = {}
    total = 0
    for shard in along:
        total += sizes[shard]
        groups.setdefault((total - 1) // samples, set()).add(shard)
    return [groups[k] for k in sorted(groups)]


def test_places_are_packed_as_footprints_are() -> None:
    footprints, split = strewn(90), split_of(90)
    places = [
        Place(
            sample_id=f"s{i:06d}",
            lon=float(footprints.lon[i]),
            lat=float(footprints.lat[i]),
            geobox=footprints.geobox(i, 10.0),
            split=("train", "val", "test")[int(split[i])],
            block="b",
            cell="c",
        )
        for i in range(90)
    ]
    found = packed(footprints, split, names, 16)
    expected = [[places[i] for i in found.shard(s).tolist()] for s in range(len(found))]
    assert pack(places, Shards(samples=16)) == expected
    assert pack([], Shards(samples=16)) == []


STARTS = [0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 180, 196, 200]
ORDER = "c65d50eb51a6176b660e054eae7da78ae44ba0450b29650f4ed368e59170c16c"
GROUND = "5f0dafc5573c141ed32e8a07a7844357c23224441201312db6bf2e13c34815ca"
