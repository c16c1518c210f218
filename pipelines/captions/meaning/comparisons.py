"""Land covers, and parts of the scene, compared with one another."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING, VEGETATION, Claim
from pipelines.captions.meaning.clause import MORE, Clause, Part, opposite
from pipelines.captions.meaning.shares import respective
from pipelines.captions.tokens.numbers import Number

if TYPE_CHECKING:
    from landweave.claims import Span

_EQUAL: dict[str | None, Span] = {None: (0.88, 1.14), "below": (0.75, 1.34), "about": (0.75, 1.34)}
"""Ratio of shares that are called equal, nearly equal, about equal."""


_AS_MUCH: dict[str | None, Span] = {None: (0.9, 1.2), "below": (0.72, 1.0), "about": (0.75, 1.34)}


def balanced(clause: Clause) -> list[Claim] | None:
    """Two land covers about equal, with their amounts."""
    equal_claims, shares = equal(clause), respective(clause)
    return None if equal_claims is None or shares is None else [*equal_claims, *shares]


def exceed(clause: Clause) -> list[Claim] | None:
    """`a` has a larger ('less': smaller) share than `b`; a list is added up only with 'together'."""
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    others = [t.cats["COVER"].classes for t in clause.covers("b")]
    if clause.together or any(t.has("together") for t in clause.tokens):
        others = [tuple(c for names in others for c in names)]
    less = clause.value("x", "exceed") == "less"
    return compared(clause, mine, others, less=less)


def compared(clause: Clause, mine: tuple[str, ...], others: list[tuple[str, ...]], *, less: bool) -> list[Claim] | None:
    """`mine` has a larger (`less`: a smaller) share than each of the others, and all are there."""
    others = [names for names in others if names]
    if not mine or not others or any(set(mine) & set(names) for names in others):
        return None
    low, high = (0.0, 1.0 / MORE) if less else (MORE, EVERYTHING)
    found = [Claim("comparison", mine, s, low, high, o, s, clause.words) for s in clause.scopes for o in others]
    there = [names if names == VEGETATION else (n,) for names in (mine, *others) for n in names]
    return [*found, *(Claim("presence", n, s, words=clause.words) for n in dict.fromkeys(there) for s in clause.scopes)]


def more(clause: Clause) -> list[Claim] | None:
    """'more trees than crops'."""
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    others = [t.cats["COVER"].classes for t in clause.covers("b")] or [clause.context.subject]
    if clause.together or any(t.has("together") for t in clause.tokens):
        others = [tuple(c for names in others for c in names)]
    return compared(clause, mine, others, less=clause.value("x", "more") == "less")


def moreplace(clause: Clause) -> list[Claim] | None:
    """'more cropland in the bottom half than in the top half'."""
    mine = clause.classes("a") or clause.classes("b")
    ours = clause.places("r" if "r" in clause.slots else "q")
    theirs: tuple[Part, ...] = ((),)
    if "r" in clause.slots and "q" in clause.slots:
        theirs = clause.places("q")
    elif len(ours) == 1 and len(ours[0]) == 2 and not any(t.has("SCENE") for t in clause.tokens):
        theirs = (opposite(ours[0]),)
    if not mine or ours == theirs:
        return None
    less = clause.value("x", "more") == "less"
    low, high = (0.0, 1.0 / MORE) if less else (MORE, EVERYTHING)
    each = [t.cats["COVER"].classes for t in (*clause.covers("a"), *clause.covers("b"))] or [mine]
    return [Claim("comparison", m, r, low, high, m, q, clause.words) for m in each for r in ours for q in theirs]


def _factor(clause: Clause) -> Span | None:
    times, number = clause.value("n", "times"), clause.value("n", "NUM")
    value = float(times) if isinstance(times, float) else number.value if isinstance(number, Number) else 0.0
    spans = {"more": (value, EVERYTHING), "less": (0.0, value), "below": (value * 0.8, value * 1.02)}
    spans |= {"above": (value, value * 1.35), "about": (value * 0.82, value * 1.18)}
    if isinstance(number, Number) and number.decimals and clause.near() is None and number.near is None:
        return value - 10.0**-number.decimals, value + 10.0**-number.decimals  # '2.75 times'
    near = clause.near() or (number.near if isinstance(number, Number) else None)
    return spans.get(str(near), (value * 0.88, value * 1.12)) if value > 0 else None


def times(clause: Clause) -> list[Claim] | None:
    """'twice as much as'."""
    mine, other, factor = clause.classes("a") or clause.context.subject, clause.classes("b"), _factor(clause)
    if "a" in clause.slots and "b" not in clause.slots:
        other = clause.context.subject  # '..., and crops cover half as much'
    if not mine or set(mine) & set(other):
        return None
    if not mine or not other or factor is None:
        return None
    found = [Claim("comparison", mine, s, *factor, other, s, clause.words) for s in clause.scopes]
    return [*found, *(Claim("presence", (n,), s, words=clause.words) for n in other for s in clause.scopes)]


def timesplace(clause: Clause) -> list[Claim] | None:
    """'the north has twice as much forest as the south'."""
    mine, factor = clause.classes("a"), _factor(clause)
    if not mine or factor is None:
        return None
    pairs = [(r, q) for r in clause.places("r") for q in clause.places("q")]
    return [Claim("comparison", mine, r, *factor, mine, q, clause.words) for r, q in pairs]


def asmuch(clause: Clause) -> list[Claim] | None:
    """'almost as much as'."""
    mine, other = clause.classes("a") or clause.context.subject, clause.classes("b")
    span = _AS_MUCH.get(clause.near())
    if not mine or not other or span is None or set(mine) & set(other):
        return None
    return [Claim("comparison", mine, s, *span, other, s, clause.words) for s in clause.scopes]


def asmuchplace(clause: Clause) -> list[Claim] | None:
    """'the north has almost as much forest as the south'."""
    mine, span = clause.classes("a"), _AS_MUCH.get(clause.near())
    if not mine or span is None:
        return None
    pairs = [(r, q) for r in clause.places("r") for q in clause.places("q")]
    return [Claim("comparison", mine, r, *span, mine, q, clause.words) for r, q in pairs]


def less(clause: Clause) -> list[Claim] | None:
    """'not as extensive as'."""
    mine = clause.classes("a") or clause.context.subject
    return compared(clause, mine, [clause.classes("b")], less=True)


def equal(clause: Clause) -> list[Claim] | None:
    """The land covers have about the same share."""
    said = next((t.cats["equal"] for t in clause.tokens if t.has("equal")), None)
    span = _EQUAL.get(clause.near() or (None if said is None else str(said)))
    lists = [t.cats["COVER"].classes for t in (*clause.covers("a"), *clause.covers("b"))]
    if span is None or len(lists) < 2:
        return None
    found = [Claim("comparison", a, s, *span, b, s, clause.words) for s in clause.scopes for a, b in pairwise(lists)]
    between = "split" in clause.words or "divided" in clause.words or "shared" in clause.words
    total = tuple(c for names in lists for c in names)
    if between:
        found += [Claim("share", total, s, 75.0, 100.0, words=clause.words) for s in clause.scopes]
    return [*found, *(Claim("presence", n, s, words=clause.words) for n in lists for s in clause.scopes)]


def exceedall(clause: Clause) -> list[Claim] | None:
    """'more than all other covers combined': more than half of what is listed."""
    mine = clause.classes("a") or clause.context.subject
    if not mine or clause.value("x", "exceed") == "less" or clause.value("x", "more") == "less":
        return None
    if clause.together:
        return [Claim.spanning("share", mine, s, (50.0, 100.0), clause.words) for s in clause.scopes]
    return [Claim("rank", mine, s, 1.0, words=clause.words) for s in clause.scopes]


def morethan(clause: Clause) -> list[Claim] | None:
    """'..., more than grass does': of what was last spoken of."""
    near, words = clause.near("x"), clause.part("x")[0].words
    less = near == "less" or "less" in words
    if near not in ("more", "less") and not words.endswith(("more than", "less than")):
        return None
    order = compared(clause, clause.context.subject, [clause.classes("b")], less=less)
    span = clause.span("s", "AMT")
    if order is None or span is None:
        return order
    return [*order, *(Claim.spanning("share", clause.classes("b"), s, span, clause.words) for s in clause.scopes)]
