"""Finishes a build: joins the parts to the catalogue, in shard order, and writes `landweave.json` last."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from landweave.documents import documents as documents_of
from landweave.layout import (
    COLLECTION,
    COORDINATES,
    ITEMS,
    LEDGER,
    MANIFEST,
    SHARD_INDEX,
    STATISTICS,
    ZARR,
    part,
    shard_manifest,
)
from landweave.manifest import DatasetManifest, ObjectSum, dataset_to_bytes
from pipelines.durable import move_durably
from pipelines.shards import ledger
from pipelines.shards import stac_items as catalogue
from pipelines.shards.desk import deliver, refresh
from pipelines.shards.ledger import IncompleteError, read_part, whole_part
from pipelines.shards.publish import checksum, prepare, publish, read_manifest, staging
from pipelines.shards.stac_collection import collection
from pipelines.shards.statistics import Statistics
from pipelines.shards.write import PARQUET
from pipelines.shards.zarr_metadata import documents
from schemas.canonical import canonical_json
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from landweave.layout import DatasetSpec, Json
    from landweave.manifest import ShardManifest
    from schemas.outcome import Outcome

ROW_GROUP = 8_192
"""Rows of a row group of the catalogue: one is read to answer for one sample."""


@dataclass(slots=True)
class _Summary:
    """Summary of all items for the collection, collected during one pass."""

    splits: Counter[str] = field(default_factory=Counter)
    licences: set[str] = field(default_factory=set)
    attribution: dict[str, None] = field(default_factory=dict)
    times: list[Any] = field(default_factory=list)
    bounds: list[BBox] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self.splits.update(table["split"].to_pylist())
        self.licences.update(pc.unique(pc.list_flatten(table["licences"])).to_pylist())
        self.attribution |= dict.fromkeys(pc.unique(pc.list_flatten(table["attribution"])).to_pylist())
        self.times = sorted([*self.times[:1], *self.times[-1:], pc.min(table["datetime"]).as_py()])
        self.times = [self.times[0], max(self.times[-1], pc.max(table["end_datetime"]).as_py())]
        west, south, east, north = shapely.total_bounds(
            shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
        )
        self.bounds.append(BBox(float(west), float(south), float(east), float(north)))

    def bbox(self) -> list[float]:
        edges = np.array(self.bounds)
        return [float(v) for v in (*edges[:, :2].min(0), *edges[:, 2:].max(0))]


def finalise(
    out: Path,
    dataset: DatasetSpec,
    failed: Mapping[int, Sequence[Outcome]] = MappingProxyType({}),
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> DatasetManifest:
    """Compact the parts of all shards into the catalogue and finish the dataset; a second run changes nothing.

    Args:
        out: folder of the dataset.
        dataset: its form.
        failed: shards that could not be built and are left out: number -> the ledger's row for each of their samples.
        more: path -> content of further objects of the dataset.

    Raises:
        IncompleteError: shards are missing, or no sample at all was kept.
        DamagedError: a shard's manifest or its rows of the catalogue are damaged.
    """
    prepare(out, dataset)
    refresh(out, dataset.shards, always=True)
    manifests = [read_manifest(out, index, dataset) for index in range(dataset.shards)]
    missing = [str(i) for i, m in enumerate(manifests) if m is None and i not in failed]
    if missing:
        some = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise IncompleteError(f"{len(missing)} of {dataset.shards} shards are missing ({some}): run the build again")
    shards = [m for m in manifests if m is not None]
    if not any(s for m in shards for s in m.samples):
        raise IncompleteError(f"no sample was kept: {_why_nothing(out, [m.shard for m in shards])}")
    objects: dict[str, ObjectSum] = {path: checksum(out / path) for path in documents(dataset)}
    summary = _Summary()
    there = [m.shard for m in shards]
    objects[ITEMS] = _compact(out, ITEMS, _item_tables(out, there, summary), _items_schema(dataset))
    objects[LEDGER] = _compact(out, LEDGER, _ledger_tables(out, dataset, failed), ledger.SCHEMA)
    objects[STATISTICS] = publish(out, STATISTICS, _json(_statistics(out, dataset, there)))
    objects[COLLECTION] = publish(out, COLLECTION, _json(_collection(dataset, summary)))
    objects[SHARD_INDEX] = publish(out, SHARD_INDEX, _json(_shard_index(out, shards)))
    objects |= _coordinates(out, dataset)
    objects |= {path: publish(out, path, content) for path, content in more.items()}
    manifest = DatasetManifest(
        spec=dataset,
        samples=summary.splits.total(),
        splits=dict(sorted(summary.splits.items())),
        licences=tuple(sorted(summary.licences)),
        attribution=tuple(summary.attribution),
        objects=dict(sorted(objects.items())),
    )
    beside = {path: publish(out, path, text.encode()) for path, text in documents_of(manifest).items()}
    manifest = replace(manifest, objects=dict(sorted({**objects, **beside}.items())))
    publish(out, MANIFEST, dataset_to_bytes(manifest))
    deliver(out, manifest.objects)
    return manifest


def _why_nothing(out: Path, shards: Sequence[int]) -> str:
    """One line about the layers without any observation; if there are none, why samples were refused."""
    absent = ledger.why_absent(row for shard in shards for row in ledger.ledger_of(out, shard, "detail"))
    whole = absent.pop("sample", "")
    reasons = [f"{layer} {why}" for layer, why in absent.items()]
    return ", ".join(reasons or [whole or "every shard failed"])


def _ledger_tables(out: Path, dataset: DatasetSpec, failed: Mapping[int, Sequence[Outcome]]) -> Iterator[pa.Table]:
    for index in range(dataset.shards):
        yield read_part(out, "ledger", index) if index not in failed else ledger.table_of_failed(index, failed[index])


def _item_tables(out: Path, shards: Sequence[int], summary: _Summary) -> Iterator[pa.Table]:
    for index in shards:
        table = read_part(out, "items", index)
        summary.add(table)
        yield table


def _compact(out: Path, path: str, tables: Iterator[pa.Table], schema: pa.Schema) -> ObjectSum:
    """Stream tables into one Parquet file of even row groups."""
    with staging(out, "file") as folder:
        aside = folder / "table.parquet"
        waiting: list[pa.Table] = []
        with pq.ParquetWriter(aside, schema, **PARQUET) as writer:
            for table in tables:
                waiting.append(table.cast(schema))
                while sum(t.num_rows for t in waiting) >= ROW_GROUP:
                    rows = pa.concat_tables(waiting).combine_chunks()
                    writer.write_table(rows.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                    waiting = [rows.slice(ROW_GROUP)]
            rest = pa.concat_tables(waiting).combine_chunks() if waiting else schema.empty_table()
            if rest.num_rows:
                writer.write_table(rest, row_group_size=ROW_GROUP)
            if schema.metadata:
                writer.add_key_value_metadata(schema.metadata)
        found = checksum(aside)
        move_durably(aside, out / path)
    return found


def _items_schema(dataset: DatasetSpec) -> pa.Schema:
    """Columns with GeoParquet 1.1 and stac-geoparquet 1.1 metadata. No CRS entry means OGC:CRS84 (GeoParquet 1.1)."""
    covering = {edge: ["bbox", edge] for edge in ("xmin", "ymin", "xmax", "ymax")}
    column = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "covering": {"bbox": covering}}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    stac = {"version": "1.1.0"}
    metadata = {b"geo": canonical_json(geo).encode(), b"stac-geoparquet": canonical_json(stac).encode()}
    return catalogue.schema(dataset).with_metadata(metadata)


def _statistics(out: Path, dataset: DatasetSpec, shards: Sequence[int]) -> Json:
    total = Statistics(dataset)
    for index in shards:
        with whole_part(out, "statistics", index):
            total.merge(Statistics.read(out / part("statistics", index), dataset))
    return {"split": "train", "values": "stored numbers, before scale and offset", "bands": total.summary()}


def _collection(dataset: DatasetSpec, summary: _Summary) -> Json:
    return collection(
        dataset,
        {
            "bbox": summary.bbox(),
            "interval": summary.times,
            "splits": list(summary.splits),
            "licences": sorted(summary.licences),
            "attribution": list(summary.attribution),
        },
    )


def _shard_index(out: Path, shards: list[ShardManifest]) -> Json:
    index: Json = {}
    for manifest in shards:
        found = checksum(out / shard_manifest(manifest.shard))
        index[str(manifest.shard)] = {
            "sha256": found.sha256,
            "size": found.size,
            "split": manifest.split,
            "samples": sum(s is not None for s in manifest.samples),
            "refused": len(manifest.refused),
        }
    return index


def _coordinates(out: Path, dataset: DatasetSpec) -> dict[str, ObjectSum]:
    """The root arrays with one number per row, from the catalogue."""
    table = pq.read_table(out / ITEMS, columns=["shard", "row", *COORDINATES])
    rows = table["shard"].to_numpy().astype(np.int64) * dataset.shard_samples + table["row"].to_numpy()
    objects = {}
    for name, dtype in COORDINATES.items():
        values = np.full(dataset.rows, 0 if dtype == "int32" else np.nan, np.dtype(dtype).newbyteorder("<"))
        values[rows] = table[name].to_numpy()
        path = f"{ZARR}/{name}/c/0"
        objects[path] = publish(out, path, values.tobytes())
    return objects


def _json(data: Json) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
