"""Opens what builds the shards of a folder: of a planned dataset, or of a pass over a finished one.

A planning on an engine is such a folder too: its partitions go to workers as shards do."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pipelines.access.errors import SettingError
from pipelines.assemble import Factory
from pipelines.fusion.job import KIND as FUSION
from pipelines.journal import LimitReached
from pipelines.passes import is_pass
from pipelines.plan import PlanWorker, is_planning
from pipelines.shards import FullError, LandweaveError, room_needed
from pipelines.tables import PlanError
from pipelines.texts.errors import TextsError
from pipelines.texts.job import KIND as TEXTS

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Built:
    """Result of building one shard."""

    shard: int
    """Shard number."""
    samples: int = 0
    """Samples in the catalogue."""
    error: str | None = None
    """Traceback of a bug in landweave, or one line about another failure; None = built."""
    left: str | None = None
    """Why it was not begun (a limit of the run), or None."""

    @property
    def state(self) -> Literal["built", "failed", "left"]:
        """Result of the shard, in words."""
        return "failed" if self.error is not None else "built" if self.left is None else "left"


class Worker(Protocol):
    """Builds shards, one after the other; holds what they share."""

    @property
    def out(self) -> Path:
        """The folder."""
        ...

    def build(self, index: int, /) -> int:
        """Build and publish one shard; returns its samples."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def open_worker(out: Path, workers: int = 1) -> Worker:
    """Open a folder with a plan for building.

    Args:
        out: the folder.
        workers: processes that share the archives.

    Raises:
        PlanError: there is no usable plan.
        SettingError: an environment variable is missing.
    """
    if is_planning(out):
        return PlanWorker.open(out, workers)
    if is_pass(out, FUSION):
        from pipelines.fusion.worker import FusionWorker

        return FusionWorker(out)
    if is_pass(out, TEXTS):
        from pipelines.texts.worker import TextWorker

        return TextWorker(out, workers)
    return Factory.open(out, workers)


_NOT_OURS = (FullError, LandweaveError, PlanError, SettingError, TextsError)
"""A full disk, a damaged plan, a damaged dataset that labels or texts are added to, a model's endpoint that refuses or
is silent."""


def attempt(worker: Worker, index: int) -> Built:
    """Build and publish one shard; any error is part of the result, so that the other shards continue."""
    try:
        with room_needed(worker.out):
            return Built(index, worker.build(index))
    except LimitReached as limit:
        return Built(index, left=str(limit))
    except _NOT_OURS as error:
        return Built(index, error=str(error))
    except Exception:  # noqa: BLE001 - a bug in one shard must not stop the others
        return Built(index, error=traceback.format_exc())
