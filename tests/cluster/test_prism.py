"""The Beam stages on Prism, a runner that checks strictly: same bytes as one process; Beam's worker pool works."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

from deploy.flink.install import cache_folder, install_prism
from pipelines.build import run_shards
from pipelines.engines import Engine
from pipelines.jobs import build_dataset
from pipelines.shards.desk import desk_of
from pipelines.stages.shards import BuildShards
from tests.cluster.elevation import served, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def prism() -> list[str]:
    """Options that name Prism, built from its Go module by the first test that needs it."""
    return [f"--prism_location={install_prism(cache_folder().resolve())}", "--prism_log_level=error"]


@pytest.fixture
def worker_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of Beam's worker pool, which starts a process for each job, of the `python` it finds on the PATH."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    address, server = BeamFnExternalWorkerPoolServicer.start(use_process=True)
    yield address
    server.stop(0)


def wait_and_write(number: int, folder: str) -> tuple[int, int]:
    """Waits, writes one file atomically, tells its process."""
    time.sleep(0.2)
    aside = Path(folder) / f".{number}-{time.time_ns()}"
    aside.write_text(str(number * number))
    aside.replace(Path(folder) / f"{number}.txt")
    return os.getpid(), number


@pytest.mark.parametrize("pool", [False, True], ids=["this process", "worker pool"])
def test_reshuffled_work_is_done_once_and_combined(
    prism: list[str], tmp_path: Path, pool: bool, request: pytest.FixtureRequest
) -> None:
    environment = ["--environment_type=LOOPBACK"]
    if pool:
        address = request.getfixturevalue("worker_pool")
        environment = ["--environment_type=EXTERNAL", f"--environment_config={address}"]
    with beam.Pipeline(runner=PrismRunner(), options=PipelineOptions([*prism, *environment])) as pipeline:
        told = (
            pipeline
            | beam.Create(list(range(40)))
            | beam.Reshuffle()
            | beam.Map(wait_and_write, str(tmp_path))
            | beam.combiners.ToList()
        )
        _ = told | beam.Map(lambda pairs: (tmp_path / "told").write_text(repr(sorted(pairs, key=lambda p: p[1]))))
    pairs = eval((tmp_path / "told").read_text(), {"__builtins__": {}})  # noqa: S307 - our own file
    assert [number for _, number in pairs] == list(range(40))
    assert ({pid for pid, _ in pairs} != {os.getpid()}) == pool
    assert {int(p.stem): int(p.read_text()) for p in tmp_path.glob("*.txt")} == {n: n * n for n in range(40)}


def test_prism_builds_the_bytes_of_one_process(prism: list[str], tmp_path: Path) -> None:
    with served(tmp_path / "archive", samples=6) as elevation:
        local, out = tmp_path / "local", elevation.planned(tmp_path / "prism")
        assert build_dataset(elevation.file(), local, Engine(workers=1), retry_failed=False).finished
        with beam.Pipeline(runner=PrismRunner(), options=PipelineOptions(prism)) as pipeline:
            _ = pipeline | beam.Create(list(range(6))) | BuildShards(str(out))
        assert build_dataset(elevation.file(), out, Engine(workers=1), retry_failed=False).finished
    assert tree(out) == tree(local)


def test_prism_builds_into_an_object_store_and_tells_what_failed(
    prism: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Dataflow: workers know the store alone. A shard whose plan is damaged fails, the others are published."""
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "desks"))
    url = (tmp_path / "store").as_uri()
    with served(tmp_path / "archive", samples=3) as elevation:
        desk = elevation.planned(desk_of(url))
        engine = Engine(beam="PrismRunner", options=(*prism, "--environment_type=LOOPBACK"))
        failed = run_shards(desk, [0, 1, 2, 7], engine, lambda: None)
    assert [built.shard for built in failed] == [7]
    assert "Traceback" in (failed[0].error or "")
    assert sorted(p.name for p in (tmp_path / "store" / "shards").iterdir()) == [f"{n:05d}.json" for n in range(3)]
    assert not list((tmp_path / "store").glob(".failures/*/*"))
