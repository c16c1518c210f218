"""Multipolygon relations of an extract: the expected areas, and tags taken from ways if a relation has none.

Until about 2017 a multipolygon's tags stood on its outer ways, and the relation only said which ways are its rings
(https://wiki.openstreetmap.org/wiki/Relation:multipolygon). Extracts of those years are full of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import osmium
import osmium.osm

from pipelines.access.openstreetmap.rules import is_area, is_paper

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("multipolygon", "boundary")
"""Types of relations that osmium assembles areas of."""
_REMARKS = frozenset({"attribution", "created_by", "fixme", "FIXME", "name", "note", "odbl", "source", "type"})
"""Tags that do not say what a thing is: a relation with no others leaves that to its outer ways."""


def is_multipolygon(tags: dict[str, str]) -> bool:
    """Whether a relation with these tags should give an area that is on the ground."""
    return tags.get("type") in KINDS and not is_paper(tags)


@dataclass
class Multipolygons:
    """Areas from the relations of an extract."""

    awaited: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Relation that should give an area -> ways that are its members."""
    tags: dict[int, dict[str, str]] = field(default_factory=dict)
    """Relation without its own tags -> tags that its outer ways share."""
    lent: dict[int, list[int]] = field(default_factory=dict)
    """Way -> relations that take its tags."""


def multipolygons(pbf: Path) -> Multipolygons:
    """Read the relations, and the ways of those that say nothing themselves.

    Raises:
        RuntimeError: osmium cannot read the file.
    """
    found = Multipolygons()
    bare: dict[int, tuple[dict[str, str], list[tuple[int, bool]]]] = {}
    for relation in osmium.FileProcessor(pbf, osmium.osm.RELATION):
        if not isinstance(relation, osmium.osm.Relation):
            continue
        tags = {tag.k: tag.v for tag in relation.tags}
        if tags.get("type") not in KINDS or is_paper(tags):
            continue
        ways = [(member.ref, member.role != "inner") for member in relation.members if member.type == "w"]
        if tags["type"] == "multipolygon" and tags.keys() <= _REMARKS:
            bare[relation.id] = (tags, ways)
        else:
            found.awaited[relation.id] = tuple(way for way, _ in ways)
    said = _tags_of({way for _, ways in bare.values() for way, _ in ways}, pbf)
    for number, (tags, ways) in bare.items():
        _adopt(found, number, tags, ways, said)
    return found


def _adopt(
    found: Multipolygons,
    number: int,
    own: dict[str, str],
    ways: list[tuple[int, bool]],
    said: dict[int, dict[str, str]],
) -> None:
    """Give a relation the tags that its outer ways share; where they differ, each way stays what it is by itself."""
    outer = [said[way] for way, is_outer in ways if is_outer and way in said]
    shared = outer[0] if outer and all(tags == outer[0] for tags in outer) and is_area(outer[0]) else {}
    if shared:
        remarks = {key: value for key, value in own.items() if key != "type"}
        found.tags[number] = dict(sorted({**remarks, **shared}.items()))
        found.awaited[number] = tuple(way for way, _ in ways)
        for way, _ in ways:
            if said.get(way) == shared:  # inner ways too: the same words on a hole are its ring's and not the hole's
                found.lent.setdefault(way, []).append(number)


def _tags_of(ways: set[int], pbf: Path) -> dict[int, dict[str, str]]:
    """Way -> what it says it is; ways that say nothing are left out."""
    found = {}
    for way in osmium.FileProcessor(pbf, osmium.osm.WAY) if ways else ():
        if way.id in ways and (tags := {tag.k: tag.v for tag in way.tags if tag.k not in _REMARKS}):
            found[way.id] = tags
    return found
