"""Numbers in digits and words, with hedges and units, and the values that they are true of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING
from pipelines.captions.tokens.token import Token

if TYPE_CHECKING:
    from landweave.claims import Span
    from pipelines.captions.lexicon import Meanings

_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip


_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip


_BIG = {"dozen": 12, "hundred": 100, "thousand": 1000}


PARTS = {
    "halves": 2, "thirds": 3, "quarters": 4, "fifths": 5, "sixths": 6, "sevenths": 7, "eighths": 8, "ninths": 9,
    "tenths": 10, "twelfths": 12, "sixteenths": 16, "twentieths": 20, "hundredths": 100,
}  # fmt: skip


_METRES = {"m": 1.0, "km": 1000.0, "ft": 0.3048, "mi": 1609.344, "yd": 0.9144, "cm": 0.01}
"""International foot, mile, yard (NIST SP 811)."""


_SQUARE_METRES = {"m2": 1.0, "km2": 1e6, "ha": 1e4, "acre": 4046.8564224, "mi2": 2589988.110336}
"""International acre and square mile (NIST SP 811)."""


_YEARS = (1900, 2100)


@dataclass(frozen=True, slots=True)
class Number:
    """A number in words or digits, with what stood before it."""

    value: float
    decimals: int
    near: str | None = None
    """'about', 'below', 'above', 'more', 'less' or None."""

    def span(self, scale: float = 1.0, *, fraction: bool = False) -> Span:
        """Values that it is true of, by the rules of rounding (README.md, 'Numbers')."""
        return span_of(self.value * scale, 0.5 * 10.0**-self.decimals * scale, self.near, fraction=fraction)


_MOST_POINTS = 5.0
"""Percentage points that "nearly" and "just over" leave at most."""


def span_of(value: float, half: float, near: str | None, *, fraction: bool = False, percent: bool = False) -> Span:
    """(least, most) for a number whose last digit is worth two `half`; fractions are coarser than numbers."""
    most = _MOST_POINTS if fraction or percent else EVERYTHING
    if fraction:
        half = 5.0 if value == 50.0 else min(3.0, 0.15 * value)
    if near == "about":
        slack = min(0.1 * value, 5.0) if fraction else 0.07 * value
        return value - max(half, slack), value + max(half, slack)
    if near == "below":
        slack = (0.15 if fraction else 0.1) * value
        return value - max(half, min(slack, most)), value + (0.0 if not fraction else 0.01 * value)
    if near == "above":
        return value, value + max(half, min((0.25 if fraction else 0.15) * value, most))
    if near == "more":
        return value, EVERYTHING
    return (0.0, value) if near == "less" else (value - half, value + half)


def number_at(words: list[str], i: int) -> tuple[Number | None, int]:
    """A number that begins at word i, and how many words it has."""
    sign, start = (-1.0, i + 1) if words[i] == "-" else (1.0, i)
    if start < len(words) and words[start][0].isdigit():
        plain = words[start].replace(",", "")
        if not re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", plain):
            return None, 0
        return Number(sign * float(plain), len(plain.partition(".")[2])), start + 1 - i
    total, current, used, j = 0, 0, 0, i
    while j < len(words):
        word = words[j]
        if word in _ONES or word in _TENS:
            current += _ONES.get(word, _TENS.get(word, 0))
        elif word in _BIG and (current or total or (j and words[j - 1] == "a")):
            current = max(1, current) * _BIG[word]
            if word == "thousand":
                total, current = total + current, 0
        elif not (word == "and" and used and words[j - 1] in ("hundred", "thousand") and _continues(words, j)):
            break
        j += 1
        used = j - i
    if used and words[i + used : i + used + 3] == ["and", "a", "half"]:
        return Number(float(total + current) + 0.5, 1), used + 3
    return (Number(float(total + current), 0), used) if used else (None, 0)


def _continues(words: list[str], j: int) -> bool:
    return j + 1 < len(words) and (words[j + 1] in _ONES or words[j + 1] in _TENS)


_BEFORE_NUMBERS = ("a", "an", "remaining", "another", "only", "just", "merely", "exactly", "mere", "full", "precisely")


_OF_QUANTITIES = frozenset(("near", "NUM", "fraction", "zerolevel", "amount"))
"""Categories of which a token that begins a quantity has one."""


def quantities(tokens: list[Token]) -> list[Token]:
    """Numbers with hedges and units: SHARE, LEN, AREA, DEG, NUM."""
    found: list[Token] = []
    i = about = 0
    while i < len(tokens):
        if _OF_QUANTITIES.isdisjoint(tokens[i].cats) and tokens[i].words not in ("a", "an", "one"):
            found.append(tokens[i])
            i += 1
            continue
        near, j = None, i
        while j < len(tokens) and tokens[j].has("near") and j - i < 2:
            near = _stronger(near, str(tokens[j].cats["near"]))
            j += 1
        if near is not None and j < len(tokens) and tokens[j].word("a", "an"):
            j += 1
        if near is None and tokens[i].word("a", "an", "one") and i + 1 < len(tokens) and tokens[i + 1].has("unit"):
            j = i + 1
        if j > i and j < len(tokens) and tokens[j].has("unit") and tokens[j - 1].word("a", "an", "one"):
            tokens = [*tokens[:j], Token({"NUM": Number(1.0, 0)}, "one"), *tokens[j:]]
        near = near or _carried(found, about)
        made = _quantity(tokens, j, near) if j < len(tokens) else None
        if made is None and j > i:
            made, near = _quantity(tokens, i, None), None
            j = i
        if made is None:
            found.append(tokens[i])
            i += 1
        else:
            cats, used = made
            words = " ".join(t.words for t in tokens[i : j + used])
            while found and found[-1].word(*_BEFORE_NUMBERS):
                last = found.pop()
                words = f"{last.words} {words}" if last.words == "remaining" else words
            found.append(Token(cats, words))
            about = len(found) if near == "about" else 0
            i = j + used
    return found


def _carried(found: list[Token], about: int) -> str | None:
    """The hedge of the number before, of which `about` tokens were found: 'about 120 to 140 m'."""
    return "about" if about and len(found) - about == 1 and found[-1].word("to") else None


def _numbered(tokens: list[Token], j: int, near: str | None) -> tuple[Meanings, int]:
    """What begins with a number: a fraction ('two thirds', 'seven in ten'), a number with its unit, or alone."""
    n: Number = tokens[j].cats["NUM"]
    if j + 1 < len(tokens) and tokens[j + 1].words in PARTS:
        return {"AMT": span_of(100.0 * n.value / PARTS[tokens[j + 1].words], 0.0, near, fraction=True)}, 2
    part = _one_in(tokens, j)
    if part is not None:
        return {"AMT": span_of(part[0], 0.0, near, fraction=True)}, part[1]
    unit, used = _unit(tokens, j + 1)
    behind = tokens[j + used + 1] if j + used + 1 < len(tokens) else None
    if near is None and behind is not None and behind.has("orhedge"):
        near, used = str(behind.cats["orhedge"]), used + 1
    number = Number(n.value, n.decimals, near)
    return ({"NUM": number} if unit is None else _measured(number, unit)), used + 1


def _one_in(tokens: list[Token], j: int) -> tuple[float, int] | None:
    """'seven in ten parts', 'nine out of ten': the percent, and how many tokens say so."""
    k = j + 1
    while k < len(tokens) and tokens[k].word("in", "out", "of", "every"):
        k += 1
    if k == j + 1 or k >= len(tokens) or not tokens[k].has("NUM") or (k == j + 2 and tokens[j + 1].word("of")):
        return None
    part, whole = tokens[j].cats["NUM"].value, tokens[k].cats["NUM"].value
    if not 0 < part < whole or whole > _MOST_PARTS or not float(part).is_integer():
        return None
    end = k + 1
    if end < len(tokens) and tokens[end].words in ("parts", "pixels"):
        end += 1
    return 100.0 * part / whole, end - j


_MOST_PARTS = 20


def _stronger(one: str | None, two: str) -> str:
    return two if one in (None, "about") else str(one)


def _quantity(tokens: list[Token], j: int, near: str | None) -> tuple[Meanings, int] | None:
    token = tokens[j]
    if token.has("NUM"):
        return _numbered(tokens, j, near)
    if token.has("fraction"):
        cats: Meanings = {"AMT": span_of(float(token.cats["fraction"]), 0.0, near, fraction=True)}
        if token.has("times") and near is None:
            cats["times"] = token.cats["times"]
        unit = j + 1 < len(tokens) and (tokens[j + 1].word("parts", "pixels") or tokens[j + 1].has("unit"))
        return cats, 2 if unit else 1  # 'one in ten hectares'
    if token.has("zerolevel") and near is None:
        return {"LEN": (-0.5, 0.5)}, 1
    if token.has("amount"):
        value = token.cats["amount"]
        if near is not None:
            return None
        return {**token.cats, "AMT": value}, 1
    return None


def _unit(tokens: list[Token], j: int) -> tuple[str | None, int]:
    """The unit of a number that ends before j: right behind it (then it is used up), or that of its list."""
    if j < len(tokens) and tokens[j].has("unit"):
        return str(tokens[j].cats["unit"]), 1
    k = j
    if like_year(tokens[j - 1].cats["NUM"]) and j < len(tokens) and tokens[j].word(",", "and", "to", "by"):
        return None, 0
    while k + 1 < len(tokens) and tokens[k].word(",", "and", "to", "by", "x", "or"):
        k += 1
        while k < len(tokens) and (tokens[k].has("near") or tokens[k].word("and")):
            k += 1
        if k >= len(tokens) or not tokens[k].has("NUM"):
            return None, 0
        k += 1
        if k < len(tokens) and tokens[k].has("unit"):
            return str(tokens[k].cats["unit"]), 0
    return None, 0


def _measured(number: Number, unit: str) -> Meanings:
    if unit == "percent":
        span = span_of(number.value, 0.5 * 10.0**-number.decimals, number.near, percent=True)
        return {"AMT": span, "PERCENT": number}
    if unit == "deg":
        return {"DEG": number.span()}
    if unit in _METRES:
        return {"LEN": number.span(_METRES[unit])}
    return {"AREA": number.span(_SQUARE_METRES[unit])}


def ranges(tokens: list[Token]) -> list[Token]:
    """'between 40 and 50 percent', 'between a seventh and a sixth' -> one amount."""
    if not any(t.words == "between" for t in tokens):
        return tokens
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        four = tokens[i : i + 4]
        if (
            len(four) == 4 and four[0].word("between") and four[2].word("and")
            and all(isinstance(four[k].cats.get("AMT"), tuple) for k in (1, 3))
        ):  # fmt: skip
            low, high = four[1].cats["AMT"][0], four[3].cats["AMT"][1]
            if low < high:
                found.append(Token({"AMT": (low, high)}, " ".join(t.words for t in four)))
                i += 4
                continue
        found.append(tokens[i])
        i += 1
    return found


_BEFORE_ELIDED = frozenset(("with", "at", "on", ",", ":", "(", "by"))
_BEHIND_ELIDED = ("kind", "OBJ", "covernoun", "unit")


def elided(tokens: list[Token]) -> list[Token]:
    """'trees hold 35 percent, water 21': a bare number right behind a land cover has the unit of the one before."""
    if not any("PERCENT" in t.cats for t in tokens):
        return tokens
    return [_percent(t) if t.has("NUM") and _is_elided(tokens, i) else t for i, t in enumerate(tokens)]


def _percent(token: Token) -> Token:
    return Token({**token.cats, **_measured(token.cats["NUM"], "percent")}, token.words)


def _is_elided(tokens: list[Token], i: int) -> bool:
    k = i - 1
    while k >= 0 and (tokens[k].words in _BEFORE_ELIDED or tokens[k].has("follows") or tokens[k].has("hold")):
        k -= 1
    behind = tokens[i + 1 : i + 2]
    alone = not any(t.has(c) for t in behind for c in _BEHIND_ELIDED)
    return k >= 0 and alone and tokens[k].has("COVER") and 0 <= tokens[i].cats["NUM"].value <= 100


def like_year(number: Number) -> bool:
    """Whether a number may be a year."""
    return not number.decimals and _YEARS[0] <= number.value <= _YEARS[1]
