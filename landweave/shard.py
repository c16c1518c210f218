"""Reads pixels of a shard: the index once, then one range, one checksum and one decode per inner chunk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from landweave import codec
from landweave.errors import CorruptError
from landweave.packs import Pack
from landweave.store import far
from landweave.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from landweave.bands import Piece
    from landweave.kept import Kept
    from landweave.layout import ArraySpec
    from landweave.store import Store

_INDEX_BYTES = 1 << 28
"""Memory of the shard indexes that are kept: 64 kB each for 4,096 samples of one chunk."""
_TINY_BYTES, _TINY_CHUNKS = 512, 64
"""Compressed size and number of decoded chunks that are remembered: those of a single value."""
Key = tuple[int, ...]
Chip = tuple[int, int, Key, "NDArray[Any] | None"]
"""A chunk: its row in the shard, its place among those of the row, a key of the caller's, where to decode it."""
REMEDY = "run `landweave check` and restore the object, or build the shard again"
_REPLACED = "; if it was replaced since the dataset was opened, open the dataset again"


class _Opened(NamedTuple):
    """One array in one shard."""

    path: str
    chunks: int
    """Inner chunks of a row."""
    entries: NDArray[np.uint64]
    """(rows, chunks, 2)."""
    numbers: memoryview
    """The same in one row: its numbers come quicker than numpy's."""


@dataclass
class _Asked:
    """An index that has been asked for."""

    answer: asyncio.Future[_Opened]
    waiting: int = 0
    """Those who want it: without any, it is given up."""


class Fetched(NamedTuple):
    """Bytes of chips that have come from a store."""

    chips: list[Chip]
    found: list[memoryview]
    """Of each chip."""
    damage: list[tuple[Key, str]]
    """(key, what is wrong) of chips that are not there."""
    spans: list[tuple[int, int]]
    """Where each lies in the object: (start, length)."""


class ShardReader:
    """Reads inner chunks of any array and shard of a dataset; picklable; safe in threads.

    It has no lock, which a child of a fork could inherit while it is held.
    """

    def __init__(self, store: Store, shard_samples: int) -> None:
        self.store = store
        self._far = far(store)
        self.shard_samples = shard_samples
        self._opened: dict[tuple[str, str, int], _Opened] = {}
        self._tiny: dict[tuple[bytes, tuple[int, ...], str], NDArray[Any]] = {}
        self._asked: dict[tuple[str, str, int], _Asked] = {}
        self._held = 0

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Store, int]]:
        return (ShardReader, (self.store, self.shard_samples))

    def index(self, array: ArraySpec | Pack, shard: int) -> NDArray[np.uint64]:
        """(rows, array.chunks_per_row, 2): offset and length of each inner chunk, codec.ABSENT where there is none.

        Raises:
            CorruptError: the object is missing, truncated or its index is damaged.
        """
        return self._open(array, shard).entries

    def _open(self, array: ArraySpec | Pack, shard: int) -> _Opened:
        known = self._opened.get((array.group, array.name, shard))
        if known is not None:
            return known
        path, length = array.object(shard), codec.index_bytes(self.shard_samples * array.chunks_per_row)
        try:
            tail = self.store.get_tail(path, length)
        except FileNotFoundError as error:
            raise _missing(array, shard) from error
        return self._keep(array, shard, tail)

    def _keep(self, array: ArraySpec | Pack, shard: int, tail: bytes) -> _Opened:
        path, each = array.object(shard), array.chunks_per_row
        chunks = self.shard_samples * each
        try:
            entries = codec.decode_index(tail, chunks, codec.most_bytes(array.chunk_bytes)).reshape(-1, each, 2)
        except codec.DamageError as error:
            self.store.forget(path)
            raise CorruptError(f"shard {shard}: {array.path}: {error} ({path}); {REMEDY}") from error
        numbers = memoryview(entries.reshape(-1))  # type: ignore[arg-type]
        opened = _Opened(path, each, entries, numbers)
        found = self._opened.setdefault((array.group, array.name, shard), opened)
        if found is opened:
            self._held += entries.nbytes
        while self._held > _INDEX_BYTES and len(self._opened) > 1:
            with suppress(KeyError, RuntimeError, StopIteration):  # another thread was quicker
                self._held -= self._opened.pop(next(iter(self._opened))).entries.nbytes
        return found

    def read(
        self, array: ArraySpec, where: tuple[int, int], present: Sequence[bool], out: NDArray[Any], sample_id: str
    ) -> NDArray[Any]:
        """All dates of one sample's array, into `out`.

        Args:
            array: which array.
            where: (shard, row).
            present: for each date slot whether it is there, as the catalogue says.
            out: array.sample_shape, array.dtype, C-contiguous; absent slots get the nodata value (masks: False).
            sample_id: named in errors.

        Raises:
            CorruptError: a chunk that the catalogue promises is absent, truncated, changed or undecodable.
        """
        for _, damage in self.read_chips(array, where[0], chips_of(array, where[1], present, out)):
            raise CorruptError(f"sample {sample_id}: {damage}")
        return out

    def read_pieces(
        self, array: ArraySpec, where: tuple[int, int], present: Sequence[bool], pieces: Sequence[Piece], out: Any
    ) -> list[tuple[Key, str]]:
        """As `read`, of some bands: `out` has these in place of array.chip_shape's; returns what `read_chips` does."""
        each, slots = array.chunks_per_date, out if array.dated else (out,)

        def finish(key: Key, chunk: NDArray[Any]) -> None:
            piece = pieces[key[1]]
            slots[key[0]][... if piece.where is None else piece.where] = chunk[piece.bands]

        chips: list[Chip] = []
        for slot, there in enumerate(present):
            if not there:
                slots[slot][...] = fill_value(array)
                continue
            places = (slots[slot][p.where] if p.plain else None for p in pieces)
            chips += [(where[1], slot * each + pieces[n].number, (slot, n), p) for n, p in enumerate(places)]
        return self.read_chips(array, where[0], chips, finish)

    def read_chips(
        self,
        array: ArraySpec,
        shard: int,
        chips: list[Chip],
        finish: Callable[[Key, NDArray[Any]], None] | None = None,
        timing: Timing | None = None,
    ) -> list[tuple[Key, str]]:
        """Chunks of one array in one shard, read together: ranges are merged; each is verified and decoded.

        Args:
            array: which array.
            shard: which shard.
            chips: (row, place in the row, key, out): out has array.chunk_shape (the last chunk of a date may have fewer
                bands) and array.dtype, C-contiguous; None: the chunk is decoded into memory that is used again, and
                `finish` must copy what it wants of it.
            finish: called with (key, chip) where out is None.
            timing: gets the seconds of waiting for bytes and of `finish`.

        Returns:
            (key, what is wrong) of each chunk that is absent, truncated, changed or undecodable.

        Raises:
            AccessError: the object cannot be reached.
        """
        if not chips:
            return []
        try:
            opened = self._open(array, shard)
        except CorruptError as error:
            return [(key, str(error)) for _, _, key, _ in chips]
        chips, spans, damage = _spans(array, shard, opened, chips)
        timing = Timing() if timing is None else timing
        if self._far is not None and self._far.kept is not None:
            chips, spans = self._read_kept(self._far.kept, array, shard, (chips, spans), finish, timing)
        if not chips:
            return damage
        try:
            found = self._found(opened.path, spans, timing)
            wrong = self.decode(array, shard, chips, found, finish, timing)
            if self._far is not None and isinstance(found, list) and not wrong:
                self.keep(array, shard, Fetched(chips, found, [], spans))
            return damage + wrong
        except FileNotFoundError:
            return damage + [(chip[2], f"{array.path} is missing in shard {shard}; {REMEDY}") for chip in chips]

    def _read_kept(
        self,
        kept: Kept,
        array: ArraySpec,
        shard: int,
        wanted: tuple[list[Chip], list[tuple[int, int]]],
        finish: Callable[[Key, NDArray[Any]], None] | None,
        timing: Timing,
    ) -> tuple[list[Chip], list[tuple[int, int]]]:
        """Read chips that lie on this machine; returns those that do not, or are wrong there, and their places.

        A chunk has a checksum of its own: that of the piece would be a second one.
        """
        chips, spans = wanted
        path = array.object(shard)
        found = kept.pieces(path, spans)
        if found is None:
            return wanted
        pieces = found if isinstance(found, (list, tuple)) else _timed(iter(found), timing)
        damage = self.decode(array, shard, chips, pieces, finish, timing)
        if not damage:
            return [], []
        wrong = {key for key, _ in damage}
        left = [n for n, chip in enumerate(chips) if chip[2] in wrong]
        chips, spans = [chips[n] for n in left], [spans[n] for n in left]
        kept.drop(path, spans)
        return chips, spans

    def kept(self, array: ArraySpec | Pack, shard: int, chips: list[Chip]) -> bool:
        """Whether the bytes of these chips lie on this machine (`cache_dir`), and their index is known."""
        opened = self._opened.get((array.group, array.name, shard))
        if opened is None or self._far is None or self._far.kept is None:
            return False
        return self._far.has(opened.path, _spans(array, shard, opened, chips)[1])

    def keep(self, array: ArraySpec | Pack, shard: int, come: Fetched) -> None:
        """Keep bytes that have been decoded on this machine, where the dataset was opened with `cache_dir`.

        Of a record, some chunks may not have been decoded: it is kept if they are whole too.
        """
        if self._far is not None and self._far.kept is not None:
            path = array.object(shard)
            for span, data in zip(come.spans, come.found, strict=True):
                if not isinstance(array, Pack) or self._far.has(path, [span]) or array.is_whole(data):
                    self._far.kept.put(path, span[0], data)

    def take(self, pack: Pack, shard: int, chips: list[Chip]) -> Fetched:
        """Records of a pack, at once; errors as those of `fetch`."""
        opened = self._open(pack, shard)
        chips, spans, damage = _spans(pack, shard, opened, chips)
        try:
            found = [memoryview(bytes(data)) for data in self.store.get_ranges(opened.path, spans)]
        except FileNotFoundError as error:
            raise _missing(pack, shard) from error
        return Fetched(chips, found, damage, spans)

    async def fetch(self, array: ArraySpec | Pack, shard: int, chips: list[Chip]) -> Fetched:
        """Bytes of chips of one array in one shard, in the loop of a store that has one (`RemoteStore`).

        Raises:
            CorruptError: the object is missing or its index is damaged. AccessError: it cannot be reached.
        """
        assert self._far is not None  # noqa: S101 - as the first sentence says
        try:
            opened = self._opened.get((array.group, array.name, shard)) or await self._opening(array, shard)
            chips, spans, damage = _spans(array, shard, opened, chips)
            return Fetched(chips, await self._far.ranges(opened.path, spans), damage, spans)
        except FileNotFoundError as error:
            raise _missing(array, shard) from error

    async def open_all(self, wanted: list[tuple[ArraySpec | Pack, int]]) -> None:
        """Ask for the indexes of arrays in shards that will be needed; `fetch` says what is wrong with one."""
        lacking = [(a, shard) for a, shard in wanted if (a.group, a.name, shard) not in self._opened]
        await asyncio.gather(*(self._opening(*one) for one in lacking), return_exceptions=True)

    async def _opening(self, array: ArraySpec | Pack, shard: int) -> _Opened:
        """The index of an array in a shard: those who want it at the same time ask for it once."""
        key = (array.group, array.name, shard)
        asked = self._asked.get(key)
        if asked is None or asked.answer.get_loop() is not asyncio.get_running_loop():  # of the parent of a fork
            self._asked[key] = asked = _Asked(asyncio.ensure_future(self._ask(array, shard)))
        asked.waiting += 1
        try:
            return await asyncio.shield(asked.answer)
        finally:
            asked.waiting -= 1
            if not asked.waiting:
                del self._asked[key]
                asked.answer.cancel()

    async def _ask(self, array: ArraySpec | Pack, shard: int) -> _Opened:
        assert self._far is not None  # noqa: S101 - as in `fetch`
        length = codec.index_bytes(self.shard_samples * array.chunks_per_row)
        return self._keep(array, shard, await self._far.tail(array.object(shard), length))

    def decode(
        self,
        array: ArraySpec,
        shard: int,
        chips: list[Chip],
        found: Iterable[bytes | memoryview],
        finish: Callable[[Key, NDArray[Any]], None] | None,
        timing: Timing,
    ) -> list[tuple[Key, str]]:
        """Verify and decode the bytes of chunks; see `read_chips`."""
        damage: list[tuple[Key, str]] = []
        whole, split = array.chunk_shape, array.bands_per_chunk
        scratch = np.empty(whole, array.dtype) if finish is not None or split else None
        for (_, _, key, place), data in zip(chips, found, strict=True):
            out = scratch if place is None or (split and place.shape != whole) else place
            assert out is not None  # noqa: S101 - by the contract of `chips`
            try:
                self._decode(data, out)
            except codec.DamageError as error:
                replaced = _REPLACED if self.store.remote else ""
                damage.append((key, f"{array.path} in shard {shard}: {error}; {REMEDY}{replaced}"))
                continue
            if out is place:
                continue
            decoded = perf_counter()
            if place is not None:
                place[...] = out[: len(place)]
            elif finish is not None:
                finish(key, out)
            timing.collating_s += perf_counter() - decoded
        return damage

    def _found(self, path: str, spans: list[tuple[int, int]], timing: Timing) -> Iterable[bytes | memoryview]:
        """Bytes of ranges; the seconds of waiting for them are counted."""
        began = perf_counter()
        found = self.store.get_ranges(path, spans)
        timing.bytes_s += perf_counter() - began
        return found if isinstance(found, (list, tuple)) else _timed(iter(found), timing)

    def _decode(self, data: bytes | memoryview | NDArray[np.uint8], out: NDArray[Any]) -> None:
        """Decode a chunk. Chunks of a single value (a mask that is True everywhere) are decoded once and kept."""
        if len(data) > _TINY_BYTES:
            codec.decode_chunk(data, out)
            return
        key = (bytes(data), out.shape, out.dtype.char)
        known = self._tiny.get(key)
        if known is None:
            codec.decode_chunk(data, out)
            if len(self._tiny) < _TINY_CHUNKS:
                self._tiny[key] = out.copy()
        else:
            np.copyto(out, known)


def _timed(found: Iterator[bytes | memoryview], timing: Timing) -> Iterator[bytes | memoryview]:
    """The same ranges, read one at a time."""
    while True:
        began = perf_counter()
        data = next(found, None)
        timing.bytes_s += perf_counter() - began
        if data is None:
            return
        yield data


def _spans(
    array: ArraySpec | Pack, shard: int, opened: _Opened, chips: list[Chip]
) -> tuple[list[Chip], list[tuple[int, int]], list[tuple[Key, str]]]:
    """The chunks that are there, where their bytes are, and what is wrong with the others."""
    _, chunks, _, numbers = opened
    places = [2 * (row * chunks + chunk) for row, chunk, _, _ in chips]
    spans = [(numbers[at], numbers[at + 1]) for at in places]
    if codec.ABSENT not in [start for start, _ in spans]:
        return chips, spans, []
    lacking = f"{array.path} is in the catalogue but not in shard {shard}"
    if isinstance(array, Pack):
        lacking = f"{array.object(shard)}: lacks the record of a sample whose pixels are in the catalogue"
    damage = [(c[2], f"{lacking}; {REMEDY}") for c, span in zip(chips, spans, strict=True) if span[0] == codec.ABSENT]
    chips = [c for c, span in zip(chips, spans, strict=True) if span[0] != codec.ABSENT]
    return chips, [span for span in spans if span[0] != codec.ABSENT], damage


def chips_of(array: ArraySpec, row: int, present: Sequence[bool], out: NDArray[Any]) -> list[Chip]:
    """The chunks of one sample to decode into `out`; absent dates get the nodata value; see `ShardReader.read`."""
    chips: list[Chip] = []
    slots, each, bands = out if array.dated else (out,), array.chunks_per_date, array.bands_per_chunk
    for slot, there in enumerate(present):
        if not there:
            slots[slot][...] = fill_value(array)
        elif bands:
            parts = (slots[slot][number * bands : (number + 1) * bands] for number in range(each))
            chips += [(row, slot * each + number, (0, slot), place) for number, place in enumerate(parts)]
        else:
            chips.append((row, slot, (0, slot), slots[slot]))
    return chips


def _missing(array: ArraySpec | Pack, shard: int) -> CorruptError:
    return CorruptError(f"shard {shard}: {array.path} is missing ({array.object(shard)}); {REMEDY}")


def fill_value(array: ArraySpec) -> float | int | bool:
    """Value of absent slots: the layer's nodata; False for masks."""
    if array.dtype == "bool":
        return False
    return 0 if array.nodata is None else array.nodata
