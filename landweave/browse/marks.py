"""The words of a caption that claim something, found in its text.

A claim keeps the words that it was read from without articles, capitals and hyphens: 'woodland about five eighths' of
'woodland on about five-eighths'.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Piece = tuple[str, tuple[str, ...]]
"""A part of the text, and what it claims."""
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]")
_END = re.compile(r"[.!?](?=\s|$)")


def pieces(text: str, claims: Mapping[str, Sequence[str]]) -> tuple[list[Piece], list[str]]:
    """The text cut where claims begin and end, and what is claimed by words that the text does not have.

    Args:
        text: the caption.
        claims: words -> what they claim.
    """
    spans = [(place(text, words), says) for words, says in claims.items()]
    cuts = sorted({0, len(text), *(edge for span, _ in spans if span for edge in span)})
    found = []
    for start, end in pairwise(cuts):
        held = [said for span, says in spans if span and span[0] <= start and end <= span[1] for said in says]
        found.append((text[start:end], tuple(held)))
    return found, [said for span, says in spans if span is None for said in says]


def place(text: str, words: str) -> tuple[int, int] | None:
    """Where the shortest stretch of one sentence begins and ends that has all words in order; None if none has."""
    wanted = _lower(words)
    if not wanted:
        return None
    found = [span for sentence in _sentences(text) for span in _stretches(text, sentence, wanted)]
    return min(found, key=lambda span: (span[1] - span[0], span[0]), default=None)


def _lower(words: str) -> list[str]:
    return [word for word in _WORD.findall(words.lower()) if word.isalnum() or word[0].isdigit()]


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        yield start, end
        start = end


def _stretches(text: str, sentence: tuple[int, int], wanted: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The earliest end for each place in the sentence where the first word stands."""
    there = list(_WORD.finditer(text, *sentence))
    lower = [match[0].lower() for match in there]
    for first, word in enumerate(lower):
        if word != wanted[0]:
            continue
        at = first
        try:
            for one in wanted[1:]:
                at = lower.index(one, at + 1)
        except ValueError:
            return
        yield there[first].start(), there[at].end()
