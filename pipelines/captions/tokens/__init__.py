"""Takes a sentence apart: words to phrases of the lexicon, phrases to quantities, places, land covers and objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.captions.tokens.adverbials import adverbials
from pipelines.captions.tokens.covers import attributes, covers
from pipelines.captions.tokens.numbers import elided, quantities, ranges
from pipelines.captions.tokens.objects import objects
from pipelines.captions.tokens.phrases import phrases_of, words_of
from pipelines.captions.tokens.regions import lists_of_regions, regions
from pipelines.captions.tokens.scenes import scenes

if TYPE_CHECKING:
    from pipelines.captions.tokens.token import Token


def tokens_of(sentence: str, literals: frozenset[str]) -> list[Token]:
    """The chunks of one sentence (lower case, without its full stop).

    Raises:
        UnknownWordsError: words that are neither in the lexicon nor function words of the frames.
    """
    found = phrases_of(words_of(sentence), literals)
    for step in (
        regions,
        quantities,
        ranges,
        covers,
        objects,
        elided,
        attributes,
        scenes,
        lists_of_regions,
        adverbials,
    ):
        found = step(found)
    return found
