"""Elevation, slope and relief."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING, Claim
from pipelines.captions.tokens.scenes import height_claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landweave.claims import Span
    from pipelines.captions.meaning.clause import Clause
    from pipelines.captions.tokens.numbers import Number
    from pipelines.captions.tokens.token import Token


def length_of(token: Token) -> Span:
    """A length in metres; facts round roads to 10 m, which is added to what the words round."""
    low, high = token.cats["LEN"]
    return float(low), float(high)


def _metres(token: Token, tokens: Sequence[Token]) -> Span:
    """A height in metres: a bare number takes the unit of the other end."""
    if token.has("LEN"):
        return length_of(token)
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
        found.append(Claim.spanning("height", ("elevation_range_m",), (), length_of(clause.part("c")[0]), clause.words))
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


_AT_MOST = 0.7
"""Least part of what the highest point is said to be at most."""


def high(clause: Clause) -> list[Claim] | None:
    """The highest elevation."""
    token = clause.part("a")[0]
    claim = _height(clause, "a", "elevation_max_m")
    if claim.low == 0.0 < claim.high and not token.words.startswith(("up to", "as high as")):
        claim = replace(claim, low=_AT_MOST * claim.high)  # 'reaching six metres at most'
    if token.words.startswith("up to"):
        half = 0.5
        claim = replace(claim, low=claim.high - half, high=claim.high + half)
    return None if any(clause.scopes) else [claim]


def heights(clause: Clause) -> list[Claim] | None:
    """The difference between the highest and the lowest elevation."""
    if any(clause.scopes):
        return None
    low_m, high_m = length_of(clause.part("a" if "a" in clause.slots else "c")[0])
    side = clause.value("x", "exceed")
    if side is not None and any(t.has("never") for t in clause.tokens):
        side = "less" if side == "more" else "more"
    if side is not None:
        middle = (low_m + high_m) / 2
        low_m, high_m = (middle, EVERYTHING) if side == "more" else (0.0, middle)
    return [Claim("height", ("elevation_range_m",), (), low_m, high_m, words=clause.words)]


_AVERAGE = re.compile(r"\b(?:mean|average)")


def slope(clause: Clause) -> list[Claim] | None:
    """The mean slope, as a number, in words, or both."""
    if any(clause.scopes):
        return None
    spans = [t.cats[c] for t in clause.tokens for c in ("slope", "DEG") if t.has(c)]
    bounded = any(t.has("DEG") and (t.cats["DEG"][0] <= 0.0 or t.cats["DEG"][1] >= EVERYTHING) for t in clause.tokens)
    if bounded and not any(t.has("mean") for t in clause.tokens) and not _AVERAGE.search(clause.words):
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


def capped(clause: Clause) -> list[Claim] | None:
    """'never rises above 19 m', 'all of it lies above 300 m', 'elevations exceed 2900 m'."""
    if any(clause.scopes):
        return None
    low_m, high_m = length_of(clause.part("a")[0])
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
    more_than = (clause.value("x", "exceed") == "more") != any(t.has("never") for t in clause.tokens)
    span = (limit, 90.0) if more_than else (0.0, limit)
    return None if any(clause.scopes) else [Claim.spanning("slope", ("slope_mean_deg",), (), span, clause.words)]


_AGAIN = {
    "range": ("height", "elevation_range_m"), "high": ("height", "elevation_max_m"),
    "length": ("length", "road_length_m"), "low": ("height", "elevation_min_m"), "size": ("length", "size_m"),
}  # fmt: skip


def again(clause: Clause) -> list[Claim] | None:
    """A second length behind a first one: 'the difference is 1135 m, more than a kilometre'."""
    last = _AGAIN.get(clause.context.last)
    if last is None:
        return None
    return [Claim.spanning(last[0], (last[1],), (), length_of(clause.part("a")[0]), clause.words)]


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


_OF_HEIGHT = ("ends", "span", "range", "high", "low", "capped", "littlerange", "heightword")


def ends(clause: Clause) -> list[Claim] | None:
    """The lowest and the highest elevation, in either order where words say which is which."""
    named = _ends_of(clause)
    said = any(t.has(c) for t in clause.tokens for c in ("elev", "reliefword", "sealevel", "belowsea", "lowpoint"))
    said = said or clause.context.last in _OF_HEIGHT or "f" in clause.slots
    if named is None or not said or any(clause.scopes) or not _joined(clause):
        return None
    found = [_height(clause, named[0], "elevation_min_m"), _height(clause, named[1], "elevation_max_m")]
    words = [str(t.cats[c]) for t in clause.part("f") for c in ("relief", "hills") if t.has(c)]
    steep = clause.span("g", "slope")
    if steep is not None:
        found.append(Claim.spanning("slope", ("slope_mean_deg",), (), steep, clause.words))
    return [*found, *(Claim("relief", ("relief",), against=(w,), words=clause.words) for w in words)]


def _joined(clause: Clause) -> bool:
    between = clause.tokens[clause.slots["a"][1] : clause.slots["b"][0]]
    return any(t.word("to", "and", ",", "while", "up to", "from") or t.has("thin") for t in between) or clause.part(
        "b"
    )[0].words.startswith("up to")


def heightword(clause: Clause) -> list[Claim] | None:
    """'elevations are low': all of the ground."""
    if any(clause.scopes):
        return None
    return [height_claim(str(clause.value("x", "heightword")), clause.words)]


def belowsea(clause: Clause) -> list[Claim] | None:
    """'some of the ground lies below sea level'."""
    if any(clause.scopes):
        return None
    return [Claim.spanning("height", ("elevation_min_m",), (), (-EVERYTHING, -0.5), clause.words)]


_LITTLE_RELIEF_M = 50.0
"""Metres between the lowest and the highest point that 'varies little' leaves."""


def littlerange(clause: Clause) -> list[Claim] | None:
    """'the elevation varies little'."""
    if any(clause.scopes):
        return None
    return [Claim.spanning("height", ("elevation_range_m",), (), (0.0, _LITTLE_RELIEF_M), clause.words)]


_RELIEF_M = {"low": (0.0, 50.0), "high": (100.0, EVERYTHING)}
"""Metres between the lowest and the highest point of a relief that is called low or considerable."""


def reliefsize(clause: Clause) -> list[Claim] | None:
    """'the relief is considerable'."""
    span = _RELIEF_M[str(clause.value("x", "relsize"))]
    return None if any(clause.scopes) else [Claim.spanning("height", ("elevation_range_m",), (), span, clause.words)]
