"""Wordings of the template: reads `wording.txt`, and fills its frames from facts."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_T = TypeVar("_T")
WORDING = Path(__file__).with_name("wording.txt")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)(?: (\w[\w ]*))?\}")
_IRREGULAR = {"be": ("are", "is"), "have": ("have", "has")}


@dataclass(frozen=True, slots=True)
class Noun:
    """A word for a land cover."""

    text: str
    plural: bool

    def verb(self, base: str) -> str:
        """The form of a verb that agrees: 'cover' or 'covers'; of 'take up' the first word changes."""
        first, _, rest = base.partition(" ")
        if first == "cover" and self.text.endswith("cover"):
            first, rest = "take", f"up {rest}"  # not 'tree cover covers'
        many, one = _IRREGULAR.get(first, (first, f"{first}es" if first.endswith(("s", "ch", "sh")) else _third(first)))
        return f"{many if self.plural else one} {rest}".strip()


def _third(verb: str) -> str:
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2] not in "aeiou" else f"{verb}s"


@dataclass(frozen=True, slots=True)
class Chooser:
    """Makes choices: always the same for the same seed and question."""

    seed: str
    start: int = field(init=False)
    """Checksum of the seed, from which that of each question goes on."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", int.from_bytes(hashlib.sha256(self.seed.encode()).digest()[:4], "big"))

    def pick(self, question: str, options: Sequence[_T]) -> _T:
        """One of several options."""
        mixed = crc32(question.encode(), self.start)
        mixed = (mixed ^ mixed >> 16) * 0x7FEB352D & 0xFFFFFFFF  # lowbias32 (Wellons 2018): each bit counts
        mixed = (mixed ^ mixed >> 15) * 0x846CA68B & 0xFFFFFFFF
        return options[(mixed ^ mixed >> 16) % len(options)]


@dataclass(frozen=True, slots=True)
class Filled:
    """A sentence, and the frame that it was made of."""

    text: str
    frame: str


@dataclass(frozen=True)
class Slots:
    """What the slots of frames stand for; a frame with a slot that is not there cannot be filled."""

    texts: dict[str, str] = field(default_factory=dict)
    nouns: dict[str, Noun] = field(default_factory=dict)


@cache
def frames() -> dict[str, tuple[str, ...]]:
    """Topic -> patterns.

    Raises:
        ValueError: a line is not 'TOPIC: pattern.'.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(WORDING.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        topic, colon, pattern = line.partition(": ")
        if not colon or not pattern.endswith("."):
            raise ValueError(f"{WORDING.name}, line {number}: expected 'TOPIC: sentence.', got {line!r}")
        found.setdefault(topic, []).append(pattern)
    return {topic: tuple(patterns) for topic, patterns in found.items()}


def expansions(pattern: str) -> Iterator[str]:
    """Every frame that the choices of a pattern make."""
    match = _CHOICE.search(pattern)
    if match is None:
        yield _tidied(pattern)
        return
    for option in match[1].split("|"):
        yield from expansions(pattern[: match.start()] + option + pattern[match.end() :])


def chosen(pattern: str, chooser: Chooser, question: str) -> str:
    """One frame of a pattern."""
    parts = list(_split(pattern))
    for number, i in enumerate(range(1, len(parts), 2)):
        parts[i] = chooser.pick(f"{question}/{number}", parts[i].split("|"))
    return _tidied("".join(parts))


@cache
def _split(pattern: str) -> tuple[str, ...]:
    """Text and choices of a pattern by turns; choices hold no choices."""
    return tuple(_CHOICE.split(pattern))


def fill(frame: str, slots: Slots) -> str | None:
    """The sentence of a frame; None if the facts do not have one of its slots."""
    made: list[str] = []
    end = 0
    for match in _SLOT.finditer(frame):
        name, own = match[1], match[2]
        noun = slots.nouns.get(name)
        if noun is None and (own is not None or name not in slots.texts):
            return None
        said = slots.texts[name] if noun is None else noun.text
        made += [frame[end : match.start()], said]
        end = match.end()
        if noun is not None and own is not None:
            made.append(f" {noun.verb(own)}")
        elif noun is not None and not frame[: match.start()].endswith("and "):
            verb = _VERB.match(frame, end)
            if verb is not None:
                made.append(f" {noun.verb(verb[1])}")
                end = verb.end()
    text = "".join([*made, frame[end:]])
    return text[0].upper() + text[1:] if text[0].isalpha() else None


@cache
def slots_in(pattern: str) -> frozenset[str]:
    """The slots of a pattern: land covers by their letter, whatever is said of them."""
    return frozenset(name[0] if name[0].isupper() else name for name, _ in _SLOT.findall(pattern))


_VERB = re.compile(
    r" (cover|occupy|hold|make|account|take|fill|represent|constitute|lead|rank|come|prevail|predominate|dominate|claim"
    r"|exceed|outweigh|surpass|outrank|outstrip|reach|fall|drop|decline|decrease|shrink|thin|range|vary|comprise|head|top"
    r"|dwindle|diminish|recede|increase|grow|expand|rise|climb)\b"
)
"""Verbs of the frames, which agree with the noun before them."""


_SPACES, _BEFORE_STOP = re.compile(r" {2,}"), re.compile(r"\s+([,.])")


def _tidied(text: str) -> str:
    return _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", text)).strip()
