"""plan.json: the summary of a plan."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.durable import read_regular, write_durably
from pipelines.tables.estimate import Estimate
from pipelines.tables.folders import PLAN_FILE
from pipelines.tables.records import PLAN_VERSION, DamagedPlanError, PlanError
from pipelines.tables.tally import LayerFound
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.attribute import AttributeType


COPIED_IN_PART = "the plan is incomplete: copy all of plan/ again, or plan into another folder"
"""Advice if a file of a plan is missing."""


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """Content of plan.json: the summary of a plan, for people and for checks."""

    recipe_sha256: str
    samples: int
    shards: int
    scenes: dict[str, int]
    """Layer -> scenes named, counted once a partition."""
    left_out: dict[str, int]
    searches: int
    """Pages of search results asked for."""
    estimate: Estimate
    """Predicted cost of the build."""
    unavailable: dict[str, int]
    """Layer -> requested observations that could not be planned because no archive answered."""
    inputs: dict[str, str]
    splits: dict[str, int]
    extract: str | None = None
    vectors: dict[str, str] = field(default_factory=dict)
    """Layer of the user's own vectors -> file name of what is prepared of them in the work folder; left out of the file
    where there is none."""
    notes: tuple[str, ...] | list[str] = ()
    parts: int = 1
    """Partitions: files of each table."""
    attributes: dict[str, AttributeType] = field(default_factory=dict)
    """Name -> type of what samples carry along from the points file; left out of the file where there is none."""
    shared: list[dict[str, Any]] = field(default_factory=list)
    """Ground that splits share: 'split', 'other', 'samples', 'share'; left out of the file where there is none."""
    leaks: list[dict[str, Any]] = field(default_factory=list)
    """Splits that overlap or how near they come: 'split', 'other', 'pairs', 'nearest_m'; left out of the file where
    there is none."""
    layers: dict[str, LayerFound] = field(default_factory=dict)
    """Layer -> requested and found observations, and reasons; {} in older plans."""
    bounds: list[float] = field(default_factory=list)
    """West, south, east, north of the samples' centres, degrees; west > east where they cross the antimeridian; [] in
    plans made before it was kept."""
    shard_samples: int = 256
    """Rows of a shard; plans that do not say it were made when the recipe's default was this."""
    version: int = PLAN_VERSION


def read_summary(folder: Path) -> PlanSummary | None:
    """plan.json, or None if there is no plan.

    Raises:
        PlanError: the plan is of another version or damaged.
    """
    path = folder / PLAN_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(read_regular(path))
        version = content.get("version")
        if version != PLAN_VERSION:
            raise PlanError(
                f"{folder.name}/{path.name}: the plan has version {version}, this landweave reads {PLAN_VERSION}: "
                "plan again, into another folder"
            )
        layers = {name: LayerFound.from_json(stated) for name, stated in content.pop("layers", {}).items()}
        cost = Estimate.from_json(content.pop("estimate"))
        return PlanSummary(**content, layers=layers, estimate=cost)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise damaged(path, error) from None


def read_recipe_of(folder: Path) -> Recipe:
    """The resolved recipe that the plan was made from.

    Raises:
        PlanError: it is missing or damaged.
    """
    path = folder / "recipe.json"
    try:
        return Recipe.model_validate_json(read_regular(path))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


SUBFOLDERS = ("samples", "scenes", "candidates", "absences", "parts")
"""Of a plan's folder."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Turns errors of reading a plan's table into one line.

    Raises:
        DamagedPlanError: the file is missing or damaged.
    """
    try:
        yield
    except (OSError, pa.ArrowException, KeyError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception | None = None) -> DamagedPlanError:
    """Message about an unreadable file of the plan; `error` states the fault of its content."""
    plan = path.parent.parent if path.parent.name in SUBFOLDERS else path.parent
    state = f"is damaged ({_why(path, error)})" if path.exists() else "is missing"
    return DamagedPlanError(f"{path.relative_to(plan.parent).as_posix()} {state}: {COPIED_IN_PART}")


def _why(path: Path, error: Exception | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (
        "it is empty"
        if not path.stat().st_size
        else "it cannot be read"
        if error is None
        else (str(error).splitlines() or ["?"])[0][:200]
    )


def write_summary(folder: Path, summary: PlanSummary) -> None:
    """Write plan.json: the last step, after which the folder is a plan."""
    content = {k: v for k, v in vars(summary).items() if v or k not in ("attributes", "shared", "leaks", "vectors")}
    content["estimate"] = summary.estimate.json()
    content["layers"] = {name: layer.json() for name, layer in summary.layers.items()}
    write_durably(folder / PLAN_FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")
