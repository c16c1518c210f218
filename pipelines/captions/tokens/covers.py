"""Land covers with their quantifiers and adjectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landweave.claims import VEGETATION, Claim
from pipelines.captions.tokens.token import Token

if TYPE_CHECKING:
    from landweave.claims import Span
    from pipelines.captions.lexicon import Meanings

WHOLE_MOSTLY = 70.0
"""Percent from which a place may be called by one land cover without more words."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A land cover, as it is spoken of."""

    classes: tuple[str, ...]
    span: Span | None = None
    """'a little water': the share that this says; (0, 0) = none of it."""
    absent: bool = False


_OF_COVERS = frozenset(("some", "prefix", "cover", "named", "adj"))
"""Categories of which a token that begins a land cover has one."""


def covers(tokens: list[Token]) -> list[Token]:
    """Quantifier, adjectives, land cover and empty nouns -> COVER; adjectives alone stay ADJ."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        apart = _OF_COVERS.isdisjoint(tokens[i].cats) and tokens[i].words not in ("a", "an")
        made = None if apart else _cover(tokens, i)
        if made is None:
            found.append(tokens[i])
            i += 1
            continue
        token, i = made
        found.append(token)
    return found


def classes_of(name: str) -> tuple[str, ...]:
    """The classes that a name of the lexicon stands for."""
    return VEGETATION if name == "vegetation" else (name,)


def _cover(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    j, some = _quantifiers(tokens, i)
    if j >= len(tokens):
        return None
    k = _cover_end(tokens, j)
    if k is None:
        return None
    head = tokens[j]
    name = str(head.cats["cover"] if head.has("cover") else head.cats["adj"])
    cats: Meanings = {
        "COVER": Cover(classes_of(name), some if isinstance(some, tuple) else None, absent=some == "none")
    }
    start = i
    if k == j + 1 and head.has("named") and i == j:
        cats["adj"] = head.cats["adj"]
    if head.has("kind"):
        cats["kind"] = head.cats["kind"]
        start = j if some is None else i
    return Token(cats, " ".join(t.words for t in tokens[start:k])), k


def _quantifiers(tokens: list[Token], i: int) -> tuple[int, object]:
    """Where 'a small amount of', 'patches of', 'no' and their like end, and the share that they say."""
    j, some = i, None
    if i and tokens[i - 1].word("as"):
        return j, some  # 'as much as'
    if tokens[j].word("a", "an") and j + 1 < len(tokens):
        j += 1
    while j < len(tokens) and (tokens[j].has("some") or tokens[j].has("prefix")):
        some = tokens[j].cats.get("some", some)
        j += 1
    return j, some


def _cover_end(tokens: list[Token], j: int) -> int | None:
    """Where a land cover that begins at j ends: a noun, or an adjective before a noun; None if there is none."""
    head = tokens[j]
    noun, k = head.has("cover") or head.has("named"), j + 1
    if not noun and not (head.has("adj") and k < len(tokens)):
        return None
    if not head.has("cover") and noun and k < len(tokens) and tokens[k].has("scene") and not tokens[k].has("suffix"):
        return None
    if not noun and tokens[k].has("cover") and tokens[k].cats["cover"] == head.cats["adj"]:
        noun, k = True, k + 1  # 'wooded forest'
    if k + 1 < len(tokens) and tokens[k].word("s") and tokens[k + 1].has("suffix"):
        k += 1  # "water's share"
    while k < len(tokens) and tokens[k].has("suffix") and not tokens[k].has("hold") and not tokens[k].has("exceed"):
        noun, k = True, k + 1
    return k if noun else None


def attributes(tokens: list[Token]) -> list[Token]:
    """'hilly farmland', 'a tropical wetland': relief and place before a land cover claim by themselves."""
    found: list[Token] = []
    for token in tokens:
        if token.has("COVER") and found and (found[-1].has("relief") or found[-1].has("place")):
            last = found.pop()
            name = "relief" if last.has("relief") else "place"
            said = Claim(name, (name,), against=(str(last.cats[name]),), words=last.words)
            if found and found[-1].word("a", "an"):
                found.pop()
            found.append(Token(token.cats, f"{last.words} {token.words}", [*token.claims, said]))
        else:
            found.append(token)
    return found


LEAST_NAMED = 5.0
"""Percent that a land cover needs for a scene to be called one of it: 'a landscape of trees and crops'."""


def worth_naming(token: Token, where: tuple[str, ...], least: float = LEAST_NAMED) -> Claim:
    """What a land cover claims that an image is said to be of."""
    cover: Cover = token.cats["COVER"]
    if cover.absent or cover.span is not None:
        return presence(token, where)
    return Claim("share", cover.classes, where, least, 100.0, words=token.words)


def presence(token: Token, where: tuple[str, ...]) -> Claim:
    """What the bare mention of a land cover claims."""
    cover: Cover = token.cats["COVER"]
    if cover.absent:
        return Claim("absence", cover.classes, where, words=token.words)
    if cover.span is not None:
        return Claim("share", cover.classes, where, *cover.span, words=token.words)
    return Claim("presence", cover.classes, where, words=token.words)
