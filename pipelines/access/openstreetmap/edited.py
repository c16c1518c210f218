"""The day of the last edit of each near object, kept beside the small files that osmium assembles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LETTERS = "nwr"
"""Node, way, relation: first letter of an osm_id."""
_DAY_S = 86_400


def rows_of(letter: str, ids: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, 2) rows of the working file `edited`: a number for each object, and the day of its edit since 1970-01-01.

    Args:
        letter: of `LETTERS`.
        ids: (n,) ids of objects.
        times: (n,) seconds since 1970-01-01; 0 = not known.
    """
    return np.column_stack([ids * len(LETTERS) + LETTERS.index(letter), times // _DAY_S])


def latest(own: NDArray[np.int64], parts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) time of an object or of the newest of its parts; 0 (not known) where its own is not known.

    Args:
        own: (n,) times of the objects, seconds since 1970-01-01.
        parts: times of the parts, one object's behind the other's; 0 = not known.
        sizes: (n,) parts of each.
    """
    found = own.copy()
    some = np.flatnonzero(sizes)
    if len(some):
        found[some] = np.maximum(own[some], np.maximum.reduceat(parts, (np.cumsum(sizes) - sizes)[some]))
    found[own == 0] = 0
    return found


@dataclass(frozen=True)
class EditDays:
    """The days of the last edits; 16 bytes per object."""

    rows: NDArray[np.int64]
    """From `rows_of`, in any order."""

    def __post_init__(self) -> None:
        """Sort the rows by object."""
        object.__setattr__(self, "rows", self.rows[np.argsort(self.rows[:, 0], kind="stable")])

    def of(self, osm_ids: Sequence[str]) -> list[int | None]:
        """Day of the last edit of each object ('w123'), since 1970-01-01; None where it is not known."""
        wanted = np.array([int(one[1:]) * len(LETTERS) + LETTERS.index(one[0]) for one in osm_ids], np.int64)
        if not len(self.rows):
            return [None] * len(wanted)
        at = np.minimum(np.searchsorted(self.rows[:, 0], wanted), len(self.rows) - 1)
        days = np.where(self.rows[at, 0] == wanted, self.rows[at, 1], 0)
        return [day or None for day in days.tolist()]
