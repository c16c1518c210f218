"""Candidates that are admitted one after the other: none on ground that is already taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sampling import candidates
from sampling.overlap import OccupiedGround, up_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sampling.candidates import Candidates
    from sampling.splits import Assignment


_CROWDED = 20_000
"""Candidates in a row without free ground, after which the area counts as full."""
_TOGETHER = 262_144
"""Approximate candidates per round: many, so that the index of the ground is rarely rebuilt."""
_ROUNDS = 12
"""Times that the split buffer's losses are made up for before fewer samples than asked for are accepted."""


class Pool:
    """Candidates admitted so far: pulled from a stream as they are needed, none on ground already taken."""

    def __init__(self, stream: Iterator[Candidates], ground: OccupiedGround | None, left_out: dict[str, int]) -> None:
        self.exhausted = False
        self._stream = stream
        self._ground = ground
        self._left_out = left_out
        self._admitted = candidates.nothing()
        self._rest: list[Candidates] = []
        self._refused_in_a_row = 0

    def grow_to(self, target: int | None) -> Candidates:
        """At least `target` admitted candidates (all if None), or fewer if there are no more."""
        parts, count = [self._admitted], len(self._admitted)
        while not self.exhausted and (target is None or count < target):
            batches = self._rest or self._pulled(_TOGETHER if target is None else min(target - count, _TOGETHER))
            self._rest = []
            if not batches:
                self.exhausted = True
                break
            parts.append(self._admit(batches, None if target is None else target - count))
            count += len(parts[-1])
        self._admitted = candidates.nothing()
        self._admitted = candidates.joined(parts)
        return self._admitted

    def _pulled(self, enough: int) -> list[Candidates]:
        """The stream's next batches, together at least `enough` candidates; [] at its end."""
        batches: list[Candidates] = []
        while sum(len(b) for b in batches) < enough and (batch := next(self._stream, None)) is not None:
            batches.append(batch)
        return batches

    def _admit(self, batches: list[Candidates], at_most: int | None) -> Candidates:
        """Admits several batches at once, with the same result as one after the other."""
        together = candidates.joined(batches)
        free = np.ones(len(together), dtype=bool) if self._ground is None else self._ground.free(together.footprints)
        free = up_to(free, at_most)
        done = 0
        for number, batch in enumerate(batches, 1):
            answer = free[done : done + len(batch)]
            done += len(answer)
            last = np.flatnonzero(answer)
            self._refused_in_a_row = (
                len(answer) - 1 - int(last[-1]) if len(last) else self._refused_in_a_row + len(answer)
            )
            self.exhausted = at_most is not None and self._refused_in_a_row >= _CROWDED
            if len(answer) < len(batch):
                self._rest = [batch.take(slice(len(answer), None)), *batches[number:]]
            elif self.exhausted or done == len(free):
                self._rest = batches[number:]
            if self.exhausted or done == len(free):
                break
        free = free[:done]
        self._left_out["overlap"] += int((~free).sum())
        admitted = together.take(np.flatnonzero(free))
        if self._ground is not None:
            self._ground.occupy(admitted.footprints)
        return admitted


def chosen_from(
    pool: Pool, wanted: int | None, divided: Callable[[Candidates], Assignment]
) -> tuple[Candidates, Assignment]:
    """Candidates and their splits, enough of them that `wanted` are left once the buffer has been kept."""
    target = wanted
    for _ in range(_ROUNDS):
        chosen = pool.grow_to(target)
        assignment = divided(chosen)
        kept = int(assignment.kept.sum())
        if wanted is None or kept >= wanted or pool.exhausted:
            break
        target = len(chosen) + math.ceil((wanted - kept) * 1.1 * min(len(chosen) / max(kept, 1), 4.0)) + 8
    return chosen, assignment
