"""A clause as handlers see it, and what earlier clauses leave for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landweave.claims import HALVES, VEGETATION
from pipelines.captions.tokens.covers import Cover
from pipelines.captions.tokens.token import Token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.claims import Span

Part = tuple[str, ...]
"""Parts of the scene whose areas are added; () = the whole scene."""


PRESENT = (0.4, 100.0)
"""Value of words in the lexicon that say no more than that something is there."""


@dataclass(frozen=True, slots=True)
class Context:
    """What earlier clauses leave for later ones."""

    scopes: tuple[Part, ...] = ((),)
    """Each claim holds in each of them."""
    fronted: bool = False
    """The scope stands before its clause, and so holds for the sentence."""
    place: Part = ()
    """The part that is the subject: 'the western side'."""
    subject: tuple[str, ...] = ()
    """Classes last spoken of."""
    objects: tuple[str, ...] = ()
    """Kinds of map objects last spoken of."""
    taken: tuple[str, ...] = ()
    """Classes that this sentence has placed so far, for 'the rest'."""
    listed: tuple[str, ...] = ()
    """Classes of the last list, in order."""
    last: str = ""
    """Handler of the clause before."""
    relative: bool = False
    """The next clause begins with 'where' or 'which'."""
    link: str = ""
    """The stop or the word before the next clause."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A run of tokens, and the frame that it fits."""

    tokens: Sequence[Token]
    slots: dict[str, tuple[int, int]]
    scopes: tuple[Part, ...]
    """Each claim holds in each of them."""
    context: Context
    together: bool
    each: bool
    """The sentence says 'both' or 'each': a list is not added up."""
    trailing: bool
    """It ends with the place that it names: 'most common in the north'."""
    words: str

    def part(self, slot: str) -> Sequence[Token]:
        """Tokens of a slot."""
        span = self.slots.get(slot)
        return () if span is None else self.tokens[span[0] : span[1]]

    def covers(self, slot: str) -> list[Token]:
        """Land covers of a slot: nouns, or adjectives as nouns; 'it' and 'they' are what was last spoken of."""
        found: list[Token] = []
        for token in self.part(slot):
            if token.has("COVER"):
                found.append(token)
            elif token.has("adj"):
                found.append(as_cover(token))
        if not found and any(t.has("pron") for t in self.part(slot)) and self.context.subject:
            words = " and ".join(self.context.subject)
            found.append(Token({"COVER": Cover(self.context.subject)}, words))
        return found

    def classes(self, slot: str) -> tuple[str, ...]:
        """Classes of a slot together."""
        return tuple(dict.fromkeys(c for t in self.covers(slot) for c in t.cats["COVER"].classes))

    def value(self, slot: str, category: str) -> object:
        """Value of the first token of a slot that has this category."""
        return next((t.cats[category] for t in self.part(slot) if t.has(category)), None)

    def span(self, slot: str, category: str) -> Span | None:
        """(least, most) of the first token of a slot that has this category."""
        found = self.value(slot, category)
        return (float(found[0]), float(found[1])) if isinstance(found, tuple) else None

    def near(self, slot: str = "near") -> str | None:
        """The hedge in a slot."""
        found = self.value(slot, "near")
        return None if found is None else str(found)

    def places(self, slot: str) -> tuple[Part, ...]:
        """The parts of the scene that a slot names."""
        for token in self.part(slot):
            for category in ("REGION", "SCOPE"):
                if token.has(category):
                    return tuple(token.cats[category] or ((),))
            if token.has("SCENE"):
                return ((),)
        return self.scopes


def as_cover(token: Token) -> Token:
    """An adjective ('wooded') as the land cover that it names."""
    name = str(token.cats["adj"])
    return Token({"COVER": Cover(VEGETATION if name == "vegetation" else (name,))}, token.words)


def is_absent(token: Token) -> bool:
    """Whether a cover is said not to be there."""
    return token.has("COVER") and bool(token.cats["COVER"].absent)


OCCUPIED = 50.0
"""Percent from which a land cover occupies a part of the scene."""


MORE = 1.0 + 1e-4
"""Least ratio of what is called more."""


def opposite(here: Part) -> Part:
    """The half that lies across from a half."""
    return next(h for h in HALVES if not set(h) & set(here))
