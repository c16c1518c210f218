"""Batches of a selection in a fixed order, decoded ahead of their use."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from landweave.batch import Batch, Loading, OnError
from landweave.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from landweave.batch import Source
    from landweave.layout import ArraySpec
    from landweave.order import Order

REMOTE_THREADS = 64
"""Threads that fetch from a URL: most of them wait for an answer."""


class Stream:
    """Batches of a selection as dicts of numpy arrays.

    Keys: each array's path with (n, [time,] [band,] y, x); '<group>/present' with (n, slots) bool; 'id' with a list of
    n sample ids; 'position', how many batches of the rank have come with this one. Absent observations hold nodata and
    are False in present: no batch without its mask. By setting: '<group>/slot' (n, slots) which stored date each is, -1
    for none; '<group>/held_back' (n,) True where the modality was taken away; 'crop_m' (n, 2) metres right of and below
    the footprint's corner; catalogue columns by name.

    `for batch in stream` runs one epoch, `stream.epoch`, and moves to the next at its end. A batch is its user's:
    memory is used again only when no array or view of it is left (`landweave.buffers`).
    """

    def __init__(
        self,
        source: Source,
        positions: NDArray[np.int64],
        order: Order,
        weights: NDArray[np.float64] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.source = source
        """Where its batches come from, and what they show."""
        self._positions, self._weights = positions, weights
        self.order = order
        """Which sample comes when."""
        self.on_error = on_error
        """What a damaged sample does: 'raise' stops, 'skip' leaves it out of its batch and counts it."""
        self.skipped: list[tuple[str, str]] = []
        """(sample id, what is wrong) of the damaged samples that were left out, since the stream was made."""
        self.epoch = 0
        """The epoch that the next iteration runs."""
        self.rank, self.ranks, self.worker, self.workers = 0, 1, 0, 1
        self.threads: int | None = None
        """Threads that read ahead; None: one for each core (of the worker's share) but the one that iterates, and at
        least one where nobody else reads ahead, or 64 for a URL; 0: none. Who waits for a batch of a local disk decodes
        what is left of it meanwhile."""
        self.prefetch = 2
        """Batches that are read ahead."""
        self._start = self._next = 0

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """What each batch holds."""
        return tuple(s.array for s in self.source.shown)

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
        threads = self._threads()
        pool = ThreadPoolExecutor(threads, thread_name_prefix="landweave") if threads else None
        ahead: deque[tuple[int, Loading]] = deque()
        wanted = self._wanted()
        try:
            while True:
                while len(ahead) <= (self.prefetch if pool else 0):
                    number, positions = next(wanted, (-1, None))
                    if positions is None:
                        break
                    loading = Loading(self.source, positions, (self.order.seed, self.epoch))
                    ahead.append((number, loading.start(pool, threads) if pool else loading))
                if not ahead:
                    break
                number, loading = ahead.popleft()
                if pool is None or not self.source.reader.store.remote:
                    loading.drain()
                batch, skipped = loading.result(self.on_error)
                del loading
                self.skipped += skipped
                self._next = number + 1
                batch["position"] = number + 1
                yield batch
                del batch
        finally:
            for _, loading in ahead:
                loading.stop()
            if pool is not None:
                pool.shutdown()
        self.epoch, self._start, self._next = self.epoch + 1, 0, 0

    def _wanted(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """(number, positions) of this worker's batches that are still to come."""
        shards = self.source.catalogue.where[self._positions, 0]
        sequence = self.order.sequence(shards, self.epoch, self._weights)
        batches = self.order.batches(len(sequence), self.rank, self.ranks)
        start = self._start
        for number in range(self._next, len(batches)):
            if (number - start) % self.workers == self.worker:
                which = np.arange(batches[number].start, batches[number].stop) % max(1, len(sequence))
                yield number, self._positions[sequence[which]]

    def _threads(self) -> int:
        if self.threads is not None:
            return self.threads
        if self.source.reader.store.remote:
            return REMOTE_THREADS
        least = 1 if self.workers == 1 else 0
        return max(least, cores() // self.workers - 1)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
