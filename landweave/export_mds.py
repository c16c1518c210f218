"""MosaicML streaming: MDS shards. Arrays are .npy bytes, and empty bytes if nothing was obtained."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.export import place, within, write
from landweave.record import flat_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.export import Job
    from landweave.record import Record

FILE_BYTES = 1 << 26
"""MDSWriter's own default for a shard, 64 MB."""


def require() -> None:
    """ModuleNotFoundError if the library is not there."""
    if find_spec("streaming") is None:
        raise ModuleNotFoundError("streaming", name="mosaicml-streaming")


def write_part(folder: Path, records: Iterator[Record], job: Job) -> None:
    """One shard with the columns id, captions, metadata, and one column per array."""
    from streaming import MDSWriter  # type: ignore[import-not-found,unused-ignore]

    columns = {"id": "str", "captions": "json", "metadata": "json"}
    columns |= {flat_name(a): "bytes" for a in job.arrays}
    with MDSWriter(
        out=str(folder), columns=columns, compression=job.compression, hashes=["sha1"], size_limit=None
    ) as writer:
        for item in records:
            row = {"id": item.id, "captions": item.captions, "metadata": item.metadata}
            writer.write({**row, **{name: npy(pixels) for name, pixels in item.arrays.items()}})


def npy(pixels: NDArray[Any] | None) -> bytes:
    """As `numpy.load(io.BytesIO(...))` reads it; empty for None."""
    if pixels is None:
        return b""
    file = io.BytesIO()
    np.lib.format.write_array(file, pixels, allow_pickle=False)
    return file.getvalue()


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`train/shard.00000.mds`, ... and one index of them."""
    del job
    shards: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        index = json.loads((part / "index.json").read_text())
        for shard in index["shards"]:
            for form in ("raw_data", "zip_data"):
                if shard[form] is not None:
                    old = shard[form]["basename"]
                    shard[form]["basename"] = old.replace("shard.00000", f"shard.{number:05d}")
                    if within(part, old).exists():
                        place(within(part, old), root, f"{split}/{shard[form]['basename']}")
            shards.append(shard)
    text = json.dumps({"version": 2, "shards": shards}, sort_keys=True)
    write(root, f"{split}/index.json", text)


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """Does nothing: the format needs no further files."""
