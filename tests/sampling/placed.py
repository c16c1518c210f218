"""All samples of a small recipe as places."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sampling import locate
from schemas.place import Place
from schemas.recipe import Recipe


@dataclass(frozen=True, slots=True)
class SamplingResult:
    places: list[Place]
    left_out: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sample_places(recipe: Recipe, recipe_dir: Path) -> SamplingResult:
    found = locate(recipe, recipe_dir)
    return SamplingResult(found.places(np.arange(len(found))), found.left_out, found.notes)
