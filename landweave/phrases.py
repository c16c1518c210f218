"""Words of questions: nouns of land covers and map objects, parts of a scene, and patterns with slots.

A question and its answer are stored with the patterns that made them, so `landweave prove` can fill them again. New
nouns are added at the end of a line: questions that were stored before name theirs by number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from landweave.asked import NOWHERE, PARTS, UNTOLD
from landweave.facts import MONTHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from landweave.asked import Found, Quantity, Query, Value

NOUNS: dict[str, tuple[str, ...]] = {
    "water": ("water", "open water", "surface water"),
    "trees": ("woodland", "forest", "wooded land"),
    "shrub": ("shrubland", "scrub", "bushland"),
    "grass": ("grassland", "grass", "grassy land"),
    "crops": ("cropland", "arable land", "farmed land"),
    "built": ("built-up land", "developed land", "built-up ground"),
    "bare": ("bare ground", "bare land", "barren land"),
    "snow and ice": ("snow and ice", "snow or ice", "ice and snow"),
    "wetland": ("wetland", "marshland", "swampland"),
    "moss and lichen": ("moss and lichen", "lichen and moss", "moss or lichen"),
}
"""Land cover -> its nouns; all are in the singular, so that verbs agree."""
KINDS: dict[str, str] = {
    "building": "buildings", "lake": "lakes", "pond": "ponds", "reservoir": "reservoirs", "dam": "dams",
    "field": "fields", "orchard": "orchards", "vineyard": "vineyards", "park": "parks",
    "sports pitch": "sports pitches", "golf course": "golf courses", "cemetery": "cemeteries",
    "parking lot": "parking lots", "school": "schools", "hospital": "hospitals",
    "place of worship": "places of worship", "quarry": "quarries", "beach": "beaches", "marina": "marinas",
    "wind turbine": "wind turbines", "solar plant": "solar plants",
}  # fmt: skip
"""Map object that can be counted -> its plural; roads, rivers and power lines come in pieces."""
_PARTS = {
    "scene": ("the scene", "the whole scene", "the image"),
    "middle": ("the middle of the scene", "the central part of the image", "the middle of the image"),
    "top": ("the upper half", "the top half", "the upper half of the image"),
    "bottom": ("the lower half", "the bottom half", "the lower half of the image"),
    "left": ("the left half", "the left half of the scene", "the left half of the image"),
    "right": ("the right half", "the right half of the scene", "the right half of the image"),
}
_QUARTERS = ("the {} quarter", "the {} quarter of the scene", "the {} quarter of the image")
_WORDS = {
    "yes": "yes", "no": "no", "rose": "it rose", "fell": "it fell", "before": "before it", "after": "after it",
    "above": "above", "below": "below", "left of": "to the left", "right of": "to the right",
    "one": "the first image", "two": "the second image", "none": "no",
    "first": "first", "second": "second", "third": "third", "fourth": "fourth",
}  # fmt: skip
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_INSTRUMENTS = {
    "sentinel1": "radar image",
    "sentinel2": "Sentinel-2 image",
    "landsat": "Landsat image",
    "hls": "HLS image",
}
_SLOT = re.compile(r"\{([A-Za-z]+\d?)\}")


def fill(pattern: str, query: Query, found: Found, noun: int, unit: str) -> str:
    """A sentence: the pattern with its slots filled and a capital at the beginning.

    Args:
        pattern: with slots {A}, {B} (land cover or object of the first two quantities), {R}, {S} (their parts of
            the scene), {N}, {M} (first, second ... image of the first two), {I}, {J} (their instruments), {band},
            {level} (of decibels), {limit}, {v0}, {v1} (the quantities, rounded), {value} and {list}.
        query: whose words fill the slots.
        found: the answer.
        noun: which noun of each land cover.
        unit: what follows a number: ' percent', ' m'.

    Raises:
        ValueError: no such slot, or the query has nothing for it.
    """

    def word(match: re.Match[str]) -> str:
        try:
            return _slot(match.group(1), query, found, noun, unit)
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError(f"nothing fills the slot {match.group(0)}: {error}") from None

    text = _SLOT.sub(word, pattern)
    return text[:1].upper() + text[1:]


def _slot(name: str, query: Query, found: Found, noun: int, unit: str) -> str:
    of = query.of
    if name in ("A", "B"):
        number_of = "AB".index(name)
        return _named(of[0].about[number_of], noun) if of[0].what == "contact" else _about(of[number_of], noun)
    if name in ("v0", "v1"):
        return number(round(float(found.measured[int(name[1])] or 0.0))) + unit
    if name in ("value", "list"):
        return said(found.value, query, noun, unit)
    if name == "limit":
        return number(query.limit) + unit
    return _OF_QUANTITIES[name](of, noun)


_OF_QUANTITIES: dict[str, Callable[[tuple[Quantity, ...], int], str]] = {
    "R": lambda of, noun: part(of[0].where, noun),
    "S": lambda of, _noun: part(of[1].where, 0),
    "N": lambda of, _noun: _ORDINALS[of[0].slot],
    "M": lambda of, _noun: _ORDINALS[of[-1].slot or of[-1].other],
    "I": lambda of, _noun: instrument(of[0].source),
    "J": lambda of, _noun: instrument(of[1].source),
    "band": lambda of, _noun: of[0].about[0],
    "level": lambda of, _noun: of[0].about[1],
}
"""Slot -> its words, from the quantities and the number of the noun."""


def _about(quantity: Quantity, noun: int) -> str:
    return _named(quantity.about[1] if quantity.what == "over" else quantity.about[0], noun)


def _named(name: str, noun: int) -> str:
    return KINDS[name] if name in KINDS else NOUNS[name][noun % len(NOUNS[name])]


def part(where: str | tuple[int, ...], noun: int) -> str:
    """A part of the scene in words; a box in numbers."""
    if isinstance(where, tuple):
        return f"the box {_list(where)}"
    if where in _PARTS:
        return _PARTS[where][noun % len(_PARTS[where])]
    return _QUARTERS[noun % len(_QUARTERS)].format(where.replace(" ", "-"))


def instrument(source: str) -> str:
    """'Sentinel-2 image' for 'sentinel2/bands_10m'."""
    group = source.partition("/")[0]
    return _INSTRUMENTS.get(group, f"{group} image")


def number(value: float) -> str:
    """Digits without an exponent: 12, 0.25, -3."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def said(value: Value, query: Query, noun: int, unit: str) -> str:
    """An answer in words."""
    if isinstance(value, list):
        return _covers(value, noun) if value and isinstance(value[0], list) else _of_pixels(value, query)
    if isinstance(value, str):
        return _word(value, query, noun)
    if query.of[0].what == "month" and query.op == "number":
        return MONTHS[int(value) - 1]
    if query.op == "range":
        low, high = query.edges[int(value)], query.edges[int(value) + 1]
        whole = query.of[0].what == "objects" and query.of[0].about[0] in KINDS  # of counts both ends belong to it
        ends = number(low), number(high - 1 if whole else high)
        return ends[0] + unit if whole and high - low == 1 else f"{ends[0]} to {ends[1]}{unit}"
    return number(value) + unit


def _word(value: str, query: Query, noun: int) -> str:
    if value == NOWHERE:
        return f"nowhere: there is no {_about(query.of[0], noun)} in the scene"
    if value == UNTOLD:
        return _untold(query)
    if value in KINDS or value in NOUNS:
        return _named(value, noun)
    return part(value, 0) if value in PARTS else _WORDS.get(value, value)


def _untold(query: Query) -> str:
    first = query.of[0]
    if first.what == "height":
        return "this cannot be told: the heights are not measured"
    if first.what == "greenness":
        return "this cannot be told: the image is missing or hidden by clouds"
    return "this cannot be told: the image is missing"


def _covers(listed: list[Any], noun: int) -> str:
    """'woodland (62 percent), cropland (30 percent) and water (8 percent)'."""
    words = [f"{NOUNS[name][noun % len(NOUNS[name])]} ({percent} percent)" for name, percent in listed]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _of_pixels(value: list[Any], query: Query) -> str:
    return "<mask>" if query.op == "outline" else _list(value)


def _list(numbers: Any) -> str:
    return "[" + ", ".join(str(int(n)) for n in numbers) + "]"
