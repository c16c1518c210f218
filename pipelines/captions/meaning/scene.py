"""The footprint, and the time of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landweave.claims import Claim
from pipelines.captions.meaning.ground import length_of

if TYPE_CHECKING:
    from pipelines.captions.meaning.clause import Clause


def bare_scene(clause: Clause) -> list[Claim] | None:
    """A clause whose claims stand in its adverbials: 'the image was captured in April'."""
    return [] if clause.words else None


def size(clause: Clause) -> list[Claim] | None:
    """The edge of the footprint."""
    if any(clause.scopes):
        return None
    slots = [s for s in ("a", "b") if s in clause.slots]
    return [Claim.spanning("length", ("size_m",), (), length_of(clause.part(s)[0]), clause.words) for s in slots]


def area(clause: Clause) -> list[Claim] | None:
    """The area of the footprint."""
    if any(clause.scopes):
        return None
    low_m2, high_m2 = clause.part("a")[0].cats["AREA"]
    return [Claim("area", ("area_m2",), (), low_m2, high_m2, words=clause.words)]


def time(clause: Clause) -> list[Claim] | None:
    """A clause whose claims stand in its adverbials."""
    return [] if clause.words else None


def season(clause: Clause) -> list[Claim] | None:
    """'the season is spring'."""
    value = clause.value("v", "season")
    return [Claim("season", ("season",), against=(str(value),), words=clause.words)]
