"""Writes a catalogue in parts (layout 3; `landweave.parts` describes the files), shard by shard, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from awscrt.checksums import crc32c

from landweave.layout import ROOT
from landweave.layout import part as part_of_shard
from landweave.parts import (
    BLOCKS_KEY,
    FEW_TEXTS,
    ID_BLOCK,
    ID_ENTRY,
    IDS,
    PART_BLOCK,
    ROWS,
    Part,
    Root,
    id_hash,
    part_path,
    record_bytes,
    root_to_bytes,
)
from pipelines.shards.ledger import in_form
from pipelines.shards.publish import DamagedError, checksum, staging
from pipelines.shards.write import PARQUET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from landweave.layout import DatasetSpec
    from landweave.manifest import ObjectSum

WHOLE_ROWS = 1 << 17
"""Rows (planned samples) up to which the catalogue is one file."""
ROW_GROUP = 1_024
"""Rows of a row group: a batch's captions are read by row group."""
PART_ROWS = 1 << 15
"""Samples from which a part is full: it ends with the shard that fills it."""


class PartsWriter:
    """Takes the samples of each shard in order, and writes part after part."""

    def __init__(self, out: Path, dataset: DatasetSpec, schema: pa.Schema, put: Callable[[str, Path], object]) -> None:
        """Begin.

        Args:
            out: folder of the dataset; its staging folder is used.
            dataset: its form, with the revision to be.
            schema: columns.
            put: moves a finished file to its path in the dataset.
        """
        self._out, self._dataset, self._schema, self._put = out, dataset, schema, put
        self._waiting: list[pa.Table] = []
        self._parts: list[Part] = []
        self._objects: dict[str, ObjectSum] = {}
        self._counts: list[tuple[int, int]] = []
        self._ids: list[np.ndarray[Any, Any]] = []
        self._record_bytes = record_bytes(dataset)
        self._rows = bytearray(self._record_bytes * dataset.shards)
        self._texts: dict[str, set[str] | None] = {f.name: set() for f in schema if pa.types.is_string(f.type)}
        self._gaps: set[str] = set()
        self._columns: pa.Schema | None = None
        for shard in range(dataset.shards):
            self._fill(shard, np.zeros(self._record_bytes - 4, np.uint8).tobytes())

    def add(self, shard: int, table: pa.Table) -> None:
        """Take the samples of a shard, by row.

        Raises:
            DamagedError: they are not in order of their rows.
        """
        if not table.num_rows:
            return
        rows = table["row"].to_numpy()
        if (np.diff(rows) <= 0).any():
            raise DamagedError(f"{part_of_shard('items', shard)}: rows are not in order; build that shard again")
        if self._waiting and self._waiting[0]["split"][0] != table["split"][0]:
            self._write()
        self._note(shard, table, rows)
        self._waiting.append(in_form(table, self._schema))
        if sum(t.num_rows for t in self._waiting) >= PART_ROWS:
            self._write()

    def finish(self) -> dict[str, ObjectSum]:
        """Write what is left; returns path -> checksum of all files."""
        if self._waiting:
            self._write()
        first = self._dataset.revision == 0
        rows = self._dataset.at(ROWS)
        self._file(rows, bytes(self._rows))
        if first:
            self._file(IDS, self._id_file())
        numbers, counts = np.array(self._counts, np.int64).reshape(-1, 2).T
        root = Root(
            parts=tuple(self._parts),
            rows=rows,
            ids=IDS,
            shards=numbers,
            ends=np.cumsum(counts),
            row_group=ROW_GROUP,
            texts={name: tuple(sorted(values)) for name, values in self._texts.items() if values is not None},
            gaps=frozenset(self._gaps),
            schema=self._columns,
        )
        self._file(self._dataset.at(ROOT), root_to_bytes(root))
        return self._objects

    def _fill(self, shard: int, bits: bytes) -> None:
        sealed = bits + crc32c(bits).to_bytes(4, "little")
        self._rows[shard * self._record_bytes : (shard + 1) * self._record_bytes] = sealed

    def _note(self, shard: int, table: pa.Table, rows: np.ndarray[Any, Any]) -> None:
        """Note a shard's rows, observations, ids, texts and gaps."""
        samples = self._dataset.shard_samples
        listed = [np.ones((len(rows), 1), np.bool_)]
        for group in self._dataset.groups:
            column = table[f"{group.name}_present"].combine_chunks()
            listed.append(column.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), group.slot_count))
        bits = np.zeros((sum(b.shape[1] for b in listed), samples), np.bool_)
        bits[:, rows] = np.concatenate(listed, axis=1).T
        self._fill(shard, np.packbits(bits, axis=1, bitorder="little").tobytes())
        start = sum(n for _, n in self._counts)
        self._counts.append((shard, len(rows)))
        ids = np.empty(len(rows), ID_ENTRY)
        ids["hash"] = [id_hash(i) for i in table["id"].to_pylist()]
        ids["position"] = np.arange(start, start + len(rows))
        self._ids.append(ids)
        for name, known in self._texts.items():
            if known is not None and len(known | {t for t in pc.unique(table[name]).to_pylist() if t}) > FEW_TEXTS:
                self._texts[name] = None
            elif known is not None:
                known |= {t for t in pc.unique(table[name]).to_pylist() if t is not None}
        whole = [n for n, k in zip(table.schema.names, table.schema.types, strict=True) if _whole(k)]
        self._gaps |= {name for name in whole if table[name].null_count}

    def _id_file(self) -> bytes:
        ids = np.concatenate(self._ids) if self._ids else np.empty(0, ID_ENTRY)
        return sealed_blocks(ids[np.argsort(ids["hash"], kind="stable")])

    def _write(self) -> None:
        """Write the waiting samples as one part."""
        table = pa.concat_tables(self._waiting).combine_chunks()
        shards, self._waiting = len(self._waiting), []
        path = part_path(len(self._parts), self._dataset.revision)
        with staging(self._out, "file") as folder:
            aside = folder / "table.parquet"
            footer, crc = _parquet(aside, table, self._schema)
            metadata = pq.read_metadata(aside)
            self._objects[path] = found = checksum(aside)
            self._put(path, aside)
        self._columns = metadata.schema.to_arrow_schema().remove_metadata()
        self._parts.append(
            Part(
                path=path,
                size=found.size,
                footer=footer,
                footer_crc32c=crc,
                split=table["split"][0].as_py(),
                shards=shards,
                samples=table.num_rows,
                bbox=_bounds(table),
                times=_times(table),
                groups=_groups(metadata),
            )
        )

    def _file(self, path: str, content: bytes) -> None:
        with staging(self._out, "file") as folder:
            aside = folder / "content"
            aside.write_bytes(content)
            self._objects[path] = checksum(aside)
            self._put(path, aside)


def sealed_blocks(ids: np.ndarray[Any, Any]) -> bytes:
    """The content of `ids.bin` from sorted entries."""
    blocks = (ids[i : i + ID_BLOCK].tobytes() for i in range(0, len(ids), ID_BLOCK))
    return b"".join(block + crc32c(block).to_bytes(4, "little") for block in blocks)


def _whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _parquet(path: Path, table: pa.Table, schema: pa.Schema) -> tuple[int, str]:
    """Write a part; returns the bytes before its footer, and the footer's checksum."""
    with path.open("w+b") as file:
        with pq.ParquetWriter(file, schema, **PARQUET) as writer:
            writer.write_table(table, row_group_size=ROW_GROUP)
            file.flush()
            start = file.tell()
            file.seek(0)
            sums = "".join(f"{crc32c(block):08x}" for block in iter(lambda: file.read(PART_BLOCK), b""))
            writer.add_key_value_metadata({**(schema.metadata or {}), BLOCKS_KEY: sums.encode()})
        file.flush()
        file.seek(start)
        return start, f"{crc32c(file.read()):08x}"


def _groups(metadata: pq.FileMetaData) -> tuple[int, ...]:
    """First byte of each row group."""
    first = (metadata.row_group(i).column(0) for i in range(metadata.num_row_groups))
    return tuple(c.dictionary_page_offset or c.data_page_offset for c in first)


def _bounds(table: pa.Table) -> tuple[float, float, float, float] | None:
    """West, south, east, north of all footprints; None if one crosses the antimeridian."""
    edges = dict(zip(("xmin", "ymin", "xmax", "ymax"), table["bbox"].combine_chunks().flatten(), strict=True))
    if pc.any(pc.greater(edges["xmin"], edges["xmax"])).as_py():
        return None
    return (
        pc.min(edges["xmin"]).as_py(),
        pc.min(edges["ymin"]).as_py(),
        pc.max(edges["xmax"]).as_py(),
        pc.max(edges["ymax"]).as_py(),
    )


def _times(table: pa.Table) -> tuple[Any, Any] | None:
    first, last = table["start_datetime"], table["end_datetime"]
    if first.null_count or last.null_count:
        return None
    return pc.min(first).as_py(), pc.max(last).as_py()
