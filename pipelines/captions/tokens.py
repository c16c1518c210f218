"""Takes a sentence apart: words to phrases of the lexicon, phrases to quantities, places, land covers and objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from landweave.claims import EVERYTHING, VEGETATION, Claim
from landweave.facts import REGIONS
from pipelines.captions.lexicon import DROPPED, lexicon
from pipelines.captions.words import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from landweave.claims import Span
    from pipelines.captions.lexicon import Meanings

_WORD = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[a-z]+\d?(?:'[a-z]+)?|[,;:()]|-(?=\d)|[^\s]")
_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_BIG = {"dozen": 12, "hundred": 100, "thousand": 1000}
_PARTS = {
    "halves": 2, "thirds": 3, "quarters": 4, "fifths": 5, "sixths": 6, "sevenths": 7, "eighths": 8, "ninths": 9,
    "tenths": 10, "twelfths": 12, "sixteenths": 16, "twentieths": 20, "hundredths": 100,
}  # fmt: skip
_METRES = {"m": 1.0, "km": 1000.0, "ft": 0.3048, "mi": 1609.344, "yd": 0.9144, "cm": 0.01}
"""International foot, mile, yard (NIST SP 811)."""
_SQUARE_METRES = {"m2": 1.0, "km2": 1e6, "ha": 1e4, "acre": 4046.8564224, "mi2": 2589988.110336}
"""International acre and square mile (NIST SP 811)."""
_CODES = {"tl": "top left", "tr": "top right", "bl": "bottom left", "br": "bottom right", "mid": "middle"}
_PREPOSITIONS = frozenset(("in", "on", "of", "across", "over", "throughout", "within", "inside", "at", "from", "for",
                           "during", "through", "to", "toward", "towards"))  # fmt: skip
_SEPARATORS = frozenset((",", "and", "or"))
_YEARS = (1900, 2100)
_WHOLE_MOSTLY = 85.0
"""Percent from which a place may be called by one land cover without more words."""


@dataclass(slots=True)
class Token:
    """A phrase or a chunk of a sentence."""

    cats: Meanings
    """Category -> value."""
    words: str
    claims: list[Claim] = field(default_factory=list)
    """What it claims by itself: 'hilly' in 'this hilly scene'."""

    def has(self, category: str) -> bool:
        """Whether it may be read as this."""
        return category in self.cats

    def word(self, *options: str) -> bool:
        """Whether it is one of these function words."""
        return self.words in options


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
        return value - max(half, min(0.1 * value, most)), value + (0.0 if not fraction else 0.01 * value)
    if near == "above":
        return value, value + max(half, min(0.15 * value, most))
    if near == "more":
        return value, EVERYTHING
    return (0.0, value) if near == "less" else (value - half, value + half)


class UnknownWordsError(Exception):
    """Words that the lexicon does not hold."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(", ".join(words))
        self.words = words


def tokens_of(sentence: str, literals: frozenset[str]) -> list[Token]:
    """The chunks of one sentence (lower case, without its full stop).

    Raises:
        UnknownWordsError: words that are neither in the lexicon nor function words of the frames.
    """
    found = _phrases(_words(sentence), literals)
    for step in (
        _regions,
        _quantities,
        _ranges,
        _covers,
        _objects,
        _attributes,
        _scenes,
        _lists_of_regions,
        _adverbials,
    ):
        found = step(found)
    return found


_DEGREE = re.compile(
    r"\b(?:slightly|somewhat|far|much|clearly|considerably|marginally|noticeably|markedly|a (?:little|bit|good deal)) "
    r"(?=(?:more|less|larger|smaller|fewer|greater|higher|lower|bigger|rarer)\b(?! than))"
)
"""'slightly more common' claims that it is more common, and by how little (`degree_of`)."""
_LITTLE = re.compile(
    r"\b(?:slightly|marginally|a little|a bit|narrowly|just barely) (?:more|less|larger|smaller|exceed|outweigh)"
)
_FAR = re.compile(r"\b(?:far|much|considerably|clearly|vastly) (?:more|less|larger|smaller|exceed|outweigh)")


def degree_of(sentence: str) -> str:
    """'little' or 'far' where a sentence says by how much one thing exceeds another, else ''."""
    text = sentence.lower()
    return "little" if _LITTLE.search(text) else "far" if _FAR.search(text) else ""


_ANOTHER = re.compile(
    r"\b(?:another|a further|yet another|a second) (?=(?:half|third|quarter|fifth|sixth|eighth|tenth)\b)"
)
"""'another third' is a third."""
_AS_MUCH_AS = re.compile(r"\bas (?:much|many|little|few) as (?=\d)")
"""'as much as 70 percent' is 70 percent."""
_ONLY = re.compile(r"\b(?:just|merely|solely|exclusively) (?=(?:in|on|the)\b)")
"""'solely in the north' is 'only in the north'."""


def _words(sentence: str) -> list[str]:
    text = sentence.lower().replace("%", " percent ").replace("°", " degrees ").replace("'s ", " s ")
    text = _DEGREE.sub("", text)
    text = _ANOTHER.sub("a ", text)
    text = _AS_MUCH_AS.sub("", text)
    text = _ONLY.sub("only ", text)
    if "-" in text or "\u2013" in text:
        text = re.sub(r"(\d)\s*[-\u2013]\s*(?=\d)", r"\1 to ", text)
        text = re.sub(r"(?<=[a-z])-(?=[a-z])|(?<=\d)-(?=[a-z])", " ", text)
    text = re.sub(r"(\d)(km2|m2|km|m|ha|ft)\b", r"\1 \2", text)
    return [w for w in _WORD.findall(text) if w not in DROPPED]


def _phrases(words: list[str], literals: frozenset[str]) -> list[Token]:
    table, found, unknown, i = lexicon(), [], [], 0
    while i < len(words):
        for size in table.reach.get(words[i], ()):
            meanings = table.phrases.get(tuple(words[i : i + size])) if i + size <= len(words) else None
            if meanings is not None and not _cut_short(words, i, i + size, meanings):
                found.append(Token(dict(meanings), " ".join(words[i : i + size])))
                i += size
                break
        else:
            number, used = _number(words, i)
            if number is not None:
                found.append(Token({"NUM": number}, " ".join(words[i : i + used])))
                i += used
                continue
            if words[i] not in literals and words[i] not in _PARTS:
                unknown.append(words[i])
            found.append(Token({}, words[i]))
            i += 1
    if unknown:
        raise UnknownWordsError(unknown)
    return found


def _cut_short(words: list[str], i: int, end: int, meanings: Meanings) -> bool:
    """Whether a phrase only looks like one: 'in all' of 'in all parts', 'share of' of 'largest share of the scene'."""
    if words[i:end] == ["in", "all"]:
        return _goes_on(words, end)
    if end < len(words) and "exceed" in meanings and words[end - 1] == "than":
        return _is_quantity(words, end)
    if end < len(words) and "lead" in meanings and words[end - 1] in ("share", "space", "part"):
        return words[end] == "of"
    if end < len(words) and "cover" in meanings and words[end - 1] == "cover" and "and" in words[i:end]:
        return "region" in lexicon().phrases.get((words[end],), {})  # 'snow and ice cover the upper part'
    if words[end - 1] != "of" or "prefix" not in meanings or end >= len(words):
        return False
    behind = lexicon().phrases.get((words[end],), {})
    return "scene" in behind or "region" in behind


def _is_quantity(words: list[str], i: int) -> bool:
    """Whether a number, or a fraction behind 'a', begins at word i: 'cover more than 40 percent', '... than a half'."""
    table = lexicon()
    if words[i] == "a" and i + 1 < len(words):
        return "fraction" in table.phrases.get((words[i], words[i + 1]), {})
    return _number(words, i)[0] is not None or "fraction" in table.phrases.get((words[i],), {})


def _goes_on(words: list[str], i: int) -> bool:
    """Whether a noun may follow: 'in all parts' against 'in all, and'."""
    return i < len(words) and words[i] not in (",", ";", ":", "and", "across", "in", "over", "through")


def _number(words: list[str], i: int) -> tuple[Number | None, int]:
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


def _regions(tokens: list[Token]) -> list[Token]:
    """'top left corner of scene' -> REGION; 'upper half of western side' -> their intersection."""
    if not any("region" in t.cats for t in tokens):
        return tokens
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if not token.has("region"):
            found.append(token)
            i += 1
            continue
        end = i + 1
        while end < len(tokens):
            if _of_region(tokens, end):
                end += 1
            elif tokens[end].word("of") and end + 1 < len(tokens) and tokens[end + 1].has("scene"):
                end += 2
            else:
                break
        words = " ".join(t.words for t in tokens[i:end])
        value = _region_value(str(token.cats["region"]))
        if found and len(found) >= 2 and found[-1].word("of", "in") and found[-2].has("REGION"):
            inner = found[-2].cats["REGION"]
            both = tuple(p for p in inner[0] if p in value[0])
            if len(inner) == len(value) == 1 and both and len(both) < len(inner[0]):
                found[-2:] = [Token({"REGION": (both,)}, f"{found[-2].words} of {words}")]
                i = end
                continue
        found.append(Token({"REGION": value}, words))
        i = end
    return found


def _of_region(tokens: list[Token], i: int) -> bool:
    """Whether a token adds nothing to the region before it: 'corner', 'half', 'one'."""
    behind = tokens[i + 1 : i + 2]
    return (
        tokens[i].has("partword")
        or tokens[i].word("half", "quarter")
        or (tokens[i].word("one") and not any(t.has("kind") for t in behind))
    )


def _region_value(code: str) -> tuple[tuple[str, ...], ...]:
    """Regions that a claim must hold in: each a tuple of parts whose areas are added."""
    if code == "each":
        return tuple((r,) for r in REGIONS)
    if code == "quarters":
        return tuple((r,) for r in REGIONS if r != "middle")
    return tuple(tuple(_CODES[c] for c in part.split("+")) for part in code.split("/"))


_BEFORE_NUMBERS = ("a", "an", "remaining", "another", "only", "just", "merely", "exactly", "mere", "full", "precisely")

_OF_QUANTITIES = frozenset(("near", "NUM", "fraction", "zerolevel", "amount"))
"""Categories of which a token that begins a quantity has one."""


def _quantities(tokens: list[Token]) -> list[Token]:
    """Numbers with hedges and units: SHARE, LEN, AREA, DEG, NUM."""
    found: list[Token] = []
    i = 0
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
            i = j + used
    return found


def _numbered(tokens: list[Token], j: int, near: str | None) -> tuple[Meanings, int]:
    """What begins with a number: a fraction ('two thirds', 'seven in ten'), a number with its unit, or alone."""
    n: Number = tokens[j].cats["NUM"]
    if j + 1 < len(tokens) and tokens[j + 1].words in _PARTS:
        return {"AMT": span_of(100.0 * n.value / _PARTS[tokens[j + 1].words], 0.0, near, fraction=True)}, 2
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
        return cats, 2 if j + 1 < len(tokens) and tokens[j + 1].word("parts") else 1
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
    if _like_year(tokens[j - 1].cats["NUM"]) and j < len(tokens) and tokens[j].word(",", "and", "to", "by"):
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


def _ranges(tokens: list[Token]) -> list[Token]:
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


@dataclass(frozen=True, slots=True)
class Cover:
    """A land cover, as it is spoken of."""

    classes: tuple[str, ...]
    span: Span | None = None
    """'a little water': the share that this says; (0, 0) = none of it."""
    absent: bool = False


_OF_COVERS = frozenset(("some", "prefix", "cover", "named", "adj"))
"""Categories of which a token that begins a land cover has one."""


def _covers(tokens: list[Token]) -> list[Token]:
    """Quantifier, adjectives, land cover and empty nouns -> COVER; adjectives alone stay ADJ."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        apart = _OF_COVERS.isdisjoint(tokens[i].cats) and tokens[i].words not in ("a", "an")
        made = None if apart else _cover(tokens, i)
        if made is None:
            found.append(tokens[i])
            i += 1
            continue
        token, i = made
        found.append(token)
    return found


def _classes(name: str) -> tuple[str, ...]:
    return VEGETATION if name == "vegetation" else (name,)


def _cover(tokens: list[Token], i: int) -> tuple[Token, int] | None:
    j, some = _quantifiers(tokens, i)
    if j >= len(tokens):
        return None
    k = _cover_end(tokens, j)
    if k is None:
        return None
    head = tokens[j]
    name = str(head.cats["cover"] if head.has("cover") else head.cats["adj"])
    cats: Meanings = {"COVER": Cover(_classes(name), some if isinstance(some, tuple) else None, absent=some == "none")}
    start = i
    if k == j + 1 and head.has("named") and i == j:
        cats["adj"] = head.cats["adj"]
    if head.has("kind"):
        cats["kind"] = head.cats["kind"]
        start = j if some is None else i
    return Token(cats, " ".join(t.words for t in tokens[start:k])), k


def _quantifiers(tokens: list[Token], i: int) -> tuple[int, object]:
    """Where 'a small amount of', 'patches of', 'no' and their like end, and the share that they say."""
    j, some = i, None
    if i and tokens[i - 1].word("as"):
        return j, some  # 'as much as'
    if tokens[j].word("a", "an") and j + 1 < len(tokens):
        j += 1
    while j < len(tokens) and (tokens[j].has("some") or tokens[j].has("prefix")):
        some = tokens[j].cats.get("some", some)
        j += 1
    return j, some


def _cover_end(tokens: list[Token], j: int) -> int | None:
    """Where a land cover that begins at j ends: a noun, or an adjective before a noun; None if there is none."""
    head = tokens[j]
    noun, k = head.has("cover") or head.has("named"), j + 1
    if not noun and not (head.has("adj") and k < len(tokens)):
        return None
    if not head.has("cover") and noun and k < len(tokens) and tokens[k].has("scene") and not tokens[k].has("suffix"):
        return None
    if not noun and tokens[k].has("cover") and tokens[k].cats["cover"] == head.cats["adj"]:
        noun, k = True, k + 1  # 'wooded forest'
    while k < len(tokens) and tokens[k].has("suffix") and not tokens[k].has("hold") and not tokens[k].has("exceed"):
        noun, k = True, k + 1
    return k if noun else None


@dataclass(frozen=True, slots=True)
class Objects:
    """Map objects of one kind, with their number."""

    kinds: tuple[str, ...]
    span: Span


_ALWAYS_ONE = frozenset(("road network", "network of roads", "road system", "parking", "rail"))


def _counted(number: Number) -> Span:
    """'about forty buildings' rounds to tens: half of the last digit that is not zero, at most a sixth."""
    if number.near != "about" or number.decimals or number.value < 10:
        return number.span()
    value, place = int(number.value), 1
    while value % (10 * place) == 0:
        place *= 10
    half = max(0.07 * value, min(place / 2, value / 6))
    return value - half, value + half


def _objects(tokens: list[Token]) -> list[Token]:
    """Numbers or quantifiers and a kind of map object -> OBJ."""
    found: list[Token] = []
    for token in tokens:
        if not token.has("kind"):
            found.append(token)
            continue
        kind, plural = str(token.cats["kind"]), token.words.split()[-1].endswith("s")
        plural = plural or token.words.startswith("places")
        span: Span = (2.0 if plural and kind in KINDS and KINDS[kind].counted else 1.0, EVERYTHING)
        words = token.words
        if found and found[-1].word("mapped", "map's"):
            found.pop()
        last = found[-1] if found else None
        cats: Meanings = {}
        if last is not None and (last.has("NUM") or last.has("count") or last.word("a", "an")):
            counted = _counted(last.cats["NUM"]) if last.has("NUM") else last.cats.get("count", (1.0, EVERYTHING))
            span = (float(counted[0]), float(counted[1]))
            words = f"{last.words} {words}"
            found.pop()
            if plural and last.word("a", "an"):
                span = (EVERYTHING, EVERYTHING)
            if found and found[-1].word("only", "just"):
                found.pop()
        elif token.has("COVER"):
            cats["COVER"] = token.cats["COVER"]
        cats["OBJ"] = Objects((kind,), span)
        found.append(Token(cats, words))
    return found


def _attributes(tokens: list[Token]) -> list[Token]:
    """'hilly farmland', 'a tropical wetland': relief and place before a land cover claim by themselves."""
    found: list[Token] = []
    for token in tokens:
        if token.has("COVER") and found and (found[-1].has("relief") or found[-1].has("place")):
            last = found.pop()
            name = "relief" if last.has("relief") else "place"
            said = Claim(name, (name,), against=(str(last.cats[name]),), words=last.words)
            if found and found[-1].word("a", "an"):
                found.pop()
            found.append(Token(token.cats, f"{last.words} {token.words}", [*token.claims, said]))
        else:
            found.append(token)
    return found


_OF_SCENES = frozenset(("LEN", "relief", "place", "season", "rural", "adverb", "adj", "COVER", "scene", "hills"))
"""Categories of which a token that begins a scene, with its adjectives, has one."""


def _scenes(tokens: list[Token]) -> list[Token]:
    """Adjectives and a word for the scene -> SCENE, with what the adjectives claim."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        if _OF_SCENES.isdisjoint(tokens[i].cats):
            found.append(tokens[i])
            i += 1
            continue
        end, claims = _scene_adjectives(tokens, i)
        if end < len(tokens) and (
            tokens[end].has("scene") or (tokens[end].has("hills") and _hills_end(tokens, i, end))
        ):
            token = tokens[end]
            if token.has("hills"):
                claims.append(Claim("relief", ("relief",), against=(str(token.cats["hills"]),), words=token.words))
            strong = token.cats.get("scene") == "strong"
            words = " ".join(t.words for t in tokens[i : end + 1])
            cats = {k: v for k, v in token.cats.items() if k not in ("scene", "suffix")}
            if end > i:
                cats = {}
            if found and found[-1].word("a", "an"):
                found.pop()
            found.append(Token({**cats, "SCENE": strong}, words, claims))
            i = end + 1
        else:
            found.append(tokens[i])
            i += 1
    return _scenes_of(found)


def _hills_end(tokens: list[Token], i: int, end: int) -> bool:
    """'hilly area', alone or behind adjectives and a stop: 'forested, hilly area'."""
    if not tokens[end].has("hills"):
        return False
    return end == i or (tokens[end - 1].word(",", "and") and tokens[end].words.split()[0] in _HILLY)


_HILLY = ("hilly", "mountainous", "flat", "rolling", "level", "undulating")


def _scene_adjectives(tokens: list[Token], i: int) -> tuple[int, list[Claim]]:
    j, claims = _sized(tokens, i)
    while j < len(tokens):
        token = tokens[j]
        if token.has("relief"):
            claims.append(Claim("relief", ("relief",), against=(str(token.cats["relief"]),), words=token.words))
        elif token.has("place"):
            claims.append(Claim("place", ("place",), against=(str(token.cats["place"]),), words=token.words))
        elif token.has("season") and j + 1 < len(tokens) and tokens[j + 1].has("scene"):
            claims.append(Claim("season", ("season",), against=(str(token.cats["season"]),), words=token.words))
        elif token.has("rural"):
            claims.append(Claim("share", ("built",), (), 0.0, 15.0, words=token.words))
        elif token.has("adverb") and j + 1 < len(tokens) and tokens[j + 1].has("adj"):
            low, high = token.cats["adverb"]
            name = str(tokens[j + 1].cats["adj"])
            claims.append(Claim("share", _classes(name), (), low, high, words=f"{token.words} {tokens[j + 1].words}"))
            j += 1
        elif token.has("adj"):
            name = str(token.cats["adj"])
            claims.append(Claim("character", _classes(name), (), 1.0, words=token.words))
        elif _names_scene(tokens, j):
            claims += [*token.claims, Claim("character", token.cats["COVER"].classes, (), 1.0, words=token.words)]
        elif not (token.word(",", "and") and j > i and claims and _is_scene_adjective(tokens, j + 1)):
            break
        j += 1
    return j, claims


def _names_scene(tokens: list[Token], j: int) -> bool:
    """'forest scene': a land cover before a word for the scene."""
    if not tokens[j].has("COVER") or j + 1 >= len(tokens) or not tokens[j + 1].has("scene"):
        return False
    cover: Cover = tokens[j].cats["COVER"]
    return cover.span is None and not cover.absent and not tokens[j + 1].has("suffix")


def _sized(tokens: list[Token], i: int) -> tuple[int, list[Claim]]:
    """'1.3 km wide scene', '1.3 km by 1.3 km scene': the edge of the footprint, or nothing."""
    if not tokens[i].has("LEN"):
        return i, []
    j, claims = i + 1, [_edge(tokens[i])]
    if j + 1 < len(tokens) and tokens[j].word("by", "x") and tokens[j + 1].has("LEN"):
        claims.append(_edge(tokens[j + 1]))
        j += 2
    if j + 1 < len(tokens) and tokens[j].has("onside") and not tokens[j].word("across") and tokens[j + 1].has("scene"):
        j += 1
    return (j, claims) if j < len(tokens) and tokens[j].has("scene") else (i, [])


def _edge(token: Token) -> Claim:
    return Claim.spanning("length", ("size_m",), (), token.cats["LEN"], token.words)


def _is_scene_adjective(tokens: list[Token], j: int) -> bool:
    return j < len(tokens) and any(tokens[j].has(c) for c in ("relief", "place", "rural", "adj", "adverb", "hills"))


def _scenes_of(tokens: list[Token]) -> list[Token]:
    """'scene of trees and crops', 'land of scene', 'rest of scene' -> one SCENE."""
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        i += 1
        token, i = _measured_scene(token, tokens, i)
        if token.has("SCENE") and i + 1 < len(tokens) and tokens[i].has("has") and tokens[i + 1].has("SCENE"):
            other = tokens[i + 1]  # 'the image shows a landscape'
            words = f"{token.words} {tokens[i].words} {other.words}"
            token = Token({"SCENE": True}, words, [*token.claims, *other.claims])
            i += 2
        while token.has("SCENE") and i + 1 < len(tokens) and tokens[i].word("of"):
            if tokens[i + 1].has("SCENE"):
                other = tokens[i + 1]
                strong = bool(token.cats["SCENE"] or other.cats["SCENE"])
                token = Token({"SCENE": strong}, f"{token.words} of {other.words}", [*token.claims, *other.claims])
                i += 2
                continue
            end = _list_end(tokens, i + 1, "COVER")
            if end == i + 1 or _placed_behind(tokens, end) or (token.cats["SCENE"] and _names_objects(tokens, end)):
                break
            listed = [t for t in tokens[i + 1 : end] if t.has("COVER")]
            least = _LEAST_NAMED if len(listed) < _LONG_LIST else _LEAST_LISTED
            claims = [worth_naming(t, (), least) for t in listed]
            together = tuple(c for t in listed for c in t.cats["COVER"].classes)
            words = " ".join(t.words for t in tokens[i:end])
            if len(listed) == 1 and listed[0].cats["COVER"].span is None:
                claims = [Claim("character", together, (), 1.0, words=words)]
            elif len(listed) > 1:
                claims.append(Claim("share", together, (), 50.0, 100.0, words=words))
            claims += [claim for t in listed for claim in t.claims]  # 'hilly forest' says two things
            token = Token({"SCENE": token.cats["SCENE"]}, f"{token.words} {words}", [*token.claims, *claims])
            i = end
        found.append(token)
    return found


_LEAST_NAMED = 5.0
"""Percent that a land cover needs for a scene to be called one of it: 'a landscape of trees and crops'."""

_LONG_LIST, _LEAST_LISTED = 3, 2.0
"""A list of this many land covers says what is there rather than what the scene is; percent that each needs then."""


def worth_naming(token: Token, where: tuple[str, ...], least: float = _LEAST_NAMED) -> Claim:
    """What a land cover claims that an image is said to be of."""
    cover: Cover = token.cats["COVER"]
    if cover.absent or cover.span is not None:
        return presence(token, where)
    return Claim("share", cover.classes, where, least, 100.0, words=token.words)


def _placed_behind(tokens: list[Token], end: int) -> bool:
    """'a view of trees and crops in the top left': the land covers are those of a part."""
    behind = [t for t in tokens[end : end + 3] if not t.word("a", "an")]
    return len(behind) > 1 and behind[0].words in _PREPOSITIONS and behind[1].has("REGION")


def _names_objects(tokens: list[Token], end: int) -> bool:
    """Whether a list of land covers goes on with map objects: 'trees, buildings and a river'."""
    k = end
    while k < len(tokens) and tokens[k].word(*_SEPARATORS, "a", "an"):
        k += 1
    return end < k < len(tokens) and tokens[k].has("OBJ")


def _measured_scene(token: Token, tokens: list[Token], i: int) -> tuple[Token, int]:
    """'area of 1.28 km by 1.28 km': a scene with its edges."""
    if not (token.has("SCENE") and i + 1 < len(tokens) and tokens[i].word("of") and tokens[i + 1].has("LEN")):
        return token, i
    claims, k = [_edge(tokens[i + 1])], i + 2
    if k + 1 < len(tokens) and tokens[k].word("by", "x") and tokens[k + 1].has("LEN"):
        claims.append(_edge(tokens[k + 1]))
        k += 2
    elif k < len(tokens) and tokens[k].has("onside"):
        k += 1
    else:
        return token, i
    words = " ".join(t.words for t in tokens[i:k])
    return Token({"SCENE": token.cats["SCENE"]}, f"{token.words} {words}", [*token.claims, *claims]), k


def presence(token: Token, where: tuple[str, ...]) -> Claim:
    """What the bare mention of a land cover claims."""
    cover: Cover = token.cats["COVER"]
    if cover.absent:
        return Claim("absence", cover.classes, where, words=token.words)
    if cover.span is not None:
        return Claim("share", cover.classes, where, *cover.span, words=token.words)
    return Claim("presence", cover.classes, where, words=token.words)


def _list_end(tokens: list[Token], i: int, category: str) -> int:
    """End of 'x, y and z' that begins at i; i if there is none. A comma alone does not end a list."""
    if i >= len(tokens) or not tokens[i].has(category):
        return i
    end = j = i + 1
    while j < len(tokens) and tokens[j].word(*_SEPARATORS):
        while j < len(tokens) and tokens[j].word(*_SEPARATORS):
            j += 1
        if j >= len(tokens) or not tokens[j].has(category):
            break
        j += 1
        if not tokens[j - 2].word(",") or category == "REGION":
            end = j
    return end


def _lists_of_regions(tokens: list[Token]) -> list[Token]:
    """'top left and middle' -> one REGION that holds of each; 'bottom left and right' means the bottom right."""
    if not any("REGION" in t.cats for t in tokens):
        return tokens
    found: list[Token] = []
    i = 0
    while i < len(tokens):
        end = _region_list(tokens, i)
        if end <= i + 1:
            found.append(tokens[i])
            i += 1
            continue
        value: list[tuple[str, ...]] = []
        for token in tokens[i:end]:
            if token.has("REGION"):
                value += [_like(value[-1], part) if value else part for part in token.cats["REGION"]]
        words = " ".join(t.words for t in tokens[i:end])
        found.append(Token({"REGION": tuple(value)} if len(set(value)) == len(value) else {}, words))
        i = end
    return found


def _region_list(tokens: list[Token], i: int) -> int:
    start = i + 1 if tokens[i].word("both", "either") and i + 1 < len(tokens) else i
    if not tokens[start].has("REGION"):
        return i
    end = j = start + 1
    while j < len(tokens):
        k = j
        while k < len(tokens) and (tokens[k].word("and", ",", "both", "or") or (k > j and tokens[k].word("in"))):
            k += 1
        if k == j or k >= len(tokens) or not tokens[k].has("REGION") or _begins_clause(tokens, i, k):
            break
        end = j = k + 1
    return end


def _begins_clause(tokens: list[Token], i: int, k: int) -> bool:
    """'most of the top left, and the bottom left is': the place at k is the subject of its own verb."""
    behind = tokens[k + 1 : k + 2]
    placed = i > 1 and tokens[i - 1].words in _PREPOSITIONS and tokens[i - 2].words != ","
    return placed and any(t.has("be") or t.has("hold") or t.has("has") for t in behind)


def _like(last: tuple[str, ...], part: tuple[str, ...]) -> tuple[str, ...]:
    """'bottom left and right': a half behind a quarter is the quarter of the same row."""
    if len(last) == 1 and len(part) == 2 and last[0] != "middle":
        row = last[0].split()[0]
        same = tuple(p for p in part if p.startswith(row))
        return same if len(same) == 1 else part
    return part


def _adverbials(tokens: list[Token]) -> list[Token]:
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
    if tokens[i].word("everywhere"):
        return Token({"SCOPE": tuple((r,) for r in REGIONS)}, "everywhere"), i + 1
    if i + 1 >= len(tokens) or not (tokens[i].words in _PREPOSITIONS or _fronting(tokens, i)):
        return None
    j = i + 1
    if tokens[j].word("a", "an") and j + 1 < len(tokens):
        j += 1
    token = tokens[j]
    words = f"{tokens[i].words} {token.words}"
    if token.has("REGION") and not tokens[i].word("from", "to"):
        return Token({"SCOPE": token.cats["REGION"]}, words), j + 1
    if token.has("SCENE") and not tokens[i].word("from", "to", "at"):
        return Token({"SCOPE": ((),) if token.cats["SCENE"] else None}, words, token.claims), j + 1
    if token.has("place"):
        end = j + 1
        while end < len(tokens) and tokens[end].has("placeword"):
            end += 1
        claim = Claim("place", ("place",), against=(str(token.cats["place"]),), words=token.words)
        return Token({"ADV": None}, words, [claim]), end
    return None


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

_OF_TIMES = frozenset((*_TIMES, "taken", "NUM", "REGION", "fronting"))
_BEFORE_TIMES = _PREPOSITIONS | {"a", "an", "year", "everywhere", "among"}
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
        if claims and not (tokens[j - 1].words in _PREPOSITIONS or tokens[j - 1].word("a", "an", ",")):
            last = j
    if not claims:
        return None
    return Token({"ADV": None}, " ".join(t.words for t in tokens[i:last]), claims), last


def _is_season(tokens: list[Token], j: int) -> bool:
    return j < len(tokens) and any(c in _TIMES and c != "month" for c in tokens[j].cats)


def _in_time(tokens: list[Token], j: int, *, told: bool) -> bool:
    """Whether a token belongs between the words of a time."""
    token = tokens[j]
    if token.words in _PREPOSITIONS or token.word("a", "an", "year") or (told and token.has("timeword")):
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
    return alone and number.near is None and _like_year(number)


def _like_year(number: Number) -> bool:
    return not number.decimals and _YEARS[0] <= number.value <= _YEARS[1]


WHOLE_MOSTLY = _WHOLE_MOSTLY
