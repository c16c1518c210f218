"""Full-history files: every version of the near objects, with the days on which it is the map.

The map of a day is that of 00:00 UTC, as `osmium time-filter` gives it: of each object the version that counts then,
with its nodes and members as they are then. A way changes when one of its nodes does. So each object becomes several,
one per stretch of days without a change, with ids of their own in a plain .osm.pbf; that file is read as any other.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import osmium
import osmium.osm
from osmium.osm.mutable import Node, Relation, Way

from pipelines.access.openstreetmap.objects import FOREVER, read_objects
from pipelines.access.openstreetmap.parts import assigned, passing
from pipelines.access.openstreetmap.pbf import RefusedError
from pipelines.access.openstreetmap.select import FILES, Collector, on_earth, spans
from pipelines.access.openstreetmap.store import Sorted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.access.openstreetmap.objects import Row
    from pipelines.access.openstreetmap.store import Growing

_DAY_S = 86_400
_NOWHERE = 2**31 - 1
"""Place of a node that is deleted, 1e-7 degrees."""
_MISSING = 1 << 50
"""Id of a node or way that is not there on those days."""
Period = tuple[int, int]
"""First day, and the one after the last, since 1970-01-01."""


@dataclass
class HistoryCollector(Collector):
    """Receives the versions of a scan; keeps the ids of objects of which one is near the samples."""

    forms: Mapping[str, tuple[str, int]] = field(default_factory=lambda: FILES | {"way_boxes": ("<i4", 4)})
    all_versions: ClassVar[bool] = True
    _visible: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def versions(self, times: NDArray[np.int64], visible: NDArray[np.bool_]) -> None:
        """Times and visibility of the objects that come next."""
        if (times <= 0).any():
            raise RefusedError(
                "it has objects without a time, so nobody knows when they were the map; take a full-history file with "
                "metadata, or remove `date`"
            )
        self._times, self._visible = times, visible

    def nodes(self, ids: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Remember where nodes were, and when."""
        shown = np.where(self._visible[:, None], places, _NOWHERE)
        good = shown[on_earth(shown)]
        self.files["node_ids"].add(ids)
        rows = np.column_stack([np.clip(shown, -(2**31), 2**31 - 1), self._times])
        self.files["node_places"].add(rows)
        self.stretch(good)

    def points(self, ids: NDArray[np.int64], places: NDArray[np.int64], tags: Callable[[int], dict[str, str]]) -> None:
        """Keep the near versions of nodes with tags: id, place, tags, time."""
        if not len(ids):
            return
        chosen = np.flatnonzero(on_earth(places) & self.near.touches(np.hstack([places, places])))
        times = self._times[self._tagged]
        lines = [json.dumps([int(ids[at]), *places[at].tolist(), tags(int(at)), int(times[at])]) for at in chosen]
        if lines:
            self.files["points"].add(np.frombuffer(("\n".join(lines) + "\n").encode(), np.uint8))

    def ways(
        self,
        ids: NDArray[np.int64],
        refs: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],  # noqa: ARG002
        tagged: NDArray[np.bool_],
    ) -> None:
        """Remember the box of each version over all places that its nodes ever had."""
        places, counts = self._of_nodes.find_all(refs)
        owner = np.repeat(np.repeat(np.arange(len(ids)), sizes), counts)
        there = on_earth(places)
        boxes = spans(np.hstack([places[:, :2]] * 2), there, np.bincount(owner, minlength=len(ids)))
        mapped = boxes[:, 0] <= boxes[:, 2]
        self.files["way_ids"].add(ids[mapped])
        self.files["way_boxes"].add(boxes[mapped])
        kept = np.flatnonzero(mapped & tagged)
        kept = kept[self.near.touches(boxes[kept])]
        self.files["near_ways"].add(ids[kept])
        self.files["near_boxes"].add(boxes[kept])

    def relations(
        self,
        ids: NDArray[np.int64],
        ways: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
    ) -> None:
        """Keep the multipolygons of which one version is near."""
        areas, ways, sizes = self._multipolygons(ways, sizes, tags)
        ids = ids[areas]
        found, counts = self._of_ways.find_all(ways)
        owner = np.repeat(np.repeat(np.arange(len(ids)), sizes), counts)
        boxes = spans(found, np.ones(len(found), bool), np.bincount(owner, minlength=len(ids)))
        near = boxes[:, 0] <= boxes[:, 2]
        near[near] = self.near.touches(boxes[near])
        self.files["relations"].add(ids[near])
        self.files["relation_boxes"].add(boxes[near])


def write_history(pbf: Path, files: Mapping[str, Growing], folder: Path) -> None:
    """Write all versions of the near objects as `part-*.osh.pbf`, neighbours and what belongs together in one."""
    for old in folder.glob("part-*.osh.pbf"):
        old.unlink()
    points = [json.loads(line) for line in files["points"].read().tobytes().decode().splitlines()]
    relations, first = np.unique(files["relations"].read().astype(np.int64), return_index=True)
    counts, members = _members_of(pbf, relations)
    near, at = np.unique(files["near_ways"].read().astype(np.int64), return_index=True)
    boxes, around = (files[name].read().astype(np.float64).reshape(-1, 4) for name in ("near_boxes", "relation_boxes"))
    ways, sizes, refs = _nodes_of(pbf, np.union1d(near, members))
    units = assigned(ways, sizes, refs, relations, counts, members, points, (near, boxes[at], around[first]))
    places = Sorted(files["node_ids"], files["node_places"])
    writers = [osmium.SimpleWriter(folder / f"part-{n:05d}.osh.pbf", overwrite=True) for n in range(len(units.refs))]
    try:
        for number, writer in enumerate(writers):
            mine = [points[at] for at in np.flatnonzero(units.point_part == number)]
            _write_nodes(writer, units.refs[number], mine, places)
        for kind, ids, part in (
            (osmium.osm.WAY, units.ways, units.way_part),
            (osmium.osm.RELATION, units.relations, units.relation_part),
        ):
            for thing in osmium.FileProcessor(pbf, kind).with_filter(passing(ids, kind)) if len(ids) else ():
                writers[int(part[np.searchsorted(ids, thing.id)])].add(thing)
    finally:
        for writer in writers:
            writer.close()
        places.close()


def _write_nodes(writer: osmium.SimpleWriter, refs: NDArray[np.int64], points: list[list[Any]], places: Sorted) -> None:
    tags = {(point[0], point[4]): point[3] for point in points}
    ids = np.union1d(refs, np.array([point[0] for point in points], np.int64))
    rows, counts = places.find_all(ids)
    for number, (node, (x, y, time)) in enumerate(zip(np.repeat(ids, counts).tolist(), rows.tolist(), strict=True), 1):
        visible = bool(on_earth(np.array([[x, y]]))[0])
        writer.add_node(
            Node(
                id=node, version=number, visible=visible, timestamp=datetime.fromtimestamp(time, UTC),
                location=osmium.osm.Location(x / 1e7, y / 1e7) if visible else None, tags=tags.get((node, time), {}),
            )
        )  # fmt: skip


def _nodes_of(pbf: Path, ways: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the ways that are there, number of nodes of all versions of each, and the nodes."""
    found: dict[int, list[NDArray[np.int64]]] = {}
    for way in (
        osmium.FileProcessor(pbf, osmium.osm.WAY).with_filter(passing(ways, osmium.osm.WAY)) if len(ways) else ()
    ):
        assert isinstance(way, osmium.osm.Way)  # noqa: S101 - no other kind is asked for
        found.setdefault(way.id, []).append(np.fromiter((node.ref for node in way.nodes), np.int64))
    each = [np.concatenate(refs) for refs in found.values()]
    empty = np.zeros(0, np.int64)
    return np.array(list(found), np.int64), np.array([len(e) for e in each], np.int64), np.concatenate([empty, *each])


def _members_of(pbf: Path, relations: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of ways that are members of each relation in one of its versions, and the ways."""
    kind, found = osmium.osm.RELATION, {int(one): list[int]() for one in relations}
    for relation in osmium.FileProcessor(pbf, kind).with_filter(passing(relations, kind)) if len(relations) else ():
        assert isinstance(relation, osmium.osm.Relation)  # noqa: S101 - no other kind is asked for
        found[relation.id] += [member.ref for member in relation.members if member.type == "w"]
    each = [np.unique(np.array(ways, np.int64)) for ways in found.values()]
    return np.array([len(e) for e in each], np.int64), np.concatenate([np.zeros(0, np.int64), *each])


def read_history(part: Path, day: int | None) -> tuple[list[Row], list[Period], dict[str, int]]:
    """Objects of a part, the days of each, and counts of versions.

    Args:
        part: from `write_history`.
        day: read the map of this day alone; None = of all days.
    """
    plain = part.with_name(part.name.replace(".osh.pbf", ".days.osm.pbf"))
    expansion = _Expansion(day)
    with osmium.SimpleWriter(plain, overwrite=True) as writer:
        expansion.write(part, writer)
    rows, counts = read_objects(plain)
    plain.unlink()
    known = [expansion.made[row[0][0]][int(row[0][1:])] for row in rows]
    named = [(f"{row[0][0]}{number}", *row[1:]) for row, (number, _) in zip(rows, known, strict=True)]
    return named, [period for _, period in known], counts


class _Expansion:
    """Versions become objects with ids of their own, one per stretch of days without a change."""

    def __init__(self, day: int | None) -> None:
        self._day = day
        self.made: dict[str, dict[int, tuple[int, Period]]] = {"n": {}, "w": {}, "r": {}}
        """Letter -> new id -> (id, days)."""
        self._of: dict[str, dict[int, list[tuple[int, int, int]]]] = {"n": {}, "w": {}}
        """Letter -> id -> (first day, day after the last, new id), rising."""

    def write(self, part: Path, writer: osmium.SimpleWriter) -> None:
        """Write the objects of a history file."""
        things = ((thing, thing.type_str()) for thing in osmium.FileProcessor(part))
        for (letter, number), versions in itertools.groupby(map(_taken, things), lambda v: (v[0], v[1])):
            listed = list(versions)
            ends = [*(version[2] for version in listed[1:]), None]
            for (_, _, time, content), end in zip(listed, ends, strict=True):
                first, after = _day_of(time), FOREVER if end is None else _day_of(end)
                if content is not None and first < after:
                    self._add(letter, number, (first, after), content, writer)

    def _add(
        self, letter: str, number: int, period: Period, content: tuple[Any, ...], writer: osmium.SimpleWriter
    ) -> None:
        if letter == "n":
            if (new := self._new("n", number, period)) is not None:
                writer.add_node(Node(id=new, location=content[0], tags=content[1]))
            return
        refs, tags = content
        lower = "n" if letter == "w" else "w"
        parts = [ref for ref in refs if letter == "w" or ref[0] == "w"]
        for days in self._stretches(period, lower, [ref if letter == "w" else ref[1] for ref in parts]):
            if (new := self._new(letter, number, days)) is None:
                continue
            if letter == "w":
                writer.add_way(Way(id=new, nodes=[self._at("n", ref, days[0]) for ref in parts], tags=tags))
            else:
                members = [("w", self._at("w", ref, days[0]), role) for _, ref, role in parts]
                writer.add_relation(Relation(id=new, members=members, tags=tags))

    def _new(self, letter: str, number: int, days: Period) -> int | None:
        """A new id; None where the days are not asked for."""
        if self._day is not None and not days[0] <= self._day < days[1]:
            return None
        new = len(self.made[letter]) + 1
        self.made[letter][new] = (number, days)
        if letter != "r":
            self._of[letter].setdefault(number, []).append((*days, new))
        return new

    def _stretches(self, period: Period, lower: str, refs: Iterable[int]) -> list[Period]:
        """A period, cut where one of the parts changes."""
        known = self._of[lower]
        cuts = {
            edge for ref in set(refs) for one in known.get(ref, ()) for edge in one[:2] if period[0] < edge < period[1]
        }
        return list(itertools.pairwise([period[0], *sorted(cuts), period[1]]))

    def _at(self, letter: str, number: int, day: int) -> int:
        """New id of what a part is on a day; one that is not in the file where it is not there."""
        listed = self._of[letter].get(number, [])
        day = day if self._day is None else self._day
        at = bisect_right(listed, (day, FOREVER, FOREVER)) - 1
        return listed[at][2] if at >= 0 and day < listed[at][1] else _MISSING + number


def _taken(pair: tuple[Any, str]) -> tuple[str, int, int, tuple[Any, ...] | None]:
    """(letter, id, time, content) of an object that osmium lends for a moment; without content if it is deleted."""
    thing, letter = pair
    time = int(thing.timestamp.timestamp())
    if not thing.visible:
        return letter, thing.id, time, None
    tags = {tag.k: tag.v for tag in thing.tags}
    if letter == "n":
        place = thing.location
        return letter, thing.id, time, (osmium.osm.Location(place.lon, place.lat), tags) if place.valid() else None
    if letter == "w":
        return letter, thing.id, time, ([node.ref for node in thing.nodes], tags)
    return letter, thing.id, time, ([(m.type, m.ref, m.role) for m in thing.members], tags)


def _day_of(time: int) -> int:
    """The first day that begins at a time, seconds, or after it."""
    return -(-time // _DAY_S)
