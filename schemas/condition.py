"""Conditions on values, as rules and numbers of a recipe state them: `> 0.2`, `not in [4, 5]`, `== 'forest'`.

pixels    = layer [ "." band ]
condition = compare | [ "not" ] "in" "[" value { "," value } "]"
compare   = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) number | ( "==" | "!=" ) text
value     = number, or text in single quotes
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.expression import Array
from schemas.grammar import NUMBER, TEXT, GrammarError, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
LONGEST, MOST_VALUES = 1_000, 256
"""Characters of a rule or a number, and values in a list."""
CENTRE = ("centre", "center")
"""What stands in brackets behind a layer for the pixel at the centre of the footprint."""
_SIGNED = rf"[+-]?{NUMBER}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a value."""

    op: str
    """One of OPERATORS, or 'in', 'not in'."""
    numbers: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    """Texts, of an attribute, instead of numbers."""

    def of(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """True where a value fulfils it."""
        import numpy as np

        if self.op in OPERATORS:
            return np.asarray(OPERATORS[self.op](values.astype(np.float64), self.numbers[0]))
        return np.isin(values.astype(np.float64), self.numbers, invert=self.op == "not in")

    def holds(self, value: float | str) -> bool:
        """Whether one value of an attribute fulfils it; a text is no number, and the other way round."""
        given: tuple[float, ...] | tuple[str, ...] = self.words or self.numbers
        if isinstance(value, str) != bool(self.words):
            return self.op in ("!=", "not in")
        if self.op in OPERATORS:
            return bool(OPERATORS[self.op](value, given[0]))
        return (value in given) == (self.op == "in")


class ConditionReader(Reader):
    """Reads pixels and conditions. There is no arithmetic, so '-' is part of a name."""

    names = r"(?:`[A-Za-z0-9_-]+`|[A-Za-z_][A-Za-z0-9_-]*)(?:\.(?:`[A-Za-z0-9_-]+`|[A-Za-z0-9_-]+))?"
    """A layer and its band are one name, LAYER.BAND."""

    def pixels(self) -> Array:
        """Take LAYER.BAND, or the name of a label."""
        return array_of(self.name("LAYER.BAND, or the name of a label"))

    def word(self, word: str) -> bool:
        """Take this word, if it is the next token."""
        found = self.token.kind == "name" and self.token.text == word
        if found:
            self.take()
        return found

    def bracketed(self) -> str | None:
        """What stands in the brackets that come next; None where none come."""
        return self.token.text[1:-1].strip() if self.token.kind == "bracket" else None

    def number(self) -> float:
        """Take a number."""
        minus = self.take().text == "-" if self.sign in ("+", "-") else False
        if self.token.kind != "number":
            raise self.unexpected("a number")
        number = float(self.take().text)
        return -number if minus else number

    def compared(self) -> Condition:
        """Take an operator and a number."""
        if self.sign not in OPERATORS:
            raise self.unexpected(f"one of {', '.join(OPERATORS)}")
        return Condition(self.take().text, (self.number(),))

    def condition(self, *, texts: bool = False) -> Condition:
        """Take a condition; `texts`: values may also be texts in quotes."""
        without = self.word("not")
        if not without and self.sign in OPERATORS:
            return self._compared_with_text() if texts else self.compared()
        if not self.word("in"):
            raise self.unexpected("`in`" if without else "a comparison, `in` or `not in`")
        return self._listed("not in" if without else "in", texts=texts)

    def _compared_with_text(self) -> Condition:
        sign = self.sign
        if sign not in ("==", "!="):
            return self.compared()
        self.take()
        if self.token.kind == "text":
            return Condition(sign, words=(self.take().text[1:-1],))
        if self.token.kind != "number" and self.sign not in ("+", "-"):
            raise self.unexpected("a number, or 'text' in quotes")
        return Condition(sign, (self.number(),))

    def _listed(self, op: str, *, texts: bool) -> Condition:
        listed = self.bracketed()
        for kind in (_SIGNED, TEXT) if texts else (_SIGNED,):
            if listed is None or not re.fullmatch(rf"{kind}(?:\s*,\s*{kind})*", listed):
                continue
            values = re.findall(kind, listed)
            if len(values) > MOST_VALUES:
                raise GrammarError(f"has a list of {len(values)} values; at most {MOST_VALUES} are allowed")
            self.take()
            if kind == TEXT:
                return Condition(op, words=tuple(value[1:-1] for value in values))
            return Condition(op, tuple(float(value) for value in values))
        raise self.unexpected("a list of numbers, [4, 5]" + (", or of texts, ['a', 'b']" if texts else ""))


def array_of(name: str) -> Array:
    """The pixels of a name, LAYER.BAND or LAYER."""
    layer, _, band = name.partition(".")
    return Array(layer, band or None, None)


def band_of(name: str, bands: Sequence[str]) -> str | None:
    """The band of this name; upper and lower case count only where bands differ by nothing else."""
    if name in bands:
        return name
    alike = [b for b in bands if b.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None
