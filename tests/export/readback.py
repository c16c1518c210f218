"""Read an export with its own library, in its own environment, and say what was found: a line of JSON a sample.

python tests/export/readback.py FORMAT FOLDER. Knows nothing of landweave.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    Found = tuple[str, dict[str, Any], list[str], dict[str, Any]]
    """id, arrays (None = absent), captions, metadata"""


def webdataset(root: Path, split: str) -> Iterator[Found]:
    import webdataset as wds

    urls = [str(p) for p in sorted(root.glob(f"{split}-*.tar"))]
    for row in wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode():
        arrays = {k.removesuffix(".npy"): v for k, v in row.items() if k.endswith(".npy")}
        yield row["json"]["id"], arrays, row["txt"].splitlines(), row["json"]


def mds(root: Path, split: str) -> Iterator[Found]:
    from streaming import StreamingDataset

    for row in StreamingDataset(local=str(root), split=split, shuffle=False, batch_size=1):
        arrays = {k: np.load(io.BytesIO(v)) if v else None for k, v in row.items() if isinstance(v, bytes)}
        yield row["id"], arrays, row["captions"], row["metadata"]


def litdata(root: Path, split: str) -> Iterator[Found]:
    import litdata as library

    for row in library.StreamingDataset(str(root / split), shuffle=False):
        arrays = {k: v if v.shape[0] else None for k, v in row.items() if isinstance(v, np.ndarray)}
        yield row["id"], arrays, json.loads(row["captions"]), json.loads(row["metadata"])


def parquet(root: Path, split: str) -> Iterator[Found]:
    import datasets

    name = {"val": "validation"}.get(split, split)
    data = datasets.load_dataset(str(root), split=name, cache_dir=str(root.parent / "hf"))
    plain = ("id", "captions", "metadata", "lon", "lat", "epsg")
    for row in data:
        arrays = {
            k: None if v is None or len(v) == 0 else np.array(v, data.features[k].dtype)
            for k, v in row.items()
            if k not in plain
        }
        yield row["id"], arrays, row["captions"], json.loads(row["metadata"])


READERS = {"webdataset": webdataset, "mds": mds, "litdata": litdata, "parquet": parquet}


def checksum(array: Any) -> str:
    array = np.ascontiguousarray(array)
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()


def main() -> None:
    """Every split there is."""
    root = Path(sys.argv[2])
    for split in ("train", "val", "test"):
        for sample, arrays, captions, metadata in READERS[sys.argv[1]](root, split):
            sums = {name: checksum(array) for name, array in sorted(arrays.items()) if array is not None}
            found = {"id": sample, "split": split, "arrays": sums, "captions": captions, "metadata": metadata}
            print("FOUND", json.dumps(found, sort_keys=True), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
