"""Makes one batch: several threads find, fetch, check and decode its chunks into place.

The work of a batch is a queue of (array, shard) pairs; threads take the next one. Fetching, checksums and decoding
release the GIL, so threads use all cores. From a URL everything that a batch needs is asked for at once
(`landweave.hedge`), and threads decode what has come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from landweave.arrivals import Arrivals
from landweave.errors import CorruptError
from landweave.hedge import begin
from landweave.packed import deal, records
from landweave.packs import Pack, pack_of
from landweave.shard import Fetched, fill_value
from landweave.timing import Timing
from landweave.view import chosen_slots, corners, held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from numpy.typing import NDArray

    from landweave.bands import Piece
    from landweave.buffers import Buffers
    from landweave.catalogue import Catalogue
    from landweave.handover import SharedBuffers
    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec
    from landweave.order import EpochRandom
    from landweave.shard import Chip, Key, ShardReader
    from landweave.view import Shown, Times, View

Batch = dict[str, Any]
_AT_A_TIME, _PART_BYTES = 8, 1 << 20
"""Samples of an array that one thread takes; decoded bytes that it takes from a local disk, so that threads end
together (from afar, neighbours are one request)."""
OnError = Literal["raise", "skip"]


_NOTHING = Fetched([], [], [], [])
ASKED = "questions"
"""Column of a batch that the catalogue does not have."""


@dataclass(frozen=True, slots=True)
class Source:
    """Source of batches: everything except the order."""

    catalogue: Catalogue
    reader: ShardReader
    spec: DatasetSpec
    buffers: Buffers | SharedBuffers
    shown: tuple[Shown, ...]
    """Arrays of a batch."""
    view: View
    asked: Callable[[NDArray[np.int64]], list[Any]] | None = None
    """Questions of the samples at these positions."""
    groups: tuple[tuple[GroupSpec, Times], ...] = field(init=False)
    """Modalities and labels of a batch, and which of their dates."""
    sample_bytes: int = field(init=False)
    """Bytes that are decoded for a sample where everything is there."""
    pack: Pack | None = field(init=False)
    """From which small arrays are taken together, where the dataset is behind a URL and has one."""
    from_pack: frozenset[str] = field(init=False)
    """Paths of the arrays that are."""

    def __post_init__(self) -> None:
        names = dict.fromkeys(s.array.group for s in self.shown)
        groups = [self.spec.group(name) for name in names]
        found = tuple((g, self.view.times_of(g.name) if g.dated else "all") for g in groups)
        object.__setattr__(self, "groups", found)
        object.__setattr__(self, "sample_bytes", sum(s.chip_bytes * s.slots for s in self.shown))
        pack = pack_of(self.spec) if self.reader.store.remote else None
        wanted = {s.array.path: s.slots * len(s.pieces) / s.array.chunks_per_row for s in self.shown}
        object.__setattr__(self, "pack", pack)
        object.__setattr__(self, "from_pack", frozenset() if pack is None else pack.worth(wanted))


class _Part(NamedTuple):
    """Samples of a batch that lie in one shard, of one array."""

    shown: Shown
    shard: int
    rows: list[int]
    """Rows of the batch."""
    slots: list[list[int]]
    """(batch, k) stored slot of each slot shown; -1 where there is none."""
    out: NDArray[Any]
    """(batch, [k,] ...)."""
    size: int
    """Bytes of one slot of its samples, decoded: the largest parts begin first."""


class _Asked(NamedTuple):
    """What is asked for together: chips of an array in a shard, or records of the pack with those of several arrays."""

    lies: ArraySpec | Pack
    shard: int
    chips: list[Chip]
    """Of the array or the pack."""
    parts: list[tuple[_Part, list[Chip]]]
    """Of each array."""


class Loading:
    """A batch that is being read: threads run `drain`, and `result` waits for the batch."""

    def __init__(
        self,
        source: Source,
        positions: NDArray[np.int64],
        random: EpochRandom,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        """Plan a batch.

        Args:
            source: where from.
            positions: (n,) in the catalogue.
            random: the random choices of the epoch.
            pool: whose threads read; from a URL, one asks for the catalogue's columns while the batch is planned.
        """
        began = perf_counter()
        self._source, self._positions, self._random = source, positions, random
        self._parts: deque[_Part | _Asked] = deque()
        self._damage: dict[int, CorruptError] = {}
        self._failed: BaseException | None = None
        self._corners: NDArray[np.float64] | None = None
        self._batch: Batch = {"id": []}
        self.timings: list[Timing] = []
        """Seconds of planning, and of each part that has been read."""
        self._opening = self._open_ahead()
        self._pool, remote = pool, source.reader.store.remote
        self._running: list[Future[None]] = [pool.submit(self._columns)] if pool is not None and remote else []
        self._where: list[list[int]] = source.catalogue.seats(positions).tolist()
        self._plan()
        self.timings.append(Timing(collating_s=perf_counter() - began))
        self._fetching: Future[None] | None = None
        self._arrivals: Arrivals[tuple[_Asked, Fetched]] | None = None

    def _open_ahead(self) -> Future[None] | None:
        """Ask for the indexes of shards that are read for the first time while the catalogue asks where samples are."""
        source = self._source
        unseen = source.catalogue.unseen(self._positions) if source.reader.store.remote else []
        if not unseen:
            return None
        lies: list[ArraySpec | Pack] = [s.array for s in source.shown if s.array.path not in source.from_pack]
        lies += [source.pack] if source.pack is not None and source.from_pack else []
        found: Future[None] = begin(source.reader.open_all([(one, shard) for one in lies for shard in unseen]))
        return found

    def start(self, threads: int) -> Loading:
        """Start reading in some threads of the pool; returns itself. Without one (URLs alone), `result` decodes."""
        pool = self._pool
        if self._source.reader.store.remote:
            here, asked = self._asked()
            self._parts = here
            if asked:
                self._arrivals = Arrivals(len(asked), self._decode, pool, threads)
                self._fetching = begin(self._fetch(asked, self._arrivals))
        if pool is None:
            return self
        self._running += [pool.submit(self.drain, smallest=not n) for n in range(min(threads, len(self._parts)))]
        return self

    @property
    def far(self) -> bool:
        """Whether something was asked from a URL when it was started."""
        return self._fetching is not None

    def drain(self, *, smallest: bool = False) -> None:
        """Read chunks until none is left, largest first.

        One thread of several begins with the smallest: they hold the interpreter's lock for most of their time, and
        two threads at them would wait for each other.
        """
        take = self._parts.pop if smallest else self._parts.popleft
        while self._failed is None:
            try:
                part = take()
            except IndexError:
                return
            try:
                self._read(part)
            except BaseException as error:  # noqa: BLE001 - raised again where the batch is asked for
                self._failed = error

    def _asked(self) -> tuple[deque[_Part | _Asked], list[_Asked]]:
        """What lies on this machine, and what must be asked for."""
        here, asked, source = deque[_Part | _Asked](), [], self._source
        together: dict[tuple[int, int], list[tuple[_Part, list[Chip]]]] = {}
        for part in self._parts:
            assert isinstance(part, _Part)  # noqa: S101 - as planned
            chips, array = self._chips(part), part.shown.array
            if array.path in source.from_pack:
                together.setdefault((part.shard, part.rows[0]), []).append((part, chips))
            elif source.reader.kept(array, part.shard, chips):
                here.append(part)
            else:
                asked.append(_Asked(array, part.shard, chips, [(part, chips)]))
        for (shard, _), parts in together.items():
            assert source.pack is not None  # noqa: S101 - `from_pack` is empty without
            one = _Asked(source.pack, shard, records(chips for _, chips in parts), parts)
            (here if source.reader.kept(one.lies, shard, one.chips) else asked).append(one)
        return here, asked

    async def _fetch(self, asked: list[_Asked], arrivals: Arrivals[tuple[_Asked, Fetched]]) -> None:
        tasks = [asyncio.ensure_future(self._fetch_one(one, arrivals)) for one in asked]
        try:
            await asyncio.gather(*tasks)
        except BaseException as error:
            for task in tasks:  # the batch has failed: what it still asks for is of no use
                task.cancel()
            arrivals.fail(error)
            raise

    async def _fetch_one(self, one: _Asked, arrivals: Arrivals[tuple[_Asked, Fetched]]) -> None:
        began = perf_counter()
        try:
            found = await self._source.reader.fetch(one.lies, one.shard, one.chips) if one.chips else _NOTHING
        except CorruptError as error:
            found = _lost(one, error)
        self.timings.append(Timing(bytes_s=perf_counter() - began))
        arrivals.put((one, found))

    def _decode(self, come: tuple[_Asked, Fetched]) -> None:
        one, fetched = come
        timing, began = Timing(), perf_counter()
        reader, damage = self._source.reader, list(fetched.damage)
        for part, chips, found, wrong in _dealt(one, fetched):
            finish = None if part.shown.plain else self._finisher(part)
            damage += wrong + reader.decode(part.shown.array, one.shard, chips, found, finish, timing)
        if not damage:
            reader.keep(one.lies, one.shard, fetched)
        timing.decoding_s = perf_counter() - began - timing.collating_s
        self.timings.append(timing)
        self._wrong(damage)

    def _wrong(self, damage: list[tuple[Key, str]]) -> None:
        for (i, *_), error in damage:
            self._damage.setdefault(i, CorruptError(f"sample {self._name(i)}: {error}"))

    def stop(self) -> None:
        """Stop: nobody will ask for the batch."""
        self._parts.clear()
        self._arrivals = None
        for asked in (self._opening, self._fetching):
            if asked is not None:
                asked.cancel()

    def result(self, on_error: OnError = "raise") -> tuple[Batch, list[tuple[str, str]]]:
        """The batch, and (sample id, what is wrong) of damaged samples that were left out of it.

        Raises:
            CorruptError: a sample is damaged and `on_error` is 'raise', or none of the batch can be read.
        """
        self._wait()
        if not self._damage:
            return self._batch, []
        first = self._damage[min(self._damage)]
        ids = self._batch["id"]
        if on_error == "raise" or len(self._damage) == len(ids):
            raise first
        keep = [i for i in range(len(ids)) if i not in self._damage]
        batch = {name: _rows(value, keep) for name, value in self._batch.items()}
        return batch, [(ids[i], str(error)) for i, error in sorted(self._damage.items())]

    def _wait(self) -> None:
        """Return when all is read; if something failed, or the caller was interrupted, nothing more is asked for."""
        try:
            if self._source.reader.store.remote and not self._running:
                self._columns()
            for done in self._running:
                done.result()
            if self._arrivals is not None:
                self._arrivals.wait()
        except BaseException:
            self.stop()
            raise
        if self._failed is not None:
            self.stop()
            raise self._failed
        self._arrivals = None  # it refers to this batch, whose memory would wait for the garbage collector

    def _plan(self) -> None:
        source, n = self._source, len(self._positions)
        gone: dict[str, Any] = {}
        if source.view.missing:
            modalities = [g.name for g, _ in source.groups if g.is_input]
            gone = held_back(source.view, modalities, self._positions, self._random)
        if source.view.crop_m is not None:
            self._corners = self._windows()
        slots = {group.name: self._slots(group.name, rule, gone.get(group.name)) for group, rule in source.groups}
        listed = {name: found.tolist() for name, found in slots.items()}
        lacking = {name: bool((found < 0).any()) for name, found in slots.items()}
        remote, groups = source.reader.store.remote, {}
        parts = []
        made = source.buffers.arrays([((n, *shown.shape), shown.dtype) for shown in source.shown])
        for shown, out in zip(source.shown, made, strict=True):
            group = shown.array.group
            self._batch[shown.array.path] = out
            if lacking[group]:
                _fill(shown, slots[group], out)
            most = _AT_A_TIME if remote else min(_AT_A_TIME, max(1, _PART_BYTES // (shown.chip_bytes * shown.slots)))
            if most not in groups:
                groups[most] = _groups(self._where, most)
            each, stored = shown.chip_bytes, listed[group]
            parts += [_Part(shown, shard, rows, stored, out, each * len(rows)) for shard, rows in groups[most]]
        parts.sort(key=attrgetter("size"), reverse=True)
        self._parts.extend(parts)
        for name in source.view.columns:
            self._batch.setdefault(name)
        if not remote:
            self._columns()

    def _columns(self) -> None:
        """Read what the catalogue says of the samples: from a URL while pixels come."""
        source, began = self._source, perf_counter()
        names = ["id", *source.view.columns]
        if ASKED in names and source.asked is not None and source.spec.questions is not None:
            names.remove(ASKED)
            self._batch[ASKED] = source.asked(self._positions)
        self._batch |= source.catalogue.columns(names, self._positions)
        if source.reader.store.remote:
            self.timings.append(Timing(bytes_s=perf_counter() - began))

    def _windows(self) -> NDArray[np.float64]:
        source = self._source
        draws = np.stack([self._random.uniform(f"crop/{axis}", self._positions) for axis in "xy"], axis=1)
        self._batch["crop_m"] = corners(source.spec, tuple(s.array for s in source.shown), source.view, draws)
        return np.asarray(self._batch["crop_m"])

    def _slots(self, group: str, rule: Times, gone: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """(n, k) stored slot of each slot shown; the masks of the group go into the batch."""
        present = self._source.catalogue.presence(group, self._positions)
        if rule == "all" and gone is None:
            self._batch[f"{group}/present"] = present
            return np.where(present, np.arange(present.shape[1]), -1)
        days = None
        if isinstance(rule, str) and rule not in ("all", "first", "last"):
            days = self._source.catalogue.days(group, self._positions)
        width = range(present.shape[1])
        draws = np.zeros((0, 0))
        if isinstance(rule, int):
            draws = np.stack([self._random.uniform(f"time/{group}/{i}", self._positions) for i in width], axis=1)
        slots = chosen_slots(rule, present, days, draws)
        if rule != "all":
            self._batch[f"{group}/slot"] = slots
        there = np.take_along_axis(present, np.maximum(slots, 0), axis=1) & (slots >= 0)
        if gone is not None:
            self._batch[f"{group}/held_back"] = gone & there.any(axis=1)
            there = there & ~gone[:, None]
        self._batch[f"{group}/present"] = there
        return np.where(there, slots, -1)

    def _read(self, part: _Part | _Asked) -> None:
        if isinstance(part, _Asked):
            assert isinstance(part.lies, Pack)  # noqa: S101 - arrays are read part by part
            began = perf_counter()
            try:
                found = self._source.reader.take(part.lies, part.shard, part.chips)
            except CorruptError as error:
                found = _lost(part, error)
            self.timings.append(Timing(bytes_s=perf_counter() - began))
            self._decode((part, found))
            return
        chips = self._chips(part)
        finish = None if part.shown.plain else self._finisher(part)
        timing, began = Timing(), perf_counter()
        damaged = self._source.reader.read_chips(part.shown.array, part.shard, chips, finish, timing)
        timing.decoding_s = perf_counter() - began - timing.bytes_s - timing.collating_s
        self.timings.append(timing)
        self._wrong(damaged)

    def _chips(self, part: _Part) -> list[Chip]:
        shown, _, rows, slots, batch, _ = part
        where, each, rank = self._where, shown.array.chunks_per_date, 2 if shown.dated else 1
        pieces = [(n, p.number, () if p.where is None else (p.where,), p.plain) for n, p in enumerate(shown.pieces)]
        return [
            (where[i][1], slot * each + number, (i, k, n), batch[(i, k)[:rank] + place] if plain else None)
            for i in rows
            for k, slot in enumerate(slots[i])
            if slot >= 0
            for n, number, place, plain in pieces
        ]

    def _name(self, i: int) -> str:
        return self._source.catalogue.ids(self._positions[i : i + 1])[0]

    def _finisher(self, part: _Part) -> Callable[[Key, NDArray[Any]], None]:
        shown, array = part.shown, part.shown.array
        metres = array.resolution_m

        def finish(key: Key, chunk: NDArray[Any]) -> None:
            i, k, n = key
            _, bands, place, _ = shown.pieces[n]
            seen = chunk
            if self._corners is not None:
                x, y = (round((v + array.margin_m) / metres) for v in self._corners[i].tolist())
                seen = chunk[..., y : y + shown.edge[0], x : x + shown.edge[1]]
            whole = part.out[i, k] if array.dated else part.out[i]
            if bands is not None:
                seen = seen[bands]
            if shown.mean is None:
                whole[... if place is None else place] = seen
                return
            seed = [*self._random, int(self._positions[i]), k] if shown.noise else []
            out = whole if place is None else whole[place]  # a copy, where the places are no run
            _normalise(shown, shown.pieces[n], seen, out, seed)
            if isinstance(place, list):
                whole[place] = out

        return finish


def _lost(one: _Asked, error: CorruptError) -> Fetched:
    """None of what was asked for, and why."""
    return Fetched([], [], [(key, str(error)) for _, _, key, _ in one.chips], [])


def _dealt(one: _Asked, come: Fetched) -> Iterator[tuple[_Part, list[Chip], list[memoryview], list[tuple[Key, str]]]]:
    """The chips of each array that have come, their bytes, and what is wrong with others."""
    if not isinstance(one.lies, Pack):
        yield one.parts[0][0], come.chips, come.found, []
        return
    wanted = [(part.shown.array, chips) for part, chips in one.parts]
    for (part, _), given in zip(one.parts, deal(one.lies, one.shard, come, wanted), strict=True):
        yield (part, *given)


def _normalise(shown: Shown, piece: Piece, pixels: NDArray[Any], out: NDArray[Any], seed: list[int]) -> None:
    """Normalise pixels, with noise where it is asked for; nodata becomes 0, which is the mean.

    Args:
        shown: form of the array in the batch.
        piece: the chunk that they are of.
        pixels: ([band,] y, x) as stored.
        out: float32, of the same shape.
        seed: of the sample's noise at this date.
    """
    bands, nodata = ... if piece.where is None else piece.where, shown.array.nodata
    assert shown.mean is not None  # noqa: S101 - else nothing is normalised
    assert shown.std is not None  # noqa: S101
    np.subtract(pixels, shown.mean[bands], out=out, dtype=np.float32, casting="unsafe")
    out /= shown.std[bands]
    if shown.noise:
        where = [*seed, *shown.array.path.encode(), *([] if piece.where is None else [piece.number])]
        out += shown.noise * np.random.default_rng(where).standard_normal(out.shape, np.float32)
    if nodata is not None:
        out[np.isnan(pixels) if np.isnan(nodata) else pixels == nodata] = 0.0


def _fill(shown: Shown, slots: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Fill absent observations with nodata (False in masks; 0, which is the mean, in normalised arrays)."""
    lacking = slots < 0
    value = 0.0 if shown.mean is not None else fill_value(shown.array)
    out[lacking if shown.array.dated else lacking[:, 0]] = value


def _groups(where: list[list[int]], most: int) -> list[tuple[int, list[int]]]:
    """(shard, rows of the batch in it, with a maximum number)."""
    by_shard: dict[int, list[int]] = {}
    for i, (shard, _) in enumerate(where):
        by_shard.setdefault(shard, []).append(i)
    found = sorted(by_shard.items())
    return [(s, rows[i : i + most]) for s, rows in found for i in range(0, len(rows), most)]


def _rows(value: Any, keep: list[int]) -> Any:
    return value[keep] if isinstance(value, np.ndarray) else [value[i] for i in keep]
