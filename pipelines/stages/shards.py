"""Build shards on Beam: shard numbers in, one report a shard out."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.assemble import Factory
from pipelines.journal import LimitReached
from pipelines.shards import FullError, arrive

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Built:
    """What became of one shard."""

    shard: int
    """Shard number."""
    samples: int
    """Samples in the catalogue."""
    error: str | None = None
    """Traceback of a mistake of ours, or one line where the world failed the builder; None = built."""
    left: str | None = None
    """Why it was not begun (a limit of the run), or None."""


class BuildShards(beam.PTransform):  # type: ignore[misc] # apache_beam has no types
    """Shard numbers -> `Built`. A shard that fails is reported and does not hold the others.

    Args:
        out: folder or URL of the dataset, which holds the plan.
        workers: processes that build at once: they divide the providers' limits among them.
    """

    def __init__(self, out: str, workers: int = 1) -> None:
        super().__init__()
        self.out, self.workers = out, workers

    def expand(self, shards: beam.PCollection[int]) -> beam.PCollection[Built]:
        """Spread the shards over the workers and build each where it lands."""
        return shards | "spread" >> beam.Reshuffle() | "build" >> beam.ParDo(_BuildShard(self.out, self.workers))


class _BuildShard(beam.DoFn):  # type: ignore[misc] # apache_beam has no types
    def __init__(self, out: str, workers: int) -> None:
        super().__init__()
        self.out, self.workers = out, workers
        self.factory: Factory | None = None

    def setup(self) -> None:
        """Open what all shards of this worker share."""
        self.factory = Factory.open(arrive(self.out), self.workers)

    def process(self, shard: int) -> Iterator[Built]:
        """Build one shard."""
        assert self.factory is not None  # noqa: S101 - setup() ran
        try:
            samples = self.factory.build(shard)
        except LimitReached as limit:
            Metrics.counter("landweave", "shards_left").inc()
            yield Built(shard=shard, samples=0, left=str(limit))
        except FullError as error:
            yield Built(shard=shard, samples=0, error=str(error))
        except Exception:  # noqa: BLE001 - a mistake of ours in one shard must not hold the others
            Metrics.counter("landweave", "shards_failed").inc()
            yield Built(shard=shard, samples=0, error=traceback.format_exc())
        else:
            Metrics.counter("landweave", "shards_built").inc()
            Metrics.counter("landweave", "samples").inc(samples)
            yield Built(shard=shard, samples=samples)

    def teardown(self) -> None:
        """Let go of connections."""
        if self.factory is not None:
            self.factory.close()
