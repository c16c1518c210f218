"""Adverbials of place and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from landweave.claims import Claim
from landweave.facts import REGIONS
from pipelines.captions.tokens.numbers import Number, like_year
from pipelines.captions.tokens.token import PREPOSITIONS, Token

if TYPE_CHECKING:
    from collections.abc import Callable


def adverbials(tokens: list[Token]) -> list[Token]:
    """Preposition and place or time -> SCOPE or ADV."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        if tokens[i].words not in _BEFORE_TIMES and _OF_TIMES.isdisjoint(tokens[i].cats):
            found.append(tokens[i])
            i += 1
            continue
        made = _time(tokens, i) or _placed(tokens, i) or _of_covers(tokens, i)
        if made is None:
            found.append(tokens[i])
            i += 1
            continue
        token, i = made
        found.append(token)
    return found


def _of_covers(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    """'of the four land covers': so many are listed."""
    if not tokens[i].word("of", "among") or i + 2 >= len(tokens):
        return None
    number = tokens[i + 1].cats.get("NUM")
    if not isinstance(number, Number) or not tokens[i + 2].has("covernoun"):
        return None
    claim = Claim("number", (), (), number.value, number.value, (), words=f"of {tokens[i + 1].words} covers")
    return Token({"ADV": None}, claim.words, [claim]), i + 3


def _placed(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    alone = _placed_alone(tokens, i)
    if alone is not None:
        return alone
    if i + 1 >= len(tokens) or not (tokens[i].words in PREPOSITIONS or _fronting(tokens, i)):
        return None
    j = i + 1
    if tokens[j].word("a", "an") and j + 1 < len(tokens):
        j += 1
    if j + 2 < len(tokens) and tokens[j].has("partword") and tokens[j + 1].word("of") and tokens[j + 2].has("place"):
        j += 2  # 'in this part of the southern hemisphere'
    token = tokens[j]
    words = f"{tokens[i].words} {token.words}"
    if token.has("REGION") and not tokens[i].word("from") and not (tokens[i].word("to") and _leads_on(tokens, i)):
        return Token({"SCOPE": token.cats["REGION"]}, words), j + 1
    if token.has("SCENE") and not tokens[i].word("from", "to", "at"):
        return Token({"SCOPE": ((),) if token.cats["SCENE"] else None}, words, token.claims), j + 1
    if token.has("place"):
        end = j + 1
        while end < len(tokens) and tokens[end].has("placeword"):
            end += 1
        return Token({"ADV": None}, words, [_of_place(token)]), end
    return None


def _placed_alone(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    """An adverbial of place without a preposition."""
    token = tokens[i]
    if token.word("everywhere"):
        return Token({"SCOPE": tuple((r,) for r in REGIONS)}, "everywhere"), i + 1
    if token.has("REGION") and i and tokens[i - 1].has("amount"):
        return Token({"SCOPE": token.cats["REGION"]}, token.words), i + 1  # 'the whole top left'
    if token.has("place") and _between_stops(tokens, i):
        return Token({"ADV": None}, token.words, [_of_place(token)]), i + 1
    return _outside(tokens, i) if token.has("outside") else None


def _of_place(token: Token) -> Claim:
    return Claim("place", ("place",), against=(str(token.cats["place"]),), words=token.words)


def _between_stops(tokens: list[Token], i: int) -> bool:
    """'January 2018, northern mid-latitudes: ...': a phrase of its own."""
    around = (*tokens[max(0, i - 1) : i], *tokens[i + 1 : i + 2])
    if i == 0 and len(tokens) > 1 and tokens[1].words in PREPOSITIONS:
        return True  # 'the northern subtropics in November: ...'
    return all(t.words in (",", ";", ":", "(", ")") for t in around)


def _leads_on(tokens: list[Token], i: int) -> bool:
    """'from the north to the south', 'thins to the south': a way, where 'lies to the south' is a place."""
    ways = any(t.has("thin") or t.has("giveway") or t.word("from") for t in tokens[:i])
    return ways or (i > 0 and tokens[i - 1].has("REGION"))


def _outside(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    """'outside the bottom right': each of the other quarters."""
    regions = tokens[i + 1].cats.get("REGION") if i + 1 < len(tokens) else None
    named = {part for region in regions or () for part in region}
    rest = tuple((r,) for r in REGIONS if r not in named and r != "middle")
    if not named or "middle" in named or not rest:
        return None
    return Token({"SCOPE": rest}, f"{tokens[i].words} {tokens[i + 1].words}"), i + 2


def _fronting(tokens: list[Token], i: int) -> bool:
    """'Moving to the top left, ...' at the beginning of a sentence."""
    return i == 0 and tokens[0].has("fronting") and tokens[1].has("REGION")


_TIMES: dict[str, Callable[[Any, str], Claim]] = {
    "month": lambda v, w: Claim("time", ("month",), (), float(v), float(v), words=w),
    "season": lambda v, w: Claim("season", ("season",), against=(str(v),), words=w),
    "earlyseason": lambda v, w: Claim("season part", ("month",), (), 1.0, against=(str(v),), words=w),
    "midseason": lambda v, w: Claim("season part", ("month",), (), 2.0, against=(str(v),), words=w),
    "lateseason": lambda v, w: Claim("season part", ("month",), (), 3.0, against=(str(v),), words=w),
}


_OF_TIMES = frozenset((*_TIMES, "taken", "NUM", "REGION", "fronting", "place", "outside"))


_BEFORE_TIMES = PREPOSITIONS | {"a", "an", "year", "everywhere", "among"}
"""Categories and words of which a token that begins an adverbial has one."""


def _time(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    """'in April 2021', 'taken in the spring of 2021', 'on a spring day'."""
    j, claims = i, list[Claim]()
    if tokens[j].has("taken") and j + 1 < len(tokens):
        j += 1
    last = i
    while j < len(tokens):
        token = tokens[j]
        time = None if _OF_TIMES.isdisjoint(token.cats) else next((c for c in _TIMES if token.has(c)), None)
        year = token.cats.get("NUM")
        if time is not None:
            claims.append(_TIMES[time](token.cats[time], token.words))
        elif isinstance(year, Number) and _is_year(year, tokens, j):
            claims.append(Claim("time", ("year",), (), year.value, year.value, words=token.words))
        elif token.has("REGION") and token.word("northern", "southern") and _is_season(tokens, j + 1):
            claims.append(Claim("place", ("place",), against=(token.words,), words=token.words))
        elif not _in_time(tokens, j, told=bool(claims)):
            break
        j += 1
        if claims and not (tokens[j - 1].words in PREPOSITIONS or tokens[j - 1].word("a", "an", ",")):
            last = j
    if not claims:
        return None
    return Token({"ADV": None}, " ".join(t.words for t in tokens[i:last]), claims), last


def _is_season(tokens: list[Token], j: int) -> bool:
    return j < len(tokens) and any(c in _TIMES and c != "month" for c in tokens[j].cats)


def _in_time(tokens: list[Token], j: int, *, told: bool) -> bool:
    """Whether a token belongs between the words of a time."""
    token = tokens[j]
    if token.words in PREPOSITIONS or token.word("a", "an", "year") or (told and token.has("timeword")):
        return True
    return told and token.word(",") and _time_goes_on(tokens, j + 1)


def _time_goes_on(tokens: list[Token], j: int) -> bool:
    if j < len(tokens) and tokens[j].word("in"):
        j += 1
    return j < len(tokens) and (
        any(tokens[j].has(c) for c in _TIMES) or (tokens[j].has("NUM") and _is_year(tokens[j].cats["NUM"], tokens, j))
    )


def _is_year(number: Number, tokens: list[Token], j: int) -> bool:
    alone = j + 1 >= len(tokens) or not (tokens[j + 1].has("kind") or tokens[j + 1].has("OBJ"))
    return alone and number.near is None and like_year(number)
