"""What a worker does with one shard in either pass of a fusion."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.durable import read_regular
from pipelines.fusion.collect import collect
from pipelines.fusion.job import MODEL_FILE, Job
from pipelines.fusion.label import Labelling
from pipelines.fusion.learn import Learned
from pipelines.fusion.reading import Reading
from pipelines.passes import MOST_BYTES, base_of
from pipelines.shards.desk import keep
from pipelines.shards.finished import Finished

if TYPE_CHECKING:
    from pathlib import Path


class FusionWorker:
    """Resources that all shards of one process share."""

    def __init__(self, out: Path) -> None:
        """Open one pass.

        Args:
            out: its folder, which holds its plan; the second pass has a model too.
        """
        self.out = out
        self.reading = Reading(Finished(base_of(out)), Job.read(out))

    @cached_property
    def labelling(self) -> Labelling | None:
        """None in the first pass."""
        if not (self.out / MODEL_FILE).is_file():
            return None
        said = json.loads(read_regular(self.out / MODEL_FILE, MOST_BYTES))
        return Labelling(self.reading, Learned.of_json(said, self.reading.job))

    def build(self, shard: int) -> int:
        """Collect the statistics of a shard, or label it; returns its samples."""
        if self.labelling is not None:
            return self.labelling.build(self.out, shard)
        positions = self.reading.base.positions(shard)
        keep(self.out, statistics_file(shard), collect(self.reading, positions).to_bytes())
        return len(positions)

    def close(self) -> None:
        """Nothing is held."""


def statistics_file(shard: int) -> str:
    """Path of a shard's statistics in the folder of the first pass."""
    return f"statistics/{shard:05d}.npz"
