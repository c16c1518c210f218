"""Write tests/golden/v3: a tiny dataset of layout version 3, to be read for ever: layers with extents of their own.

python -m tests.golden.make_v3
"""

from __future__ import annotations

import json
import shutil
import sys

import landweave
from tests.golden.make_v1 import HERE, digests
from tests.shards.synthetic import planned

EXTENTS = {"sentinel2": 120.0, "dem": 180.0, "worldcover": 20.0}


def main() -> int:
    target = HERE / "v3"
    if target.exists():
        sys.stderr.write(f"{target.name} is there already: golden data are never rewritten\n")
        return 1
    plan = planned((3, 1), sources=("sentinel2", "dem", "sentinel1"), size_m=60.0, name="golden-v3", extents=EXTENTS)
    plan.build(target)
    shutil.rmtree(target / ".staging", ignore_errors=True)
    (HERE / "v3.json").write_text(json.dumps(digests(landweave.open(target)), indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
