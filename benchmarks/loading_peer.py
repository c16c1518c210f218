"""Interface of a loader in the comparison: write once, open, return samples, batches and streams.

Every peer holds the same arrays of the same samples, one date each, everything present; `i` is the sample's position in
the catalogue.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.layout import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    import landweave

Pixels = dict[str, "NDArray[Any]"]
"""'sentinel2/bands_10m' -> (time, band, y, x) of a sample, or (sample, time, band, y, x) of a batch."""

_VERSION = b"1"
"""Changes when a peer is written in another way."""


class Peer:
    """One loader. Picklable before and after `open`: a process that gets it opens it again."""

    name = ""
    compressed = False
    """Whether its bytes at rest are compressed."""
    can = frozenset({"one", "batch", "stream"})
    """What it is able to do: 'one', 'batch', 'stream', 'http'."""
    own_threads = False
    """Whether it reads in threads of its own only: its manual forbids workers of a DataLoader."""
    context: str | None = None
    """How a DataLoader starts its workers: None = fork, torch's default on Linux."""

    @classmethod
    def missing(cls) -> str | None:
        """None, or why it cannot run here."""
        from importlib.util import find_spec

        return next((f"{m} is not installed" for m in cls.needs if find_spec(m) is None), None)

    needs: tuple[str, ...] = ()

    def __init__(self, dataset: landweave.Dataset, source: Path, folder: Path) -> None:
        self.folder, self.source = Path(folder), Path(source)
        self.arrays = {a.path: (a.sample_shape, np.dtype(a.dtype)) for a in dataset.spec.arrays}
        self.count = len(dataset)
        self.where = dataset.catalogue.seats(np.arange(len(dataset)))
        self.shard_samples = dataset.spec.shard_samples
        self.url: str | None = None
        self._buffers: Pixels = {}
        made = hashlib.sha256(dataset.store.get(MANIFEST) + _VERSION).hexdigest()
        mark = self.folder.with_name(f"{self.folder.name}.made")
        if not mark.exists() or mark.read_text() != made:
            shutil.rmtree(self.folder, ignore_errors=True)
            mark.unlink(missing_ok=True)
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.write(dataset)
            mark.write_text(made)

    def write(self, dataset: landweave.Dataset) -> None:
        """Write its form into `folder`."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes at rest."""
        return tree_bytes(self.folder)

    def open(self, url: str | None = None) -> None:
        """Open its form: here, or under `url`, which serves the folder that `folder` lies in."""
        self.url = None if url is None else f"{url}/{self.folder.name}"
        self.opened()

    def opened(self) -> None:
        """Open handles for `self.url`, or for `self.folder` where it is None."""
        raise NotImplementedError

    def one(self, i: int) -> Pixels:
        """A sample's arrays, decoded."""
        raise NotImplementedError

    def batch(self, indices: Sequence[int]) -> Pixels:
        """Samples stacked: into buffers that the next call uses again, where it reads into memory that it is given.

        Who hands out samples has them stacked into new memory, as a DataLoader's collation does.
        """
        if type(self).fill is Peer.fill:
            rows = [self.one(i) for i in indices]
            return {path: np.stack([row[path] for row in rows]) for path in self.arrays}
        out = self.buffers(len(indices))
        self.fill(indices, out)
        return out

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        """Samples into batch arrays."""
        for k, i in enumerate(indices):
            for path, pixels in self.one(i).items():
                out[path][k] = pixels

    def buffers(self, n: int) -> Pixels:
        """Batch arrays that are used again."""
        if not self._buffers or len(next(iter(self._buffers.values()))) < n:
            self._buffers = self.empty(n)
        return {path: b[:n] for path, b in self._buffers.items()}

    def empty(self, n: int) -> Pixels:
        """New batch arrays."""
        return {path: np.empty((n, *shape), dtype) for path, (shape, dtype) in self.arrays.items()}

    def stream(self, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
        """Batches of shuffled epochs in a torch DataLoader that keeps its workers.

        Whole batches are read at once, so that nothing is stacked twice.
        """
        from benchmarks.loading_torch import rows

        return rows(self, batch_size=batch_size, epoch=epoch, epochs=epochs, workers=workers)

    def close(self) -> None:
        """Let go of handles."""

    def __getstate__(self) -> dict[str, Any]:
        kept = ("folder", "source", "arrays", "count", "where", "shard_samples", "url")
        return {**{k: self.__dict__[k] for k in kept}, "_buffers": {}}


def tree_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def flat(path: str) -> str:
    """'sentinel2.bands_10m': a name without a slash."""
    return path.replace("/", ".")
