"""Checks numbers in a caption other than shares: years, lengths, elevations, slopes, counts of map objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipelines.captions.claims import Clause, Reading, with_digits, without_shares

if TYPE_CHECKING:
    from schemas.caption import Facts

_REACH = 10
"""Letters between a word of number and the objects that it counts."""
_NUMBER = re.compile(r"(?:(?<=\s)-)?\d+(?:,\d{3})*(?:\.\d+)?")
_UNIT = re.compile(r"^ ?(?:(km|kilomet(?:re|er)s?)|(m|met(?:re|er)s?)|(°|degrees?))\b(?! latitude)|^ ?(°)")
_PAIR = re.compile(r"^ ?(?:and|to|-|\u2013|by|x) (?=\d)|^ ?[-\u2013] ?(?=\d)")
_QUANTITIES = {
    "few": (2, 15), "several": (3, 60), "many": (8, 10**9), "numerous": (10, 10**9), "dozens of": (20, 200),
    "hundreds of": (150, 2000), "thousands of": (1500, 10**9), "couple of": (2, 2), "pair of": (2, 2), "single": (1, 1),
}  # fmt: skip


def number_reason(reading: Reading, facts: Facts) -> str | None:
    """Why the facts do not support a number other than a share (year, length, slope, count), or None."""
    for clause in reading.clauses:
        text = with_digits(without_shares(clause))
        for match in _NUMBER.finditer(text):
            value = float(match.group().replace(",", ""))
            if not _number_is_borne(value, text, match, facts):
                return f"the number {match.group()!r} is not among the facts"
        reason = _quantity_reason(clause, facts)
        if reason is not None:
            return reason
    return None


def _number_is_borne(value: float, text: str, match: re.Match[str], facts: Facts) -> bool:
    after = text[match.end() :]
    pair = _PAIR.match(after)
    unit = _UNIT.match(after)
    if unit is None and pair is not None:  # 'from 312 to 498 m', '2.6 by 2.6 km': the unit stands behind the second
        second = _NUMBER.match(after[pair.end() :])
        unit = _UNIT.match(after[pair.end() + second.end() :]) if second else None
    if unit is not None:
        if unit.group(3) or unit.group(4):
            return facts.slope_mean_deg is not None and abs(value - facts.slope_mean_deg) <= 0.5
        metres, rounding_m = (value * 1000.0, 50.0) if unit.group(1) else (value, 5.0)  # 1.6 km: to a tenth
        return any(abs(metres - known) <= max(rounding_m, 0.03 * abs(known)) for known in _lengths(text, facts))
    counted = _counted(after)
    if counted is not None:
        counts = [count for kind, count in facts.objects if kind in counted]
        return any(abs(value - count) <= (0.05 * count if count > 20 else 0) for count in counts)
    return value == facts.year and "," not in match.group()


def _counted(after: str) -> tuple[str, ...] | None:
    """Kinds of the map objects that a number counts: named at most two words behind it, before any comma or stop."""
    words = re.split(r"[,.;:()]", after, maxsplit=1)[0].split()[:4]
    for n in range(1, len(words) + 1):
        mentions = Clause(" ".join(words[:n])).mentions
        if mentions:
            return mentions[0].term.kinds or None
    return None


def _lengths(text: str, facts: Facts) -> list[float]:
    """Lengths in metres that a clause may speak of: the footprint, and roads (where they are named) or elevations."""
    found: list[float | None] = []
    if re.search(r"\b(?:wide|across|side|sides|square|footprint|scene|image|area|view)\b", text):
        found.append(facts.size_m)
    if re.search(r"\b(?:roads?|streets?|highways?)\b", text):
        found.append(facts.road_length_m)
    elif facts.elevation_min_m is not None and facts.elevation_max_m is not None:
        found += [facts.elevation_min_m, facts.elevation_max_m, facts.elevation_max_m - facts.elevation_min_m]
        if "below" in text:
            found += [-e for e in (facts.elevation_min_m, facts.elevation_max_m) if e < 0]
    return [float(f) for f in found if f is not None]


def _quantity_reason(clause: Clause, facts: Facts) -> str | None:
    for word, (low, high) in _QUANTITIES.items():
        for match in re.finditer(rf"\b{word}\b", clause.text):
            behind = [m for m in clause.mentions if m.start >= match.end()]
            if behind and behind[0].start - match.end() <= _REACH and not behind[0].term.classes:
                count = sum(n for kind, n in facts.objects if kind in behind[0].term.kinds)
                if not low <= count <= high:
                    return f"{word!r} is said of {behind[0].word!r}, the facts have {count}"
    return None
