"""The frames: reads `frames.txt` and finds which of them a run of tokens fits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.captions.lexicon import lexicon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.captions.tokens.token import Token

FRAMES = Path(__file__).with_name("frames.txt")
_ATOM = re.compile(
    r"(?P<slot>\w+)=(?P<what>\([^)]*\)|\w+)(?P<many>[?*+]?)|(?P<plain>\[|\]|[(|)]|[,:;]|[\w']+)(?P<rep>[?*+]?)"
)
_CHUNKS = frozenset(("AMT", "NUM", "LEN", "AREA", "DEG", "COVER", "OBJ", "SCENE", "REGION", "SCOPE", "ADV", "PERCENT"))
_FIRST_CODE = 0xE000
_KEPT = 20_000
"""Shapes of clauses whose frames are remembered."""
FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "remaining",
        "another",
        "mapped",
        "x",
        "to",
        "from",
        "of",
        "by",
        "one",
        "both",
        "not",
        "any",
        "s",
        "during",
        "toward",
        "towards",
        "within",
        "inside",
        "throughout",
        "through",
        "across",
        "out",
        "every",
        "parts",
        "everywhere",
        "along",
        "among",
    ]
)
"""Words that tokens need besides those of the frames."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of the file."""

    handler: str
    follows: bool
    """Only behind another clause of the same sentence."""
    pattern: str
    line: int
    core: bool = False
    """Tried where no other frame fits, on a run without the words that tie phrases together."""

    @property
    def placed(self) -> bool:
        """Whether the pattern speaks of adverbials of place itself; otherwise they are taken out before it is tried."""
        return "SCOPE" in self.pattern


@dataclass(frozen=True, slots=True)
class Fit:
    """A frame that a run of tokens fits."""

    frame: Frame
    slots: dict[str, tuple[int, int]]
    """Name -> from which token to which of the run (or of the run without adverbials of place)."""


@dataclass
class Grammar:
    """Frames, and codes for tokens: one private character for each set of categories."""

    frames: tuple[Frame, ...]
    macros: dict[str, str]
    codes: dict[tuple[frozenset[str], str], str] = field(default_factory=dict)
    compiled: dict[tuple[bool, bool], list[tuple[Frame, re.Pattern[str]]]] = field(default_factory=dict)
    fits_of: dict[tuple[str, bool, bool], tuple[Fit, ...]] = field(default_factory=dict)

    @cached_property
    def literals(self) -> frozenset[str]:
        """Lower-case words of the frames."""
        text = " ".join([*(f.pattern for f in self.frames), *self.macros.values()])
        text = re.sub(r"\w+=", " ", text)
        return FUNCTION_WORDS | set(re.findall(r"[a-z']+|[,:;]", text)) | {"(", ")"}

    @cached_property
    def used(self) -> frozenset[str]:
        """Categories that any frame speaks of."""
        text = " ".join([*(f.pattern for f in self.frames), *self.macros.values()])
        return frozenset(c if c in _CHUNKS else c.lower() for c in re.findall(r"[A-Z][A-Z0-9_]+", text))

    def code(self, token: Token) -> str:
        """The character of a token."""
        key = (self.used.intersection(token.cats), token.words if token.words in self.literals else "")
        found = self.codes.get(key)
        if found is None:
            found = self.codes[key] = chr(_FIRST_CODE + len(self.codes))
            self.compiled.clear()
            self.fits_of.clear()
        return found

    def fits(self, run: str, *, placed: bool, core: bool = False) -> tuple[Fit, ...]:
        """Frames that the whole run fits, in the order of the file; `placed`: the frames with adverbials of place."""
        key = (run, placed, core)
        found = self.fits_of.get(key)
        if found is None:
            if len(self.fits_of) >= _KEPT:
                self.fits_of.clear()
            found = self.fits_of[key] = tuple(self._fits(run, placed=placed, core=core))
        return found

    def _fits(self, run: str, *, placed: bool, core: bool) -> list[Fit]:
        kind = (placed, core)
        if kind not in self.compiled:
            chosen = [f for f in self.frames if (f.placed, f.core) == kind]
            self.compiled[kind] = [(f, re.compile(self._regex(f.pattern, f))) for f in chosen]
        found = []
        for frame, regex in self.compiled[kind]:
            match = regex.fullmatch(run)
            if match is not None:
                found.append(Fit(frame, {k: match.span(k) for k, v in match.groupdict().items() if v}))
        return found

    def _regex(self, pattern: str, frame: Frame) -> str:
        made = []
        for atom in _ATOM.finditer(pattern):
            if atom["slot"]:
                inner = self._regex(atom["what"].strip("()"), frame)
                made.append(f"(?P<{atom['slot']}>{inner}){atom['many']}")
            else:
                made.append(self._atom(str(atom["plain"]), frame) + atom["rep"])
        return "".join(made)

    def _atom(self, word: str, frame: Frame) -> str:
        if word in ("(", "|", ")"):
            return "(?:" if word == "(" else word
        if word in self.macros:
            return f"(?:{self._regex(self.macros[word], frame)})"
        if word[0].isupper():
            name = word if word in _CHUNKS else word.lower()
            chars = [c for (cats, _), c in self.codes.items() if name in cats]
            return f"[{''.join(chars)}]" if chars else r"(?!)"
        word = {"[": "(", "]": ")"}.get(word, word)
        chars = [c for (_, words), c in self.codes.items() if words == word]
        return f"[{''.join(chars)}]" if chars else r"(?!)"


def check_names(grammar: Grammar) -> None:
    """Every category that the frames name is one of the lexicon or of the chunks.

    Raises:
        ValueError: one is not.
    """
    known = _CHUNKS | {c for meanings in lexicon().phrases.values() for c in meanings}
    for name in sorted(grammar.used - known - {m.lower() for m in grammar.macros}):
        raise ValueError(f"{FRAMES.name}: no entry of {name!r} in the lexicon")


@cache
def grammar() -> Grammar:
    """The grammar of this installation.

    Raises:
        ValueError: a line of the file cannot be read.
    """
    frames, macros = [], {}
    for number, line in enumerate(FRAMES.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("@"):
            name, _, pattern = text[1:].partition(" = ")
            macros[name] = pattern
            continue
        handler, colon, pattern = text.partition(": ")
        if not colon:
            raise ValueError(f"{FRAMES.name}, line {number}: expected 'HANDLER: pattern', got {line!r}")
        frames.append(Frame(handler.lstrip("+~"), "+" in handler, pattern, number, "~" in handler))
    made = Grammar(tuple(frames), macros)
    check_names(made)
    _seed(made)
    return made


def _seed(made: Grammar) -> None:
    """Codes for every entry of the lexicon, so that frames are compiled once."""
    from pipelines.captions.tokens.token import Token

    for words, meanings in lexicon().phrases.items():
        text = " ".join(words)
        made.code(Token(dict(meanings), text))
        rest = {k: v for k, v in meanings.items() if k not in ("scene", "suffix")}
        if len(rest) < len(meanings) or "hills" in meanings:
            made.code(Token({**rest, "SCENE": True}, text))
        if "amount" in meanings:
            made.code(Token({**meanings, "AMT": None}, text))
    for word in made.literals:
        made.code(Token({}, word))
    sets = ["NUM", "AMT", "AMT PERCENT", "AMT times", "LEN", "AREA", "DEG", "COVER", "COVER adj", "COVER kind",
            "COVER OBJ", "OBJ", "SCENE", "REGION", "SCOPE", "ADV"]  # fmt: skip
    for names in sets:
        made.code(Token(dict.fromkeys(names.split()), "\0"))


def run_of(tokens: Sequence[Token]) -> str:
    """The codes of tokens."""
    made = grammar()
    return "".join([made.code(t) for t in tokens])
