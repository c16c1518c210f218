"""The order in which samples are met: a pure function of (seed, epoch), shared out among ranks and workers.

* The order of an epoch is one sequence for all ranks. Shuffled: shards in random order, in windows of `mix` shards; the
  samples of a window are shuffled together. So at most `mix` shards are in use at a time, and neighbours mix.
* A step is the next `ranks * batch_size` samples of the sequence; rank r takes the r-th batch of it. The same global
  batch at any number of ranks with the same `ranks * batch_size`, and the same sequence always.
* Every sample comes once an epoch and every rank gets the same number of batches. What is left for the last step is
  dealt evenly (sizes differ by one at most); where fewer samples are left than there are ranks, the last two steps are
  dealt evenly together. Where even that leaves a rank without a sample, `remainder` must say 'drop' or 'repeat'.
* Workers of a rank take its batches in turn, so that a DataLoader sees one order for any number of workers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landweave.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue
    from landweave.layout import ArraySpec
    from landweave.shard import ShardReader

Remainder = Literal["share", "drop", "repeat"]
Batch = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Everything that decides which sample comes when."""

    batch_size: int
    """Samples of a batch."""
    shuffle: bool = False
    """False: the selection's own order."""
    seed: int = 0
    """Of the shuffle."""
    mix: int = 8
    """Shards whose samples are shuffled together."""
    remainder: Remainder = "share"
    """'share': each sample once, the last batches smaller. 'drop': full batches only. 'repeat': full batches, the
    first samples come again at the end."""

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.mix < 1 or self.seed < 0:
            raise QueryError(f"batch_size and mix must be at least 1 and seed at least 0, got {self}")

    def sequence(self, shards: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Indexes into the selection, in the order of that epoch.

        Args:
            shards: (samples,) shard of each sample of the selection.
            epoch: 0, 1, ...
        """
        if not self.shuffle:
            return np.arange(len(shards))
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        _, first, where = np.unique(shards, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[rng.permutation(len(first))] = np.arange(len(first))
        window = rank[where] // self.mix
        return np.lexsort((rng.permutation(len(shards)), window))

    def batches(self, samples: int, rank: int, ranks: int) -> list[slice]:
        """Slices of the sequence: the batches of one rank in an epoch.

        Raises:
            QueryError: the rule of `remainder` cannot be kept for so few samples.
        """
        if not 0 <= rank < ranks:
            raise QueryError(f"rank {rank} is outside 0..{ranks - 1}")
        step = self.batch_size * ranks
        full, left = divmod(samples, step)
        if self.remainder == "repeat" and left:
            full, left = full + 1, 0
        sizes = [self.batch_size] * (full * ranks)
        if left and self.remainder == "share":
            if left < ranks and full:
                sizes, left = sizes[:-ranks], left + step
            steps = -(-left // step)
            base, more = divmod(left, steps * ranks)
            sizes += [base + (i < more) for i in range(steps * ranks)]
            if base == 0:
                raise QueryError(
                    f"{samples} samples in batches of {self.batch_size} leave some of {ranks} ranks without a batch; "
                    "choose remainder='drop' or remainder='repeat'"
                )
        ends = np.cumsum([0, *sizes])
        return [slice(int(ends[i]), int(ends[i + 1])) for i in range(rank, len(sizes), ranks)]


class Stream:
    """Batches of a selection as dicts of numpy arrays.

    Keys: each array's path with (n, [time,] [band,] y, x); '<group>/present' with (n, slots) bool; 'id' with a list of
    n sample ids; 'position', how many batches of the rank have come with this one. Absent observations hold nodata and
    are False in present: no batch without its mask.

    `for batch in stream` runs one epoch, `stream.epoch`, and moves to the next at its end.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        reader: ShardReader,
        positions: NDArray[np.int64],
        arrays: tuple[ArraySpec, ...],
        order: Order,
    ) -> None:
        self._catalogue, self._reader, self._positions = catalogue, reader, positions
        self.arrays = arrays
        """What each batch holds."""
        self.order = order
        """Which sample comes when."""
        self.epoch = 0
        """The epoch that the next iteration runs."""
        self.rank, self.ranks, self.worker, self.workers = 0, 1, 0, 1
        self.threads = 2
        """Threads that read and decode the samples of a batch; 0 or 1 = none."""
        self._start = self._next = 0

    def share(self, *, rank: int = 0, ranks: int = 1, worker: int = 0, workers: int = 1) -> Stream:
        """Take the part of one worker of one rank; returns itself."""
        if not 0 <= worker < workers:
            raise QueryError(f"worker {worker} is outside 0..{workers - 1}")
        self.order.batches(0, rank, ranks)
        self.rank, self.ranks, self.worker, self.workers = rank, ranks, worker, workers
        return self

    def __len__(self) -> int:
        """Batches of an epoch for each rank."""
        return len(self.order.batches(len(self._positions), self.rank, self.ranks))

    def state_dict(self) -> dict[str, int]:
        """Where it stands: enough to go on after the last batch that came, with as many ranks."""
        start = self._next if self.workers == 1 else self._start
        return {"epoch": self.epoch, "start": start, "next": self._next, "seed": self.order.seed, "ranks": self.ranks}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from `state_dict()`, or from {'epoch': e, 'position': batch['position']} with any number of workers.

        Raises:
            QueryError: the state was taken with another seed or number of ranks.
        """
        for key, mine in (("seed", self.order.seed), ("ranks", self.ranks)):
            if state.get(key, mine) != mine:
                raise QueryError(f"the state was taken with {key} {state[key]}, this stream has {mine}")
        self.epoch = state["epoch"]
        self._next = int(state["position"] if "position" in state else state["next"])
        self._start = int(state.get("start", self._next))

    def __iter__(self) -> Iterator[Batch]:
        shards = self._catalogue.where[self._positions, 0]
        sequence = self.order.sequence(shards, self.epoch)
        batches = self.order.batches(len(sequence), self.rank, self.ranks)
        pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None
        try:
            for number in range(self._next, len(batches)):
                if (number - self._start) % self.workers == self.worker:
                    wanted = np.arange(batches[number].start, batches[number].stop) % max(1, len(sequence))
                    batch = self._read(self._positions[sequence[wanted]], pool)
                    self._next = number + 1
                    yield {**batch, "position": number + 1}
        finally:
            if pool is not None:
                pool.shutdown()
        self.epoch, self._start, self._next = self.epoch + 1, 0, 0

    def _read(self, positions: NDArray[np.int64], pool: ThreadPoolExecutor | None) -> Batch:
        ids = self._catalogue.light["id"].take(positions).to_pylist()
        where = self._catalogue.where[positions]
        batch: Batch = {"id": ids}
        jobs = []
        for array in self.arrays:
            present = self._catalogue.presence(array.group)[positions]
            batch[f"{array.group}/present"] = present
            out = batch[array.path] = np.empty((len(ids), *array.sample_shape), array.dtype)
            for i, sample in enumerate(ids):
                slots = "".join("1" if there else "0" for there in present[i])
                jobs.append((array, (int(where[i, 0]), int(where[i, 1])), slots, out[i], sample))
        if pool is None:
            for job in jobs:
                self._reader.read(*job)
        else:
            for done in [pool.submit(self._reader.read, *job) for job in jobs]:
                done.result()
        return batch
