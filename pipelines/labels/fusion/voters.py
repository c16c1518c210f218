"""One voter per family of products: maps of one producer become one symbol per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.labels.fusion.priors import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BINS = (0.5, 0.7)
"""Edges between low, middle and high probability of a product that has probabilities."""
MIDDLE = 0.6
"""Stands for a probability that is not known: that of a map of classes in a family with soft ones."""


@dataclass(frozen=True, kw_only=True)
class Voter:
    """The form of a family's symbols. Symbol 0 is 'no vote'."""

    family: str
    """Name of the family: 'worldcover'."""
    means: NDArray[np.uint8]
    """(symbols,) class that a symbol stands for in the common taxonomy; 0 = none."""

    @property
    def size(self) -> int:
        """Number of symbols with 'no vote'."""
        return len(self.means)


def voter(family: str, maps: int, *, probabilities: bool = False, native: NDArray[np.uint8] | None = None) -> Voter:
    """The voter of a family.

    Args:
        family: its name.
        maps: how many maps it has: years or dates.
        probabilities: its maps come with the probability of their class.
        native: (codes,) class of each native code, for a single map in its own codes; native code 0 is 'no vote'.

    Raises:
        ValueError: native codes for several maps.
    """
    if native is not None:
        if maps != 1:
            raise ValueError(f"{family}: native codes are for one map, found {maps} maps")
        return Voter(family=family, means=np.concatenate([[0], native[1:]]).astype(np.uint8))
    kinds = (1 if maps == 1 else 3 if maps == 2 else 2) * (len(BINS) + 1 if probabilities else 1)
    return Voter(family=family, means=np.tile(np.arange(CLASSES, dtype=np.uint8), kinds))


def symbols(
    form: Voter,
    maps: Sequence[NDArray[np.unsignedinteger]],
    probabilities: Sequence[NDArray[np.floating]] | None = None,
) -> NDArray[np.uint16]:
    """Symbols of the pixels, in the shape of the maps.

    One map: its class. Two: the first map's class, and whether the second says the same, something else or nothing.
    More: the class that most name (of equals the one named by the earlier map), and whether at least two name it. With
    probabilities, also the bin of their mean over the maps that name the class.

    Args:
        form: the voter.
        maps: codes of the common taxonomy, or native codes of one map; 0 = none. The map nearest to the image first.
        probabilities: 0..1, of each map's class, in the same shape; NaN = not known.
    """
    first = np.asarray(maps[0])
    if form.size <= int(first.max(initial=0)):
        raise ValueError(f"{form.family}: code {int(first.max())} has no place among {form.size} symbols")
    if len(maps) == 1:
        chosen, kind = first, np.zeros(first.shape, np.intp)
    elif len(maps) == 2:
        second = np.asarray(maps[1])
        chosen = np.where(first > 0, first, second)
        kind = np.where((first == 0) | (second == 0), 0, np.where(first == second, 1, 2))
    else:
        chosen, count = _mode(np.stack([np.asarray(m) for m in maps]))
        kind = (count >= 2).astype(np.intp)
    if probabilities is not None:
        kind = kind * (len(BINS) + 1) + np.digitize(_mean(maps, probabilities, chosen), BINS)
    return np.where(chosen > 0, chosen + CLASSES * kind, 0).astype(np.uint16)


def _mode(stack: NDArray[np.unsignedinteger]) -> tuple[NDArray[np.unsignedinteger], NDArray[np.intp]]:
    counts = np.stack([((stack == one) & (one > 0)).sum(axis=0) for one in stack])
    best = counts.argmax(axis=0)
    return np.take_along_axis(stack, best[None], 0)[0], np.take_along_axis(counts, best[None], 0)[0]


def _mean(
    maps: Sequence[NDArray[np.unsignedinteger]],
    probabilities: Sequence[NDArray[np.floating]],
    chosen: NDArray[np.unsignedinteger],
) -> NDArray[np.float64]:
    total, count = np.zeros(chosen.shape), np.zeros(chosen.shape)
    for one, probability in zip(maps, probabilities, strict=True):
        same = (one == chosen) & np.isfinite(probability)
        total += np.where(same, probability, 0)
        count += same
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), MIDDLE))
