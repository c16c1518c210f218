"""What every sensor must keep, run over the miniature Earth through search, planning and reading."""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from pipelines.access.archives import Archives
from pipelines.access.errors import ItemRefused
from pipelines.recipes import read_recipe
from pipelines.sources import open_source
from pipelines.sources.read_shard import ObservationRequest, gather
from schemas.modality import MODALITIES
from schemas.outcome import Outcome, Reason
from schemas.place import BBox, GeoBox, Place
from schemas.recipe import Recipe
from schemas.scene import Candidate
from schemas.sensors import CODED_KINDS, Source
from schemas.source import DatedSource, OpticalSource
from schemas.stack import Observation
from testbed import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.sources.sensor import SensorSource
    from schemas.modality import Modality
    from schemas.scene import Scene
    from testbed.services import Services

pytestmark = pytest.mark.slow
KINDS = tuple(MODALITIES)
PRESETS = {
    "sentinel2": ("sentinel2-l2a",),
    "sentinel1": ("sentinel1-rtc",),
    "landsat": ("landsat-8-9-l2",),
    "enmap": ("enmap-l2a",),
    "hls": ("hls-s30", "hls-l30"),
    "dem": ("cop-dem-30",),
}
"""Sensor -> the presets that describe the same product."""
QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


@pytest.fixture(scope="module")
def archive(earth: Path) -> Iterator[Services]:
    with serve(earth) as services:
        before = os.environ.get("LANDWEAVE_TESTBED")
        os.environ["LANDWEAVE_TESTBED"] = services.base_url
        yield services
        os.environ.pop("LANDWEAVE_TESTBED")
        if before is not None:
            os.environ["LANDWEAVE_TESTBED"] = before


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    tree = YAML(typ="safe").load(QUICKSTART.read_text())
    tree["sources"] += [{"kind": "hls", "providers": ["testbed"]}]
    return Recipe.model_validate(tree)


@pytest.fixture(scope="module")
def archives(archive: Services, recipe: Recipe) -> Iterator[Archives]:
    with Archives(recipe.providers) as opened:
        yield opened


def found(archives: Archives, recipe: Recipe, kind: str) -> tuple[SensorSource, list[Scene]]:
    """All scenes that the planet's archive holds for a sensor."""
    entry = next(s for s in recipe.sources if s.kind == kind)
    source = open_source(entry)
    name = entry.providers[0]
    period = (date(2021, 1, 1), date(2022, 12, 31)) if source.modality.dated else None
    scenes = []
    for item in archives.search(name, entry.collection, [BBox(-180.0, -89.0, 180.0, 89.0)], period):
        try:
            scenes.append(source.scene(item, name, recipe.providers[name]))
        except ItemRefused as rejected:
            pytest.fail(f"{kind}: {rejected.detail}")
    return source, source.collapse(scenes)


def places(scenes: list[Scene], source: SensorSource) -> list[Place]:
    """Four chips in the middle of what the sensor sees."""
    import pyproj
    from shapely.geometry import shape

    point = shape(scenes[0].geometry).representative_point()
    epsg = 32600 + int((point.x + 180) // 6) + 1
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(point.x, point.y)
    made = []
    for i in range(4):
        geobox = GeoBox(
            epsg=epsg, x_min=round(x / 60) * 60 + 960 * (i % 2), y_max=round(y / 60) * 60 + 960 * (i // 2),
            resolution_m=10, width=96, height=96,
        )  # fmt: skip
        made.append(
            Place(sample_id=f"s{i}", lon=point.x, lat=point.y, geobox=geobox, split="train", block="b", cell="c")
        )
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_scenes_are_whole(kind: str, archives: Archives, recipe: Recipe) -> None:
    source, scenes = found(archives, recipe, kind)
    assert scenes
    bands = set(source.modality.band_names)
    for scene in scenes:
        assert scene.modality == source.modality.name == kind
        assert set(scene.assets) == set(scene.radiometry) == bands
        assert scene.start <= scene.datetime <= scene.end
        assert scene.datetime.utcoffset() == datetime.now(UTC).utcoffset()
        assert all(rule.rule for rule in scene.radiometry.values())
        assert scene.cloud_cover is None or 0.0 <= scene.cloud_cover <= 1.0
    assert len({s.product for s in scenes}) == len(scenes)
    assert source.collapse(scenes[::-1]) == scenes


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_ranked_and_fall_into_the_window(kind: str, archives: Archives, recipe: Recipe) -> None:
    source, scenes = found(archives, recipe, kind)
    times = {s.item_id: s.datetime for s in scenes}
    for place in places(scenes, source):
        for window in recipe.windows if source.modality.dated else (None,):
            chosen = source.candidates(scenes, place, window)
            assert chosen == source.candidates(scenes[::-1], place, window)
            assert [c.rank for c in chosen] == sorted(c.rank for c in chosen)
            if isinstance(source.config, DatedSource):
                assert len(chosen) <= source.config.max_candidates
            for candidate in chosen:
                assert candidate.datetime == times[candidate.scenes[0]]
                assert window is None or window.start <= candidate.datetime.date() <= window.end


@pytest.mark.parametrize("kind", KINDS)
def test_observations_keep_the_contract(kind: str, archives: Archives, recipe: Recipe) -> None:
    source, scenes = found(archives, recipe, kind)
    window = recipe.windows[-1] if source.modality.dated else None
    requests = [ObservationRequest(p, 0, tuple(source.candidates(scenes, p, window))) for p in places(scenes, source)]
    known = {s.item_id: s for s in scenes}
    got = list(gather(source, recipe, requests, known, archives.reader))
    assert len(got) == len(requests)
    observations = [g for g in got if isinstance(g, Observation)]
    assert observations, [g.detail for g in got if isinstance(g, Outcome)]
    for outcome in (g for g in got if isinstance(g, Outcome)):
        assert outcome.reason in (Reason.TOO_CLOUDY, Reason.TOO_LITTLE_VALID, Reason.NO_SCENE)
    for request, made in zip(requests, got, strict=True):
        if isinstance(made, Observation):
            check(source, recipe, request.place, made)
    again = list(gather(source, recipe, requests[::-1], known, archives.reader))[::-1]
    for a, b in zip(got, again, strict=True):
        assert type(a) is type(b)
        if isinstance(a, Observation) and isinstance(b, Observation):
            for name in a.arrays:
                np.testing.assert_array_equal(a.arrays[name], b.arrays[name])


def as_preset(kind: str, preset: str, recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with a sensor described by a preset in place of its code."""
    entry = next(s for s in recipe.sources if s.kind == kind)
    tree = recipe.model_dump(mode="json")
    said = {"kind": preset, "layer": kind, "providers": list(entry.providers)}
    said |= {"windows": list(entry.windows)} if getattr(entry, "windows", None) else {}
    tree["sources"] = [said]
    path = folder / "recipe.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(tree, file)
    return read_recipe(path).recipe


@pytest.mark.parametrize(("kind", "preset"), [(k, p) for k in KINDS for p in PRESETS[k]])
def test_a_preset_gives_the_numbers_of_the_coded_sensor(
    kind: str, preset: str, archive: Services, archives: Archives, recipe: Recipe, tmp_path: Path
) -> None:
    """In as many requests, and with no more work to turn an item into a scene than a tenth."""
    coded, scenes = found(archives, recipe, kind)
    described = open_source(as_preset(kind, preset, recipe, tmp_path).sources[0])
    assert describes(described.modality) == describes(coded.modality)
    name = described.config.providers[0]
    items = archives.search(name, described.config.collection, [BBox(-180.0, -89.0, 180.0, 89.0)], None)
    again = {s.item_id: s for s in (described.parse(i, name, recipe.providers[name]) for i in items)}
    known = {s.item_id: s for s in scenes}
    assert set(again) & set(known)
    provider = recipe.providers[name]
    calls = [calls_of(lambda s=source: [s.parse(i, name, provider) for i in items]) for source in (coded, described)]
    assert calls[1] <= 1.1 * calls[0]
    for item_id in sorted(set(again) & set(known)):
        here = places([known[item_id]], coded)[:1]
        candidate = Candidate(scenes=(item_id,), datetime=known[item_id].datetime, rank=())
        request = [ObservationRequest(place, 0, (candidate,)) for place in here]
        asked = []
        for source, by_id in ((coded, known), (described, again)):
            before = len(archive.log)
            with Archives(recipe.providers) as fresh:
                (made,) = gather(lenient(source), recipe, request, by_id, fresh.reader)
            asked.append((made, len(archive.log) - before))
        (a, requests), (b, requests_too) = asked
        assert 0 < requests_too == requests
        assert isinstance(a, Observation)
        assert isinstance(b, Observation), b
        for array in a.arrays:
            np.testing.assert_array_equal(a.arrays[array], b.arrays[array])
        np.testing.assert_array_equal(a.valid, b.valid)
        assert a.cloud is None or np.array_equal(a.cloud, b.cloud if b.cloud is not None else ~a.cloud)


def calls_of(work: Callable[[], Any]) -> int:
    """Calls of functions that some work makes the second time, a measure of CPU that no other process moves."""
    work()
    seen = [0]

    def count(_frame: Any, event: str, _argument: Any) -> None:
        seen[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen[0]


def lenient(source: SensorSource) -> SensorSource:
    """The source that takes any cloud and any share of measured pixels."""
    wanted = {k: v for k, v in {"max_cloud": 1.0, "min_valid": 0.0}.items() if hasattr(source.config, k)}
    return open_source(source.config.model_copy(update=wanted))


def describes(modality: Modality) -> Any:
    """What decides the pixels, the masks and the form on disk."""
    comparable = [
        replace(layer, nodata=None if layer.nodata is None or np.isnan(layer.nodata) else layer.nodata)
        for layer in modality.layers
    ]
    return comparable, modality.dated, modality.cloud_layer, modality.licence, modality.attribution


def test_every_table_covers_every_sensor() -> None:
    assert set(KINDS) == set(CODED_KINDS) == set(PRESETS)
    for kind in CODED_KINDS:
        modality = MODALITIES[kind]
        entry = TypeAdapter(Source).validate_python({"kind": kind, "providers": ["x"]})
        assert describes(open_source(entry).modality) == describes(modality)
        assert (modality.density.per_day is None) == (not modality.dated)
        assert modality.licence
        assert modality.attribution
        assert modality.cloud_layer is None or modality.layer(modality.cloud_layer).kind != "continuous"
        assert isinstance(entry, DatedSource) == modality.dated
        assert isinstance(entry, OpticalSource) == (modality.cloud_layer is not None)
    linter = tomllib.loads((QUICKSTART.parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]
    (strangers,) = (c for c in linter["contracts"] if c["name"] == "sensors are strangers to one another")
    assert sorted(strangers["modules"]) == sorted(f"pipelines.sources.{kind}" for kind in CODED_KINDS)


def check(source: SensorSource, recipe: Recipe, place: Place, made: Observation) -> None:
    modality = source.modality
    shares: list[Any] = [made.valid_fraction, made.cloud_fraction]
    assert set(made.arrays) == set(made.resampling) == {x.name for x in modality.layers}
    assert set(made.radiometry) == set(modality.band_names)
    assert set(made.resampling.values()) <= {"none", "nearest", "bilinear", "cubic"}
    assert all(s is None or 0.0 <= s <= 1.0 for s in shares)
    assert (made.cloud is None) == (made.cloud_fraction is None) == (modality.cloud_layer is None)
    for layer in modality.layers:
        array = made.arrays[layer.name]
        shape = place.geobox.at(recipe.resolution_of(modality.name, layer.name)).shape
        assert array.dtype == np.dtype(layer.dtype)
        assert array.shape == ((len(layer.bands), *shape) if layer.has_band_axis else shape)
        if layer.kind != "continuous":
            assert made.resampling[layer.name] in ("none", "nearest")
        if layer.kind == "continuous" and shape == made.valid.shape and layer.nodata is not None:
            filled = np.isnan(array) if np.isnan(layer.nodata) else array == layer.nodata
            assert not (filled.any(axis=0) & made.valid).any()
    assert made.valid.dtype == np.bool_
    assert made.valid_fraction == np.count_nonzero(made.valid) / made.valid.size


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_down_leaves_rows_and_no_pixels(kind: str, archive: Services, recipe: Recipe) -> None:
    quick = {n: p.model_copy(update={"retries": 0, "timeout_s": 5.0}) for n, p in recipe.providers.items()}
    with Archives(quick) as archives:
        source, scenes = found(archives, recipe, kind)
        window = recipe.windows[-1] if source.modality.dated else None
        chosen = [(p, tuple(source.candidates(scenes, p, window))) for p in places(scenes, source)]
        requests = [ObservationRequest(p, 0, candidates) for p, candidates in chosen if candidates]
        archive.take_down()
        try:
            got = list(gather(source, recipe, requests, {s.item_id: s for s in scenes}, archives.reader))
        finally:
            archive.bring_up()
    assert got
    assert all(isinstance(g, Outcome) and g.reason is Reason.UNAVAILABLE for g in got)
