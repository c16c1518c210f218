"""Every recipe of the folder is one, says what it needs, and goes to archives by https."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.recipes import read_recipe
from schemas.provider import Provider

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_is_one_and_names_no_machine(name: str) -> None:
    recipe = read_recipe(FOLDER / name).recipe
    assert recipe.name == Path(name).stem
    assert recipe.description
    for provider in recipe.providers.values():
        if isinstance(provider, Provider):
            own = provider.url.endswith("/items.parquet") and "://" not in provider.url
            assert own or provider.url.startswith(("https://", "$LANDWEAVE_TESTBED/"))
            assert ("$" in provider.url) == (name == "quickstart.yaml")


@pytest.mark.parametrize(
    ("name", "pixels", "dates"), [("ssl4eo-s12", 264, 4), ("major-tom", 1068, 1), ("spectral-earth", 384, 8)]
)
def test_seeds_have_the_size_and_dates_of_what_they_follow(name: str, pixels: int, dates: int) -> None:
    recipe = read_recipe(FOLDER / "seeds" / f"{name}.yaml").recipe
    assert recipe.grid.size_m / 10 == pixels
    assert len(recipe.slots_of(recipe.sources[0])) == dates


SEEDS = sorted((FOLDER / "seeds").glob("*.yaml"))


@pytest.mark.parametrize("path", SEEDS, ids=lambda p: p.stem)
def test_a_seed_is_short_and_the_page_of_datasets_has_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert "ifference" in text or path.stem in {"prithvi-hls", "agrifm", "las", "units"}
    assert f"`{path.stem}`" in (FOLDER.parent / "docs" / "datasets.md").read_text(encoding="utf-8")
