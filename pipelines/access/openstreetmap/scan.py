"""Checks a complete .osm.pbf before it is read: sizes, order, versions, and missing parts.

osmium reads files with unsorted or duplicate objects without an error, or with a wrong one, and a small file that
unpacks to gigabytes gets all that memory. So every block is checked first: the ids, and the sizes after unpacking, but
not the content.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

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
    from collections.abc import Sequence
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
"""What a file may become in memory: so much whatever its size, and so much for each of its bytes. Real extracts take
30 to 50 bytes a byte; lists of addresses alone, the densest there are, about 130."""
_STRINGS = 1 << 20
"""Strings in the table of one block."""
_FEW = 4
"""Fewer loose nodes or ways than these say nothing."""
_SAMPLE = 1 << 18
_ENDS = bytes(range(128))
"""Bytes that end a number."""


@dataclass
class Scan:
    """Result of the check of a file."""

    replicated: datetime | None = None
    """Replication time of the header, UTC."""
    newest: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """Time of the newest object, UTC."""


def scan(path: Path) -> Scan:
    """Look through a .osm.pbf.

    Raises:
        RefusedError: it cannot be read right; the text says what mends it.
    """
    scanner = _Scanner(shlex.quote(path.name), _FREE_BYTES + _BYTES_PER_BYTE * path.stat().st_size)
    try:
        for number, (kind, data) in enumerate(blobs(path)):
            if number == 0 and kind != "OSMHeader":
                raise malformed()
            if number and kind == "OSMHeader":
                raise RefusedError(
                    "it has a second header, so it is two concatenated files; merge the original files "
                    "instead: osmium merge FIRST SECOND -o merged.osm.pbf"
                )
            if kind == "OSMHeader":
                scanner.header(data)
            elif kind == "OSMData":
                scanner.block(data)
    except (IndexError, OverflowError) as error:
        raise malformed() from error
    scanner.end()
    return scanner.found


class _Loose:
    """Share of untagged objects without a reference to them, estimated from a small sample."""

    def __init__(self) -> None:
        self._every = 1
        self._ids: list[NDArray[np.int64]] = []
        self._kept = 0
        self._sorted: NDArray[np.int64] | None = None
        self._used: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def add(self, ids: NDArray[np.int64]) -> None:
        """Objects without tags, before any `refer`."""
        ids = self._sampled(ids)
        self._ids.append(ids)
        self._kept += len(ids)
        while self._kept > _SAMPLE:
            self._every *= 2
            self._ids = [self._sampled(np.concatenate(self._ids))]
            self._kept = len(self._ids[0])

    def refer(self, ids: NDArray[np.int64]) -> None:
        """Ids that something refers to."""
        mine, ids = self._all(), self._sampled(ids)
        if not len(mine) or not len(ids):
            return
        at = np.minimum(np.searchsorted(mine, ids), len(mine) - 1)
        self._used[at[mine[at] == ids]] = True

    def count(self) -> tuple[int, int]:
        """(objects in the sample that nothing refers to, objects in the sample)."""
        mine = self._all()
        return len(mine) - int(np.count_nonzero(self._used)), len(mine)

    def _sampled(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return ids if self._every == 1 else ids[(ids // 7) % self._every == 0]

    def _all(self) -> NDArray[np.int64]:
        if self._sorted is None:
            self._sorted = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *self._ids]))
            self._used = np.zeros(len(self._sorted), dtype=np.bool_)
        return self._sorted


@dataclass
class _Objects:
    """Collected fields of the objects of one kind in one group."""

    ids: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    refs: list[bytes] = field(default_factory=list)
    types: list[bytes] = field(default_factory=list)
    roles: list[bytes] = field(default_factory=list)
    newest: int = 0


class _Scanner:
    def __init__(self, name: str, budget: int) -> None:
        self.found = Scan()
        self._name, self._budget, self._left, self._left_in_block = name, budget, budget, _BLOCK_BYTES
        self._last: tuple[int, int] = (0, -1)
        self._loose = {"node": _Loose(), "way": _Loose()}

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
        lengths, step, groups = np.zeros(0, dtype=np.int64), 1000, []
        for number, start, stop in fields(data, 0, len(data)):
            if number == 1 and stop >= 0:
                lengths = _lengths(data, start, stop)
            elif number == 2 and stop >= 0:
                groups.append((start, stop))
                self._spend(_OBJECT_BYTES)
            elif number == 18 and stop < 0:
                step = start
        self._spend(_REFERENCE_BYTES * len(lengths))
        for start, stop in groups:
            self._group(data, start, stop, lengths, step)

    def end(self) -> None:
        """After the last block: what nothing refers to tells of what is not there any more.

        Raises:
            RefusedError: the file seems to have been cut between two blocks.
        """
        for kind, users, share in (("node", "way", 0.2), ("way", "relation", 0.6)):
            loose, there = self._loose[kind].count()
            if loose >= (_FEW if loose == there else 100) and loose > share * there:
                raise DamagedError(
                    f"{loose / there:.0%} of its untagged {kind}s belong to no {users}: it seems to be truncated "
                    "(if a filter left them, remove them: "
                    f"osmium tags-filter {self._name} 'nwr/*' -o filtered.osm.pbf)"
                )

    def _group(self, data: bytes, start: int, stop: int, lengths: NDArray[np.int64], step: int) -> None:
        gathered: dict[str, _Objects] = {}
        for number, at, end in fields(data, start, stop):
            if number == 2 and end >= 0:
                self._dense(data, at, end, lengths, step)
            elif number in _GROUP and end >= 0:
                self._spend(_OBJECT_BYTES)
                self._object(_GROUP[number], data[at:end], gathered.setdefault(_GROUP[number], _Objects()))
        for kind, objects in gathered.items():
            self._in_order(kind, np.array(objects.ids, dtype=np.int64))
            self._tags(objects, lengths)
            self._date(objects.newest, step)
            self._refer(kind, objects)

    def _object(self, kind: str, data: bytes, into: _Objects) -> None:
        """A node, way or relation that stands by itself."""
        number, packed = 0, dict.fromkeys((2, 3, 8, 9, 10), b"")
        for name, start, stop in fields(data, 0, len(data)):
            if name == 1 and stop < 0:
                number = _zigzag(start) if kind == "node" else signed(start)
            elif name == 4 and stop >= 0:
                into.newest = max(into.newest, self._info(kind, number, data, start, stop))
            elif name in packed and stop >= 0:
                packed[name] = data[start:stop]
        if _count(packed[2]) != _count(packed[3]):
            raise malformed()
        if kind == "relation":
            if not _count(packed[8]) == _count(packed[9]) == _count(packed[10]):
                raise malformed()
            into.roles.append(packed[8])
        into.ids.append(number)
        into.keys.append(packed[2])
        into.values.append(packed[3])
        into.refs.append(packed[9 if kind == "relation" else 8])
        into.types.append(packed[10])

    def _info(self, kind: str, number: int, data: bytes, start: int, stop: int) -> int:
        """Time of the object in steps."""
        time = 0
        for name, value, end in fields(data, start, stop):
            if name == 2 and end < 0:
                time = signed(value)
            elif name == 6 and end < 0 and not value:
                raise self._history(f"{kind} {number} is marked as deleted")
        return time

    def _dense(self, data: bytes, start: int, stop: int, lengths: NDArray[np.int64], step: int) -> None:
        packed = {number: data[at:end] for number, at, end in fields(data, start, stop) if end >= 0}
        ids = np.cumsum(zigzag(numbers(packed.get(1, b""))))
        self._spend(_NODE_BYTES * len(ids))
        if any(_count(packed.get(number, b"")) != len(ids) for number in (8, 9)):
            raise malformed()
        self._in_order("node", ids)
        info = packed.get(5, b"")
        for number, at, end in fields(info, 0, len(info)):
            if number == 2 and end >= 0:
                self._date(int(np.cumsum(zigzag(numbers(info[at:end]))).max(initial=0)), step)
            elif number == 6 and end >= 0 and not (seen := numbers(info[at:end]) != 0).all():
                raise self._history(f"node {ids[min(int(np.argmin(seen)), len(ids) - 1)]} is marked as deleted")
        strings = numbers(packed.get(10, b"")).astype(np.int64)
        if not len(strings):
            self._loose["node"].add(ids)
            return
        ends = np.flatnonzero(strings == 0)
        if len(ends) != len(ids):
            raise malformed()
        words = np.diff(ends, prepend=-1) - 1
        if (words % 2).any():
            raise malformed()
        tagged = words > 0
        self._spend(_TAGGED_BYTES * int(np.count_nonzero(tagged)))
        self._spend_strings(strings, lengths)
        self._loose["node"].add(ids[~tagged])

    def _tags(self, objects: _Objects, lengths: NDArray[np.int64]) -> None:
        self._spend(_TAGGED_BYTES * sum(bool(keys) for keys in objects.keys))
        for packed in (objects.keys, objects.values, objects.roles):
            self._spend_strings(numbers(b"".join(packed)).astype(np.int64), lengths)

    def _refer(self, kind: str, objects: _Objects) -> None:
        """Nodes that the ways refer to, and ways that the relations of a group refer to."""
        without_tags = np.array([i for i, keys in zip(objects.ids, objects.keys, strict=True) if not keys], np.int64)
        if kind in self._loose:
            self._loose[kind].add(without_tags)
        if kind == "node":
            return
        refs = _references(objects.refs)
        self._spend(_REFERENCE_BYTES * len(refs))
        if kind == "relation":
            refs = refs[numbers(b"".join(objects.types)) == 1]
        self._loose["node" if kind == "way" else "way"].refer(refs)

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
            raise self._history(f"{kind} {ids[int(np.argmin(steps))]} occurs more than once")
        self._last = (_RANK[kind], int(ids[-1]))

    def _unsorted(self, why: str) -> RefusedError:
        return RefusedError(f"it is not sorted ({why}); sort it: osmium sort {self._name} -o sorted.osm.pbf")

    def _history(self, why: str) -> RefusedError:
        return RefusedError(
            f"{why}: it is a history file, a change file, or joined extracts that overlap; keep the newest version of "
            f"each object: osmium time-filter {self._name} -o newest.osm.pbf"
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
        """Note what something would take in memory.

        Raises:
            RefusedError: more than such a block, or such a file, can honestly take.
        """
        self._left -= size
        self._left_in_block -= size
        if min(self._left, self._left_in_block) < 0:
            most = _BLOCK_BYTES if self._left_in_block < 0 else self._budget
            what = "one of its blocks" if self._left_in_block < 0 else "it"
            raise DamagedError(f"{what} unpacks to more than {most >> 20:,} MiB, far more than a map of its size does")


def _lengths(data: bytes, start: int, stop: int) -> NDArray[np.int64]:
    """Bytes of each string of a block's table."""
    found: list[int] = []
    for number, at, end in fields(data, start, stop):
        if number == 1 and end >= 0:
            found.append(end - at)
            if b"\0" in data[at:end]:  # osmium takes it for the end of the string, and reads on in what follows
                raise malformed()
            if len(found) > _STRINGS:
                raise DamagedError(f"one of its blocks has more than {_STRINGS:,} strings")
    return np.array(found, dtype=np.int64)


def _references(packed: Sequence[bytes]) -> NDArray[np.int64]:
    """Ids that objects refer to; each object counts from zero again."""
    steps = zigzag(numbers(b"".join(packed)))
    if not len(steps):
        return steps
    whole = np.cumsum(steps)
    sizes = np.array([_count(part) for part in packed], dtype=np.int64)
    firsts = np.cumsum(sizes) - sizes
    before = np.concatenate(([0], whole))[firsts]
    found: NDArray[np.int64] = whole - np.repeat(before, sizes)
    return found


def _count(packed: bytes) -> int:
    return len(packed) - len(packed.translate(None, _ENDS))


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
