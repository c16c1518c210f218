"""The image that labels and texts refer to: one rule, by the recipe's order."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from pipelines.sources.reference import reference_image
from schemas.recipe import Recipe
from schemas.stack import Observation

DAY = dt.datetime(2021, 7, 1, tzinfo=dt.UTC)


def recipe(*kinds: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "reference", "seed": 1, "grid": {"size_m": 240}, "sampling": {"kind": "uniform", "count": 1},
            "windows": [
                {"name": "summer", "start": "2021-06-01", "end": "2021-08-31"},
                {"name": "autumn", "start": "2021-09-01", "end": "2021-11-30"},
            ],
            "providers": {"far": {"url": "https://stac.example/v1"}},
            "sources": [{"kind": kind, "providers": ["far"]} for kind in kinds],
        }
    )  # fmt: skip


def observed(*keys: tuple[str, int]) -> dict[tuple[str, int], Observation]:
    return {
        (name, slot): Observation(
            modality=name, slot=slot, datetime=DAY + dt.timedelta(days=90 * slot), arrays={},
            valid=np.ones((1, 1), np.bool_), cloud=None, valid_fraction=1.0, cloud_fraction=None, item_ids=(),
            provider="far", radiometry={}, resampling={},
        )
        for name, slot in keys
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "obtained", "expected"),
    [
        (("sentinel2", "sentinel1"), (("sentinel1", 0), ("sentinel2", 1), ("sentinel2", 0)), ("sentinel2", 0)),
        (("sentinel1", "sentinel2"), (("sentinel1", 0), ("sentinel2", 1)), ("sentinel2", 1)),
        (("landsat", "sentinel2"), (("sentinel2", 0), ("landsat", 0)), ("landsat", 0)),
        (("landsat", "sentinel2"), (("sentinel2", 0), ("landsat", 1)), ("landsat", 1)),
        (("sentinel2", "sentinel1", "dem"), (("dem", 0), ("sentinel1", 1)), ("sentinel1", 1)),
        (("sentinel2", "dem"), (("dem", 0),), None),
        (("sentinel2",), (), None),
    ],
)
def test_the_first_optical_layer_of_the_recipe_decides_then_any_dated_one(
    kinds: tuple[str, ...], obtained: tuple[tuple[str, int], ...], expected: tuple[str, int] | None
) -> None:
    found = reference_image(recipe(*kinds), observed(*obtained))
    assert (None if found is None else (found.modality, found.slot)) == expected
