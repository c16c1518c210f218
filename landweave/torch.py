"""Streams and samples as torch datasets: the only file that knows torch.

The stream makes the batches, so pass `batch_size=None` to its DataLoader. Decoding runs in threads ahead of training,
so `num_workers=0` keeps all cores busy; workers decode into memory that the main process maps (`landweave.handover`):

>>> stream = data.stream(data.query(split="train"), batch_size=32, shuffle=True, arrays=["sentinel2", "worldcover"])
>>> loader = torch.utils.data.DataLoader(TorchStream(stream), batch_size=None)

Every pass over the loader is the next epoch, with any number of workers (`landweave.epochs`). To resume in the middle
of an epoch, keep `batch['position']` and the epoch, and call `dataset.load_state_dict({'epoch': epoch, 'position':
position})` before the loader is iterated; or use torchdata's StatefulDataLoader, which asks for `state_dict` itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

from landweave import handover
from landweave.epochs import SharedEpochs, Turn, Worker
from landweave.errors import QueryError, whole_number
from landweave.handover import SharedBuffers
from landweave.order import EpochRandom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import landweave
    from landweave.batch import Batch, Source
    from landweave.stream import Stream
    from landweave.view import ViewSettings

_WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
"""Converts unsigned types that few torch operations support to the next wider signed type."""


class TorchBatch(dict[str, Any]):
    """A batch as a dict of tensors, ids and texts. A worker sends its memory, not a copy."""

    _sent: tuple[SharedBuffers, dict[str, Any], dict[str, Any]] | None = None

    @classmethod
    def of(cls, batch: dict[str, Any], shared: SharedBuffers | None) -> TorchBatch:
        """Tensors over the arrays of a batch; `shared` is the worker memory that contains them.

        Tensors come first, because accelerate reads the batch size from the first entry.
        """
        made = cls()
        others: dict[str, Any] = {}
        for name, value in batch.items():
            tensor = _tensor(value)
            (others if tensor is value else made)[name] = tensor
        made.update(others)
        if shared is not None:
            made._sent = (shared, batch, dict(made))
        return made

    def __copy__(self) -> TorchBatch:
        copied = TorchBatch(self)
        copied._sent = self._sent
        return copied

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self._sent is not None:
            shared, batch, made = self._sent
            if self.keys() == made.keys() and all(_same(self[name], value) for name, value in made.items()):
                handed = shared.hand_over({name: batch[name] for name in made}, _tensor)
                if handed is not None:
                    return (TorchBatch, (handed,))
        return (TorchBatch, (dict(self),))


def _same(value: Any, made: Any) -> bool:
    return value is made or not (isinstance(value, torch.Tensor) or isinstance(made, torch.Tensor) or value != made)


def whole(batches: list[Any], *, collate_fn_map: Any = None) -> Any:  # noqa: ARG001 - torch's signature
    """Collate function for complete batches: returns a single batch unchanged; several are an error (QueryError).

    torch's default collation also works; use this where another is the default: `Trainer(..., data_collator=whole)`.
    """
    if len(batches) == 1:
        return batches[0]
    raise QueryError(
        f"the DataLoader tried to make one batch of {len(batches)} batches: a TorchStream already returns batches, "
        "of the stream's batch_size; use DataLoader(..., batch_size=None)"
    )


torch.utils.data._utils.collate.default_collate_fn_map[TorchBatch] = whole


class TorchStream(IterableDataset[dict[str, Any]]):
    """Batches of a stream as tensors over the same memory; an iterator runs one epoch.

    Ids and texts stay lists; masks are torch.bool; uint16 becomes int32 during decoding (torch has few operations
    on uint16). `unsigned=True` keeps uint16, which halves its memory.

    Passes over a DataLoader are epochs 0, 1, 2, ... with any number of workers, started in any way, persistent or not.
    """

    def __init__(
        self, stream: Stream, *, rank: int | None = None, ranks: int | None = None, unsigned: bool = False
    ) -> None:
        """Wrap a stream.

        Args:
            stream: from `Dataset.stream`.
            rank: this process's rank; None: read from torch.distributed when an iterator starts, 0 without it.
            ranks: number of processes; None as for rank.
            unsigned: keep uint16 as torch.uint16.
        """
        super().__init__()
        self._stream = stream
        self._source = stream.source
        if not unsigned:
            self._source = replace(stream.source, shown=tuple(s.cast_by(_WIDER) for s in stream.source.shown))
        self._rank, self._ranks = rank, ranks
        if not isinstance(stream.epochs, SharedEpochs):
            stream.epochs = SharedEpochs(stream.epochs.coming)
        self._passes = 0
        self._loaded: Turn | None = None
        self._shared: SharedBuffers | None = None
        self._shared_out()

    def __getstate__(self) -> dict[str, Any]:
        rank, ranks = self._ranks_here()  # a spawned worker has no access to torch.distributed
        return {**self.__dict__, "_rank": rank, "_ranks": ranks, "_shared": None}

    def __len__(self) -> int:
        """Batches of an epoch for this rank."""
        return len(self._shared_out())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iterator, in all workers; see `Stream.set_epoch`.

        In a worker, it applies only to the next iterator of that worker.
        """
        if get_worker_info() is None:
            self._stream.set_epoch(epoch)
        else:
            self._loaded = Turn(whole_number("epoch", epoch))

    @property
    def epoch(self) -> int:
        """The epoch of the next iterator; the epoch of a running pass is one less."""
        return self._stream.epoch

    def state_dict(self) -> dict[str, Any]:
        """See `Stream.state_dict`. With workers, use torchdata's StatefulDataLoader, or keep `batch['position']`."""
        return self._shared_out().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Stream.load_state_dict`. In a worker, it applies only to the next iterator of that worker."""
        stream = self._shared_out()
        if get_worker_info() is None:
            stream.load_state_dict(state)
        else:
            self._loaded = stream.turn_of(state)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        stream, info = self._shared_out(), get_worker_info()
        if info is None:
            return (TorchBatch.of(batch, None) for batch in stream.run(source=self._source))
        if self._shared is None:
            self._shared = _memory_of_worker()
        source = self._source if self._shared is None else replace(self._source, buffers=self._shared)
        return (TorchBatch.of(batch, self._shared) for batch in self._begin(stream, info, source))

    def _begin(self, stream: Stream, info: Any, source: Source) -> Iterator[Batch]:
        """An iterator of a worker: of the same epoch as the other workers, or from its own state."""
        epochs, total, loaded = stream.epochs, len(stream), self._loaded
        assert isinstance(epochs, SharedEpochs)  # noqa: S101 - since this was made
        worker = Worker.here(info.seed, info.id, info.num_workers, self._passes)
        self._passes, self._loaded = self._passes + 1, None
        if loaded is None:
            return stream.run(epochs.take(worker, total), source)
        last = loaded.last_worker(total, info.num_workers)
        over = loaded.next >= total and info.id == last
        # all batches came and nobody asked for more: what comes next is an epoch, its first batch from the next worker
        follows = Turn(loaded.epoch + 1, -(last + 1) % info.num_workers)
        epochs.go_on(worker, follows if over else loaded, moved_on=over)

        def settle(turn: Turn) -> Turn:
            noted = epochs.noted(worker)
            return turn if noted is None or noted.epoch <= turn.epoch else noted

        def counted(batches: Iterator[Batch]) -> Iterator[Batch]:
            epochs.asked(worker)
            for batch in batches:
                yield batch
                epochs.asked(worker)

        return counted(stream.run(loaded, source, settle))

    def _ranks_here(self) -> tuple[int, int]:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank, ranks = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
        if self._ranks is None and ranks > 1 and _shared_out_by_accelerate(self):
            raise QueryError(
                "both accelerate and the stream split the batches of this DataLoader between processes: leave "
                "the loader out of prepare(), or give accelerate the whole stream: TorchStream(stream, rank=0, ranks=1)"
            )
        return rank if self._rank is None else self._rank, ranks if self._ranks is None else self._ranks

    def _shared_out(self) -> Stream:
        """The stream as this process's share."""
        rank, ranks = self._ranks_here()
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        return self._stream.share(rank=rank, ranks=ranks, worker=worker, workers=workers)


def _shared_out_by_accelerate(stream: TorchStream) -> bool:
    """Whether the current loader was prepared by accelerate and contains this stream."""
    state = sys.modules.get("accelerate.state")
    if state is None or not state.GradientState._shared_state:
        return False
    held = getattr(state.GradientState().active_dataloader, "dataset", None)
    while held is not None and held is not stream:
        held = getattr(held, "dataset", None)
    return held is stream


class TorchSamples(Dataset[dict[str, Any]]):
    """Samples by number: a map-style dataset, for your own samplers.

    A DataLoader requests complete batches. `collate_fn=TorchSamples.collate` passes them on without a copy, and joins
    samples that wrappers (ConcatDataset, Subset, your own) request one by one:

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
        **view: Unpack[ViewSettings],
    ) -> None:
        """See `Dataset.samples` for `arrays` and `view`; `seed` and `set_epoch` decide the random choices.

        Raises:
            QueryError: the selection is empty, or not one of this dataset.
        """
        self._positions = dataset.selected(selection).positions
        self._dataset, self._arrays, self._view = dataset, None if arrays is None else list(arrays), view
        self._read_with()
        self._seed, self._epochs = seed, SharedEpochs()

    def _read_with(self, shared: SharedBuffers | None = None) -> None:
        self._shared = shared
        self._reading = self._dataset._reading(self._arrays, self._view, cast=_WIDER, buffers=shared)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_reading", "_shared")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._read_with()

    @property
    def epoch(self) -> int:
        """The epoch of the random choices; 0 until `set_epoch`."""
        return self._epochs.coming.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the random choices, in workers too."""
        self._epochs.set(Turn(whole_number("epoch", epoch)))

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """One sample: tensors without a batch axis."""
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> Samples:
        """Several samples, read at once."""
        for number in numbers:
            if not -len(self) <= number < len(self):
                raise IndexError(f"sample {number} of {len(self)}")
        if self._shared is None and (shared := _memory_of_worker()) is not None:
            self._read_with(shared)
        batch = self._reading(self._positions[np.asarray(numbers)], EpochRandom(self._seed, self.epoch))
        return Samples(batch, len(numbers), self._shared)

    @staticmethod
    def collate(samples: list[Any]) -> Any:
        """Returns a batch unchanged; joins samples that were read one by one.

        Raises:
            QueryError: the samples do not have the same arrays in the same shapes.
        """
        if isinstance(samples, Samples):
            return samples.whole
        if all(isinstance(sample, Mapping) for sample in samples):
            return _together(samples)
        return default_collate(samples)


class Samples(list[dict[str, Any]]):
    """Samples of one batch, as views of it."""

    def __init__(self, batch: dict[str, Any], count: int, shared: SharedBuffers | None = None) -> None:
        """Split a batch of this many samples; `shared` is the worker memory that contains it."""
        self.whole = TorchBatch.of(batch, shared)
        """Tensors over it: every array with its batch axis."""
        super().__init__({name: value[i] for name, value in self.whole.items()} for i in range(count))


def _together(samples: list[Any]) -> dict[str, Any]:
    names = list(samples[0])
    for sample in samples:
        if sample.keys() != samples[0].keys():
            odd = sorted(map(str, sample.keys() ^ samples[0].keys()))
            raise QueryError(f"samples of one batch have different entries: {', '.join(odd)} is not in all of them")
    made: dict[str, Any] = {}
    for name in names:
        values = [sample[name] for sample in samples]
        if not all(isinstance(value, torch.Tensor) for value in values):
            made[name] = values
            continue
        shapes = {tuple(value.shape) for value in values}
        if len(shapes) > 1:
            raise QueryError(f"samples of one batch have {name} in different shapes: {sorted(shapes)}")
        made[name] = torch.stack(values)
    return made


def _memory_of_worker() -> SharedBuffers | None:
    """Memory for batches of a DataLoader worker that the main process maps; None elsewhere."""
    return SharedBuffers() if get_worker_info() is not None and handover.possible() else None


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype == np.object_:
        return value
    return torch.from_numpy(value if value.flags.writeable else value.copy())
