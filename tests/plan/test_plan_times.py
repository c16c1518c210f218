"""Windows that each place has for itself: planned in few searches, every place gets what it would get alone."""

from __future__ import annotations

import csv
import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.access.archives import Archives
from pipelines.access.stac.paging import Take
from pipelines.plan import make_plan
from pipelines.plan.report import plan_text
from pipelines.recipes import RecipeFile
from pipelines.sources import open_source
from pipelines.tables import Hrefs, PartPlan, PlanSummary, read_part
from sampling.times import Moment, around, moment_of, own_period
from schemas.outcome import Reason
from schemas.place import BBox, Place
from schemas.recipe import Recipe
from schemas.scene import Candidate, Scene
from testbed.anywhere import serve_anywhere
from testbed.services import Services

BBOX = BBox(9.0, 47.0, 10.0, 48.0)
PLACES = 24


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serve_anywhere() as running:
        yield running


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Places with dates over a year, one without; half of them are moments."""
    rng, path = random.Random(5), tmp_path_factory.mktemp("points") / "shots.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "lon", "lat", "date"])
        for i in range(PLACES):
            day = dt.date(2020, 3, 1) + dt.timedelta(days=rng.randrange(365))
            date = f"{day}T{rng.randrange(24):02d}:15:00Z" if i % 2 else f"{day}"
            lon, lat = rng.uniform(BBOX[0], BBOX[2]), rng.uniform(BBOX[1], BBOX[3])
            writer.writerow([f"s{i:02d}", f"{lon:.6f}", f"{lat:.6f}", "" if i == 7 else date])
    return path


def recipe_of(services: Services, windows: list[dict[str, Any]], *sources: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "times", "seed": 3, "grid": {"size_m": 600}, "windows": windows, "shards": {"samples": 16},
            "sampling": {"kind": "points", "file": "shots.csv", "attributes": ["date"], "allow_overlap": True},
            "splits": {"allow_overlap": True},
            "providers": {"far": {"url": f"{services.base_url}/anywhere", "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["far"], **source} for source in sources or ({},)],
        }
    )  # fmt: skip


def planned(recipe: Recipe, points: Path, out: Path) -> tuple[PlanSummary, PartPlan]:
    with Archives(recipe.providers) as archives:
        summary = make_plan(
            RecipeFile(recipe=recipe, folder=points.parent), archives, out / "plan", out, lambda *_: None
        )
        return summary, read_part(out / "plan", 0, Hrefs(origins=archives.origins))


@pytest.fixture(scope="module")
def scenes(services: Services) -> list[Scene]:
    """Everything that the archive holds there, searched for at once."""
    recipe = recipe_of(services, [{"name": "all", "start": "2019-01-01", "end": "2022-12-31"}])
    source, name = open_source(recipe.sources[0]), "far"
    period = dt.date(2019, 8, 1), dt.date(2021, 8, 31)
    with Archives(recipe.providers) as archives:
        take: Take[Scene] = Take(lambda item: source.scene(item, name, recipe.providers[name]))
        return source.collapse(list(archives.search(name, "sentinel-2-l2a", [BBOX], period, take)))


def alone(recipe: Recipe, scenes: list[Scene], place: Place, slot: int = 0) -> list[Candidate]:
    """What a place gets when nobody else is planned for."""
    period = own_period(recipe.windows[0], slot, place, recipe.seed)
    source = open_source(recipe.sources[0])
    return [] if period is None else source.candidates_in(scenes, [place], period)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "window",
    [
        {"around": "attr_date", "before": "180d", "pick": "nearest"},
        {"around": "attr_date", "within": "40d", "pick": "after"},
        {"around": "attr_date", "before": "30d", "after": "100d"},
        {"around": "attr_date", "before": "90d", "count": 3},
        {"start": "2020-06-01", "end": "2020-06-30", "shift": "365d", "pick": "newest"},
    ],
    ids=lambda w: "-".join(map(str, w.values())),
)
def test_each_place_gets_what_it_would_get_alone(
    services: Services, points: Path, scenes: list[Scene], tmp_path: Path, window: dict[str, Any]
) -> None:
    recipe = recipe_of(services, [{"name": "own", **window}])
    _, part = planned(recipe, points, tmp_path)
    assert len(part.places) == PLACES
    for place in part.places:
        for slot in range(len(recipe.slots_of(recipe.sources[0]))):
            key, expected = (place.sample_id, "sentinel2", slot), alone(recipe, scenes, place, slot)
            if expected:
                found = {c.scenes: c.rank for c in part.candidates[key]}
                assert found == {c.scenes: c.rank for c in expected}
                if "pick" in window:
                    assert [c.scenes for c in part.candidates[key]] == [c.scenes for c in expected]
            else:
                assert part.absences[key].reason is Reason.NO_SCENE
    if "around" in window:
        assert part.absences["s07", "sentinel2", 0].detail == (
            "window 'own' is around attr_date, which has no value here"
        )


def test_before_is_never_after_and_nothing_lies_between(
    services: Services, points: Path, scenes: list[Scene], tmp_path: Path
) -> None:
    recipe = recipe_of(services, [{"name": "own", "around": "attr_date", "before": "180d", "pick": "before"}])
    _, part = planned(recipe, points, tmp_path)
    times = {scene.item_id: scene.datetime for scene in scenes}
    for place in part.places:
        stated = dict(place.attributes)["date"]
        if stated is None:
            continue
        moment = moment_of(str(stated))
        assert moment is not None
        chosen = [times[c.scenes[0]] for c in part.candidates[place.sample_id, "sentinel2", 0]]
        assert chosen == sorted(chosen, reverse=True)
        assert all(when <= moment.last for when in chosen)


def test_every_scene_of_a_window_is_a_date_in_order_of_time(
    services: Services, points: Path, scenes: list[Scene], tmp_path: Path
) -> None:
    window = {"name": "series", "start": "2020-06-01", "end": "2020-07-31", "every": "scene", "count": 30}
    recipe = recipe_of(services, [window], {"max_scene_cloud": 1.0})
    summary, part = planned(recipe, points, tmp_path)
    source = open_source(recipe.sources[0])
    inside = [s for s in scenes if dt.date(2020, 6, 1) <= s.datetime.date() <= dt.date(2020, 7, 31)]
    for place in part.places:
        expected = sorted(c.scenes for c in source.candidates_in(inside, [place], None, 1000)[0])
        slots = [part.candidates.get((place.sample_id, "sentinel2", slot), ()) for slot in range(30)]
        assert sorted(c.scenes for one in slots for c in one) == expected
        times = [one[0].datetime for one in slots if one]
        assert times == sorted(times)
        assert all(len(one) == 1 for one in slots[: len(expected)])
        last = part.absences[place.sample_id, "sentinel2", 29]
        assert f"the window has {len(expected)} dates here" in last.detail
    assert "the window has fewer dates here" in plan_text(recipe, summary)


def test_more_scenes_than_dates_is_said(services: Services, points: Path, tmp_path: Path) -> None:
    window = {"name": "series", "start": "2020-06-01", "end": "2020-07-31", "every": "scene", "count": 3}
    recipe = recipe_of(services, [window], {"max_scene_cloud": 1.0})
    summary, part = planned(recipe, points, tmp_path)
    assert f"places with more than 3 dates, of which the clearest and fullest by metadata are kept: {PLACES}" in (
        plan_text(recipe, summary)
    )
    for place in part.places:
        times = [part.candidates[place.sample_id, "sentinel2", slot][0].datetime for slot in range(3)]
        assert times == sorted(times)


def test_a_window_around_another_layers_scenes(
    services: Services, points: Path, scenes: list[Scene], tmp_path: Path
) -> None:
    windows = [
        {"name": "season", "dates": ["04-10", "10-10"], "year": 2020, "within": "20d"},
        {"name": "pair", "around": {"layer": "first"}, "within": "6d"},
    ]
    recipe = recipe_of(services, windows, {"layer": "first"}, {"layer": "second", "windows": ["pair"]})
    assert [w.name for w in recipe.slots_of(recipe.sources[1])] == ["pair", "pair"]
    _, part = planned(recipe, points, tmp_path)
    source = open_source(recipe.sources[1])
    for place in part.places:
        for slot in range(2):
            anchors = part.candidates[place.sample_id, "first", slot]
            expected: set[tuple[str, ...]] = set()
            for anchor in anchors:
                near = around(recipe.windows[1], Moment(first=anchor.datetime, last=anchor.datetime))
                expected |= {c.scenes for c in source.candidates_in(scenes, [place], near)[0]}
            assert {c.scenes for c in part.candidates[place.sample_id, "second", slot]} == expected


def test_a_series_of_months_is_a_date_a_month(services: Services, points: Path, tmp_path: Path) -> None:
    recipe = recipe_of(services, [{"name": "m", "start": "2020-01-15", "end": "2020-04-30", "every": "month"}])
    _, part = planned(recipe, points, tmp_path)
    for (_, _, slot), candidates in part.candidates.items():
        assert {c.datetime.month for c in candidates} == {slot + 1}
