"""Checks a caption against the facts: it is accepted when it can be read into claims and every claim is true."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from pipelines.captions.lexicon import lexicon
from pipelines.captions.reader import Verdict, read_text

if TYPE_CHECKING:
    from schemas.caption import Facts

CHECKS_VERSION = "5"
"""Raised when a rule, a frame or a word of the lexicon changes, so that cached answers are asked for again."""
CHECKS = ("format", "names", "repetition", "claims")
"""What a caption goes through, in this order."""
MIN_CHARACTERS, MAX_CHARACTERS = 12, 1200
"""Length of a caption."""
_ALPHABET = re.compile(r"[A-Za-z0-9 ,.;:'()%°\u2013-]+")
"""No line break, markup, URL, quote or slash can be written with these."""
_ADDRESS = re.compile(r"www|\w:\w|\b[a-z-]+\.(?:com|org|net|io)\b")
_CAPITAL = re.compile(r"[A-Z][A-Za-z'-]*")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ITEM = re.compile(r"(?:^|[:;,(%\d])\s*$")
"""What stands before an item of a list: 'Trees: 62 percent, Crops: 25 percent'."""
_CAPITALISING = frozenset(("region", "month", "season", "place", "partword"))
_COVERS = frozenset(("cover", "kind"))
_SIGNS = (
    ("\u2019", "'"), ("\u2018", "'"), ("\u2014", ", "), (" \u2013 ", ", "), ("\u00a0", " "), ("\u2248", "about "),
    ("~", "about "), ("\u00d7", " by "), (" & ", " and "), ("km\u00b2", "square kilometres"),
    ("m\u00b2", "square metres"), ("\u2026", "."),
)  # fmt: skip
"""Signs of print that a plain paragraph writes otherwise."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a caption is refused."""

    check: str
    """Name of the check; of claims, the predicate that failed, or 'words' or 'grammar' where none could be read."""
    reason: str
    """One sentence."""


@cache
def _words_of(categories: frozenset[str]) -> frozenset[str]:
    """Words of the lexicon's phrases of these categories."""
    return frozenset(w for words, found in lexicon().phrases.items() if categories & set(found) for w in words)


def tidied(text: str) -> str:
    """The text as a plain paragraph: signs of print replaced, from a capital letter to a full stop."""
    for sign, plain in _SIGNS:
        text = text.replace(sign, plain)
    text = re.sub(r" +(?=[ ,.;:])", "", text.strip(" "))
    return text[:1].upper() + text[1:] + ("." if text[-1:].isalnum() or text.endswith((")", "%")) else "")


def judge(text: str, facts: Facts) -> Verdict:
    """The claims of a text, and why it is refused if it is. Threads take turns: the reader keeps what it has read."""
    with _TURN:
        last = _LAST.get("verdict")
        if last is not None and last[0] == text and last[1] is facts:
            return last[2]  # the template, the caption and its claims ask one after the other
        verdict = _judged(text, facts)
        _LAST["verdict"] = (text, facts, verdict)
        return verdict


_LAST: dict[str, tuple[str, Facts, Verdict]] = {}
"""The verdict asked for last."""
_TURN = threading.Lock()


def _judged(text: str, facts: Facts) -> Verdict:
    text = tidied(text)
    for check, rule in (("format", _format), ("names", _names), ("repetition", _repetition)):
        reason = rule(text)
        if reason is not None:
            return Verdict((), check, reason)
    return read_text(text, facts)


def refusal_of(text: str, facts: Facts) -> Refusal | None:
    """Why a text is refused; None if it can be read, and the facts support every claim."""
    verdict = judge(text, facts)
    return None if verdict.reason is None else Refusal(str(verdict.check), verdict.reason)


def _format(text: str) -> str | None:
    if not MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
        return f"a caption has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, this one has {len(text)}"
    if not _ALPHABET.fullmatch(text):
        strange = sorted(set(_ALPHABET.sub("", text)))[0]
        return f"the character {strange!r} does not belong in a plain English paragraph"
    if "  " in text or not text.endswith("."):
        return "a caption is one paragraph of whole sentences"
    if _ADDRESS.search(text.lower()):
        return "a caption contains no address"
    return None


def _names(text: str) -> str | None:
    for sentence in _SENTENCE.split(text):
        for match in _CAPITAL.finditer(sentence):
            words = re.split(r"['-]", match.group().lower())
            before = sentence[: match.start()]
            item = _words_of(_COVERS).issuperset(words) and _ITEM.search(before)
            if before and not item and not _words_of(_CAPITALISING).issuperset(words):
                return f"{match.group()!r} looks like a name, and the facts name no places"
    return None


def _repetition(text: str) -> str | None:
    sentences = [s.lower() for s in _SENTENCE.split(text)]
    repeated = next((s for s in sentences if sentences.count(s) > 1), None)
    return None if repeated is None else f"a sentence stands there more than once: {repeated!r}"
