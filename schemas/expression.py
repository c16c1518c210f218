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

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.grammar import COMPARISONS, GrammarError, Reader

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
MOST_WINDOW = 80
"""Characters of a window's name."""


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
        GrammarError: one sentence: what was found, where, what was expected.
    """
    if len(text) > MOST_CHARACTERS:
        raise GrammarError(f"has {len(text)} characters; at most {MOST_CHARACTERS} are allowed")
    tree = _Parser(text).whole()
    if sum(1 for _ in nodes(tree)) > MOST_NODES:
        raise GrammarError(f"has more than {MOST_NODES} operations and values")
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


class _Parser(Reader):
    """Makes the tree."""

    def whole(self) -> Node:
        """The tree of all of the text."""
        tree = self._comparison(0)
        self.end("the end, or an operator")
        return tree

    def _comparison(self, depth: int) -> Node:
        self._check_depth(depth)
        left = self._sum(depth)
        if self.sign in COMPARISONS:
            return Call(self.take().text, (left, self._sum(depth)))
        return left

    def _sum(self, depth: int) -> Node:
        left = self._product(depth)
        while self.sign in ("+", "-"):
            left = Call(self.take().text, (left, self._product(depth)))
        return left

    def _product(self, depth: int) -> Node:
        left = self._signed(depth)
        while self.sign in ("*", "/"):
            left = Call(self.take().text, (left, self._signed(depth)))
        return left

    def _signed(self, depth: int) -> Node:
        self._check_depth(depth)
        if self.sign == "-":
            self.take()
            return Call("negative", (self._signed(depth + 1),))
        base = self._atom(depth)
        if self.sign == "**":
            self.take()
            return Call("**", (base, self._signed(depth + 1)))
        return base

    def _atom(self, depth: int) -> Node:
        if self.token.kind == "number":
            return Number(float(self.take().text))
        if self.sign == "(":
            self.take()
            inner = self._comparison(depth + 1)
            self.expect(")")
            return inner
        quoted = self.token.text.startswith("`")
        name = self.name("a number, an array or a function")
        return self._function(name, depth) if self.sign == "(" and not quoted else self._array(name)

    def _function(self, name: str, depth: int) -> Node:
        if name not in FUNCTIONS:
            raise GrammarError(f"has no function {name!r}; there are {', '.join(FUNCTIONS)}")
        found: list[Node] = []
        while not found or self.sign == ",":
            self.take()
            found.append(self._comparison(depth + 1))
        self.expect(")")
        least, most = FUNCTIONS[name]
        if not least <= len(found) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise GrammarError(f"gives {name} {len(found)} arguments; it takes {wanted}")
        return Call(name, tuple(found))

    def _array(self, layer: str) -> Node:
        band = window = None
        if self.sign == ".":
            self.take()
            band = self.name(f"the name of a band of {layer}")
        if self.token.kind == "bracket":
            window = self.take().text[1:-1].strip()
            if not 0 < len(window) <= MOST_WINDOW:
                raise GrammarError(f"names a window of {len(window)} characters after {layer}; expected [WINDOW]")
        return Array(layer, band, window)

    def _check_depth(self, depth: int) -> None:
        if depth > MOST_DEPTH:
            raise GrammarError(f"is nested deeper than {MOST_DEPTH} levels")
