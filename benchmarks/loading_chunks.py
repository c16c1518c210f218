"""Peers with their own chunk files: MosaicML streaming and its fork, litData, Hugging Face, Parquet, Lance."""

from __future__ import annotations

import os
import shutil
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.loading_peer import Peer, Pixels, flat, tree_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import landweave

_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
"""A loopback server asks for none; the clients insist on some."""


class Mosaic(Peer):
    """MosaicML streaming: MDS shards of 64 MB, fixed-shape ndarray columns."""

    name, needs = "mosaicml raw", ("streaming",)
    can = frozenset({"one", "batch", "stream", "http"})
    compression: str | None = None

    def write(self, dataset: landweave.Dataset) -> None:
        from streaming import MDSWriter  # type: ignore[import-not-found]

        columns = {}
        for path, (shape, dtype) in self.arrays.items():
            stored = "uint8" if dtype == np.bool_ else dtype.name
            columns[flat(path)] = f"ndarray:{stored}:{','.join(map(str, shape))}"
        with MDSWriter(
            out=str(self.folder / "mds"), columns=columns, compression=self.compression, size_limit=1 << 26
        ) as writer:
            for sample in dataset:
                found = {p: sample[p] for p in self.arrays}
                writer.write({flat(p): v.view(np.uint8) if v.dtype == np.bool_ else v for p, v in found.items()})

    @property
    def size(self) -> int:
        return tree_bytes(self.folder / "mds")

    def opened(self) -> None:
        # a reader of compressed shards unpacks each once, into its cache
        self._cache = self.folder / "cache"
        shutil.rmtree(self._cache, ignore_errors=True)
        self._data = self._dataset(shuffle=False, batch_size=1, epoch=0)

    def _dataset(self, *, shuffle: bool, batch_size: int, epoch: int) -> Any:
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory  # type: ignore[import-not-found]

        clean_stale_shared_memory()
        if self.url is not None:
            root, _, name = self.url.rpartition("/")
            os.environ.update({**_CREDENTIALS, "S3_ENDPOINT_URL": root})
            place = {"remote": f"s3://{name}/mds", "local": str(self._cache)}
        elif self.compression is None:
            place = {"local": str(self.folder / "mds")}
        else:
            place = {"remote": str(self.folder / "mds"), "local": str(self._cache)}
        return StreamingDataset(
            **place, shuffle=shuffle, batch_size=batch_size, shuffle_seed=epoch, num_canonical_nodes=1
        )

    def one(self, i: int) -> Pixels:
        row = self._data[i]
        return {p: row[flat(p)].view(dtype) for p, (_, dtype) in self.arrays.items()}

    def stream(self, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
        from torch.utils.data import DataLoader

        data = self._dataset(shuffle=True, batch_size=batch_size, epoch=epoch)
        loader = DataLoader(data, batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0)
        for _ in range(epochs):
            for batch in loader:
                yield {p: batch[flat(p)] for p in self.arrays}


class MosaicZstd(Mosaic):
    """The same, shards compressed with zstd; the first reading unpacks them into raw ones, which then lie beside them.

    So what is read again and again is not compressed, and both count as its bytes on disk.
    """

    name, compression = "mosaicml zstd", "zstd"

    @property
    def size(self) -> int:
        return super().size + tree_bytes(self._cache)


class Community(Mosaic):
    """The community's fork of MosaicML streaming. Its package has the same name, so both cannot be installed."""

    name = "streaming-community raw"


class LitData(Peer):
    """litData: chunks of 64 MB written by its BinaryWriter, which is what `optimize` uses."""

    name, needs = "litdata raw", ("litdata",)
    can = frozenset({"one", "batch", "stream", "http"})
    compression: str | None = None
    level: str | None = None

    def write(self, dataset: landweave.Dataset) -> None:
        from litdata.streaming.writer import BinaryWriter

        writer = BinaryWriter(
            str(self.folder / "lit"),
            chunk_bytes=1 << 26,
            compression=self.compression,
            compression_level=self.level,
        )
        for i, sample in enumerate(dataset):
            writer[i] = {flat(p): sample[p] for p in self.arrays}
        writer.done()
        writer.merge()

    @property
    def size(self) -> int:
        return tree_bytes(self.folder / "lit")

    def opened(self) -> None:
        self._cache = self.folder / "cache"
        shutil.rmtree(self._cache, ignore_errors=True)
        self._data = self._dataset(shuffle=False, epoch=0)

    def _dataset(self, *, shuffle: bool, epoch: int) -> Any:
        import litdata

        more: dict[str, Any] = {"shuffle": shuffle, "seed": epoch}
        if self.url is None:
            return litdata.StreamingDataset(str(self.folder / "lit"), **more)
        root, _, name = self.url.rpartition("/")
        options = {
            "endpoint_url": root,
            **{k.lower(): v for k, v in _CREDENTIALS.items() if k != "AWS_DEFAULT_REGION"},
        }
        return litdata.StreamingDataset(f"s3://{name}/lit", cache_dir=str(self._cache), storage_options=options, **more)

    def one(self, i: int) -> Pixels:
        row = self._data[i]
        return {p: row[flat(p)] for p in self.arrays}

    def stream(self, *, batch_size: int, epoch: int, epochs: int, workers: int) -> Iterator[dict[str, Any]]:
        import litdata

        data = self._dataset(shuffle=True, epoch=epoch)
        loader = litdata.StreamingDataLoader(
            data, batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0
        )
        for _ in range(epochs):
            for batch in loader:
                yield {p: batch[flat(p)] for p in self.arrays}


class LitDataZstd(LitData):
    """The same, each sample compressed with zstd: its default, 256 samples a frame, unpacks a chunk for a sample."""

    name, compressed, compression, level = "litdata zstd", True, "zstd", "sample"


class Datasets(Peer):
    """Hugging Face datasets: the Arrow cache that `load_dataset` makes of Parquet, mapped into memory; no copy."""

    name, needs = "datasets arrow", ("datasets",)
    can = frozenset({"one", "batch", "stream"})

    def write(self, dataset: landweave.Dataset) -> None:
        import datasets  # type: ignore[import-not-found]

        def rows() -> Iterator[dict[str, bytes]]:
            for sample in dataset:
                yield {flat(p): sample[p].tobytes() for p in self.arrays}

        features = datasets.Features({flat(p): datasets.Value("large_binary") for p in self.arrays})
        made = datasets.Dataset.from_generator(
            rows, features=features, cache_dir=str(self.folder / "making"), writer_batch_size=16
        )
        made.save_to_disk(str(self.folder / "arrow"))
        shutil.rmtree(self.folder / "making")

    def opened(self) -> None:
        import datasets

        self._data = datasets.load_from_disk(str(self.folder / "arrow")).with_format("arrow")

    def one(self, i: int) -> Pixels:
        return self._row(self._data[i], 0)

    def _row(self, table: Any, row: int) -> Pixels:
        return {
            p: np.frombuffer(table.column(flat(p))[row].as_buffer(), dtype).reshape(shape)
            for p, (shape, dtype) in self.arrays.items()
        }


class Parquet(Peer):
    """Parquet by pyarrow: one row a group, zstd level 1, one column an array; a random sample is one row group."""

    name, compressed, needs = "parquet", True, ("pyarrow",)
    can = frozenset({"one", "batch", "stream", "http"})

    def write(self, dataset: landweave.Dataset) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.folder.mkdir(parents=True, exist_ok=True)
        schema = pa.schema([(flat(p), pa.large_binary()) for p in self.arrays])
        with pq.ParquetWriter(
            self.folder / "data.parquet", schema, compression="zstd", compression_level=1, use_dictionary=False,
            write_statistics=False, store_schema=False, data_page_size=1 << 24,
        ) as writer:  # fmt: skip
            for sample in dataset:
                row = {flat(p): pa.array([sample[p].tobytes()], pa.large_binary()) for p in self.arrays}
                writer.write_table(pa.table(row, schema=schema), row_group_size=1)

    def opened(self) -> None:
        import pyarrow.parquet as pq

        if self.url is None:
            self._file = pq.ParquetFile(self.folder / "data.parquet", memory_map=True)
        else:
            import fsspec

            remote = fsspec.filesystem("http").open(f"{self.url}/data.parquet", cache_type="none")
            self._file = pq.ParquetFile(remote, pre_buffer=True)

    def one(self, i: int) -> Pixels:
        table = self._file.read_row_group(int(i), use_threads=True)
        return {
            p: np.frombuffer(table.column(flat(p))[0].as_buffer(), dtype).reshape(shape)
            for p, (shape, dtype) in self.arrays.items()
        }

    def close(self) -> None:
        self._file.close()


class Lance(Peer):
    """Lance: a column of bytes for each array, its stable file format; a batch of rows is taken by number."""

    name, compressed, needs = "lance", True, ("lance",)
    settings: Mapping[str, str] = MappingProxyType({})
    """Metadata of each column; empty: Lance chooses, and compresses."""
    can = frozenset({"one", "batch", "stream"})
    context = "forkserver"

    def write(self, dataset: landweave.Dataset) -> None:
        import lance
        import pyarrow as pa

        fields = [pa.field(_column(p), pa.large_binary(), metadata=dict(self.settings)) for p in self.arrays]
        schema = pa.schema(fields)

        def batches() -> Iterator[pa.RecordBatch]:
            for sample in dataset:
                row = [pa.array([sample[p].tobytes()], pa.large_binary()) for p in self.arrays]
                yield pa.record_batch(row, schema=schema)

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        lance.write_dataset(reader, str(self.folder / "data.lance"), data_storage_version="stable")

    def opened(self) -> None:
        import lance

        self._data = lance.dataset(str(self.folder / "data.lance"))

    def one(self, i: int) -> Pixels:
        table = self._data.take([int(i)])
        return {p: self._pixels(table, p, 0) for p in self.arrays}

    def fill(self, indices: Sequence[int], out: Pixels) -> None:
        table = self._data.take([int(i) for i in indices])
        for path, pixels in out.items():
            for k in range(len(indices)):
                pixels[k] = self._pixels(table, path, k)

    def _pixels(self, table: Any, path: str, row: int) -> Any:
        shape, dtype = self.arrays[path]
        return np.frombuffer(table.column(_column(path))[row].as_buffer(), dtype).reshape(shape)


class LanceRaw(Lance):
    """The same without compression."""

    name, compressed = "lance raw", False
    settings: Mapping[str, str] = MappingProxyType({"lance-encoding:compression": "none"})


def _column(path: str) -> str:
    """A name without dots, which Lance takes for nested fields."""
    return flat(path).replace(".", "__")
