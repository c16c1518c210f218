"""Plain Zarr v3 whatever the codec: tensorstore and zarr-python read every array as our reader does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorstore
import zarr

import landweave
from landweave.shard import fill_value
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("aim", ["balanced", "small"])
def test_every_array_reads_the_same(tmp_path: Path, aim: str) -> None:
    plan = planned((3, 1), size_m=120.0, codec=aim)
    cnames = {a.codec.cname for a in plan.dataset.arrays}
    assert cnames == ({"lz4hc", "zstd"} if aim == "balanced" else {"zstd"})
    dataset = landweave.open(plan.build(tmp_path))
    root: Any = zarr.open_group(tmp_path / "data.zarr", mode="r")
    for array in dataset.spec.arrays:
        place = {"driver": "file", "path": f"{tmp_path}/data.zarr/{array.path}/"}
        whole = tensorstore.open({"driver": "zarr3", "kvstore": place}).result().read().result()
        np.testing.assert_array_equal(whole, root[array.path][:])
        for sample in dataset:
            row = sample.item["shard"] * dataset.spec.shard_samples + sample.item["row"]
            ours = sample.get(array.path)
            expected = np.full(array.sample_shape, fill_value(array), array.dtype) if ours is None else ours
            np.testing.assert_array_equal(whole[row], expected)


def test_the_codec_is_written_down_with_its_block(tmp_path: Path) -> None:
    dataset = planned((1, 1), sources=("enmap", "sentinel2"), size_m=120.0).dataset
    found = {a.path: (a.codec.cname, a.codec.shuffle, a.codec.block_bytes) for a in dataset.arrays}
    assert found["enmap/bands_30m"] == ("zstd", "shuffle", 1 << 20)
    assert found["sentinel2/bands_10m"] == ("lz4hc", "shuffle", 1 << 18)
    assert found["sentinel2/scl"] == found["worldcover/classes"] == ("lz4hc", "noshuffle", 1 << 18)
