"""Write tests/golden/v3: a tiny dataset of layout version 3, to be read for ever: layers with extents of their own.

python -m tests.golden.make_v3
"""

from __future__ import annotations

import sys

from tests.golden.make_v1 import written
from tests.shards.synthetic import planned

EXTENTS = {"sentinel2": 120.0, "dem": 180.0, "worldcover": 20.0}


def main() -> int:
    plan = planned((3, 1), sources=("sentinel2", "dem", "sentinel1"), size_m=60.0, name="golden-v3", extents=EXTENTS)
    return written("v3", plan.build)


if __name__ == "__main__":
    sys.exit(main())
