"""Splits that hold their shares within strata, and subsets that keep the distribution of all samples."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sampling import SamplingError, locate
from sampling.strata import shared_within, shares_held, strata_of, systematic
from schemas.attribute import PREFIX
from schemas.strata import Binned

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sampling import Located
    from tests.sampling.conftest import Recipes

SHARES = st.lists(st.integers(1, 20), min_size=1, max_size=4).map(lambda w: np.array(w) / sum(w))
CODES = st.lists(st.integers(0, 12), min_size=1, max_size=300).map(lambda c: np.unique(c, return_inverse=True)[1])


def points(folder: Path, count: int = 1_200) -> dict[str, Any]:
    """A points file: three biomes, one of them rare, and a number with some values missing."""
    chance = np.random.default_rng(4)
    biome = chance.choice(["forest", "steppe", "ice"], count, p=[0.8, 0.15, 0.05])
    number = np.where(chance.random(count) < 0.1, "", np.round(chance.gamma(2, 50, count), 1).astype(str))
    place = chance.uniform((9, 47), (12, 49), (count, 2)).round(5)
    rows = [f"{x},{y},{b},{n}" for (x, y), b, n in zip(place, biome, number, strict=True)]
    (folder / "p.csv").write_text("\n".join(["lon,lat,biome,agbd", *rows]) + "\n")
    return {"kind": "points", "file": "p.csv", "attributes": ["biome", "agbd"], "allow_overlap": True}


def column(found: Located, name: str) -> NDArray[Any]:
    return np.array(next(a for a in found.attributes if a.name == name).values.to_pylist())


@settings(max_examples=200, deadline=None)
@given(CODES, SHARES, st.integers(0, 2**32))
def test_shares_hold_within_one_sample_in_each_stratum(
    code: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> None:
    rank = np.random.default_rng(seed).permutation(len(code)).astype(np.uint64)
    split = shares_held(code, rank, shares)
    for stratum in np.unique(code):
        size = int((code == stratum).sum())
        got = np.bincount(split[code == stratum], minlength=len(shares))
        assert got.sum() == size
        assert (np.abs(got - size * shares) < 1).all()
    assert (np.abs(np.bincount(split, minlength=len(shares)) - len(code) * shares) <= 2).all()


def test_many_small_strata_leave_no_split_empty() -> None:
    code, shares = np.repeat(np.arange(1_000), 3), np.array([0.8, 0.1, 0.1])
    split = shares_held(code, np.arange(3_000, dtype=np.uint64), shares)
    assert np.abs(np.bincount(split) - [2_400, 300, 300]).max() <= 2


@settings(max_examples=200, deadline=None)
@given(CODES, st.integers(0, 2**32), st.floats(0, 0.999), st.data())
def test_a_subset_has_of_each_stratum_its_share(
    code: NDArray[np.int64], seed: int, start: float, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(code)))
    rank = np.random.default_rng(seed).permutation(len(code)).astype(np.uint64)
    index = systematic(code, rank, count, start)
    assert len(index) == len(set(index.tolist())) == count
    exact = np.bincount(code) * count / len(code)
    assert (np.abs(np.bincount(code[index], minlength=len(exact)) - exact) < 1).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=300), st.integers(0, 99))
def test_groups_of_ground_are_never_parted(pairs: list[tuple[int, int]], seed: int) -> None:
    member = np.unique([m for m, _ in pairs], return_inverse=True)[1]
    code = np.unique([c for _, c in pairs], return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(int(member.max()) + 1).astype(np.uint64)
    split = shared_within(member, code, order, np.array([0.7, 0.0, 0.3]))
    assert len(split) == len(order)
    assert set(split.tolist()) <= {0, 2}


@pytest.mark.slow
@pytest.mark.parametrize("splits", [
    {"by": "random", "stratify": ["attr_biome"]},
    {"by": "random", "stratify": ["attr_biome", {"by": "attr_agbd", "bins": [100]}], "train": 0.7, "val": 0.2},
    {"by": "random", "stratify": [{"by": "attr_agbd", "bins": [50, 100]}]},
])  # fmt: skip
def test_random_splits_hold_in_each_stratum_and_are_measured(
    tmp_path: Path, recipe: Recipes, splits: dict[str, Any]
) -> None:
    found = locate(recipe(points(tmp_path), splits=splits), tmp_path)
    assert len(found) == 1_200
    values = {PREFIX + a.name: a.values for a in found.attributes}
    by = [Binned(**b) if isinstance(b, dict) else b for b in splits["stratify"]]
    strata = strata_of("here", by, values)
    shares = np.array([splits.get(s, d) for s, d in (("train", 0.8), ("val", 0.1), ("test", 0.1))])
    for number, size in enumerate(strata.sizes.tolist()):
        got = np.bincount(found.split[strata.code == number], minlength=3)
        assert (np.abs(got - size * shares) < 1).all(), strata.names[number]
    assert any("each has its shares of the splits within one sample" in note for note in found.notes)
    assert any(leak.pairs for leak in found.leaks)
    again = locate(recipe(points(tmp_path), splits=splits), tmp_path)
    assert np.array_equal(found.split, again.split)


def test_blocks_come_nearer_to_each_stratums_share_than_without(tmp_path: Path, recipe: Recipes) -> None:
    def off(stratify: list[str]) -> float:
        splits = {"stratify": stratify, "block_m": 20_000, "allow_overlap": True}
        found = locate(recipe(points(tmp_path), splits=splits), tmp_path)
        blocks = {}
        for name, split in zip(found.columns(np.arange(len(found)))["block"], found.split.tolist(), strict=True):
            assert blocks.setdefault(name, split) == split
        rare = found.split[column(found, "biome") == "ice"]
        return float(np.abs(np.bincount(rare, minlength=3) / len(rare) - [0.8, 0.1, 0.1]).max())

    assert off(["attr_biome"]) < min(0.03, off([]))


def test_a_buffer_leaves_samples_out_and_the_note_tells_what_is_left(tmp_path: Path, recipe: Recipes) -> None:
    splits = {"stratify": ["attr_biome"], "block_m": 20_000, "buffer_m": 1_000}
    found = locate(recipe(points(tmp_path), splits=splits), tmp_path)
    assert found.left_out["split_buffer"] == 1_200 - len(found)
    assert any(note.startswith("splits.stratify: 3 strata of attr_biome: farthest") for note in found.notes)


def test_folds_and_stripes_are_stratified_too(tmp_path: Path, recipe: Recipes) -> None:
    folds = {"by": "folds", "folds": 4, "edge_m": 10_000, "stratify": ["attr_biome"]}
    found = locate(recipe(points(tmp_path), splits=folds), tmp_path)
    fold, biome = column(found, "fold"), column(found, "biome")
    for one in ("forest", "steppe", "ice"):
        assert np.abs(np.bincount(fold[biome == one]) / (biome == one).sum() - 0.25).max() < 0.03
    stripes = {"by": "stripes", "width_m": 4_000, "stratify": ["attr_biome"]}
    found = locate(recipe(points(tmp_path), splits=stripes), tmp_path)
    rare = found.split[column(found, "biome") == "ice"]
    assert np.abs(np.bincount(rare, minlength=3) / len(rare) - [0.8, 0.1, 0.1]).max() < 0.06


def test_drawn_samples_hold_their_shares_in_the_strata_that_they_are_drawn_from(
    tmp_path: Path, recipe: Recipes
) -> None:
    points(tmp_path)
    sampling = {
        "kind": "draw", "count": 90, "from": {"file": "p.csv"}, "balance": ["biome"], "attributes": ["agbd"],
        "allow_overlap": True,
    }  # fmt: skip
    found = locate(recipe(sampling, splits={"by": "random", "stratify": ["stratum"]}), tmp_path)
    assert found.stratum is not None
    for stratum in range(3):
        assert np.bincount(found.split[found.stratum == stratum]).tolist() == [24, 3, 3]
    by = {"by": "random", "stratify": [{"by": "attr_agbd", "quantiles": 3}]}
    assert np.bincount(locate(recipe(sampling, splits=by), tmp_path).split).tolist() == [72, 9, 9]
    with pytest.raises(ValidationError, match=r"attr_biome is no attribute .* \(there are: attr_agbd, stratum\)"):
        recipe(sampling, splits={"by": "random", "stratify": ["attr_biome"]})


@pytest.mark.parametrize(("sections", "said"), [
    ({"splits": {"by": "random", "stratify": ["attr_biom"]}}, r"attr_biom is no attribute .*attr_agbd\); name"),
    ({"splits": {"by": "random", "stratify": ["stratum"]}}, "stratum is no attribute .*needs sampling.balance"),
    ({"splits": {"by": "random", "stratify": ["attr_biome", "attr_biome"]}}, "attr_biome is named twice"),
    ({"splits": {"by": "concentric", "stratify": ["attr_biome"]}}, "Extra inputs"),
    ({"subset": {"count": 5, "fraction": 0.1}}, "one of the two"),
    ({"subset": {}}, "one of the two"),
    ({"subset": {"fraction": 1.5}}, "less than or equal to 1"),
    ({"subset": {"count": 5, "keep": ["attr_height"]}}, "attr_height is no attribute .* or a number of a file"),
    ({"subset": {"count": 5, "keep": [{"by": "attr_agbd"}]}}, "give `quantiles: 10` or `bins"),
    ({"subset": {"count": 5, "keep": [{"by": "attr_agbd", "bins": [2, 1]}]}}, "bins must ascend, found 2 before 1"),
    ({"subset": {"count": 5, "keep": [{"by": "attr_agbd", "bins": [1, 1]}]}}, "bins must ascend"),
])  # fmt: skip
def test_what_a_recipe_cannot_honour_is_refused_before_any_file_is_read(
    tmp_path: Path, recipe: Recipes, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        recipe(points(tmp_path), **sections)
    assert caught.value.error_count() <= 2


@pytest.mark.parametrize(("sections", "said"), [
    ({"splits": {"by": "random", "stratify": ["attr_agbd"]}}, "splits.stratify: attr_agbd holds measurements"),
    ({"splits": {"by": "random", "stratify": [{"by": "attr_biome", "quantiles": 3}]}}, "attr_biome is text, and"),
    ({"splits": {"by": "random", "stratify": [{"by": "attr_agbd", "bins": [0.001]}]}},
     r"stratum attr_agbd=\[-inf, 0.001\) has 2 samples, fewer than the 3 parts"),
    ({"splits": {"by": "random"}, "subset": {"count": 1_201}}, "subset.count is 1,201, and there are 1,200 samples"),
])  # fmt: skip
def test_what_the_file_does_not_allow_is_one_line(
    tmp_path: Path, recipe: Recipes, sections: dict[str, Any], said: str
) -> None:
    sampling = points(tmp_path)
    lines = (tmp_path / "p.csv").read_text().splitlines()
    lines[1:3] = [line.rpartition(",")[0] + ",0.0" for line in lines[1:3]]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    with pytest.raises(SamplingError, match=said) as caught:
        locate(recipe(sampling, **sections), tmp_path)
    assert "\n" not in str(caught.value)


def test_splits_without_a_share_need_no_sample(tmp_path: Path, recipe: Recipes) -> None:
    (tmp_path / "p.csv").write_text("lon,lat,kind\n" + "".join(f"{10 + i / 10},48,{'ab'[i % 2]}\n" for i in range(4)))
    sampling = {"kind": "points", "file": "p.csv", "attributes": ["kind"]}
    splits = {"by": "random", "stratify": ["attr_kind"], "train": 0.5, "val": 0, "test": 0.5}
    found = locate(recipe(sampling, splits=splits), tmp_path)
    assert np.bincount(found.split, minlength=3).tolist() == [2, 0, 2]
    with pytest.raises(SamplingError, match=r"has 2 samples, fewer than the 3 parts .*; 2 strata"):
        locate(recipe(sampling, splits=splits | {"train": 0.4, "val": 0.1}), tmp_path)


def test_a_subset_keeps_the_joint_distribution_and_its_samples_are_those_of_the_whole(
    tmp_path: Path, recipe: Recipes
) -> None:
    keep = ["attr_biome", {"by": "attr_agbd", "quantiles": 4}]
    whole = locate(recipe(points(tmp_path), splits={"by": "random"}), tmp_path)
    some = locate(recipe(points(tmp_path), splits={"by": "random"}, subset={"fraction": 0.25, "keep": keep}), tmp_path)
    assert len(some) == 300
    every = np.arange(len(whole))
    rows = {
        r[0]: r
        for r in zip(*(whole.columns(every)[c] for c in ("sample_id", "split", "x_min", "attr_agbd")), strict=True)
    }
    mine = list(
        zip(*(some.columns(np.arange(300))[c] for c in ("sample_id", "split", "x_min", "attr_agbd")), strict=True)
    )
    assert all(rows[r[0]] == r for r in mine)
    strata = strata_of("here", ["attr_biome", Binned(by="attr_agbd", quantiles=4)],
                       {PREFIX + a.name: a.values for a in whole.attributes})  # fmt: skip
    cell = dict(zip(rows, zip(strata.code.tolist(), whole.split.tolist(), strict=True), strict=True))
    all_, got = Counter(cell.values()), Counter(cell[r[0]] for r in mine)
    assert all(abs(got[c] - n / 4) < 1 for c, n in all_.items())
    assert any("a subset of 300 of 1,200 samples: " in note for note in some.notes)
    assert [leak.pairs for leak in some.leaks] < [leak.pairs for leak in whole.leaks]
    trial = locate(recipe(points(tmp_path), splits={"by": "random"}, subset={"fraction": 0.25}, limit=10), tmp_path)
    assert len(trial) == 10


def test_a_subset_may_keep_the_distribution_of_a_number_of_polygons(tmp_path: Path, recipe: Recipes) -> None:
    sampling = points(tmp_path)
    boxes = [(9, 46, 10, 50), (10, 46, 13, 50)]
    features = [
        {"type": "Feature", "properties": {"zone": n}, "geometry": {"type": "Polygon", "coordinates": [
            [[w, s], [e, s], [e, n_], [w, n_], [w, s]]]}} for n, (w, s, e, n_) in enumerate(boxes)
    ]  # fmt: skip

    (tmp_path / "z.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    numbers = {"zone": {"polygons": "z.geojson", "column": "zone"}}
    subset = {"count": 120, "keep": ["attr_zone"]}
    whole = locate(recipe(sampling, splits={"by": "random"}), tmp_path)
    found = locate(recipe(sampling, splits={"by": "random"}, subset=subset, numbers=numbers), tmp_path)
    west = (whole.footprints.lon < 10).sum() / 10
    assert abs((column(found, "zone") == 0).sum() - west) <= 3


def test_bins_of_equal_values_are_one() -> None:
    values = {"attr_n": pa.array([1, 1, 1, 1, 1, 5, None])}
    found = strata_of("here", [Binned(by="attr_n", quantiles=3)], values)
    assert found.names == ["attr_n=[-inf, inf)", "attr_n=(none)"]
    found = strata_of("here", [Binned(by="attr_n", bins=(1, 5))], values)
    assert found.names == ["attr_n=[1, 5)", "attr_n=[5, inf)", "attr_n=(none)"]
    assert found.code.tolist() == [0, 0, 0, 0, 0, 1, 2]
