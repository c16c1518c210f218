"""What planning says of extents and pixels: notes on them, and the audit of splits over the widest ground."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from pydantic import ValidationError

import sampling.nearness
from pipelines.plan.doubts import buffer_for, doubts
from pipelines.tables import Estimate, PlanSummary
from sampling.geobox import Footprints, footprints_at
from sampling.leakage import leakage
from schemas.place import GeoBox
from schemas.recipe import Recipe
from tests.sampling.test_sampling_overlap import cluster

WINDOWS = [{"name": "y", "start": "2021-01-01", "end": "2021-12-31"}]


def recipe(grid: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x", "seed": 1, "sampling": {"kind": "uniform", "count": 1}, "grid": grid, "windows": WINDOWS,
            "providers": {"pc": {"url": "https://x.example/v1"}},
            "sources": [{"kind": "sentinel2", "providers": ["pc"]}], **more,
        }
    )  # fmt: skip


def notes(one: Recipe) -> list[str]:
    cost = Estimate(samples=3, scenes=1, requests=1, bytes=1, cpu_seconds=1.0, seconds=1.0, providers={})
    summary = PlanSummary(
        recipe_sha256="", samples=3, shards=2, scenes={}, left_out={}, searches=0, estimate=cost, unavailable={},
        inputs={}, splits={"train": 2, "val": 1}, bounds=[2.0, 48.0, 3.0, 49.0],
    )  # fmt: skip
    return doubts(one, summary)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"size_m": 1920, "resolution_m": 0.5}, "grid.resolution_m: 0.5 is the pixel of no layer"),
        ({"size_m": 1920, "resolution_m": 10}, None),
        ({"size_m": 1920}, None),
        ({"size_m": 600, "extents": {"sentinel2": 2600}}, "differs from 600 by a multiple of 120 m keeps to them"),
        ({"size_m": 600, "extents": {"sentinel2": 2520}}, None),
        ({"size_m": 600, "resolution_m": 30, "resolutions": {"sentinel2": 30}}, None),
    ],
)  # fmt: skip
def test_a_setting_that_does_less_than_it_seems_is_a_note(grid: dict[str, Any], words: str | None) -> None:
    found = notes(recipe(grid, splits={"buffer_m": 10_000}))
    assert any(words in note for note in found) if words else not found, found


def test_pixels_of_a_part_of_a_metre_are_whole_in_spite_of_rounding() -> None:
    band = {"R": "image#1"}
    fine = {
        "layer": "fine", "providers": ["pc"], "collection": "c",
        "arrays": {"r": {"resolution_m": 0.2, "dtype": "uint8", "bands": band}},
    }  # fmt: skip
    for extent, words in ((307.6, 0), (307.4, 1)):
        grid = {"size_m": 102.4, "resolution_m": 0.2, "snap_m": 0.2, "extents": {"fine": extent}}
        one = recipe(grid, sources=[fine], splits={"buffer_m": 10_000})
        assert len(notes(one)) == words
        box = GeoBox(epsg=2154, x_min=652_000.2, y_max=6_862_600.6, resolution_m=0.2, width=512, height=512)
        own = box.about(extent, 0.2)
        assert own.width == round(extent / 0.2)
        assert own.x_min == round(652_000.2 - (extent - 102.4) / 2, 6)
        assert own.y_max == round(6_862_600.6 + (extent - 102.4) / 2, 6)


def test_the_buffer_that_a_note_names_parts_the_layers_of_two_splits() -> None:
    one = recipe({"size_m": 600, "extents": {"sentinel2": 2520}})
    (note,) = notes(one)
    assert f"splits.buffer_m: {buffer_for(one)} keeps them from sharing pixels" in note
    away = buffer_for(one)
    for angle in np.radians(range(0, 91, 5)):
        # the nearest that two footprints may come in this direction, as distances between squares are measured
        low, high = 0.0, 10_000.0
        for _ in range(40):
            middle = (low + high) / 2
            x, y = middle * math.cos(angle), middle * math.sin(angle)
            gap = shapely.box(0, 0, 600, 600).distance(shapely.box(x, y, x + 600, y + 600))
            low, high = (middle, high) if gap < away else (low, middle)
        x, y = high * math.cos(angle), high * math.sin(angle)
        mine, theirs = (
            shapely.box(u, v, u + 600, v + 600).buffer(960, join_style="mitre") for u, v in ((0, 0), (x, y))
        )
        assert not mine.intersects(theirs)
    assert not notes(recipe({"size_m": 600, "extents": {"sentinel2": 2520}}, splits={"buffer_m": buffer_for(one)}))


def _scattered(count: int, size_m: float) -> Footprints:
    rng = np.random.default_rng(4)
    x, y = (np.round(rng.uniform(0, 30_000, count), 1) for _ in range(2))
    return footprints_at(np.full(count, 32631, np.int32), 440_000 + x, 5_400_000 + y, size_m)


def test_leakage_over_another_ground_is_that_of_its_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    small, split = _scattered(120, 200.0), np.arange(120, dtype=np.int8) % 2
    wide = small.over(3_000.0)
    np.testing.assert_allclose(wide.x_min, small.x_min - 1_400)
    lon, lat = pyproj.Transformer.from_crs(32631, 4326, always_xy=True).transform(
        wide.x_min + 1_500, wide.y_max - 1_500
    )
    np.testing.assert_allclose([wide.lon, wide.lat], [lon, lat], atol=1e-8)
    boxes = [shapely.box(x, y - 3_000, x + 3_000, y) for x, y in zip(wide.x_min, wide.y_max, strict=True)]
    pairs = sum(
        split[i] != split[j] and boxes[i].intersection(boxes[j]).area > 0 for i, j in combinations(range(120), 2)
    )
    (found,) = leakage(wide, split)
    assert found.pairs == pairs
    border = cluster(6.0, 46.0, 120, 5_000.0, 3_000.0)
    (every,) = leakage(border, split)
    monkeypatch.setattr(sampling.nearness, "MOST_CROSSING", 10)
    (fewer,) = leakage(border, split)
    assert 0.5 * every.pairs < fewer.pairs < every.pairs


LABELS = [
    {"kind": "worldcover", "providers": ["pc"]},
    {"kind": "worldcover", "layer": "wide", "providers": ["pc"]},
    {"kind": "openstreetmap", "pbf": "x.osm.pbf", "channels": {"b": {"building": "*"}}},
]


@pytest.mark.parametrize(
    ("extents", "more", "words"),
    [
        ({"worldcover": 320}, {"captions": {"kind": "template", "facts_from": "worldcover"}}, "captions describe"),
        ({"openstreetmap": 320}, {"captions": {"kind": "template"}}, "captions name objects of openstreetmap"),
        ({"wide": 2560}, {"captions": {"kind": "template"}}, None),
        ({"openstreetmap": 320}, {"captions": {"kind": "file", "file": "t.csv"}}, None),
        ({"fused": 320}, {"fused": {}}, "fused is fused of other labels"),
        ({"wide": 2560}, {"fused": {"voters": ["worldcover", "wide"]}}, "wide lies on other ground than fused"),
        ({"wide": 2560}, {"fused": {"voters": ["worldcover", "openstreetmap"]}}, None),
        ({"sentinel2": 2560}, {"fused": {"voters": ["worldcover", "openstreetmap"]}}, "sentinel2 lies on other ground"),
        ({"sentinel2": 2560}, {"fused": {"voters": ["worldcover", "openstreetmap"], "images": []}}, None),
        ({"wide": 2560}, {"derived": {"d": "wide - worldcover"}}, "lie on ground of another size"),
        ({"wide": 2560, "sentinel2": 2560}, {"derived": {"d": "where(wide == 10, sentinel2.B08, 0)"}}, None),
    ],
)  # fmt: skip
def test_layers_of_other_ground_are_not_taken_for_the_footprint(
    extents: dict[str, float], more: dict[str, Any], words: str | None
) -> None:
    fused = [{"kind": "fused", **more.pop("fused")}] if "fused" in more else []
    given = {"labels": [*LABELS, *fused], **more}
    if words is None:
        one = recipe({"size_m": 640, "extents": extents}, **given)
        assert one.size_of("d" if "derived" in given else next(iter(extents))) == next(iter(extents.values()))
        return
    with pytest.raises(ValidationError, match=words) as caught:
        recipe({"size_m": 640, "extents": extents}, **given)
    assert caught.value.error_count() == 1


def test_channels_of_the_map_lie_where_its_classes_do() -> None:
    one = recipe({"size_m": 640, "extents": {"openstreetmap": 320}}, labels=LABELS)
    assert one.size_of("openstreetmap_channels") == 320
    assert one.near_m(["openstreetmap"]) == 660, "the footprint, with the 60 m bands of Sentinel-2"
    assert recipe({"size_m": 640, "extents": {"wide": 50_000}}, labels=LABELS).near_m(["openstreetmap"]) == 660
    assert (
        recipe({"size_m": 640, "extents": {"openstreetmap": 5_000}}, labels=LABELS).near_m(["openstreetmap"]) == 5_000
    )
