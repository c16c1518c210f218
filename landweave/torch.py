"""Streams and samples as torch datasets: the only file that knows torch.

Batches come whole, so give the DataLoader of a stream `batch_size=None`. Decoding runs in threads ahead of training, so
`num_workers=0` keeps all cores busy; workers decode into memory that the main process sees (`landweave.handover`):

>>> stream = data.stream(data.query(split="train"), batch_size=32, shuffle=True, arrays=["sentinel2", "worldcover"])
>>> loader = torch.utils.data.DataLoader(TorchStream(stream), batch_size=None)

To go on in the middle of an epoch, keep `batch['position']` and the epoch, and call
`dataset.load_state_dict({'epoch': epoch, 'position': position})` before the loader is iterated; or use torchdata's
StatefulDataLoader, which asks for `state_dict` itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from landweave import handover
from landweave.handover import SharedBuffers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import landweave
    from landweave.stream import Stream

_WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
"""Unsigned types that few torch operations know become the next wider signed type."""


class TorchStream(IterableDataset[dict[str, Any]]):
    """Batches of a stream as tensors over the same memory; one epoch an iteration.

    Ids and texts stay lists; masks are torch.bool; uint16 becomes int32 while it is decoded (torch has few operations
    on uint16), or stays with `unsigned=True`, which halves its memory.
    """

    def __init__(
        self, stream: Stream, *, rank: int | None = None, ranks: int | None = None, unsigned: bool = False
    ) -> None:
        """Wrap a stream.

        Args:
            stream: from `Dataset.stream`.
            rank: this process's rank; from torch.distributed where it is initialised, else 0.
            ranks: number of processes; the same.
            unsigned: keep uint16 as torch.uint16.
        """
        super().__init__()
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if rank is None:
            rank = torch.distributed.get_rank() if distributed else 0
        if ranks is None:
            ranks = torch.distributed.get_world_size() if distributed else 1
        self._stream = stream.share(rank=rank, ranks=ranks)
        if not unsigned:
            stream.source = replace(stream.source, shown=tuple(s.cast_by(_WIDER) for s in stream.source.shown))
        self._rank, self._ranks = rank, ranks
        self._shared: SharedBuffers | None = None

    def __len__(self) -> int:
        """Batches of an epoch for this rank."""
        return len(self._stream)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration runs, from its start."""
        self._stream.load_state_dict({"epoch": epoch, "next": 0})

    def state_dict(self) -> dict[str, int]:
        """Where it stands (with workers, ask torchdata's StatefulDataLoader or keep `batch['position']`)."""
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """See `Stream.load_state_dict`."""
        self._stream.load_state_dict(state)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        stream = self._stream
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        stream.share(rank=self._rank, ranks=self._ranks, worker=worker, workers=workers)
        if self._shared is None:
            self._shared = _memory_of_worker()
            stream.source = replace(stream.source, buffers=self._shared or stream.source.buffers)
        for batch in stream:
            yield _handed_over(self._shared, batch) or {name: _tensor(value) for name, value in batch.items()}


class TorchSamples(Dataset[dict[str, Any]]):
    """Samples by number: a map-style dataset, for samplers of one's own.

    A DataLoader asks for whole batches at once. `collate_fn=TorchSamples.collate` hands them on without a copy:

    >>> samples = TorchSamples(data, data.query(split="val"), arrays=["sentinel2"])
    >>> loader = torch.utils.data.DataLoader(samples, batch_size=32, collate_fn=TorchSamples.collate)
    """

    def __init__(
        self,
        dataset: landweave.Dataset,
        selection: landweave.Selection | None = None,
        *,
        arrays: Iterable[str] | None = None,
        seed: int = 0,
        **view: Any,
    ) -> None:
        """See `Dataset.samples` for `arrays` and `view`; `seed` and `epoch` decide what is drawn."""
        self._positions = (dataset.query() if selection is None else selection).positions
        self._dataset, self._arrays, self._view = dataset, None if arrays is None else list(arrays), view
        self._read_with()
        self._seed, self.epoch = seed, 0

    def _read_with(self, shared: SharedBuffers | None = None) -> None:
        self._shared = shared
        self._reading = self._dataset.reading(self._arrays, cast=_WIDER, buffers=shared, **self._view)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_reading", "_shared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._read_with()

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One sample: tensors without a batch axis."""
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> Samples:
        """Several samples, read at once."""
        if self._shared is None and (shared := _memory_of_worker()) is not None:
            self._read_with(shared)
        batch = self._reading(self._positions[np.asarray(numbers)], (self._seed, self.epoch))
        return Samples(batch, len(numbers), self._shared)

    @staticmethod
    def collate(samples: Samples) -> dict[str, Any]:
        """The batch that was read, as it is."""
        whole: dict[str, Any] = _handed_over(samples.shared, samples.batch) or samples.whole
        return whole


class Samples(list[dict[str, Any]]):
    """Samples of one batch, as views of it."""

    def __init__(self, batch: dict[str, Any], count: int, shared: SharedBuffers | None = None) -> None:
        self.batch, self.shared = batch, shared
        """As it was read, and a worker's memory that it lies in."""
        self.whole = {name: _tensor(value) for name, value in batch.items()}
        """Tensors over it: every array with its batch axis."""
        super().__init__({name: value[i] for name, value in self.whole.items()} for i in range(count))


def _memory_of_worker() -> SharedBuffers | None:
    """Memory for batches of a DataLoader's worker that its main process sees; None elsewhere."""
    return SharedBuffers() if get_worker_info() is not None and handover.possible() else None


def _handed_over(shared: SharedBuffers | None, batch: dict[str, Any]) -> Any:
    """What a worker sends in place of a batch; it arrives as a dict of tensors. None: the batch is to be copied."""
    return None if shared is None else shared.hand_over(batch, _tensor)


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype == np.object_:
        return value
    return torch.from_numpy(value if value.flags.writeable else value.copy())
