"""A question that could be asked of a sample, before it is known which are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from landweave.asked import Found, Query


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One way of asking: a task, an operation and a form."""

    name: str
    """'area.above': the key of its wording."""
    task: str
    """What it asks for."""
    form: str
    """One of `landweave.questions.FORMS`."""
    shares: Mapping[str, int] = field(default_factory=dict)
    """Answer -> how often it is asked, where chance cannot do it by itself: in each group of questions that read alike,
    a shard asks the answers in these proportions. Empty: the answer is even by the way the question is made."""


def even(pair: tuple[str, str], more: str, first: str) -> tuple[tuple[str, ...], str]:
    """(all answers, this one) of a comparison: which of a pair has more, and which of it the question names first.

    Both are balanced, so that neither the pair nor yes and no, left and right tell the answer.
    """
    return tuple(f"{a}, {b}" for a in pair for b in pair), f"{more}, {first}"


class Candidate(NamedTuple):
    """One question with its answer."""

    family: Family
    """How it is asked."""
    query: Query
    """What it asks."""
    found: Found
    """The answer."""
    layers: tuple[str, ...]
    """What to look at: 'layer' or 'layer/slot'."""
    noun: int
    """Which noun of each land cover."""
    unit: str = ""
    """What follows a number."""
    options: tuple[Any, ...] = ()
    """Values of the options of a choice."""
    alike: str = ""
    """What the words of the question tell of the answer, where answers are balanced: the land covers it names."""
    answers: tuple[str, ...] = ()
    """All answers that are balanced against one another, where the family does not say them."""
    key: str = ""
    """Which of these answers it has."""
    wording: str = ""
    """Key of the wording, where it is not the family's name."""
    follows: tuple[Candidate, ...] = ()
    """Further turns of the conversation."""
    tolerance: float = 0.0
    """How far the data may be from what the answer says."""

    @property
    def balance(self) -> Mapping[str, int]:
        """Answer -> its proportion; empty where none is asked for."""
        return self.family.shares or dict.fromkeys(self.answers, 1)
