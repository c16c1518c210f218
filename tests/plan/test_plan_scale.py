"""What planning takes as datasets grow: requests within the stated number, memory within the stated limit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipelines.plan.places
from benchmarks.planning import points_recipe, write_points
from pipelines.access.archives import Archives
from pipelines.plan import make_plan
from pipelines.plan import search as discover
from pipelines.plan.blocks import KM_A_DEG, MOST_ITEMS, Ground, days_of, requests_at_most, search_cost
from pipelines.recipes import RecipeFile
from sampling import locate
from schemas.modality import SENTINEL2
from testbed.anywhere import serve_anywhere
from testbed.services import Services
from tests.plan.bounded_planner import PLACES, recipe_of

LIMIT_BYTES, PEAK_BYTES = 2**30, 512 * 2**20
"""What the planner is given (address space of its data, stacks included), and what it may hold of it here."""
DENSITY = SENTINEL2.density
AREA_KM2 = 20 * 13 * KM_A_DEG**2 * math.cos(math.radians(48.5))


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serve_anywhere() as running:
        yield running


def test_no_block_is_expected_to_bring_more_than_memory_holds() -> None:
    count = 500
    recipe = recipe_of("http://x", count)
    located = locate(recipe, Path())
    ground = Ground(located.places(located.packed(recipe.shards).order))
    for days in (1.0, 30.0, 92.0, 365.0):
        blocks = ground.blocks(DENSITY, days)
        assert sum(len(block.places) for block in blocks) == count
        assert all(block.items <= MOST_ITEMS for block in blocks)
        pages = sum(search_cost(DENSITY, box, days)[0] for block in blocks for box in block.bboxes)
        assert pages <= requests_at_most(count, AREA_KM2, 1, DENSITY, days) <= 4 * pages


def test_lonely_places_and_a_crowd_are_bounded_by_what_they_need() -> None:
    assert requests_at_most(1, 2e6, 1, DENSITY, 1.0) == 2
    crowd = requests_at_most(1_000_000, 2e6, 62, DENSITY, 92.0)
    assert crowd < 1_000
    assert requests_at_most(10_000_000, 2e6, 62, DENSITY, 92.0) == crowd


def test_searches_ahead_are_few_when_they_bring_much(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    served: list[float] = []
    recipe = recipe_of(services.base_url + "/anywhere", 60)
    located = locate(recipe, Path())
    blocks = Ground(located.places(located.packed(recipe.shards).order)).blocks(DENSITY, 1.0)
    question = discover.Question(
        layer="sentinel2", providers=("far",), collection="none", period=None, slots=(0,), parse=lambda *_: None
    )  # type: ignore[arg-type]
    real = discover.ask

    def counted(archives: Archives, question: discover.Question, block: discover.Block) -> discover.Answer:
        begun.append(block.items)
        return real(archives, question, block)

    monkeypatch.setattr(discover, "ask", counted)
    monkeypatch.setattr(discover, "ITEMS_AHEAD", 2 * max(b.items for b in blocks))
    with Archives(recipe.providers) as archives:
        for answer, block in zip(discover.ask_all(archives, [(question, b) for b in blocks]), blocks, strict=True):
            served.append(block.items)
            assert answer.error is not None
            assert sum(begun) - sum(served) <= discover.ITEMS_AHEAD + max(b.items for b in blocks)
    assert len(begun) == len(blocks)


@pytest.mark.slow
def test_requests_stay_within_the_stated_number(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipelines.plan.places, "PART_SAMPLES", 512)
    before = sum(entry.path.endswith("/search") for entry in services.log)
    recipe = recipe_of(services.base_url + "/anywhere", 3_000)
    short = tuple(w.model_copy(update={"end": w.start.replace(day=12)}) for w in recipe.windows)
    recipe = recipe.model_copy(update={"windows": short})
    with Archives(recipe.providers) as archives:
        plan = make_plan(
            RecipeFile(recipe=recipe, folder=Path()), archives, tmp_path / "plan", tmp_path, lambda *_: None
        )
    asked = sum(entry.path.endswith("/search") for entry in services.log) - before
    days = days_of((recipe.windows[0].start, recipe.windows[0].end))
    assert plan.parts >= 6
    assert plan.searches <= requests_at_most(3_000, AREA_KM2, plan.parts, DENSITY, days)
    assert asked == plan.searches > plan.parts


@pytest.mark.slow
def test_a_window_for_each_place_takes_at_most_twice_the_requests_of_a_common_one(
    services: Services, tmp_path: Path
) -> None:
    write_points(tmp_path / "points.csv", 1_000, (6.0, 45.0, 11.0, 49.0))
    searches = []
    for own in (False, True):
        recipe = points_recipe(services.base_url + "/anywhere", own=own)
        file, out = RecipeFile(recipe=recipe, folder=tmp_path), tmp_path / str(own)
        with Archives(recipe.providers) as archives:
            plan = make_plan(file, archives, out / "plan", out, lambda *_: None)
        assert plan.unavailable == {}
        searches.append(plan.searches)
    assert searches[0] < searches[1] <= 2 * searches[0]


@pytest.mark.slow
def test_a_partition_spread_over_a_continent_is_planned_within_the_stated_memory(
    services: Services, tmp_path: Path
) -> None:
    url = services.base_url + "/anywhere"
    done = subprocess.run(
        [sys.executable, "-m", "tests.plan.bounded_planner", url, str(LIMIT_BYTES), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["samples"] == PLACES
    assert said["unavailable"] == {}
    assert said["peak_bytes"] <= PEAK_BYTES, said
