"""Objects of an extract that nothing refers to: many of them tell that the file was cut short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SAMPLE = 1 << 18


class Loose:
    """Share of untagged objects without a reference to them, estimated from a small sample."""

    def __init__(self) -> None:
        self._every = 1
        self._ids: list[NDArray[np.int64]] = []
        self._kept = 0
        self._sorted: NDArray[np.int64] | None = None
        self._used: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def add(self, ids: NDArray[np.int64]) -> None:
        """Objects without tags, before any `refer`."""
        ids = self._sampled(ids)
        self._ids.append(ids)
        self._kept += len(ids)
        while self._kept > _SAMPLE:
            self._every *= 2
            self._ids = [self._sampled(np.concatenate(self._ids))]
            self._kept = len(self._ids[0])

    def refer(self, ids: NDArray[np.int64]) -> None:
        """Ids that something refers to."""
        mine, ids = self._all(), self._sampled(ids)
        if not len(mine) or not len(ids):
            return
        at = np.minimum(np.searchsorted(mine, ids), len(mine) - 1)
        self._used[at[mine[at] == ids]] = True

    def count(self) -> tuple[int, int]:
        """(objects in the sample that nothing refers to, objects in the sample)."""
        mine = self._all()
        return len(mine) - int(np.count_nonzero(self._used)), len(mine)

    def state(self) -> dict[str, Any]:
        """The state for `go_on`."""
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *self._ids]) if self._sorted is None else self._sorted
        used = None if self._sorted is None else np.flatnonzero(self._used).tolist()
        return {"every": self._every, "ids": ids.tolist(), "used": used}

    def go_on(self, state: dict[str, Any]) -> None:
        """Take over the state that `state` of another object returned."""
        self._every, self._ids = state["every"], [np.array(state["ids"], dtype=np.int64)]
        self._kept = len(self._ids[0])
        if state["used"] is not None:
            self._all()
            self._used[np.array(state["used"], dtype=np.int64)] = True

    def _sampled(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return ids if self._every == 1 else ids[(ids // 7) % self._every == 0]

    def _all(self) -> NDArray[np.int64]:
        if self._sorted is None:
            self._sorted = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *self._ids]))
            self._used = np.zeros(len(self._sorted), dtype=np.bool_)
        return self._sorted
