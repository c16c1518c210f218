"""The loaders in the comparison, each used as its manual recommends.

Peers whose packages do not fit beside ours run in the environment of `benchmarks.loading_venv`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.loading_chunks import (
    Community,
    Datasets,
    Lance,
    LanceRaw,
    LitData,
    LitDataZstd,
    Mosaic,
    MosaicZstd,
    Parquet,
)
from benchmarks.loading_peer import Peer, Pixels, flat
from benchmarks.loading_zarr import Insitubatch, TensorStore, ZarrFused, ZarrPython, Zarrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import landweave


class Memmap(Peer):
    """Raw .npy files, one an array, mapped into memory: no loader does less. The ceiling, not a format."""

    name = "memmap raw"

    def write(self, dataset: landweave.Dataset) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {
            path: np.lib.format.open_memmap(
                self.folder / f"{flat(path)}.npy", mode="w+", dtype=dtype, shape=(self.count, *shape)
            )
            for path, (shape, dtype) in self.arrays.items()
        }
        for i, sample in enumerate(dataset):
            for path, file in files.items():
                file[i] = sample[path]

    def opened(self) -> None:
        self._files = {path: np.load(self.folder / f"{flat(path)}.npy", mmap_mode="r") for path in self.arrays}

    def one(self, i: int) -> Pixels:
        return {path: np.array(file[i]) for path, file in self._files.items()}

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        chosen = np.asarray(indices)
        for path, file in self._files.items():
            np.take(file, chosen, axis=0, out=out[path], mode="clip")


class H5py(Peer):
    """HDF5, one chunk a sample and array, bitshuffle + zstd by hdf5plugin; read straight into the batch."""

    name, compressed, needs = "h5py", True, ("h5py", "hdf5plugin")
    can = frozenset({"one", "batch", "stream", "http"})

    def write(self, dataset: landweave.Dataset) -> None:
        import h5py
        import hdf5plugin

        self.folder.mkdir(parents=True, exist_ok=True)
        # paged metadata, so that a remote reader gets it in few requests
        with h5py.File(self.folder / "data.h5", "w", libver="latest", fs_strategy="page", fs_page_size=1 << 22) as file:
            made = {
                path: file.create_dataset(
                    path,
                    (self.count, *shape),
                    dtype,
                    chunks=(1, *shape),
                    **hdf5plugin.Bitshuffle(cname="zstd", clevel=1),
                )
                for path, (shape, dtype) in self.arrays.items()
            }
            for i, sample in enumerate(dataset):
                for path, array in made.items():
                    array[i] = sample[path]

    def opened(self) -> None:
        import h5py
        import hdf5plugin  # noqa: F401 - registers the filter

        if self.url is None:
            self._file = h5py.File(self.folder / "data.h5", "r", libver="latest", rdcc_nbytes=0)
        else:
            import fsspec

            remote = fsspec.filesystem("http").open(f"{self.url}/data.h5", block_size=1 << 20, cache_type="blockcache")
            self._file = h5py.File(remote, "r", libver="latest", rdcc_nbytes=0, page_buf_size=1 << 24)
        self._arrays = {path: self._file[path] for path in self.arrays}

    def one(self, i: int) -> Pixels:
        return {path: array[i] for path, array in self._arrays.items()}

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        for path, array in self._arrays.items():
            target = out[path]
            for k, i in enumerate(indices):
                array.read_direct(target, np.s_[i], np.s_[k])

    def close(self) -> None:
        self._file.close()


class Webdataset(Peer):
    """Tar files of .npy members, some 100 MB each, read in order and shuffled through a buffer: it has no index."""

    name, needs = "webdataset", ("webdataset", "torch")
    can = frozenset({"stream", "http"})

    def write(self, dataset: landweave.Dataset) -> None:
        import webdataset as wds

        self.folder.mkdir(parents=True, exist_ok=True)
        each = max(1, min(64, self.count // 8))
        for first in range(0, self.count, each):
            with wds.TarWriter(str(self.folder / f"{first // each:06d}.tar"), encoder=True) as tar:
                for i in range(first, min(first + each, self.count)):
                    sample = dataset.sample(i)
                    tar.write({"__key__": f"{i:09d}", **{f"{flat(p)}.npy": sample[p] for p in self.arrays}})

    def opened(self) -> None:
        names = sorted(p.name for p in self.folder.glob("*.tar"))
        self._urls = [f"pipe:curl -s -f {self.url}/{n}" if self.url else str(self.folder / n) for n in names]

    def stream(self, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
        import webdataset as wds

        samples = wds.WebDataset(
            self._urls, shardshuffle=len(self._urls), seed=epoch, nodesplitter=wds.split_by_node, empty_check=False
        ).shuffle(4 * batch_size, initial=2 * batch_size)
        batches = samples.decode().batched(batch_size, collation_fn=self._stacked)
        loader = wds.WebLoader(batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
        for _ in range(epochs):
            yield from loader

    def _stacked(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        return {p: torch.from_numpy(np.stack([s[f"{flat(p)}.npy"] for s in samples])) for p in self.arrays}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_urls": self.__dict__.get("_urls")}


PEERS: tuple[type[Peer], ...] = (
    Memmap, Mosaic, MosaicZstd, Community, LitData, LitDataZstd, Webdataset, Datasets, Parquet, Lance, LanceRaw, H5py,
    ZarrPython, ZarrFused, Zarrs, TensorStore, Insitubatch,
)  # fmt: skip
"""In the order of the table."""
