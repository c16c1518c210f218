"""Patches of a mask: the largest connected one, and run lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def largest_patch(mask: NDArray[np.bool_], lead: float = 0.0) -> tuple[int, int, int, int] | None:
    """(top, lower, left, right) of the largest patch whose pixels touch along edges; rows and columns, ends excluded.

    Args:
        mask: (y, x).
        lead: the second largest patch has at most this share of its pixels less: 0.3 = at most 70 percent of them.

    Returns:
        None if there is no patch, or the second is too large.
    """
    rows, starts, stops = _runs(mask)
    if not len(rows):
        return None
    owner = _joined(rows, starts, stops)
    sizes = np.bincount(owner, weights=stops - starts)
    order = np.sort(sizes)[::-1]
    if len(order) > 1 and order[1] > (1.0 - lead) * order[0]:
        return None
    mine = owner == int(sizes.argmax())
    return int(rows[mine].min()), int(rows[mine].max()) + 1, int(starts[mine].min()), int(stops[mine].max())


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, first column and column after the last of each run of True, in the order of the rows."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    return rows, starts, np.nonzero(steps == -1)[1]


def _joined(rows: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the patch of each run."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    row, first, last = rows.tolist(), starts.tolist(), stops.tolist()
    above = 0
    for i in range(len(row)):
        while row[above] < row[i] - 1 or (row[above] == row[i] - 1 and last[above] <= first[i]):
            above += 1
        j = above
        while j < i and row[j] == row[i] - 1 and first[j] < last[i]:
            parent[root(j)] = root(i)
            j += 1
    return np.array([root(i) for i in range(len(row))])


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths by column, of False and True in turn, the first of False: COCO's uncompressed form."""
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate(([0], ends, [flat.size]))).tolist()
    return [0, *lengths] if flat[0] else lengths


def mask_of(height: int, width: int, runs: list[int]) -> NDArray[np.bool_]:
    """(y, x) mask of run lengths.

    Raises:
        ValueError: the runs do not add up to the pixels.
    """
    if sum(runs) != height * width:
        raise ValueError(f"runs add up to {sum(runs)}, not {height} x {width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    found: Any = flat.reshape((height, width), order="F")
    return np.asarray(found)
