"""`python -m benchmarks.bucket`: reading a dataset of a million samples from a bucket that is slow now and then.

    python -m benchmarks.bucket                 10^6 samples (some minutes; 2 GB below the folder, made once)
    python -m benchmarks.bucket --quick --json  135,000 samples and fewer batches, as JSON

A server on loopback waits as buckets do: 98 of 100 requests a lognormal time of 30 ms, one of 100 2 s, one of 100 for
ever (`benchmarks.server`). A sample is 1.0 MB in 17 arrays, 14 of which also lie side by side
(`shards.requests_per_sample: 4`). Each task runs in its own process. The server and the reader share the cores of this
machine: shares of a link are those that this machine can serve and decode.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bucket_bands import bands_rows
from benchmarks.bucket_data import make_bucket
from benchmarks.loading_data import make_dataset
from benchmarks.report import print_goals, print_row
from benchmarks.server import serve
from benchmarks.workers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.server import Server

    Row = dict[str, Any]

SAMPLES, QUICK = 1_000_000, 135_000
LATENCY_MS = 30
GOALS: tuple[tuple[str, str, bool, float], ...] = (
    ("first batch", "seconds", False, 0.3),
    ("random", "needed_sample", False, 4.0),
    ("random", "p99_to_median", False, 3.0),
    ("random", "more_bytes", False, 0.02),
    ("link 500 MB/s", "used", True, 0.9),
    ("link 125 MB/s", "used", True, 0.95),
    ("second epoch", "of_local", True, 0.9),
    ("3 of 12 bands", "bytes_to_share", False, 1.2),
    ("3 of 12 bands", "cpu_to_share", False, 1.2),
    ("202 of 224 bands", "bytes_to_share", False, 1.2),
    ("202 of 224 bands", "cpu_to_share", False, 1.2),
    ("3 of 224 bands", "bytes_to_share", False, 1.2),
    ("3 of 224 bands", "cpu_to_share", False, 1.2),
)
"""(task, measure, whether more is better, bound)."""


def _alone(server: Server, tag: str, url: str, asked: Row, module: str = "benchmarks.bucket_use") -> Row:
    """A task in a fresh process, with the requests and bytes that its tag was served, and the server's CPU."""
    command = [sys.executable, "-m", module, json.dumps({"place": url, **asked})]
    before, busy_s = (0, 0), server.busy_s()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None  # noqa: S101 - asked for
        assert process.stdout is not None  # noqa: S101
        found = json.loads(process.stdout.readline())
        if found.get("ready"):
            before, busy_s = server.counted(tag), server.busy_s()
            process.stdin.write("\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
    requests, size = server.counted(tag)
    busy_s = server.busy_s() - busy_s
    return {**found, "requests": requests - before[0], "bytes": size - before[1], "server_s": busy_s}


def _first(server: Server, name: str, times: int) -> Row:
    found = [
        _alone(server, f"first{i}", f"{server.url(f'first{i}', LATENCY_MS, kind='t')}/{name}",
               {"task": "first", "number": i})
        for i in range(times)
    ]  # fmt: skip
    seconds = sorted(f["first_s"] for f in found)
    return {
        "task": "first batch", "seconds": float(np.median(seconds)), "slowest_s": seconds[-1],
        "opened_s": float(np.median([f["opened_s"] for f in found])), "requests": found[0]["requests"],
        "read_mb": found[0]["bytes"] / 1e6, "peak_mb": max(f["peak_mb"] for f in found),
    }  # fmt: skip


def _random(server: Server, name: str, task: str, batches: int, **asked: Any) -> Row:
    """Random samples: with `kind` '', nothing is late, which says what they need. `needed_sample` leaves out the
    requests that were sent again because they were late."""
    kind = asked.pop("kind", "t")
    tag = re.sub(r"\W+", "-", task) + kind
    found = _alone(server, tag, f"{server.url(tag, LATENCY_MS, kind=kind)}/{name}",
                   {"task": "random", "shards": 4, "batches": batches, **asked})  # fmt: skip
    seconds, each = np.array(found["seconds"]), found["samples"]
    return {
        "task": task, "store": {"t": "slow now and then", "w": "wide", "": "steady"}[kind],
        "median_s": float(np.median(seconds)), "p99_to_median": float(np.quantile(seconds, 0.99) / np.median(seconds)),
        "requests_sample": found["requests"] / each, "needed_sample": (found["requests"] - found["again"]) / each,
        "kb_sample": found["bytes"] / each / 1e3, "cpu_ms": found["cpu_s"] / each * 1e3, "peak_mb": found["peak_mb"],
    }  # fmt: skip


def _link(server: Server, name: str, link: int, batches: int) -> Row:
    tag = f"link{link}"
    url = f"{server.url(tag, LATENCY_MS, link, 't')}/{name}"
    found = _alone(server, tag, url, {"task": "stream", "batches": batches})
    return {
        "task": f"link {link} MB/s", "server_ms": found["server_s"] / found["samples"] * 1e3,
        "used": found["bytes"] / found["wall_s"] / 1e6 / link,
        "samples_s": found["samples"] / found["wall_s"], "cpu_ms": found["cpu_s"] / found["samples"] * 1e3,
        "requests_sample": found["requests"] / found["samples"], "peak_mb": found["peak_mb"],
    }  # fmt: skip


def _least(server: Server, name: str, link: int, batches: int, how: str) -> Row:
    """The ranges of the same stream, over the same link, where nothing is late and nothing is decoded."""
    tag = f"least{link}{how}"
    over = f"{server.url(tag, LATENCY_MS, link)}/{name}"
    asked = {"place": f"{server.url(f'ranges{link}{how}')}/{name}", "over": over, "batches": batches, "how": how}
    found = _alone(server, tag, over, asked, "benchmarks.bucket_least")
    return {
        "task": f"link {link} MB/s, {how} alone", "used": found["bytes"] / found["wall_s"] / 1e6 / link,
        "samples_s": found["samples"] / found["wall_s"], "cpu_ms": found["cpu_s"] / found["samples"] * 1e3,
        "server_ms": found["server_s"] / found["samples"] * 1e3,
        "requests_sample": found["requests"] / found["samples"],
    }  # fmt: skip


def _second_epoch(server: Server, folder: Path, epochs: int) -> Row:
    """Epochs of a small dataset that lies in the cache, beside the same from a local disk, both in turn."""
    small = make_dataset(folder / "64", 64)
    asked = {"task": "stream", "epochs": epochs}
    rates: dict[str, list[float]] = {"kept": [], "local": []}
    cpu: dict[str, list[float]] = {"kept": [], "local": []}
    requests = []
    with tempfile.TemporaryDirectory() as cache:
        for number in range(3):
            url = f"{server.url(f'epoch{number}', LATENCY_MS, kind='t')}/64/{small.name}"
            places = {"kept": (url, {"cache_dir": cache}), "local": (str(small), {})}
            for name, (place, how) in places.items():
                found = _alone(server, f"epoch{number}", place, {**asked, "open": how})
                rates[name] += [e["samples"] / e["wall_s"] for e in found["epochs"][1:]]
                cpu[name] += [e["cpu_s"] / e["samples"] * 1e3 for e in found["epochs"][1:]]
                requests += [found["requests"]] if name == "kept" else []
    kept, local = (float(np.median(rates[name])) for name in ("kept", "local"))
    return {
        "task": "second epoch", "of_local": kept / local, "samples_s": kept,
        "cpu_ms": float(np.median(cpu["kept"])), "cpu_ms_local": float(np.median(cpu["local"])),
        "requests_first": requests[0], "requests_opened_again": requests[-1],
    }  # fmt: skip


def _rows(server: Server, folder: Path, name: str, quick: bool) -> Iterator[Row]:
    yield _first(server, name, 3 if quick else 9)
    batches = 30 if quick else 200
    steady = _random(server, name, "random", 10, kind="")
    yield steady
    yield _random(server, name, "random, each array alone", 10, kind="", alone=True)
    late = _random(server, name, "random", batches)
    late["more_bytes"] = late["kb_sample"] / steady["kb_sample"] - 1
    yield late
    yield _random(server, name, "random", batches // 3, kind="w")
    for link, much in ((500, 96), (125, 32)):
        yield _link(server, name, link, much // 3 if quick else much)
        for how in ("sockets", "obstore"):
            yield _least(server, name, link, much // 3 if quick else much, how)
    yield _second_epoch(server, folder, 5 if quick else 20)

    def read(name: str, task: str, **how: Any) -> Row:
        return _random(server, name, task, 5 if quick else 20, kind="", **how)

    yield from bands_rows(folder, read)


def goals(rows: list[Row]) -> dict[str, list[str]]:
    """'met', 'missed' and 'unjudged'."""
    found: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for task, measure, more, bound in GOALS:
        values = [r[measure] for r in rows if r["task"] == task and measure in r and r.get("store") != "wide"]
        if not values:
            found["unjudged"].append(f"{task}: {measure}: no such row in this run")
            continue
        value = values[-1]
        text = f"{task}: {measure} {value:.3g} (goal: at {'least' if more else 'most'} {bound:g})"
        found["met" if (value >= bound if more else value <= bound) else "missed"].append(text)
    return found


def main() -> None:
    """Run, print, decide the goals."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bucket", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one object per row, last a summary")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} samples, fewer batches")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".benchmarks" / "data", help="where datasets are made and kept"
    )
    asked = parser.parse_args()
    made = make_bucket(asked.folder, QUICK if asked.quick else SAMPLES)
    rows = []
    with serve(asked.folder) as server:
        for row in _rows(server, asked.folder, made.name, asked.quick):
            rows.append(row)
            print_row(row, as_json=asked.json, digits=3)
    print_goals(goals(rows), as_json=asked.json)


if __name__ == "__main__":
    main()
