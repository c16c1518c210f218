"""Parses a caption into land covers, map objects, regions and shares, and finds which belong together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from pipelines.captions.words import (
    CLASS_WORDS,
    FRACTIONS,
    KINDS,
    NUMBER_WORDS,
    TOP,
    UNION_WORDS,
    WATER_KINDS,
)

if TYPE_CHECKING:
    from schemas.caption import Facts

_REGION_ALTERNATIVES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(?:top|upper)[- ]left|north[- ]?west(?:ern)?", ("top left",)),
    (r"(?:top|upper)[- ]right|north[- ]?east(?:ern)?", ("top right",)),
    (r"(?:bottom|lower)[- ]left|south[- ]?west(?:ern)?", ("bottom left",)),
    (r"(?:bottom|lower)[- ]right|south[- ]?east(?:ern)?", ("bottom right",)),
    (r"middle|centre|center|central", ("middle",)),
    (r"top|upper|north(?:ern)?", ("top left", "top right")),
    (r"bottom|lower|south(?:ern)?", ("bottom left", "bottom right")),
    (r"left|west(?:ern)?", ("top left", "bottom left")),
    (r"right|east(?:ern)?", ("top right", "bottom right")),
    (r"overall|in total|whole|entire|throughout", ("overall",)),
)
"""Pattern -> regions, one of which must support the claim. Grids are north up, so compass words mean the same."""
_REGION = re.compile(
    r"\b(?:" + "|".join(f"(?P<r{i}>{pattern})" for i, (pattern, _) in enumerate(_REGION_ALTERNATIVES)) + r")\b"
    r"(?: (?:half|quarter|quadrant|corner|part|section|side|third|portion|area))?"
)
_CLAUSE = re.compile(
    r";|,? (?:while|whereas|but|although|though) |"
    r", and (?=(?:in |on |at )?the (?:top|bottom|upper|lower|left|right|middle|cent|north|south|east|west))"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?(?:%|percent|per cent)")
_FRACTION = re.compile("|".join(f"(?P<f{i}>\\b(?:{pattern})(?!\\w))" for i, (pattern, _, _) in enumerate(FRACTIONS)))
_TOP = re.compile(rf"\b(?:{TOP})\b")
_HEDGE_SPAN = 24
_NEAR = re.compile(r"\b(?:about|around|roughly|some) $")
_BELOW = re.compile(r"\b(?:nearly|almost|close to|just under|just below) $")
_MORE = re.compile(r"\b(?:more than|over|above|at least) $")
_LESS = re.compile(r"\b(?:less than|under|below|at most|up to) $")
_VERB = re.compile(
    r"\b(?:cover\w*|hold\w*|occup\w+|mak\w+ up|account\w* for|tak\w+ up|reach\w*|compris\w+|contribut\w+|fill\w*) "
    r"(?:\w+ ){0,2}$"
)
"""Ends with a verb whose subject stands before it: the share behind it is the subject's."""
_BREAK_COST = 40
"""A comma, 'and', 'with' or bracket between a share and a word parts them like this many letters."""
_BREAK = re.compile(r"[,()]|\band\b|\bwith\b|\bfollowed\b")


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the tables."""

    classes: tuple[str, ...] = ()
    """Classes that support it."""
    kinds: tuple[str, ...] = ()
    """Kinds of map objects that support it."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A term in the text."""

    term: Term
    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Share:
    """A share that the text claims."""

    low: float
    """Least percent that supports it."""
    high: float
    """Most percent that supports it."""
    word: str
    start: int
    end: int
    exact: bool
    """True: a number; False: words."""


@dataclass(frozen=True, slots=True)
class Group:
    """Mentions and the regions that they are claimed of."""

    mentions: tuple[Mention, ...]
    scopes: tuple[tuple[str, ...], ...]
    """Each scope is a set of regions, one of which must support the claim; ('overall',) without any region word."""


def _terms() -> dict[str, Term]:
    found: dict[str, Term] = {}

    def add(words: str, classes: tuple[str, ...], kinds: tuple[str, ...]) -> None:
        for word in words.split("|"):
            old = found.get(word, Term())
            found[word] = Term((*old.classes, *classes), (*old.kinds, *kinds))

    for name, words in CLASS_WORDS.items():
        add(words, (name,), WATER_KINDS if name == "water" else ())
    for word, classes in UNION_WORDS.items():
        add(word, classes, ())
    for name, kind in KINDS.items():
        add(kind.words, kind.also, (name,))
    return found


TERMS: dict[str, Term] = _terms()
"""Every word of land cover and map objects -> classes and kinds that support it."""
_TERM = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(TERMS, key=lambda w: (-len(w), w)))) + r")(?!\w)")


@dataclass(frozen=True)
class Clause:
    """A piece of a sentence, in which claims are put together."""

    text: str
    """Lower case."""
    carried: Mention | None = None
    """Last land cover of the clause before, in the same sentence: what a clause without any speaks of."""

    @cached_property
    def mentions(self) -> tuple[Mention, ...]:
        """Terms in order."""
        return tuple(Mention(TERMS[m.group()], m.group(), m.start(), m.end()) for m in _TERM.finditer(self.text))

    @cached_property
    def regions(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """(position, regions) in order."""
        return tuple(
            (m.start(), _REGION_ALTERNATIVES[int(str(m.lastgroup)[1:])][1]) for m in _REGION.finditer(self.text)
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Mentions with their regions.

        'trees in the top left, crops in the middle' and 'in the top left trees, in the middle crops' both pair in
        order of speech; what is left over joins the last pair.
        """
        tokens: list[tuple[int, bool, Mention | tuple[str, ...]]] = [(m.start, False, m) for m in self.mentions]
        tokens += [(start, True, names) for start, names in self.regions]
        tokens.sort(key=lambda token: token[0])
        runs = [(is_region, [t[2] for t in run]) for is_region, run in groupby(tokens, key=lambda token: token[1])]
        mention_runs = [run for is_region, run in runs if not is_region]
        region_runs = [run for is_region, run in runs if is_region]
        if not mention_runs:
            return () if self.carried is None or not region_runs else (self._carried_group(self.carried),)
        if not region_runs:
            return (Group(self.mentions, (("overall",),)),)
        count = max(len(mention_runs), len(region_runs))
        return tuple(
            Group(
                tuple(m for m in mention_runs[min(i, len(mention_runs) - 1)] if isinstance(m, Mention)),
                tuple(r for r in region_runs[min(i, len(region_runs) - 1)] if isinstance(r, tuple)),
            )
            for i in range(count)
        )

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """Percentages and words of share, in order."""
        found: list[Share] = []
        masked = self.text
        for m in _FRACTION.finditer(_REGION.sub(lambda r: "_" * len(r.group()), self.text)):
            _, low, high = FRACTIONS[int(str(m.lastgroup)[1:])]
            found.append(Share(low, high, m.group(), m.start(), m.end(), exact=False))
            masked = masked[: m.start()] + "_" * len(m.group()) + masked[m.end() :]
        for m in _PERCENT.finditer(masked):
            value = float(m.group(1))
            before = masked[max(0, m.start() - _HEDGE_SPAN) : m.start()]
            low, high = value - 1.0, value + 1.0
            if _NEAR.search(before):
                low, high = value - 3.0, value + 3.0
            elif _BELOW.search(before):
                low, high = value - 4.0, value + 1.0
            elif _MORE.search(before):
                high = 100.0
            elif _LESS.search(before):
                low = 0.0
            found.append(Share(low, high, m.group(), m.start(), m.end(), exact=True))
        return tuple(sorted(found, key=lambda share: share.start))

    @cached_property
    def tops(self) -> tuple[Share, ...]:
        """Words that claim the largest share."""
        return tuple(Share(0, 100, m.group(), m.start(), m.end(), exact=False) for m in _TOP.finditer(self.text))

    def nearest(self, share: Share) -> Mention | None:
        """The mention that a share refers to: the one before its bracket, else the nearest one, counting breaks."""
        opened = self.text.rfind("(", 0, share.start)
        if opened > self.text.rfind(")", 0, share.start):
            before = [m for m in self.mentions if m.end <= opened]
            if before:
                return before[-1]
        verb = _VERB.search(self.text[: share.start])
        if verb is not None and not any(m.start <= verb.start() < m.end for m in self.mentions):
            subjects = [m for m in self.mentions if m.end <= verb.start() and m.term.classes]
            if subjects or self.carried is not None:
                return subjects[-1] if subjects else self.carried
        return min(self.mentions, key=lambda m: (self._cost(share, m), -m.start), default=self.carried)

    def _cost(self, share: Share, mention: Mention) -> int:
        low, high = sorted([(share.start, share.end), (mention.start, mention.end)])
        between = self.text[low[1] : high[0]]
        return len(between) + _BREAK_COST * len(_BREAK.findall(between))

    def group_of(self, mention: Mention) -> Group:
        """The group that a mention stands in; one carried over is claimed of this clause's regions."""
        return next((g for g in self.groups if mention in g.mentions), self._carried_group(mention))

    def _carried_group(self, mention: Mention) -> Group:
        return Group((mention,), tuple(names for _, names in self.regions) or (("overall",),))

    def linked(self, mention: Mention) -> tuple[Mention, ...]:
        """The mention and those that only 'and' joins to it: 'trees and crops dominate'."""
        ordered = list(self.mentions)
        if mention not in ordered:
            return (mention,)
        i = ordered.index(mention)
        near = [m for j, m in enumerate(ordered) if abs(i - j) == 1]
        joined = [m for m in near if self._between(m, mention) in ("and", "or", ",")]
        return (mention, *joined)

    def _between(self, one: Mention, two: Mention) -> str:
        first, second = sorted([one, two], key=lambda m: m.start)
        return " ".join(re.sub(r"\([^)]*\)", "", self.text[first.end : second.start]).split())


@dataclass(frozen=True)
class Reading:
    """A caption taken apart."""

    text: str
    """As written."""
    low: str
    """Lower case, the facts' own words for the place blanked out, number words as digits."""

    @classmethod
    def of(cls, text: str, facts: Facts) -> Reading:
        """Take a caption apart."""
        low = text.lower()
        for known in (facts.place, "sea level"):
            if known:
                low = re.sub(rf"\b{re.escape(known.lower())}\b", "_" * len(known), low)
        return cls(text, low)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """As written."""
        return tuple(s for s in _SENTENCE.split(self.text.strip()) if s)

    @cached_property
    def clauses(self) -> tuple[Clause, ...]:
        """Pieces of sentences, lower case."""
        found: list[Clause] = []
        for sentence in _SENTENCE.split(self.low.strip()):
            carried: Mention | None = None
            for piece in _CLAUSE.split(sentence):
                clause = Clause(piece, carried)
                carried = next((m for m in reversed(clause.mentions) if m.term.classes), carried)
                found.append(clause)
        return tuple(found)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Words, lower case; hyphenated ones whole and in parts."""
        whole = re.findall(r"[a-z]+(?:['-][a-z]+)*", self.low)
        return tuple(w for word in whole for w in dict.fromkeys((word, *re.split(r"['-]", word))))


def share_in(facts: Facts, region: str, classes: tuple[str, ...]) -> int | None:
    """Percent of these classes together in a region or 'overall'; None if none of them is listed there."""
    listed = facts.overall if region == "overall" else facts.regions.get(region, ())
    found = [s.percent for s in listed if s.name in classes]
    return sum(found) if found else None


def with_digits(text: str) -> str:
    """Number words as digits ('two lakes' -> '2 lakes')."""
    return re.sub(rf"\b({'|'.join(NUMBER_WORDS)})\b", lambda m: str(NUMBER_WORDS[m.group()]), text)


def without_shares(clause: Clause) -> str:
    """The clause's text with percentages and words of share blanked out."""
    text = clause.text
    for share in clause.shares:
        text = text[: share.start] + "_" * (share.end - share.start) + text[share.end :]
    return text
