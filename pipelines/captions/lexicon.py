"""The lexicon: reads `lexicon.txt` into a table of phrases, each with every meaning that the file gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LEXICON = Path(__file__).with_name("lexicon.txt")
DROPPED = frozenset(("the", "its", "their", "this", "these", "those"))
"""Words that add nothing wherever they stand; they are dropped from texts and from the file's phrases."""
_LINE = re.compile(r"(\w+) ([^:]+): (.+)")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)")

Meanings = dict[str, Any]
"""Category -> value."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The phrases of the file."""

    phrases: dict[tuple[str, ...], Meanings]
    """Words of a phrase -> its meanings by category."""
    reach: dict[tuple[str, ...], tuple[int, ...]]
    """First two words -> numbers of words of the phrases that begin with them, largest first."""
    words: frozenset[str]
    """Every word of any phrase."""

    def sizes(self, words: Sequence[str], i: int) -> tuple[int, ...]:
        """Numbers of words that a phrase from word i may have, largest first."""
        return (*self.reach.get((words[i], words[i + 1]), ()), 1) if i + 1 < len(words) else (1,)


def value_of(text: str) -> Any:
    """The value of an entry: (least, most) for '1..5', a number, None for '-', otherwise the text with blanks."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return float(span.group(1)), float(span.group(2))
    if re.fullmatch(r"-?\d+(?:\.\d+)?", text):
        return float(text)
    return None if text == "-" else text.replace("_", " ")


@cache
def lexicon() -> Lexicon:
    """The lexicon of this installation.

    Raises:
        ValueError: a line of the file is not 'CATEGORY VALUE: phrase, phrase'.
    """
    phrases: dict[tuple[str, ...], Meanings] = {}
    sizes: dict[tuple[str, ...], set[int]] = {}
    for number, line in enumerate(LEXICON.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{LEXICON.name}, line {number}: expected 'CATEGORY VALUE: phrase, phrase', got {line!r}")
        category, value, listed = match.groups()
        for phrase in listed.split(","):
            words = tuple(w for w in phrase.replace("-", " ").replace("'s", " s").split() if w not in DROPPED)
            if not words:
                raise ValueError(f"{LEXICON.name}, line {number}: an empty phrase")
            phrases.setdefault(words, {}).setdefault(category, value_of(value))
            if len(words) > 1:
                sizes.setdefault(words[:2], set()).add(len(words))
    reach = {pair: tuple(sorted(found, reverse=True)) for pair, found in sizes.items()}
    return Lexicon(phrases, reach, frozenset(word for words in phrases for word in words))
