"""A worker keeps to the memory that it states, and works where it is given no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.sources.read_shard import PEAK_BYTES
from testbed.services import serve_catalogue
from tests.sources.bounded_reader import SAMPLES
from tests.sources.test_sources_gather import item, write_scene


@pytest.mark.slow
def test_a_shard_of_256_samples_is_read_within_the_stated_memory(tmp_path: Path) -> None:
    for name, cloudy, seed in (("a", "", 1), ("b", "west", 2), ("c", "east", 3), ("d", "", 4)):
        write_scene(tmp_path, name, cloudy=cloudy, seed=seed)
    listed = [item(name, day) for name, day in (("a", 15), ("b", 16), ("c", 14), ("d", 17))]
    with serve_catalogue(listed, {"/s/": tmp_path}) as services:
        done = subprocess.run(
            [sys.executable, "-m", "tests.sources.bounded_reader", services.stac_url("catalogue"), str(PEAK_BYTES)],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["observations"] == SAMPLES
    assert said["peak_bytes"] <= PEAK_BYTES, said
