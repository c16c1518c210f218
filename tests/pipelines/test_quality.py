"""Rules of quality: the closed grammar, what numpy says of the same pixels, and dates that are required."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.quality import refusal
from schemas.keep import parsed
from schemas.label import LabelMap
from schemas.place import GeoBox, Place
from schemas.recipe import Recipe
from schemas.stack import Observation, Stack

GEOBOX = GeoBox(epsg=32632, x_min=0, y_max=0, resolution_m=10, width=8, height=8)
PLACE = Place(sample_id="a", lon=9, lat=0, geobox=GEOBOX, split="train", block="b", cell="c")


def recipe_of(**quality: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "t",
            "seed": 1,
            "grid": {"size_m": 480},
            "sampling": {"kind": "uniform", "count": 3},
            "providers": {"here": {"url": "http://127.0.0.1"}},
            "windows": [{"name": "w", "start": "2021-06-01", "end": "2021-08-31", "count": 2}],
            "sources": [
                {"kind": "sentinel2", "providers": ["here"]},
                {"kind": "sentinel2", "layer": "s2-late", "providers": ["here"]},
                {"kind": "dem", "providers": ["here"]},
            ],
            "labels": [{"kind": "worldcover", "providers": ["here"]}],
            "quality": quality,
        }
    )


RECIPE = recipe_of()


def observed(recipe: Recipe, name: str, arrays: dict[str, np.ndarray[Any, Any]], slot: int = 0) -> Observation:
    return Observation(
        modality=name,
        slot=slot,
        datetime=dt.datetime(2021, 7, 1, tzinfo=dt.UTC),
        arrays=arrays,
        valid=np.ones((4, 4), bool),
        cloud=None,
        valid_fraction=1.0,
        cloud_fraction=None,
        item_ids=("i",),
        provider="here",
        radiometry={},
        resampling={},
    )


def stack_of(scl: list[np.ndarray[Any, Any]], name: str = "sentinel2") -> Stack:
    layer = next(x.name for x in RECIPE.sources[0].modality.layers if "SCL" in [b.name for b in x.bands])
    stack = Stack(place=PLACE)
    for slot, array in enumerate(scl):
        stack.observations[(name, slot)] = observed(RECIPE, name, {layer: array.astype(np.uint8)}, slot)
    return stack


@given(
    st.lists(st.lists(st.integers(0, 11), min_size=16, max_size=16), min_size=1, max_size=2),
    st.sets(st.integers(0, 11), min_size=1),
    st.sampled_from([">=", ">", "<", "<=", "==", "!="]),
    st.integers(0, 16),
)
def test_shares_and_centres_are_what_numpy_says(
    pixels: list[list[int]], codes: set[int], op: str, sixteenths: int
) -> None:
    scl = [np.array(p).reshape(4, 4) for p in pixels]
    limit, listed = sixteenths / 16, ", ".join(map(str, codes))
    said = refusal(stack_of(scl), recipe_of(keep=[f"share(sentinel2.SCL in [{listed}]) {op} {limit}"]))
    shares = [np.isin(a[a != 0], list(codes)).mean() if (a != 0).any() else None for a in scl]
    good = all(s is not None and bool(eval(f"{s} {op} {limit}")) for s in shares)  # noqa: S307 - an oracle
    assert (said == "") == good
    said = refusal(stack_of(scl), recipe_of(keep=[f"sentinel2.SCL[centre] not in [{listed}]"]))
    assert (said == "") == all(a[2, 2] != 0 and a[2, 2] not in codes for a in scl)


def test_a_refusal_says_what_was_found() -> None:
    stack = stack_of([np.full((4, 4), 4), np.array([[8] * 4] * 3 + [[4] * 4])])
    assert refusal(stack, recipe_of(keep=["share(sentinel2.SCL in [4, 5]) >= 0.5"])) == (
        "quality.keep: share(sentinel2.SCL in [4, 5]) >= 0.5: found 0.25"
    )
    assert refusal(stack, recipe_of(keep=["sentinel2.scl[center] == 4"])).endswith("[center] == 4: found 8")
    assert refusal(stack, recipe_of(keep=["share(dem.elevation > 10) > 0.1"])).endswith("dem was not obtained")
    assert refusal(stack, recipe_of(keep=["count(sentinel2) >= 2 and count(dem) >= 1"])).endswith(
        "count(dem) >= 1: found 0"
    )
    assert refusal(stack, recipe_of(keep=["count(sentinel2) >= 2", "share(sentinel2.SCL != 99) == 1"])) == ""
    late = stack_of([np.full((4, 4), 4)], "s2-late")
    assert refusal(late, recipe_of(keep=["share(s2-late.SCL in [4]) == 1 and s2-late.SCL[centre] == 4"])) == ""


def test_classes_of_a_label_and_missing_pixels() -> None:
    stack = stack_of([np.full((4, 4), 4)])
    legend = RECIPE.labels[0]
    classes = np.full((8, 8), 10, np.uint8)
    classes[:4] = 0
    stack.labels["worldcover"] = LabelMap(
        label="worldcover", classes=classes, valid=classes > 0, legend=legend, version="v", year=2021,  # type: ignore[arg-type]
        date_gap_days=0, item_ids=("x",), licence="CC-BY-4.0",
    )  # fmt: skip
    assert refusal(stack, recipe_of(keep=["share(worldcover in [10]) == 1"])) == ""
    assert refusal(stack, recipe_of(keep=["worldcover[centre] == 10"])) == ""
    stack.labels["worldcover"].valid[4, 4] = False
    assert refusal(stack, recipe_of(keep=["worldcover[centre] == 10"])).endswith("the centre has no value")


def test_all_dates_are_required() -> None:
    one = stack_of([np.full((4, 4), 4)])
    assert refusal(one, recipe_of(require={"sentinel2": "all"})) == (
        "sentinel2: 1 of 2 dates obtained, quality.require: all"
    )
    assert refusal(one, recipe_of(require={"sentinel2": 1})) == ""
    assert refusal(stack_of([np.full((4, 4), 4)] * 2), recipe_of(require={"sentinel2": "all"})) == ""


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ({"keep": ["__import__('os').system('x')"]}, "cannot read"),
        ({"keep": ["share(sentinel2.SCL in []) > 0.1"]}, r"cannot read .* has '..' at character 24, expected a list"),
        ({"keep": ["share(sentinel2.SCL in [4]) >="]}, "ends where a number is expected"),
        ({"keep": ["dem.elevation[middle] == 4"]}, "at character 14, expected .centre."),
        (
            {"keep": ["share(sentinel2.SCL in [4]) >= 20"]},
            r"compares a share with 20 at character \d+; a share is 0 to 1",
        ),
        ({"keep": ["share(sentinel2.SLC in [4]) >= 0.2"]}, "sentinel2 has no band 'SLC'; it has B02"),
        ({"keep": ["share(sentinel2 in [4]) >= 0.2"]}, "sentinel2 names no band"),
        ({"keep": ["s2.SCL[centre] == 4"]}, "'s2' is no source or label; there are"),
        ({"keep": ["worldcover.x[centre] == 4"]}, "has classes and no band"),
        ({"keep": ["count(worldcover) > 4"]}, "stores no objects and has no dates, so there is nothing to count"),
        ({"keep": ["count(dem) > 1 or count(dem) > 2"]}, "has 'or' at character 16, expected `and`, or the end"),
        ({"keep": ["x" * 1_001]}, "at most 1,000 characters"),
        ({"keep": [f"dem.elevation[centre] in [{','.join(['1'] * 257)}]"]}, "list of 257 values; at most 256"),
        ({"require": {"s2": "all"}}, "'s2' is no source of this recipe"),
        ({"require": {"sentinel2": 3}}, "3 dates are required and 2 are asked for"),
    ],
)
def test_mistakes(quality: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        recipe_of(**quality)
    assert str(error.value).startswith("1 validation error")


@given(st.text(max_size=60))
def test_the_grammar_reads_or_refuses(text: str) -> None:
    try:
        found = parsed(text)
    except ValueError:
        return
    assert found


def rich_recipe(**quality: Any) -> Recipe:
    """With derived layers, channels of the map, own vectors without objects, a continuous label and a fused one."""
    tree = recipe_of().model_dump(mode="json")
    heights = {"resolution_m": 10, "dtype": "float32", "bands": {"height": "h"}}
    canopy = {"layer": "canopy", "providers": ["here"], "collection": "c", "arrays": {"h": heights}}
    tree["sources"].append(canopy | {"dated": False, "role": "label"})
    tree["labels"] += [
        {"kind": "dynamicworld", "providers": ["here"]},
        {
            "kind": "openstreetmap",
            "pbf": "a.osm.pbf",
            "channels": {"house": {"building": "*"}, "road": {"highway": "*"}},
        },
        {"kind": "vector", "layer": "bare", "file": "p.parquet", "date": "2021-01-01", "objects": False},
        {"kind": "fused", "voters": ["worldcover", "dynamicworld"]},
    ]
    tree["derived"] = {"ndvi": "(sentinel2.B08 - sentinel2.B04) / (sentinel2.B08 + sentinel2.B04)"}
    return Recipe.model_validate(tree | {"quality": quality})


@pytest.mark.parametrize(("rule", "found"), [
    ("share(ndvi > 0.3) >= 0.5", ""), ("share(ndvi > 0.3) > 0.7", "found 0.6667"), ("ndvi[centre] > 0.3", "no value"),
    ("ndvi.ndvi[centre] > 0.3", "no value"), ("count(ndvi) == 1", ""),
    ("share(openstreetmap_channels.road == 1) == 0.25", ""), ("openstreetmap_channels.house[centre] == 1", "found 0"),
    ("share(canopy > 5) > 0.1 and canopy.height[centre] > 5", ""), ("canopy[centre] > 50", "found 10"),
])  # fmt: skip
def test_rules_over_derived_layers_channels_and_continuous_labels(rule: str, found: str) -> None:
    stack, recipe = Stack(place=PLACE), rich_recipe(keep=[rule])
    ndvi = np.array([[0.2] * 4, [0.6] * 4, [0.8, 0.8, np.nan, np.nan], [np.nan] * 4], np.float32)
    ndvi[2, :2] = 0.9
    ndvi[0] = [0.1, 0.1, 0.1, np.nan]
    road = np.zeros((2, 8, 8), np.uint8)
    road[1, :2] = 1
    for name, arrays in {
        "ndvi": {"values": ndvi}, "canopy": {"h": np.full((4, 4), 10, np.float32)},
        "openstreetmap_channels": {"channels": road},
    }.items():  # fmt: skip
        stack.observations[name, 0] = observed(recipe, name, arrays)
    said = refusal(
        stack, recipe.model_copy(update={"quality": recipe.quality.model_copy(update={"min_modalities": 0})})
    )
    assert (found in said) if found else said == ""


@pytest.mark.parametrize(("rule", "words"), [
    ("share(fused in [1]) > 0.1", "'fused' is fused when all samples are there, .* query.'fused_confidence > 0.8'"),
    ("count(bare) >= 1", "label 'bare' stores no objects"),
    ("share(ndvi.x > 1) > 0.1", "ndvi has no band 'x'; it has ndvi"),
    ("openstreetmap_channels[centre] == 1", "openstreetmap_channels names no band; it has house, road"),
])  # fmt: skip
def test_what_a_rule_over_such_layers_cannot_say(rule: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        rich_recipe(keep=[rule])
    assert str(error.value).startswith("1 validation error")


def test_names_with_a_minus_need_no_quotes_and_quotes_do_no_harm() -> None:
    (plain,), (quoted,) = parsed("share(s1-asc.VV-2 > -20.5) >= .5"), parsed("share(`s1-asc`.`VV-2` > -20.5) >= .5")
    assert (plain.layer, plain.band, plain.condition) == ("s1-asc", "VV-2", quoted.condition)
    assert (quoted.layer, quoted.band, quoted.limit) == ("s1-asc", "VV-2", plain.limit)
    assert plain.condition is not None
    assert plain.condition.numbers == (-20.5,)


def test_each_test_keeps_its_own_words() -> None:
    assert [t.text for t in parsed("  count(dem) >= 1  and dem[centre] not in [1, 2]")] == [
        "count(dem) >= 1", "dem[centre] not in [1, 2]",
    ]  # fmt: skip
