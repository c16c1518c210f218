"""Checks whether the recipe's licence contradicts the licences of the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.shards import conflicts, licences_of

if TYPE_CHECKING:
    from schemas.recipe import Recipe


def contradictions(recipe: Recipe) -> list[str]:
    """One line for each kind of layer whose licence does not allow what the recipe's licence says."""
    return conflicts(recipe.licence, licences_of(recipe))
