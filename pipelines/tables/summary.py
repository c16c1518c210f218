"""plan.json: what stands in a plan, for people and for checks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.tables.records import PLAN_VERSION, PlanError
from pipelines.tables.tally import LayerFound
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.attribute import AttributeType


COPIED_IN_PART = "the plan is not whole: copy all of plan/ again, or plan into another folder"
"""What to do where a file of a plan is not there."""


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """plan.json: what stands in the plan, for people and for checks."""

    recipe_sha256: str
    samples: int
    shards: int
    scenes: dict[str, int]
    """Layer -> scenes named, counted once a partition."""
    left_out: dict[str, int]
    searches: int
    """Pages of search results asked for."""
    estimate: dict[str, float]
    unavailable: dict[str, int]
    """Layer -> requested observations that could not be planned because no archive answered."""
    inputs: dict[str, str]
    splits: dict[str, int]
    extract: str | None = None
    notes: tuple[str, ...] | list[str] = ()
    parts: int = 1
    """Partitions: files of each table."""
    attributes: dict[str, AttributeType] = field(default_factory=dict)
    """Name -> type of what samples carry along from the points file; left out of the file where there is none."""
    shared: list[dict[str, Any]] = field(default_factory=list)
    """Ground that splits share: 'split', 'other', 'samples', 'share'; left out of the file where there is none."""
    layers: dict[str, LayerFound] = field(default_factory=dict)
    """Layer -> what was wanted and found of it, and why not; {} in plans made before it was counted."""
    bounds: list[float] = field(default_factory=list)
    """West, south, east, north of the samples' centres, degrees; west > east where they cross the antimeridian; [] in
    plans made before it was kept."""
    shard_samples: int = 256
    """Rows of a shard; plans that do not say it were made when the recipe's default was this."""
    version: int = PLAN_VERSION


def read_summary(folder: Path) -> PlanSummary | None:
    """plan.json, or None where there is no plan.

    Raises:
        PlanError: the plan is of another version or damaged.
    """
    path = folder / "plan.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        version = content.get("version")
        if version != PLAN_VERSION:
            raise PlanError(
                f"{folder.name}/{path.name}: the plan has version {version}, this landweave reads {PLAN_VERSION}: "
                "plan again, into another folder"
            )
        layers = {name: LayerFound.from_json(stated) for name, stated in content.pop("layers", {}).items()}
        return PlanSummary(**content, layers=layers)
    except (json.JSONDecodeError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise PlanError(f"{folder.name}/{path.name} is damaged ({error}): {COPIED_IN_PART}") from None


def read_recipe_of(folder: Path) -> Recipe:
    """The resolved recipe that the plan was made from.

    Raises:
        PlanError: it is not there, or is none.
    """
    try:
        return Recipe.model_validate_json((folder / "recipe.json").read_text())
    except OSError:
        raise PlanError(f"{folder.name}/recipe.json is missing: {COPIED_IN_PART}") from None
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise PlanError(f"{folder.name}/recipe.json is damaged ({first}): {COPIED_IN_PART}") from None


def write_summary(folder: Path, summary: PlanSummary) -> None:
    """Write plan.json: the last step, which makes a plan of a folder."""
    aside = folder / ".plan.json"
    content = {k: v for k, v in vars(summary).items() if v or k not in ("attributes", "shared")}
    content["layers"] = {name: layer.json() for name, layer in summary.layers.items()}
    aside.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    aside.replace(folder / "plan.json")
