"""The pieces of a sentence, and the words that tie them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landweave.claims import Claim
    from pipelines.captions.lexicon import Meanings

PREPOSITIONS = frozenset(("in", "on", "of", "across", "over", "throughout", "within", "inside", "at", "from", "for",
                           "during", "through", "to", "toward", "towards", "along"))  # fmt: skip


SEPARATORS = frozenset((",", "and", "or"))


@dataclass(slots=True)
class Token:
    """A phrase or a chunk of a sentence."""

    cats: Meanings
    """Category -> value."""
    words: str
    claims: list[Claim] = field(default_factory=list)
    """What it claims by itself: 'hilly' in 'this hilly scene'."""

    def has(self, category: str) -> bool:
        """Whether it may be read as this."""
        return category in self.cats

    def word(self, *options: str) -> bool:
        """Whether it is one of these function words."""
        return self.words in options


class UnknownWordsError(Exception):
    """Words that the lexicon does not hold."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(", ".join(words))
        self.words = words
