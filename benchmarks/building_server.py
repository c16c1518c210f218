"""Serves the miniature Earth in its own process, each answer held back, for `benchmarks.building`.

    python -m benchmarks.building_server data/earth 30

prints the address; `GET /log` of it lists every request with the bytes that were sent.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import serve
from testbed.messages import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving(earth: Path, latency_ms: int) -> Iterator[str]:
    """Serve a planet on loopback; gives the address."""
    command = [sys.executable, "-m", "benchmarks.building_server", str(earth), str(latency_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        assert process.stdout is not None  # noqa: S101 - asked for
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def counted(url: str) -> tuple[int, int]:
    """(requests, body bytes) that the server has answered so far."""
    with urllib.request.urlopen(f"{url}/log") as answer:  # noqa: S310 - loopback
        entries = json.load(answer)
    return len(entries), sum(entry["bytes"] for entry in entries)


def main() -> None:
    """Serve until the process is ended."""
    earth, latency_ms = Path(sys.argv[1]), int(sys.argv[2])
    with serve(earth, providers=["planetary-computer"]) as services:
        services.faults.append(lambda _: Fault(delay_s=latency_ms / 1000.0))
        print(services.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
