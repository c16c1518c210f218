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


def moreobjects(clause: Clause) -> list[Claim] | None:
    """'there are more buildings than roads'."""
    mine, other = _kinds(clause, "a"), _kinds(clause, "b")
    word = "exceed" if clause.value("x", "exceed") is not None else "more"
    if not mine or not other or mine == other or any(clause.scopes):
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
