"""A torch IterableDataset over a stream: the only file that knows torch.

Workers of a DataLoader share a rank's batches in turn; give the DataLoader `batch_size=None`, since batches come whole:

>>> stream = data.stream(data.query(split="train"), batch_size=32, shuffle=True, arrays=["sentinel2", "worldcover"])
>>> loader = torch.utils.data.DataLoader(TorchStream(stream), batch_size=None, num_workers=2)

To go on in the middle of an epoch, keep `batch['position']` and the epoch, and call
`dataset.load_state_dict({'epoch': epoch, 'position': position})` before the loader is iterated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from collections.abc import Iterator

    from landweave.stream import Stream

_WIDER = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
"""Unsigned types that few torch operations know become the next wider signed type."""


class TorchStream(IterableDataset[dict[str, Any]]):
    """Batches of a stream as tensors; one epoch an iteration.

    Ids stay a list of strings; masks are torch.bool; uint16 becomes int32 (torch has few operations on uint16).
    """

    def __init__(self, stream: Stream, *, rank: int | None = None, ranks: int | None = None) -> None:
        """Wrap a stream.

        Args:
            stream: from `Dataset.stream`.
            rank: this process's rank; from torch.distributed where it is initialised, else 0.
            ranks: number of processes; the same.
        """
        super().__init__()
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if rank is None:
            rank = torch.distributed.get_rank() if distributed else 0
        if ranks is None:
            ranks = torch.distributed.get_world_size() if distributed else 1
        self._stream = stream.share(rank=rank, ranks=ranks)
        self._rank, self._ranks = rank, ranks

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
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        self._stream.share(rank=self._rank, ranks=self._ranks, worker=worker, workers=workers)
        for batch in self._stream:
            yield {name: _tensor(value) for name, value in batch.items()}


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(value.astype(_WIDER.get(value.dtype, value.dtype), copy=False))
