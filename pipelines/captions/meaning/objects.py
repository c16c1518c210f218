"""Map objects: numbers, lengths, comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING, Claim
from pipelines.captions.meaning.clause import MORE, Clause, Part
from pipelines.captions.meaning.ground import length_of
from pipelines.captions.tokens.numbers import Number
from pipelines.captions.tokens.objects import Objects
from pipelines.captions.tokens.token import Token

if TYPE_CHECKING:
    from collections.abc import Sequence


def object_claim(token: Token, where: Part) -> Claim:
    """Map objects and their number; facts count them over the whole scene."""
    found: Objects = token.cats["OBJ"]
    return Claim("count", found.kinds, where, *found.span, words=token.words)


def length(clause: Clause) -> list[Claim] | None:
    """The length of the roads."""
    kinds = [t.cats["OBJ"].kinds[0] for t in clause.part("o") if t.has("OBJ")] or list(clause.context.objects[-1:])
    one = [t for t in clause.part("o") if t.words.startswith(("a ", "one ", "single "))]
    if kinds != ["road"] or clause.each:
        return None
    if one:
        return [object_claim(Token({"OBJ": Objects(("road",), (1.0, 1.0))}, clause.words), ()), *_length_claims(clause)]
    return _length_claims(clause)


def _length_claims(clause: Clause) -> list[Claim]:
    return [Claim.spanning("length", ("road_length_m",), (), length_of(clause.part("l")[0]), clause.words),
            *(_objects_counted(clause.part("o")))]  # fmt: skip


def _objects_counted(tokens: Sequence[Token]) -> list[Claim]:
    """Their number, where the text gives one."""
    return [object_claim(t, ()) for t in tokens if t.has("OBJ") and t.cats["OBJ"].span != (1.0, EVERYTHING)]


def timesobjects(clause: Clause) -> list[Claim] | None:
    """'three times as many vineyards as orchards'."""
    mine, other, factor = _kinds(clause, "a"), _kinds(clause, "b"), clause.value("n", "factor")
    if not mine or not other or mine == other or not isinstance(factor, float) or any(clause.scopes):
        return None
    spans = {"more": (factor, EVERYTHING), "less": (0.0, factor), "below": (factor * 0.8, factor * 1.02),
             "above": (factor, factor * 1.2), "about": (factor * 0.82, factor * 1.18)}  # fmt: skip
    low, high = spans.get(str(clause.near()), (factor * 0.94, factor * 1.06))
    return [Claim("more objects", mine, (), low, high, other, words=clause.words)]


def _kinds(clause: Clause, slot: str) -> tuple[str, ...]:
    return tuple(k for t in clause.part(slot) if t.has("OBJ") for k in t.cats["OBJ"].kinds)


_SIZES = frozenset(("larger", "bigger", "smaller", "wider", "higher", "lower", "longer", "denser", "extensive", "area"))
"""Words of size: facts know the number of map objects alone."""


def moreobjects(clause: Clause) -> list[Claim] | None:
    """'there are more buildings than roads'."""
    mine, other = _kinds(clause, "a") or clause.context.objects[-1:], _kinds(clause, "b")
    if any(word in _SIZES for word in clause.part("x")[0].words.split()):
        return None  # 'the field is larger than the building'
    word = next((c for c in ("exceed", "more", "near") if clause.value("x", c) in ("more", "less")), "")
    if not mine or not other or mine == other or any(clause.scopes) or not word:
        return None
    low_ratio, high_ratio = (0.0, 1.0 / MORE) if clause.value("x", word) == "less" else (MORE, EVERYTHING)
    return [Claim("more objects", mine, (), low_ratio, high_ratio, other, words=clause.words)]


def mostobjects(clause: Clause) -> list[Claim] | None:
    """'buildings are the most common map object'."""
    top, mine = clause.value("t", "top"), _kinds(clause, "a")
    if top != 1.0 or not mine or any(clause.scopes):
        return None
    return [Claim("more objects", mine, (), 1.0, EVERYTHING, words=clause.words)]


def onlyobjects(clause: Clause) -> list[Claim] | None:
    """'four streams and two paths are the only mapped objects'."""
    found = [object_claim(t, s) for t in clause.part("a") if t.has("OBJ") for s in clause.scopes]
    return [*found, Claim("only objects", _kinds(clause, "a"), words=clause.words)] if found else None


def counted(clause: Clause) -> list[Claim] | None:
    """'few buildings stand here: the map shows five': a number of what was last counted."""
    number, kinds = clause.value("n", "NUM"), clause.context.objects[-1:]
    if not isinstance(number, Number) or not kinds:
        return None
    return [Claim.spanning("count", kinds, s, number.span(), clause.words) for s in clause.scopes]


_FEW, _MANY = (1.0, 9.0), (12.0, EVERYTHING)
_ABUNDANT = 20.0
"""Least percent of words in the lexicon that call something abundant."""


def manyobjects(clause: Clause) -> list[Claim] | None:
    """'buildings are numerous', 'roads are few': a number in words as the predicate."""
    span, said = clause.span("x", "count"), clause.span("x", "rare")
    if span is None and said is not None:
        span = _MANY if said[0] >= _ABUNDANT else _FEW if said[0] == 0.0 else None
    if span is None or any(clause.scopes):
        return None
    return [Claim.spanning("count", k, (), span, clause.words) for t in clause.part("a") if (k := t.cats["OBJ"].kinds)]


def countpairs(clause: Clause) -> list[Claim] | None:
    """'buildings (34), roads (9)': kinds of map objects, each with its number behind it."""
    found: list[Claim] = []
    kinds: tuple[str, ...] = ()
    for token in clause.part("p"):
        if token.has("OBJ"):
            if kinds:
                return None
            kinds = token.cats["OBJ"].kinds
        elif token.has("NUM") and kinds:
            words = f"{token.words} {kinds[0]}"
            found += [Claim.spanning("count", kinds, s, token.cats["NUM"].span(), words) for s in clause.scopes]
            kinds = ()
    return found if found and not kinds else None
