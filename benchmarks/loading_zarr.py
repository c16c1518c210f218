"""Other readers of landweave's shards: zarr-python, zarr-python with zarrs' codecs, tensorstore."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from benchmarks.loading_peer import Peer, Pixels, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

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
