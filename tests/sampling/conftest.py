"""A recipe around a sampling section, for tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from schemas.recipe import Recipe

Recipes = Callable[..., Recipe]


def recipe_of(sampling: dict[str, Any], **sections: Any) -> Recipe:
    """A whole recipe with this sampling section; other sections as given."""
    document: dict[str, Any] = {
        "name": "test",
        "seed": 7,
        "grid": {"size_m": 2_560, "resolution_m": 10},
        "providers": {"here": {"url": "http://127.0.0.1"}},
        "windows": [{"name": "summer", "start": "2021-06-01", "end": "2021-08-31"}],
        "sources": [{"kind": "sentinel1", "providers": ["here"]}],
        "sampling": sampling,
    }
    return Recipe.model_validate(document | sections)


@pytest.fixture(scope="session")
def recipe() -> Recipes:
    """Makes recipes: `recipe(sampling, **sections)`."""
    return recipe_of
