"""The one gate through which JSON that somebody else wrote comes in: what is behind it is sane.

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
_ODD_NUMBER = re.compile(r"[0-9]{19}|[0-9][eE]\+?[0-9]{3}|NaN|Infinity")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING, _CLOSING = (ord("["), ord("{")), (ord("]"), ord("}"))


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
    if sum(raw.count(mark) for mark in (b",", b"[", b"{", b":")) > most_values:
        raise ForeignJsonError(f"{len(raw):,} bytes that hold more than {most_values:,} values")
    if _depth(raw) > DEEPEST and _depth(_STRING.sub(b'""', raw)) > DEEPEST:
        raise ForeignJsonError(f"values nested deeper than {DEEPEST} levels")
    try:
        text = raw.decode("utf-8-sig")
        hooks: dict[str, Any] = {}
        if _ODD_NUMBER.search(text):
            hooks = {"parse_int": _whole, "parse_float": _finite, "parse_constant": lambda _: None}
        value = json.loads(text, **hooks)
    except (ValueError, RecursionError):
        raise ForeignJsonError(f"{len(raw):,} bytes of something else", retryable=True) from None
    return _sound_text(value) if _SURROGATE.search(text) else value


def sound(text: str) -> str:
    """Text in which halves of surrogate pairs are U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _depth(raw: bytes) -> int:
    """Levels of brackets, those in strings counted with the others."""
    marks = np.frombuffer(raw, np.uint8)
    opening = np.isin(marks, _OPENING)
    steps = opening.astype(np.int8) - np.isin(marks, _CLOSING)
    steps = steps[steps != 0]
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))


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
