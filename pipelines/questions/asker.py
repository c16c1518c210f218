"""One sample, as the questions about it are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.asked import NOWHERE, QUANTITIES, UNTOLD, answered
from landweave.facts import COMMON
from pipelines.questions.candidate import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.asked import Quantity, Query, Scene, Value
    from pipelines.questions.candidate import Family
    from pipelines.questions.dice import Dice
    from pipelines.questions.sources import Images, Sources

_LEAST_THERE = 3.0


@dataclass
class Asker:
    """One sample, on its way to questions."""

    scene: Scene
    dice: Dice
    sources: Sources
    looks: tuple[str, ...] = field(init=False)
    """The image that land cover is asked of: the first optical date that is there, else the first radar date."""
    _count: int = 0

    def __post_init__(self) -> None:
        images = [i for i in (self.sources.optical, self.sources.radar) if i is not None]
        self.looks = next((there[:1] for i in images if (there := self.present(i))), ())

    def present(self, images: Images) -> tuple[str, ...]:
        """Its dates that are there, as 'layer/slot'."""
        slots = range(images.slots)
        return tuple(f"{images.group}/{s}" for s in slots if self.scene.reads.time(images.group, s) is not None)

    def measured(self, quantity: Quantity) -> float | None:
        """A quantity of the sample."""
        return QUANTITIES[quantity.what](self.scene, quantity)

    def value(self, query: Query) -> Value | None:
        """The answer to a query."""
        found = answered(query, self.scene)
        return None if found is None else found.value

    def there(self, label: str) -> list[str]:
        """Land covers with at least 3 percent of the scene."""
        shares = self.scene.shares(label)
        if shares is None:
            return []
        counts = shares.sum(axis=(0, 1))[1:]
        return [COMMON[i + 1] for i in np.flatnonzero(counts >= _LEAST_THERE / 100 * max(1, counts.sum()))]

    def candidate(self, family: Family, query: Query, layers: tuple[str, ...], **more: Any) -> Candidate | None:
        """The question, or None if the sample does not answer it."""
        found = answered(query, self.scene)
        if found is None or (found.value in (UNTOLD, NOWHERE) and not family.shares):
            return None
        self._count += 1
        key = more.pop("key", "") or str(found.value)
        tolerance = query.margin or (query.step / 2 if query.op in ("number", "difference") else 0.0)
        made = Candidate(
            family=family, query=query, found=found, layers=layers, noun=int(self.dice.roll(f"noun/{self._count}") * 3),
            key=key, tolerance=tolerance, **more,
        )  # fmt: skip
        return made if not made.balance or key in made.balance else None

    def dialogue(self, turns: Sequence[Candidate]) -> Candidate | None:
        """The first turn with those that follow it, all in the same nouns but the last."""
        return turns[0]._replace(follows=tuple(turns[1:])) if turns else None
