"""Samples into shards by place, so that the samples of one shard share scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sampling.splits import SPLITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from schemas.place import Place
    from schemas.recipe import Shards

_STEP_M = 250.0
"""Resolution of the curve: a UTM zone (1,000 km x 10,000 km) and UPS (4,000 km) fit into 2**16 steps."""
_BITS = 16


def pack(places: Sequence[Place], shards: Shards) -> list[list[Place]]:
    """Shards of at most `shards.samples` places each; a place's row is its position in the shard.

    A shard holds one split only: training streams whole shards, and test data can be kept away from it. Within a
    split, samples follow zone after zone the Hilbert curve of their CRS, and every full `shards.samples` of them make
    a shard; only the last shard of a split may hold fewer. The order of `places` does not matter.

    Returns:
        shards of train, then val, then test.
    """
    if not places:
        return []
    curve = hilbert(
        np.array([(p.geobox.x_min + p.geobox.x_max) / 2.0 for p in places]),
        np.array([(p.geobox.y_min + p.geobox.y_max) / 2.0 for p in places]),
    )
    keyed = sorted((SPLITS.index(p.split), p.geobox.epsg, c, p.sample_id) for p, c in zip(places, curve, strict=True))
    by_id = {p.sample_id: p for p in places}
    packed: list[list[Place]] = []
    for code in range(len(SPLITS)):
        ordered = [by_id[key[3]] for key in keyed if key[0] == code]
        packed += [ordered[i : i + shards.samples] for i in range(0, len(ordered), shards.samples)]
    return packed


def hilbert(x: NDArray[np.float64], y: NDArray[np.float64]) -> list[int]:
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
    return [int(p) for p in position]
