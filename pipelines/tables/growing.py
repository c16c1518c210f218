"""The folder of an incomplete plan, '.NAME-next' next to the final place, and its progress."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.durable import read_regular
from pipelines.tables.parts import facts_of
from pipelines.tables.records import DamagedPlanError
from pipelines.tables.summary import read_recipe_of

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.recipe import Recipe

PLACES = "places.json"
"""Written when all samples of a plan are placed."""


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A planning that was begun and has not ended."""

    recipe: Recipe | None = None
    """The current plan; None if no samples are placed yet."""
    samples: int = 0
    """Samples placed."""
    parts: int = 0
    """Partitions that they make."""
    planned: int = 0
    """Partitions planned."""


def growing_of(folder: Path) -> Path:
    """Folder of the unfinished plan `folder`."""
    return folder.with_name(f".{folder.name}-next")


def unfinished_in(folder: Path) -> Unfinished | None:
    """The planning that would become the plan `folder`; None if none was begun."""
    growing = growing_of(folder)
    try:
        laid = json.loads(read_regular(growing / PLACES))
        parts, samples, recipe = int(laid["parts"]), int(laid["samples"]), read_recipe_of(growing)
    except (OSError, ValueError, TypeError, KeyError, DamagedPlanError):
        return Unfinished() if growing.exists() else None
    planned = sum(facts_of(growing, part) is not None for part in range(parts))
    return Unfinished(recipe=recipe, samples=samples, parts=parts, planned=planned)
