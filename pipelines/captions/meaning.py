"""What a clause claims: one handler for each name in `frames.txt`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING, HALVES, VEGETATION, Claim
from landweave.facts import REGIONS
from pipelines.captions.tokens import WHOLE_MOSTLY, Number, Objects, Token, presence, worth_naming

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from landweave.claims import Span
    from pipelines.captions.tokens import Cover

Part = tuple[str, ...]
"""Parts of the scene whose areas are added; () = the whole scene."""
_EQUAL: dict[str | None, Span] = {None: (0.88, 1.14), "below": (0.75, 1.34), "about": (0.75, 1.34)}
"""Ratio of shares that are called equal, nearly equal, about equal."""
_AS_MUCH: dict[str | None, Span] = {None: (0.9, 1.2), "below": (0.72, 1.0), "about": (0.75, 1.34)}
_LEAST_OF_MIX = 2.0
"""Percent that a land cover needs to be named as part of a mix."""
_PRESENT = (0.4, 100.0)
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
            from pipelines.captions.tokens import Cover

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
    from pipelines.captions.tokens import Cover

    name = str(token.cats["adj"])
    return Token({"COVER": Cover(VEGETATION if name == "vegetation" else (name,))}, token.words)


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


def balanced(clause: Clause) -> list[Claim] | None:
    """Two land covers about equal, with their amounts."""
    equal_claims, shares = equal(clause), respective(clause)
    return None if equal_claims is None or shares is None else [*equal_claims, *shares]


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
    span: Span = adverb or (_OCCUPIED if occupied else whole, 100.0)
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
        elif token.has("adverb"):
            adverb = token.cats["adverb"]
        elif token.has("adj"):
            span = adverb or (50.0, 100.0)
            classes = as_cover(token).cats["COVER"].classes
            found += [Claim.spanning("share", classes, s, span, token.words) for s in clause.scopes]
            adverb = None
    return found


def bare_scene(clause: Clause) -> list[Claim] | None:
    """A clause whose claims stand in its adverbials: 'the image was captured in April'."""
    return [] if clause.words else None


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


def object_claim(token: Token, where: Part) -> Claim:
    """Map objects and their number; facts count them over the whole scene."""
    found: Objects = token.cats["OBJ"]
    return Claim("count", found.kinds, where, *found.span, words=token.words)


def present(clause: Clause) -> list[Claim] | None:
    """Land covers and map objects are there."""
    if any(t.has("rare") and t.cats["rare"] != _PRESENT for t in clause.tokens):
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


def is_absent(token: Token) -> bool:
    """Whether a cover is said not to be there."""
    return token.has("COVER") and bool(token.cats["COVER"].absent)


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


def rank(clause: Clause) -> list[Claim] | None:
    """A land cover has this rank; several share the first ranks."""
    top = clause.value("t", "top")
    covers = clause.covers("a")
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
    return clause.trailing and len(tokens) == 1 and tokens[0].words.startswith(_SUPERLATIVES)


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


_OF_SEVERAL = 70.0
"""Percent that several land covers need together for a place to be called by them."""
_OCCUPIED = 50.0
"""Percent from which a land cover occupies a part of the scene."""
_MORE = 1.0 + 1e-4
"""Least ratio of what is called more."""


def exceed(clause: Clause) -> list[Claim] | None:
    """`a` has a larger ('less': smaller) share than `b`; a list is added up only with 'together'."""
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    others = [t.cats["COVER"].classes for t in clause.covers("b")]
    if clause.together or any(t.has("together") for t in clause.tokens):
        others = [tuple(c for names in others for c in names)]
    less = clause.value("x", "exceed") == "less"
    return _compared(clause, mine, others, less=less)


def _compared(
    clause: Clause, mine: tuple[str, ...], others: list[tuple[str, ...]], *, less: bool
) -> list[Claim] | None:
    others = [names for names in others if names]
    if not mine or not others or any(set(mine) & set(names) for names in others):
        return None
    low, high = (0.0, 1.0 / _MORE) if less else (_MORE, EVERYTHING)
    found = [Claim("comparison", mine, s, low, high, o, s, clause.words) for s in clause.scopes for o in others]
    there = [names if names == VEGETATION else (n,) for names in (mine, *others) for n in names]
    return [*found, *(Claim("presence", n, s, words=clause.words) for n in dict.fromkeys(there) for s in clause.scopes)]


def more(clause: Clause) -> list[Claim] | None:
    """'more trees than crops'."""
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    others = [t.cats["COVER"].classes for t in clause.covers("b")]
    if clause.together or any(t.has("together") for t in clause.tokens):
        others = [tuple(c for names in others for c in names)]
    return _compared(clause, mine, others, less=clause.value("x", "more") == "less")


def moreplace(clause: Clause) -> list[Claim] | None:
    """'more cropland in the bottom half than in the top half'."""
    mine = clause.classes("a") or clause.classes("b")
    ours = clause.places("r" if "r" in clause.slots else "q")
    theirs: tuple[Part, ...] = ((),)
    if "r" in clause.slots and "q" in clause.slots:
        theirs = clause.places("q")
    elif len(ours) == 1 and len(ours[0]) == 2 and not any(t.has("SCENE") for t in clause.tokens):
        theirs = (_opposite(ours[0]),)
    if not mine or ours == theirs:
        return None
    less = clause.value("x", "more") == "less"
    low, high = (0.0, 1.0 / _MORE) if less else (_MORE, EVERYTHING)
    each = [t.cats["COVER"].classes for t in (*clause.covers("a"), *clause.covers("b"))] or [mine]
    return [Claim("comparison", m, r, low, high, m, q, clause.words) for m in each for r in ours for q in theirs]


def _factor(clause: Clause) -> Span | None:
    times, number = clause.value("n", "times"), clause.value("n", "NUM")
    value = float(times) if isinstance(times, float) else number.value if isinstance(number, Number) else 0.0
    spans = {"more": (value, EVERYTHING), "less": (0.0, value), "below": (value * 0.8, value * 1.02)}
    spans |= {"above": (value, value * 1.2), "about": (value * 0.82, value * 1.18)}
    near = clause.near() or (number.near if isinstance(number, Number) else None)
    return spans.get(str(near), (value * 0.88, value * 1.12)) if value > 0 else None


def times(clause: Clause) -> list[Claim] | None:
    """'twice as much as'."""
    mine, other, factor = clause.classes("a") or clause.context.subject, clause.classes("b"), _factor(clause)
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
    return _compared(clause, mine, [clause.classes("b")], less=True)


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


_SUPERLATIVES = (
    "most", "least", "highest", "lowest", "largest", "smallest", "greatest", "biggest", "rarest", "scarcest",
    "concentrated", "clustered", "mostly", "mainly", "found", "densest", "thickest", "sparsest", "best", "weakest",
    "strongest", "scantest", "thinnest", "largely", "chiefly", "broadest", "tiniest",
    "single largest", "maximum", "minimum",
)  # fmt: skip
"""Beginnings of words that compare the parts of the scene: 'dominant in the top left' does not."""


def extreme(clause: Clause) -> list[Claim] | None:
    """The largest or smallest share of a land cover among the parts of the scene."""
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    token = clause.part("t")[0]
    top = float(token.cats.get("top", -1.0 if token.words == "least" else 1.0))
    bare_more = token.has("more") and "most" not in token.words and "highest" not in token.words
    if not mine or bare_more or abs(top) != 1.0 or not token.words.startswith(_SUPERLATIVES):
        return None
    places = clause.places("q") if "q" in clause.slots else clause.places("r")
    if any(not p for p in places):
        return rank(clause) if places == ((),) else None
    if token.has("concentrated") and len(places) > 1:
        return [Claim("comparison", mine, p, _MORE, EVERYTHING, mine, (), clause.words) for p in places]
    return [Claim("extreme", mine, places[0], top, words=clause.words)] if len(places) == 1 else None


def moststands(clause: Clause) -> list[Claim] | None:
    """'most of the trees are in the north', 'trees cover a third, mostly in the north': more than half of them."""
    if any(t.words.startswith("of ") for t in clause.part("q")):
        return None  # '31 percent of the north' is a share of the north, and not of the trees
    span = clause.span("u", "adverb") if "u" in clause.slots else clause.span("s", "AMT")
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    places = clause.places("q") if "q" in clause.slots else clause.places("r")
    if span is None or not mine or any(not p for p in places):
        return None
    if span[0] >= _ALL_OF_IT:
        return _only_in(mine, places, clause.words)
    return [Claim.spanning("part", mine, p, span, clause.words) for p in places]


_ALL_OF_IT = 99.0
"""Percent from which nothing of a land cover may lie outside of a place."""


def onlypart(clause: Clause) -> list[Claim] | None:
    """'the bottom left is the only part in which crops outweigh trees'."""
    mine = clause.classes("a") or clause.context.subject
    places = clause.places("r") if "r" in clause.slots else clause.places("q")
    if len(places) > 1 and "b" not in clause.slots and not any(t.has("lead") for t in clause.tokens):
        return _only_in(mine, places, clause.words)
    if not mine or len(places) != 1 or not places[0]:
        return None
    here = places[0]
    others = [(r,) for r in REGIONS if r not in here] if len(here) == 1 else [_opposite(here)]
    others = [o for o in others if not set(o) & set(here)]
    if len(here) == 2 and "a" in clause.slots:
        others = [(r,) for r in REGIONS if r not in (*here, "middle")]
    rival = clause.classes("b")
    if rival:
        less_here = clause.value("x", "exceed") == "less"
        low, high = (0.0, 1 / _MORE) if less_here else (_MORE, EVERYTHING)
        low2, high2 = (1.0, EVERYTHING) if less_here else (0.0, 1.0)
        return [
            Claim("comparison", mine, here, low, high, rival, here, clause.words),
            *(Claim("comparison", mine, o, low2, high2, rival, o, clause.words) for o in others),
        ]
    if any(t.has("lead") or t.has("top") or t.has("leadby") for t in clause.tokens):
        return [
            Claim("rank", mine, here, 1.0, words=clause.words),
            *(Claim("not first", mine, o, words=clause.words) for o in others),
        ]
    return [
        Claim("presence", mine, here, words=clause.words),
        *(Claim("share", mine, o, 0.0, 1.0, words=clause.words) for o in others),
    ]


def _only_in(mine: tuple[str, ...], places: tuple[Part, ...], words: str) -> list[Claim] | None:
    """In each of several parts, and in no other quarter."""
    named = {p for place in places for p in place}
    if not mine or not all(places):
        return None
    rest = [r for r in REGIONS if r not in named and r != "middle"]
    return [*(Claim("presence", mine, p, words=words) for p in places),
            *(Claim.spanning("share", mine, (r,), (0.0, 1.0), words) for r in rest)]  # fmt: skip


def _opposite(here: Part) -> Part:
    return next(h for h in HALVES if not set(h) & set(here))


def allbut(clause: Clause) -> list[Claim] | None:
    """'the main cover in every part but the bottom left'."""
    mine, without = clause.classes("a"), clause.places("r")
    if not mine or len(clause.places("q")) < 2:
        return None
    out = {p for w in without for p in w}
    named = [r for r in REGIONS if (r,) in clause.places("q")] or list(REGIONS)
    return [
        *(Claim("rank", mine, (r,), 1.0, words=clause.words) for r in named if r not in out),
        *(Claim("not first", mine, (r,), words=clause.words) for r in REGIONS if r in out),
    ]


def thin(clause: Clause) -> list[Claim] | None:
    """'tree cover thins from 90 percent in the top left to 45 percent in the bottom left'."""
    down = clause.value("x", "thin") == "down"
    spans = [span for slot in ("s", "t") if (span := clause.span(slot, "AMT")) is not None]
    if "q" not in clause.slots or len(spans) < 2:
        return None
    mine = clause.classes("a") or clause.context.subject
    places = (clause.places("q")[0], clause.places("z")[0])
    low, high = (_MORE, EVERYTHING) if down else (0.0, 1 / _MORE)
    return [
        *(Claim.spanning("share", mine, p, s, clause.words) for p, s in zip(places, spans, strict=True)),
        Claim("comparison", mine, places[0], low, high, mine, places[1], clause.words),
    ]


def thintowards(clause: Clause) -> list[Claim] | None:
    """'tree cover thins towards the south': less of it there than in the opposite part."""
    mine, places = clause.classes("a") or clause.context.subject, clause.places("z")
    here = places[0] if len(places) == 1 else ()
    if not mine or not here or here == ("middle",):
        return None
    there = _opposite(here) if len(here) == 2 else (_ACROSS[here[0]],)
    low, high = (_MORE, EVERYTHING) if clause.value("x", "thin") == "down" else (0.0, 1 / _MORE)
    return [Claim("comparison", mine, there, low, high, mine, here, clause.words)]


_ACROSS = {
    "top left": "bottom right", "bottom right": "top left", "top right": "bottom left", "bottom left": "top right",
}  # fmt: skip


def giveway(clause: Clause) -> list[Claim] | None:
    """'moving from the top left to the bottom left, trees give way to crops'."""
    old, new = clause.classes("a"), clause.classes("b")
    start, end = clause.places("q")[0], clause.places("z")[0]
    if not old or not new:
        return None
    return [
        Claim("comparison", old, start, _MORE, EVERYTHING, old, end, clause.words),
        Claim("comparison", new, end, _MORE, EVERYTHING, new, start, clause.words),
        Claim("comparison", old, start, _MORE, EVERYTHING, new, start, clause.words),
        Claim("comparison", new, end, _MORE, EVERYTHING, old, end, clause.words),
    ]


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
    return [Claim.spanning("length", ("road_length_m",), (), _length(clause.part("l")[0]), clause.words),
            *(_objects_counted(clause.part("o")))]  # fmt: skip


def _objects_counted(tokens: Sequence[Token]) -> list[Claim]:
    """Their number, where the text gives one."""
    return [object_claim(t, ()) for t in tokens if t.has("OBJ") and t.cats["OBJ"].span != (1.0, EVERYTHING)]


def _length(token: Token) -> Span:
    """A length in metres; facts round roads to 10 m, which is added to what the words round."""
    low, high = token.cats["LEN"]
    return float(low), float(high)


def _metres(token: Token, tokens: Sequence[Token]) -> Span:
    """A height in metres: a bare number takes the unit of the other end."""
    if token.has("LEN"):
        return _length(token)
    number: Number = token.cats["NUM"]
    del tokens
    return number.span()


def _sea(clause: Clause, slot: str) -> float:
    """-1 where 'below sea level' stands right behind the slot."""
    end = clause.slots[slot][1]
    behind = clause.tokens[end : end + 1]
    return -1.0 if any(t.has("belowsea") or t.word("below") for t in behind) else 1.0


def _height(clause: Clause, slot: str, field: str) -> Claim:
    low, high = _metres(clause.part(slot)[0], clause.tokens)
    if clause.part(slot)[0].words.startswith(("up to", "as high as")):
        low = high - 0.5
    if _sea(clause, slot) < 0:
        low, high = -high, -low
    return Claim("height", (field,), (), low, high, words=clause.words)


def span(clause: Clause) -> list[Claim] | None:
    """Lowest and highest elevation, and their difference if it is said."""
    if any(s for s in clause.scopes):
        return None
    found = [_height(clause, "a", "elevation_min_m"), _height(clause, "b", "elevation_max_m")]
    if "c" in clause.slots:
        found.append(Claim.spanning("height", ("elevation_range_m",), (), _length(clause.part("c")[0]), clause.words))
    return found


def level(clause: Clause) -> list[Claim] | None:
    """One elevation for all of the ground."""
    return [_height(clause, "a", "elevation_min_m"), _height(clause, "a", "elevation_max_m")]


def low(clause: Clause) -> list[Claim] | None:
    """The lowest elevation."""
    claim = _height(clause, "a", "elevation_min_m")
    if any(t.words in ("above", "below") for t in clause.tokens):
        claim = replace(claim, low=(claim.low + claim.high) / 2, high=EVERYTHING)
    return None if any(clause.scopes) else [claim]


def high(clause: Clause) -> list[Claim] | None:
    """The highest elevation."""
    token = clause.part("a")[0]
    claim = _height(clause, "a", "elevation_max_m")
    if token.words.startswith("up to"):
        half = 0.5
        claim = replace(claim, low=claim.high - half, high=claim.high + half)
    return None if any(clause.scopes) else [claim]


def heights(clause: Clause) -> list[Claim] | None:
    """The difference between the highest and the lowest elevation."""
    if any(clause.scopes):
        return None
    low_m, high_m = _length(clause.part("a" if "a" in clause.slots else "c")[0])
    side = clause.value("x", "exceed")
    if side is not None:
        middle = (low_m + high_m) / 2
        low_m, high_m = (middle, EVERYTHING) if side == "more" else (0.0, middle)
    return [Claim("height", ("elevation_range_m",), (), low_m, high_m, words=clause.words)]


def slope(clause: Clause) -> list[Claim] | None:
    """The mean slope, as a number, in words, or both."""
    if any(clause.scopes):
        return None
    spans = [t.cats[c] for t in clause.tokens for c in ("slope", "DEG") if t.has(c)]
    bounded = any(t.has("DEG") and (t.cats["DEG"][0] <= 0.0 or t.cats["DEG"][1] >= EVERYTHING) for t in clause.tokens)
    if bounded and not any(t.has("mean") for t in clause.tokens) and "mean" not in clause.words:
        return None  # 'slopes of at most 6 degrees' is not their mean
    return [Claim.spanning("slope", ("slope_mean_deg",), (), span, clause.words) for span in spans] or None


def relief(clause: Clause) -> list[Claim] | None:
    """The shape of the ground."""
    if any(clause.scopes):
        return None
    found = [
        Claim("relief", ("relief",), against=(str(t.cats[c]),), words=t.words)
        for t in clause.tokens
        for c in ("relief", "hills")
        if t.has(c) and not t.claims
    ]
    if not found and any(t.claims for t in clause.tokens) and "a" not in clause.slots:
        return []
    covers = clause.classes("a")
    if covers:
        amount = clause.span("u", "adverb") or (50.0, 100.0)
        found += [Claim.spanning("share", covers, s, amount, clause.words) for s in clause.scopes]
    return found or None


def size(clause: Clause) -> list[Claim] | None:
    """The edge of the footprint."""
    if any(clause.scopes):
        return None
    slots = [s for s in ("a", "b") if s in clause.slots]
    return [Claim.spanning("length", ("size_m",), (), _length(clause.part(s)[0]), clause.words) for s in slots]


def area(clause: Clause) -> list[Claim] | None:
    """The area of the footprint."""
    if any(clause.scopes):
        return None
    low_m2, high_m2 = clause.part("a")[0].cats["AREA"]
    return [Claim("area", ("area_m2",), (), low_m2, high_m2, words=clause.words)]


def time(clause: Clause) -> list[Claim] | None:
    """A clause whose claims stand in its adverbials."""
    return [] if clause.words else None


def season(clause: Clause) -> list[Claim] | None:
    """'the season is spring'."""
    value = clause.value("v", "season")
    return [Claim("season", ("season",), against=(str(value),), words=clause.words)]


def confined(clause: Clause) -> list[Claim] | None:
    """'confined to the bottom left': there, and not elsewhere; 'largely' says how much of it."""
    mine = clause.classes("a") or clause.context.subject
    places = clause.places("r") if "r" in clause.slots else clause.places("q")
    adverb = clause.span("u", "adverb")
    if len(places) > 1:
        return _only_in(mine, places, clause.words) if adverb is None else None
    if not mine or len(places) != 1 or not places[0]:
        return None
    if adverb is not None:
        return [Claim.spanning("part", mine, places[0], adverb, clause.words)]
    rest = [(r,) for r in REGIONS if r not in places[0] and r != "middle"]
    claims = [Claim.spanning("share", mine, r, (0.0, 1.0), clause.words) for r in rest]
    return [Claim("presence", mine, places[0], words=clause.words), *claims]


def capped(clause: Clause) -> list[Claim] | None:
    """'never rises above 19 m', 'all of it lies above 300 m', 'elevations exceed 2900 m'."""
    if any(clause.scopes):
        return None
    low_m, high_m = _length(clause.part("a")[0])
    if any(t.word("climbs", "climb", "rises", "rise") for t in clause.tokens) and "than" in clause.part("a")[0].words:
        return None  # 'climbs more than 400 m' is a difference
    never = any(t.has("never") or t.word("no", "none") for t in clause.tokens)
    above = high_m >= EVERYTHING or clause.value("x", "exceed") == "more"
    below = low_m <= 0.0 < high_m or clause.value("x", "exceed") == "less"
    if above == below:
        return None
    limit = (low_m if high_m >= EVERYTHING else (low_m + high_m) / 2) if above else high_m
    if above and never:
        return [Claim("height", ("elevation_max_m",), (), -EVERYTHING, limit, words=clause.words)]
    if above:
        field = "elevation_max_m" if "x" in clause.slots else "elevation_min_m"
        return [Claim("height", (field,), (), limit, EVERYTHING, words=clause.words)]
    field = "elevation_min_m" if never else "elevation_max_m"
    span = (limit, EVERYTHING) if never else (-EVERYTHING, limit)
    return [Claim.spanning("height", (field,), (), span, clause.words)]


def slopeexceeds(clause: Clause) -> list[Claim] | None:
    """'the mean slope exceeds 25 degrees'."""
    low_deg, high_deg = next(t.cats["DEG"] for t in clause.tokens if t.has("DEG"))
    limit = (low_deg + high_deg) / 2
    more_than = clause.value("x", "exceed") == "more"
    span = (limit, 90.0) if more_than else (0.0, limit)
    return None if any(clause.scopes) else [Claim.spanning("slope", ("slope_mean_deg",), (), span, clause.words)]


def absentfrom(clause: Clause) -> list[Claim] | None:
    """'absent from the northern half'."""
    if "x" in clause.slots and clause.value("x", "rare") != "none":
        return None
    if "a" in clause.slots or not clause.context.subject:
        return absent(clause)
    return [Claim("absence", clause.context.subject, s, words=clause.words) for s in clause.scopes]


def rankafter(clause: Clause) -> list[Claim] | None:
    """'the second largest cover after wetland'."""
    ranks = rank(clause)
    mine, others = clause.classes("a"), [t.cats["COVER"].classes for t in clause.covers("b")]
    if ranks is None or not mine or not others:
        return None
    order = _compared(clause, mine, others, less=True)
    return None if order is None else [*ranks, *order]


def onlycovers(clause: Clause) -> list[Claim] | None:
    """'wetland and trees are the only covers'."""
    mine, number = clause.classes("a"), clause.value("n", "NUM")
    if isinstance(number, Number) and number.value != len(clause.covers("a")):
        return None
    claims = [Claim.spanning("share", mine, s, (98.5, 101.5), clause.words) for s in clause.scopes]
    return [*claims, *(presence(t, s) for t in clause.covers("a") for s in clause.scopes)] or None


def thinfrom(clause: Clause) -> list[Claim] | None:
    """'from the top left to the bottom right, built-up land falls from 70 to 18 percent'."""
    token = clause.part("x")[0]
    down = token.cats.get("thin", "up") == "down"
    mine, places = clause.classes("a"), (clause.places("q")[0], clause.places("z")[0])
    low_ratio, high_ratio = (_MORE, EVERYTHING) if down else (0.0, 1 / _MORE)
    found = [Claim("comparison", mine, places[0], low_ratio, high_ratio, mine, places[1], clause.words)]
    for slot, where in zip(("s", "t"), places, strict=True):
        span = clause.span(slot, "AMT")
        if span is not None:
            found.append(Claim.spanning("share", mine, where, span, clause.words))
    return found if mine and token.has("thin") else None


def allbutpresent(clause: Clause) -> list[Claim] | None:
    """'found in every part of the image except the bottom left'."""
    mine, without = clause.classes("a") or clause.context.subject, clause.places("r")
    named = [r for r in REGIONS if (r,) in clause.places("q")]
    if not mine or len(named) < len(REGIONS) - 1:
        return None
    out = {p for w in without for p in w}
    return [
        *(Claim("presence", mine, (r,), words=clause.words) for r in named if r not in out),
        *(Claim.spanning("share", mine, (r,), (0.0, 1.0), clause.words) for r in REGIONS if r in out),
    ]


def howmany(clause: Clause) -> list[Claim] | None:
    """'three land covers each hold more than a fifth'."""
    number = clause.value("n", "NUM")
    if not isinstance(number, Number):
        return None
    span = clause.span("s", "AMT")
    against = () if span is None else (f"{span[0]:g}", f"{span[1]:g}")
    low_n, high_n = number.span()
    return [Claim("number", (), s, low_n, high_n, against, words=clause.words) for s in clause.scopes]


_AGAIN = {
    "range": ("height", "elevation_range_m"), "high": ("height", "elevation_max_m"),
    "length": ("length", "road_length_m"), "low": ("height", "elevation_min_m"), "size": ("length", "size_m"),
}  # fmt: skip


def again(clause: Clause) -> list[Claim] | None:
    """A second length behind a first one: 'the difference is 1135 m, more than a kilometre'."""
    last = _AGAIN.get(clause.context.last)
    if last is None:
        return None
    return [Claim.spanning(last[0], (last[1],), (), _length(clause.part("a")[0]), clause.words)]


def notin(clause: Clause) -> list[Claim] | None:
    """'... but not in the upper half': what was last spoken of is not there."""
    places = clause.places("q")
    if not clause.context.subject or any(not p for p in places):
        return None
    return [Claim.spanning("share", clause.context.subject, p, (0.0, 1.0), clause.words) for p in places]


def exceedall(clause: Clause) -> list[Claim] | None:
    """'more than all other covers combined': more than half of what is listed."""
    mine = clause.classes("a") or clause.context.subject
    if not mine or clause.value("x", "exceed") == "less" or clause.value("x", "more") == "less":
        return None
    if clause.together:
        return [Claim.spanning("share", mine, s, (50.0, 100.0), clause.words) for s in clause.scopes]
    return [Claim("rank", mine, s, 1.0, words=clause.words) for s in clause.scopes]


def rankshare(clause: Clause) -> list[Claim] | None:
    """'at 57 percent, shrubland is the largest cover'."""
    ranks = rank(clause) if "t" in clause.slots else lead(clause)
    shares = share(clause)
    return None if ranks is None or shares is None else [*ranks, *shares]


def morethan(clause: Clause) -> list[Claim] | None:
    """'..., more than grass does': of what was last spoken of."""
    near, words = clause.near("x"), clause.part("x")[0].words
    less = near == "less" or "less" in words
    if near not in ("more", "less") and not words.endswith(("more than", "less than")):
        return None
    order = _compared(clause, clause.context.subject, [clause.classes("b")], less=less)
    span = clause.span("s", "AMT")
    if order is None or span is None:
        return order
    return [*order, *(Claim.spanning("share", clause.classes("b"), s, span, clause.words) for s in clause.scopes)]


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
        low, high = (_MORE, EVERYTHING) if way == "down" else (0.0, 1 / _MORE)
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


def otherparts(clause: Clause) -> list[Claim] | None:
    """'more water than any other part of the scene'."""
    mine = clause.classes("a") or clause.context.subject
    places = clause.places("q") if "q" in clause.slots else clause.places("r")
    if not mine or len(places) != 1 or not places[0]:
        return None
    low = -1.0 if clause.value("x", "more") == "less" else 1.0
    return [Claim("extreme", mine, places[0], low, words=clause.words)]


def onlywithout(clause: Clause) -> list[Claim] | None:
    """'the top left is the only quadrant without trees'."""
    mine, places = clause.classes("a"), clause.places("r")
    if not mine or len(places) != 1 or len(places[0]) != 1:
        return None
    others = [r for r in REGIONS if r not in places[0] and (r != "middle" or "part" in clause.words)]
    return [Claim("absence", mine, places[0], words=clause.words),
            *(Claim("presence", mine, (r,), words=clause.words) for r in others)]  # fmt: skip


def timesobjects(clause: Clause) -> list[Claim] | None:
    """'three times as many vineyards as orchards'."""
    mine, other, factor = _kinds(clause, "a"), _kinds(clause, "b"), clause.value("n", "factor")
    if not mine or not other or mine == other or not isinstance(factor, float) or any(clause.scopes):
        return None
    spans = {"more": (factor, EVERYTHING), "less": (0.0, factor), "below": (factor * 0.8, factor * 1.02),
             "above": (factor, factor * 1.2), "about": (factor * 0.82, factor * 1.18)}  # fmt: skip
    low, high = spans.get(str(clause.near()), (factor * 0.94, factor * 1.06))
    return [Claim("more objects", mine, (), low, high, other, words=clause.words)]


def extremeshare(clause: Clause) -> list[Claim] | None:
    """'..., with the highest share, 30 percent, in the bottom left'."""
    first, span = extreme(clause), clause.span("s", "AMT")
    mine = clause.classes("a") or clause.context.subject
    if first is None or span is None or not mine:
        return None
    return [*first, *(Claim.spanning("share", mine, p, span, clause.words) for p in clause.places("q"))]


def rankpairs(clause: Clause) -> list[Claim] | None:
    """'the dominant land covers are grass (40 percent) and crops (36 percent)'."""
    top, shares = clause.value("t", "top"), sharelist(clause)
    lists = [t.cats["COVER"].classes for t in clause.part("p") if t.has("COVER")]
    if shares is None or not lists or not isinstance(top, float) or (len(lists) > 1 and top != 1.0):
        return None
    if len(lists) > 1:
        return [*shares, *_leading(lists, clause.scopes, clause.words)]
    return [*shares, *(Claim("rank", lists[0], s, top, words=clause.words) for s in clause.scopes)]


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
        return [Claim("share", mine, rest, _OCCUPIED, 100.0, words=clause.words)]
    said = clause.value("x", "rare")
    span = (0.0, 1.0) if said in (None, "none") else clause.span("x", "rare")
    return None if span is None else [Claim.spanning("share", mine, (r,), span, clause.words) for r in rest]


def _kinds(clause: Clause, slot: str) -> tuple[str, ...]:
    return tuple(k for t in clause.part(slot) if t.has("OBJ") for k in t.cats["OBJ"].kinds)


def moreobjects(clause: Clause) -> list[Claim] | None:
    """'there are more buildings than roads'."""
    mine, other = _kinds(clause, "a"), _kinds(clause, "b")
    word = "exceed" if clause.value("x", "exceed") is not None else "more"
    if not mine or not other or mine == other or any(clause.scopes):
        return None
    low_ratio, high_ratio = (0.0, 1.0 / _MORE) if clause.value("x", word) == "less" else (_MORE, EVERYTHING)
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


def _ends_of(clause: Clause) -> tuple[str, str] | None:
    """Names of the slots of the lowest and the highest elevation."""
    first, other = clause.slots["a"][0], clause.slots["b"][0]
    marks = [(i, "low" if t.has("lowpoint") else "high") for i, t in enumerate(clause.tokens)
             if t.has("lowpoint") or t.has("highpoint")]  # fmt: skip
    if not marks:
        falls = any(t.cats.get("thin") == "down" for t in clause.tokens)
        backwards = clause.tokens[first - 1].word("to") and clause.tokens[other - 1].word("from")
        return ("b", "a") if falls or (first and backwards) else ("a", "b")
    if len(marks) == 1:
        ((i, name),) = marks
        of_first = i < first or (i < other and clause.tokens[first + 1].word("at", "is", "as", "for"))
        return ("a", "b") if of_first == (name == "low") else ("b", "a")
    if len(marks) != 2 or marks[0][1] == marks[1][1]:
        return None
    (i, name), (j, _) = marks
    if not (i < first < j < other or first < i < other < j):
        return None
    return ("a", "b") if name == "low" else ("b", "a")


def ends(clause: Clause) -> list[Claim] | None:
    """The lowest and the highest elevation, in either order where words say which is which."""
    named = _ends_of(clause)
    said = any(t.has(c) for t in clause.tokens for c in ("elev", "reliefword", "sealevel", "belowsea", "lowpoint"))
    said = said or clause.context.last in ("ends", "span", "range", "high", "low", "capped")
    if named is None or not said or any(clause.scopes) or not _joined(clause):
        return None
    return [_height(clause, named[0], "elevation_min_m"), _height(clause, named[1], "elevation_max_m")]


def _joined(clause: Clause) -> bool:
    between = clause.tokens[clause.slots["a"][1] : clause.slots["b"][0]]
    return any(t.word("to", "and", ",", "while", "up to", "from") or t.has("thin") for t in between) or clause.part(
        "b"
    )[0].words.startswith("up to")


HANDLERS: dict[str, Callable[[Clause], list[Claim] | None]] = {
    "share": share, "sharelist": sharelist, "respective": respective, "balanced": balanced, "spread": spread,
    "mostly": mostly, "adjective": adjective, "bare_scene": bare_scene, "consist": consist, "mixed": mixed,
    "restholds": restholds, "present": present, "rare": rare, "absent": absent, "rank": rank, "second": second,
    "lead": lead, "followed": followed, "chain": chain, "exceed": exceed, "more": more, "moreplace": moreplace,
    "times": times, "timesplace": timesplace, "asmuch": asmuch, "asmuchplace": asmuchplace, "less": less,
    "equal": equal, "extreme": extreme, "moststands": moststands, "onlypart": onlypart, "allbut": allbut,
    "thin": thin, "giveway": giveway, "sum": share, "length": length, "span": span, "level": level, "low": low,
    "high": high, "range": heights, "slope": slope, "respectivelast": respectivelast, "notin": notin,
    "morethan": morethan, "exceedall": exceedall, "rankshare": rankshare, "confined": confined, "capped": capped,
    "slopeexceeds": slopeexceeds, "absentfrom": absentfrom, "rankafter": rankafter, "onlycovers": onlycovers,
    "thinfrom": thinfrom, "allbutpresent": allbutpresent, "howmany": howmany, "again": again,
    "rangeshare": rangeshare, "rangeacross": rangeacross, "otherparts": otherparts, "onlywithout": onlywithout,
    "timesobjects": timesobjects, "exceedshare": exceedshare, "extremeshare": extremeshare, "rankpairs": rankpairs,
    "onlykinds": onlykinds, "elsewhere": elsewhere, "thintowards": thintowards, "moreobjects": moreobjects,
    "mostobjects": mostobjects, "onlyobjects": onlyobjects, "counted": counted, "ends": ends, "relief": relief,
    "size": size, "area": area, "time": time, "season": season, "pictured": pictured,
}  # fmt: skip
"""Name in `frames.txt` -> handler."""
