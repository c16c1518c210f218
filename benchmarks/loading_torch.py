"""A map-style dataset in a torch DataLoader, for peers without their own loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.loading_peer import Peer


class Rows(Dataset[dict[str, Any]]):
    """Whole batches of a peer; each process opens the peer for itself."""

    def __init__(self, peer: Peer, *, reopen: bool) -> None:
        self._peer, self._reopen = peer, reopen

    def __len__(self) -> int:
        return self._peer.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.__getitems__([i])

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        """A batch in its own arrays: the loader may still be handing over the last one."""
        if self._reopen:
            self._peer.opened()
            self._reopen = False
        out = self._peer.empty(len(indices))
        self._peer.fill(indices, out)
        return {path: torch.from_numpy(pixels) for path, pixels in out.items()}


def same(batch: dict[str, Any]) -> dict[str, Any]:
    """Nothing is left to collate."""
    return batch


def rows(peer: Peer, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
    """Batches of shuffled epochs."""
    data = Rows(peer, reopen=workers > 0)
    order = torch.Generator().manual_seed(epoch)
    loader: DataLoader[dict[str, Any]] = DataLoader(
        data,
        batch_size=batch_size,
        sampler=RandomSampler(data, generator=order),
        num_workers=workers,
        collate_fn=same,  # type: ignore[arg-type]  # a sample comes alone and stays what it is
        multiprocessing_context=peer.context if workers else None,
        prefetch_factor=2 if workers else None,
        persistent_workers=workers > 0,
    )
    for _ in range(epochs):
        yield from loader
