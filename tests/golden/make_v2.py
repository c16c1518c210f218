"""Write tests/golden/v2: a tiny dataset of layout version 2, to be read for ever: one of version 1, with an addition.

python -m tests.golden.make_v2
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pipelines.shards import add
from tests.golden.make_v1 import written
from tests.shards.synthetic import planned


def build(target: Path) -> None:
    planned((3, 1), sources=("sentinel2",), size_m=60.0, name="golden-v2").build(target)
    with tempfile.TemporaryDirectory() as folder:
        more = planned((3, 1), sources=("dem", "sentinel1"), size_m=60.0, name="golden-v2-more", labels=False)
        add(target, str(more.build(Path(folder))))


def main() -> int:
    return written("v2", build)


if __name__ == "__main__":
    sys.exit(main())
