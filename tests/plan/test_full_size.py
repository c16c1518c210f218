"""The estimate without a search: its properties, and its distance from what `plan` predicts from headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.plan.full_size import FullSize, full_size, full_size_text
from pipelines.recipes import RecipeFile
from sampling import SamplingError
from schemas.recipe import Recipe

HERE = Path(__file__).parent
BOX = {"bbox": [10.0, 45.0, 12.0, 47.0], "land_only": False}


def cost(
    sampling: dict[str, Any], samples: int | None = None, subset: dict[str, Any] | None = None, **grid: Any
) -> FullSize:
    recipe = Recipe.model_validate(
        {
            "name": "x", "seed": 1, "sampling": sampling, "grid": {"size_m": 1920, **grid},
            "windows": [{"name": "y", "start": "2021-01-01", "end": "2021-12-31", "count": 4}],
            "providers": {"pc": {"url": "https://x.example/v1"}, "ee": {"kind": "earthengine"}},
            "sources": [
                {"kind": "sentinel2", "providers": ["pc"]},
                {"kind": "dem", "providers": ["pc"]},
                {"kind": "sentinel1", "product": "grd", "providers": ["ee"]},
            ],
            "labels": [{"kind": "worldcover", "providers": ["pc"]}], "subset": subset,
        }
    )  # fmt: skip
    return full_size(RecipeFile(recipe=recipe, folder=HERE), samples)


def test_a_subset_costs_what_its_samples_cost() -> None:
    uniform = {"kind": "uniform", "count": 1_000, "area": BOX}
    assert cost(uniform, subset={"fraction": 0.1}).samples == 100
    assert cost(uniform, subset={"count": 30}).samples == 30
    assert cost(uniform, 500, subset={"count": 30}).samples == 500, "the user states the number of samples"
    assert cost(uniform, subset={"fraction": 0.1}).total("requests") < cost(uniform).total("requests")


def points(samples: int, **grid: Any) -> FullSize:
    return cost({"kind": "points", "file": "absent.csv"}, samples, **grid)


def test_scattered_samples_cost_alike_and_a_chip_costs_what_lies_under_it() -> None:
    one, many = points(1), points(1000)
    assert many.total("requests") == pytest.approx(1000 * one.total("requests"))
    assert many.total("bytes") == pytest.approx(1000 * one.total("bytes"))
    assert many.stored_bytes == 1000 * one.stored_bytes
    dem = one.layers["dem"]
    # a chip of 64 pixels of 30 m lies on 1 to 4 tiles of 512 pixels of 4 bytes, (64 / 512 + 1)^2 on the average
    assert dem.bytes == pytest.approx(32_768 + (1920 / 15_360 + 1) ** 2 * 512**2 * 4 * 0.6)
    assert dem.requests == pytest.approx(1 + 1920 / 15_360 + 1)
    assert one.layers["sentinel2"].dates == 4
    assert one.layers["sentinel1"].eecu_hours > 0


@settings(max_examples=40, deadline=None)
@given(spacing=st.floats(500.0, 200_000.0), wider=st.floats(1.05, 4.0))
def test_samples_that_lie_nearer_cost_no_more_each(spacing: float, wider: float) -> None:
    near, far = (cost({"kind": "grid", "spacing_m": s, "area": BOX}, 5_000) for s in (spacing, spacing * wider))
    for layer in ("sentinel2", "dem", "worldcover"):
        assert near.layers[layer].requests <= far.layers[layer].requests * 1.001
        assert near.layers[layer].bytes <= far.layers[layer].bytes * 1.001
    assert far.total("requests") <= points(5_000).total("requests") * 1.001


def test_a_wider_extent_costs_more_and_others_the_same() -> None:
    one, wide = points(100), points(100, extents={"sentinel2": 7680})
    assert wide.layers["sentinel2"].bytes > 1.5 * one.layers["sentinel2"].bytes
    assert wide.layers["dem"] == one.layers["dem"]
    assert wide.stored_bytes > 4 * one.stored_bytes


@pytest.mark.slow
def test_the_number_of_samples_comes_from_the_recipe_or_is_asked_for() -> None:
    grid = cost({"kind": "grid", "spacing_m": 10_000, "area": BOX})
    assert grid.samples == pytest.approx(222.6 * 154.6 / 100, rel=0.02)
    assert cost({"kind": "uniform", "count": 77}).samples == 77
    with pytest.raises(SamplingError, match=r"absent\.csv is not here.*--samples N"):
        cost({"kind": "points", "file": "absent.csv"})
    text = full_size_text(grid)
    assert "nothing was searched" in text
    assert all(len(line) < 240 for line in text.splitlines())
