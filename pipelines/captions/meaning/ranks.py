"""Ranks and orders of land covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landweave.claims import Claim
from pipelines.captions.meaning.comparisons import compared
from pipelines.captions.meaning.shares import share, sharelist
from pipelines.captions.tokens.covers import presence
from pipelines.captions.tokens.numbers import Number

if TYPE_CHECKING:
    from pipelines.captions.meaning.clause import Clause, Part


def rank(clause: Clause) -> list[Claim] | None:
    """A land cover has this rank; several share the first ranks."""
    top = clause.value("t", "top")
    covers, number = clause.covers("a"), clause.value("n", "NUM")
    if isinstance(number, Number) and number.value != len(covers):
        return None
    if "a" not in clause.slots and clause.words.endswith("covers") and len(clause.context.listed) > 1:
        classes: list[tuple[str, ...]] = [(name,) for name in clause.context.listed]
    elif "a" not in clause.slots and clause.context.subject:
        classes = [clause.context.subject]
    else:
        classes = [t.cats["COVER"].classes for t in covers]
    if not classes or not isinstance(top, float) or _of_places(clause, "t"):
        return None
    if len(classes) > 1:
        return _leading(classes, clause.scopes, clause.words) if top == 1.0 else None
    return [Claim("rank", classes[0], scope, top, words=clause.words) for scope in clause.scopes]


def _of_places(clause: Clause, slot: str) -> bool:
    """'most common in the bottom left' compares the parts of the scene; 'the most common cover there' does not."""
    tokens = clause.part(slot)
    return clause.trailing and len(tokens) == 1 and tokens[0].words.startswith(SUPERLATIVES)


def second(clause: Clause) -> list[Claim] | None:
    """'second only to trees'."""
    mine, other = clause.classes("a"), clause.classes("b")
    if not mine or not other:
        return None
    return [c for s in clause.scopes for c in (Claim("rank", mine, s, 2.0, words=clause.words),
                                              Claim("rank", other, s, 1.0, words=clause.words))]  # fmt: skip


def lead(clause: Clause) -> list[Claim] | None:
    """The largest share; of a list, each is larger than all that are not in it."""
    covers = clause.covers("a")
    lists = [t.cats["COVER"].classes for t in covers] or ([clause.context.subject] if clause.context.subject else [])
    if not lists:
        return None
    scopes = clause.places("r") if "r" in clause.slots else clause.scopes
    return _leading(lists, scopes, clause.words)


def _leading(lists: list[tuple[str, ...]], scopes: tuple[Part, ...], words: str) -> list[Claim]:
    if len(lists) == 1:
        return [Claim("rank", lists[0], s, 1.0, words=words) for s in scopes]
    found = []
    for scope in scopes:
        found += [Claim("rank within", names, scope, float(len(lists)), words=words) for names in lists]
    return found


def followed(clause: Clause) -> list[Claim] | None:
    """'trees, followed by crops and grass': in descending order, and there."""
    first = [t.cats["COVER"].classes for t in clause.covers("b")]
    listed = [t.cats["COVER"].classes for t in (*clause.covers("a"), *[t for t in clause.part("p") if t.has("COVER")])]
    shares = (sharelist(clause) or None) if "p" in clause.slots else []
    if not listed or shares is None:
        return None
    if first:
        listed = [*listed, *first]
    elif (clause.context.listed and any(t.has("follow") for t in clause.tokens)) or clause.context.listed:
        listed = [(clause.context.listed[-1],), *listed]
    if len(listed) == 1 and not clause.context.listed:
        return [*shares, *(Claim("rank", listed[0], s, 2.0, words=clause.words) for s in clause.scopes)]
    if any(len(n) > 1 for n in listed) or len(listed) < 2:
        return None
    names = tuple(n[0] for n in listed)
    return [*shares, *(Claim("order", names, s, 1.0, words=clause.words) for s in clause.scopes)]


def chain(clause: Clause) -> list[Claim] | None:
    """A list, and the words 'in descending order'."""
    names = tuple(t.cats["COVER"].classes[0] for t in clause.covers("a")) or clause.context.listed
    down = next((t.cats["order"] for t in clause.tokens if t.has("order")), "down") == "down"
    if len(names) < 2:
        return None
    found = [Claim("presence", (n,), s, words=n) for n in names for s in clause.scopes]
    low = 1.0 if down else -1.0
    return [*found, *(Claim("order", names, s, low, words=clause.words) for s in clause.scopes)]


SUPERLATIVES = (
    "most", "least", "highest", "lowest", "largest", "smallest", "greatest", "biggest", "rarest", "scarcest",
    "concentrated", "clustered", "mostly", "mainly", "found", "densest", "thickest", "sparsest", "best", "weakest",
    "strongest", "scantest", "thinnest", "largely", "chiefly", "broadest", "tiniest",
    "single largest", "maximum", "minimum",
)  # fmt: skip
"""Beginnings of words that compare the parts of the scene: 'dominant in the top left' does not."""


def rankafter(clause: Clause) -> list[Claim] | None:
    """'the second largest cover after wetland'."""
    ranks = rank(clause)
    mine, others = clause.classes("a"), [t.cats["COVER"].classes for t in clause.covers("b")]
    if ranks is None or not mine or not others:
        return None
    order = compared(clause, mine, others, less=True)
    return None if order is None else [*ranks, *order]


def rankshare(clause: Clause) -> list[Claim] | None:
    """'at 57 percent, shrubland is the largest cover'."""
    number = clause.value("n", "NUM")
    if isinstance(number, Number) and number.value != len(clause.covers("a")):
        return None
    ranks = rank(clause) if "t" in clause.slots else lead(clause)
    shares = share(clause)
    return None if ranks is None or shares is None else [*ranks, *shares]


def rankpairs(clause: Clause) -> list[Claim] | None:
    """'the dominant land covers are grass (40 percent) and crops (36 percent)'."""
    top, shares = clause.value("t", "top") if "t" in clause.slots else 1.0, sharelist(clause)
    lists = [t.cats["COVER"].classes for t in clause.part("p") if t.has("COVER")]
    if shares is None or not lists or not isinstance(top, float) or (len(lists) > 1 and top != 1.0):
        return None
    if len(lists) > 1:
        return [*shares, *_leading(lists, clause.scopes, clause.words)]
    return [*shares, *(Claim("rank", lists[0], s, top, words=clause.words) for s in clause.scopes)]


def gap(clause: Clause) -> list[Claim] | None:
    """'trees dominate the north, crops the south', 'the north has trees, the south crops': the verb goes on."""
    mapped = any(t.has("OBJ") and not t.has("COVER") for t in clause.part("a"))
    if clause.context.last in ("present", "gap") and not mapped:
        return [presence(t, p) for t in clause.covers("a") for p in clause.places("r")] or None
    lists, places = [t.cats["COVER"].classes for t in clause.covers("a")], clause.places("r")
    return _leading(lists, places, clause.words) if lists and clause.context.last == "lead" else None
