"""Parses all untrusted JSON within limits on size, depth and number of values.

After `read_json`: at most DEEPEST levels, a bounded number of values, every number finite and every whole number one
that 64 bits hold (others are None, as NaN is), every text valid Unicode (halves of surrogate pairs become U+FFFD).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

DEEPEST = 64
"""Levels. Items of archives have 8, their geometries 4 of them."""
MOST_VALUES = 4_000_000
"""Values of one document; each takes some 60 bytes once it is read."""
_LARGEST = 2**63 - 1
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUMBERS = bytes.maketrans(b"123456789E", b"000000000e")
_ODD_NUMBERS = (b"0" * 19, b"0e000", b"0e+000", b"NaN", b"Infinity")
"""In a text whose digits are all 0: none of these, and every number is one that needs no second look."""
_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BUT_MARKS = bytes(set(range(256)) - set(b"[{,:"))


class ForeignJsonError(ValueError):
    """A text that is no JSON that is read; the message says what it is instead."""

    def __init__(self, what: str, *, retryable: bool = False) -> None:
        """`retryable`: it may be a proxy's page, or cut."""
        super().__init__(what)
        self.retryable = retryable


def read_json(raw: bytes, most_values: int = MOST_VALUES) -> Any:
    """The value in a JSON text, made sane.

    Raises:
        ForeignJsonError: it is none, or too deep, or holds too much.
    """
    if len(raw.translate(None, _BUT_MARKS)) > most_values:
        raise ForeignJsonError(f"{len(raw):,} bytes with more than {most_values:,} values")
    try:
        text = raw.decode("utf-8-sig")
        hooks: dict[str, Any] = {}
        if _has_odd_numbers(raw):
            hooks = {"parse_int": _whole, "parse_float": _finite, "parse_constant": lambda _: None}
        value = json.loads(text, **hooks)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise ForeignJsonError(f"{len(raw):,} bytes of something else", retryable=True) from None
    if _brackets_open(raw) > DEEPEST:  # they may stand in strings
        _check_depth(value)
    return _sound_text(value) if _SURROGATE.search(raw) else value


def sound(text: str) -> str:
    """Text in which halves of surrogate pairs are U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _too_deep() -> ForeignJsonError:
    return ForeignJsonError(f"values nested deeper than {DEEPEST} levels")


def _brackets_open(raw: bytes) -> int:
    """Most brackets open at once, those in strings counted with the others: the levels are at most as many."""
    brackets = np.frombuffer(raw.translate(None, _BUT_BRACKETS), np.uint8)
    steps = np.where(np.isin(brackets, list(b"[{")), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def _check_depth(value: Any) -> None:
    waiting = [(value, 1)]
    while waiting:
        found, level = waiting.pop()
        if isinstance(found, (list, dict)):
            if level > DEEPEST:
                raise _too_deep()
            waiting += [(v, level + 1) for v in (found.values() if isinstance(found, dict) else found)]


def _has_odd_numbers(raw: bytes) -> bool:
    """Whether a number may be one that no float or 64 bits hold; numbers in strings count with the others."""
    alike = raw.translate(_NUMBERS)
    return any(odd in alike for odd in _ODD_NUMBERS)


def _whole(text: str) -> int | None:
    if len(text) > 20:
        return None
    number = int(text)
    return number if -_LARGEST - 1 <= number <= _LARGEST else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _sound_text(value: Any) -> Any:
    """The same with valid Unicode throughout; as deep as `read_json` allows."""
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, list):
        return [_sound_text(v) for v in value]
    if isinstance(value, dict):
        return {sound(k): _sound_text(v) for k, v in value.items()}
    return value
