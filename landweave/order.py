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
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from landweave.errors import QueryError, whole_number

if TYPE_CHECKING:
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
        self, shards: NDArray[np.int64], epoch: int, weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Indexes into the selection, in the order of that epoch.

        Args:
            shards: (samples,) shard of each sample of the selection.
            epoch: 0, 1, ...
            weights: (samples,) how often to draw each, relative to the others; None: each once.
        """
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        drawn = np.arange(len(shards)) if weights is None else _drawn(weights, rng)
        if not self.shuffle or not len(drawn):
            return drawn
        _, first, where = np.unique(shards[drawn], return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[rng.permutation(len(first))] = np.arange(len(first))
        window = rank[where] // self.mix
        return drawn[np.lexsort((rng.permutation(len(drawn)), window))]

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
