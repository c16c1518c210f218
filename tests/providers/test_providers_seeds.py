"""Every recipe of the folder is one, says what it needs, and goes to archives by https."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recipes import read_recipe
from schemas.recipe import Provider

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_one_and_names_no_machine(name: str) -> None:
    recipe = read_recipe(FOLDER / name).recipe
    assert recipe.name == Path(name).stem
    assert recipe.description
    for provider in recipe.providers.values():
        if isinstance(provider, Provider):
            assert provider.url.startswith(("https://", "$LANDWEAVE_TESTBED/"))
            assert ("$" in provider.url) == (name == "quickstart.yaml")


@pytest.mark.parametrize(
    ("name", "pixels", "dates"), [("ssl4eo-s12", 264, 4), ("major-tom", 1068, 1), ("spectral-earth", 384, 4)]
)
def test_seeds_have_the_size_and_dates_of_what_they_follow(name: str, pixels: int, dates: int) -> None:
    recipe = read_recipe(FOLDER / "seeds" / f"{name}.yaml").recipe
    assert recipe.grid.size_m / 10 == pixels
    assert len(recipe.slots_of(recipe.sources[0])) == dates
