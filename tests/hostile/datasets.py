"""Datasets as somebody else might make them: whole, sealed, and with something in them that should not be."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import landweave
from landweave import codec
from landweave.manifest import seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ITEMS = "catalogue/items.parquet"


def manifest(folder: Path) -> dict[str, Any]:
    """landweave.json without its seal."""
    found = json.loads((folder / "landweave.json").read_text())
    del found["sha256"]
    return found


def sealed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change landweave.json and seal it again."""
    found = manifest(folder)
    change(found)
    (folder / "landweave.json").write_bytes(seal(found))


def resealed(folder: Path, *paths: str) -> None:
    """Let landweave.json say what these files hold by now."""

    def change(found: dict[str, Any]) -> None:
        for path in paths:
            raw = (folder / path).read_bytes()
            found["objects"][path] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}

    sealed(folder, change)


def items(folder: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the catalogue, checksum included."""
    table = change(pq.read_table(folder / ITEMS))
    pq.write_table(table, folder / ITEMS, store_schema=False)
    resealed(folder, ITEMS)


def column(name: str, value: Any, kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    """A change of the catalogue: one value in all rows of a column."""

    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(name)
        values = pa.array([value] * table.num_rows, kind or table.schema.field(at).type)
        return table.set_column(at, name, values)

    return change


def spec_of(found: dict[str, Any], path: str) -> dict[str, Any]:
    """An array in landweave.json."""
    return next(a for g in found["dataset"]["groups"] for a in g["arrays"] if f"{g['name']}/{a['name']}" == path)


def chunk(raw: bytes) -> bytes:
    """A chunk with its right checksum."""
    return raw + codec._crc(raw)


def chunks(folder: Path, path: str, change: Callable[[bytes, np.ndarray], bytes]) -> None:
    """Change the chunks and the index of an array's first shard; the index gets its right checksum."""
    data = landweave.open(folder)
    array = data.arrays[path]
    file = folder / array.object(0)
    raw = file.read_bytes()
    length = codec.index_bytes(data.spec.shard_samples * array.slots)
    entries = np.frombuffer(raw[-length:-4], "<u8").reshape(-1, 2).copy()
    body = change(raw[:-length], entries)
    file.write_bytes(body + codec.encode_index(entries))
