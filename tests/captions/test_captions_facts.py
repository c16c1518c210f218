"""Facts: shares, regions, relief, season, map objects, each against a plain count."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landweave.facts import REGIONS, kind_of, place_words, relief
from pipelines.captions.facts import facts_for, facts_of, facts_sha256
from pipelines.captions.words import KINDS
from schemas.caption import facts_json
from schemas.label import COMMON_CLASSES
from schemas.stack import Stack
from tests.captions.captions_worlds import label_map, observation, place, random_stack, vectors


def test_shares_and_regions_are_counts() -> None:
    common = np.full((100, 100), 2, dtype=np.uint8)  # trees
    common[:50, :50] = 1  # water
    common[0, 0:19] = 6  # 19 pixels built: too few
    common[99, 0:20] = 5  # 20 pixels crops: enough
    stack = Stack(place=place(47.0, 100))
    stack.labels["worldcover"] = label_map(common)
    facts = facts_of(stack, "worldcover")
    assert [(s.name, s.percent, s.pixels) for s in facts.overall] == [
        ("trees", 75, 7480), ("water", 25, 2481), ("crops", 0, 20)
    ]  # fmt: skip
    assert [s.name for s in facts.regions["top left"]] == ["water"]
    assert [s.name for s in facts.regions["bottom left"]] == ["trees", "crops"]
    assert [(s.name, s.percent) for s in facts.regions["middle"]] == [("trees", 75), ("water", 25)]
    assert tuple(facts.regions) == REGIONS


def test_percent_is_rounded_not_cut() -> None:
    common = np.full((100, 100), 2, dtype=np.uint8)
    common[:29, :] = 1
    stack = Stack(place=place(47.0, 100))
    stack.labels["worldcover"] = label_map(common)
    assert [s.percent for s in facts_of(stack, "worldcover").overall] == [71, 29]  # int(0.29 * 100) is 28


def test_unlabelled_ground_is_no_class_and_empty_regions_are_left_out() -> None:
    common = np.full((100, 100), 255, dtype=np.uint8)
    common[60:, 60:] = 2
    common[60:70, 60:70] = 0  # 'unknown'
    stack = Stack(place=place(47.0, 100))
    stack.labels["worldcover"] = label_map(common)
    facts = facts_of(stack, "worldcover")
    assert [(s.name, s.percent) for s in facts.overall] == [("trees", 100)]
    assert sorted(facts.regions) == ["bottom right", "middle"]
    stack.labels["worldcover"] = label_map(np.full((100, 100), 255, dtype=np.uint8))
    assert facts_of(stack, "worldcover").overall == ()
    assert facts_of(stack, "dynamicworld").label is None


def test_tiny_chips_keep_their_classes() -> None:
    common = np.full((16, 16), 2, dtype=np.uint8)
    common[0, :4] = 1
    stack = Stack(place=place(47.0, 16))
    stack.labels["worldcover"] = label_map(common)
    assert [s.name for s in facts_of(stack, "worldcover").overall] == ["trees", "water"]


def test_relief_from_a_plane_with_a_hole() -> None:
    stack = Stack(place=place(47.0, 132))
    x = np.arange(44) * 30.0
    height = np.tile(100.0 + x * np.tan(np.radians(10.0)), (44, 1)).astype(np.float32)
    height[5, 5] = np.nan
    height[0, 0] = -9999.0
    valid = np.isfinite(height)
    valid[0, 0] = False
    when = datetime(2013, 1, 1, tzinfo=UTC)
    stack.observations[("dem", 0)] = observation("dem", when, {"elevation": height[None]}, valid)
    facts = facts_of(stack, None)
    assert facts.slope_mean_deg == pytest.approx(10.0, abs=0.05)
    assert (facts.elevation_min_m, facts.elevation_max_m) == (100, round(100 + 43 * 30 * np.tan(np.radians(10))))
    assert facts.relief == "mountainous"  # 227 m and steep
    assert (facts.season, facts.month, facts.year) == (None, None, None)  # a DEM dates nothing
    height[:] = np.nan
    assert facts_of(stack, None).relief is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_a_chip_of_one_row_or_column_has_heights_and_no_slope(shape: tuple[int, int]) -> None:
    height = np.linspace(100.0, 160.0, shape[0] * shape[1], dtype=np.float32).reshape(shape)
    stack = Stack(place=place(47.0, 132))
    when = datetime(2013, 1, 1, tzinfo=UTC)
    stack.observations[("dem", 0)] = observation("dem", when, {"elevation": height[None]}, np.isfinite(height))
    facts = facts_of(stack, None)
    assert (facts.elevation_min_m, facts.elevation_max_m) == (100, round(float(height.max())))
    assert facts.slope_mean_deg is None
    assert facts.relief is None, "without a slope nothing is said of the land's form"


@pytest.mark.parametrize(
    ("range_m", "slope_deg", "word"),
    [(10, 1, "flat"), (30, 1, "flat"), (31, 1, "rolling"), (45, 1, "rolling"), (25, 12, "rolling"), (100, 3, "rolling"),
     (150, 1, "rolling"), (151, 1, "hilly"), (100, 9, "hilly"), (200, 5, "hilly"), (300, 1, "hilly"), (30, 7.9, "flat"),
     (30, 8, "rolling"), (301, 5, "mountainous"), (2000, 40, "mountainous")],
)  # fmt: skip
def test_relief_words(range_m: float, slope_deg: float, word: str) -> None:
    assert relief(range_m, slope_deg) == word


@pytest.mark.parametrize(
    ("lat", "words"),
    [(0, "tropics"), (-20, "tropics"), (30, "northern subtropics"), (-45, "southern mid-latitudes"),
     (62, "northern high latitudes"), (-80, "southern polar region")],
)  # fmt: skip
def test_place_words(lat: float, words: str) -> None:
    assert place_words(lat) == words


def test_season_is_that_of_the_reference_image_in_its_hemisphere() -> None:
    ones = np.ones((4, 4), bool)
    for lat, season in ((47.0, "winter"), (-40.0, "summer"), (5.0, "tropics")):
        stack = Stack(place=place(lat))
        stack.observations[("landsat", 0)] = observation("landsat", datetime(2021, 7, 5, tzinfo=UTC), {}, ones)
        stack.reference = observation("sentinel2", datetime(2021, 1, 5, tzinfo=UTC), {}, ones)
        stack.observations[("sentinel2", 0)] = stack.reference
        facts = facts_of(stack, None)
        assert (facts.season, facts.month, facts.year) == (season, 1, 2021)
        stack.reference = dataclasses.replace(stack.reference, composite=True)
        facts = facts_of(stack, None)
        assert (facts.season, facts.month, facts.year) == (None, None, None)  # an image of several dates has no season


def test_map_objects_are_kinds_of_a_closed_list_and_never_tag_text() -> None:
    stack = Stack(place=place(47.0))
    stack.vectors["openstreetmap"] = vectors((0, 3), (1, 2), (2, 1), (12, 5))
    facts = facts_of(stack, None)
    assert facts.objects == (("building", 3), ("road", 2), ("path", 1))
    assert facts.road_length_m == 150
    assert "mayor" not in facts_json(facts)
    assert facts_of(Stack(place=place(47.0)), None).road_length_m is None
    assert kind_of({"building": "no"}) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_facts_are_canonical_closed_and_sum_to_no_more_than_all(seed: int) -> None:
    stack = random_stack(seed)
    facts = facts_for(stack, None)
    assert facts == facts_for(random_stack(seed), None)
    text = facts_json(facts)
    assert json.loads(text) == json.loads(json.dumps(dataclasses.asdict(facts)))
    assert len(facts_sha256(facts)) == 64
    assert {kind for kind, _ in facts.objects} <= set(KINDS)
    for shares in (facts.overall, *facts.regions.values()):
        assert {s.name for s in shares} <= set(COMMON_CLASSES[1:])
        assert sum(s.percent for s in shares) <= 100 + len(shares)
        assert [s.pixels for s in shares] == sorted((s.pixels for s in shares), reverse=True)
