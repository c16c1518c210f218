"""Words of a sentence to phrases of the lexicon."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.captions.lexicon import DROPPED, lexicon
from pipelines.captions.tokens.numbers import PARTS, number_at
from pipelines.captions.tokens.token import Token, UnknownWordsError

if TYPE_CHECKING:
    from pipelines.captions.lexicon import Meanings

_WORD = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[a-z]+\d?(?:'[a-z]+)?|[,;:()]|-(?=\d)|[^\s]")


_DEGREE = re.compile(
    r"\b(?:slightly|somewhat|far|much|clearly|considerably|marginally|noticeably|markedly|a (?:little|bit|good deal)) "
    r"(?=(?:more|less|larger|smaller|fewer|greater|higher|lower|bigger|rarer)\b(?! than))"
)
"""'slightly more common' claims that it is more common, and by how little (`degree_of`)."""


_LITTLE = re.compile(
    r"\b(?:slightly|marginally|a little|a bit|narrowly|just barely) (?:more|less|larger|smaller|exceed|outweigh)"
)


_FAR = re.compile(r"\b(?:far|much|considerably|clearly|vastly) (?:more|less|larger|smaller|exceed|outweigh)")


_BY_DEGREE = frozenset(
    (
        "slightly",
        "marginally",
        "little",
        "bit",
        "narrowly",
        "barely",
        "far",
        "much",
        "considerably",
        "clearly",
        "vastly",
    )
)
"""Words of which a sentence that says a degree has one."""


def degree_of(sentence: str) -> str:
    """'little' or 'far' where a sentence says by how much one thing exceeds another, else ''."""
    text = sentence.lower()
    if _BY_DEGREE.isdisjoint(text.split()):
        return ""
    return "little" if _LITTLE.search(text) else "far" if _FAR.search(text) else ""


_ANOTHER = re.compile(
    r"\b(?:another|a further|yet another|a second) (?=(?:half|third|quarter|fifth|sixth|eighth|tenth)\b)"
)
"""'another third' is a third."""


_AS_MUCH_AS = re.compile(r"\bas (?:much|many|little|few) as (?=\d)")
"""'as much as 70 percent' is 70 percent."""


_ONLY = re.compile(r"\b(?:just|merely|solely|exclusively) (?=(?:in|on|the)\b)")
"""'solely in the north' is 'only in the north'."""


_THE_ONLY = re.compile(
    r"\b(holds?|has|have|contains?|shows?|includes?) the only (?!part|quarter|quadrant|corner|one\b|map)"
)
"""'the north holds the only water' is 'the north holds all of the water', and not 'only water'."""
_OF_SCENE = re.compile(r"\b(scene|image|picture|area|landscape|land|terrain|tile|ground|view|map)'s\b")
"""'the scene's lowest point' is the lowest point."""
_NOT = re.compile(r"(?<=[a-z])n't\b")
_IS = re.compile(r"(?<=\bit)'s\b|(?<=here)'s\b|(?<=that)'s\b")
"""'isn't' is 'is not', 'there's' is 'there is'."""


_TRIGGERS = frozenset(
    (
        "slightly", "somewhat", "far", "much", "clearly", "considerably", "marginally", "noticeably", "markedly", "a",
        "another", "further", "as", "just", "merely", "solely", "exclusively", "only",
    )
)  # fmt: skip
"""Words of which a sentence has one that the patterns above may change."""


def words_of(sentence: str) -> list[str]:
    """The words and marks of a sentence, without those that add nothing."""
    text = sentence.lower().replace("%", " percent ").replace("°", " degrees ")
    if "'" in text:
        text = (
            _NOT.sub(" not", _IS.sub(" is", _OF_SCENE.sub(r"\1", text))).replace("'re ", " are ").replace("'s ", " s ")
        )
    if not _TRIGGERS.isdisjoint(text.split()):
        text = _AS_MUCH_AS.sub("", _ANOTHER.sub("a ", _DEGREE.sub("", text)))
        text = _THE_ONLY.sub(r"\1 all of ", _ONLY.sub("only ", text))
    if "-" in text or "\u2013" in text:
        text = re.sub(r"(\d)\s*[-\u2013]\s*(?=\d)", r"\1 to ", text)
        text = re.sub(r"(?<=[a-z])-(?=[a-z])|(?<=\d)-(?=[a-z])", " ", text)
    text = re.sub(r"(\d)(km2|m2|km|m|ha|ft)\b", r"\1 \2", text)
    return [w for w in _WORD.findall(text) if w not in DROPPED]


def phrases_of(words: list[str], literals: frozenset[str]) -> list[Token]:
    """Words to the longest phrases of the lexicon, numbers, and function words of the frames."""
    table, found, unknown, i = lexicon(), [], [], 0
    while i < len(words):
        for size in table.sizes(words, i):
            meanings = table.phrases.get(tuple(words[i : i + size])) if i + size <= len(words) else None
            if meanings is not None and not _cut_short(words, i, i + size, meanings):
                found.append(Token(meanings, words[i] if size == 1 else " ".join(words[i : i + size])))
                i += size
                break
        else:
            number, used = number_at(words, i)
            if number is not None:
                found.append(Token({"NUM": number}, " ".join(words[i : i + used])))
                i += used
                continue
            if words[i] not in literals and words[i] not in PARTS:
                unknown.append(words[i])
            found.append(Token({}, words[i]))
            i += 1
    if unknown:
        raise UnknownWordsError(unknown)
    return found


def _cut_short(words: list[str], i: int, end: int, meanings: Meanings) -> bool:
    """Whether a phrase only looks like one: 'in all' of 'in all parts', 'share of' of 'largest share of the scene'."""
    if words[i:end] in (["in", "all"], ["in", "part"]):  # 'in all parts', 'in this part of the south'
        return _goes_on(words, end) if words[i + 1] == "all" else words[end : end + 1] == ["of"]
    if end < len(words) and "exceed" in meanings and words[end - 1] == "than":
        return _is_quantity(words, end)
    if end < len(words) and "lead" in meanings and words[end - 1] in ("share", "space", "part"):
        return words[end] == "of"
    if end < len(words) and "cover" in meanings and words[end - 1] == "cover":
        upper = "and" in words[i:end] and "region" in lexicon().phrases.get((words[end],), {})
        return upper or words[end][0].isdigit()  # 'snow and ice cover the upper part', 'crops cover 8'
    if words[end - 1] != "of" or not ("prefix" in meanings or "some" in meanings) or end >= len(words):
        return False
    behind = _longest(words, end)
    return "scene" in behind or "region" in behind


def _longest(words: list[str], i: int) -> Meanings:
    """The meanings of the longest phrase that begins at word i."""
    table = lexicon()
    return next((m for n in table.sizes(words, i) if (m := table.phrases.get(tuple(words[i : i + n]))) is not None), {})


def _is_quantity(words: list[str], i: int) -> bool:
    """Whether a number, or a fraction behind 'a', begins at word i: 'cover more than 40 percent', '... than a half'."""
    table = lexicon()
    if words[i] == "a" and i + 1 < len(words):
        return "fraction" in table.phrases.get((words[i], words[i + 1]), {})
    return number_at(words, i)[0] is not None or "fraction" in table.phrases.get((words[i],), {})


def _goes_on(words: list[str], i: int) -> bool:
    """Whether a noun may follow: 'in all parts' against 'in all, and'."""
    return i < len(words) and words[i] not in (",", ";", ":", "and", "across", "in", "over", "through")
