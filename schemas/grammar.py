"""Reads the small languages of a recipe (expressions, rules, numbers) token by token; a text is never run as code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
"""A number without a sign."""
TEXT = r"'[^']*'"
"""A text in quotes."""
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")


class GrammarError(ValueError):
    """The text cannot be used; the message states what was found, where, and what was expected."""


class Token(NamedTuple):
    """A piece of a text."""

    kind: Literal["number", "name", "text", "bracket", "sign", "end"]
    text: str
    """As it is written; 'bracket' is everything from '[' to ']'."""
    at: int
    """Its first character, counted from 1."""


class Reader:
    """Takes one token after another, from left to right. Each language is a subclass."""

    names: ClassVar[str] = r"[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z0-9_.-]{1,64}`"
    """What a name looks like; other characters stand in backquotes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens, self._next = list(self._split(text)), 0

    @property
    def token(self) -> Token:
        """The next token."""
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        return Token("end", "", len(self.text) + 1)

    @property
    def sign(self) -> str | None:
        """The next token, if it is a sign."""
        return self.token.text if self.token.kind == "sign" else None

    def take(self) -> Token:
        """The next token, and go on to the one after it."""
        token = self.token
        self._next += 1
        return token

    def name(self, wanted: str) -> str:
        """Take a name; `wanted` says in an error what it would have been."""
        if self.token.kind != "name":
            raise self.unexpected(wanted)
        return self.take().text.replace("`", "")

    def expect(self, sign: str) -> None:
        """Take this sign."""
        if self.sign != sign:
            raise self.unexpected(repr(sign))
        self.take()

    def end(self, wanted: str) -> None:
        """No token may be left; `wanted` says what could have followed."""
        if self.token.kind != "end":
            raise self.unexpected(wanted)

    def unexpected(self, wanted: str) -> GrammarError:
        """An error about the next token."""
        if self.token.kind == "end":
            return GrammarError(f"ends where {wanted} is expected")
        text = self.token.text if len(self.token.text) <= 40 else self.token.text[:37] + "..."
        return GrammarError(f"has {text!r} at character {self.token.at}, expected {wanted}")

    def _split(self, text: str) -> Iterator[Token]:
        form = re.compile(
            rf"\s*(?:(?P<number>{NUMBER})|(?P<name>{self.names})|(?P<text>{TEXT})|(?P<bracket>\[(?:[^\]\[']|{TEXT})*\])"
            r"|(?P<sign>\*\*|<=|>=|==|!=|[-+*/()<>,.]))"
        )
        at, end = 0, len(text.rstrip())
        while at < end:
            match = form.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise GrammarError(f"has {text[at]!r} at character {at + 1}, which has no meaning here")
            kind = str(match.lastgroup)
            yield Token(kind, match[kind], match.start(kind) + 1)  # type: ignore[arg-type]
            at = match.end()
