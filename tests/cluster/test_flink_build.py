"""The factory on a real Flink cluster makes the bytes that it makes on one machine, killed workers or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.engines import Engine
from pipelines.jobs import build_dataset, plan_dataset
from pipelines.recipes import RecipeFile
from testbed.anywhere import serve_anywhere
from tests.cluster.elevation import served, tree
from tests.plan.bounded_planner import recipe_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.flink.cluster import FlinkCluster
    from deploy.flink.install import Flink
    from tests.cluster.elevation import Elevation

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("cluster")]

CHECKOUT = Path(__file__).parents[2]
SHARDS = 12


@pytest.fixture(scope="module")
def elevation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elevation]:
    with served(tmp_path_factory.mktemp("archive") / "tile", samples=SHARDS, delay_s=0.5) as found:
        yield found


@pytest.fixture(scope="module")
def expected(elevation: Elevation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The dataset that one process builds."""
    out = tmp_path_factory.mktemp("local") / "elevation"
    assert build_dataset(elevation.file(), out, Engine(workers=1), retry_failed=False).finished
    return tree(out)


def submit(out: Path, master: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Build all shards through the command line."""
    work, failures = out.parent / "work.txt", out.parent / "failures"
    work.write_text("".join(f"{n}\n" for n in range(SHARDS)))
    failures.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "deploy.flink.submit", str(out), str(work), str(failures)]
    command += ["--flink-master", master, "--parallelism", "2", *options]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def published(out: Path) -> int:
    return len(list(out.glob("shards/*.json")))


def test_flink_builds_the_bytes_of_one_machine_though_a_taskmanager_is_killed(
    flink: Flink, cluster: FlinkCluster, elevation: Elevation, expected: dict[str, str], tmp_path: Path
) -> None:
    out = elevation.planned(tmp_path / "elevation")

    def kill() -> None:
        deadline = time.monotonic() + 60
        while published(out) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(cluster.pids()["taskmanager-0"], signal.SIGKILL)
        cluster.start_taskmanager()

    killer = threading.Thread(target=kill)
    killer.start()
    told = submit(out, cluster.address)
    killer.join()
    assert (told.returncode, told.stderr) == (0, "")
    assert list((tmp_path / "failures").iterdir()) == []
    assert build_dataset(elevation.file(), out, Engine(workers=1), retry_failed=False).finished
    assert tree(out) == expected


def test_flink_plans_the_bytes_of_one_machine(
    flink: Flink, cluster: FlinkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.plan.places.PART_SAMPLES", 64)
    with serve_anywhere() as services:
        recipe = recipe_of(services.base_url + "/anywhere", 360)
        shards = recipe.shards.model_copy(update={"samples": 16})
        file = RecipeFile(recipe=recipe.model_copy(update={"shards": shards}), folder=tmp_path)
        options = (f"--flink-master={cluster.address}", "--parallelism=2")
        engine = Engine(command=("python", "-m", "deploy.flink.submit"), options=options)
        alone = plan_dataset(file, tmp_path / "alone", again=False)
        assert plan_dataset(file, tmp_path / "flink", again=False, engine=engine) == alone
    assert alone.parts >= 5
    assert tree(tmp_path / "flink" / "plan") == tree(tmp_path / "alone" / "plan")


def test_a_worker_without_a_plan_says_so(flink: Flink, cluster: FlinkCluster, tmp_path: Path) -> None:
    out = tmp_path / "elevation"
    out.mkdir()
    told = submit(out, cluster.address)
    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert told.stderr.startswith("worker ")
    assert "has no plan" in told.stderr


def test_a_worker_with_other_code_says_so(
    flink: Flink, cluster: FlinkCluster, elevation: Elevation, tmp_path: Path
) -> None:
    out = elevation.planned(tmp_path / "elevation")
    other = subprocess.run(
        [sys.executable, "-m", "deploy.flink.builder", str(out), "--code", "0123456789abcdef"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert other.returncode == 1
    assert "has other code or library versions than the submitter" in other.stdout
