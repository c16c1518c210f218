"""Pixels of a shard: its index is read once, then each inner chunk is one range, one checksum, one decode."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave import codec
from landweave.errors import CorruptError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.layout import ArraySpec
    from landweave.store import Store

_INDEXES = 8_192
"""Shard indexes kept: 4 kB each for 256 samples at one date, so some 32 MB."""
_REMEDY = "run `landweave check` and restore the object, or build the shard again"


class ShardReader:
    """Reads inner chunks of any array and shard of a dataset; safe in threads, picklable."""

    def __init__(self, store: Store, shard_samples: int) -> None:
        self.store = store
        self.shard_samples = shard_samples
        self._indexes: OrderedDict[str, NDArray[np.uint64]] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Store, int]]:
        return (ShardReader, (self.store, self.shard_samples))

    def index(self, array: ArraySpec, shard: int) -> NDArray[np.uint64]:
        """(rows, slots, 2): offset and length of each inner chunk, codec.ABSENT where there is none.

        Raises:
            CorruptError: the object is missing, truncated or its index is damaged.
        """
        path = array.object(shard)
        with self._lock:
            known = self._indexes.get(path)
            if known is not None:
                self._indexes.move_to_end(path)
                return known
        chunks = self.shard_samples * array.slots
        try:
            tail = self.store.get_tail(path, codec.index_bytes(chunks))
            entries = codec.decode_index(tail, chunks).reshape(self.shard_samples, array.slots, 2)
        except FileNotFoundError as error:
            raise CorruptError(f"shard {shard}: {array.path} is missing ({path}); {_REMEDY}") from error
        except codec.DamageError as error:
            raise CorruptError(f"shard {shard}: {array.path}: {error} ({path}); {_REMEDY}") from error
        with self._lock:
            self._indexes[path] = entries
            if len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
        return entries

    def read(
        self, array: ArraySpec, where: tuple[int, int], present: str, out: NDArray[Any], sample_id: str
    ) -> NDArray[Any]:
        """All dates of one sample's array, into `out`.

        Args:
            array: which array.
            where: (shard, row).
            present: a '1' or '0' per date slot, as the catalogue says.
            out: array.sample_shape, array.dtype, C-contiguous; absent slots get the nodata value (masks: False).
            sample_id: named in errors.

        Raises:
            CorruptError: a chunk that the catalogue promises is absent, truncated, changed or undecodable.
        """
        slots = out if array.dated else out[np.newaxis]
        if "0" in present:
            slots[[slot for slot, there in enumerate(present) if there == "0"]] = fill_value(array)
        wanted = [slot for slot, there in enumerate(present) if there == "1"]
        if not wanted:
            return out
        shard, row = where
        entries = self.index(array, shard)[row]
        if (entries[wanted] == codec.ABSENT).any():
            raise CorruptError(
                f"sample {sample_id}: {array.path} is in the catalogue and not in shard {shard}; {_REMEDY}"
            )
        start = int(entries[wanted, 0].min())
        stop = int((entries[wanted, 0] + entries[wanted, 1]).max())
        try:
            data = memoryview(self.store.get_range(array.object(shard), start, stop - start))
            for slot in wanted:
                first = int(entries[slot, 0]) - start
                codec.decode_chunk(data[first : first + int(entries[slot, 1])], slots[slot])
        except FileNotFoundError as error:
            raise CorruptError(f"sample {sample_id}: {array.path} is missing in shard {shard}; {_REMEDY}") from error
        except codec.DamageError as error:
            raise CorruptError(f"sample {sample_id}: {array.path} in shard {shard}: {error}; {_REMEDY}") from error
        return out


def fill_value(array: ArraySpec) -> float | int | bool:
    """What absent slots hold: the layer's nodata; False for masks."""
    if array.dtype == "bool":
        return False
    return 0 if array.nodata is None else array.nodata
