"""kill -9 anywhere in a build, then run it again: the same bytes as if nothing had happened, and never half a shard."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import landweave
from landweave.manifest import shard_from_bytes
from pipelines.shards import clean_staging
from pipelines.shards.publish import checksum
from tests.forks import forks
from tests.shards.synthetic import Planned, planned
from tests.shards.test_shards_write import digest

STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
"""Audit events at which a process is killed: each file opened, moved, made or removed."""


def small() -> Planned:
    """Chunks of one array hold all bands, those of another one each."""
    return planned((2, 1), sources=("sentinel2", "dem"), size_m=120.0, requests=2, bands_per_chunk={"sentinel2": 1})


def build(out: str, kill_at: int, steps: Any) -> None:
    """Build, counting steps below `out`; SIGKILL at one of them."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STEPS and arguments and str(arguments[0]).startswith(out):
            steps.value += 1
            if steps.value == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    clean_staging(Path(out))
    small().build(Path(out))


def run(out: Path, kill_at: int) -> tuple[int, int]:
    """(exit code, steps taken) of a build in a process of its own."""
    context = forks()
    steps = context.Value("i", 0)
    process = context.Process(target=build, args=(str(out), kill_at, steps))
    process.start()
    process.join()
    return process.exitcode or 0, steps.value


def kill_and_resume(folder: Path, points: list[int], expected: dict[str, str]) -> None:
    for point in points:
        out = folder / str(point)
        code, _ = run(out, point)
        assert code == -signal.SIGKILL
        for path in out.glob("shards/*.json"):
            manifest = shard_from_bytes(path.read_bytes(), path.name)
            for name, told in manifest.objects.items():
                assert checksum(out / name) == told, f"kill at {point}: {path.name} is visible and {name} is not whole"
        if not (out / "landweave.json").exists() and out.exists():
            with pytest.raises(landweave.NotADatasetError):
                landweave.open(out)
        assert run(out, 0)[0] == 0
        assert digest(out) == expected, f"kill at {point}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    out = tmp_path_factory.mktemp("whole") / "out"
    code, steps = run(out, 0)
    assert code == 0
    return digest(out), steps


@pytest.mark.slow
def test_killed_builds_end_the_same(tmp_path: Path, whole: tuple[dict[str, str], int]) -> None:
    expected, steps = whole
    kill_and_resume(tmp_path, [1 + i * (steps - 1) // 3 for i in range(4)], expected)


@pytest.mark.slow
@pytest.mark.parametrize("quarter", range(4))
def test_a_hundred_kills(tmp_path: Path, whole: tuple[dict[str, str], int], quarter: int) -> None:
    import random

    expected, steps = whole
    kill_and_resume(tmp_path, sorted(random.Random(7).sample(range(1, steps), 100))[quarter::4], expected)


def test_a_full_disk_leaves_nothing_visible(tmp_path: Path) -> None:
    import resource

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        plan = small()
        plan.write(tmp_path / "out", plan.shards[0])

    process = multiprocessing.get_context("fork").Process(target=limited)
    process.start()
    process.join()
    assert process.exitcode == 1
    assert not (tmp_path / "out" / "shards").exists()
