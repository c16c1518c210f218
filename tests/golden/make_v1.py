"""Write tests/golden/v1: a tiny dataset of layout version 1, to be read for ever. Run once per layout version.

python -m tests.golden.make_v1
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import landweave
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


def digests(data: landweave.Dataset) -> dict[str, dict[str, str]]:
    """Sample -> array -> SHA-256 of its pixels as the reader gives them: shape, dtype, bytes."""
    found: dict[str, dict[str, str]] = {}
    for sample in data:
        arrays = {name: sample.get(name) for name in data.arrays}
        found[sample.id] = {
            name: hashlib.sha256(f"{a.dtype.str}{a.shape}".encode() + np.ascontiguousarray(a).tobytes()).hexdigest()
            for name, a in arrays.items()
            if a is not None
        }
    return found


def written(version: str, build: Callable[[Path], object]) -> int:
    """Let `build` write a version's dataset, and write the digests of its pixels beside it; 1 if it is there."""
    target = HERE / version
    if target.exists():
        sys.stderr.write(f"{target.name} is there already: golden data are never rewritten\n")
        return 1
    build(target)
    shutil.rmtree(target / ".staging", ignore_errors=True)
    (HERE / f"{version}.json").write_text(json.dumps(digests(landweave.open(target)), indent=1, sort_keys=True) + "\n")
    return 0


def main() -> int:
    return written("v1", planned((3, 1), sources=("sentinel2", "dem"), size_m=60.0, name="golden-v1").build)


if __name__ == "__main__":
    sys.exit(main())
