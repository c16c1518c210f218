"""plan.json: what stands in a plan, for people and for checks."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.tables.records import PLAN_VERSION, PlanError
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from schemas.attribute import AttributeType


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
    """Layer -> wishes that could not even be planned because the archive did not answer."""
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
    shard_samples: int = 256
    """Rows of a shard; plans that do not say it were made when the recipe's default was this."""
    version: int = PLAN_VERSION

    def text(self) -> str:
        """The plan as lines for a person."""
        e = self.estimate
        lines = [
            f"samples   {self.samples:,} in {self.shards:,} shards ("
            + ", ".join(f"{name} {count:,}" for name, count in self.splits.items())
            + ")",
            "left out  " + (", ".join(f"{k.replace('_', ' ')} {v:,}" for k, v in self.left_out.items()) or "none"),
            "scenes    " + (", ".join(f"{k} {v:,}" for k, v in self.scenes.items()) or "none"),
            f"searches  {self.searches:,} requests",
            f"to fetch  about {e['requests']:,.0f} requests, {e['bytes'] / 1e6:,.1f} MB",
            f"to build  about {_duration(e['seconds'])} with one worker",
        ]
        if "earthengine_requests" in e:
            least, most = e["earthengine_eecu_hours_least"], e["earthengine_eecu_hours_most"]
            lines.append(
                f"at Earth Engine  about {e['earthengine_requests']:,.0f} requests, "
                f"{e['earthengine_bytes'] / 1e6:,.1f} MB, {e['earthengine_eecu_hours']:,.3g} EECU-hours "
                f"({least:,.3g} to {most:,.3g}: no prices are published), "
                f"{_duration(3600 * e['earthengine_hours'])} at the quota"
            )
        if self.attributes:
            lines.append("carried   " + ", ".join(f"{name} {kind}" for name, kind in self.attributes.items()))
        lines += [f"note      {note}" for note in self.notes]
        lines += [
            f"missing   {k}: {v:,} wishes could not be planned, the archive did not answer"
            for k, v in self.unavailable.items()
        ]
        return "\n".join(lines)


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


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
                f"{path.name}: the plan has version {version}, this landweave writes {PLAN_VERSION}: plan again"
            )
        return PlanSummary(**content)
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise PlanError(f"{path.name}: damaged ({error}); delete the plan folder and plan again") from None


def read_recipe_of(folder: Path) -> Recipe:
    """The resolved recipe that the plan was made from."""
    return Recipe.model_validate_json((folder / "recipe.json").read_text())


def write_summary(folder: Path, summary: PlanSummary) -> None:
    """Write plan.json: the last step, which makes a plan of a folder."""
    aside = folder / ".plan.json"
    content = {k: v for k, v in dataclasses.asdict(summary).items() if v or k not in ("attributes", "shared")}
    aside.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    aside.replace(folder / "plan.json")
