"""webdataset: tar files, a sample's members side by side: `000000012.sentinel2.bands_10m.npy`, `.txt`, `.json`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

from landweave.export import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from landweave.export import Job
    from landweave.record import Record

FILE_BYTES = 1 << 28
"""webdataset's documentation asks for some 256 MB to 1 GB."""


def require() -> None:
    """ModuleNotFoundError if the library is not there."""
    if find_spec("webdataset") is None:
        raise ModuleNotFoundError("webdataset", name="webdataset")


def write_part(folder: Path, records: Iterator[Record], job: Job) -> None:
    """One tar file. Absent observations have no member; `json` holds the metadata, `txt` one caption per line."""
    del job
    import webdataset  # type: ignore[import-not-found,unused-ignore]

    with webdataset.TarWriter(str(folder / "part.tar"), mtime=0, encoder=True) as tar:
        for number, item in enumerate(records):
            members: dict[str, object] = {"__key__": f"{number:06d}"}
            members |= {f"{name}.npy": pixels for name, pixels in item.arrays.items() if pixels is not None}
            if item.captions:
                members["txt"] = "\n".join(" ".join(c.split()) for c in item.captions)
            members["json"] = json.dumps(item.metadata, sort_keys=True, ensure_ascii=False).encode()
            tar.write(members)


def assemble(root: Path, split: str, parts: Sequence[Path], job: Job) -> None:
    """`train-000000.tar`, ..."""
    del job
    for number, part in enumerate(parts):
        place(part / "part.tar", root, f"{split}-{number:06d}.tar")


def finish(root: Path, splits: dict[str, int], job: Job) -> None:
    """Does nothing: the format needs no further files."""
