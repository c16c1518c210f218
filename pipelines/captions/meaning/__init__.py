"""What a clause claims: one handler for each name in `frames.txt`, in the module of its subject."""

from __future__ import annotations

from inspect import isfunction
from typing import TYPE_CHECKING

from pipelines.captions.meaning import comparisons, ground, objects, places, presence, ranks, scene, shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from landweave.claims import Claim
    from pipelines.captions.meaning.clause import Clause

_SUBJECTS = (comparisons, ground, objects, places, presence, ranks, scene, shares)

HANDLERS: dict[str, Callable[[Clause], list[Claim] | None]] = {
    name: made
    for subject in _SUBJECTS
    for name, made in vars(subject).items()
    if isfunction(made) and made.__module__ == subject.__name__ and not name.startswith("_")
}
"""Name in `frames.txt` -> handler: the public function of this name."""
HANDLERS |= {"sum": shares.share, "range": ground.heights}
