"""The order of samples in an epoch: a pure function of (seed, epoch), split between ranks and workers.

* The order of an epoch is one sequence for all ranks. Shuffled: shards in random order, in windows of `mix` shards; the
  samples of a window are shuffled together. So at most `mix` shards are in use at a time, and neighbours mix.
* With weights, an epoch has as many samples as the selection, and each is drawn in proportion to its weight; only the
  rounding up or down is random.
* A step is the next `ranks * batch_size` samples of the sequence; rank r takes the r-th batch of it. The same global
  batch at any number of ranks with the same `ranks * batch_size`, and the same sequence always.
* Every sample comes once per epoch and every rank gets the same number of batches. What is left for the last step is
  dealt evenly (sizes differ by one at most); where fewer samples are left than there are ranks, the last two steps are
  dealt evenly together. Where even that leaves a rank without a sample, `remainder` must say 'drop' or 'repeat'.
* Workers of a rank take its batches in turn, so that a DataLoader sees one order for any number of workers.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from landweave.errors import QueryError, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Remainder = Literal["share", "drop", "repeat"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """All settings that decide the order of samples."""

    batch_size: int
    """Samples per batch."""
    shuffle: bool = False
    """False: the selection's own order."""
    seed: int = 0
    """Seed of the shuffle, and of all random choices per sample."""
    mix: int = 8
    """Shards whose samples are shuffled together."""
    remainder: Remainder = "share"
    """'share': each sample once, the last batches smaller. 'drop': full batches only. 'repeat': full batches, the
    first samples come again at the end."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("mix", 1), ("seed", 0)):
            whole_number(name, getattr(self, name), least)
        if not isinstance(self.shuffle, (bool, np.bool_)):
            raise QueryError(f"shuffle must be True or False, got {self.shuffle!r}")
        if self.remainder not in ("share", "drop", "repeat"):
            raise QueryError(f"remainder must be 'share', 'drop' or 'repeat', got {self.remainder!r}")

    def sequence(
        self, shards: Runs | NDArray[np.int64], epoch: int, weights: NDArray[np.float64] | None = None
    ) -> Sequence:
        """Indexes into the selection, in the order of that epoch; made window by window as they are asked for.

        Args:
            shards: (samples,) shard of each sample of the selection, or the same as runs.
            epoch: 0, 1, ...
            weights: (samples,) how often to draw each, relative to the others; None: each once.
        """
        runs = shards if isinstance(shards, Runs) else Runs.of(shards)
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        drawn = None if weights is None else _drawn(weights, rng)
        if drawn is not None:
            runs = runs.drawn(drawn)
        return Sequence(runs, drawn, (self.seed, epoch), self.mix if self.shuffle else 0, rng)

    def batches(self, samples: int, rank: int, ranks: int) -> Batches:
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
        last: list[int] = []
        if left and self.remainder == "share":
            if left < ranks and full:
                full, left = full - 1, left + step
            steps = -(-left // step)
            base, more = divmod(left, steps * ranks)
            last = [base + (i < more) for i in range(steps * ranks)]
            if base == 0:
                raise QueryError(
                    f"{samples} samples in batches of {self.batch_size} leave some of {ranks} ranks without a batch; "
                    "choose remainder='drop' or remainder='repeat'"
                )
        return Batches(self.batch_size, full, last, rank, ranks)


class Batches:
    """The batches of one rank in an epoch, as slices of the sequence."""

    def __init__(self, size: int, full: int, last: list[int], rank: int, ranks: int) -> None:
        """Describe them.

        Args:
            size: samples of a full batch.
            full: steps of full batches.
            last: samples of each batch of the last steps, by step and rank.
            rank: whose batches.
            ranks: number of ranks.
        """
        self._size, self._full, self._rank, self._ranks = size, full, rank, ranks
        self._ends = np.cumsum([full * ranks * size, *last]).tolist()

    def __len__(self) -> int:
        return int(self._full + (len(self._ends) - 1) // self._ranks)

    def __iter__(self) -> Iterator[slice]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> slice:
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = number * self._ranks + self._rank
        if number < self._full:
            return slice(place * self._size, (place + 1) * self._size)
        place -= self._full * self._ranks
        return slice(self._ends[place], self._ends[place + 1])


class Runs(NamedTuple):
    """The samples of a selection by shard."""

    ends: NDArray[np.int64]
    """(shards,) number of samples in each shard and those before it, in order of their numbers; none is empty."""
    sorter: NDArray[np.int64] | None = None
    """(samples,) indexes into the selection, by shard; None: the selection is in this order."""

    @classmethod
    def of(cls, shards: NDArray[np.int64]) -> Runs:
        """Runs of (samples,) shard numbers in any order."""
        sorter = None if (shards[1:] >= shards[:-1]).all() else np.argsort(shards, kind="stable")
        ordered = shards if sorter is None else shards[sorter]
        return cls(np.append(np.flatnonzero(np.diff(ordered)) + 1, len(ordered))[: len(ordered) or 0], sorter)

    def drawn(self, drawn: NDArray[np.int64]) -> Runs:
        """Runs of samples that are drawn from these: ascending indexes, each as often as it is drawn."""
        if self.sorter is None:
            ends = np.searchsorted(drawn, self.ends)
            return Runs(ends[np.diff(ends, prepend=0) > 0])
        numbers = np.empty(len(self.sorter), np.int64)
        numbers[self.sorter] = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))
        return Runs.of(numbers[drawn])


class Sequence:
    """The order of an epoch: indexes into a selection; at most two windows of it are in memory. Not for threads."""

    def __init__(
        self,
        runs: Runs,
        drawn: NDArray[np.int64] | None,
        seed: tuple[int, int],
        mix: int,
        rng: np.random.Generator,
    ) -> None:
        """Decide the order of the shards.

        Args:
            runs: the samples by shard.
            drawn: (samples,) which sample of the selection each is; None: they are the selection.
            seed: seed and epoch.
            mix: shards of a window; 0: no shuffling.
            rng: decides the order of the shards.
        """
        self._runs, self._drawn, self._seed, self._mix = runs, drawn, seed, mix
        self._length = int(runs.ends[-1]) if len(runs.ends) else 0
        if mix:
            self._shards = rng.permutation(len(runs.ends))
            counts = np.diff(runs.ends, prepend=0)[self._shards]
            self._ends = np.add.reduceat(counts, np.arange(0, len(counts), mix)).cumsum() if len(counts) else counts
        self._windows: dict[int, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return iter(self[:].tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __getitem__(self, which: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) indexes into the selection at these places of the sequence."""
        places = np.arange(self._length)[which] if isinstance(which, slice) else which
        if self._mix:
            numbers = np.searchsorted(self._ends, places, side="right")
            found = np.empty(len(places), np.int64)
            for number in sorted(set(numbers.tolist())):
                inside = numbers == number
                first = int(self._ends[number - 1]) if number else 0
                found[inside] = self._window(number)[places[inside] - first]
            places = found
        elif self._drawn is not None:
            places = self._drawn[places]
        return np.asarray(places, np.int64)

    def _window(self, number: int) -> NDArray[np.int64]:
        """The samples of a window of shards, shuffled together."""
        known = self._windows.get(number)
        if known is None:
            ends = self._runs.ends
            chosen = self._shards[number * self._mix : (number + 1) * self._mix]
            known = np.concatenate([np.arange(ends[i - 1] if i else 0, ends[i]) for i in chosen.tolist()])
            rng = np.random.Generator(np.random.PCG64([*self._seed, number]))
            known = known[rng.permutation(len(known))]
            known = known if self._runs.sorter is None else self._runs.sorter[known]
            known = known if self._drawn is None else self._drawn[known]
            while len(self._windows) > 1:
                del self._windows[next(iter(self._windows))]
            self._windows[number] = known
        return known


def _drawn(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Indexes drawn in proportion to the weights, as many as there are weights (systematic sampling)."""
    total = float(weights.sum()) if len(weights) else 0.0
    if not len(weights):
        return np.arange(0)
    marks = np.searchsorted(np.cumsum(weights), (np.arange(len(weights)) + rng.random()) * (total / len(weights)))
    last = int(np.flatnonzero(weights)[-1])
    return np.minimum(marks, last)


class EpochRandom(NamedTuple):
    """Random choices of one epoch: the same for any number of ranks and workers, and in any batch."""

    seed: int = 0
    epoch: int = 0

    def uniform(self, purpose: str, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) numbers in [0, 1), one per sample; each purpose has its own.

        splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) of the sample's position.
        """
        salt = zlib.crc32(f"{self.seed}/{self.epoch}/{purpose}".encode())
        z = _mixed(np.asarray(positions).astype(np.uint64) + np.uint64(1) + _mixed(np.array([salt], np.uint64)))
        return np.asarray((z >> np.uint64(11)).astype(np.float64) / float(1 << 53))


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
