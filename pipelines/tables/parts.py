"""The plan on disk: one file per table and partition, with one row group per shard.

recipe.json  shards.parquet  samples/part-00000.parquet ...    where: written first
scenes/  candidates/  absences/part-00000.parquet ...          what there is: partition by partition
parts/part-00000.json                                          a partition's counts: its last file
plan.json                                                      all counts: the plan's last file
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.durable import durably, read_regular, write_durably
from pipelines.tables import rows
from pipelines.tables.records import PartPlan, PlanError, ShardPlan
from pipelines.tables.summary import damaged, read_recipe_of, whole
from pipelines.tables.texts import read_texts
from schemas.texts import ColumnCaptions, FileCaptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from pipelines.tables.records import CandidateKey, Hrefs
    from schemas.attribute import AttributeType

FOUND = ("scenes", "candidates", "absences")
"""Tables that planning a partition writes."""


@dataclass(frozen=True, eq=False, slots=True)
class ShardTable:
    """Position of each shard."""

    part: NDArray[np.int32]
    """(shards,) partition."""
    group: NDArray[np.int32]
    """(shards,) row group in the partition's files."""
    samples: NDArray[np.int32]
    """(shards,) samples of each."""

    @property
    def parts(self) -> int:
        """Partitions."""
        return int(self.part.max()) + 1

    def shards_of(self, part: int) -> list[int]:
        """Shard numbers of a partition, ascending: the order of its row groups."""
        return [int(shard) for shard in np.flatnonzero(self.part == part)]


def write_shard_table(folder: Path, groups: Iterable[NDArray[np.int64]], samples: NDArray[np.int64]) -> ShardTable:
    """Write shards.parquet.

    Args:
        folder: of the plan.
        groups: shard numbers of each partition, ascending.
        samples: (shards,) samples of each shard.
    """
    part, group = np.zeros(len(samples), dtype=np.int32), np.zeros(len(samples), dtype=np.int32)
    for number, shards in enumerate(groups):
        part[shards], group[shards] = number, np.arange(len(shards))
    found = ShardTable(part, group, samples.astype(np.int32))
    table = pa.table({"part": found.part, "group": found.group, "samples": found.samples})
    with durably(folder / "shards.parquet") as aside:
        pq.write_table(table, aside, compression="zstd")
    return found


def read_shard_table(folder: Path) -> ShardTable:
    """shards.parquet; kept in memory as long as the file is the same.

    Raises:
        PlanError: it is not there.
    """
    path = folder / "shards.parquet"
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise damaged(path) from None
    return _shard_table(str(path), stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=8)
def _shard_table(path: str, _mtime_ns: int, _inode: int) -> ShardTable:
    with whole(Path(path)):
        table = pq.read_table(path)
        return ShardTable(*(table.column(name).to_numpy() for name in ("part", "group", "samples")))


def write_samples(
    folder: Path,
    part: int,
    shards: Iterable[tuple[int, Mapping[str, Any]]],
    attributes: Mapping[str, AttributeType] = MappingProxyType({}),
) -> None:
    """Write a partition's samples.

    Args:
        folder: of the plan.
        part: partition number.
        shards: (shard number, columns of its samples in row order), shard numbers ascending.
        attributes: name -> type of what the samples carry along; its columns are called attr_NAME.
    """
    schema = rows.samples_schema(attributes)

    def tables() -> Iterator[pa.Table]:
        for shard, columns in shards:
            count = len(columns["sample_id"])
            more = {"shard": np.full(count, shard, np.int32), "row": np.arange(count, dtype=np.int32)}
            whole = {"stratum": pa.nulls(count, pa.string()), **columns, **more}
            yield pa.Table.from_arrays(
                [pa.array(whole[field.name], type=field.type) for field in schema], schema=schema
            )

    _write(folder, "samples", part, schema, tables())


def write_part(folder: Path, part: PartPlan, facts: Mapping[str, Any], hrefs: Hrefs) -> None:
    """Write what planning a partition found; `facts` go into its JSON file, the last to appear."""
    found, absent = _keys_by_shard(part, part.candidates), _keys_by_shard(part, part.absences)
    known: dict[int, str] = {}
    _write(folder, "scenes", part.number, rows.SCENES, (rows.scene_rows(part, k, known, hrefs) for k in found))
    _write(folder, "candidates", part.number, rows.CANDIDATES, (rows.candidate_rows(part, k) for k in found))
    _write(folder, "absences", part.number, rows.ABSENCES, (rows.absence_rows(part, k) for k in absent))
    write_durably(_marker(folder, part.number), json.dumps(facts, sort_keys=True) + "\n")


def facts_of(folder: Path, part: int) -> dict[str, Any] | None:
    """The record that `write_part` stored of a partition; None if it is not planned, or the file is damaged."""
    try:
        facts = json.loads(read_regular(_marker(folder, part)))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def files_of(part: int) -> list[str]:
    """Files of a partition, relative to the plan's folder; the one that says it is whole comes last."""
    return [*(f"{t}/part-{part:05d}.parquet" for t in ("samples", *FOUND)), f"parts/part-{part:05d}.json"]


def check_whole(folder: Path, parts: int) -> None:
    """Check that every table of a plan exists and can be opened, before shards are handed out; reads footers only.

    Raises:
        PlanError: names the first that is not.
    """
    given = isinstance(read_recipe_of(folder).captions, ColumnCaptions | FileCaptions)
    names = [*(["texts.parquet"] if given else []), "shards.parquet"]
    names += [name for part in range(parts) for name in files_of(part)[:-1]]
    for name in names:
        with whole(folder / name):
            pq.read_metadata(folder / name)


def read_shard(folder: Path, index: int, hrefs: Hrefs) -> ShardPlan:
    """The part of the plan that one shard needs; reads one row group of each table.

    Raises:
        PlanError: there is no such shard.
    """
    table = read_shard_table(folder)
    if not 0 <= index < len(table.part):
        raise PlanError(f"the plan has {len(table.part)} shards and no shard {index}: plan into another folder")
    part, group = int(table.part[index]), int(table.group[index])
    samples, scenes, candidates, absences = (_group(folder / file, group) for file in files_of(part)[:-1])
    return ShardPlan(
        index=index,
        places=tuple(rows.place_from(row) for row in samples),
        scenes=rows.scenes_from(scenes, hrefs),
        candidates=rows.candidates_from(candidates),
        absences=rows.absences_from(absences),
        texts=read_texts(folder, index),
    )


def read_part(folder: Path, part: int, hrefs: Hrefs | None = None) -> PartPlan:
    """A partition: its places, and with `hrefs` also what planning it found."""
    shards = read_shard_table(folder).shards_of(part)
    samples, scenes, candidates, absences, _ = files_of(part)
    places = {
        shard: tuple(rows.place_from(row) for row in _group(folder / samples, group))
        for group, shard in enumerate(shards)
    }
    plan = PartPlan(recipe=read_recipe_of(folder), number=part, shards=places)
    if hrefs is not None:
        with whole(folder / candidates):
            plan.candidates = rows.candidates_from(pq.read_table(folder / candidates).to_pylist())
        with whole(folder / absences):
            plan.absences = rows.absences_from(pq.read_table(folder / absences).to_pylist())
        with whole(folder / scenes):
            for batch in pq.ParquetFile(folder / scenes).iter_batches(batch_size=1024):
                for layer, found in rows.scenes_from(batch.to_pylist(), hrefs).items():
                    plan.scenes.setdefault(layer, {}).update(found)
    return plan


def _group(path: Path, group: int) -> list[dict[str, Any]]:
    """One row group of a table of the plan."""
    with whole(path):
        found: list[dict[str, Any]] = pq.ParquetFile(path).read_row_group(group).to_pylist()
    return found


def _marker(folder: Path, part: int) -> Path:
    return folder / files_of(part)[-1]


def _write(folder: Path, name: str, part: int, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write one file with one row group per table; the file appears only when complete."""
    with (
        durably(folder / name / f"part-{part:05d}.parquet") as aside,
        pq.ParquetWriter(aside, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _keys_by_shard(part: PartPlan, keys: Iterable[CandidateKey]) -> list[list[CandidateKey]]:
    """Keys sorted inside their shard, shards in the order of their row groups."""
    group_of = {place.sample_id: group for group, places in enumerate(part.shards.values()) for place in places}
    grouped: list[list[CandidateKey]] = [[] for _ in part.shards]
    for key in keys:
        grouped[group_of[key[0]]].append(key)
    for mine in grouped:
        mine.sort()
    return grouped
