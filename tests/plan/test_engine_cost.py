"""What a plan says that Earth Engine will take: chips as they are asked for, and nothing for other archives."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from pipelines.access.earthengine.meter import EECU_S_PER_MPX_BAND, EECU_S_PER_REQUEST
from pipelines.plan.earthengine_cost import EngineTally
from schemas.modality import SENTINEL2
from schemas.place import GeoBox
from schemas.recipe import Recipe
from schemas.scene import AssetBand, Candidate, Scene

WHEN = dt.datetime(2021, 6, 1, tzinfo=dt.UTC)
BOX = GeoBox(epsg=32633, x_min=500_040, y_max=5_300_040, resolution_m=10, width=96, height=96)


def recipe(**label: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "cost",
            "seed": 1,
            "sampling": {"kind": "uniform", "count": 1},
            "grid": {"size_m": 960},
            "windows": [{"name": "june", "start": "2021-06-01", "end": "2021-06-30"}],
            "providers": {"ee": {"kind": "earthengine", "slots": 20}},
            "sources": [{"kind": "sentinel2", "providers": ["ee"]}],
            "labels": [{"kind": "dynamicworld", "providers": ["ee"]} | label],
        }
    )


def scene(item_id: str, assets: dict[str, AssetBand]) -> Scene:
    return Scene(
        item_id=item_id,
        provider="ee",
        collection="c",
        modality="m",
        datetime=WHEN,
        start=WHEN,
        end=WHEN,
        geometry={},
        acquisition=item_id,
        product=item_id,
        revision="",
        assets=assets,
        radiometry={},
    )


def sentinel2(scheme: str) -> dict[str, AssetBand]:
    return {
        band.name: AssetBand(href=f"{scheme}:{layer.name}", index=i)
        for layer in SENTINEL2.layers
        for i, band in enumerate(layer.bands, 1)
    }


def candidates(*items: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(scenes=tuple(i.split("+")), datetime=WHEN, rank=()) for i in items)


def test_cloud_layers_of_all_candidates_and_all_bands_of_the_best() -> None:
    tally = EngineTally()
    scenes = {name: scene(name, sentinel2("earthengine")) for name in "abc"}
    for _ in range(2):
        tally.add(recipe(), "sentinel2", BOX, candidates("a", "b", "c"), scenes)
    assert tally.requests == 2 * (3 + 3)
    pixels = 4 * 96**2 + 6 * 48**2 + 2 * 16**2 + 3 * 48**2  # bands of 10, 20 and 60 m, and SCL of three
    assert tally.eecu_s == pytest.approx(12 * EECU_S_PER_REQUEST + 2 * pixels / 1e6 * EECU_S_PER_MPX_BAND)
    total = tally.total(recipe())
    assert total is not None
    assert total.requests == 12
    assert total.hours == pytest.approx(12 * 2.0 / 20 / 3600, abs=1e-4)


def test_other_archives_count_nothing() -> None:
    tally = EngineTally()
    tally.add(recipe(), "sentinel2", BOX, candidates("a"), {"a": scene("a", sentinel2("https"))})
    assert tally.total(recipe()) is None


@pytest.mark.parametrize(("composite", "images"), [("nearest", 1), ("mode", 3), ("probability", 27)])
def test_a_composite_is_one_request_that_reads_every_map(composite: str, images: int) -> None:
    tally = EngineTally()
    maps = {name: scene(name, {"classes": AssetBand(href="earthengine:x")}) for name in "abc"}
    tally.add(recipe(composite=composite), "dynamicworld", BOX, candidates("a+b+c"), maps)
    assert tally.requests == 1
    assert tally.eecu_s == pytest.approx(EECU_S_PER_REQUEST + images * 96**2 / 1e6 * EECU_S_PER_MPX_BAND)
