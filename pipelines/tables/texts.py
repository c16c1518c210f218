"""texts.parquet: the texts that a file gives to the samples, frozen with the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.durable import durably
from pipelines.tables.summary import whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TEXTS = "texts.parquet"
_SCHEMA = pa.schema([("shard", pa.int32()), ("sample_id", pa.string()), ("texts", pa.list_(pa.string()))])
_AT_ONCE = 65_536


def write_texts(folder: Path, rows: Iterable[tuple[int, str, list[str]]]) -> int:
    """Write the texts in the order of shards; the texts of all samples are held meanwhile, twice while they are sorted.

    Args:
        folder: of the plan.
        rows: (shard, sample id, texts); a sample may come several times.

    Returns:
        Number of samples that have a text.
    """
    tables: list[pa.Table] = []
    held: list[tuple[int, str, list[str]]] = []
    for row in rows:
        if row[2]:
            held.append(row)
        if len(held) == _AT_ONCE:
            tables.append(_table(held))
            held = []
    table = pa.concat_tables([*tables, _table(held)])
    table = table.take(pc.sort_indices(table, sort_keys=[("shard", "ascending"), ("sample_id", "ascending")]))
    with durably(folder / TEXTS) as aside:
        pq.write_table(table, aside, compression="zstd", row_group_size=4_096)
    return len(pc.unique(table.column("sample_id")))


def read_texts(folder: Path, shard: int) -> dict[str, tuple[str, ...]]:
    """Sample id -> texts, in the order of the file, for the samples of a shard that have any; {} if the plan has none.

    Raises:
        PlanError: the file is damaged.
    """
    if not (folder / TEXTS).exists():
        return {}
    with whole(folder / TEXTS):
        rows = pq.read_table(folder / TEXTS, filters=[("shard", "==", shard)]).to_pylist()
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row["sample_id"]] = (*found.get(row["sample_id"], ()), *row["texts"])
    return found


def _table(rows: list[tuple[int, str, list[str]]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.Table.from_arrays(
        [pa.array(list(c), type=f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )
