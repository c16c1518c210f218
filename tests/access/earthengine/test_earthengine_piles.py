"""Composites that Earth Engine reduces have the numbers of those that are read one by one, in few requests."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipelines.access.earthengine import items
from pipelines.access.earthengine.reader import EarthEngineReader
from pipelines.access.earthengine.session import Session, Settings, open_session
from pipelines.sources import composite as one_by_one
from pipelines.sources import open_source, piles
from pipelines.sources.composite import Room
from pipelines.sources.read_shard import ObservationRequest, _read
from schemas.outcome import Outcome, Reason
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.scene import Scene
from schemas.stack import Observation
from testbed.earthengine import Running, serve_earthengine
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_scenes import S2

AREA = BBox(15.0, 47.82, 15.05, 47.86)
RADAR = "COPERNICUS/S1_GRD"
KINDS = {
    "sentinel2": {"max_cloud": 1.0, "max_scene_cloud": 1.0},
    "sentinel1": {"product": "grd", "delivered": "db"},
}
PROVIDER = Provider(url="http://127.0.0.1")


def recipe(kind: str, **source: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "piles", "seed": 1, "sampling": {"kind": "uniform", "count": 1}, "grid": {"size_m": 960},
            "windows": [{"name": "june", "start": "2023-06-01", "end": "2023-06-30"}],
            "providers": {"ee": {"kind": "earthengine", "project": "testbed-project"}},
            "sources": [
                {"kind": kind, "providers": ["ee"], "min_valid": 0.0, "composite": "median"}
                | KINDS[kind]
                | source
            ],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_earthengine(scenes.catalogue(tmp_path_factory.mktemp("piles"))) as found:
        yield found


@pytest.fixture(scope="module")
def session(running: Running) -> Iterator[Session]:
    settings = Settings(
        project="testbed-project",
        endpoint=running.base_url,
        credentials="anonymous",
        requests_per_s=None,
        backoff_s=0.01,
    )
    with open_session(settings) as found:
        yield found


def place(geobox: GeoBox) -> Place:
    return Place(sample_id="a", lon=15.0, lat=47.8, geobox=geobox, split="train", block="b", cell="c")


def both(
    session: Session, running: Running, made: Recipe, collection: str, geobox: GeoBox, gone: str = ""
) -> tuple[Observation | Outcome, Observation | Outcome, int]:
    """(one by one, reduced by the service, computePixels requests of the latter)."""
    source = open_source(made.sources[0])
    found = items.search(session, collection, areas=[AREA], period=(dt.date(2023, 6, 1), dt.date(2023, 6, 30)))
    parsed = source.collapse([source.scene(i, "ee", PROVIDER) for i in found])
    wanted = place(geobox)
    request = ObservationRequest(wanted, 0, tuple(source.candidates(parsed, wanted, made.windows[0])))
    assert len(request.candidates) == (3 if collection == S2 else 1)
    by_id = {s.item_id: _moved(s) if gone and gone in s.item_id else s for s in parsed}
    with EarthEngineReader(session) as reader:

        def read(plan: Any) -> Any:
            return _read(plan, lambda _: reader)

        (apart,) = one_by_one.compose(source, made, [request], by_id, read, Room(100))
        before = running.service.requests.get("computePixels", 0)
        (together,) = piles.compose(source, made, [request], by_id, read, Room(100))
    return apart, together, running.service.requests["computePixels"] - before


def _moved(scene: Scene) -> Scene:
    """A scene that the service does not have."""
    moved = {n: a.href.replace("20230606T100029", "20230606T100030") for n, a in scene.assets.items()}
    assets = {n: dataclasses.replace(a, href=moved[n]) for n, a in scene.assets.items()}
    return dataclasses.replace(scene, assets=assets)


ALIGNED = scenes.box(96, 96)
SHIFTED = GeoBox(epsg=32633, x_min=scenes.X0 + 303, y_max=scenes.Y0 - 247, resolution_m=10, width=96, height=96)
EDGE = scenes.box(96, 96, column=120, row=120)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["median", "mean", "mosaic"])
@pytest.mark.parametrize("geobox", [ALIGNED, SHIFTED, EDGE], ids=["aligned", "shifted", "edge"])
def test_numbers_are_those_of_scenes_read_one_by_one(
    session: Session, running: Running, how: str, geobox: GeoBox
) -> None:
    made = recipe("sentinel2", composite=how)
    apart, together, requests = both(session, running, made, S2, geobox)
    assert isinstance(apart, Observation)
    assert isinstance(together, Observation)
    assert requests == 4  # classes and 60 m bands of all scenes, 10 m, 20 m
    for name, pixels in apart.arrays.items():
        off = np.abs(pixels.astype(np.int64) - together.arrays[name])
        most = 0 if geobox is not SHIFTED or name in ("scl", "bands_60m") else 1
        assert off.max() <= most, name
        assert together.arrays[name].dtype == pixels.dtype
    assert np.array_equal(apart.valid, together.valid)
    assert 0.1 < apart.valid.mean() < 1.0
    assert together.item_ids == apart.item_ids
    assert together.facts == {**apart.facts, "reduced_by": "Earth Engine"}
    assert together.radiometry == apart.radiometry
    assert together.resampling == apart.resampling


@pytest.mark.slow
def test_cloudy_scenes_stay_out_and_all_cloudy_is_a_reason(session: Session, running: Running) -> None:
    shares = {}
    for most in (1.0, 0.1, 0.192, 0.196, 0.2):
        apart, together, _ = both(session, running, recipe("sentinel2", max_cloud=most), S2, ALIGNED)
        assert type(apart) is type(together)
        if isinstance(apart, Observation) and isinstance(together, Observation):
            shares[most] = apart.facts["composite"]
            assert together.facts["composite"] == apart.facts["composite"]
            assert all(np.array_equal(apart.arrays[n], together.arrays[n]) for n in apart.arrays)
        else:
            assert isinstance(together, Outcome)
            assert together.reason is Reason.TOO_CLOUDY
            assert together == apart
    assert len(set(shares.values())) > 1


def test_a_scene_that_is_gone_is_left_out(session: Session, running: Running) -> None:
    apart, together, _ = both(session, running, recipe("sentinel2"), S2, ALIGNED, gone="20230606T100029")
    assert isinstance(together, Observation)
    assert isinstance(apart, Observation)
    assert together.facts == apart.facts
    assert together.facts["composite"] == "median of 2"


def test_radar_without_clouds_is_one_request(session: Session, running: Running) -> None:
    apart, together, requests = both(session, running, recipe("sentinel1"), RADAR, ALIGNED)
    assert isinstance(apart, Observation)
    assert isinstance(together, Observation)
    assert requests == 1
    for name, pixels in apart.arrays.items():
        np.testing.assert_allclose(together.arrays[name], pixels, rtol=1e-6)


def test_numbers_that_need_conversion_are_read_one_by_one(session: Session, running: Running) -> None:
    apart, together, requests = both(session, running, recipe("sentinel1", scale="linear"), RADAR, ALIGNED)
    assert isinstance(together, Observation)
    assert isinstance(apart, Observation)
    assert requests == 1
    assert "reduced_by" not in together.facts
