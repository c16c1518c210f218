"""Packs samples into shards by place, so that the samples of a shard share scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sampling.geobox import Footprints
from sampling.splits import SPLITS
from schemas.crs import is_utm_or_ups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from schemas.output import Shards
    from schemas.place import Place

_STEP_M = 250.0
"""Resolution of the curve: a UTM zone (1,000 km x 10,000 km), UPS (4,000 km) and the CRSs of countries fit into 2**16
steps."""
_BITS = 16
_AT_ONCE = 1 << 18
"""Samples whose place on the curve is computed at once: bounds memory."""
_EPSG_BITS = 17


@dataclass(frozen=True, eq=False, slots=True)
class Packed:
    """The samples of each shard, and an order in which near shards follow one another."""

    order: NDArray[np.int64]
    """(n,) sample numbers, shard after shard, in row order."""
    starts: NDArray[np.int64]
    """(shards + 1,) shard i holds order[starts[i] : starts[i + 1]]."""
    ground: NDArray[np.int64]
    """(shards,) zone and place on its curve of each shard's first sample, as one number: neighbours have near ones."""

    def __len__(self) -> int:
        """Shards."""
        return len(self.starts) - 1

    def shard(self, index: int) -> NDArray[np.int64]:
        """Sample numbers of a shard, in row order."""
        return self.order[self.starts[index] : self.starts[index + 1]]

    def neighbourhoods(self, samples: int) -> list[NDArray[np.int64]]:
        """Shard numbers in groups of about `samples` samples on neighbouring ground, all splits together.

        A group's shards ascend; groups follow zones and curve.
        """
        order = np.argsort(self.ground, kind="stable")
        ends = np.cumsum(np.diff(self.starts)[order])
        group = (ends - 1) // samples
        return [np.sort(part) for part in np.split(order, np.flatnonzero(np.diff(group)) + 1)]


def packed(
    footprints: Footprints, split: NDArray[np.int8], names: Callable[[NDArray[np.int64]], list[str]], at_most: int
) -> Packed:
    """Shards of at most `at_most` samples each; a sample's row is its position in the shard.

    A shard holds one split only: training streams whole shards, and test data can be kept away from it. Within a
    split, samples follow zone after zone the Hilbert curve of their CRS (then their ids), and every full `at_most` of
    them make a shard; only the last shard of a split may hold fewer. Shards of train come first, then val, then test.
    The order of the footprints does not matter.

    Args:
        footprints: (n,) samples.
        split: (n,) place in SPLITS.
        names: sample numbers -> sample ids.
        at_most: samples in a shard.
    """
    key = np.empty(len(footprints), dtype=np.int64)
    for begin in range(0, len(key), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        some, half = footprints.take(part), footprints.size_m / 2.0
        own = ~is_utm_or_ups(some.epsg)  # coordinates of countries may be below zero: they come after the others
        x, y = (np.where(own, np.mod(c, _STEP_M * 2**_BITS), c) for c in (some.x_min + half, some.y_max - half))
        curve = hilbert(x, y)
        zone = (split[part].astype(np.int64) << _EPSG_BITS) + some.epsg
        key[part] = (zone << (2 * _BITS)) + curve
    order = np.argsort(key, kind="stable")
    key = key[order]
    twins = np.flatnonzero(key[1:] == key[:-1])
    for run in np.split(twins, np.flatnonzero(np.diff(twins) > 1) + 1) if len(twins) else ():
        places = slice(int(run[0]), int(run[-1]) + 2)
        named = sorted(zip(names(order[places]), order[places].tolist(), strict=True))
        order[places] = [number for _, number in named]
    sizes = np.bincount(split, minlength=len(SPLITS)).tolist()
    begins = np.cumsum([0, *sizes])
    starts = [np.arange(b, b + size, at_most) for b, size in zip(begins.tolist(), sizes, strict=False)]
    first = np.concatenate([*starts, [len(order)]]).astype(np.int64)
    return Packed(order, first, key[first[:-1]] & ((1 << (_EPSG_BITS + 2 * _BITS)) - 1))


def pack(places: Sequence[Place], shards: Shards) -> list[list[Place]]:
    """`packed` for Places: the places of each shard, in row order."""
    if not places:
        return []
    box = places[0].geobox
    footprints = Footprints(
        epsg=np.array([p.geobox.epsg for p in places], dtype=np.int32),
        x_min=np.array([p.geobox.x_min for p in places]),
        y_max=np.array([p.geobox.y_max for p in places]),
        lon=np.array([p.lon for p in places]),
        lat=np.array([p.lat for p in places]),
        size_m=box.x_max - box.x_min,
    )
    split = np.array([SPLITS.index(p.split) for p in places], dtype=np.int8)
    size = shards.size(len(places))
    found = packed(footprints, split, lambda index: [places[i].sample_id for i in index.tolist()], size)
    return [[places[i] for i in found.shard(s).tolist()] for s in range(len(found))]


def hilbert(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions along the Hilbert curve of a 2**16 x 2**16 grid of 250 m steps from the CRS's origin.

    Places outside the grid count as on its border.
    """
    top = (1 << _BITS) - 1
    a = np.clip(np.floor(x / _STEP_M), 0, top).astype(np.int64)
    b = np.clip(np.floor(y / _STEP_M), 0, top).astype(np.int64)
    position = np.zeros_like(a)
    side = 1 << (_BITS - 1)
    while side > 0:
        right, upper = (a & side) > 0, (b & side) > 0
        position += side * side * ((3 * right) ^ upper)
        turned = ~upper & right
        a, b = np.where(turned, top - a, a), np.where(turned, top - b, b)
        a, b = np.where(upper, a, b), np.where(upper, b, a)
        side >>= 1
    return position
