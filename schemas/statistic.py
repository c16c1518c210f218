"""Statistics of a sample's pixels, one line of a closed grammar: `percentile(sentinel2.B08[summer], 90)`.

number     = statistic "(" pixels ")"                mean median min max std sum majority
           | "percentile(" pixels "," number ")"     0 to 100
           | "share(" pixels condition ")"           share of the pixels that have a value, 0..1
           | "count(" pixels [ condition ] ")"       pixels that have a value (and meet the condition)
           | pixels "[centre]"                       the pixel at the centre of the footprint
pixels     = layer [ "." band ] [ "[" window "]" ]
condition  as in `schemas.condition`
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schemas.condition import CENTRE, LONGEST, Condition, ConditionReader, array_of
from schemas.grammar import GrammarError

if TYPE_CHECKING:
    from schemas.attribute import AttributeType
    from schemas.expression import Array

_WINDOW = re.compile(r"[a-z][a-z0-9-]{0,63}")
_EXPECTED = (
    "mean, median, min, max, std, sum or majority of (LAYER.BAND), percentile(LAYER.BAND, 90), "
    "share(LAYER.BAND in [CODES]), count(LAYER.BAND > NUMBER) or LAYER.BAND[centre]"
)
SMOOTH = ("mean", "median", "min", "max", "std", "sum", "percentile")
"""Statistics of measurements; class codes and bits have no order."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic, and the pixels that it is computed from."""

    name: str
    """One of SMOOTH, or majority, share, count, centre."""
    array: Array
    condition: Condition | None = None
    """Of `share` and `count`."""
    percent: float = 0.0
    """Of `percentile`, 0..100."""

    def kind(self, of: str) -> AttributeType:
        """Type of its values, over pixels of a kind ('continuous', 'classes', 'bits')."""
        whole = self.name in ("count", "majority") or (self.name == "centre" and of != "continuous")
        return "int64" if whole else "float64"


def statistic(text: str) -> Statistic:
    """The statistic that a text says.

    Raises:
        ValueError: it is not of the grammar; one line.
    """
    shown = text if len(text) <= 80 else text[:77] + "..."
    if len(text) > LONGEST:
        raise ValueError(f"cannot read {shown!a}: it has {len(text):,} characters; at most {LONGEST:,} are allowed")
    try:
        return _Number(text).whole()
    except GrammarError as error:
        raise ValueError(f"cannot read {shown!a}: it {error}; expected {_EXPECTED}") from None


class _Number(ConditionReader):
    """Makes the statistic."""

    def whole(self) -> Statistic:
        """The statistic of all of the text."""
        name = self.name("a statistic, or LAYER.BAND[centre]")
        if self.sign == "(":
            self.take()
            found = self._function(name)
            self.expect(")")
        else:
            array = self._dated(array_of(name))
            if self.bracketed() not in CENTRE:
                raise self.unexpected("[centre]")
            self.take()
            found = Statistic("centre", array)
        self.end("the end")
        return found

    def _function(self, name: str) -> Statistic:
        if name not in (*SMOOTH, "majority", "share", "count"):
            raise GrammarError(f"has no statistic {name!r}")
        array = self._dated(self.pixels(), inside=True)
        if name == "percentile":
            self.expect(",")
            percent = self.number()
            if not 0.0 <= percent <= 100.0:
                raise GrammarError(f"asks for percentile {percent:g}; a percentile is 0 to 100")
            return Statistic(name, array, percent=percent)
        if name == "share" or (name == "count" and self.sign != ")"):
            return Statistic(name, array, self.condition())
        return Statistic(name, array)

    def _dated(self, array: Array, *, inside: bool = False) -> Array:
        """The pixels with the window in brackets that follows; `inside` a statistic, [centre] is a window too."""
        window = self.bracketed()
        if window is None or (window in CENTRE and not inside):
            return array
        if not _WINDOW.fullmatch(window):
            raise self.unexpected("the name of a window, [summer]")
        self.take()
        return replace(array, window=window)
