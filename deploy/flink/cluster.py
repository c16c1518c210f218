"""A standalone Flink on this machine: jobmanager, taskmanagers and optionally ZooKeeper, one process each.

python -m deploy.flink.cluster --taskmanagers 2      # runs until interrupted; prints the address for --flink-master
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deploy.flink.install import Flink, InstallError, cache_folder, install_flink

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

LOOPBACK = "127.0.0.1"
START_S = 180.0
"""Time limit for the registration of all taskmanagers, seconds."""
STOP_S = 10.0
"""Time limit for a process to end before it is killed, seconds."""

CONFIG = {
    # A jobmanager and taskmanagers that only hand out shard numbers need little; the defaults are 1.6 and 1.7 GB.
    "jobmanager.memory.process.size": "512m",
    "jobmanager.memory.jvm-metaspace.size": "128m",
    "jobmanager.memory.jvm-overhead.min": "64m",
    "jobmanager.memory.off-heap.size": "64m",
    "taskmanager.memory.process.size": "576m",
    "taskmanager.memory.jvm-metaspace.size": "160m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.network.min": "16m",
    "taskmanager.memory.managed.size": "32m",
    # On one machine a lost process is noticed at once; across real networks leave Flink's 10 s and 50 s.
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "6000",
    "heartbeat.rpc-failure-threshold": "2",
    # Lose only the shards of the lost slots.
    "jobmanager.execution.failover-strategy": "region",
}
"""Flink's settings for a cluster on one machine; the sizes are the smallest that ran."""


class ClusterError(RuntimeError):
    """The cluster did not start; the text says where its logs are."""


@dataclass(frozen=True)
class Host:
    """Where processes of the cluster run: this machine, or what a command reaches (a network namespace, ssh)."""

    address: str = LOOPBACK
    """Address that the other hosts know it by."""
    prefix: tuple[str, ...] = ()
    """Words that run what follows them on that host."""


@dataclass
class FlinkCluster:
    """A session cluster; a context manager that ends every process it started, even if this one is killed.

    Example:
        with FlinkCluster(install_flink(cache_folder()), Path("logs"), taskmanagers=2) as cluster:
            ...  # submit to cluster.address
    """

    flink: Flink
    """The installed Flink."""
    folder: Path
    """Takes configuration, logs and temporary files."""
    taskmanagers: int = 1
    """Taskmanager processes."""
    slots: int = 1
    """Shards that one taskmanager builds at a time."""
    recovery: bool = False
    """Keep jobs in ZooKeeper (it ships with Flink), so that a new jobmanager continues the jobs of a dead one."""
    config: dict[str, str] = field(default_factory=dict)
    """More settings of Flink; they win over CONFIG."""
    hosts: Mapping[str, Host] = field(default_factory=dict)
    """Role (jobmanager, zookeeper, taskmanager-0, ...) -> its host; roles that are not named run on this machine."""
    address: str = field(default="", init=False)
    """host:port of the jobmanager's REST interface."""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)
    _guard: subprocess.Popen[str] | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        rpc, rest, *keeper = _free_ports(5)
        self.address = f"{self._host('jobmanager').address}:{rest}"
        self._configure(rpc, rest, keeper)
        guard = [sys.executable, str(Path(__file__).with_name("guard.py"))]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603
        try:
            if self.recovery:
                self._start("zookeeper", "1")
            self.start_jobmanager()
            for _ in range(self.taskmanagers):
                self.start_taskmanager()
            self._await_taskmanagers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_jobmanager(self) -> int:
        """The jobmanager, or a new one where it has died; returns its process id."""
        return self._start("jobmanager")

    def start_taskmanager(self) -> int:
        """One more taskmanager; returns its process id."""
        role = f"taskmanager-{sum(role.startswith('taskmanager') for role in self._processes)}"
        work, address = self.folder / role, self._host(role).address
        work.mkdir()
        places = {"resource-id": role, "host": address, "bind-host": address}
        settings = [f"-Dtaskmanager.{key}={value}" for key, value in places.items()]
        return self._start(role, *settings, f"-Dio.tmp.dirs={work}")

    def pids(self) -> dict[str, int]:
        """Role (jobmanager, taskmanager-0, ...) -> process id, of those that run."""
        return {role: process.pid for role, process in self._processes.items() if process.poll() is None}

    def get(self, path: str) -> Any:
        """Ask the jobmanager's REST interface, for example get("/overview").

        Raises:
            OSError: it does not answer.
        """
        url, prefix = f"http://{self.address}{path}", self._host("jobmanager").prefix
        if not prefix:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)
        ask = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=10).read().decode())"
        answer = subprocess.run([*prefix, sys.executable, "-c", ask], capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode:
            raise ConnectionError(answer.stderr.strip().splitlines()[-1])
        return json.loads(answer.stdout)

    def stop(self) -> None:
        """End every process of the cluster, and those that they started."""
        for process in reversed(self._processes.values()):
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()
        if self._guard is not None:
            self._tell_guard("leave")
            self._guard.communicate()
            self._guard = None

    def _host(self, role: str) -> Host:
        return self.hosts.get(role, Host())

    def _configure(self, rpc: int, rest: int, keeper: list[int]) -> None:
        home = self._host("jobmanager").address
        settings = {
            **CONFIG,
            "jobmanager.rpc.address": home,
            "jobmanager.rpc.port": str(rpc),
            "jobmanager.bind-host": home,
            "taskmanager.numberOfTaskSlots": str(self.slots),
            "rest.address": home,
            "rest.port": str(rest),
            "rest.bind-address": home,
        }
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        if self.recovery:
            (client, peer, leader), place = keeper, self._host("zookeeper").address
            lines = ["tickTime=1000", "initLimit=10", "syncLimit=5", f"dataDir={self.folder / 'zookeeper'}"]
            lines += [f"clientPort={client}", f"clientPortAddress={place}", f"server.1={place}:{peer}:{leader}"]
            (conf / "zoo.cfg").write_text("\n".join([*lines, "admin.enableServer=false"]) + "\n")
            settings |= {
                "high-availability.type": "zookeeper",
                "high-availability.zookeeper.quorum": f"{place}:{client}",
                "high-availability.storageDir": (self.folder / "jobs").as_uri(),
                # Both sides go on over a short absence of ZooKeeper, and a dead jobmanager is given up soon.
                "high-availability.zookeeper.client.session-timeout": "6000",
            }
        settings |= self.config
        for file in (self.flink.home / "conf").glob("*.properties"):
            shutil.copyfile(file, conf / file.name)
        opens = [
            line for line in (self.flink.home / "conf" / "config.yaml").read_text().splitlines() if "--add-" in line
        ]
        java = "env.java.opts.all: " + opens[0].partition(": ")[2] if opens else ""
        (conf / "config.yaml").write_text("\n".join([java, *(f"{k}: {v}" for k, v in settings.items())]) + "\n")

    def environment(self) -> dict[str, str]:
        """Environment of Flink's programs: configuration, logs and Python of this cluster."""
        return {
            **os.environ,
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LOG_DIR": str(self.folder),
            "FLINK_PID_DIR": str(self.folder),
            "PATH": os.pathsep.join([str(self.flink.python.parent), os.environ["PATH"]]),
        }

    def _start(self, role: str, *settings: str) -> int:
        script = self.flink.home / "bin" / f"{role.partition('-')[0]}.sh"
        with (self.folder / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - Flink's own script
                [*self._host(role).prefix, str(script), "start-foreground", *settings],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes[role] = process
        self._tell_guard(str(process.pid))
        return process.pid

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{line}\n")
            self._guard.stdin.flush()

    def _await_taskmanagers(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                if self.get("/overview")["slots-total"] >= self.taskmanagers * self.slots:
                    return
            if len(self.pids()) < len(self._processes):
                break
            time.sleep(0.1)
        raise ClusterError(f"Flink did not start with {self.taskmanagers} taskmanagers; its logs are in {self.folder}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a process and what it started: each runs in its own session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def main() -> int:
    """Run a cluster until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m deploy.flink.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--taskmanagers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=1, help="shards that one taskmanager builds at a time")
    parser.add_argument(
        "--folder", type=Path, help="folder for logs and temporary files (default: a new temporary folder)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=cache_folder(),
        help="folder in which Flink is installed (it is installed if missing)",
    )
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="landweave-flink-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        flink = install_flink(asked.cache.resolve())
        with FlinkCluster(flink, folder.resolve(), taskmanagers=asked.taskmanagers, slots=asked.slots) as cluster:
            sys.stdout.write(f"{cluster.address}\n")
            sys.stdout.flush()
            signal.pause()
    except (InstallError, ClusterError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
