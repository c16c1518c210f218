"""Cuts from an extract the objects near the samples: one checked reading of the file, then one for their tags.

Locations of nodes and boxes of ways, with the times of their edits, lie in files beside the cache (20 and 28 bytes
each) and not in memory. The near objects are written as small .osm.pbf files, each with at most about `PART_CORNERS`
corners, in which every way has its nodes and every multipolygon its ways. What is in memory: 400 MB for a block of the
file and the tables, 48 bytes per near object, and one such part.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from filelock import FileLock

from pipelines.access.openstreetmap.edited import EditDays, latest, rows_of
from pipelines.access.openstreetmap.multipolygons import is_multipolygon
from pipelines.access.openstreetmap.parts import write_parts
from pipelines.access.openstreetmap.rules import is_paper
from pipelines.access.openstreetmap.scan import Scan, scan
from pipelines.access.openstreetmap.store import Growing, Sorted
from pipelines.durable import write_durably
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.access.openstreetmap.near import Near

_SAFE_EVERY_S = 20.0
"""Time between two notes of how far the reading is."""
FILES = {
    "node_ids": ("<i8", 1), "node_places": ("<i4", 3), "way_ids": ("<i8", 1), "way_boxes": ("<i4", 5),
    "near_ways": ("<i8", 1), "near_boxes": ("<i4", 4), "near_sizes": ("<i8", 1), "near_refs": ("<i8", 1),
    "relations": ("<i8", 1), "member_counts": ("<i8", 1), "members": ("<i8", 1), "relation_boxes": ("<i4", 4),
    "points": ("<u1", 1), "edited": ("<i8", 2),
}  # fmt: skip
"""Working file -> type of its numbers, numbers in a row. `points` holds lines of JSON: id, place, tags. The time of the
last edit, seconds, stands after places and boxes; `edited` is of the near objects (`edited.rows_of`)."""
_EDGE = np.array([2**31 - 1, 2**31 - 1, -(2**31), -(2**31)])


@dataclass
class Collector:
    """Receives the objects of a scan and keeps those near the samples."""

    folder: Path
    near: Near
    progress: Callable[[int], None]
    """Gets the bytes that have been read."""
    size: int
    """Bytes of the extract."""
    forms: Mapping[str, tuple[str, int]] = field(default_factory=lambda: FILES)
    """Working file -> type of its numbers, numbers in a row."""
    files: dict[str, Growing] = field(default_factory=dict)
    bounds: NDArray[np.int64] = field(default_factory=_EDGE.copy)
    """West, south, east, north of all nodes, 1e-7 degrees."""
    lost: Counter[str] = field(default_factory=Counter)
    """Objects of which parts are missing, so that nobody knows whether they are near, and that do not seem to be."""
    _places: Sorted | None = None
    _boxes: Sorted | None = None
    _last_safe: float = field(default_factory=time.monotonic)
    _times: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Of the objects that come next, seconds since 1970; 0 = not known."""
    _tagged: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    all_versions: ClassVar[bool] = False

    def begin(self) -> tuple[int, dict[str, Any]] | None:
        """Open the files, cut back to the last safe state; (byte, state of the scan), or None at the beginning."""
        self.files = {name: Growing(self.folder / name, *form) for name, form in self.forms.items()}
        try:
            note = json.loads((self.folder / "safe.json").read_text())
            rows, bounds, at, state = note["rows"], note["bounds"], note["at"], note["scan"]
            lost = Counter(note["lost"])
            enough = all(len(file) >= rows[name] for name, file in self.files.items())
        except (OSError, ValueError, KeyError, TypeError):
            rows, enough = dict.fromkeys(FILES, 0), False
        for name, file in self.files.items():
            file.cut(rows[name] if enough else 0)
        if not enough:
            return None
        self.bounds, self.lost = np.array(bounds), lost
        return at, state

    def safe(self, at: int, state: Callable[[], dict[str, Any]]) -> None:
        """Record how far the data is safely on disk, every 20 seconds and at the end."""
        self.progress(at)
        if time.monotonic() - self._last_safe < _SAFE_EVERY_S and at < self.size:
            return
        rows = {name: file.flush() for name, file in self.files.items()}
        note = {"at": at, "rows": rows, "bounds": self.bounds.tolist(), "lost": self.lost, "scan": state()}
        write_durably(self.folder / "safe.json", json.dumps(note))
        self._last_safe = time.monotonic()

    def versions(self, times: NDArray[np.int64], visible: NDArray[np.bool_]) -> None:  # noqa: ARG002
        """Times of the objects that come next."""
        self._times = np.clip(times, 0, 2**31 - 1)

    def tagged(self, which: NDArray[np.int64]) -> None:
        """Positions, among the objects before, of those that `points` or `relations` gets."""
        self._tagged = which

    def nodes(self, ids: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Remember where nodes are, and when they were edited."""
        self.files["node_ids"].add(ids)
        self.files["node_places"].add(np.column_stack([np.clip(places, -(2**31), 2**31 - 1), self._times]))
        self.stretch(places[on_earth(places)])

    def stretch(self, good: NDArray[np.int64]) -> None:
        """Make the bounds hold places, (n, 2)."""
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
            self.files["edited"].add(rows_of("n", ids[chosen], self._times[self._tagged[chosen]]))

    def ways(
        self,
        ids: NDArray[np.int64],
        refs: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
        tagged: NDArray[np.bool_],
    ) -> None:
        """Remember the boxes of ways, and keep the near ones that say something."""
        places, there = self._of_nodes.find(refs)
        there &= on_earth(places)
        boxes, times = spans(places[:, [0, 1, 0, 1]], there, sizes), latest(self._times, places[:, 2] * there, sizes)
        mapped = boxes[:, 0] <= boxes[:, 2]
        self.files["way_ids"].add(ids[mapped])
        self.files["way_boxes"].add(np.column_stack([boxes, times])[mapped])
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
        self.files["edited"].add(rows_of("w", ids[kept], times[kept]))
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
        areas, ways, sizes = self._multipolygons(ways, sizes, tags)
        ids, own = ids[areas], self._times[self._tagged][areas]
        found, there = self._of_ways.find(ways)
        boxes, times = spans(found[:, :4], there, sizes), latest(own, found[:, 4] * there, sizes)
        near = boxes[:, 0] <= boxes[:, 2]
        near[near] = self.near.touches(boxes[near])
        whole = np.bincount(np.repeat(np.arange(len(ids)), sizes)[~there], minlength=len(ids)) == 0
        self.lost["incomplete_multipolygons"] += int((~near & ~whole).sum())
        self.files["relations"].add(ids[near])
        self.files["relation_boxes"].add(boxes[near])
        self.files["member_counts"].add(sizes[near])
        self.files["members"].add(ways[np.repeat(near, sizes)])
        self.files["edited"].add(rows_of("r", ids[near], times[near]))

    @staticmethod
    def _multipolygons(
        ways: NDArray[np.int64], sizes: NDArray[np.int64], tags: Callable[[int], dict[str, str]]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
        """Which relations are multipolygons, their ways, and the number of ways of each."""
        areas = np.array([bool(size) and is_multipolygon(tags(at)) for at, size in enumerate(sizes.tolist())], bool)
        return areas, ways[np.repeat(areas, sizes)], sizes[areas]

    @property
    def _of_ways(self) -> Sorted:
        """Boxes of ways, all of which have been read."""
        if self._boxes is None:
            self._boxes = Sorted(self.files["way_ids"], self.files["way_boxes"])
        return self._boxes

    @property
    def _of_nodes(self) -> Sorted:
        """Places of nodes, all of which have been read."""
        if self._places is None:
            self._places = Sorted(self.files["node_ids"], self.files["node_places"])
        return self._places

    def close(self) -> None:
        """Close files; those of locations stay."""
        for found in (self._places, self._boxes):
            if found is not None:
                found.close()
        for file in self.files.values():
            file.close()


@dataclass(frozen=True)
class Selected:
    """The objects near the samples, as files."""

    parts: tuple[Path, ...]
    """.osm.pbf files; each object is in one of them, neighbours together."""
    about: Scan
    bounds: BBox | None
    """West, south, east, north of all nodes of the extract, degrees; None without nodes."""
    lost: Counter[str]
    """Number of objects that lack parts and do not seem to be near, by count of `objects.LOST`."""
    edited: EditDays
    """Of the near objects; of a full history, whose rows have days of their own, none."""


def select(
    pbf: Path,
    near: Near,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    of: tuple[type[Collector], Callable[[Path, Mapping[str, Growing], Path], None]] | None = None,
) -> Selected:
    """Select the objects near the samples from an extract.

    Args:
        pbf: the extract.
        near: the ground that is wanted.
        folder: for working files; if an earlier call was killed, its folder is used to continue. The caller removes it.
        progress: gets bytes done and bytes in all, over both readings.
        of: what collects, and what writes the parts; those of a plain extract if absent.

    Raises:
        RefusedError: the file cannot be read right; the text says what mends it.
        RuntimeError: osmium cannot read it.
    """
    size = pbf.stat().st_size
    folder.mkdir(parents=True, exist_ok=True)
    whole = size + size // 4
    with FileLock(folder / "lock"):
        make, write = of or (Collector, write_parts)
        collector = make(folder, near, lambda at: progress(at, whole) if progress else None, size)
        try:
            about = scan(pbf, collector, collector.begin())
            write(pbf, collector.files, folder)
            edited = EditDays(collector.files["edited"].read().astype(np.int64))
        finally:
            collector.close()
    if progress:
        progress(whole, whole)
    bounds = collector.bounds / 1e7
    parts = tuple(sorted(folder.glob("part-*.os[mh].pbf")))
    west, south, east, north = bounds.tolist()
    return Selected(parts, about, None if west > east else BBox(west, south, east, north), collector.lost, edited)


def on_earth(places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) whether a longitude and a latitude are on Earth."""
    found: NDArray[np.bool_] = (np.abs(places[:, 0]) <= 1_800_000_000) & (np.abs(places[:, 1]) <= 900_000_000)
    return found


def spans(boxes: NDArray[np.int64], there: NDArray[np.bool_], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
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
