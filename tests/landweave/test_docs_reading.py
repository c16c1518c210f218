"""The lines of docs/reading.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "reading.md"


def test_every_line_of_the_guide_runs(dataset_path: Path) -> None:
    for needed in ("torch", "geopandas", "duckdb"):
        pytest.importorskip(needed)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) >= 6
    names = {"PLACE": str(dataset_path)}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)  # noqa: S102 - the guide is ours
    assert names["north_of_equator"].ids == names["train"].ids
