"""What a map extract holds of a plan's places, and what of it cannot be drawn, as `plan` and `status` tell it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.access.archives import Archives
from pipelines.access.openstreetmap.extract import open_extract
from pipelines.plan import make_plan
from pipelines.plan.report import plan_text, trouble
from pipelines.recipes import RecipeFile
from pipelines.status import status_of
from schemas.recipe import Recipe
from testbed.anywhere import serve_anywhere
from tests.access.openstreetmap.osm_files import SQUARE, nodes, relate, ring, way, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    import osmium

    from pipelines.tables import PlanSummary
    from testbed.services import Services

WEST = [9.0, 48.0, 9.02, 48.02]
"""West, south, east, north of the samples, degrees."""


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serve_anywhere() as running:
        yield running


def planned(services: Services, out: Path, fill: object) -> tuple[RecipeFile, PlanSummary]:
    out.mkdir()
    written(out / "my map.osm.pbf", fill)
    recipe = Recipe.model_validate(
        {
            "name": "map", "seed": 3, "grid": {"size_m": 600},
            "windows": [{"name": "spring", "start": "2021-03-01", "end": "2021-03-20"}],
            "sampling": {"kind": "uniform", "count": 3, "area": {"bbox": WEST}, "allow_overlap": True},
            "providers": {"far": {"url": f"{services.base_url}/anywhere", "dialect": "earth-search", "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["far"]}],
            "labels": [{"kind": "openstreetmap", "pbf": "my map.osm.pbf"}],
            "splits": {"train": 1, "val": 0, "test": 0},
        }
    )  # fmt: skip
    file = RecipeFile(recipe=recipe, folder=out)
    with Archives(recipe.providers) as archives:
        return file, make_plan(file, archives, out / "plan", out / ".work", lambda *_: None)


def _around(writer: osmium.SimpleWriter) -> None:
    """A wood over all samples, and two things that cannot be drawn."""
    ids = nodes(writer, 1, [(x - 1.1, y - 2.1) for x, y in SQUARE], size=1.0)
    way(writer, 1, [*ids, ids[0]], natural="wood")
    way(writer, 2, [ids[0], 99], highway="track")
    relate(writer, 1, ("w", 77, "outer"), natural="water")


def test_what_is_lost_of_the_map_is_told_by_plan_and_status(services: Services, tmp_path: Path) -> None:
    out = tmp_path / "out"
    file, summary = planned(services, out, _around)
    layer = summary.layers["openstreetmap"]
    assert (layer.wanted, layer.found) == (3, 3)
    assert sorted(w.detail for w in layer.dropped) == [
        "multipolygons with missing members", "objects with missing or impossible nodes",
    ]  # fmt: skip
    assert summary.inputs["openstreetmap"].endswith(" rules:2"), "labels of other rules are another product"
    assert open_extract(out / ".work" / str(summary.extract)).name == summary.inputs["openstreetmap"]
    for text in (plan_text(file.recipe, summary), status_of(out).text()):
        (line,) = (line for line in text.splitlines() if "items not used" in line)
        assert line.split()[:2] == ["openstreetmap", "2"]
        assert "my map.osm.pbf: multipolygons with missing members" in line
    assert trouble(summary) == []


def test_a_map_of_another_place_is_told_before_anything_is_built(services: Services, tmp_path: Path) -> None:
    _, summary = planned(services, tmp_path / "out", lambda writer: ring(writer, 1, 1, natural="wood"))
    (line,) = trouble(summary)
    assert line.startswith("openstreetmap: nothing was found for any of 3 requested observations: my map.osm.pbf: ")
    assert "it covers 10 to 10.01 E, 50 to 50.01 N" in line


def test_a_map_without_objects_is_told(services: Services, tmp_path: Path) -> None:
    _, summary = planned(services, tmp_path / "out", lambda writer: nodes(writer, 1, SQUARE[:1]))
    (line,) = trouble(summary)
    assert "no object" in line
    assert "inf" not in line
