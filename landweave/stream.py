"""Streams batches of a selection in a fixed order, decoded ahead of use."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Required

import numpy as np

from landweave.batch import Batch, Loading, OnError
from landweave.epochs import Epochs, Turn
from landweave.errors import QueryError, whole_number
from landweave.notebook import table_html
from landweave.order import EpochRandom, Remainder
from landweave.timing import Timing
from landweave.view import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from landweave.batch import Source
    from landweave.layout import ArraySpec
    from landweave.order import Batches, Order
    from landweave.positions import Positions

_AHEAD, _FAR_AHEAD, _FAR_BYTES = 2, 6, 512_000_000
"""Batches that are read ahead; the most of them from a URL, where they take no more decoded bytes than this: with 6, a
link of 500 MB/s with late answers is nine tenths full, with 2 two thirds (docs/loading.md)."""
_ORDER = 2
"""Version of the shuffled order: an epoch of another version has other batches."""


class StreamSettings(ViewSettings, total=False):
    """Keywords of `Dataset.stream`, as a call takes them; `landweave.order.Order` explains those added here."""

    batch_size: Required[int]
    shuffle: bool
    seed: int
    mix: int
    remainder: Remainder


class Share(NamedTuple):
    """The part of an epoch that one worker of one rank reads."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1


class _Place:
    """Position of an iterator."""

    def __init__(self, turn: Turn) -> None:
        self.go_to(turn)

    def go_to(self, turn: Turn) -> None:
        self.epoch, self.start, self.next = turn


class Stream:
    """Batches of a selection as dicts of numpy arrays.

    Keys: each array's path with `(n, [time,] [band,] y, x)`; '<group>/present' with (n, slots) bool; 'id' with a list
    of n sample ids; 'position', number of batches of this rank so far, with this one. Absent observations hold nodata
    and are False in present. By setting: '<group>/slot' (n, slots) stored date slot of each date, -1 for none;
    '<group>/held_back' (n,) True where the modality was removed; 'crop_m' (n, 2) metres right of and below the
    footprint's corner; catalogue columns by name.

    An iterator runs one epoch and keeps its own position: each `for batch in stream` is a full epoch, even if the last
    one was broken off. The first batch of an iterator increases the number of the next epoch. Only `load_state_dict`
    lets the next iterator start elsewhere. Memory of a batch is reused only when no array or view of it is left
    (`landweave.buffers`).
    """

    def __init__(
        self,
        source: Source,
        positions: Positions,
        order: Order,
        weights: NDArray[np.float64] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.source = source
        """Source and content of its batches."""
        self._positions, self._weights = positions, weights
        self.order = order
        """Order of the samples."""
        self.on_error = on_error
        """Action for a damaged sample: 'raise' stops, 'skip' leaves it out of its batch and counts it."""
        self.skipped: list[tuple[str, str]] = []
        """(sample id, error) of the damaged samples that were left out since the stream was made."""
        self.epochs = Epochs()
        """Start of the next iterator."""
        self._share = Share()
        self._place: _Place | None = None
        self.threads: int | None = None
        """Threads that read ahead; None: the number of cores (of the worker) minus one for the iterating thread,
        at least one if nothing else reads ahead; for a URL the number of cores; 0: none. While it waits for a batch of
        a local disk, the iterating thread decodes too. From a URL all bytes of a batch are asked for at once, whatever
        the number of threads."""
        self.prefetch: int | None = None
        """Batches that are read ahead. None: 2; up to 6 while something is asked from a URL, where they take at most
        512 MB decoded in all workers together: a batch with a late answer must not leave the link idle."""
        self.timing = Timing()
        """Who makes the trainer wait: print it after an epoch."""

    def _repr_html_(self) -> str:
        """In a notebook: what a batch holds."""
        size = self.order.batch_size
        heading = f"Stream of {len(self._positions)} samples in batches of {size}" + (", shuffled" * self.order.shuffle)
        rows = [(a.path, (size, *a.sample_shape), a.dtype, a.unit) for a in self.arrays]
        return table_html(heading, ("array", "stored shape", "stored dtype", "unit"), rows)

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """Content of each batch."""
        return tuple(s.array for s in self.source.shown)

    @property
    def epoch(self) -> int:
        """The epoch that the next iterator runs."""
        return self.epochs.coming.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iterator. It starts at the state's position if that is in this epoch."""
        if self.epoch != whole_number("epoch", epoch):
            self.go_to(Turn(int(epoch)))

    def go_to(self, turn: Turn) -> None:
        """Set the start of the next iterator."""
        self.epochs.set(turn)
        self._place = None

    def share(self, *, rank: int = 0, ranks: int = 1, worker: int = 0, workers: int = 1) -> Stream:
        """Take the part of one worker of one rank; returns self."""
        if not 0 <= worker < workers:
            raise QueryError(f"worker {worker} is outside 0..{workers - 1}")
        self.order.batches(0, rank, ranks)
        self._share = Share(rank, ranks, worker, workers)
        return self

    def __len__(self) -> int:
        """Batches of an epoch for each rank."""
        return len(self._batches(self._share))

    def _batches(self, share: Share) -> Batches:
        found = self.order.batches(len(self._positions), share.rank, share.ranks)
        if not len(found):
            raise QueryError(
                f"{len(self._positions)} samples are too few for a batch of {self.order.batch_size} on each of "
                f"{share.ranks} ranks: use a smaller batch_size or remainder='share' (it is {self.order.remainder!r})"
            )
        return found

    def state_dict(self) -> dict[str, Any]:
        """Position of the iterator that started last, to continue after its last batch.

        Before the first iterator, and after `set_epoch` or `load_state_dict`: the start of the next one. The state also
        records the samples and all settings of their order.
        """
        place = self._place or self.epochs.coming
        start = place.next if self._share.workers == 1 else place.start
        return {"epoch": place.epoch, "start": start, "next": place.next, **self._fitting()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator continue from `state_dict()`; after the last batch of an epoch, with the next epoch.

        {'epoch': e, 'position': batch['position']} is a state for any number of workers, and may hold other keys of
        `state_dict()`; after the last batch its epoch is finished, and the next iterator ends immediately.

        Raises:
            QueryError: the state is incomplete, or was saved with other samples, another order or number of ranks.
        """
        turn = self.turn_of(state)
        over = turn.next >= len(self) and "position" not in state and self._share.workers == 1
        self.go_to(Turn(turn.epoch + 1) if over else turn)

    def turn_of(self, state: Mapping[str, Any]) -> Turn:
        """Start of an iterator that continues from a state; see `load_state_dict`."""
        mine = self._fitting()
        needed = _needed(state, mine)
        lacking = [name for name in needed if name not in state]
        if lacking:
            raise QueryError(
                f"the state lacks {', '.join(lacking)}: pass a result of state_dict(), or "
                f"{{'epoch': e, 'position': batch['position']}}; it has {sorted(map(str, state)) or 'nothing'}"
            )
        for name, value in mine.items():
            if state.get(name, value) != value:
                raise QueryError(f"the state was saved with {name} {state[name]}, but this stream has {value}")
        names = ("epoch", "position", "position") if "position" in state else ("epoch", "start", "next")
        turn = Turn(*(whole_number(name, state[name]) for name in names))
        if turn.next > len(self):
            raise QueryError(f"the state is at batch {turn.next} of an epoch of {len(self)} batches")
        return turn

    def _fitting(self) -> dict[str, Any]:
        """The settings that a state and a stream must share."""
        order = self.order
        return {
            "order": _ORDER,
            "seed": order.seed,
            "ranks": self._share.ranks,
            "batch_size": order.batch_size,
            "shuffle": order.shuffle,
            "mix": order.mix,
            "remainder": order.remainder,
            "weights": self._checksums[1],
            "dataset": self.source.spec.name,
            "samples": len(self._positions),
            "selection": self._checksums[0],
        }

    @cached_property
    def _checksums(self) -> tuple[str, str]:
        """Checksums of the samples, their places and order, and of the weights."""
        weights = "none" if self._weights is None else f"{zlib.crc32(self._weights.tobytes()):08x}"
        return f"{self.source.catalogue.checksum(self._positions):08x}", weights

    def __iter__(self) -> Iterator[Batch]:
        return self.run()

    def run(
        self, turn: Turn | None = None, source: Source | None = None, settle: Callable[[Turn], Turn] | None = None
    ) -> Iterator[Batch]:
        """An iterator.

        Args:
            turn: its start; None: the next start when its first batch is requested.
            source: source of the batches, if not the stream's own.
            settle: called with `turn` when the first batch is requested; returns the start to use instead.
        """
        place = None if turn is None else _Place(turn)
        self._place = place or self._place
        return self._run(place, source or self.source, self._share, settle)

    def _run(
        self, place: _Place | None, source: Source, share: Share, settle: Callable[[Turn], Turn] | None
    ) -> Iterator[Batch]:
        if place is None:
            place = self._place = _Place(self.epochs.take())
        elif settle is not None:
            place.go_to(settle(Turn(place.epoch, place.start, place.next)))
        threads = self._threads(share.workers)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="landweave") if threads else None
        ahead: deque[tuple[int, Loading]] = deque()
        wanted = self._wanted(Turn(place.epoch, place.start, place.next), share)
        random = EpochRandom(self.order.seed, place.epoch)
        given, timing, remote = 0, self.timing, source.reader.store.remote
        most = prefetch = self._ahead(source, share.workers)
        try:
            while True:
                asked = perf_counter()
                while len(ahead) <= (min(given, prefetch) if pool else 0):  # the first batch waits for no other
                    number, positions = next(wanted, (-1, None))
                    if positions is None:
                        break
                    loading = Loading(source, positions, random, pool)
                    ahead.append((number, loading.start(threads) if pool or remote else loading))
                    prefetch = most if loading.far or self.prefetch is not None else _AHEAD
                if not ahead:
                    break
                number, loading = ahead.popleft()
                loading.drain()
                batch, skipped = loading.result(self.on_error)
                timing.add(*loading.timings)
                del loading
                self.skipped += skipped
                given += 1
                place.next = number + 1
                batch["position"] = number + 1
                handed = perf_counter()
                timing.add(Timing(1, handed - asked))
                yield batch
                del batch
                timing.trainer_s += perf_counter() - handed
        finally:
            for _, loading in ahead:
                loading.stop()
            if pool is not None:
                # threads may wait for a store that does not answer: nobody needs what they would bring
                pool.shutdown(wait=not remote, cancel_futures=True)

    def _wanted(self, turn: Turn, share: Share) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """(number, positions) of the remaining batches of a worker."""
        sequence = self.order.sequence(self.source.catalogue.runs(self._positions), turn.epoch, self._weights)
        batches = self._batches(share)
        for number in range(turn.next, len(batches)):
            if (number - turn.start) % share.workers == share.worker:
                which = np.arange(batches[number].start, batches[number].stop) % max(1, len(sequence))
                yield number, self._positions[sequence[which]]

    def _ahead(self, source: Source, workers: int) -> int:
        """Batches that are read ahead, in each of these workers."""
        if self.prefetch is not None:
            return self.prefetch
        if not source.reader.store.remote:
            return _AHEAD
        batch = max(1, source.sample_bytes * self.order.batch_size)
        return max(_AHEAD, min(_FAR_AHEAD, _FAR_BYTES // (batch * workers)))

    def _threads(self, workers: int) -> int:
        if self.threads is not None:
            return self.threads
        if self.source.reader.store.remote:
            return cores()
        least = 1 if workers == 1 else 0
        return max(least, cores() // workers - 1)


def _needed(state: Any, fitting: Mapping[str, Any]) -> tuple[str, ...]:
    """Checks that a state has all its keys."""
    if not isinstance(state, Mapping):
        raise QueryError(f"a state must be a dict from state_dict(), got {type(state).__name__}")
    return ("epoch", "position") if "position" in state else ("epoch", "start", "next", *fitting)


def cores() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
