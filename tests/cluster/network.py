"""Hosts on this machine: network namespaces behind one switch, each with its own address, cable, loopback and name.

Nothing leads from them to any other network, nor back: what runs there is started there (`Node.command`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Self

from deploy.flink.cluster import Host
from pipelines.shards.claim import dead, kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SUBNET = "10.213.77"
"""Addresses of the hosts; every network is a world of its own, so that all may use the same."""
WRONG_MAC = "02:00:00:00:00:01"
"""Nobody's: what is sent there is lost without a word."""

_NUMBERS = itertools.count()


@cache
def missing() -> str | None:
    """Why there can be no network namespaces here, or None."""
    for program in ("ip", "unshare"):
        if shutil.which(program) is None:
            return f"`{program}` is not on the PATH"
    name = f"lw{os.getpid()}probe"
    try:
        _ip("netns", "add", name)
        _ip("-n", name, "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        _run(["ip", "netns", "exec", name, "unshare", "--uts", "--mount", "true"])
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made here: {error.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return None


@dataclass(frozen=True)
class Node:
    """One host."""

    name: str
    namespace: str
    address: str
    covers: Mapping[Path, Path] = field(default_factory=dict)
    """File -> another that this host sees in its place: hosts differ in what is installed, or have own locks."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        """The command that runs `words` on this host; signals reach it."""
        binds = "".join(f"mount --bind '{other}' '{file}' && " for file, other in self.covers.items())
        script = f'hostname "$0" && {binds}exec "$@"'
        inside = ["unshare", "--uts", "--mount", "--propagation", "slave", "sh", "-c", script, self.name]
        given = [f"{key}={value}" for key, value in self.environment.items()]
        return ["ip", "netns", "exec", self.namespace, *inside, "env", *given, *words]

    def host(self) -> Host:
        """As a place for processes of a Flink cluster."""
        return Host(self.address, tuple(self.command()))

    def unplug(self) -> None:
        """Pull the cable."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")

    def plug(self) -> None:
        """Put the cable back."""
        _ip("-n", self.namespace, "link", "set", "eth0", "up")

    @contextlib.contextmanager
    def cut_from(self, other: Node) -> Iterator[None]:
        """Lose all that this host sends to `other`, silently, as a broken switch does."""
        _ip("-n", self.namespace, "neigh", "replace", other.address, "lladdr", WRONG_MAC, "dev", "eth0")
        try:
            yield
        finally:
            _ip("-n", self.namespace, "neigh", "delete", other.address, "dev", "eth0")


@dataclass
class Network:
    """Hosts by name; a context manager that takes them down with all that runs on them."""

    names: tuple[str, ...]
    nodes: dict[str, Node] = field(default_factory=dict, init=False)
    prefix: str = field(default_factory=lambda: f"lw{os.getpid()}n{next(_NUMBERS)}", init=False)

    def __enter__(self) -> Self:
        _sweep()
        switch = f"{self.prefix}-switch"
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            _ip("netns", "add", switch)
            _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", switch, "link", "set", "bridge", "up")
            for number, name in enumerate(self.names, start=1):
                self._add(switch, number, name)
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End what runs on the hosts and remove them."""
        for name in [n.namespace for n in self.nodes.values()] + [f"{self.prefix}-switch"]:
            _remove(name)
        self.nodes.clear()

    def _add(self, switch: str, number: int, name: str) -> None:
        namespace, address, port = f"{self.prefix}-{name}", f"{SUBNET}.{number}", f"port{number}"
        _ip("netns", "add", namespace)
        self.nodes[name] = Node(name, namespace, address)
        _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", device, "up")


def _sweep() -> None:
    """Remove the hosts of tests that were killed."""
    told = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for line in told.splitlines():
        found = re.match(r"(lw(\d+)n\d+-\S+)", line)
        if found and dead(kernel(), int(found[2])):
            _remove(found[1])


def _remove(namespace: str) -> None:
    told = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    for pid in told.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def _ip(*words: str) -> None:
    _run(["ip", *words])


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
