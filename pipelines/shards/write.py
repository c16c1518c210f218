"""Writes one shard from stacks: sample by sample, verified, published in one step.

Memory: one stack, the indexes (16 bytes per inner chunk) and the shard's catalogue rows. Inner chunks are encoded and
appended to one file per array as stacks arrive, so this is enough for a shard of any size. zarr-python would
assemble every array of the shard in memory and store absent observations as fill values; this writes the same format.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from landweave import codec
from landweave.layout import part, questions, shard_manifest, shard_name, vectors
from landweave.layout import thumbnail as thumbnail_path
from landweave.manifest import ShardManifest, shard_to_bytes
from landweave.questions import COLUMNS as QUESTION_COLUMNS
from landweave.shard import fill_value
from pipelines.shards import ledger
from pipelines.shards import stac_items as catalogue
from pipelines.shards.desk import hand_over
from pipelines.shards.packs import PackWriter
from pipelines.shards.publish import checksum, prepare, publish_shard, read_manifest, room_needed, staging
from pipelines.shards.statistics import Statistics
from pipelines.shards.thumbnails import thumbnail
from pipelines.shards.verify import pixels_crc, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, Json
    from schemas.stack import Stack

PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "store_schema": False,
    "version": "2.6",
    "write_page_checksum": True,
}
"""Writer settings of every Parquet file: fixed, so that the same rows give the same bytes. No Arrow schema is kept,
since Parquet's own types say all of ours. Pages carry a CRC, so that reading finds a flipped byte."""
PART: dict[str, Any] = {**PARQUET, "write_statistics": False, "use_dictionary": False}
"""Parts hold few rows of many columns: statistics and dictionaries would be most of the file."""
VECTOR_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("row", pa.int32()),
        ("osm_id", pa.string()),
        ("kind", pa.string()),
        ("tags", pa.map_(pa.string(), pa.string())),
        ("wkb", pa.binary()),
        ("epsg", pa.int32()),
        ("area_m2", pa.float64()),
        ("length_m", pa.float64()),
        ("snapshot", pa.date32()),
    ]
)
"""Columns of vectors/<label>/<shard>.parquet; `wkb` in the sample's CRS; tags by key."""
_ARROW = {"string": pa.string(), "int32": pa.int32(), "list<string>": pa.list_(pa.string())}
QUESTION_SCHEMA = pa.schema([(name, _ARROW[kind]) for name, kind in QUESTION_COLUMNS.items()])
"""Columns of questions/<shard>.parquet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRows:
    """Samples of a shard."""

    index: int
    """Number of the shard, 0-based."""
    split: str
    """'train', 'val' or 'test': the same for all its samples."""
    sample_ids: tuple[str, ...]
    """Sample of each row, in order; at most the dataset's `shard_samples`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """Outcome of a shard."""

    index: int
    """Number of the shard."""
    written: bool
    """False where it was there already."""
    samples: int
    """Samples in it."""
    refused: int
    """Samples that a quality rule kept out."""
    size_bytes: int
    """Bytes of its objects."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Ledger rows by reason code; empty where it was there already."""


def write_shard(
    out: Path,
    shard: ShardRows,
    stacks: Iterable[Stack],
    dataset: DatasetSpec,
    footprints: Mapping[str, dict[str, Any]],
    asked: Callable[[], list[Json]] = list,
) -> ShardReport:
    """Write, verify and publish one shard; nothing is read from `stacks` where it is published already.

    Args:
        out: the dataset's folder; created where it is not there.
        shard: which samples.
        stacks: one for each of `shard.sample_ids`, in that order. A stack with an outcome SAMPLE_REFUSED leaves a hole:
            its ledger rows are kept, its pixels are not.
        dataset: from `dataset_spec`.
        footprints: sample id -> GeoJSON polygon or multipolygon, lon/lat, cut at the antimeridian.
        asked: called after the last stack for the rows of the shard's questions.

    Raises:
        ValueError: stacks that are not those of the plan, or arrays that are not those of the dataset: our mistake.
        VerifyError: what was written does not read back.
        OtherDatasetError: `out` holds another recipe's dataset.
        FullError: the disk is full; nothing of the shard is visible then.
    """
    prepare(out, dataset)
    existing = read_manifest(out, shard.index, dataset)
    if existing is not None:
        return _report(existing, written=False, reasons={})
    if len(shard.sample_ids) > dataset.shard_samples or not 0 <= shard.index < dataset.shards:
        raise ValueError(
            f"shard {shard.index} with {len(shard.sample_ids)} samples does not match the dataset's layout"
        )
    with room_needed(out), staging(out, shard_name(shard.index)) as folder:
        writer = _ShardWriter(folder, shard, dataset)
        arrived = 0
        for row, stack in enumerate(stacks):
            expected = shard.sample_ids[row] if row < len(shard.sample_ids) else None
            if stack.place.sample_id != expected or stack.place.split != shard.split:
                raise ValueError(
                    f"shard {shard.index} row {row}: got sample {stack.place.sample_id} of split {stack.place.split}, "
                    f"the plan has {expected} of split {shard.split}"
                )
            writer.add(row, stack, footprints)
            arrived += 1
        if arrived != len(shard.sample_ids):
            raise ValueError(f"shard {shard.index}: {arrived} stacks arrived, the plan has {len(shard.sample_ids)}")
        manifest = writer.finish(asked())
        kept = hand_over(out, folder, sorted(manifest.objects), shard.index)
        if kept is None:
            existing = read_manifest(out, shard.index, dataset)
            return _report(existing or manifest, written=False, reasons={})
        written = publish_shard(out, folder, kept, shard.index)
    return _report(manifest, written=written, reasons=dict(sorted(writer.reasons.items())))


def _report(manifest: ShardManifest, *, written: bool, reasons: dict[str, int]) -> ShardReport:
    return ShardReport(
        index=manifest.shard,
        written=written,
        samples=sum(s is not None for s in manifest.samples),
        refused=len(manifest.refused),
        size_bytes=sum(o.size for o in manifest.objects.values()),
        reasons=reasons,
    )


class _ArrayWriter:
    """One array's object of a shard: inner chunks appended in order, the index last."""

    def __init__(self, file: BinaryIO, array: ArraySpec, rows: int, pack: PackWriter) -> None:
        self._file, self._array, self._pack = file, array, pack
        self._entries = np.full((rows, array.chunks_per_row, 2), codec.ABSENT, np.uint64)
        self._offset = 0
        self.written: dict[tuple[int, int], int] = {}

    def add(self, row: int, slot: int, pixels: NDArray[Any]) -> None:
        first = slot * self._array.chunks_per_date
        for number, piece in enumerate(_pieces(pixels, self._array), first):
            data = codec.encode_chunk(piece, self._array.codec)
            self._file.write(data)
            self._pack.add(self._array, number, data)
            self._entries[row, number] = (self._offset, len(data))
            self._offset += len(data)
        self.written[row, slot] = pixels_crc(pixels)

    def close(self) -> None:
        self._file.write(codec.encode_index(self._entries.reshape(-1, 2)))
        self._file.close()


def _pieces(pixels: NDArray[Any], array: ArraySpec) -> list[NDArray[Any]]:
    """The chunks of one date, array.chunk_shape each: the last is filled up with the fill value, as Zarr demands."""
    if not array.bands_per_chunk:
        return [pixels]
    pieces = [pixels[band : band + array.bands_per_chunk] for band in range(0, len(pixels), array.bands_per_chunk)]
    if pieces[-1].shape != array.chunk_shape:
        last = np.full(array.chunk_shape, fill_value(array), pixels.dtype)
        last[: len(pieces[-1])] = pieces[-1]
        pieces[-1] = last
    return pieces


class _ShardWriter:
    """Files of one shard in its staging folder."""

    def __init__(self, folder: Path, shard: ShardRows, dataset: DatasetSpec) -> None:
        self._folder, self._shard, self._dataset = folder, shard, dataset
        self._arrays: dict[str, _ArrayWriter] = {}
        self._samples: list[str | None] = []
        self._refused: list[str] = []
        self._presence: dict[str, list[str]] = {g.name: [] for g in dataset.groups}
        self._items: list[Json] = []
        self._ledger: list[Json] = []
        self._vectors: dict[str, list[Json]] = {g.name: [] for g in dataset.groups if g.vectors}
        self._pictures: list[str] = []
        self._statistics = Statistics(dataset)
        self._pack = PackWriter(folder, shard.index, dataset)
        self.reasons: Counter[str] = Counter()

    def add(self, row: int, stack: Stack, footprints: Mapping[str, dict[str, Any]]) -> None:
        sample = stack.place.sample_id
        self._ledger += ledger.rows(stack, self._shard.index, row)
        self.reasons.update(o.reason.value for o in stack.outcomes)
        if ledger.refused(stack):
            self._samples.append(None)
            self._refused.append(sample)
            for group in self._dataset.groups:
                self._presence[group.name].append("0" * group.slot_count)
            return
        ledger.check(stack, self._dataset)
        self._items.append(
            catalogue.item(stack, self._shard.index, row, self._shard.split, footprints[sample], self._dataset)
        )
        self._samples.append(sample)
        for name, slots in catalogue.slots_present(stack, self._dataset).items():
            self._presence[name].append(slots)
        for array, slot, pixels in _chips(stack, self._dataset):
            self._array(array).add(row, slot, pixels)
        self._pack.end(row)
        if self._dataset.pages:
            self._pictures.append(thumbnail_path(self._shard.index, sample))
            self._path(self._pictures[-1]).write_bytes(thumbnail(stack, self._dataset))
        if self._shard.split == "train":
            self._statistics.add(stack)
        for name, rows in self._vectors.items():
            rows.extend(_vector_rows(stack, name, row))

    def finish(self, asked: list[Json]) -> ShardManifest:
        """Close, verify, write the parts, the questions and the manifest."""
        for writer in self._arrays.values():
            writer.close()
        packs = self._pack.close()
        index = self._shard.index
        verify(self._folder, self._dataset, index, {path: w.written for path, w in self._arrays.items()})
        paths = [a.object(index) for a in self._dataset.arrays if a.path in self._arrays]
        paths += [*packs, part("items", index), part("ledger", index), part("statistics", index), *self._pictures]
        _write_parquet(self._path(part("items", index)), self._items, catalogue.schema(self._dataset))
        _write_parquet(self._path(part("ledger", index)), self._ledger, ledger.SCHEMA)
        self._statistics.write(self._path(part("statistics", index)))
        for name, rows in self._vectors.items():
            paths.append(vectors(name, index))
            _write_parquet(self._path(paths[-1]), rows, VECTOR_SCHEMA, PARQUET)
        if self._dataset.questions is not None:
            paths.append(questions(index))
            _write_parquet(self._path(paths[-1]), asked, QUESTION_SCHEMA, PARQUET)
        manifest = ShardManifest(
            shard=index,
            split=self._shard.split,
            recipe_sha256=self._dataset.recipe_sha256,
            samples=tuple(self._samples),
            refused=tuple(self._refused),
            presence={name: tuple(rows) for name, rows in self._presence.items()},
            objects={path: checksum(self._folder / path) for path in sorted(paths)},
        )
        self._path(shard_manifest(index)).write_bytes(shard_to_bytes(manifest))
        return manifest

    def _array(self, array: ArraySpec) -> _ArrayWriter:
        if array.path not in self._arrays:
            file = self._path(array.object(self._shard.index)).open("wb")
            self._arrays[array.path] = _ArrayWriter(file, array, self._dataset.shard_samples, self._pack)
        return self._arrays[array.path]

    def _path(self, path: str) -> Path:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def _chips(stack: Stack, dataset: DatasetSpec) -> Iterable[tuple[ArraySpec, int, NDArray[Any]]]:
    """Every inner chunk of a sample, as the dataset's specification states."""
    for group in dataset.groups:
        if group.kind == "label":
            label = stack.labels.get(group.name)
            if label is not None:
                yield _checked(stack, group.arrays[0], 0, label.stored)
                for array in group.arrays[1:]:
                    yield _checked(stack, array, 0, label.more.get(array.name))
            continue
        for slot in range(group.slot_count):
            observation = stack.observations.get((group.name, slot))
            if observation is None:
                continue
            for array in group.arrays:
                masks = {"valid": observation.valid, "cloud": observation.cloud}
                pixels = observation.arrays.get(array.name) if array.role == "pixels" else masks[array.role]
                yield _checked(stack, array, slot, pixels)


def _checked(
    stack: Stack, array: ArraySpec, slot: int, pixels: NDArray[Any] | None
) -> tuple[ArraySpec, int, NDArray[Any]]:
    found = "nothing" if pixels is None else f"{pixels.dtype} {pixels.shape}"
    if pixels is None or pixels.shape != array.chip_shape or pixels.dtype != np.dtype(array.dtype):
        raise ValueError(
            f"sample {stack.place.sample_id}: {array.path} slot {slot}: got {found}, "
            f"expected {array.dtype} {array.chip_shape}"
        )
    return array, slot, pixels


def _vector_rows(stack: Stack, name: str, row: int) -> list[Json]:
    layer = stack.vectors.get(name)
    if layer is None:
        return []
    return [
        {
            "sample_id": stack.place.sample_id,
            "row": row,
            "osm_id": f.osm_id,
            "kind": f.kind,
            "tags": sorted(f.tags.items()),
            "wkb": f.wkb,
            "epsg": stack.place.geobox.epsg,
            "area_m2": f.area_m2,
            "length_m": f.length_m,
            "snapshot": layer.snapshot,
        }
        for f in sorted(layer.features, key=lambda f: f.osm_id)
    ]


def _write_parquet(path: Path, rows: list[Json], schema: pa.Schema, settings: dict[str, Any] = PART) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema), path, **settings)
