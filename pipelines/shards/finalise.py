"""Finishes a build: joins the parts to the catalogue, in shard order, and writes `landweave.json` last."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

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
    MAP,
    SHARD_INDEX,
    STATISTICS,
    ZARR,
    part,
    shard_manifest,
)
from landweave.manifest import DatasetManifest, ObjectSum, dataset_to_bytes
from pipelines.durable import move_durably
from pipelines.shards import ledger, parts
from pipelines.shards import stac_items as catalogue
from pipelines.shards.desk import deliver, refresh
from pipelines.shards.ledger import IncompleteError, read_part, whole_part
from pipelines.shards.pages import Pages
from pipelines.shards.publish import checksum, prepare, publish, publish_many, read_manifest, staging
from pipelines.shards.stac_collection import collection
from pipelines.shards.statistics import Statistics
from pipelines.shards.thumbnails import map_of
from pipelines.shards.write import PARQUET
from pipelines.shards.zarr_metadata import documents
from schemas.canonical import canonical_json
from schemas.place import BBox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from landweave.layout import DatasetSpec, Json
    from schemas.outcome import Outcome

ROW_GROUP = 8_192
"""Rows of a row group of the catalogue: one is read to answer for one sample."""


@dataclass(slots=True)
class _Summary:
    """What is said of all items, collected during one pass."""

    items: str = "items.parquet"
    places: list[tuple[str, Json]] = field(default_factory=list)
    """(split, box) of each sample, where a map is drawn."""
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
    shards = _shard_index(out, dataset, failed)
    there = [int(number) for number in shards]
    if not any(entry["samples"] for entry in shards.values()):
        raise IncompleteError(f"no sample was kept: {_why_nothing(out, there)}")
    objects: dict[str, ObjectSum] = {path: checksum(out / path) for path in documents(dataset)}
    summary, pages = _Summary(), Pages(dataset, partial(publish_many, out))
    with _Coordinates(out, dataset) as places:
        objects |= _items(out, dataset, _item_tables(out, there, (summary, places, pages)), summary)
        objects |= places.finish()
    objects[LEDGER] = _compact(out, LEDGER, _ledger_tables(out, dataset, failed), ledger.SCHEMA)
    objects[STATISTICS] = publish(out, STATISTICS, _json(_statistics(out, dataset, there)))
    objects[COLLECTION] = publish(out, COLLECTION, _json(_collection(dataset, summary, pages.finish())))
    if dataset.pages:
        objects[MAP] = publish(out, MAP, map_of(summary.places))
    objects[SHARD_INDEX] = publish(out, SHARD_INDEX, _json(shards))
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
    deliver(out, [*pages.paths, *manifest.objects])
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


class _Coordinates:
    """Writes the root arrays with one number per row, shard by shard, in the order of their numbers."""

    def __init__(self, out: Path, dataset: DatasetSpec) -> None:
        self._out, self._dataset, self._next = out, dataset, 0
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> _Coordinates:
        self._open = ExitStack()
        folder = self._open.enter_context(staging(self._out, "file"))
        self._files = {name: self._open.enter_context((folder / name).open("wb")) for name in COORDINATES}
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def add(self, shard: int, table: pa.Table) -> None:
        """Take the items of a shard; rows without one, and shards that are left out, are holes."""
        while self._next < shard:
            self._write(None)
        self._write(table)

    def finish(self) -> dict[str, ObjectSum]:
        """Put the arrays in place; returns path -> checksum."""
        while self._next < self._dataset.shards:
            self._write(None)
        found = {}
        for name, file in self._files.items():
            file.close()
            path = f"{ZARR}/{name}/c/0"
            found[path] = checksum(Path(file.name))
            move_durably(Path(file.name), self._out / path)
        return found

    def _write(self, table: pa.Table | None) -> None:
        for name, dtype in COORDINATES.items():
            hole = 0 if dtype == "int32" else np.nan
            values = np.full(self._dataset.shard_samples, hole, np.dtype(dtype).newbyteorder("<"))
            if table is not None:
                values[table["row"].to_numpy()] = table[name].to_numpy()
            self._files[name].write(values.tobytes())
        self._next += 1


def _items(
    out: Path, dataset: DatasetSpec, tables: Iterator[tuple[int, pa.Table]], summary: _Summary
) -> dict[str, ObjectSum]:
    """Write the catalogue's items: one file, or parts if there are many samples."""
    schema = _items_schema(dataset)
    if dataset.rows <= parts.WHOLE_ROWS:
        return {ITEMS: _compact(out, ITEMS, (table for _, table in tables), schema)}
    summary.items = "items/"
    writer = parts.PartsWriter(out, dataset, schema, lambda path, aside: move_durably(aside, out / path))
    for shard, table in tables:
        writer.add(shard, table)
    return writer.finish()


def _item_tables(
    out: Path, shards: Sequence[int], takers: tuple[_Summary, _Coordinates, Pages]
) -> Iterator[tuple[int, pa.Table]]:
    summary, places, pages = takers
    for index in shards:
        table = read_part(out, "items", index)
        summary.add(table)
        places.add(index, table)
        pages.add(table)
        if pages.wanted:
            summary.places += zip(table["split"].to_pylist(), table["bbox"].to_pylist(), strict=True)
        yield index, table


def _compact(out: Path, path: str, tables: Iterator[pa.Table], schema: pa.Schema) -> ObjectSum:
    """Stream tables into one Parquet file of even row groups."""
    with staging(out, "file") as folder:
        aside = folder / "table.parquet"
        waiting: list[pa.Table] = []
        with pq.ParquetWriter(aside, schema, **PARQUET) as writer:
            for table in tables:
                waiting.append(ledger.in_form(table, schema))
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


def _collection(dataset: DatasetSpec, summary: _Summary, children: list[Json]) -> Json:
    return collection(
        dataset,
        {
            "bbox": summary.bbox(),
            "interval": summary.times,
            "splits": list(summary.splits),
            "licences": sorted(summary.licences),
            "attribution": list(summary.attribution),
            "items": summary.items,
            "children": children,
        },
    )


def _shard_index(out: Path, dataset: DatasetSpec, failed: Mapping[int, Sequence[Outcome]]) -> Json:
    """Number of each shard that is there -> checksum of its manifest, split, number of samples.

    Raises:
        IncompleteError: shards are missing that did not fail.
    """
    index: Json = {}
    missing = []
    for number in range(dataset.shards):
        manifest = read_manifest(out, number, dataset)
        if manifest is None:
            missing += [] if number in failed else [str(number)]
            continue
        found = checksum(out / shard_manifest(number))
        index[str(number)] = {
            "sha256": found.sha256,
            "size": found.size,
            "split": manifest.split,
            "samples": sum(s is not None for s in manifest.samples),
            "refused": len(manifest.refused),
        }
    if missing:
        some = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        raise IncompleteError(f"{len(missing)} of {dataset.shards} shards are missing ({some}): run the build again")
    return index


def _json(data: Json) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
