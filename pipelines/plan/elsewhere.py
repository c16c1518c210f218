"""Plans partitions on an engine: the folder that tells workers which plan is under way, and what each worker does."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pipelines.access.archives import Archives
from pipelines.durable import read_regular, write_durably
from pipelines.passes import is_pass
from pipelines.plan.dataset import plan_part, seldom_collecting
from pipelines.tables import (
    PLAN_FILE,
    PLAN_FOLDER,
    WORK_FOLDER,
    PlanError,
    facts_of,
    growing_of,
    read_part,
    read_recipe_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Engine = Callable[[Path, Sequence[int], Callable[[], None]], list[str]]
    """Gives the folder of a planning and the numbers of partitions to workers, and calls the function now and then
    meanwhile; returns a text for each partition that failed."""

PLANNING = f"{WORK_FOLDER}/planning"
"""Folder of a planning on an engine in the dataset's, with the log of local workers; removed when all is planned."""
_KIND = "planning"
"""What its plan file says that it is of."""
_MOST_BYTES = 4096
"""Of that file."""


def plan_elsewhere(
    out: Path, parts: Sequence[int], engine: Engine, progress: Callable[[int], None], *, again: bool
) -> None:
    """Plan partitions on an engine; returns when all are planned.

    Args:
        out: the dataset's folder, on a file system that all workers share; the places of the plan are written.
        parts: numbers of the partitions.
        engine: who plans them.
        progress: called with the number of partitions of `parts` that are planned.
        again: whether partitions of the whole plan in `out` are completed; otherwise they are planned from nothing.

    Raises:
        DamagedPlanError: the plan under way is damaged.
        PlanError: a partition was not planned; the finished ones stay.
    """
    growing = growing_of(out / PLAN_FOLDER)
    folder = out / PLANNING
    shutil.rmtree(folder, ignore_errors=True)
    (folder / WORK_FOLDER).mkdir(parents=True)
    write_durably(folder / PLAN_FOLDER / PLAN_FILE, json.dumps({"kind": _KIND, "again": again}) + "\n")
    lacking = set(parts)

    def watch() -> None:
        lacking.difference_update([part for part in lacking if facts_of(growing, part) is not None])
        progress(len(parts) - len(lacking))

    failed = engine(folder, parts, watch)
    watch()
    if lacking:
        read_part(growing, min(lacking))  # where the plan under way is damaged, planning begins again
        why = failed[0].strip() if failed else "the engine ended without them"
        numbers = ", ".join(str(part) for part in sorted(lacking)[:8]) + (", ..." if len(lacking) > 8 else "")
        raise PlanError(f"{len(lacking):,} of {len(parts):,} partitions were not planned ({numbers}); run again\n{why}")


def end_planning(out: Path) -> None:
    """Remove what plannings on an engine have left in a dataset's folder; all is planned."""
    shutil.rmtree(out / PLANNING, ignore_errors=True)


def is_planning(out: Path) -> bool:
    """Whether a folder is one of a planning on an engine, and not of a dataset that is planned."""
    return is_pass(out, _KIND)


@dataclass(frozen=True)
class PlanWorker:
    """Plans partitions, one after the other; holds the archives that they share."""

    out: Path
    """The dataset's folder, in which the plan grows."""
    plan: Path
    """Where the plan will be."""
    archives: Archives
    again: bool
    """Whether partitions of the plan that is there are completed."""

    @classmethod
    def open(cls, out: Path, workers: int = 1) -> Self:
        """Open the folder of a planning.

        Args:
            out: the folder.
            workers: processes that share the archives.

        Raises:
            PlanError: there is no plan under way.
            SettingError: an environment variable is missing.
        """
        dataset = out.resolve().parents[1]
        plan = dataset / PLAN_FOLDER
        again = bool(json.loads(read_regular(out / PLAN_FOLDER / PLAN_FILE, _MOST_BYTES))["again"])
        recipe = read_recipe_of(growing_of(plan))
        archives = Archives(recipe.providers, workers=workers, locks=dataset / WORK_FOLDER / "workers")
        return cls(dataset, plan, archives, again)

    def build(self, part: int) -> int:
        """Plan a partition; returns the number of searches that it took."""
        with seldom_collecting():
            facts = plan_part(
                growing_of(self.plan), part, self.archives, lambda _: None, self.plan if self.again else None
            )
        return int(facts["searches"])

    def close(self) -> None:
        """End threads and connections."""
        self.archives.close()
