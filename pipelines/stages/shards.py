"""Builds shards on Beam: takes shard numbers, returns one report per shard."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.cycles import settled
from pipelines.shards import arrive
from pipelines.worker import attempt, open_worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.worker import Built, Worker


class BuildShards(beam.PTransform):  # type: ignore[misc] # apache_beam has no types
    """Shard numbers -> `Built`. A shard that fails is reported and does not hold the others.

    Args:
        out: folder or URL of the dataset, which holds the plan.
        workers: processes that build at once: they divide the providers' limits among them.
        queue: folder with an empty file for each shard, named by its number: who is free takes the next. For Beam's
            local runner, which deals all shards out at the start, so that those behind a slow one would wait while
            other processes idle. Elsewhere None: a shard that a dead worker had taken would not come back.
    """

    def __init__(self, out: str, workers: int = 1, queue: str | None = None) -> None:
        super().__init__()
        self.out, self.workers, self.queue = out, workers, queue

    def expand(self, shards: beam.PCollection[int]) -> beam.PCollection[Built]:
        """Distribute the shards over the workers; each worker builds the shards that it receives."""
        spread = shards | "spread" >> beam.Reshuffle()
        if self.queue is not None:
            spread = spread | "take" >> beam.FlatMap(_taken, self.queue)
        return spread | "build" >> beam.ParDo(_BuildShard(self.out, self.workers))


def fill_queue(queue: Path, shards: Iterable[int]) -> None:
    """Make a queue for `BuildShards`."""
    queue.mkdir()
    for shard in shards:
        (queue / str(shard)).touch()


def _taken(_: int, queue: str) -> Iterator[int]:
    """Shards of the queue while there are any, each when the last is built: removing its file succeeds for one only."""
    while names := os.listdir(queue):  # noqa: PTH208 - names are all that is needed
        shard = min(map(int, names))
        try:
            Path(queue, str(shard)).unlink()
        except FileNotFoundError:
            continue
        yield shard


class _BuildShard(beam.DoFn):  # type: ignore[misc] # apache_beam has no types
    def __init__(self, out: str, workers: int) -> None:
        super().__init__()
        self.out, self.workers = out, workers
        self.factory: Worker | None = None
        self.held: ExitStack | None = None

    def setup(self) -> None:
        """Open what all shards of this worker share."""
        self.held = ExitStack()
        self.held.enter_context(settled())
        self.factory = open_worker(arrive(self.out), self.workers)

    def process(self, shard: int) -> Iterator[Built]:
        """Build one shard."""
        assert self.factory is not None  # noqa: S101 - setup() ran
        built = attempt(self.factory, shard)
        Metrics.counter("landweave", f"shards_{built.state}").inc()
        Metrics.counter("landweave", "samples").inc(built.samples)
        yield built

    def teardown(self) -> None:
        """Close connections."""
        if self.factory is not None:
            self.factory.close()
        if self.held is not None:
            self.held.close()
