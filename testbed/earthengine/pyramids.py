"""Coarser levels of an asset, as in the service: each pixel is made of 2 x 2 pixels of the finer level."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def level_of(columns: NDArray[np.float64], rows: NDArray[np.float64]) -> int:
    """Level of the pyramid for pixel positions on the finest one: the coarsest that is not coarser than the grid.

    https://developers.google.com/earth-engine/guides/scale: 'the pyramid level with the closest scale less than or
    equal to the scale specified'.
    """
    steps = []
    for axis in (0, 1):
        if columns.shape[axis] > 1:
            dx, dy = np.diff(columns, axis=axis), np.diff(rows, axis=axis)
            length = np.hypot(dx, dy)
            steps.append(float(np.median(length[np.isfinite(length)])) if np.isfinite(length).any() else 1.0)
    step = min(steps, default=1.0)
    return max(0, math.floor(math.log2(step) + 1e-6)) if step > 0 else 0


def coarser(values: Array, good: NDArray[np.bool_], level: int, policy: str) -> tuple[Array, NDArray[np.bool_]]:
    """`level` times 2 x 2 pixels into one; the window starts on a corner of that level's lattice."""
    for _ in range(level):
        values, good = _halved(values, good, policy)
    return values, good


def _halved(values: Array, good: NDArray[np.bool_], policy: str) -> tuple[Array, NDArray[np.bool_]]:
    pad = [(0, n % 2) for n in values.shape]
    values, good = np.pad(values, pad), np.pad(good, pad)
    four = np.stack([values[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    valid = np.stack([good[i::2, j::2] for i in (0, 1) for j in (0, 1)])
    some: NDArray[np.bool_] = np.asarray(valid.any(axis=0))
    if policy == "sample":
        return four[0], valid[0]
    if policy == "mode":
        votes = np.stack([((four == four[k]) & valid).sum(axis=0) * valid[k] for k in range(4)])
        return np.take_along_axis(four, votes.argmax(axis=0)[None], axis=0)[0], some
    total = np.where(valid, four, 0).astype(np.float64).sum(axis=0)
    mean = np.divide(total, valid.sum(axis=0), out=np.zeros_like(total), where=some)
    return (np.round(mean) if values.dtype.kind in "iu" else mean).astype(values.dtype), some
