"""Planning piece by piece, against an archive that answers for anywhere: ended and resumed, completed, bounded."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipelines.plan.places
from pipelines.access.archives import Archives
from pipelines.access.stac.paging import PAGES
from pipelines.plan import complete_plan, make_plan
from pipelines.plan.blocks import ITEMS_A_PAGE, Ground, search_cost
from pipelines.recipes import RecipeFile
from pipelines.tables import Hrefs, PlanSummary, facts_of, read_part, read_shard, read_summary
from sampling import locate
from schemas.modality import SENTINEL2
from schemas.recipe import Recipe
from testbed.anywhere import serve_anywhere
from testbed.server import Fault, Request
from testbed.services import Services

WINDOWS = [
    {"name": "spring", "start": "2021-03-01", "end": "2021-03-20"},
    {"name": "summer", "start": "2021-07-01", "end": "2021-07-20"},
]


def recipe_of(url: str, count: int = 240) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "pieces", "seed": 3, "grid": {"size_m": 600}, "windows": WINDOWS, "shards": {"samples": 16},
            "sampling": {"kind": "uniform", "count": count, "area": {"bbox": [9.0, 47.0, 11.0, 49.0]}},
            "providers": {"far": {"url": url, "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["far"]}],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serve_anywhere() as running:
        yield running


@pytest.fixture
def file(services: Services, monkeypatch: pytest.MonkeyPatch) -> RecipeFile:
    """A recipe of places in several partitions; its provider's address is in the environment."""
    monkeypatch.setattr(pipelines.plan.places, "PART_SAMPLES", 64)
    monkeypatch.setenv("LANDWEAVE_FAR", services.base_url)
    return RecipeFile(recipe=recipe_of("$LANDWEAVE_FAR/anywhere"), folder=Path())


def plan(file: RecipeFile, out: Path, told: Any = lambda *_: None, how: Any = make_plan) -> PlanSummary:
    with Archives(file.recipe.providers) as archives:
        summary: PlanSummary = how(file, archives, out / "plan", out, told)
    return summary


def digests(folder: Path) -> dict[str, str]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def asked(services: Services) -> int:
    return sum(entry.path.endswith("/search") for entry in services.log)


@pytest.mark.slow
def test_ended_and_run_again_it_keeps_what_is_there_and_makes_the_same_bytes(
    services: Services, file: RecipeFile, tmp_path: Path
) -> None:
    before = asked(services)
    whole = plan(file, tmp_path / "whole")
    assert asked(services) - before == whole.searches
    assert whole.parts > 2
    assert read_summary(tmp_path / "whole" / "plan") == whole

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan(file, tmp_path / "broken", stop)
    for left in threading.enumerate():  # an interrupt leaves requests that are under way alone; they count too
        if left.name.startswith(("search", "plan")):
            left.join()
    growing = tmp_path / "broken" / ".plan-next"
    kept = [part for part in range(whole.parts) if facts_of(growing, part) is not None]
    assert kept
    assert not (tmp_path / "broken" / "plan").exists()
    (growing / "scenes" / ".part-00009.parquet-1").write_bytes(b"half")
    before = asked(services)
    again = plan(file, tmp_path / "broken")
    assert asked(services) - before == sum(
        (facts_of(tmp_path / "whole" / "plan", p) or {})["searches"] for p in range(whole.parts) if p not in kept
    )
    assert again == whole
    assert digests(tmp_path / "broken" / "plan") == digests(tmp_path / "whole" / "plan")


@pytest.mark.slow
def test_what_an_archive_did_not_answer_is_asked_anew_and_nothing_else(
    services: Services, file: RecipeFile, tmp_path: Path
) -> None:
    whole = plan(file, tmp_path / "whole")
    lost: list[str] = []

    def outage(request: Request) -> Fault | None:
        if request.method == "POST" and "2021-07-01" in json.dumps(request.json()) and len(lost) < 2:
            lost.append(request.path)
            return Fault(status=503, body=b"down")
        return None

    services.faults.append(outage)
    try:
        partial = plan(file, tmp_path / "partial")
    finally:
        services.faults.remove(outage)
    assert partial.unavailable["sentinel2"] > 0
    folder, before = tmp_path / "partial" / "plan", digests(tmp_path / "partial" / "plan")
    lacking = {p for p in range(whole.parts) if (facts_of(folder, p) or {})["unavailable"]}
    assert 0 < len(lacking) < whole.parts
    count = asked(services)
    completed = plan(file, tmp_path / "partial", how=complete_plan)
    assert completed.unavailable == {}
    assert asked(services) - count < whole.searches / 2
    after = digests(folder)
    for part in set(range(whole.parts)) - lacking:
        name = f"candidates/part-{part:05d}.parquet"
        assert after[name] == before[name]
    hrefs = Hrefs(origins={"far": services.base_url})
    for part in range(whole.parts):
        found, wanted = (read_part(tmp_path / which / "plan", part, hrefs) for which in ("partial", "whole"))
        assert found.candidates.keys() == wanted.candidates.keys()
        assert found.absences == wanted.absences


def test_shards_of_a_partition_hold_what_the_sampler_says(file: RecipeFile, tmp_path: Path) -> None:
    summary = plan(file, tmp_path)
    located = locate(file.recipe, Path())
    packed = located.packed(file.recipe.shards)
    assert summary.shards == len(packed)
    for index in range(len(packed)):
        shard = read_shard(tmp_path / "plan", index, Hrefs(origins={"far": "http://x"}))
        assert list(shard.places) == located.places(packed.shard(index))
        assert len(shard.candidates) + len(shard.absences) == len(shard.places) * len(WINDOWS)


def test_blocks_hold_every_place_and_cost_no_more_pages_than_degrees_do() -> None:
    assert PAGES[0] == ITEMS_A_PAGE
    located = locate(recipe_of("http://x", 400), Path())
    places = located.places(packed_index := located.packed(recipe_of("http://x").shards).order)
    assert len(packed_index) == 400
    density = SENTINEL2.density
    for days in (1.0, 90.0):
        blocks = Ground(places).blocks(density, days)
        assert sorted(p.sample_id for b in blocks for p in b.places) == sorted(p.sample_id for p in places)
        for block in blocks:
            (west, south, east, north), *rest = block.bboxes
            assert not rest
            assert all(west <= p.lon <= east and south <= p.lat <= north for p in block.places)
        ground = Ground(places)
        degrees = ground._cells(ground._cells(np.arange(400), 16.0)[0], 1.0)
        pages = sum(search_cost(density, hull, days)[0] for part in degrees for hull in ground._hulls(part))
        assert sum(search_cost(density, b.bboxes[0], days)[0] for b in blocks) <= pages
