"""Write tests/golden/v2: a tiny dataset of layout version 2, to be read for ever: one of version 1, with an addition.

python -m tests.golden.make_v2
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import landweave
from pipelines.shards import add
from tests.golden.make_v1 import HERE, digests
from tests.shards.synthetic import planned


def main() -> int:
    target = HERE / "v2"
    if target.exists():
        sys.stderr.write(f"{target.name} is there already: golden data are never rewritten\n")
        return 1
    planned((3, 1), sources=("sentinel2",), size_m=60.0, name="golden-v2").build(target)
    with tempfile.TemporaryDirectory() as folder:
        more = planned((3, 1), sources=("dem", "sentinel1"), size_m=60.0, name="golden-v2-more", labels=False)
        add(target, str(more.build(Path(folder))))
    shutil.rmtree(target / ".staging")
    (HERE / "v2.json").write_text(json.dumps(digests(landweave.open(target)), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
