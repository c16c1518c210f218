"""litData: chunks as its `optimize` writes them. An array without obtained dates has a first axis of 0."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.export import place, within, write
from landweave.record import flat_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from landweave.export import Job
    from landweave.record import Record

FILE_BYTES = 1 << 26
"""litData's documentation asks for chunks of 64 MB."""


def require() -> None:
    """ModuleNotFoundError if the library is not there."""
    if find_spec("litdata") is None:
        raise ModuleNotFoundError("litdata", name="litdata")


def write_part(folder: Path, records: Iterator[Record], job: Job) -> None:
    """One chunk of dicts: 'id', 'captions' and 'metadata' (JSON), and the arrays."""
    from litdata.streaming.writer import BinaryWriter  # type: ignore[import-not-found,unused-ignore]

    level = "sample" if job.compression else None
    # enough that one chunk contains the part
    writer = BinaryWriter(str(folder), chunk_size=1 << 30, compression=job.compression, compression_level=level)
    nothing = {flat_name(a): np.empty((0, *a.chip_shape), a.dtype) for a in job.arrays}
    for number, item in enumerate(records):
        row: dict[str, Any] = {
            "id": item.id,
            "captions": json.dumps(item.captions, ensure_ascii=False),
            "metadata": json.dumps(item.metadata, sort_keys=True, ensure_ascii=False),
        }
        writer[number] = {**row, **{n: nothing[n] if p is None else p for n, p in item.arrays.items()}}
    writer.done()
    writer.merge()


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`train/chunk-0-0.bin`, ... and one index of them, dated by its content so that the same export is the same."""
    del job
    chunks: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        index = json.loads((part / "index.json").read_text())
        (chunk,) = index["chunks"]
        name = chunk["filename"].replace("chunk-0-0", f"chunk-0-{number}")
        place(within(part, chunk["filename"]), root, f"{split}/{name}")
        chunks.append({**chunk, "filename": name})
    body = {"chunks": chunks, "config": index["config"]}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    text = json.dumps({**body, "updated_at": str(int(digest[:8], 16))}, sort_keys=True)
    write(root, f"{split}/index.json", text)


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """Does nothing: the format needs no further files."""
