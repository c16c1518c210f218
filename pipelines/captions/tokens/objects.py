"""Map objects with their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landweave.claims import EVERYTHING
from pipelines.captions.tokens.token import Token
from pipelines.captions.words import KINDS

if TYPE_CHECKING:
    from landweave.claims import Span
    from pipelines.captions.lexicon import Meanings
    from pipelines.captions.tokens.numbers import Number


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


def objects(tokens: list[Token]) -> list[Token]:
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
        elif last is not None and last.word("only", "sole") and not plural:
            span = (1.0, 1.0)  # 'the only road'
            words = f"{last.words} {words}"
            found.pop()
        elif token.has("COVER"):
            cats["COVER"] = token.cats["COVER"]
        cats["OBJ"] = Objects((kind,), span)
        found.append(Token(cats, words))
    return found
