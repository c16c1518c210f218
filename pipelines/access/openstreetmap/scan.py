"""Checks a complete .osm.pbf before it is read: sizes, order, versions, and missing parts.

osmium reads files with unsorted or duplicate objects without an error, or with a wrong one, and a small file that
unpacks to gigabytes gets all that memory. So every block is checked first: the ids, and the sizes after unpacking, but
not the content.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipelines.access.openstreetmap.block import Block, Tags, references, string_lengths
from pipelines.access.openstreetmap.columns import Columns, columns
from pipelines.access.openstreetmap.loose import Loose
from pipelines.access.openstreetmap.pbf import (
    DamagedError,
    RefusedError,
    blobs,
    fields,
    malformed,
    numbers,
    signed,
    zigzag,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_RANK = {"node": 0, "way": 1, "relation": 2}
_GROUP = {1: "node", 3: "way", 4: "relation"}
_FEATURES = frozenset({b"OsmSchema-V0.6", b"DenseNodes", b"HistoricalInformation"})
"""Features of the format that osmium reads (https://wiki.openstreetmap.org/wiki/PBF_Format)."""
_NODE_BYTES, _OBJECT_BYTES, _REFERENCE_BYTES, _TAGGED_BYTES = 100, 400, 16, 1_000
"""About what a node, another object, a corner or member, and an object with tags take in memory, here and in osmium."""
_BLOCK_BYTES = 128 << 20
"""Largest size of a block in memory: a hundred times the usual size."""
_FREE_BYTES, _BYTES_PER_BYTE = 256 << 20, 250
"""Memory that a file may take: a fixed amount, and an amount per byte of the file. Real extracts take 30 to 50 bytes
per byte; lists of addresses, the densest files, take about 130."""
_FEW = 4
"""Fewer loose nodes or ways than these say nothing."""
_ENDS = bytes(range(128))
"""Bytes that end a number."""


@dataclass
class Scan:
    """Result of the check of a file."""

    replicated: datetime | None = None
    """Replication time of the header, UTC."""
    newest: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """Time of the newest object, UTC."""

    @property
    def timed(self) -> bool:
        """Whether objects say when they were edited."""
        return self.newest.year > 1970


class Sink(Protocol):
    """Receives the objects of a scan during the check; every array holds objects of one block, in file order."""

    @property
    def all_versions(self) -> bool:
        """Whether it wants all versions of a full-history file; then any other file is refused."""
        ...

    def versions(self, times: NDArray[np.int64], visible: NDArray[np.bool_]) -> None:
        """Times, seconds since 1970 (0: the file has none), and visibility of the objects that come next."""
        ...

    def tagged(self, which: NDArray[np.int64]) -> None:
        """Positions, among the objects of the last `versions`, of those that `points` or `relations` gets next."""
        ...

    def nodes(self, ids: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Nodes and their longitudes and latitudes, (n, 2), 1e-7 degrees."""
        ...

    def points(self, ids: NDArray[np.int64], places: NDArray[np.int64], tags: Callable[[int], dict[str, str]]) -> None:
        """Nodes with tags; `tags` gives those of the node at a position."""
        ...

    def ways(
        self,
        ids: NDArray[np.int64],
        refs: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
        tagged: NDArray[np.bool_],
    ) -> None:
        """Ways, their nodes one behind the other, the number of nodes of each, its tags, and whether it has any."""
        ...

    def relations(
        self,
        ids: NDArray[np.int64],
        ways: NDArray[np.int64],
        sizes: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
    ) -> None:
        """Relations with tags, the ways that are their members one behind the other, and the number of each's."""
        ...

    def safe(self, at: int, state: Callable[[], dict[str, Any]]) -> None:
        """All objects before byte `at` were passed on; `state` returns the check's state as JSON, to resume."""
        ...


def scan(path: Path, sink: Sink | None = None, begun: tuple[int, dict[str, Any]] | None = None) -> Scan:
    """Check a .osm.pbf from its first to its last block.

    Args:
        path: the file.
        sink: what gets the objects; None = the file is only checked.
        begun: byte and state of a `Sink.safe`, to go on from there.

    Raises:
        RefusedError: it cannot be read right; the text says what mends it.
    """
    scanner = _Scanner(shlex.quote(path.name), _FREE_BYTES + _BYTES_PER_BYTE * path.stat().st_size, sink)
    start, state = begun or (0, None)
    if state is not None:
        scanner.go_on(state)
    try:
        for number, (kind, data, after) in enumerate(blobs(path, start)):
            first = start == 0 and number == 0
            if first and kind != "OSMHeader":
                raise malformed()
            if not first and kind == "OSMHeader":
                raise RefusedError(
                    "it has a second header, so it is two concatenated files; merge the original files "
                    "instead: osmium merge FIRST SECOND -o merged.osm.pbf"
                )
            if kind == "OSMHeader":
                scanner.header(data)
            elif kind == "OSMData":
                scanner.block(data)
            if sink is not None:
                sink.safe(after, scanner.state)
    except (IndexError, OverflowError) as error:
        raise malformed() from error
    scanner.end()
    return scanner.found


class _Scanner:
    def __init__(self, name: str, budget: int, sink: Sink | None = None) -> None:
        self._sink = sink
        self.found = Scan()
        self._name, self._budget, self._left, self._left_in_block = name, budget, budget, _BLOCK_BYTES
        self._last: tuple[int, int] = (0, -1)
        self._loose = {"node": Loose(), "way": Loose()}
        self._all_versions = sink is not None and sink.all_versions
        self._several = False

    def state(self) -> dict[str, Any]:
        """The state for `go_on`, as JSON."""
        loose = {kind: one.state() for kind, one in self._loose.items()}
        replicated = None if self.found.replicated is None else self.found.replicated.isoformat()
        about = {"newest": self.found.newest.isoformat(), "replicated": replicated}
        return {"left": self._left, "last": list(self._last), "loose": loose, "several": self._several, **about}

    def go_on(self, state: dict[str, Any]) -> None:
        """Take over the state that `state` of another object returned."""
        self._left, self._last = state["left"], (state["last"][0], state["last"][1])
        self.found.newest, self._several = datetime.fromisoformat(state["newest"]), state["several"]
        if state["replicated"] is not None:
            self.found.replicated = datetime.fromisoformat(state["replicated"])
        for kind, one in self._loose.items():
            one.go_on(state["loose"][kind])

    def header(self, data: bytes) -> None:
        for number, start, stop in fields(data, 0, len(data)):
            if number == 4 and stop >= 0 and data[start:stop] not in _FEATURES:
                name = data[start:stop].decode("ascii", "replace")[:40]
                raise RefusedError(
                    f"it needs the reader feature {name!a}, which osmium lacks; write it again without that feature"
                )
            if number == 32 and stop < 0 and 0 < start < 1 << 32:
                self.found.replicated = datetime.fromtimestamp(start, UTC)

    def block(self, data: bytes) -> None:
        """One block of up to 8,000 objects, as writers make them."""
        self._left_in_block = _BLOCK_BYTES
        block, groups, origin = Block(data), [], [0, 0]
        for number, start, stop in fields(data, 0, len(data)):
            if number == 1 and stop >= 0:
                block.table, block.lengths = (start, stop), string_lengths(data, start, stop)
            elif number == 2 and stop >= 0:
                groups.append((start, stop))
                self._spend(_OBJECT_BYTES)
            elif number == 17 and stop < 0:
                block.unit = start
            elif number == 18 and stop < 0:
                block.step = start
            elif number in (19, 20) and stop < 0:
                origin[20 - number] = signed(start)
        block.origin = (origin[0], origin[1])
        self._spend(_REFERENCE_BYTES * len(block.lengths))
        for start, stop in groups:
            self._group(block, start, stop)

    def end(self) -> None:
        """After the last block: many objects without a reference show that the end of the file is missing.

        Raises:
            RefusedError: the file seems to have been cut between two blocks; or it has no versions and should.
        """
        if self._all_versions:
            if not self._several:
                raise RefusedError(
                    "it holds no object in two versions, so it is no full-history file, which `date` needs; give "
                    "an .osh.pbf, or remove `date`"
                )
            return
        for kind, users, share in (("node", "way", 0.2), ("way", "relation", 0.6)):
            loose, there = self._loose[kind].count()
            if loose >= (_FEW if loose == there else 100) and loose > share * there:
                raise DamagedError(
                    f"{loose / there:.0%} of its untagged {kind}s belong to no {users}: it seems to be truncated "
                    "(if a filter left them, remove them: "
                    f"osmium tags-filter {self._name} 'nwr/*' -o filtered.osm.pbf)"
                )

    def _group(self, block: Block, start: int, stop: int) -> None:
        spans: dict[str, list[tuple[int, int]]] = {}
        for number, at, end in fields(block.data, start, stop):
            if number == 2 and end >= 0:
                self._dense(block, at, end)
            elif number in _GROUP and end >= 0:
                self._spend(_OBJECT_BYTES)
                spans.setdefault(_GROUP[number], []).append((at, end))
        for kind, found in spans.items():
            self._objects(kind, block, np.array(found, dtype=np.int64))

    def _objects(self, kind: str, block: Block, spans: NDArray[np.int64]) -> None:
        """Nodes, ways or relations that stand by themselves."""
        raw = np.frombuffer(block.data, np.uint8)
        single, packed = ((1, 8, 9), (2, 3, 4)) if kind == "node" else ((1,), (2, 3, 4, 8, 9, 10))
        objects = columns(raw, spans, single, packed)
        ids = objects.numbers[1].astype(np.int64) if kind != "node" else zigzag(objects.numbers[1])
        pairs = [(2, 3), *([(8, 9), (9, 10)] if kind == "relation" else [])]
        if any((objects.counts(one) != objects.counts(two)).any() for one, two in pairs):
            raise malformed()
        self._in_order(kind, ids)
        self._tags(kind, objects, block.lengths)
        times, visible = self._info(kind, ids, columns(raw, objects.spans[4], (2, 6)), block.step)
        self._give_versions(times, visible)
        refs = self._refer(kind, ids, objects)
        if self._sink is not None:
            self._hand_out(kind, block, objects, ids, refs)

    def _hand_out(
        self, kind: str, block: Block, objects: Columns, ids: NDArray[np.int64], refs: NDArray[np.int64]
    ) -> None:
        """Give the checked objects of a group to the sink."""
        sink = self._sink
        assert sink is not None  # noqa: S101 - the caller looked
        tagged = objects.sizes(2) > 0
        tags = Tags(block, objects)
        if kind == "node":
            places = block.places(zigzag(objects.numbers[9]), zigzag(objects.numbers[8]))
            sink.nodes(ids, places)
            chosen = np.flatnonzero(tagged)
            self._give_points(ids, places, chosen, lambda at: tags(int(chosen[at])))
        elif kind == "way":
            sink.ways(ids, refs, objects.counts(8), tags, tagged)
        else:
            chosen, count = np.flatnonzero(tagged), objects.counts(9)
            is_way = (numbers(objects.joined(10)) == 1) & np.repeat(tagged, count)
            sizes = np.bincount(np.repeat(np.arange(len(ids)), count)[is_way], minlength=len(ids))
            sink.tagged(chosen)
            sink.relations(ids[chosen], refs[is_way], sizes[chosen], lambda at: tags(int(chosen[at])))

    def _give_versions(self, times: NDArray[np.int64], visible: NDArray[np.bool_]) -> None:
        self._several |= not bool(visible.all())
        if self._sink is not None:
            self._sink.versions(times, visible)

    def _info(
        self, kind: str, ids: NDArray[np.int64], info: Columns, step: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Times of objects, seconds, and whether they are there: only in a history may one be marked as deleted."""
        visible = ~(info.there[6] & (info.numbers[6] == 0))
        deleted = np.flatnonzero(~visible)
        if len(deleted) and not self._all_versions:
            raise self._history(f"{kind} {ids[deleted[0]]} is marked as deleted")
        times = info.numbers[2].astype(np.int64)
        self._date(int(times.max(initial=0)), step)
        return times * step // 1000, visible

    def _dense(self, block: Block, start: int, stop: int) -> None:
        data = block.data
        packed = {number: data[at:end] for number, at, end in fields(data, start, stop) if end >= 0}
        ids = np.cumsum(zigzag(numbers(packed.get(1, b""))))
        self._spend(_NODE_BYTES * len(ids))
        if any(_count(packed.get(number, b"")) != len(ids) for number in (8, 9)):
            raise malformed()
        self._in_order("node", ids)
        self._give_versions(*self._dense_info(packed.get(5, b""), ids, block.step))
        strings, ends = self._dense_strings(packed.get(10, b""), ids, block.lengths)
        words = np.diff(ends, prepend=-1) - 1
        tagged = words > 0
        if not self._all_versions:
            self._loose["node"].add(ids[~tagged])
        if self._sink is None:
            return
        lat, lon = (np.cumsum(zigzag(numbers(packed.get(number, b"")))) for number in (8, 9))
        places, chosen = block.places(lon, lat), np.flatnonzero(tagged)
        self._sink.nodes(ids, places)

        def tags(at: int) -> dict[str, str]:
            last = int(ends[chosen[at]])
            mine = strings[last - int(words[chosen[at]]) : last]
            return block.tags(mine[::2], mine[1::2])

        self._give_points(ids, places, chosen, tags)

    def _give_points(
        self,
        ids: NDArray[np.int64],
        places: NDArray[np.int64],
        chosen: NDArray[np.int64],
        tags: Callable[[int], dict[str, str]],
    ) -> None:
        sink = self._sink
        assert sink is not None  # noqa: S101 - the caller looked
        sink.tagged(chosen)
        sink.points(ids[chosen], places[chosen], tags)

    def _dense_info(
        self, info: bytes, ids: NDArray[np.int64], step: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        times, visible = np.zeros(len(ids), np.int64), np.ones(len(ids), bool)
        for number, at, end in fields(info, 0, len(info)):
            if number == 2 and end >= 0:
                steps = np.cumsum(zigzag(numbers(info[at:end])))
                self._date(int(steps.max(initial=0)), step)
                if len(steps) not in (0, len(ids)):
                    raise malformed()
                times = steps * step // 1000 if len(steps) else times
            elif number == 6 and end >= 0 and not (seen := numbers(info[at:end]) != 0).all():
                if not self._all_versions:
                    raise self._history(f"node {ids[min(int(np.argmin(seen)), len(ids) - 1)]} is marked as deleted")
                if len(seen) != len(ids):
                    raise malformed()
                visible = seen
        return times, visible

    def _dense_strings(
        self, packed: bytes, ids: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of strings, and where those of each node end."""
        strings = numbers(packed).astype(np.int64)
        if not len(strings):
            return strings, np.arange(len(ids), dtype=np.int64)
        ends = np.flatnonzero(strings == 0)
        if len(ends) != len(ids):
            raise malformed()
        words = np.diff(ends, prepend=-1) - 1
        if (words % 2).any():
            raise malformed()
        self._spend(_TAGGED_BYTES * int(np.count_nonzero(words)))
        self._spend_strings(strings, lengths)
        return strings, ends

    def _tags(self, kind: str, objects: Columns, lengths: NDArray[np.int64]) -> None:
        self._spend(_TAGGED_BYTES * int(np.count_nonzero(objects.sizes(2))))
        for number in (2, 3, 8) if kind == "relation" else (2, 3):
            self._spend_strings(numbers(objects.joined(number)).astype(np.int64), lengths)

    def _refer(self, kind: str, ids: NDArray[np.int64], objects: Columns) -> NDArray[np.int64]:
        """Nodes that the ways refer to, and what the relations of a group refer to; none for nodes."""
        if kind in self._loose and not self._all_versions:
            self._loose[kind].add(ids[objects.sizes(2) == 0])
        if kind == "node":
            return ids[:0]
        field = 9 if kind == "relation" else 8
        refs = references(objects.joined(field), objects.counts(field))
        self._spend(_REFERENCE_BYTES * len(refs))
        ways = refs if kind == "way" else refs[numbers(objects.joined(10)) == 1]
        if not self._all_versions:
            self._loose["node" if kind == "way" else "way"].refer(ways)
        return refs

    def _in_order(self, kind: str, ids: NDArray[np.int64]) -> None:
        """Nodes, ways, relations, each by rising id.

        Raises:
            RefusedError: they are not, or have ids that a map's server never gives.
        """
        if not len(ids):
            return
        if (ids < 0).any():
            raise RefusedError(
                f"{kind} {ids[ids < 0][0]} has a negative id, as editors give before upload; renumber it: "
                f"osmium sort {self._name} -o sorted.osm.pbf && osmium renumber sorted.osm.pbf -o renumbered.osm.pbf"
            )
        rank, before = self._last
        if _RANK[kind] != rank:
            if _RANK[kind] < rank:
                raise self._unsorted(f"{kind} {ids[0]} comes after a {[*_RANK][rank]}")
            before = -1
        steps = np.diff(ids, prepend=before)
        if (steps < 0).any():
            at = int(np.argmax(steps < 0))
            raise self._unsorted(f"{kind} {ids[at]} comes after {kind} {ids[at] - steps[at]}")
        if (steps == 0).any():
            self._several = True
        if (steps == 0).any() and not self._all_versions:
            raise self._history(f"{kind} {ids[int(np.argmin(steps))]} occurs more than once")
        self._last = (_RANK[kind], int(ids[-1]))

    def _unsorted(self, why: str) -> RefusedError:
        return RefusedError(f"it is not sorted ({why}); sort it: osmium sort {self._name} -o sorted.osm.pbf")

    def _history(self, why: str) -> RefusedError:
        return RefusedError(
            f"{why}: it is a history file, a change file, or joined extracts that overlap; keep the newest version of "
            f"each object: osmium time-filter {self._name} -o newest.osm.pbf; or, for a full history, add `date: image`"
        )

    def _date(self, time: int, step: int) -> None:
        seconds = time * step // 1000
        if 0 < seconds < 1 << 32:
            self.found.newest = max(self.found.newest, datetime.fromtimestamp(seconds, UTC))

    def _spend_strings(self, strings: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        if not len(strings):
            return
        if int(strings.max()) >= len(lengths) or int(strings.min()) < 0:
            raise malformed()
        self._spend(int(lengths[strings].sum()) + 2 * len(strings))

    def _spend(self, size: int) -> None:
        """Add the memory that something would take to the total.

        Raises:
            RefusedError: more than such a block, or such a file, can honestly take.
        """
        self._left -= size
        self._left_in_block -= size
        if min(self._left, self._left_in_block) < 0:
            most = _BLOCK_BYTES if self._left_in_block < 0 else self._budget
            what = "one of its blocks" if self._left_in_block < 0 else "it"
            raise DamagedError(f"{what} unpacks to more than {most >> 20:,} MiB, far more than a map of its size does")


def _count(packed: bytes) -> int:
    return len(packed) - len(packed.translate(None, _ENDS))
