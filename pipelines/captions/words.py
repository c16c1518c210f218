"""Vocabulary of captions and their checks: closed tables of land covers, map objects, regions, numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Words for a kind of map object."""

    one: str
    """With its article: 'a river'."""
    many: str
    """Plural noun."""
    counted: bool
    """True: an object on the map is a thing on the ground. False: roads, rivers and lines come in pieces."""
    words: str
    """Words that name it, separated by '|'."""
    also: tuple[str, ...] = ()
    """Classes that support the same words ('fields' may mean crops)."""


KINDS: dict[str, Kind] = {
    "building": Kind("a building", "buildings", True, "building|buildings"),
    "road": Kind("a road", "roads", False, "road|roads|street|streets"),
    "path": Kind("a path", "paths", False, "path|paths|footpath|footpaths|track|tracks|trail|trails"),
    "railway": Kind("a railway line", "railway lines", False, "railway|railways|railway line|railway lines|rail"),
    "river": Kind("a river", "river channels", False, "river|rivers"),
    "stream": Kind("a stream", "stream channels", False, "stream|streams|creek|creeks|brook|brooks"),
    "canal": Kind("a canal", "canal sections", False, "canal|canals"),
    "ditch": Kind("a ditch", "ditches", False, "ditch|ditches|drain|drains"),
    "lake": Kind("a lake", "lakes", True, "lake|lakes"),
    "pond": Kind("a pond", "ponds", True, "pond|ponds"),
    "reservoir": Kind("a reservoir", "reservoirs", True, "reservoir|reservoirs"),
    "dam": Kind("a dam", "dams", True, "dam|dams"),
    "field": Kind("a mapped field", "mapped fields", True, "field|fields", ("crops",)),
    "orchard": Kind("an orchard", "orchards", True, "orchard|orchards"),
    "vineyard": Kind("a vineyard", "vineyards", True, "vineyard|vineyards"),
    "park": Kind("a park", "parks", True, "park|parks"),
    "sports pitch": Kind("a sports pitch", "sports pitches", True, "pitch|pitches|sports pitch|sports pitches"),
    "golf course": Kind("a golf course", "golf courses", True, "golf course|golf courses"),
    "cemetery": Kind("a cemetery", "cemeteries", True, "cemetery|cemeteries|graveyard|graveyards"),
    "parking lot": Kind("a parking lot", "parking lots", True, "parking|parking lot|parking lots|car park|car parks"),
    "school": Kind("a school", "schools", True, "school|schools"),
    "hospital": Kind("a hospital", "hospitals", True, "hospital|hospitals"),
    "place of worship": Kind("a place of worship", "places of worship", True, "place of worship|places of worship"),
    "quarry": Kind("a quarry", "quarries", True, "quarry|quarries"),
    "beach": Kind("a beach", "beaches", True, "beach|beaches"),
    "runway": Kind("a runway", "runways", True, "runway|runways"),
    "marina": Kind("a marina", "marinas", True, "marina|marinas"),
    "power line": Kind("a power line", "power lines", False, "power line|power lines"),
    "wind turbine": Kind("a wind turbine", "wind turbines", True, "wind turbine|wind turbines"),
    "solar plant": Kind("a solar plant", "solar plants", True, "solar plant|solar plants|solar farm|solar farms"),
}
"""Every kind of map object that facts may name."""
