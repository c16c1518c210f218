"""Write tests/golden/v4: a tiny dataset of layout version 4, to be read for ever: chunks that hold some bands.

python -m tests.golden.make_v4
"""

from __future__ import annotations

import sys

from tests.golden.make_v1 import written
from tests.shards.synthetic import planned


def main() -> int:
    chunks = {"sentinel2": 3, "landsat": 1}  # three of four bands, of six, and both of two; each of seven
    plan = planned((3, 1), sources=("sentinel2", "landsat"), size_m=60.0, name="golden-v4", bands_per_chunk=chunks)
    return written("v4", plan.build)


if __name__ == "__main__":
    sys.exit(main())
