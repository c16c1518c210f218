"""Where a land cover is most, least, only, or changes."""

from __future__ import annotations

from landweave.claims import EVERYTHING, HALVES, Claim
from landweave.facts import REGIONS
from pipelines.captions.meaning.clause import MORE, Clause, Part, opposite
from pipelines.captions.meaning.ranks import SUPERLATIVES, rank
from pipelines.captions.tokens.numbers import Number


def extreme(clause: Clause) -> list[Claim] | None:
    """The largest or smallest share of a land cover among the parts of the scene."""
    mine = clause.classes("a") or (clause.context.subject if "a" not in clause.slots else ())
    token = clause.part("t")[0]
    if token.has("superadj"):  # 'the barest part'
        return [
            Claim("extreme", (str(token.cats["superadj"]),), p, 1.0, words=clause.words) for p in clause.places("r")
        ]
    top = float(token.cats.get("top", -1.0 if token.words == "least" else 1.0))
    bare_more = token.has("more") and "most" not in token.words and "highest" not in token.words
    compares = token.has("concentrated") or token.words.startswith(SUPERLATIVES)
    if not mine or bare_more or abs(top) != 1.0 or not compares:
        return None
    places = clause.places("q") if "q" in clause.slots else clause.places("r")
    if any(not p for p in places):
        return rank(clause) if places == ((),) else None
    if token.has("concentrated") and len(places) > 1:
        return [Claim("comparison", mine, p, MORE, EVERYTHING, mine, (), clause.words) for p in places]
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
    others = [(r,) for r in REGIONS if r not in here] if len(here) == 1 else [opposite(here)]
    others = [o for o in others if not set(o) & set(here)]
    if len(here) == 2 and "a" in clause.slots:
        others = [(r,) for r in REGIONS if r not in (*here, "middle")]
    rival = clause.classes("b")
    if rival:
        less_here = clause.value("x", "exceed") == "less"
        low, high = (0.0, 1 / MORE) if less_here else (MORE, EVERYTHING)
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


def allbut(clause: Clause) -> list[Claim] | None:
    """'the main cover in every part but the bottom left'."""
    mine, without = clause.classes("a") or clause.context.subject, clause.places("r")
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
    low, high = (MORE, EVERYTHING) if down else (0.0, 1 / MORE)
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
    there = opposite(here) if len(here) == 2 else (_ACROSS[here[0]],)
    low, high = (MORE, EVERYTHING) if clause.value("x", "thin") == "down" else (0.0, 1 / MORE)
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
        Claim("comparison", old, start, MORE, EVERYTHING, old, end, clause.words),
        Claim("comparison", new, end, MORE, EVERYTHING, new, start, clause.words),
        Claim("comparison", old, start, MORE, EVERYTHING, new, start, clause.words),
        Claim("comparison", new, end, MORE, EVERYTHING, old, end, clause.words),
    ]


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


def thinfrom(clause: Clause) -> list[Claim] | None:
    """'from the top left to the bottom right, built-up land falls from 70 to 18 percent'."""
    token = clause.part("x")[0]
    down = token.cats.get("thin", "up") == "down"
    mine, places = clause.classes("a"), (clause.places("q")[0], clause.places("z")[0])
    low_ratio, high_ratio = (MORE, EVERYTHING) if down else (0.0, 1 / MORE)
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


def extremeshare(clause: Clause) -> list[Claim] | None:
    """'..., with the highest share, 30 percent, in the bottom left'."""
    first, span = extreme(clause), clause.span("s", "AMT")
    mine = clause.classes("a") or clause.context.subject
    if first is None or span is None or not mine:
        return None
    return [*first, *(Claim.spanning("share", mine, p, span, clause.words) for p in clause.places("q"))]


def nowhere(clause: Clause) -> list[Claim] | None:
    """'nowhere does tree cover drop below three quarters': in each part of the scene that the facts list."""
    mine, span = clause.classes("a") or clause.context.subject, clause.span("s", "AMT")
    if not mine or span is None or any(clause.scopes):
        return None
    if span[1] >= EVERYTHING:
        said = (0.0, span[0])
    elif span[0] <= 0.0:
        said = (span[1], 100.0)
    else:
        return None
    return [Claim.spanning("share", mine, (r,), said, clause.words) for r in REGIONS]


def partscount(clause: Clause) -> list[Claim] | None:
    """'trees lead in three of the four quadrants', 'grass is found in two parts only'."""
    mine, number = clause.classes("a") or clause.context.subject, clause.value("n", "NUM")
    if not mine or not isinstance(number, Number) or (any(clause.scopes) and clause.scopes != clause.context.scopes):
        return None
    how = ("lead",) if "x" in clause.slots else ("presence",)
    return [Claim("in parts", mine, (), *number.span(), how, words=clause.words)]


_TOP, _BOTTOM, _LEFT, _RIGHT = HALVES
_WAYS = {
    "from north to south": (_TOP, _BOTTOM), "from top to bottom": (_TOP, _BOTTOM),
    "from west to east": (_LEFT, _RIGHT), "from left to right": (_LEFT, _RIGHT), "from east to west": (_RIGHT, _LEFT),
    "from right to left": (_RIGHT, _LEFT), "from south to north": (_BOTTOM, _TOP),
    "from bottom to top": (_BOTTOM, _TOP),
}  # fmt: skip


def thinacross(clause: Clause) -> list[Claim] | None:
    """'tree cover thins from north to south': less of it in the second half."""
    mine, ends = clause.classes("a") or clause.context.subject, _WAYS.get(clause.part("w")[0].words)
    if not mine or ends is None:
        return None
    low, high = (MORE, EVERYTHING) if clause.value("x", "thin") == "down" else (0.0, 1 / MORE)
    return [Claim("comparison", mine, ends[0], low, high, mine, ends[1], clause.words)]
