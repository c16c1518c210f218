"""The wordings of questions and answers: reads `wording.txt`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.questions.dice import Dice

WORDING = Path(__file__).with_name("wording.txt")
VERSION = "questions-1"
"""Raised when a wording or a rule of choice changes."""
_KEY = re.compile(r"\S+ (asked|said( yes| no)?)")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")


@cache
def wordings() -> dict[str, tuple[str, ...]]:
    """'area.above asked', 'area.above said yes' -> its patterns; [a|b] in a pattern is a choice.

    Raises:
        ValueError: a line is not 'FAMILY asked: pattern' or 'FAMILY said: pattern'.
    """
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(WORDING.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, colon, pattern = line.partition(": ")
        if not colon or not _KEY.fullmatch(key):
            raise ValueError(f"{WORDING.name}, line {number}: expected 'FAMILY asked: pattern', got {line!r}")
        found[key] = (*found.get(key, ()), pattern.strip())
    return found


def worded(key: str, dice: Dice, name: str, value: object = None) -> str:
    """One pattern of a key ('area.above asked'), its choices made; `value`: the answer that it says."""
    pattern = dice.pick(f"{name}/{key}", (*wordings()[key], *wordings().get(f"{key} {value}", ())))
    parts = _CHOICE.split(pattern)
    for i in range(1, len(parts), 2):
        parts[i] = dice.pick(f"{name}/{key}/{i}", parts[i].split("|"))
    return " ".join("".join(parts).split())
