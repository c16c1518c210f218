"""Writes the near objects of an extract as small files.

In each file every way has its nodes and every multipolygon its ways, so osmium can assemble it by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium.osm
from osmium.osm.mutable import Node

from pipelines.access.openstreetmap.store import Growing, Sorted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


PART_CORNERS = 2_000_000
"""Corners of the ways of one part: about 700 MB while its areas are assembled."""


@dataclass
class Units:
    """Near objects, grouped so that related ones stay together, and divided into parts of neighbours."""

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


def write_parts(pbf: Path, files: Mapping[str, Growing], folder: Path) -> None:
    """Write the near objects that a reading has collected in working files as `part-*.osm.pbf`."""
    for old in folder.glob("part-*.osm.pbf"):
        old.unlink()
    units = _units(pbf, files)
    places = Sorted(files["node_ids"], files["node_places"])
    writers = [osmium.SimpleWriter(folder / f"part-{n:05d}.osm.pbf", overwrite=True) for n in range(len(units.refs))]
    try:
        for number, writer in enumerate(writers):
            _write_nodes(writer, units, number, places)
        _write_others(pbf, units, writers)
    finally:
        for writer in writers:
            writer.close()
        places.close()


def _write_nodes(writer: osmium.SimpleWriter, units: Units, part: int, places: Sorted) -> None:
    """Nodes of one part by rising id: corners of ways, and those with tags."""
    own = {units.points[at][0]: units.points[at] for at in np.flatnonzero(units.point_part == part)}
    refs = units.refs[part]
    where, there = places.find(refs)
    corners = dict(zip(refs[there].tolist(), where[there, :2].tolist(), strict=True))
    node = Node()  # one for all: to make one costs as much as to write it
    for number in sorted(corners.keys() | own.keys()):
        lon, lat = own[number][1:3] if number in own else corners[number]
        node.id, node.location = number, osmium.osm.Location(lon / 1e7, lat / 1e7)
        node.tags = own[number][3] if number in own else {}
        writer.add_node(node)


def _write_others(pbf: Path, units: Units, writers: list[osmium.SimpleWriter]) -> None:
    """Ways and relations of all parts, in one reading that never leaves osmium for what is not near."""
    for kind, ids, parts in (
        (osmium.osm.WAY, units.ways, units.way_part),
        (osmium.osm.RELATION, units.relations, units.relation_part),
    ):
        if not len(ids):
            continue
        for thing in osmium.FileProcessor(pbf, kind).with_filter(passing(ids, kind)):
            writers[int(parts[np.searchsorted(ids, thing.id)])].add(thing)


def _units(pbf: Path, files: Mapping[str, Growing]) -> Units:
    relations, counts, members = (files[n].read().astype(np.int64) for n in ("relations", "member_counts", "members"))
    near, sizes, refs = (files[n].read().astype(np.int64) for n in ("near_ways", "near_sizes", "near_refs"))
    more, more_sizes, more_refs = _refs_of(pbf, np.setdiff1d(members, near))
    ways = np.concatenate([near, more])
    sizes, refs = np.concatenate([sizes, more_sizes]), np.concatenate([refs, more_refs])
    points = [json.loads(line) for line in files["points"].read().tobytes().decode().splitlines()]
    boxes = [files[name].read().astype(np.float64).reshape(-1, 4) for name in ("near_boxes", "relation_boxes")]
    return assigned(ways, sizes, refs, relations, counts, members, points, (near, boxes[0], boxes[1]))


def assigned(  # noqa: PLR0913, PLR0917 - the tables of what is near, and they belong together
    ways: NDArray[np.int64],
    sizes: NDArray[np.int64],
    refs: NDArray[np.int64],
    relations: NDArray[np.int64],
    counts: NDArray[np.int64],
    members: NDArray[np.int64],
    points: list[list[Any]],
    located: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
) -> Units:
    """Divide near objects into parts.

    Args:
        ways: (n,) ids, each once.
        sizes: (n,) nodes of each.
        refs: the nodes, one way's behind the other's.
        relations: (m,) ids, rising.
        counts: (m,) ways of each.
        members: the ways, one relation's behind the other's.
        points: id, longitude, latitude of nodes with tags, 1e-7 degrees.
        located: ids of k ways, (k, 4) boxes around them and (m, 4) around the relations, 1e-7 degrees.
    """
    unit_of_way, unit_of_relation, singles = _together(ways, relations, counts, members)
    order = np.argsort(ways, kind="stable")
    near, near_boxes, relation_boxes = located
    unit_of_near = unit_of_way[order[np.searchsorted(ways[order], near)]]
    centres = _centres(points, singles, ((unit_of_near, near_boxes), (unit_of_relation, relation_boxes)))
    weights = np.bincount(unit_of_way, sizes, minlength=singles + len(points)).astype(np.float64)
    part = _parts(centres, weights)
    way_part = part[unit_of_way]
    owner = np.repeat(way_part, sizes)
    count = int(part.max(initial=-1)) + 1
    by_part = np.argsort(owner, kind="stable")
    cuts = np.searchsorted(owner[by_part], np.arange(count + 1))
    return Units(
        ways=ways[order],
        way_part=way_part[order],
        relations=relations,
        relation_part=part[unit_of_relation],
        refs=[np.unique(refs[by_part[cuts[n] : cuts[n + 1]]]) for n in range(count)],
        points=points,
        point_part=part[singles:],
    )


def passing(ids: NDArray[np.int64], kind: osmium.osm.osm_entity_bits) -> osmium.filter.IdFilter:
    """A filter that lets these objects pass: a bit for each id up to the largest."""
    found = osmium.filter.IdFilter(ids.tolist())
    found.enable_for(kind)
    return found


def _refs_of(pbf: Path, ways: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the ways that are there, number of nodes of each, and the nodes."""
    ids, sizes, refs = [], [], []
    if len(ways):
        for way in osmium.FileProcessor(pbf, osmium.osm.WAY).with_filter(passing(ways, osmium.osm.WAY)):
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
    """Unit of each way and of each relation, and the number of units; relations that share a way are one unit."""
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
    points: list[list[Any]], singles: int, located: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """(units, 2): longitude and latitude of each unit, 1e-7 degrees; each point is a unit.

    `located`: units and boxes in them.
    """
    centres = np.zeros((singles + len(points), 2))
    for unit, boxes in located:
        centres[unit] = (boxes[:, :2] + boxes[:, 2:]) / 2
    if points:
        centres[singles:] = [point[1:3] for point in points]
    return centres


def _parts(centres: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """(units,) part of each unit; parts follow a space-filling curve and hold about `PART_CORNERS` corners."""
    if not len(centres):
        return np.zeros(0, np.int64)
    order = np.argsort(z_order(np.hstack([centres, centres]) / 1e7), kind="stable")
    part = np.zeros(len(centres), np.int64)
    full = np.cumsum(weights[order] + 1.0)
    part[order] = np.minimum((full - weights[order] - 1.0) // PART_CORNERS, full[-1] // PART_CORNERS).astype(np.int64)
    _, part = np.unique(part, return_inverse=True)
    return part.astype(np.int64)


def z_order(boxes: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Morton number of each box's centre on a grid of 2^16 x 2^16 cells: objects that are near get similar numbers."""
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
