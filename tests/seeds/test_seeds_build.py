"""Every recipe of recipes/seeds, moved onto the miniature Earth: planned, built, read back, looked at."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import landweave
from pipelines.engines import Engine
from pipelines.jobs import build_dataset
from pipelines.recipes import read_recipe
from tests.seeds.moved import moved
from tests.seeds.special import CHECKS, Built

if TYPE_CHECKING:
    from tests.seeds.moved import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SEEDS = sorted((Path(__file__).parents[2] / "recipes" / "seeds").glob("*.yaml"))
HEAVY = ("agrifm", "las", "m3leo", "olmoearth", "skyscript", "dynamicvl", "spectral-earth")
"""Recipes with long series, composites or pixels of a metre: one sample; of the others two."""


def _named(label: object) -> str:
    """Name of a label's layer on disk."""
    return str(getattr(label, "layer", None) or getattr(label, "name", None) or getattr(label, "kind", ""))


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.stem)
def test_a_seed_builds_and_has_what_is_special_in_it(
    path: Path, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDWEAVE_TESTBED", world.services.base_url)
    monkeypatch.setenv("LANDWEAVE_EARTHENGINE_URL", world.services.base_url)
    here = moved(path, world, tmp_path / "recipe")
    file = read_recipe(here, [f"limit={1 if path.stem in HEAVY else 2}"])
    said: list[str] = []
    build_dataset(file, tmp_path / "dataset", Engine(), say=said.append)
    dataset = landweave.open(tmp_path / "dataset")
    reasons = Counter((row["layer"], row["reason"]) for row in dataset.ledger.to_pylist())
    wanted = (
        {s.name for s in file.recipe.sources}
        | {_named(label) for label in file.recipe.labels}
        | set(file.recipe.derived)
    )
    lacking = {name for name in wanted if not reasons[name, "ok"]}
    assert not lacking, reasons
    assert len(dataset) >= 1, reasons
    for sample in dataset:
        assert all(sample[name].size for name in dataset.arrays if name in sample)
    CHECKS[path.stem](Built(file.recipe, here, dataset, world))
