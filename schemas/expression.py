"""Expressions over the arrays of a sample: a closed grammar, parsed into a tree, never run as code.

::

    comparison  sum [ ('<' | '<=' | '>' | '>=' | '==' | '!=') sum ]
    sum         product { ('+' | '-') product }
    product     signed { ('*' | '/') signed }
    signed      '-' signed | power
    power       atom [ '**' signed ]
    atom        number | '(' comparison ')' | function '(' comparison { ',' comparison } ')' | array
    array       layer [ '.' band ] [ '[' window ']' ]

Names of layers and bands with other characters than letters, digits and '_' stand in backquotes: `` `s1-asc`.VV ``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARACTERS, MOST_DEPTH, MOST_NODES = 500, 24, 100
"""Of one expression."""
FUNCTIONS: dict[str, tuple[int, int]] = {
    "abs": (1, 1),
    "sqrt": (1, 1),
    "exp": (1, 1),
    "log": (1, 1),
    "log10": (1, 1),
    "min": (2, 8),
    "max": (2, 8),
    "clip": (3, 3),
    "where": (3, 3),
    "slope": (1, 1),
}
"""Function -> least and most arguments."""
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[A-Za-z0-9_.-]{1,64}`)"
    r"|(?P<window>\[[^\]\[]{1,80}\])"
    r"|(?P<sign>\*\*|<=|>=|==|!=|[-+*/()<>,.]))"
)


class ExpressionError(ValueError):
    """The expression cannot be used; the text says what, where and why."""


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the sample."""

    layer: str
    """Name of a layer or a label."""
    band: str | None
    """Name of its band; None = its only one."""
    window: str | None
    """Name of the window whose date is meant; None = each date, or the only one."""

    def __str__(self) -> str:
        band = "" if self.band is None else f".{self.band}"
        return f"{self.layer}{band}" + ("" if self.window is None else f"[{self.window}]")


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator over expressions."""

    name: str
    """Of FUNCTIONS or COMPARISONS, or one of + - * / ** and 'negative'."""
    arguments: tuple[Node, ...]


Node = Number | Array | Call


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        ExpressionError: one sentence: what was found, where, what was expected.
    """
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"has {len(text)} characters; at most {MOST_CHARACTERS} are allowed")
    parser = _Parser(text)
    tree = parser.comparison(0)
    parser.end()
    if sum(1 for _ in nodes(tree)) > MOST_NODES:
        raise ExpressionError(f"has more than {MOST_NODES} operations and values")
    return tree


def nodes(tree: Node) -> Iterator[Node]:
    """Every node of a tree."""
    yield tree
    if isinstance(tree, Call):
        for argument in tree.arguments:
            yield from nodes(argument)


def arrays(tree: Node) -> tuple[Array, ...]:
    """Every array of a tree once, in order of appearance."""
    return tuple(dict.fromkeys(node for node in nodes(tree) if isinstance(node, Array)))


class _Parser:
    """Takes one token after another, from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens, self._at = list(_tokens(text)), 0

    def comparison(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise ExpressionError(f"is nested deeper than {MOST_DEPTH} levels")
        left = self._chain(("+", "-"), depth)
        sign = self._sign()
        if sign in COMPARISONS:
            self._at += 1
            return Call(sign, (left, self._chain(("+", "-"), depth)))
        return left

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._unexpected("the end, or an operator")

    def _chain(self, signs: tuple[str, str], depth: int) -> Node:
        """Operators of one rank, the left ones first."""
        below = self._product if signs == ("+", "-") else self._signed
        left = below(depth)
        while (sign := self._sign()) in signs:
            self._at += 1
            left = Call(str(sign), (left, below(depth)))
        return left

    def _product(self, depth: int) -> Node:
        return self._chain(("*", "/"), depth)

    def _signed(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise ExpressionError(f"is nested deeper than {MOST_DEPTH} levels")
        if self._sign() == "-":
            self._at += 1
            return Call("negative", (self._signed(depth + 1),))
        base = self._atom(depth)
        if self._sign() == "**":
            self._at += 1
            return Call("**", (base, self._signed(depth + 1)))
        return base

    def _atom(self, depth: int) -> Node:
        kind, text, _ = self._peek()
        if kind == "number":
            self._at += 1
            return Number(float(text))
        if text == "(":
            self._at += 1
            inner = self.comparison(depth + 1)
            self._expect(")")
            return inner
        if kind != "name":
            raise self._unexpected("a number, an array or a function")
        self._at += 1
        return self._function(text, depth) if self._sign() == "(" else self._array(text.strip("`"))

    def _function(self, name: str, depth: int) -> Node:
        if name not in FUNCTIONS:
            raise ExpressionError(f"has no function {name!r}; there are {', '.join(FUNCTIONS)}")
        found: list[Node] = []
        while not found or self._sign() == ",":
            self._at += 1
            found.append(self.comparison(depth + 1))
        self._expect(")")
        least, most = FUNCTIONS[name]
        if not least <= len(found) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise ExpressionError(f"gives {name} {len(found)} arguments; it takes {wanted}")
        return Call(name, tuple(found))

    def _array(self, layer: str) -> Node:
        band = window = None
        if self._sign() == ".":
            self._at += 1
            kind, text, _ = self._peek()
            if kind != "name":
                raise self._unexpected(f"the name of a band of {layer}")
            self._at += 1
            band = text.strip("`")
        if self._peek()[0] == "window":
            window = self._peek()[1][1:-1].strip()
            self._at += 1
        return Array(layer, band, window)

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "", -1)

    def _sign(self) -> str | None:
        kind, text, _ = self._peek()
        return text if kind == "sign" else None

    def _expect(self, sign: str) -> None:
        if self._sign() != sign:
            raise self._unexpected(repr(sign))
        self._at += 1

    def _unexpected(self, wanted: str) -> ExpressionError:
        kind, text, where = self._peek()
        if kind == "end":
            return ExpressionError(f"ends where {wanted} is expected")
        return ExpressionError(f"has {text!r} at character {where}, expected {wanted}")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, text, position counted from 1)."""
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(f"has {text[at]!r} at character {at + 1}, which has no meaning here")
        kind = str(match.lastgroup)
        yield kind, match[kind], match.start(kind) + 1
        at = match.end()
