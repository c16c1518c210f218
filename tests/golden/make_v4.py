"""Write tests/golden/v4: a tiny dataset of layout version 4, to be read for ever: chunks that hold some bands.

python -m tests.golden.make_v4
"""

from __future__ import annotations

import json
import shutil
import sys

import landweave
from tests.golden.make_v1 import HERE, digests
from tests.shards.synthetic import planned


def main() -> int:
    target = HERE / "v4"
    if target.exists():
        sys.stderr.write(f"{target.name} is there already: golden data are never rewritten\n")
        return 1
    chunks = {"sentinel2": 3, "landsat": 1}  # three of four bands, of six, and both of two; each of seven
    plan = planned((3, 1), sources=("sentinel2", "landsat"), size_m=60.0, name="golden-v4", bands_per_chunk=chunks)
    plan.build(target)
    shutil.rmtree(target / ".staging", ignore_errors=True)
    (HERE / "v4.json").write_text(json.dumps(digests(landweave.open(target)), indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
