"""Shares: amounts of land covers, mixes, rests, ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING, Claim
from pipelines.captions.meaning.clause import MORE, OCCUPIED, Clause, Part, as_cover
from pipelines.captions.tokens.covers import WHOLE_MOSTLY, Cover, presence
from pipelines.captions.tokens.numbers import Number

if TYPE_CHECKING:
    from landweave.claims import Span
    from pipelines.captions.tokens.token import Token

_LEAST_OF_MIX = 2.0
"""Percent that a land cover needs to be named as part of a mix."""


def _share_claims(clause: Clause, classes: tuple[str, ...], amount: object, words: str) -> list[Claim] | None:
    if amount in ("rest", "mostrest"):
        taken = tuple(c for c in clause.context.taken if c not in classes)
        if not taken:
            return None
        low, high = (80.0, 120.0) if amount == "rest" else (50.0, 120.0)
        return [Claim("rest", classes, scope, low, high, taken, words=words) for scope in clause.scopes]
    if not isinstance(amount, tuple):
        return None
    return [Claim.spanning("share", classes, scope, amount, words) for scope in clause.scopes]


def _amount(token: Token) -> object:
    return token.cats.get("AMT", token.cats.get("amount"))


def share(clause: Clause) -> list[Claim] | None:
    """Land covers together on an amount of each scope."""
    classes = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    tokens = clause.part("s")
    if not classes or not tokens:
        return None
    amounts = [_amount(t) for t in tokens if t.has("AMT")]
    if "u" in clause.slots and any(t.has("adverb") for t in clause.part("u")):
        mainly = amounts == ["rest"] and clause.span("u", "adverb") == (50.0, 100.0)
        amounts = ["mostrest"] if mainly else []  # 'the rest is mainly built up'
    if not amounts:
        return None
    covers = clause.covers("a")
    apart = [t.cats["COVER"].classes for t in covers] if clause.each and len(covers) > 1 else [classes]
    parts = [_share_claims(clause, names, amounts[-1], clause.words) for names in apart]
    found = None if any(p is None for p in parts) else [c for p in parts for c in p or ()]
    if found is not None and len(covers) > 1:
        found += [presence(t, s) for t in covers for s in clause.scopes]
    return found


def sharelist(clause: Clause) -> list[Claim] | None:
    """Pairs of land cover and amount."""
    found: list[Claim] = []
    cover: Token | None = None
    amount: Token | None = None
    for token in clause.part("p"):
        if token.has("COVER"):
            cover = token
        elif token.has("AMT"):
            amount = token
        if cover is not None and amount is not None:
            classes = cover.cats["COVER"].classes
            made = _share_claims(clause, classes, _amount(amount), f"{cover.words} {amount.words}")
            if made is None:
                return None
            found += made
            cover = amount = None
    return found if cover is None and amount is None else None


def respective(clause: Clause) -> list[Claim] | None:
    """'trees and crops hold 43 and 40 percent': in order."""
    covers = clause.covers("a")
    amounts = [t for t in clause.tokens if t.has("AMT") or t.has("NUM")]
    if len(covers) != len(amounts):
        return None
    found = []
    for cover, token in zip(covers, amounts, strict=True):
        amount = token.cats["AMT"] if token.has("AMT") else token.cats["NUM"].span()
        found += _share_claims(clause, cover.cats["COVER"].classes, amount, f"{cover.words} {token.words}") or []
    return found


def respectivelast(clause: Clause) -> list[Claim] | None:
    """'..., 18 and 14 percent': the amounts of the land covers just named, in order."""
    amounts = [t for t in clause.tokens if t.has("AMT") or t.has("NUM")]
    if len(clause.context.listed) != len(amounts):
        return None
    found = []
    for name, token in zip(clause.context.listed, amounts, strict=True):
        amount = token.cats["AMT"] if token.has("AMT") else token.cats["NUM"].span()
        found += _share_claims(clause, (name,), amount, f"{name} {token.words}") or []
    return found


def spread(clause: Clause) -> list[Claim] | None:
    """'crops cover 30 percent of the north-east and 55 percent of the south-west'."""
    classes = clause.classes("a") or clause.context.subject
    found: list[Claim] = []
    for amount, place in (("s", "q"), ("t", "z")):
        if not classes:
            return None
        for where in clause.places(place):
            span = _amount(clause.part(amount)[0])
            if not isinstance(span, tuple):
                return None
            found.append(Claim.spanning("share", classes, where, span, clause.words))
    return found


def mostly(clause: Clause) -> list[Claim] | None:
    """A place and its cover, with an adverb of amount; without one, the cover is nearly everything there."""
    covers = clause.covers("a")
    if not covers:
        if clause.context.subject and "a" not in clause.slots:
            covers = []
        return _whole(clause, clause.context.subject) if not covers and "a" not in clause.slots else None
    adverb = clause.span("u", "adverb")
    occupied = any(t.has("REGION") for t in clause.part("r")) and clause.part("r")[0] is clause.tokens[-1]
    whole = _OF_SEVERAL if len(covers) > 1 else WHOLE_MOSTLY
    span: Span = adverb or (OCCUPIED if occupied else whole, 100.0)
    if any(t.cats["COVER"].absent for t in covers):
        return None
    own = [t.cats["COVER"].span for t in covers]
    if adverb is None and len(covers) == 1 and own[0] is not None:
        span = own[0]
    first = [Claim.spanning("share", clause.classes("a"), s, span, clause.words) for s in clause.scopes]
    return [*first, *(presence(t, s) for t in covers for s in clause.scopes)]


def _whole(clause: Clause, classes: tuple[str, ...]) -> list[Claim] | None:
    return [Claim("share", classes, s, WHOLE_MOSTLY, 100.0, words=clause.words) for s in clause.scopes] or None


def adjective(clause: Clause) -> list[Claim] | None:
    """'hilly and mostly wooded': each adjective claims something."""
    found: list[Claim] = []
    adverb: Span | None = None
    for token in clause.tokens:
        if token.has("relief"):
            if any(clause.scopes):
                return None  # the facts know the relief of the whole scene alone
            found.append(Claim("relief", ("relief",), against=(str(token.cats["relief"]),), words=token.words))
        elif token.has("rural"):
            found += [Claim("share", ("built",), s, 0.0, 15.0, words=token.words) for s in clause.scopes]
        elif token.has("mixadj"):
            found += [Claim("mixed", (), s, 0.0, WHOLE_MOSTLY, words=token.words) for s in clause.scopes]
        elif token.has("adverb"):
            adverb = token.cats["adverb"]
        elif token.has("adj"):
            span = adverb or (50.0, 100.0)
            classes = as_cover(token).cats["COVER"].classes
            found += [Claim.spanning("share", classes, s, span, token.words) for s in clause.scopes]
            adverb = None
    return found


def consist(clause: Clause) -> list[Claim] | None:
    """A mix: each of the land covers is there with a share worth the name."""
    covers = clause.covers("a")
    if any(t.cats["COVER"].absent for t in covers):
        return None
    claims = [_worth(t, s) for t in covers for s in clause.scopes]
    if "s" in clause.slots:
        return [
            *claims,
            *(_share_claims(clause, clause.classes("a"), _amount(clause.part("s")[0]), clause.words) or []),
        ]
    least = 60.0 if len(covers) > 1 else WHOLE_MOSTLY
    return [*claims, *(Claim("share", clause.classes("a"), s, least, 100.0, words=clause.words) for s in clause.scopes)]


def mixed(clause: Clause) -> list[Claim] | None:
    """'a patchwork': no single land cover takes nearly everything."""
    return [Claim("mixed", (), s, 0.0, WHOLE_MOSTLY, words=clause.words) for s in clause.scopes]


def restholds(clause: Clause) -> list[Claim] | None:
    """'the rest includes water (3 percent)': of what no other clause has placed."""
    if _amount(clause.part("s")[0]) != "rest" or set(clause.classes("a")) & set(clause.context.taken):
        return None
    if "p" in clause.slots:
        return sharelist(clause)
    return [presence(t, s) for t in clause.covers("a") for s in clause.scopes]


def _worth(token: Token, where: Part) -> Claim:
    cover: Cover = token.cats["COVER"]
    low, high = cover.span or (_LEAST_OF_MIX, 100.0)
    return Claim("share", cover.classes, where, low, high, words=token.words)


_OF_SEVERAL = 70.0
"""Percent that several land covers need together for a place to be called by them."""


_NOTHING_ELSE = 99.0
"""Percent from which an adverb leaves room for nothing else."""


def onlycovers(clause: Clause) -> list[Claim] | None:
    """'wetland and trees are the only covers'."""
    mine, number = clause.classes("a"), clause.value("n", "NUM")
    if isinstance(number, Number) and number.value != len(clause.covers("a")):
        return None
    if "u" in clause.slots and (clause.span("u", "adverb") or (0.0, 0.0))[0] < _NOTHING_ELSE:
        return None
    claims = [Claim.spanning("share", mine, s, (98.5, 101.5), clause.words) for s in clause.scopes]
    return [*claims, *(presence(t, s) for t in clause.covers("a") for s in clause.scopes)] or None


def howmany(clause: Clause) -> list[Claim] | None:
    """'three land covers each hold more than a fifth'."""
    number = clause.value("n", "NUM")
    if not isinstance(number, Number):
        return None
    span = clause.span("s", "AMT")
    against = () if span is None else (f"{span[0]:g}", f"{span[1]:g}")
    low_n, high_n = number.span()
    return [Claim("number", (), s, low_n, high_n, against, words=clause.words) for s in clause.scopes]


def exceedshare(clause: Clause) -> list[Claim] | None:
    """'tree cover exceeds 40 percent': more than the middle of what the number spans."""
    mine, span = clause.classes("a") or clause.context.subject, clause.span("s", "AMT")
    if not mine or span is None or span[1] >= EVERYTHING or span[0] <= 0.0:
        return None
    limit = (span[0] + span[1]) / 2
    said = (0.0, limit) if clause.value("x", "exceed") == "less" else (limit, 100.0)
    return [Claim.spanning("share", mine, s, said, clause.words) for s in clause.scopes]


def rangeshare(clause: Clause) -> list[Claim] | None:
    """'crops range from 10 percent in the top left to 58 percent in the top right'."""
    mine = clause.classes("a") or clause.context.subject
    spans = [span for slot in ("s", "t") if (span := clause.span(slot, "AMT")) is not None]
    places = [clause.places(slot) for slot in ("q", "z")]
    if not mine or len(spans) < 2 or any(len(p) != 1 or not p[0] for p in places):
        return None
    here, there = places[0][0], places[1][0]
    found = [Claim.spanning("share", mine, p, s, clause.words) for p, s in zip((here, there), spans, strict=True)]
    way = next((str(t.cats["thin"]) for t in clause.part("x") if t.has("thin")), None)
    if way is not None:
        low, high = (MORE, EVERYTHING) if way == "down" else (0.0, 1 / MORE)
        return [*found, Claim("comparison", mine, here, low, high, mine, there, clause.words)]
    if not any(t.words in _RANGING for t in clause.part("x")):
        return found
    up = 1.0 if spans[0][0] > spans[1][0] else -1.0
    return [*found, Claim("extreme", mine, here, up, words=clause.words),
            Claim("extreme", mine, there, -up, words=clause.words)]  # fmt: skip


_RANGING = ("range", "ranges", "ranging", "vary", "varies", "varying")


def rangeacross(clause: Clause) -> list[Claim] | None:
    """'tree cover ranges from 78 to 97 percent across the quadrants': its least and its largest share in a part."""
    mine = clause.classes("a") or clause.context.subject
    spans = [span for slot in ("s", "t") if (span := clause.span(slot, "AMT")) is not None]
    parts = tuple(p for place in clause.places("q") for p in place)
    if not mine or len(spans) < 2 or len(parts) < 2 or any(len(p) > 1 for p in clause.places("q")):
        return None
    low, high = sorted(spans)
    return [Claim.spanning("least of parts", mine, parts, low, clause.words),
            Claim.spanning("most of parts", mine, parts, high, clause.words)]  # fmt: skip


def notshare(clause: Clause) -> list[Claim] | None:
    """'a third of the scene is not forest': the others have the rest."""
    mine, span = clause.classes("a"), clause.span("s", "AMT")
    if not mine or span is None:
        return None
    said = (max(0.0, 100.0 - span[1]), 100.0 - span[0])
    return [Claim.spanning("share", mine, s, said, clause.words) for s in clause.scopes]


def placelist(clause: Clause) -> list[Claim] | None:
    """'crops: 30 percent in the north-east, 55 percent in the south-west and 10 percent in the middle'."""
    mine = clause.classes("a") or clause.context.subject
    found: list[Claim] = []
    amount: Token | None = None
    places: tuple[Part, ...] = ()
    for token in clause.part("p"):
        if token.has("AMT"):
            amount = token
        elif token.has("REGION") or token.has("SCOPE"):
            places = tuple(token.cats["REGION" if token.has("REGION") else "SCOPE"] or ())
        if amount is not None and places:
            words = f"{amount.words} {token.words}"
            for where in places:
                found += _share_claims(replace(clause, scopes=(where,)), mine, _amount(amount), words) or []
            amount, places = None, ()
    return found if mine and len(found) > 1 and amount is None and not places else None


def nocover(clause: Clause) -> list[Claim] | None:
    """'..., and no other land cover reaches a tenth': as many do as the sentence has named."""
    span, named = clause.span("s", "AMT"), float(len(clause.context.taken))
    if span is None or not named or span[1] >= EVERYTHING or span[0] <= 0.0:
        return None
    against = (f"{(span[0] + span[1]) / 2:g}", "100")
    return [Claim("number", (), s, named, named, against, words=clause.words) for s in clause.scopes]


def placesrespective(clause: Clause) -> list[Claim] | None:
    """'trees cover 30 and 22 percent of the top right and the bottom right': in order."""
    mine, places = clause.classes("a") or clause.context.subject, clause.places("q")
    amounts = [_amount(t) if t.has("AMT") else t.cats["NUM"].span() for s in ("s", "t") for t in clause.part(s)]
    if not mine or len(places) != len(amounts) or not all(isinstance(a, tuple) for a in amounts):
        return None
    pairs = zip(places, amounts, strict=True)
    return [Claim("share", mine, p, float(a[0]), float(a[1]), words=clause.words) for p, a in pairs]  # type: ignore[index]
