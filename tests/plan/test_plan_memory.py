"""What `plan` says of a worker's memory grows with what is held, and stops growing where samples go to a file."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.assemble import STACKS_BYTES, sample_bytes
from pipelines.plan.memory import disk_bytes, memory_here, memory_text, too_large, worker_bytes
from pipelines.sources.read_shard import GROUP_BYTES, PEAK_BYTES
from schemas.recipe import Recipe

USUAL = PEAK_BYTES + STACKS_BYTES
YEAR = {"name": "year", "start": "2022-01-01", "end": "2022-12-31"}


def recipe(size_m: int, window: dict[str, Any], **source: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "m", "seed": 1, "grid": {"size_m": size_m}, "sampling": {"kind": "uniform", "count": 1},
            "windows": [YEAR | window], "providers": {"p": {"url": "http://x"}},
            "sources": [{"kind": "sentinel2", "providers": ["p"], **source}],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size_m", "window", "source", "memory", "disk"),
    [
        (2_560, {}, {}, USUAL, False),
        (2_560, {"every": "scene", "count": 366}, {}, USUAL, False),
        (5_120, {"every": "scene", "count": 366}, {}, USUAL, True),
        (2_560, {}, {"composite": "median", "max_scenes": 30}, USUAL, False),
        (10_240, {}, {"composite": "median", "max_scenes": 30}, USUAL, True),
    ],
)
def test_a_worker_needs_no_more_for_a_long_series_and_keeps_it_on_disk(
    size_m: int, window: dict[str, Any], source: dict[str, Any], memory: int, disk: bool
) -> None:
    made = recipe(size_m, window, **source)
    assert worker_bytes(made) == memory
    assert (disk_bytes(made) > 0) is disk
    assert ("of its disk while a sample is read" in memory_text(made)) is disk
    if source:
        assert disk is (30 * (disk_bytes(made) / 30) > GROUP_BYTES)
    else:
        assert disk is (sample_bytes(made) > STACKS_BYTES)


def test_one_scene_that_is_larger_than_a_group_takes_more_memory_and_is_said() -> None:
    large = recipe(81_920, {})
    assert worker_bytes(large) > 2 * USUAL
    (line,) = too_large(large, here=4 << 30)
    assert "needs up to" in line
    assert "4.3 GB" in line
    assert too_large(large, here=worker_bytes(large)) == []
    assert 0 < memory_here() < 1 << 50
