"""Fused labels on a Flink cluster: both passes run there, and the bytes are those of one process."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pipelines.engines import Engine
from pipelines.jobs import add_fused
from tests.fusion.test_fused_dataset import COUNTS, SOURCES, recipe_file, sums
from tests.shards import synthetic

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.flink.cluster import FlinkCluster

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("cluster")]


def test_both_passes_on_flink_give_the_bytes_of_one_process(cluster: FlinkCluster, tmp_path: Path) -> None:
    base = synthetic.planned(COUNTS, sources=SOURCES).build(tmp_path / "base")
    here, there = shutil.copytree(base, tmp_path / "here"), shutil.copytree(base, tmp_path / "there")
    add_fused(recipe_file(tmp_path), here, Engine())
    options = (f"--flink-master={cluster.address}", "--parallelism=2")
    add_fused(recipe_file(tmp_path), there, Engine(command=("python", "-m", "deploy.flink.submit"), options=options))
    assert sums(there) == sums(here)
    assert not list((there / ".work").glob("fused-*"))
