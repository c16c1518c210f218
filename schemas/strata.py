"""Strata of samples: the values of attributes, numbers in bins; and subsets that keep their distribution."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from schemas.strict import MisplacedError, Strict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

STRATUM = "stratum"
"""The stratum that a sample of `sampling.kind: draw` was drawn from (`sampling.balance`)."""
_Named = Annotated[str, Field(pattern=r"^(stratum|attr_[A-Za-z][A-Za-z0-9_]{0,63})$")]


class Binned(Strict):
    """An attribute of numbers, cut into bins."""

    by: _Named = Field(description="attr_ and the name of an attribute")
    quantiles: int | None = Field(
        default=None, ge=2, le=1_000, description="number of bins, each with about the same number of samples"
    )
    bins: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1_000,
        description="edges between the bins, ascending: [50, 100] makes three bins; a value on an edge is in the bin "
        "above it",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.quantiles is None) == (self.bins is None):
            raise ValueError(f"{self.by}: give `quantiles: 10` or `bins: [50, 100]`, one of the two")
        for low, high in itertools.pairwise(self.bins or ()):
            if not low < high:
                raise ValueError(f"{self.by}: bins must ascend, found {low:g} before {high:g}")
        if not all(math.isfinite(edge) for edge in self.bins or ()):
            raise ValueError(f"{self.by}: bins must be finite numbers")
        return self


def _form(given: object) -> str:
    return "a text" if isinstance(given, str) else BINNED


BINNED = "a column in bins"
"""Tag of `Binned`."""
StratumBy = Annotated[
    Annotated[_Named, Tag("a text")] | Annotated[Binned, Tag(BINNED)],
    Discriminator(_form),
]
"""What a stratum is named by: an attribute, or one of numbers in bins."""


def name_of(by: StratumBy) -> str:
    """'attr_biome', or 'stratum'."""
    return by.by if isinstance(by, Binned) else by


def _once(given: tuple[StratumBy, ...]) -> tuple[StratumBy, ...]:
    names = [name_of(by) for by in given]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice")
    return given


StrataBy = Annotated[tuple[StratumBy, ...], Field(max_length=4), AfterValidator(_once)]
"""Attributes whose values (combinations of them) are strata."""


class Subset(Strict):
    """Some of the samples, with the distribution of all: in each split and stratum the same share of the samples."""

    count: int | None = Field(default=None, gt=0, le=100_000_000, description="number of samples to keep")
    fraction: float | None = Field(default=None, gt=0, le=1, description="share of the samples to keep, 0 to 1")
    keep: StrataBy = Field(
        default=(),
        description="attributes whose joint distribution is kept, together with that of the splits: [attr_biome, "
        "{ by: attr_agbd, quantiles: 10 }]",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.count is None) == (self.fraction is None):
            raise ValueError("give `count` (of samples) or `fraction` (0 to 1), one of the two")
        return self

    def kept(self, samples: int) -> int:
        """Samples that are asked for of so many: at least one, and with `count` perhaps more than there are."""
        return self.count or max(1, round((self.fraction or 1.0) * samples))


def check_strata(
    where: tuple[str, ...], given: Sequence[StratumBy], known: Collection[str], *, balanced: bool, hint: str
) -> None:
    """Attributes that strata are named by must be there.

    Args:
        where: key of the recipe that names them.
        given: what it names.
        known: attributes that samples have by then, without attr_.
        balanced: whether samples are drawn from strata.
        hint: where such attributes come from.

    Raises:
        MisplacedError: names the first that is not there.
    """
    there = [f"attr_{name}" for name in known] + ([STRATUM] if balanced else [])
    for by in given:
        name = name_of(by)
        if name not in there:
            has = ", ".join(there) or "none"
            why = "needs sampling.balance" if name == STRATUM else hint
            raise MisplacedError(f"{name} is no attribute of the samples here (there are: {has}); {why}", where)
