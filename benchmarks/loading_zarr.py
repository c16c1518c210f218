"""Other readers of landweave's shards: zarr-python with three pipelines, tensorstore; insitubatch of its own Zarr."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.loading_peer import Peer, Pixels, flat, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import landweave


class ZarrPython(Peer):
    """zarr-python: arrays kept open, all arrays of a sample and all samples of a batch asked for at once."""

    name, compressed = "zarr-python", True
    needs: tuple[str, ...] = ("zarr",)
    can = frozenset({"one", "batch", "stream", "http"})
    context = "forkserver"
    pipeline = "zarr.core.codec_pipeline.BatchedCodecPipeline"

    def write(self, dataset: landweave.Dataset) -> None:
        """Read in place."""

    @property
    def size(self) -> int:
        return tree_bytes(self.source / "data.zarr")

    def open(self, url: str | None = None) -> None:
        self.url = None if url is None else f"{url}/{self.source.name}"
        self.opened()

    def opened(self) -> None:
        import zarr
        from zarr.core.sync import _get_loop, sync

        zarr.config.set({"codec_pipeline.path": self.pipeline, "async.concurrency": 64})
        group = zarr.open_group(self._store(), mode="r")
        self._arrays = {p: group[p]._async_array for p in self.arrays}  # type: ignore[union-attr]
        self._sync, self._loop = sync, _get_loop()

    def _store(self) -> Any:
        if self.url is None:
            return str(self.source / "data.zarr")
        from obstore.store import HTTPStore
        from zarr.storage import ObjectStore

        return ObjectStore(HTTPStore(f"{self.url}/data.zarr", client_options={"allow_http": True}), read_only=True)

    def one(self, i: int) -> Pixels:
        async def read() -> list[Any]:
            return await asyncio.gather(*(a.getitem(int(i)) for a in self._arrays.values()))

        return dict(zip(self._arrays, self._sync(read()), strict=True))

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        async def read(path: str, k: int, i: int) -> None:
            out[path][k] = await self._arrays[path].getitem(int(i))

        async def all_of_them() -> None:
            await asyncio.gather(*(read(p, k, i) for k, i in enumerate(indices) for p in self._arrays))

        self._sync(all_of_them())


class Zarrs(ZarrPython):
    """The same with the codec pipeline of zarrs, in Rust and in its own threads."""

    name, needs = "zarrs", ("zarr", "zarrs")
    can = frozenset({"one", "batch", "stream"})
    pipeline = "zarrs.ZarrsCodecPipeline"

    def opened(self) -> None:
        import zarrs  # noqa: F401 - registers the pipeline

        super().opened()


class ZarrFused(ZarrPython):
    """The same with zarr-python's own fused pipeline: experimental, from version 3.4 on, which needs Python 3.12."""

    name = "zarr fused"
    can = frozenset({"one", "batch", "stream"})
    pipeline = "zarr.core.codec_pipeline.FusedCodecPipeline"

    @classmethod
    def missing(cls) -> str | None:
        why = super().missing()
        if why is None:
            from zarr.core import codec_pipeline

            if not hasattr(codec_pipeline, "FusedCodecPipeline"):
                why = "zarr is older than 3.4, which needs Python 3.12"
        return why


class Insitubatch(Peer):
    """insitubatch: Zarr with chunks of 8 samples, read whole; it shuffles chunks, and samples within 16 chunks.

    It has no random access: its interface is the stream of an epoch. It reads in threads of its own, without workers.
    """

    name, compressed, needs = "insitubatch", True, ("insitubatch",)
    can = frozenset({"stream", "http"})
    own_threads = True

    def write(self, dataset: landweave.Dataset) -> None:
        import zarr
        from zarr.codecs import BloscCodec

        group = zarr.create_group(str(self.folder / "data.zarr"))
        made = {
            path: group.create_array(
                flat(path), shape=(self.count, *shape), dtype=dtype, chunks=(8, *shape),
                compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
            )
            for path, (shape, dtype) in self.arrays.items()
        }  # fmt: skip
        for first in range(0, self.count, 8):
            samples = [dataset.sample(i) for i in range(first, min(first + 8, self.count))]
            for path, array in made.items():
                array[first : first + len(samples)] = np.stack([s[path] for s in samples])

    def opened(self) -> None:
        import insitubatch

        where = f"{self.url}/data.zarr" if self.url else f"file://{(self.folder / 'data.zarr').resolve()}"
        more: dict[str, Any] = {"client_options": {"allow_http": True}} if self.url else {}
        self._store = insitubatch.obstore_store(where, **more)

    def stream(self, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
        import insitubatch
        from torch.utils.data import DataLoader

        geometries = insitubatch.open_geometries(self._store, variables=[flat(p) for p in self.arrays])
        split = insitubatch.split_by_chunk(next(iter(geometries.values())), fractions=(1.0, 0.0, 0.0))
        data = insitubatch.InSituDataset(self._store, split, geometries=geometries, batch_size=batch_size, seed=epoch)
        for number in range(epoch, epoch + epochs):
            data.set_epoch(number)
            for batch in DataLoader(insitubatch.as_torch(data.train), batch_size=None, num_workers=workers):
                yield {p: batch[flat(p)] for p in self.arrays}


class TensorStore(Peer):
    """tensorstore: all reads of a sample or a batch are under way at once, in its own threads."""

    name, compressed, needs = "tensorstore", True, ("tensorstore",)
    can = frozenset({"one", "batch", "stream", "http"})
    context = "forkserver"

    def write(self, dataset: landweave.Dataset) -> None:
        """Read in place."""

    @property
    def size(self) -> int:
        return tree_bytes(self.source / "data.zarr")

    def open(self, url: str | None = None) -> None:
        self.url = None if url is None else f"{url}/{self.source.name}"
        self.opened()

    def opened(self) -> None:
        import tensorstore as ts

        # the cache holds shard indexes, not pixels
        context = ts.Context({"cache_pool": {"total_bytes_limit": 1 << 24}})
        root = f"{self.url}/data.zarr/" if self.url else f"file://{self.source.resolve()}/data.zarr/"
        opening = {
            p: ts.open(
                {"driver": "zarr3", "kvstore": f"{root}{p}/", "recheck_cached_data": False},
                read=True, context=context,
            )
            for p in self.arrays
        }  # fmt: skip
        self._arrays = {p: future.result() for p, future in opening.items()}

    def one(self, i: int) -> Pixels:
        futures = {p: a[int(i)].read() for p, a in self._arrays.items()}
        return {p: f.result() for p, f in futures.items()}

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        import tensorstore as ts

        done = []
        for path, array in self._arrays.items():
            target = ts.array(out[path])
            done += [target[k].write(array[int(i)]) for k, i in enumerate(indices)]
        for future in done:
            future.result()
