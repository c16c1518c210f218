"""Checks a caption against the facts: refuses any statement that they do not support, with a one-sentence reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.captions.claims import Mention, Reading, share_in
from pipelines.captions.quantities import number_reason
from pipelines.captions.words import (
    ABSENT,
    BANNED,
    CLASS_WORDS,
    COLOURS,
    DEM_WORDS,
    ECHOES,
    FUNCTION_WORDS,
    KINDS,
    MONTHS,
    RELIEF_WORDS,
    STARTERS,
    STEEP_WORDS,
    UNBORNE_WORDS,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.caption import Facts

CHECKS_VERSION = "1"
"""Raised when a rule changes, so that cached answers are asked for again."""
MIN_CHARACTERS, MAX_CHARACTERS = 30, 1200
"""Length of a caption."""
_ALPHABET = re.compile(r"[A-Za-z0-9 ,.;:'()%°\u2013-]+")
"""No line break, markup, URL, quote or slash can be written with these."""
_MIN_FUNCTION_WORDS = 0.15
"""Least share of commonest English words: English prose has a third and more."""
_SEASON = re.compile(r"\b(?:(spring)(?:time)?|(summer)(?:time|y)?|(autumn)(?:al)?|(winter)(?:time|y)?|wintry)\b")
_FALL = re.compile(r"\b(?:in|the|early|late|this|during|of) fall\b")
_CLIMATE = re.compile(
    r"\b(?:tropic\w*|subtropic\w*|polar|arctic|antarctic\w*|temperate|boreal|equator\w*|mediterranean|arid|semi-arid|"
    r"humid|dry|wet|hemisphere|latitudes?|mid-latitudes?|continental|climate|climatic)\b"
)
_CAPITAL = re.compile(r"[A-Z][A-Za-z'-]*")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a caption is refused."""

    check: str
    """Name of the check."""
    reason: str
    """One sentence."""


def refusal_of(text: str, facts: Facts) -> Refusal | None:
    """The first check that a caption fails, or None: the facts must support every word in the tables."""
    reading = Reading.of(text, facts)
    for name, rule in CHECKS.items():
        reason = rule(reading, facts)
        if reason is not None:
            return Refusal(name, reason)
    return None


def _format(reading: Reading, facts: Facts) -> str | None:  # noqa: ARG001
    text = reading.text
    if not MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
        return f"a caption has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, this one has {len(text)}"
    if not _ALPHABET.fullmatch(text):
        strange = sorted(set(_ALPHABET.sub("", text)))[0]
        return f"the character {strange!r} does not belong in a plain English paragraph"
    if text != text.strip() or "  " in text or not text[0].isupper() or not text.endswith("."):
        return "a caption is one paragraph of whole sentences, from a capital letter to a full stop"
    if "www" in reading.low or re.search(r"\w:\w|\b[a-z-]+\.(?:com|org|net|io)\b", reading.low):
        return "a caption contains no address"
    return None


def _english(reading: Reading, facts: Facts) -> str | None:  # noqa: ARG001
    common = sum(word in FUNCTION_WORDS for word in reading.words)
    if common < _MIN_FUNCTION_WORDS * max(1, len(reading.words)):
        return "the text does not read as English prose"
    return None


def _banned(pattern: str, what: str) -> Callable[[Reading, Facts], str | None]:
    found = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)")

    def rule(reading: Reading, facts: Facts) -> str | None:  # noqa: ARG001
        match = found.search(reading.low)
        return None if match is None else f"{match.group()!r} {what}"

    return rule


def _may(reading: Reading, facts: Facts) -> str | None:
    if re.search(r"\bmay\b", reading.text):
        return "'may' is a guess, and captions contain facts only"
    return _HEDGES(reading, facts)


_HEDGES = _banned(BANNED, "is a guess or a comparison in time, and captions contain facts only")


def _unborne(reading: Reading, facts: Facts) -> str | None:  # noqa: ARG001
    for word in reading.words:
        if word in UNBORNE_WORDS:
            return f"no fact supports {word!r}"
        if word in COLOURS:
            return f"{word!r} is about colour, which the facts do not contain"
    return None


_REGIONAL = frozenset(
    ["top", "bottom", "left", "right", "middle", "centre", "center", "upper", "lower", "vegetation", "plants"]
)
_MONTHS = frozenset(month.lower() for month in MONTHS)
_KNOWN = frozenset(
    {*STARTERS, *RELIEF_WORDS, *_MONTHS, *_REGIONAL}
    | {word for words in CLASS_WORDS.values() for word in re.split(r"[ |-]", words)}
    | {word for kind in KINDS.values() for word in re.split(r"[ |]", kind.words)}
)
"""Words that a sentence may begin with."""


def _names(reading: Reading, facts: Facts) -> str | None:
    known = _KNOWN.union(re.split(r"[ -]", facts.place or ""))
    for sentence in reading.sentences:
        for match in _CAPITAL.finditer(sentence):
            word = match.group().lower()
            first = match.start() == 0 and all(part in known for part in re.split(r"['-]", word))
            if not first and word not in _MONTHS:
                return f"{match.group()!r} looks like a name, and the facts name no places"
    return None


def _time(reading: Reading, facts: Facts) -> str | None:
    for match in _SEASON.finditer(reading.low):
        said = next((g for g in match.groups() if g), "winter")
        if said != facts.season:
            return f"the text says {said}, the facts say {facts.season or 'no season'}"
    if _FALL.search(reading.low) and facts.season != "autumn":
        return f"the text says fall, the facts say {facts.season or 'no season'}"
    for number, month in enumerate(MONTHS, 1):
        pattern = rf"\b{month}\b" if month in ("May", "March") else rf"(?i)\b{month}\b"
        if re.search(pattern, reading.text) and number != facts.month:
            return f"the text says {month}, the facts say {MONTHS[facts.month - 1] if facts.month else 'no month'}"
    climate = _CLIMATE.search(reading.low)
    if climate is not None and not (climate.group().startswith("tropic") and facts.place == "tropics"):
        return f"{climate.group()!r} is not how the facts name the place ({facts.place or 'they do not'})"
    return None


def _covers(reading: Reading, facts: Facts) -> str | None:
    classes = {s.name for s in facts.overall} | {s.name for r in facts.regions.values() for s in r}
    kinds = {name for name, count in facts.objects if count}
    for clause in reading.clauses:
        for mention in clause.mentions:
            if not classes.intersection(mention.term.classes) and not kinds.intersection(mention.term.kinds):
                return f"{mention.word!r} is not among the facts"
    return None


def _regions(reading: Reading, facts: Facts) -> str | None:
    for clause in reading.clauses:
        for group in clause.groups:
            for scope in group.scopes:
                for mention in group.mentions:
                    reason = _region_reason(facts, mention, scope)
                    if reason is not None:
                        return reason
    return None


def _region_reason(facts: Facts, mention: Mention, scope: tuple[str, ...]) -> str | None:
    if scope == ("overall",):
        return None  # _covers has seen to it
    where = " or ".join(scope)
    if not mention.term.classes:
        return f"the facts do not say where the {mention.word} is, the text puts it in the {where}"
    if all(share_in(facts, region, mention.term.classes) is None for region in scope):
        return f"{mention.word!r} is not among the facts of the {where}"
    return None


def _shares(reading: Reading, facts: Facts) -> str | None:
    for clause in reading.clauses:
        for share in clause.shares:
            mention = clause.nearest(share)
            if mention is None or not mention.term.classes:
                if share.exact:
                    return f"{share.word!r} does not refer to a land cover"
                continue
            for scope in clause.group_of(mention).scopes:
                found = [share_in(facts, region, mention.term.classes) for region in scope]
                if not any(f is not None and share.low <= f <= share.high for f in found):
                    said = ", ".join("none" if f is None else f"{f} percent" for f in found)
                    where = " or ".join(scope)
                    return f"{share.word!r} is said of {mention.word!r} ({where}), the facts have {said} there"
    return None


def _tops(reading: Reading, facts: Facts) -> str | None:
    for clause in reading.clauses:
        for top in clause.tops:
            mention = clause.nearest(top)
            if mention is None or not mention.term.classes:
                continue
            classes = tuple(c for m in clause.linked(mention) for c in m.term.classes)
            for scope in clause.group_of(mention).scopes:
                if not any(_leads(facts, region, classes) for region in scope):
                    where = " or ".join(scope)
                    return f"{top.word!r} is said of {mention.word!r}, which is not the largest of the {where}"
    return None


def _leads(facts: Facts, region: str, classes: tuple[str, ...]) -> bool:
    listed = facts.overall if region == "overall" else facts.regions.get(region, ())
    return bool(listed) and any(s.name in classes and s.percent >= listed[0].percent for s in listed)


def _terrain(reading: Reading, facts: Facts) -> str | None:
    for word in reading.words:
        if word in RELIEF_WORDS and RELIEF_WORDS[word] != facts.relief:
            return f"{word!r} is said of the terrain, the facts say {facts.relief or 'nothing'}"
        if word in DEM_WORDS and facts.elevation_min_m is None:
            return f"{word!r} needs an elevation, which the facts do not contain"
        if word in STEEP_WORDS and (facts.slope_mean_deg is None or facts.slope_mean_deg < 10.0):
            return f"{word!r} is said of the terrain, the mean slope is {facts.slope_mean_deg} degrees"
    return None


CHECKS: dict[str, Callable[[Reading, Facts], str | None]] = {
    "format": _format,
    "english": _english,
    "echo": _banned(ECHOES, "is about the conversation and not about the scene"),
    "hedges": _may,
    "absence": _banned(ABSENT, "is about something that is not there"),
    "unborne": _unborne,
    "names": _names,
    "time": _time,
    "covers": _covers,
    "regions": _regions,
    "shares": _shares,
    "dominance": _tops,
    "numbers": number_reason,
    "terrain": _terrain,
}
"""Name -> rule, in the order in which they are tried. A rule gives one sentence, or None if the text passes."""
