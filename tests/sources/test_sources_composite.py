"""Composites are numpy's over the clear pixels, and coarse pixels under any cloud do not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.sources.composite import _onto, reduce_clear
from schemas.modality import SENTINEL1, SENTINEL2
from schemas.recipe import Recipe


@given(st.integers(1, 31), st.integers(0, 10_000), st.sampled_from(["median", "mean"]))
def test_medians_and_means_are_numpys(count: int, seed: int, how: str) -> None:
    rng = np.random.default_rng(seed)
    for layer, dtype in ((SENTINEL2.layers[0], "uint16"), (SENTINEL1.layers[0], "float32")):
        values = [rng.integers(1, 10_000, (2, 5, 7)).astype(dtype) for _ in range(count)]
        clear = [rng.random((2, 5, 7)) < 0.4 for _ in range(count)]
        found, known = reduce_clear(values, clear, layer, how)
        masked: Any = np.ma.masked_array(np.stack(values).astype(np.float64), ~np.stack(clear))
        expected = (np.ma.median if how == "median" else np.ma.mean)(masked, axis=0)
        assert np.array_equal(known, np.stack(clear).any(axis=0))
        wanted = np.ma.filled(expected, 0.0)[known]
        wanted = np.floor(wanted + 0.5) if dtype == "uint16" else wanted
        assert found.dtype == dtype
        assert np.array_equal(found[known], wanted.astype(dtype))
        fill = found[~known]
        assert np.all(np.isnan(fill) if dtype == "float32" else fill == 0)


def test_a_mosaic_is_the_first_clear_scene_and_classes_are_never_averaged() -> None:
    values = [np.full((1, 1, 4), n, np.uint8) for n in (4, 8)]
    clear = [np.array([[[True, False, False, True]]]), np.array([[[True, True, False, False]]])]
    scl = next(layer for layer in SENTINEL2.layers if layer.name == SENTINEL2.cloud_layer)
    for how in ("mosaic", "median"):
        found, known = reduce_clear(values, clear, scl, how)
        assert found.tolist() == [[[4, 8, 0, 4]]]
        assert known.tolist() == [[[True, True, False, True]]]


def test_a_coarse_pixel_is_hidden_by_any_cloud_over_it() -> None:
    cloud = np.zeros((6, 6), bool)
    cloud[4, 2] = True
    assert np.argwhere(_onto(cloud, (2, 2), 20, 60)).tolist() == [[1, 0]]
    assert np.argwhere(_onto(cloud, (12, 12), 20, 10)).tolist() == [[8, 4], [8, 5], [9, 4], [9, 5]]


def recipe(**source: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "c", "seed": 1, "grid": {"size_m": 240}, "sampling": {"kind": "uniform", "count": 1},
            "windows": [
                {"name": "year", "start": "2021-01-01", "end": "2021-12-31"},
                {"name": "series", "start": "2021-01-01", "end": "2021-12-31", "every": "scene", "count": 9},
            ],
            "providers": {"far": {"url": "https://stac.example/v1"}},
            "sources": [
                {"kind": "sentinel2", "providers": ["far"], **source},
                {"kind": "sentinel1", "providers": ["far"]},
            ],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"composite": "median"}, "window 'series' wants each scene as a date"),
        ({"composite": "mode", "windows": ["year"]}, "'median', 'mean' or 'mosaic'"),
        ({"max_scenes": 9}, "max_scenes 9 has no meaning without `composite: median`"),
    ],
)
def test_what_a_composite_cannot_be_is_refused(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        recipe(**source)
    assert len(caught.value.errors()) == 1
    assert message in caught.value.errors()[0]["msg"]


def test_a_composite_looks_at_its_own_number_of_scenes() -> None:
    made = recipe(composite="median", windows=["year"], max_scenes=12)
    assert [getattr(s, "scenes_per_date", None) for s in made.sources] == [12, 4]
    assert made.composed == {"sentinel2"}
