"""Random numbers that depend only on (seed, purpose, index)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Purpose(IntEnum):
    """Purposes of random numbers: each has its own stream, so that no two can correlate.

    The values are part of every dataset's identity: never renumber.
    """

    POINTS = 1
    CELLS = 2
    BLOCKS = 3
    ROWS = 4
    """Order of the rows of a frame."""
    DRAWS = 5
    """Places of the samples that are drawn from a frame."""
    SPLITS = 6
    """Samples of the splits that know no ground."""
    SUBSET = 7
    """Samples of a subset."""


def uniforms(seed: int, purpose: Purpose, start: int, stop: int) -> NDArray[np.float64]:
    """Uniform numbers of the counters start..stop-1.

    Philox4x64-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405), key (seed, purpose), counter = index: row i of a
    long draw equals a draw of row i alone. numpy guarantees the raw stream of a bit generator across versions.

    Returns:
        (stop - start, 4) float64 in [0, 1), 53 random bits each.
    """
    bits = np.random.Philox(key=[seed, int(purpose)], counter=[start, 0, 0, 0])
    raw = np.asarray(bits.random_raw(4 * (stop - start)), dtype=np.uint64).reshape(-1, 4)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def ranks(seed: int, purpose: Purpose, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A random rank for every pair of integers: its place in an order shuffled by the seed.

    SplitMix64 finaliser (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), chained over seed, purpose and pair.

    Args:
        seed: the recipe's seed.
        purpose: stream.
        first: (n,) int64, e.g. signed row of a cell.
        second: (n,) int64, e.g. signed column of a cell.

    Returns:
        (n,) uint64; ties are as rare as 2**-64 a pair.
    """
    state = np.full(np.shape(first), seed, dtype=np.uint64)
    for word in (np.uint64(purpose), np.asarray(first).astype(np.uint64), np.asarray(second).astype(np.uint64)):
        state = _mixed(state ^ _mixed(np.broadcast_to(word, state.shape).astype(np.uint64)))
    return state


def scattered(seed: int, purpose: Purpose, first: NDArray[np.int64], second: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of pairs (first[i], second), 53 random bits each: `ranks` as numbers."""
    found = ranks(seed, purpose, first, np.full(len(first), second, dtype=np.int64))
    return (found >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64: add the golden gamma, then the finaliser; wraps modulo 2**64 on purpose."""
    z = value + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
