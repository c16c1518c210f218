"""landweave and plain C as loaders for `benchmarks.loading`, with the same interface as the peers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from awscrt.checksums import crc32c
from numcodecs import blosc

import landweave
from benchmarks.loading_peer import Peer, Pixels, tree_bytes
from landweave.order import EpochRandom
from landweave.stream import cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from landweave.timing import Timing


class Ours(Peer):
    """landweave: the dataset as the writer leaves it."""

    name, compressed = "landweave", True
    can = frozenset({"one", "batch", "stream", "http"})
    timing: Timing | None = None
    """Of the last stream in this process."""

    def write(self, dataset: landweave.Dataset) -> None:
        """Nothing: the dataset is its form."""

    @property
    def size(self) -> int:
        return tree_bytes(self.source / "data.zarr")

    def open(self, url: str | None = None) -> None:
        self._data = landweave.open(self.source if url is None else f"{url}/{self.source.name}")
        self._read = self._data._reading(None, {})
        self._data.catalogue.light  # noqa: B018 - opening reads the catalogue

    def one(self, i: int) -> Pixels:
        sample = self._data.sample(i)
        return {path: sample[path] for path in self.arrays}

    def batch(self, indices: Sequence[int]) -> Pixels:
        batch = self._read(np.asarray(indices), EpochRandom())
        return {path: batch[path] for path in self.arrays}

    def stream(self, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
        from torch.utils.data import DataLoader

        from landweave.torch import TorchStream

        stream = self._data.stream(batch_size=batch_size, shuffle=True)
        self.timing = None if workers else stream.timing  # workers keep their own
        made = TorchStream(stream, unsigned=True)
        made.set_epoch(epoch)
        loader = DataLoader(made, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
        for _ in range(epochs):
            for batch in loader:
                yield {path: batch[path] for path in self.arrays}


class Limit(Peer):
    """Chunks in memory through their codecs (crc32c, blosc), into the same buffers again and again, a thread a core.

    No loader of checked chunks is faster.
    """

    name, compressed = "decode in C", True
    can = frozenset({"batch"})
    checked = True

    def write(self, dataset: landweave.Dataset) -> None:
        """Nothing: it reads ours."""

    @property
    def size(self) -> int:
        return tree_bytes(self.source / "data.zarr")

    def opened(self) -> None:
        data = landweave.open(self.source)
        self._chunks: dict[tuple[str, int], np.ndarray[Any, Any]] = {}
        for path, array in data.arrays.items():
            for i, (shard, row) in enumerate(self.where.tolist()):
                start, length = data._reader.index(array, shard)[row, 0].tolist()
                chunk = data.store.get_range(array.object(shard), start, length)
                self._chunks[path, i] = np.frombuffer(chunk, np.uint8)
        blosc.use_threads = False
        self._pool = ThreadPoolExecutor(cores())

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        jobs = [(self._chunks[path, i], out[path][k]) for path in out for k, i in enumerate(indices)]
        jobs.sort(key=lambda job: -job[1].nbytes)
        list(self._pool.map(_checked if self.checked else _decoded, [jobs[n :: cores()] for n in range(cores())]))

    def one(self, i: int) -> Pixels:
        raise NotImplementedError


class Unchecked(Limit):
    """The same without looking at the check sums, for what they cost."""

    name, checked = "unchecked, in C", False


def _checked(jobs: list[tuple[Any, Any]]) -> None:
    for chunk, out in jobs:
        body = chunk[:-4]
        if crc32c(memoryview(body)) != int.from_bytes(chunk[-4:], "little"):
            raise ValueError("check sum")
        blosc.decompress(body, out)


def _decoded(jobs: list[tuple[Any, Any]]) -> None:
    for chunk, out in jobs:
        blosc.decompress(chunk[:-4], out)
