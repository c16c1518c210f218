"""What is there, and what is not."""

from __future__ import annotations

from landweave.claims import Claim
from landweave.facts import REGIONS
from pipelines.captions.meaning.clause import OCCUPIED, PRESENT, Clause, is_absent
from pipelines.captions.meaning.objects import object_claim
from pipelines.captions.meaning.ranks import lead
from pipelines.captions.tokens.covers import presence, worth_naming


def present(clause: Clause) -> list[Claim] | None:
    """Land covers and map objects are there."""
    if any(t.has("rare") and t.cats["rare"] != PRESENT for t in clause.tokens):
        return None
    none = [t for t in clause.part("a") if (t.has("OBJ") and t.cats["OBJ"].span == (0.0, 0.0)) or is_absent(t)]
    if none and any(t.words in ("or", "nor") for t in clause.part("a")):
        return absent(clause)
    outside = set(clause.classes("a")) - set(clause.context.subject)
    if clause.context.link in ("in form of", "in shape of", "namely", "that is") and outside:
        return None
    if _goes_on_leading(clause):
        return lead(clause)
    found: list[Claim] = []
    for token in clause.part("a") or ():
        if token.has("OBJ") and not (token.has("COVER") and _field_is_crops(clause)):
            found += [object_claim(token, scope) for scope in clause.scopes]
        elif token.has("COVER"):
            found += [presence(token, scope) for scope in clause.scopes]
    if not found and ("a" not in clause.slots or any(t.has("pron") for t in clause.part("a"))):
        if not clause.context.subject:
            return None
        found = [Claim("presence", clause.context.subject, s, words=clause.words) for s in clause.scopes]
    return found or None


def pictured(clause: Clause) -> list[Claim] | None:
    """'an image of trees, a road and a river': map objects are there, each land cover is worth the name."""
    mapped = "o" in clause.slots  # 'field' is a land cover in one reading, a map object in the other
    tokens = clause.part("o" if mapped else "a")
    objects = [t for t in tokens if t.has("OBJ") and (mapped or not t.has("COVER"))]
    covers = [t for t in tokens if t.has("COVER") and t not in objects]
    if any(is_absent(t) for t in covers) or any(t.word("or", "nor") for t in tokens):
        return None
    if not objects and not all(clause.scopes):
        return None  # of the whole scene, a list of land covers says more: see `_scenes_of`
    return [*(object_claim(t, s) for t in objects for s in clause.scopes),
            *(worth_naming(t, s) for t in covers for s in clause.scopes)]  # fmt: skip


def _goes_on_leading(clause: Clause) -> bool:
    """'trees lead in the right half, wetland in the left half': the verb of the clause before."""
    bare = all(t.has("COVER") or t.word(",", "and") for t in clause.tokens)
    return (
        bare and clause.trailing and clause.context.last == "lead" and clause.context.link in (",", "and", "while", ";")
    )


def _field_is_crops(clause: Clause) -> bool:
    """'fields' without a number are crops."""
    return bool(clause.tokens)


def rare(clause: Clause) -> list[Claim] | None:
    """'trees are scarce'."""
    lists, span = [t.cats["COVER"].classes for t in clause.covers("a")], clause.span("x", "rare")
    if not lists:
        return None
    if span is None:
        return [Claim("absence", names, s, words=clause.words) for names in lists for s in clause.scopes]
    found = [Claim.spanning("share", names, s, span, clause.words) for names in lists for s in clause.scopes]
    return [*found, *(Claim("presence", names, s, words=clause.words) for names in lists for s in clause.scopes)]


def absent(clause: Clause) -> list[Claim] | None:
    """None of these is there."""
    found: list[Claim] = []
    for slot in ("a", "b"):
        for token in clause.part(slot):
            if token.has("COVER"):
                classes = token.cats["COVER"].classes
                found += [Claim("absence", classes, s, words=clause.words) for s in clause.scopes]
            elif token.has("OBJ"):
                kinds = token.cats["OBJ"].kinds
                found += [Claim("count", kinds, s, 0.0, 0.0, words=clause.words) for s in clause.scopes]
    return found or None


def absentfrom(clause: Clause) -> list[Claim] | None:
    """'absent from the northern half'."""
    if "x" in clause.slots and clause.value("x", "rare") != "none":
        return None
    if "a" in clause.slots or not clause.context.subject:
        return absent(clause)
    return [Claim("absence", clause.context.subject, s, words=clause.words) for s in clause.scopes]


def notin(clause: Clause) -> list[Claim] | None:
    """'... but not in the upper half': what was last spoken of is not there."""
    places = clause.places("q")
    if not clause.context.subject or any(not p for p in places):
        return None
    return [Claim.spanning("share", clause.context.subject, p, (0.0, 1.0), clause.words) for p in places]


def onlykinds(clause: Clause) -> list[Claim] | None:
    """'the vegetation is limited to grass and moss': no other plants."""
    every, named = clause.classes("a"), clause.classes("b")
    others = tuple(c for c in every if c not in named)
    if len(every) < 2 or not set(named) <= set(every) or not others:
        return None
    return [*(Claim("absence", (c,), s, words=clause.words) for c in others for s in clause.scopes),
            *(presence(t, s) for t in clause.covers("b") for s in clause.scopes)]  # fmt: skip


def elsewhere(clause: Clause) -> list[Claim] | None:
    """'crops elsewhere', 'absent elsewhere': in the quarters that the clause before does not name."""
    named = {p for place in clause.context.scopes for p in place}
    rest = tuple(r for r in REGIONS if r not in named and r != "middle")
    mine = clause.classes("a") or ("x" in clause.slots and clause.context.subject) or ()
    if not named or not rest or not mine or "middle" in named:
        return None
    if "u" in clause.slots:  # 'the other parts are mostly bare': each of them
        adverb = clause.span("u", "adverb")
        return None if adverb is None else [Claim.spanning("share", mine, (r,), adverb, clause.words) for r in rest]
    if "x" not in clause.slots:
        return [Claim("share", mine, rest, OCCUPIED, 100.0, words=clause.words)]
    said = clause.value("x", "rare")
    span = (0.0, 1.0) if said in (None, "none") else clause.span("x", "rare")
    return None if span is None else [Claim.spanning("share", mine, (r,), span, clause.words) for r in rest]


_SPREADING = frozenset(("spread", "spreads", "extend", "extends", "stretch", "stretches", "scattered", "distributed"))


def presentin(clause: Clause) -> list[Claim] | None:
    """'bare ground is spread over all parts of the scene': it is in each of them."""
    mine, places = clause.classes("a"), clause.places("r")
    if places == ((),):  # 'spread across the whole scene'
        places = tuple((r,) for r in REGIONS if r != "middle")
    if not mine or len(places) < len(REGIONS) - 1 or not _SPREADING & set(clause.part("x")[0].words.split()):
        return None
    return [Claim("presence", mine, p, words=clause.words) for p in places]
