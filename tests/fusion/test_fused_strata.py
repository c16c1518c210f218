"""Strata of reliability, and votes of layers with probabilities: numbers, a model, and a dataset with both."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from landweave.check import check
from pipelines.engines import Engine
from pipelines.fusion.check import check_fused
from pipelines.fusion.families import FusionError
from pipelines.fusion.soft import soft_vote
from pipelines.fusion.strata import described_stratum, stratum_of
from pipelines.jobs import add_fused
from pipelines.labels.fusion.fuse import Evidence, Model, fuse
from pipelines.labels.fusion.voters import symbols, voter
from pipelines.labels.fusion.votes import FEWEST, Patterns, learn
from pipelines.recipes import RecipeError, RecipeFile
from schemas.recipe import Recipe
from tests.fusion.test_fused_dataset import sums
from tests.fusion.test_fused_recipe import RECIPE, read
from tests.shards import synthetic

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("region", "relief", "date_gap")
SOFT = {"label": "sentinel2", "bands": {"B02": "water", "B03": "trees", "B04": "crops", "B08": "trees"}}


@given(
    st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 3000), st.lists(st.none() | st.integers(0, 5000), max_size=3)
)
def test_a_stratum_says_what_it_is_made_of(lon: float, lat: float, height: float, gaps: list[int | None]) -> None:
    heights = np.linspace(100.0, 100.0 + height, 101)
    number = stratum_of(KINDS, {"lon": lon, "lat": lat}, gaps, heights)
    assert 0 <= number < 1 << 16
    said = described_stratum(KINDS, number)
    range_m = 0.96 * height
    assert ("flat" in said) == (range_m < 50 - 1e-6) or abs(range_m - 50) < 1e-3
    assert ("mountainous" in said) == (range_m >= 300) or abs(range_m - 300) < 1e-3
    known = [gap for gap in gaps if gap is not None]
    assert ("date gap unknown" in said) == (not known)
    if known:
        assert ("up to a month" in said) == (max(known) < 31)
    south = int(said.split("lat ")[1].split("..")[0])
    assert south - 1e-9 <= lat <= south + 5
    assert stratum_of(("relief",), {}, (), None) == 0
    assert stratum_of((), {}, (), None) == 0


def test_reliability_differs_by_stratum_and_small_strata_have_that_of_all() -> None:
    forms, rng = [voter("esri", 1), voter("worldcover", 1), voter("other", 1)], np.random.default_rng(0)
    side = 160
    truth = rng.integers(1, 4, (2, side, side))
    wrong = rng.integers(1, 4, (3, 2, side, side))
    # in stratum 7 the first map is nearly always right and the others fail; in stratum 9 it is the other way round
    right = np.array([[0.97, 0.35], [0.45, 0.9], [0.45, 0.9]])
    votes = np.where(rng.random(wrong.shape) < right[:, :, None, None], truth, wrong).astype(np.uint16)
    few = np.full((3, 2, 2), 1, np.uint16)
    stacks = [np.tile(votes[:, i], (1, 2, 1)) for i in range(2)]
    assert stacks[0][0].size >= FEWEST
    parts = [Patterns.of(forms, s, code) for s, code in zip((*stacks, few), (7, 9, 11), strict=True)]
    model, pooled = (
        learn(forms, Patterns.total(parts if strata else [Patterns.of(forms, s) for s in (*stacks, few)]))
        for strata in (True, False)
    )
    assert model.strata.tolist() == [7, 9]
    assert pooled.strata.tolist() == []
    assert model.row(np.array([7, 9, 11, 0])).tolist() == [1, 2, 0, 0]
    assert np.allclose(model.shares.sum(axis=1), 1)
    good = []
    for m in (model, pooled):
        found = [
            fuse(Model(votes=m), Evidence(votes=votes[:, i], stratum=code)).classes for i, code in ((0, 7), (1, 9))
        ]
        good.append((np.stack(found) == truth).mean())
    assert good[0] > good[1] + 0.02
    one = Evidence(votes=votes[:, 0], stratum=11)
    many = Evidence(votes=votes[:, 0], stratum=np.full((side, side), 11))
    assert fuse(Model(votes=model), one).posterior.tobytes() == fuse(Model(votes=model), many).posterior.tobytes()
    again = learn(forms, Patterns.total(parts[::-1]))
    assert again.shares.tobytes() == model.shares.tobytes()


@given(st.integers(0, 2**31), st.integers(1, 3))
def test_a_soft_vote_is_the_class_of_the_greatest_clear_sum(seed: int, dates: int) -> None:
    rng = np.random.default_rng(seed)
    names = {"a": "water", "b": "trees", "c": "water", "d": "crops"}
    bands = {n: rng.integers(0, 5, (dates, 3, 4)).astype(float) for n in names}
    bands["a"][0, 0, 0] = np.nan
    clear = rng.random((dates, 3, 4)) < 0.7
    codes, share = soft_vote(bands, names, clear)
    for y, x in np.ndindex(3, 4):
        seen = {n: np.nansum(b[clear[:, y, x], y, x]) for n, b in bands.items()}
        by_class = {1: seen["a"] + seen["c"], 2: seen["b"], 5: seen["d"]}
        total = sum(by_class.values())
        if total == 0:
            assert codes[y, x] == 0
            assert np.isnan(share[y, x])
        else:
            assert by_class[int(codes[y, x])] == max(by_class.values())
            assert share[y, x] == pytest.approx(max(by_class.values()) / total, rel=1e-5)


def test_a_family_of_soft_and_hard_maps() -> None:
    form = voter("dynamicworld", 2, probabilities=True)
    maps, shares = (
        [np.array([[2, 2, 0]]), np.array([[2, 4, 4]])],
        [np.array([[np.nan] * 3]), np.array([[0.9, 0.9, 0.2]])],
    )
    found = symbols(form, maps, shares)
    assert form.means[found].tolist() == [[2, 2, 4]]
    kinds = (found // 11).tolist()[0]
    assert [kind % 3 for kind in kinds] == [2, 1, 0], "high; not known, so the middle; low"


@pytest.mark.parametrize(
    ("fused", "message"),
    [
        ("{kind: fused, strata: [relief]}", r"fused.strata: relief is read from a DEM, and the recipe has none; add"),
        (
            "{kind: fused, voters: [worldcover, {label: sentinel2, bands: {B99: water}}]}",
            r"sentinel2 has no band 'B99'; its bands are ",
        ),
        (
            "{kind: fused, voters: [worldcover, {label: sentinel2, family: worldcover, bands: {B02: water}}]}",
            r"two families",
        ),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path: Path, fused: str, message: str) -> None:
    with pytest.raises(FusionError, match=message) as caught:
        check_fused(read(tmp_path, fused))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("fused", "message"),
    [
        ("{kind: fused, strata: [slope]}", r"labels.4.strata.0"),
        ("{kind: fused, strata: [region, region]}", r"strata names 'region' twice"),
        ("{kind: fused, voters: [worldcover, sentinel2]}", r"fused.voters: 'sentinel2' is none of"),
        (
            "{kind: fused, voters: [worldcover, {label: worldcover2020, bands: {a: water}}]}",
            r"voters with bands: 'worldcover2020' is none of",
        ),
        (
            "{kind: fused, voters: [worldcover, {label: sentinel2, bands: {B02: lake}}]}",
            r"labels.4.voters.1.bands.B02: .* found 'lake'",
        ),
        ("{kind: fused, voters: [worldcover, {label: sentinel2, bands: {B02: unknown}}]}", r"'unknown' is no class"),
        (
            "{kind: fused, voters: [worldcover, {label: sentinel2, bands: {B02: water}, crosswalk: esri}]}",
            r"give `bands` or `crosswalk`, not both",
        ),
    ],
)
def test_a_wrong_entry_is_one_line_with_its_key(tmp_path: Path, fused: str, message: str) -> None:
    assert "FUSED" in RECIPE
    with pytest.raises(RecipeError, match=message) as caught:
        read(tmp_path, fused)
    assert len(caught.value.lines) == 1


@pytest.mark.slow
def test_a_dataset_with_strata_and_a_soft_voter(tmp_path: Path) -> None:
    base = synthetic.planned((4, 2), sources=("sentinel2", "dem")).build(tmp_path / "base")
    said = synthetic.recipe(sources=("sentinel2", "dem"), samples=4).model_dump(mode="json")
    said["labels"] += [
        {"kind": "fused", "strata": list(KINDS), "voters": ["worldcover", "dynamicworld", SOFT], "images": []}
    ]
    file = RecipeFile(recipe=Recipe.model_validate(said), folder=tmp_path)
    (line,) = check_fused(file)
    assert "sentinel (sentinel2)" in line
    one, two = (shutil.copytree(base, tmp_path / name) for name in ("one", "two"))
    add_fused(file, one, Engine())
    add_fused(file, two, Engine(workers=2))
    assert sums(one) == sums(two)
    data = landweave.open(one)
    assert list(check(data)) == []
    tables = json.loads((one / "fusion/fused.json").read_text())
    assert tables["families"][2]["bands"] == [SOFT["bands"]]
    assert tables["strata"] == [], "six samples of 24 pixels have the reliability of all"
    assert max(int(s["fused/votes"].max()) for s in data) == 3
    assert set(data.classes("fused").names) >= {"water", "trees", "crops"}
