"""A dataset of a million samples for `benchmarks.bucket`: the catalogue is whole, the pixels of 64 samples come again.

One shard with 64 samples is written by the real writer, with the pixels of `benchmarks.loading_data` (1.0 MB per sample
on disk, 17 arrays, 14 of which also lie side by side: `requests_per_sample: 4`). The other shards have the rows of its
catalogue at other places, under other ids, 4,096 each; the real finaliser makes the catalogue. Objects of pixels are
made by the server (`benchmarks.repeated`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.catalogue_data import EACH, moved, names_of, split_of
from benchmarks.loading_data import spec_of, write_rows
from landweave.layout import part, shard_manifest
from landweave.manifest import ObjectSum, shard_from_bytes, shard_to_bytes
from pipelines.shards import ShardRows, finalise

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

VERSION = 2
"""Grows when the data change, so that a kept copy is made again."""
ROWS, REQUESTS = 64, 4
"""Samples with pixels of their own; requests of a random sample."""


def make_bucket(folder: Path, samples: int) -> Path:
    """The dataset with at least this many samples (whole shards) below `folder`, made once."""
    shards = -(-samples // EACH)
    out = folder / f"bucket-{shards}"
    mark, made = out / "repeated.json", json.dumps({"rows": ROWS, "times": EACH // ROWS, "version": VERSION})
    if mark.exists() and mark.read_text() == made:
        return out
    shutil.rmtree(out, ignore_errors=True)
    spec = spec_of(shards, EACH, requests_per_sample=REQUESTS)
    write_rows(out, spec, ShardRows(index=0, split="train", sample_ids=names_of(0)[:ROWS]))
    for number in range(shards):
        _repeat(out, number, split_of(number, shards))
    finalise(out, spec)
    mark.write_text(made)
    return out


def make_bands(folder: Path, source: str, bands: int) -> Path:
    """One sensor alone, 64 samples in four shards, with this many bands in a chunk (0: all); made once."""
    out = folder / f"bands-{source}-{bands or 'all'}"
    mark, made = out / "made.json", json.dumps({"version": VERSION})
    if mark.exists() and mark.read_text() == made:
        return out
    shutil.rmtree(out, ignore_errors=True)
    spec = spec_of(4, 16, (source,), bands_per_chunk={source: bands} if bands else {})
    for number, split in enumerate(("train", "train", "train", "val")):
        names = tuple(f"b{number}_{row:03d}" for row in range(16))
        write_rows(out, spec, ShardRows(index=number, split=split, sample_ids=names))
    finalise(out, spec)
    mark.write_text(made)
    return out


def _repeat(out: Path, number: int, split: str) -> None:
    """The parts and the manifest of a shard, from those of shard 0 as it was written."""
    if not number:
        for kind in ("items", "ledger"):
            shutil.copy(out / part(kind, 0), out / f"model-{kind}.parquet")
        shutil.copy(out / shard_manifest(0), out / "model.json")
    names, times = names_of(number), EACH // ROWS
    items = _tables(out, "items", times)
    items = items.set_column(
        items.schema.get_field_index("row"), items.schema.field("row"),
        pa.array(np.arange(EACH), items.schema.field("row").type),
    )  # fmt: skip
    items = moved(items, names, number, split, (number % 50) * 0.9, (number // 50) * 0.4)
    ledger = _tables(out, "ledger", 1)
    ledger = ledger.set_column(0, "sample_id", pa.array(np.repeat(names[:ROWS], len(ledger) // ROWS)))
    where = ledger.schema.get_field_index("shard")
    ledger = ledger.set_column(where, "shard", pa.array([number] * len(ledger), pa.int32()))
    model = shard_from_bytes((out / "model.json").read_bytes(), "model.json")
    objects = dict(model.objects)
    for kind, table in (("items", items), ("ledger", ledger)):
        path = out / part(kind, number)  # type: ignore[arg-type]
        pq.write_table(table, path, compression="zstd", compression_level=1, write_statistics=False)
        raw = path.read_bytes()
        objects[part(kind, number)] = ObjectSum(len(raw), hashlib.sha256(raw).hexdigest())  # type: ignore[arg-type]
        objects.pop(part(kind, 0) if number else "", None)  # type: ignore[arg-type]
    statistics = part("statistics", number)
    if number:
        (out / statistics).hardlink_to(out / part("statistics", 0))
    objects[statistics] = model.objects[part("statistics", 0)]
    manifest = dataclasses.replace(model, shard=number, split=split, samples=names, objects=objects)
    (out / shard_manifest(number)).write_bytes(shard_to_bytes(manifest))


def _tables(out: Path, kind: Literal["items", "ledger"], times: int) -> pa.Table:
    return pa.concat_tables([pq.read_table(out / f"model-{kind}.parquet", partitioning=None)] * times)
