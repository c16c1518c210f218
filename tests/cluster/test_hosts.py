"""The factory on Flink across hosts (network namespaces): cables pulled, stores gone, disks full, clocks wrong.

After each the run itself, or the same command again, ends with the bytes of one process on one machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from deploy.flink.cluster import FlinkCluster
from tests.cluster import network
from tests.cluster.elevation import make, tree
from tests.cluster.network import Network, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploy.flink.install import Flink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.skipif(network.missing() is not None, reason=str(network.missing())),
]

CHECKOUT = Path(__file__).parents[2]
SHARDS, DELAY_S, PORT = 12, 0.5, 8000
NAMES = ("client", "client-2", "jobmanager", "keeper", "worker-a", "worker-b", "worker-c", "earth")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass
class Hosts:
    """The hosts, the archive that one of them serves, and what one process builds from it."""

    network: Network
    recipe: Path
    expected: dict[str, str]
    _earth: subprocess.Popen[bytes] | None = None

    def node(self, name: str) -> Node:
        return self.network.nodes[name]

    def serve(self) -> None:
        """The archive answers, from a new process."""
        node = self.node("earth")
        words = ["tests.cluster.elevation", str(self.recipe.parent), node.address, str(PORT), str(DELAY_S)]
        self._earth = subprocess.Popen(node.command(sys.executable, "-m", *words), cwd=CHECKOUT)
        ask = f"import socket, time\nwhile socket.socket().connect_ex(({node.address!r}, {PORT})): time.sleep(0.05)"
        subprocess.run(node.command(sys.executable, "-c", ask), check=True, timeout=60)

    def kill_earth(self) -> None:
        """STAC API and store die without a word."""
        assert self._earth is not None
        self._earth.kill()
        self._earth.wait()

    def run(self, name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`python -m ...` on a host."""
        command = self.node(name).command(sys.executable, "-m", *map(str, words))
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)

    def build(self, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m pipelines build` on the client's host."""
        return self.run("client", "pipelines", "build", self.recipe, out, *words)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("hosts")
    with Network(NAMES) as network:
        elevation = make(folder / "tile", SHARDS, (network.nodes["earth"].address, PORT))
        found = Hosts(network, elevation.recipe, {})
        found.serve()
        told = found.build(folder / "local", "--workers", "1")
        assert told.returncode == 0, told.stderr
        found.expected |= tree(folder / "local")
        yield found


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk; there before the hosts' processes, which see no later mount."""
    folder = tmp_path_factory.mktemp("disk") / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def cluster(flink: Flink, hosts: Hosts, disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    """A jobmanager and two taskmanagers, each on a host."""
    workers = ("worker-a", "worker-b", "worker-a", "worker-b")
    roles = {f"taskmanager-{number}": hosts.node(name).host() for number, name in enumerate(workers)}
    roles["jobmanager"] = hosts.node("jobmanager").host()
    with FlinkCluster(flink, tmp_path_factory.mktemp("flink"), taskmanagers=2, hosts=roles) as running:
        yield running


def on_flink(cluster: FlinkCluster, parallelism: int = 2) -> tuple[str, ...]:
    return ("--runner", "flink", "--", "--flink-master", cluster.address, "--parallelism", str(parallelism))


def published(out: Path) -> int:
    return len(list(out.glob("shards/*.json")))


@contextlib.contextmanager
def amid(out: Path, event: Callable[[], object], after: int = 2) -> Iterator[None]:
    """Does `event` in a thread when `after` shards are published; the block ends after it."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while published(out) < after and time.monotonic() < deadline:
            time.sleep(0.02)
        event()

    with ThreadPoolExecutor(1) as pool:
        happened = pool.submit(wait)
        yield
        happened.result()


def stamps(log: Path) -> list[str]:
    return [json.loads(line)["timestamp"] for line in log.read_text().splitlines()]


def one_copy_of_each(out: Path) -> bool:
    rows = pq.read_table(out / "catalogue" / "items.parquet", columns=["id"])["id"].to_pylist()
    return sorted(rows) == [f"s{n:02d}" for n in range(SHARDS)]


def reasons(out: Path) -> dict[str, int]:
    found = pq.read_table(out / "catalogue" / "ledger.parquet", columns=["reason"])["reason"].to_pylist()
    return {reason: found.count(reason) for reason in set(found)}


def test_a_store_that_is_cut_off_for_a_while_costs_time_only(
    hosts: Hosts, cluster: FlinkCluster, tmp_path: Path
) -> None:
    out, worker = tmp_path / "out", hosts.node("worker-a")

    def cut() -> None:
        with worker.cut_from(hosts.node("earth")):
            time.sleep(8)

    with amid(out, cut):
        told = hosts.build(out, *on_flink(cluster))
    assert (told.returncode, told.stderr.count("error")) == (0, 0), told.stderr
    assert tree(out) == hosts.expected
    assert one_copy_of_each(out)


def test_a_store_that_stays_cut_off_is_in_the_ledger_and_a_rerun_mends_it(
    hosts: Hosts, cluster: FlinkCluster, tmp_path: Path
) -> None:
    out, worker = tmp_path / "out", hosts.node("worker-a")
    with contextlib.ExitStack() as stack, amid(out, lambda: stack.enter_context(worker.cut_from(hosts.node("earth")))):
        told = hosts.build(out, *on_flink(cluster))
    assert told.returncode == 3, told.stderr
    assert "earth" in told.stderr.splitlines()[-1]
    lost = reasons(out)["unavailable"]
    assert 1 <= lost <= SHARDS // 2, "the worker that reaches the store builds the most"
    told = hosts.build(out, "--retry-failed", *on_flink(cluster))
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected
    assert one_copy_of_each(out)


def test_a_store_that_dies_and_comes_back_costs_time_only(hosts: Hosts, cluster: FlinkCluster, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def restart() -> None:
        hosts.kill_earth()
        time.sleep(4)
        hosts.serve()

    with amid(out, restart):
        told = hosts.build(out, *on_flink(cluster))
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected


def test_a_stac_api_that_is_not_there_is_told_and_planned_anew(hosts: Hosts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    hosts.kill_earth()
    try:
        told = hosts.build(out, "--workers", "1")
    finally:
        hosts.serve()
    assert told.returncode in (1, 3)
    assert "Traceback" not in told.stderr
    told = hosts.build(out, "--workers", "1", "--retry-failed")
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected


def test_a_worker_host_that_vanishes_loses_no_shard(hosts: Hosts, cluster: FlinkCluster, tmp_path: Path) -> None:
    out, worker = tmp_path / "out", hosts.node("worker-a")
    try:
        with amid(out, worker.unplug):
            told = hosts.build(out, *on_flink(cluster))
    finally:
        worker.plug()
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected
    assert one_copy_of_each(out)


def test_a_jobmanager_that_dies_is_followed_by_another(flink: Flink, hosts: Hosts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    roles = {
        "jobmanager": "jobmanager",
        "zookeeper": "keeper",
        "taskmanager-0": "worker-a",
        "taskmanager-1": "worker-b",
    }
    places = {role: hosts.node(name).host() for role, name in roles.items()}
    with FlinkCluster(flink, tmp_path / "flink", taskmanagers=2, recovery=True, hosts=places) as recovering:

        def kill() -> None:
            os.kill(recovering.pids()["jobmanager"], signal.SIGKILL)
            recovering.start_jobmanager()

        with amid(out, kill, after=3):
            told = hosts.build(out, *on_flink(recovering))
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected


def test_workers_of_two_builds_at_once_make_one_dataset(hosts: Hosts, cluster: FlinkCluster, tmp_path: Path) -> None:
    """As when workers of a build that was given up live on: `submit` asks nobody whether another build runs."""
    out, work = tmp_path / "out", tmp_path / "work.txt"
    work.write_text("".join(f"{number}\n" for number in range(SHARDS)))
    (tmp_path / "failures").mkdir()
    assert hosts.run("client", "pipelines", "plan", hosts.recipe, out).returncode == 0
    told = {}

    def submit() -> None:
        words = ["deploy.flink.submit", out, work, tmp_path / "failures", "--flink-master", cluster.address]
        told["flink"] = hosts.run("client-2", *words, "--parallelism", "2")

    with amid(out, submit, after=0):
        told["local"] = hosts.build(out, "--workers", "1")
    for name, process in told.items():
        assert process.returncode == 0, (name, process.stderr)
    assert list((tmp_path / "failures").iterdir()) == []
    assert tree(out) == hosts.expected
    assert one_copy_of_each(out)


def test_a_full_disk_is_one_line_and_a_rerun_goes_on(hosts: Hosts, cluster: FlinkCluster, disk: Path) -> None:
    out, ballast = disk / "out", disk / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while file.write(bytes(4096)):
                file.flush()

    with amid(out, fill, after=3):
        told = hosts.build(out, "--workers", "1")
    assert told.returncode == 1
    assert "No space left on device" in told.stderr.splitlines()[-1]
    assert "Traceback" not in told.stderr
    assert published(out) < SHARDS
    ballast.unlink()
    told = hosts.build(out, *on_flink(cluster))
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected


def test_a_worker_with_other_code_ends_the_job_with_one_line(
    hosts: Hosts, cluster: FlinkCluster, tmp_path: Path
) -> None:
    layout = CHECKOUT / "landweave" / "layout.py"
    other = tmp_path / "layout.py"
    other.write_text(layout.read_text() + "# later\n")
    odd = dataclasses.replace(hosts.node("worker-c"), covers={layout: other})
    out, role = tmp_path / "out", f"taskmanager-{sum(r.startswith('taskmanager') for r in cluster.pids())}"
    hosts_before = cluster.hosts
    cluster.hosts = {**cluster.hosts, role: odd.host()}
    pid = cluster.start_taskmanager()
    try:
        deadline = time.monotonic() + 60
        while cluster.get("/overview")["slots-total"] < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
        told = hosts.build(out, *on_flink(cluster, parallelism=3))
    finally:
        os.killpg(pid, signal.SIGKILL)
        cluster.hosts = hosts_before
    assert told.returncode == 1
    assert "worker worker-c has other code or library versions than the submitter: install the same" in told.stderr
    assert "Traceback" not in told.stderr
    assert hosts.build(out, *on_flink(cluster)).returncode == 0
    assert tree(out) == hosts.expected


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed (apt-get install faketime)")
def test_clocks_that_are_years_apart_change_nothing(flink: Flink, hosts: Hosts, tmp_path: Path) -> None:
    out, places = tmp_path / "out", {"jobmanager": hosts.node("jobmanager").host()}
    for number, (name, skew) in enumerate({"worker-a": "-500d", "worker-b": "+500d"}.items()):
        # not the Java of Flink, which spins under a faked clock
        clock = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        clock["FAKETIME_SKIP_CMDS"] = "java"
        places[f"taskmanager-{number}"] = dataclasses.replace(hosts.node(name), environment=clock).host()
    with FlinkCluster(flink, tmp_path / "flink", taskmanagers=2, hosts=places) as skewed:
        told = hosts.build(out, *on_flink(skewed))
    assert told.returncode == 0, told.stderr
    assert tree(out) == hosts.expected
    years = {line[:4] for log in out.glob(".work/runs/*/log-worker-*.jsonl") for line in stamps(log)}
    assert len(years) == 2, "the clocks were years apart"
