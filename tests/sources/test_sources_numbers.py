"""Numbers of a sample from its pixels: what numpy says of the pixels whose centres lie in the footprint."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import rasterio.features
import rasterio.transform
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.labels import legend_of
from pipelines.quality import refusal
from pipelines.sources.derived import derive
from pipelines.sources.numbers import computed, measure
from schemas.label import LabelMap
from schemas.place import GeoBox
from schemas.recipe import Recipe
from schemas.statistic import statistic
from tests.sources.test_sources_derived import BOX, NDVI, band, recipe, stack_of

SAID = recipe(ndvi=NDVI).model_dump(mode="json")


def numbers(size_m: float = 240, **stated: Any) -> Recipe:
    return Recipe.model_validate(SAID | {"grid": {"size_m": size_m}, "numbers": stated})


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.floats(0, 100))
def test_each_statistic_is_numpys(values: list[int], percent: float) -> None:
    x = np.array(values, np.float64)
    codes, counts = np.unique(x, return_counts=True)
    for text, expected in {
        "mean(dem)": x.mean(), "median(dem)": np.median(x), "min(dem)": x.min(), "max(dem)": x.max(),
        "std(dem)": x.std(), "sum(dem)": x.sum(), f"percentile(dem, {percent:f})": None,
        "share(dem >= 3)": (x >= 3).mean(), "count(dem in [1, 2])": np.isin(x, [1, 2]).sum(),
        "share(dem not in [-1, 0, 1])": (np.abs(x) > 1).mean(), "count(dem)": len(x),
        "majority(dem)": codes[counts == counts.max()].min(),
    }.items():  # fmt: skip
        said = statistic(text)
        wanted = np.percentile(x, said.percent) if expected is None else expected
        assert computed(said, x) == pytest.approx(wanted, rel=1e-12, abs=1e-12), text
        nothing = computed(said, x[:0])
        assert nothing == (0.0 if said.name == "count" else None)


def test_pixels_whose_centres_lie_outside_do_not_count() -> None:
    """60 m over 230 m: 4 pixels across, of which the last reaches 10 m beyond; of 250 m it is 50 m and left out."""
    for size in (230.0, 250.0):
        made = numbers(size, a="mean(sentinel2.B01[summer])", n="count(sentinel2.B01[summer])",
                       c="sentinel2.B01[summer][centre]")  # fmt: skip
        stack = stack_of(made)
        wide = GeoBox(epsg=32632, x_min=BOX.x_min, y_max=BOX.y_max, resolution_m=10, width=int(size / 10), height=24)
        stack.place = dataclasses.replace(stack.place, geobox=wide)
        box = GeoBox(epsg=32632, x_min=BOX.x_min, y_max=BOX.y_max, resolution_m=60, width=5, height=5)
        ground = shapely.box(BOX.x_min, BOX.y_max - size, BOX.x_min + size, BOX.y_max)
        inside = ~rasterio.features.geometry_mask(
            [ground], (5, 5), rasterio.transform.Affine(*box.transform)
        )  # fmt: skip
        pixels = np.random.default_rng(3).integers(1, 9000, (2, 5, 5)).astype(np.uint16)
        old = stack.observations["sentinel2", 0]
        stack.observations["sentinel2", 0] = dataclasses.replace(old, arrays={**old.arrays, "bands_60m": pixels})
        measure(stack, made)
        layer = made.modalities["sentinel2"].layer("bands_60m")
        at = [b.name for b in layer.bands].index("B01")
        assert stack.numbers["n"] == inside.sum() == 16
        assert stack.numbers["a"] == pytest.approx((pixels[at][inside] * layer.scale + layer.offset).mean())
        row = int(size / 2 // 60)
        assert stack.numbers["c"] == pytest.approx(pixels[at][row, row] * layer.scale + layer.offset)


def test_numbers_of_derived_layers_labels_and_absent_ones() -> None:
    made = numbers(
        green="median(ndvi[winter-2])", water="share(worldcover in [80])", most="majority(worldcover)",
        here="worldcover[centre]", gone="mean(sentinel1.VV)",
    )  # fmt: skip
    stack = stack_of(made)
    del stack.observations["sentinel1", 0]
    codes = np.random.default_rng(1).choice(np.array([10, 80], np.uint8), (24, 24))
    valid = np.ones((24, 24), bool)
    valid[:3] = False
    stack.labels["worldcover"] = LabelMap(
        label="worldcover", legend=legend_of(made.labels[0]), classes=codes, valid=valid, item_ids=("w",),
        version="1", year=2021, date_gap_days=None, licence="x",
    )  # fmt: skip
    derive(stack, made)
    measure(stack, made)
    red, nir = (band(made, stack, "sentinel2", b, 1) for b in ("B04", "B08"))
    index = ((nir - red) / (nir + red)).astype(np.float32)
    assert stack.numbers["green"] == pytest.approx(float(np.nanmedian(index.astype(np.float64))))
    assert stack.numbers["water"] == pytest.approx((codes[valid] == 80).mean())
    assert stack.numbers["here"] == codes[12, 12]
    assert stack.numbers["most"] in (10, 80)
    assert isinstance(stack.numbers["most"], int)
    assert stack.numbers["gone"] is None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("attr_h > 5", ""),
        ("attr_h > 5 and attr_h in [6, 7]", ""),
        ("attr_h > 7", "quality.keep: attr_h > 7: found 7"),
        ("attr_gone > 1", "quality.keep: attr_gone > 1: the sample has no value"),
    ],
)
def test_rules_may_be_over_numbers(rule: str, why: str) -> None:
    made = Recipe.model_validate(
        SAID | {"numbers": {"h": "mean(dem)", "gone": "mean(sentinel1.VV)"}, "quality": {"keep": [rule]}}
    )
    stack = stack_of(made)
    stack.numbers = {"h": 7.0, "gone": None}
    assert refusal(stack, made) == why


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        ({"a": "mean(worldcover)"}, "holds codes of classes, which have no mean; use share, count, majority"),
        ({"a": "median(sentinel2.SCL[summer])"}, "which have no median"),
        ({"a": "mean(sentinel2.B08)"}, "sentinel2 has 2 dates; name the window of one: sentinel2.B08[summer]"),
        ({"a": "mean(sentinel2.B08[spring])"}, "names window 'spring', but sentinel2 has windows summer, winter-2"),
        ({"a": "mean(dem[summer])"}, "names window 'summer', but dem has no dates"),
        ({"a": "mean(sentinel2[summer])"}, "names no band; sentinel2 has B02"),
        ({"a": "mean(sentinel2.B99[summer])"}, "has no band 'B99'; it has B02"),
        ({"a": "mean(worldpop)"}, "'worldpop' is no source, label or derived layer; there are sentinel2"),
        ({"a": "majority(dem)"}, "holds measurements"),
        ({"a": "average(dem)"}, "cannot read 'average(dem)': it has no statistic 'average'; expected mean, median"),
        ({"a": "percentile(dem, 101)"}, "it asks for percentile 101; a percentile is 0 to 100"),
        ({"a": "share(dem)"}, "cannot read 'share(dem)'"),
        ({"a": "__import__('os')"}, "cannot read"),
        ({"a": "mean(dem)", "A": "max(dem)"}, "attr_A is there already: numbers.a (SQL ignores case)"),
        ({"a": {"table": "t.csv", "column": "x", "match": "attr_b"}}, "matched with attr_b, which samples do not have"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(stated: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        numbers(**stated)
    (error,) = caught.value.errors()
    assert why in error["msg"]


def test_a_sum_over_resampled_pixels_is_refused() -> None:
    with pytest.raises(ValidationError, match="resampled from 30 to 10 m is no sum of what was measured"):
        Recipe.model_validate(
            SAID | {"grid": {"size_m": 240, "resolutions": {"dem": 10}}, "numbers": {"a": "sum(dem)"}}
        )


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("attr_h == 'high'", "attr_h holds numbers (float64); compare it with a number"),
        ("attr_x > 1", "attr_x is no attribute or number of the samples; there are attr_h"),
    ],
)
def test_rules_over_numbers_that_cannot_be(rule: str, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate(SAID | {"numbers": {"h": "mean(dem)"}, "quality": {"keep": [rule]}})
    assert why in caught.value.errors()[0]["msg"]
