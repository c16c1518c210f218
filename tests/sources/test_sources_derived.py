"""Derived layers: the grammar refuses everything else, and numbers equal numpy's, with validity handed on."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.sources.derived import Field, derive, evaluate, slope
from schemas.expression import Array, nodes, parse
from schemas.grammar import GrammarError
from schemas.outcome import Reason
from schemas.place import GeoBox, Place
from schemas.recipe import Recipe
from schemas.stack import Observation, Stack

BOX = GeoBox(epsg=32632, x_min=600_000, y_max=5_300_000, resolution_m=10, width=24, height=24)
PLACE = Place(sample_id="a", lon=11.0, lat=48.0, geobox=BOX, split="train", block="b", cell="c")
NDVI = "(sentinel2.B08 - sentinel2.B04) / (sentinel2.B08 + sentinel2.B04)"


def recipe(**derived: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "derived", "seed": 1, "grid": {"size_m": 240}, "sampling": {"kind": "uniform", "count": 1},
            "windows": [
                {"name": "summer", "start": "2021-06-01", "end": "2021-08-31"},
                {"name": "winter-2", "start": "2021-12-01", "end": "2022-02-28"},
            ],
            "providers": {"far": {"url": "https://stac.example/v1"}},
            "sources": [
                {"kind": "sentinel2", "providers": ["far"]},
                {"kind": "sentinel1", "providers": ["far"], "windows": ["summer"]},
                {"kind": "dem", "providers": ["far"]},
            ],
            "labels": [{"kind": "worldcover", "providers": ["far"]}],
            "derived": derived,
        }
    )  # fmt: skip


def observed(made: Recipe, name: str, slot: int = 0, seed: int = 0) -> Observation:
    """Random numbers, a fifth of them fill."""
    source, rng = next(s for s in made.sources if s.name == name), np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for layer in source.modality.layers:
        shape = (len(layer.bands), *BOX.at(made.resolution_of(name, layer.name)).shape)
        pixels = rng.integers(1, 9000, shape).astype(layer.dtype)
        if layer.nodata is not None:
            pixels[rng.random(shape) < 0.2] = layer.nodata
        arrays[layer.name] = pixels if layer.has_band_axis else pixels[0]
    finest = min(made.resolution_of(name, layer.name) for layer in source.modality.layers)
    return Observation(
        modality=name, slot=slot, datetime=dt.datetime(2021, 7, 1, tzinfo=dt.UTC), arrays=arrays,
        valid=np.ones(BOX.at(finest).shape, np.bool_), cloud=None, valid_fraction=1.0, cloud_fraction=None,
        item_ids=(f"{name}-{slot}",), provider="far", radiometry={}, resampling={},
    )  # fmt: skip


def stack_of(made: Recipe) -> Stack:
    stack = Stack(place=PLACE)
    for name, slot in (("sentinel2", 0), ("sentinel2", 1), ("sentinel1", 0), ("dem", 0)):
        stack.observations[name, slot] = observed(made, name, slot, slot)
    return stack


def band(made: Recipe, stack: Stack, name: str, wanted: str, slot: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Physical numbers, NaN for fill, straight from the stored ones."""
    source = next(s for s in made.sources if s.name == name)
    for layer in source.modality.layers:
        names = [b.name for b in layer.bands]
        if wanted in names:
            pixels = stack.observations[name, slot].arrays[layer.name][names.index(wanted)]
            known = pixels != layer.nodata if layer.nodata is not None else np.ones(pixels.shape, bool)
            return np.where(known, pixels.astype(np.float64) * layer.scale + layer.offset, np.nan)
    raise AssertionError(wanted)


def test_an_index_is_numpys_and_fill_stays_unknown() -> None:
    made = recipe(ndvi=NDVI)
    stack = stack_of(made)
    derive(stack, made)
    for slot in (0, 1):
        red, nir = (band(made, stack, "sentinel2", b, slot) for b in ("B04", "B08"))
        expected = ((nir - red) / (nir + red)).astype(np.float32)
        found = stack.observations["ndvi", slot]
        assert np.array_equal(found.arrays["values"], expected[None], equal_nan=True)
        assert np.array_equal(found.valid, np.isfinite(expected))
        assert found.item_ids == (f"sentinel2-{slot}",)
    assert [(o.layer, o.slot, o.reason) for o in stack.outcomes] == [("ndvi", 0, Reason.OK), ("ndvi", 1, Reason.OK)]


def test_grids_that_differ_meet_on_the_finest_and_windows_are_named() -> None:
    made = recipe(
        change="sentinel2.B04[winter-2] - sentinel2.B04[summer]", mixed="sentinel2.B11[summer] / sentinel1.VV"
    )
    stack = stack_of(made)
    derive(stack, made)
    change = band(made, stack, "sentinel2", "B04", 1) - band(made, stack, "sentinel2", "B04", 0)
    assert np.array_equal(
        stack.observations["change", 0].arrays["values"][0], change.astype(np.float32), equal_nan=True
    )
    coarse = band(made, stack, "sentinel2", "B11").repeat(2, 0).repeat(2, 1)
    mixed = (coarse / band(made, stack, "sentinel1", "VV")).astype(np.float32)
    assert np.array_equal(stack.observations["mixed", 0].arrays["values"][0], mixed, equal_nan=True)


def test_what_has_no_value_is_not_valid() -> None:
    a, one = np.array([[-1.0, 0.0, 4.0, 1e300]]), np.ones((1, 4), bool)
    fields = {Array("x", None, None): Field(a, one, 10.0)}
    for text, valid in {
        "1 / x": [True, False, True, True],
        "sqrt(x)": [False, True, True, True],
        "log(x)": [False, False, True, True],
        "x ** 2": [True, True, True, False],
        "where(x > 0, 1 / x, 0)": [True, True, True, True],
        "x == 0": [True, True, True, True],
    }.items():
        assert evaluate(parse(text), fields).valid[0].tolist() == valid, text


def test_an_absent_input_is_a_row_and_not_a_picture() -> None:
    made = recipe(ndvi=NDVI)
    stack = stack_of(made)
    del stack.observations["sentinel2", 1]
    derive(stack, made)
    assert ("ndvi", 1) not in stack.observations
    assert [o.reason for o in stack.outcomes] == [Reason.OK, Reason.INPUT_MISSING]
    assert stack.outcomes[1].detail == "computed from sentinel2.B08, which is absent"


def test_slope_is_horns_inside_and_exact_on_a_plane() -> None:
    rng = np.random.default_rng(3)
    z = rng.random((9, 11)) * 100
    found = slope(Field(z, np.ones(z.shape, bool), 30.0))
    for r in range(1, 8):
        for c in range(1, 10):
            w = z[r - 1 : r + 2, c - 1 : c + 2]
            x = ((w[0, 2] + 2 * w[1, 2] + w[2, 2]) - (w[0, 0] + 2 * w[1, 0] + w[2, 0])) / 240
            y = ((w[2, 0] + 2 * w[2, 1] + w[2, 2]) - (w[0, 0] + 2 * w[0, 1] + w[0, 2])) / 240
            assert math.isclose(found.values[r, c], math.degrees(math.atan(math.hypot(x, y))), rel_tol=1e-12)
    rows, columns = np.mgrid[:6, :6]
    plane = slope(Field(3.0 * rows + 4.0 * columns, np.ones((6, 6), bool), 5.0))
    assert np.allclose(plane.values, 45.0)
    assert plane.valid.all()
    holed = np.ones((6, 6), bool)
    holed[2, 2] = False
    assert (~slope(Field(plane.values, holed, 5.0)).valid).sum() == 9


@given(st.recursive(
    st.sampled_from(["x", "y", "2 * x", "y / 0.5"]),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "/"]), inner),
        st.builds("-({})".format, inner),
        st.builds("abs({})".format, inner),
        st.builds("max({}, {})".format, inner, inner),
        st.builds("where({} < {}, 1, 0)".format, inner, inner),
    ),
    max_leaves=8,
), st.integers(0, 1000))  # fmt: skip
def test_any_expression_is_what_python_says(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 3, 4))
    given_fields = {Array(n, None, None): Field(v, np.ones(v.shape, bool), 10.0) for n, v in (("x", x), ("y", y))}
    found = evaluate(parse(text), given_fields)
    with np.errstate(all="ignore"):
        expected = np.asarray(
            eval(text, {"__builtins__": {}}, {"x": x, "y": y, "abs": np.abs, "max": np.maximum, "where": np.where}),  # noqa: S307 - the oracle
            dtype=float,
        )
    assert np.array_equal(np.broadcast_to(found.values, expected.shape)[np.broadcast_to(found.valid, expected.shape)],
                          expected[np.broadcast_to(found.valid, expected.shape)])  # fmt: skip


@given(st.text("abxy019.()[]+-*/<>=!,` _'\"\\{}:;@#", max_size=40))
def test_any_text_is_a_tree_or_one_line(text: str) -> None:
    with contextlib.suppress(GrammarError):
        assert list(nodes(parse(text)))


MISTAKES = {
    "sentinel2.B99 + 1": "uses band 'B99', but sentinel2 has B02, B03",
    "sentinel3.B04 + 1": "uses 'sentinel3', which is no source or label of this recipe; known: sentinel2",
    "sentinel2 + 1": "uses 'sentinel2' without a band",
    "sentinel2.B04 +": "ends where a number, an array or a function is expected",
    "sentinel2.B04 1": "has '1' at character 15, expected the end, or an operator",
    "__import__(1)": "has no function '__import__'",
    "sentinel2.B04; 1": "has ';' at character 14, which has no meaning here",
    "sqrt(1, 2) * dem": "gives sqrt 2 arguments; it takes 1",
    "1 + 2": "uses no layer",
    "sentinel2.B04[autumn]": "names window 'autumn', but sentinel2 has windows summer, winter-2",
    "dem[summer]": "but dem has no dates",
    "sentinel2.B04 - sentinel1.VV": "uses sentinel2 and sentinel1, which have other dates",
    "slope(dem + 1)": "needs one array inside slope()",
    "(" * 40 + "dem": "is nested deeper than 24 levels",
    "-" * 40 + "dem": "is nested deeper than 24 levels",
    "dem" + " + dem" * 60: "more than 100 operations",
    "dem + " * 200: "characters; at most 500",
    "a.b.c": "expected the end, or an operator",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_one_line_before_anything_is_fetched(text: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        recipe(bad=text)
    assert len(caught.value.errors()) == 1
    assert message in str(caught.value.errors()[0]["msg"])


def test_a_derived_layer_is_no_modality_that_quality_counts() -> None:
    made = recipe(ndvi=NDVI)
    assert [d.slots for d in made.derived_layers] == [("summer", "winter-2")]
    assert dataclasses.is_dataclass(made.derived_layers[0])
    assert "derived" not in recipe().model_dump()
