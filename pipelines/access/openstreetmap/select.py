"""Cuts from an extract the objects near the samples: one checked reading of the file, then one for their tags.

Locations of nodes and boxes of ways lie in files beside the cache (16 and 24 bytes each) and not in memory. The near
objects are written as small .osm.pbf files, each with at most about `PART_CORNERS` corners, in which every way has its
nodes and every multipolygon its ways. What is in memory: 400 MB for a block of the file and the tables, 32 bytes per
near object, and one such part.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import osmium.filter
import osmium.osm
from osmium.osm.mutable import Node

from pipelines.access.openstreetmap.multipolygons import KINDS
from pipelines.access.openstreetmap.rules import is_paper
from pipelines.access.openstreetmap.scan import Scan, scan
from pipelines.access.openstreetmap.store import Growing, Sorted
from pipelines.durable import write_durably
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.access.openstreetmap.near import Near

PART_CORNERS = 2_000_000
"""Corners of the ways of one part: about 700 MB while its areas are assembled."""
_SAFE_EVERY_S = 20.0
"""Time between two notes of how far the reading is."""
_FILES = {
    "node_ids": ("<i8", 1), "node_places": ("<i4", 2), "way_ids": ("<i8", 1), "way_boxes": ("<i4", 4),
    "near_ways": ("<i8", 1), "near_boxes": ("<i4", 4), "near_sizes": ("<i8", 1), "near_refs": ("<i8", 1),
    "relations": ("<i8", 1), "member_counts": ("<i8", 1), "members": ("<i8", 1), "relation_boxes": ("<i4", 4),
    "points": ("<u1", 1),
}  # fmt: skip
"""Working file -> type of its numbers, numbers in a row. `points` holds lines of JSON: id, place, tags."""
_EDGE = np.array([2**31 - 1, 2**31 - 1, -(2**31), -(2**31)])


@dataclass
class _Collector:
    """Gets the objects of a scan and keeps what is near."""

    folder: Path
    near: Near
    told: Callable[[int], None]
    """Gets the bytes that have been read."""
    size: int
    """Bytes of the extract."""
    files: dict[str, Growing] = field(default_factory=dict)
    bounds: NDArray[np.int64] = field(default_factory=_EDGE.copy)
    """West, south, east, north of all nodes, 1e-7 degrees."""
    lost: Counter[str] = field(default_factory=Counter)
    """Objects of which parts are missing, so that nobody knows whether they are near, and that do not seem to be."""
    _places: Sorted | None = None
    _boxes: Sorted | None = None
    _last_safe: float = field(default_factory=time.monotonic)

    def begin(self) -> tuple[int, dict[str, Any]] | None:
        """Open the files, cut back to the last safe state; (byte, state of the scan), or None at the beginning."""
        self.files = {name: Growing(self.folder / name, *form) for name, form in _FILES.items()}
        try:
            note = json.loads((self.folder / "safe.json").read_text())
            rows, bounds, at, state = note["rows"], note["bounds"], note["at"], note["scan"]
            lost = Counter(note["lost"])
            enough = all(len(file) >= rows[name] for name, file in self.files.items())
        except (OSError, ValueError, KeyError, TypeError):
            rows, enough = dict.fromkeys(_FILES, 0), False
        for name, file in self.files.items():
            file.cut(rows[name] if enough else 0)
        if not enough:
            return None
        self.bounds, self.lost = np.array(bounds), lost
        return at, state

    def safe(self, at: int, state: Callable[[], dict[str, Any]]) -> None:
        """Note how far everything is on disk, from time to time and at the end."""
        self.told(at)
        if time.monotonic() - self._last_safe < _SAFE_EVERY_S and at < self.size:
            return
        rows = {name: file.flush() for name, file in self.files.items()}
        note = {"at": at, "rows": rows, "bounds": self.bounds.tolist(), "lost": self.lost, "scan": state()}
        write_durably(self.folder / "safe.json", json.dumps(note))
        self._last_safe = time.monotonic()

    def nodes(self, ids: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Remember where nodes are."""
        self.files["node_ids"].add(ids)
        self.files["node_places"].add(np.clip(places, -(2**31), 2**31 - 1))
        good = places[_real(places)]
        low, high = good.min(axis=0, initial=2**31 - 1), good.max(axis=0, initial=-(2**31))
        self.bounds = np.concatenate([np.minimum(self.bounds[:2], low), np.maximum(self.bounds[2:], high)])

    def points(self, ids: NDArray[np.int64], places: NDArray[np.int64], tags: Callable[[int], dict[str, str]]) -> None:
        """Keep the near nodes with tags."""
        if not len(ids):
            return
        chosen = np.flatnonzero(self.near.touches(np.hstack([places, places])))
        lines = [json.dumps([int(ids[at]), *places[at].tolist(), tags(int(at))]) for at in chosen]
        if lines:
            self.files["points"].add(np.frombuffer(("\n".join(lines) + "\n").encode(), np.uint8))

    def ways(
        self,
        ids: NDArray[np.int64],
        refs: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
        tagged: NDArray[np.bool_],
    ) -> None:
        """Remember the boxes of ways, and keep the near ones that say something."""
        if self._places is None:
            self._places = Sorted(self.files["node_ids"], self.files["node_places"])
        places, there = self._places.find(refs)
        there &= _real(places)
        boxes = _spans(np.hstack([places, places]), there, sizes)
        mapped = boxes[:, 0] <= boxes[:, 2]
        self.files["way_ids"].add(ids[mapped])
        self.files["way_boxes"].add(boxes[mapped])
        kept = np.flatnonzero(mapped & tagged)
        kept = kept[self.near.touches(boxes[kept])]
        chosen = np.zeros(len(ids), bool)
        chosen[kept] = True
        if not there.all():
            whole = np.bincount(np.repeat(np.arange(len(ids)), sizes)[~there], minlength=len(ids)) == 0
            torn = np.flatnonzero(tagged & ~whole & ~chosen)
            self.lost["incomplete"] += sum(not is_paper(tags(int(at))) for at in torn)
        self.files["near_ways"].add(ids[kept])
        self.files["near_boxes"].add(boxes[kept])
        self.files["near_sizes"].add(sizes[kept])
        self.files["near_refs"].add(refs[np.repeat(chosen, sizes)])

    def relations(
        self,
        ids: NDArray[np.int64],
        ways: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
    ) -> None:
        """Keep the near multipolygons."""
        if self._boxes is None:
            self._boxes = Sorted(self.files["way_ids"], self.files["way_boxes"])
        areas = np.array([bool(size) and _is_multipolygon(tags(at)) for at, size in enumerate(sizes.tolist())], bool)
        ways, ids, sizes = ways[np.repeat(areas, sizes)], ids[areas], sizes[areas]
        found, there = self._boxes.find(ways)
        boxes = _spans(found, there, sizes)
        near = boxes[:, 0] <= boxes[:, 2]
        near[near] = self.near.touches(boxes[near])
        whole = np.bincount(np.repeat(np.arange(len(ids)), sizes)[~there], minlength=len(ids)) == 0
        self.lost["incomplete_multipolygons"] += int((~near & ~whole).sum())
        self.files["relations"].add(ids[near])
        self.files["relation_boxes"].add(boxes[near])
        self.files["member_counts"].add(sizes[near])
        self.files["members"].add(ways[np.repeat(near, sizes)])

    def close(self) -> None:
        """Close files; those of locations stay."""
        for found in (self._places, self._boxes):
            if found is not None:
                found.close()
        for file in self.files.values():
            file.close()


@dataclass(frozen=True)
class Selected:
    """What is near, as files."""

    parts: tuple[Path, ...]
    """.osm.pbf files; each object is in one of them, neighbours together."""
    about: Scan
    bounds: BBox | None
    """West, south, east, north of all nodes of the extract, degrees; None without nodes."""
    lost: Counter[str]
    """Number of objects that lack parts and do not seem to be near, by count of `objects.LOST`."""


def select(pbf: Path, near: Near, folder: Path, told: Callable[[int, int], None] | None = None) -> Selected:
    """Cut what is near out of an extract.

    Args:
        pbf: the extract.
        near: the ground that is wanted.
        folder: for working files; one that an earlier, killed call left is gone on with. The caller removes it.
        told: gets bytes done and bytes in all, over both readings.

    Raises:
        RefusedError: the file cannot be read right; the text says what mends it.
        RuntimeError: osmium cannot read it.
    """
    size = pbf.stat().st_size
    folder.mkdir(parents=True, exist_ok=True)
    whole = size + size // 4
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        collector = _Collector(folder, near, lambda at: told(at, whole) if told else None, size)
        try:
            about = scan(pbf, collector, collector.begin())
            _cut(pbf, collector, folder)
        finally:
            collector.close()
    if told:
        told(whole, whole)
    bounds = collector.bounds / 1e7
    parts = tuple(sorted(folder.glob("part-*.osm.pbf")))
    west, south, east, north = bounds.tolist()
    return Selected(parts, about, None if west > east else BBox(west, south, east, north), collector.lost)


def _is_multipolygon(tags: dict[str, str]) -> bool:
    return tags.get("type") in KINDS and not is_paper(tags)


def _real(places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether a longitude and a latitude are on Earth."""
    found: NDArray[np.bool_] = (np.abs(places[:, 0]) <= 1_800_000_000) & (np.abs(places[:, 1]) <= 900_000_000)
    return found


def _spans(boxes: NDArray[np.int64], there: NDArray[np.bool_], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups, 4) boxes around `sizes` rows each, those that are not `there` left out; west > east where none is."""
    found = np.tile(_EDGE, (len(sizes), 1))
    if not there.all():
        owner = np.repeat(np.arange(len(sizes)), sizes)[there]
        boxes = boxes[there]
        sizes = np.bincount(owner, minlength=len(sizes))
    some = np.flatnonzero(sizes)
    if len(some):
        starts = (np.cumsum(sizes) - sizes)[some]
        found[some, :2] = np.minimum.reduceat(boxes[:, :2], starts)
        found[some, 2:] = np.maximum.reduceat(boxes[:, 2:], starts)
    return found


@dataclass
class _Units:
    """Near objects that must stay together, cut into parts of neighbours."""

    ways: NDArray[np.int64]
    """(n,) ids, rising."""
    way_part: NDArray[np.int64]
    relations: NDArray[np.int64]
    """(m,) ids, rising."""
    relation_part: NDArray[np.int64]
    refs: list[NDArray[np.int64]]
    """Of each part: its nodes, rising."""
    points: list[list[Any]]
    point_part: NDArray[np.int64]


def _cut(pbf: Path, collector: _Collector, folder: Path) -> None:
    """Write the parts."""
    for old in folder.glob("part-*.osm.pbf"):
        old.unlink()
    units = _units(pbf, collector)
    places = Sorted(collector.files["node_ids"], collector.files["node_places"])
    writers = [osmium.SimpleWriter(folder / f"part-{n:05d}.osm.pbf", overwrite=True) for n in range(len(units.refs))]
    try:
        for number, writer in enumerate(writers):
            _write_nodes(writer, units, number, places)
        _write_others(pbf, units, writers)
    finally:
        for writer in writers:
            writer.close()
        places.close()


def _write_nodes(writer: osmium.SimpleWriter, units: _Units, number: int, places: Sorted) -> None:
    """Nodes of one part by rising id: corners of ways, and those with tags."""
    own = {units.points[at][0]: units.points[at] for at in np.flatnonzero(units.point_part == number)}
    refs = units.refs[number]
    where, there = places.find(refs)
    corners = dict(zip(refs[there].tolist(), where[there].tolist(), strict=True))
    for node in sorted(corners.keys() | own.keys()):
        lon, lat = own[node][1:3] if node in own else corners[node]
        tags = own[node][3] if node in own else {}
        writer.add_node(Node(id=node, location=osmium.osm.Location(lon / 1e7, lat / 1e7), tags=tags))


def _write_others(pbf: Path, units: _Units, writers: list[osmium.SimpleWriter]) -> None:
    """Ways and relations of all parts, in one reading that never leaves osmium for what is not near."""
    for kind, ids, parts in (
        (osmium.osm.WAY, units.ways, units.way_part),
        (osmium.osm.RELATION, units.relations, units.relation_part),
    ):
        if not len(ids):
            continue
        for thing in osmium.FileProcessor(pbf, kind).with_filter(_these(ids, kind)):
            writers[int(parts[np.searchsorted(ids, thing.id)])].add(thing)


def _units(pbf: Path, collector: _Collector) -> _Units:
    files = collector.files
    relations, counts, members = (files[n].read().astype(np.int64) for n in ("relations", "member_counts", "members"))
    near, sizes, refs = (files[n].read().astype(np.int64) for n in ("near_ways", "near_sizes", "near_refs"))
    more, more_sizes, more_refs = _refs_of(pbf, np.setdiff1d(members, near))
    ways = np.concatenate([near, more])
    sizes, refs = np.concatenate([sizes, more_sizes]), np.concatenate([refs, more_refs])
    points = [json.loads(line) for line in files["points"].read().tobytes().decode().splitlines()]
    unit_of_way, unit_of_relation, singles = _together(ways, relations, counts, members)
    centres = _centres(collector, len(ways), unit_of_way, unit_of_relation, singles, points)
    weights = np.bincount(unit_of_way, sizes, minlength=singles + len(points)).astype(np.float64)
    part = _parts(centres, weights)
    order = np.argsort(ways, kind="stable")
    way_part = part[unit_of_way]
    owner = np.repeat(way_part, sizes)
    count = int(part.max(initial=-1)) + 1
    by_part = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[by_part], np.arange(count + 1))
    return _Units(
        ways=ways[order],
        way_part=way_part[order],
        relations=relations,
        relation_part=part[unit_of_relation],
        refs=[np.unique(refs[by_part[cuts[n] : cuts[n + 1]]]) for n in range(count)],
        points=points,
        point_part=part[singles:],
    )


def _these(ids: NDArray[np.int64], kind: osmium.osm.osm_entity_bits) -> osmium.filter.IdFilter:
    """A filter that lets these objects pass: a bit for each id up to the largest."""
    found = osmium.filter.IdFilter(ids.tolist())
    found.enable_for(kind)
    return found


def _refs_of(pbf: Path, ways: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the ways that are there, number of nodes of each, and the nodes."""
    ids, sizes, refs = [], [], []
    if len(ways):
        for way in osmium.FileProcessor(pbf, osmium.osm.WAY).with_filter(_these(ways, osmium.osm.WAY)):
            assert isinstance(way, osmium.osm.Way)  # noqa: S101 - no other kind is asked for
            mine = np.fromiter((node.ref for node in way.nodes), np.int64)
            ids.append(way.id)
            sizes.append(len(mine))
            refs.append(mine)
    empty = np.zeros(0, np.int64)
    return np.array(ids, np.int64), np.array(sizes, np.int64), np.concatenate([empty, *refs])


def _together(
    ways: NDArray[np.int64], relations: NDArray[np.int64], counts: NDArray[np.int64], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Unit of each way and of each relation, and how many units: relations that share a way are one."""
    order = np.argsort(ways)
    at = np.minimum(np.searchsorted(ways, members, sorter=order), max(0, len(ways) - 1))
    known = ways[order[at]] == members if len(ways) else np.zeros(len(members), bool)
    owner = np.repeat(np.arange(len(relations)), counts) + len(ways)
    one, two = order[at[known]] if len(ways) else members[:0], owner[known]
    size = len(ways) + len(relations)
    from scipy.sparse import coo_matrix  # 25 MB, which planning without a map need not carry
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(one), np.int8), (one, two)), shape=(size, size))
    count, unit = connected_components(graph, directed=False)
    return unit[: len(ways)].astype(np.int64), unit[len(ways) :].astype(np.int64), int(count)


def _centres(
    collector: _Collector,
    ways: int,
    unit_of_way: NDArray[np.int64],
    unit_of_relation: NDArray[np.int64],
    singles: int,
    points: list[list[Any]],
) -> NDArray[np.float64]:
    """(units, 2): a longitude and a latitude of each unit, in 1e-7 degrees; points are units of their own."""
    centres = np.zeros((singles + len(points), 2))
    for name, unit in (("near_boxes", unit_of_way[:ways]), ("relation_boxes", unit_of_relation)):
        boxes = collector.files[name].read().astype(np.float64).reshape(-1, 4)
        centres[unit[: len(boxes)]] = (boxes[:, :2] + boxes[:, 2:]) / 2
    if points:
        centres[singles:] = [point[1:3] for point in points]
    return centres


def _parts(centres: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """(units,) number of the part: along a space-filling curve, a new one after `PART_CORNERS` corners."""
    if not len(centres):
        return np.zeros(0, np.int64)
    order = np.argsort(z_order(np.hstack([centres, centres]) / 1e7), kind="stable")
    part = np.zeros(len(centres), np.int64)
    full = np.cumsum(weights[order] + 1.0)
    part[order] = np.minimum((full - weights[order] - 1.0) // PART_CORNERS, full[-1] // PART_CORNERS).astype(np.int64)
    _, part = np.unique(part, return_inverse=True)
    return part.astype(np.int64)


def z_order(boxes: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Morton number of each box's centre on a grid of 2^16 cells a side: near things get near numbers."""
    if not len(boxes):
        return np.zeros(0, dtype=np.uint64)
    x = np.clip(((boxes[:, 0] + boxes[:, 2]) / 2 + 180.0) / 360.0 * 65_536, 0, 65_535).astype(np.uint64)
    y = np.clip(((boxes[:, 1] + boxes[:, 3]) / 2 + 90.0) / 180.0 * 65_536, 0, 65_535).astype(np.uint64)
    found = np.zeros(len(boxes), dtype=np.uint64)
    for bit in range(16):
        shift = np.uint64(bit)
        found |= ((x >> shift) & np.uint64(1)) << np.uint64(2 * bit)
        found |= ((y >> shift) & np.uint64(1)) << np.uint64(2 * bit + 1)
    return found
