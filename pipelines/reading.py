"""Tries the candidates of requested layers, best first, until each request is decided.

The rules hold for sensors and labels alike, and make the result a function of the plan:
- A temporary failure (429, 5xx, resets, timeouts, refused credentials) that outlived its retries makes the layer
  absent, with that reason. No other candidate replaces it, so that a later run of the same plan gives the same bytes as
  a clean run.
- Providers are chosen at planning, in the recipe's order, and the plan names them. Reading never goes to another
  provider for the same product: its copy has other bytes (another COG, another offset), and the content of a dataset
  must not depend on the time. A later run (--retry-failed) requests undelivered data from the same provider.
- A permanent failure (404, corrupt, wrong grid, an item whose pixels contradict it) drops the candidate; the next one
  is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from pipelines.access.errors import AccessError
from schemas.outcome import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.access.chips import Chip, ChipReader, ChipRequest
    from schemas.scene import Scene

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Attempts(Generic[T]):
    """What was tried for one layer of one sample, and what is left to try."""

    sample_id: str
    layer: str
    slot: int
    """Date slot, 0-based; 0 if static."""
    waiting: list[tuple[Scene, ...]]
    """Scenes of the candidates not tried yet, best first."""
    failed: list[Outcome] = field(default_factory=list)
    """Why candidates were dropped."""
    result: T | Outcome | None = None
    """What was obtained, or why nothing is; None = not decided."""

    def absent(self, scenes: Sequence[Scene], reason: Reason, detail: str) -> Outcome:
        """The ledger's row for an absent layer; `scenes`: those that were tried last."""
        return Outcome(
            sample_id=self.sample_id,
            layer=self.layer,
            slot=self.slot,
            reason=reason,
            provider=scenes[0].provider if scenes else None,
            item_ids=tuple(s.item_id for s in scenes),
            detail=detail,
        )

    def drop(self, scenes: Sequence[Scene], reason: Reason, detail: str) -> None:
        """A candidate cannot be used; the next one is tried."""
        self.failed.append(self.absent(scenes, reason, detail))

    def fail(self, scenes: Sequence[Scene], error: AccessError) -> None:
        """A candidate could not be read: a temporary failure decides the request, a permanent one drops it."""
        if not error.reason.retryable:
            self.drop(scenes, error.reason, error.detail)
        elif self.result is None:
            self.result = self.absent(scenes, error.reason, error.detail)


A = TypeVar("A", bound=Attempts)  # type: ignore[type-arg] # of whatever layer


def decide(
    requests: Sequence[A],
    read: Callable[[list[tuple[A, tuple[Scene, ...]]]], None],
    exhausted: Callable[[A], Outcome],
) -> None:
    """Read the next candidate of every request that is not decided, until all are.

    Args:
        requests: each gets its `result`.
        read: reads these candidates, neighbours together, and settles or drops each.
        exhausted: the outcome of a request that has no candidate left.
    """
    while pending := [r for r in requests if r.result is None]:
        turn = []
        for request in pending:
            if request.waiting:
                turn.append((request, request.waiting.pop(0)))
            else:
                request.result = exhausted(request)
        read(turn)


def read_chips(
    wanted: Sequence[tuple[str, Sequence[ChipRequest]]], reader: Callable[[str], ChipReader]
) -> list[list[Chip] | AccessError]:
    """Chips from several providers.

    Args:
        wanted: provider and chips of each candidate.
        reader: provider name -> its reader (`Archives.reader`).

    Returns:
        Of each entry all its chips, or the failure that decides: a temporary one before a permanent one.
    """
    results: list[list[Chip] | AccessError] = [[] for _ in wanted]
    for provider in sorted({name for name, _ in wanted}):
        flat = [(i, request) for i, (name, found) in enumerate(wanted) if name == provider for request in found]
        chips = reader(provider).read_chips([request for _, request in flat])
        for (i, _), chip in zip(flat, chips, strict=True):
            so_far = results[i]
            if isinstance(chip, AccessError):
                if not isinstance(so_far, AccessError) or (chip.reason.retryable and not so_far.reason.retryable):
                    results[i] = chip
            elif not isinstance(so_far, AccessError):
                so_far.append(chip)
    return results
