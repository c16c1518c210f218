"""Statistics equal numpy's on the stacked pixels, and no order of merging changes a digit."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.shards.statistics import PERCENTILES, Moments, Statistics
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from pathlib import Path


def moments(values: np.ndarray) -> Moments:
    made = Moments(values.dtype)
    made.add(values)
    return made


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32)), st.randoms())
def test_floats_sum_exactly_in_any_order(values: np.ndarray, random) -> None:
    import math

    pieces = np.array_split(values, 5)
    random.shuffle(pieces)
    whole = Moments(values.dtype)
    for piece in pieces:
        whole.merge(moments(piece))
    assert (whole.total, whole.squares) == (moments(values).total, moments(values).squares)
    summary = whole.summary()
    assert summary == moments(values).summary()
    exact = math.fsum(float(v) for v in values) / len(values)
    assert summary["mean"] == pytest.approx(exact, rel=1e-15, abs=1e-300)
    assert summary["std"] == pytest.approx(float(values.astype(np.float64).std()), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("tiny", [1e-45, -1e-45, 1.2e-38, 3e38, 0.0, -0.0])
def test_extreme_floats(tiny: float) -> None:
    values = np.array([tiny, tiny], np.float32)
    assert moments(values).summary()["mean"] == float(values[0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_percentiles_are_within_a_bin(dtype: str) -> None:
    rng = np.random.default_rng(3)
    values = (rng.gamma(2.0, 20.0 if dtype == "uint8" else 900.0, 50_000) - (0 if dtype[0] == "u" else 500)).astype(
        dtype
    )
    summary = moments(values).summary()
    for percent in PERCENTILES:
        exact = float(np.percentile(values, percent))
        width = {"uint8": 1, "uint16": 16, "int16": 16}.get(dtype, max(abs(exact) / 256, 0.01))
        assert abs(summary["percentiles"][str(percent)] - exact) <= width + 1e-6


@pytest.mark.slow
def test_statistics_of_a_dataset_equal_numpy(tmp_path: Path) -> None:
    plan = planned((3, 2, 2, 2))
    plan.build(tmp_path)
    found = json.loads((tmp_path / "catalogue" / "statistics.json").read_text())["bands"]
    stacks = [s for shard in plan.shards if shard.split == "train" for s in plan.stacks(shard)]
    for array in plan.dataset.arrays:
        if array.kind != "continuous":
            assert array.path not in found
            continue
        seen = [o for s in stacks for (name, _), o in s.observations.items() if name == array.group]
        for i, band in enumerate(array.bands[:8]):
            planes = np.stack([o.arrays[array.name][i] for o in seen])
            there = np.isfinite(planes) & ((planes != array.nodata) if array.dtype != "float32" else True)
            _compare(found[array.path][band.name]["all"], planes[there])
            if seen[0].cloud is not None:
                clear = np.stack([~_same_grid(o.cloud, planes.shape[-2:]) for o in seen])
                _compare(found[array.path][band.name]["clear"], planes[there & clear])


def _same_grid(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An oracle by Kronecker product and block maximum."""
    up = shape[0] // mask.shape[0]
    if up >= 1:
        return np.kron(mask, np.ones((up, up), bool))
    down = mask.shape[0] // shape[0]
    return mask.reshape(shape[0], down, shape[1], down).any(axis=(1, 3))


def _compare(found: dict, values: np.ndarray) -> None:
    wide = values.astype(np.float64)
    assert found["count"] == wide.size
    np.testing.assert_allclose([found["mean"], found["std"]], [wide.mean(), wide.std()], rtol=1e-9)
    assert (found["min"], found["max"]) == (wide.min(), wide.max())


def test_merging_parts_in_any_order_gives_the_same(tmp_path: Path) -> None:
    plan = planned((2, 2, 2, 1, 1), sources=("sentinel1", "landsat"))
    parts = []
    for shard in plan.shards[:3]:
        part = Statistics(plan.dataset)
        for stack in plan.stacks(shard):
            part.add(stack)
        part.write(tmp_path / f"{shard.index}.parquet")
        parts.append(tmp_path / f"{shard.index}.parquet")
    summaries = set()
    for order in itertools.permutations(parts):
        total = Statistics(plan.dataset)
        for path in order:
            total.merge(Statistics.read(path, plan.dataset))
        summaries.add(json.dumps(total.summary(), sort_keys=True))
    assert len(summaries) == 1
