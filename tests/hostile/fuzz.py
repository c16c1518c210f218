"""Fuzzes everything that reads what somebody else wrote, in processes with little memory that are watched.

    python -m tests.hostile.fuzz                    # a million inputs
    python -m tests.hostile.fuzz --count 10000      # what CI runs
    python -m tests.hostile.fuzz --replay FILE...   # inputs that are kept, named TARGET-anything

Input number n of a kind is decided by --seed and n. A run that was stopped goes on where it was with the same --state.
Ends with 1 where an input ended a process (signal), took longer than HANG_S (hang), raised what is not documented
(traceback), or made a process hold more than PEAK_MIB; such inputs are written to --out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.fuzz_targets import CHECKOUT, SHARES, TARGETS

HANG_S = 60.0
"""An input that takes longer than this hangs. Machines of CI are slow and shared: most inputs take a millisecond."""
MEMORY_MIB = 3072
"""Address space of a process, libraries included."""
PEAK_MIB = 1200
"""What it may come to hold."""
SLICE = 20_000
"""Inputs of one process."""
SEEDS = Path(__file__).parent / "seeds"
"""Inputs that found something once."""


@dataclass
class Tally:
    """What became of inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    found: list[dict[str, Any]] = field(default_factory=list)
    peak_mib: int = 0
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return self.outcomes.total()

    def add(self, other: dict[str, Any]) -> None:
        """Count what a process told."""
        self.outcomes.update(other["outcomes"])
        self.found += other["found"]
        self.peak_mib = max(self.peak_mib, other["peak_mib"])
        self.seconds += other["seconds"]


# The process that reads.


def read_slice(name: str, seed: int, first: int, count: int, progress: Path) -> dict[str, Any]:
    """Read inputs first .. first + count - 1; the number of the one under way is in `progress`."""
    warnings.simplefilter("ignore")
    tally: dict[str, Any] = {"outcomes": Counter(), "found": [], "peak_mib": 0, "seconds": 0.0}
    with tempfile.TemporaryDirectory() as folder, progress.open("r+b", buffering=0) as note:
        target = TARGETS[name](Path(folder))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MIB << 20, MEMORY_MIB << 20))
        began = time.monotonic()
        for number in range(first, first + count):
            os.pwrite(note.fileno(), struct.pack("<Q", number), 0)
            try:
                outcome = target.read(target.input(seed, number))
            except BaseException as error:  # noqa: BLE001 - any of them is what is looked for
                outcome = "traceback"
                said = "".join(traceback.format_exception(error))[-4000:]
                tally["found"].append({"target": name, "number": number, "what": "traceback", "said": said})
            tally["outcomes"][outcome] += 1
        tally["seconds"] = time.monotonic() - began
    tally["peak_mib"] = _peak_mib()
    return tally


def _peak_mib() -> int:
    """Largest resident set of this program (VmHWM, proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10


# The process that watches.


def watched(name: str, seed: int, first: int, count: int) -> Iterator[dict[str, Any]]:
    """What became of a slice; goes on behind an input that ended its process."""
    end = first + count
    while first < end:
        with tempfile.TemporaryDirectory() as folder:
            progress = Path(folder) / "progress"
            progress.write_bytes(struct.pack("<Q", first))
            told, why = _run(name, seed, (first, end - first), progress)
            (at,) = struct.unpack("<Q", progress.read_bytes())
        if told is not None:
            yield told
            return
        found = [{"target": name, "number": at, "what": why.split()[0], "said": why}]
        yield {"outcomes": {why.split()[0]: at - first + 1}, "found": found, "peak_mib": 0, "seconds": 0.0}
        first = at + 1


def _run(name: str, seed: int, part: tuple[int, int], progress: Path) -> tuple[dict[str, Any] | None, str]:
    """(what the process told; None and why it ended)."""
    words = [sys.executable, "-m", "tests.hostile.fuzz", "--slice", name, str(seed), *map(str, part), str(progress)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            words, cwd=CHECKOUT, stdout=out, stderr=err, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        before, since = progress.read_bytes(), time.monotonic()
        while True:
            try:
                code = child.wait(timeout=1.0)
                break
            except subprocess.TimeoutExpired:
                now = progress.read_bytes()
                if now != before:
                    before, since = now, time.monotonic()
                elif time.monotonic() - since > HANG_S:
                    child.send_signal(signal.SIGKILL)
                    child.wait()
                    return None, f"hang after {HANG_S:.0f} s"
        out.seek(0)
        err.seek(0)
        if code == 0:
            return json.loads(out.read().splitlines()[-1]), ""
        said = err.read().decode(errors="replace")[-3000:]
        return None, f"signal {-code}: {said}" if code < 0 else f"exit {code}: {said}"


def parts(counts: dict[str, int]) -> list[tuple[str, int, int]]:
    """(kind, first, count), kinds in turn."""
    found = [(first, name, min(SLICE, n - first)) for name, n in counts.items() for first in range(0, n, SLICE)]
    return [(name, first, count) for first, name, count in sorted(found)]


def shared_out(count: int, names: list[str]) -> dict[str, int]:
    """Kind -> how many of `count` inputs."""
    whole = sum(SHARES[n] for n in names)
    counts = {n: int(count * SHARES[n] / whole) for n in names}
    counts[names[-1]] += count - sum(counts.values())
    return counts


def fuzz(asked: argparse.Namespace) -> dict[str, Tally]:
    """Run all slices that `--state` does not hold yet."""
    names = [n for n in TARGETS if not asked.targets or n in asked.targets.split(",")]
    tallies = {n: Tally() for n in names}
    done = _known(asked, tallies)
    todo = [p for p in parts(shared_out(asked.count, names)) if p not in done]
    until = time.monotonic() + asked.minutes * 60.0 if asked.minutes else float("inf")
    lock = threading.Lock()

    def one(part: tuple[str, int, int]) -> None:
        if time.monotonic() > until:
            return
        told = list(watched(part[0], asked.seed, part[1], part[2]))
        with lock:
            for each in told:
                tallies[part[0]].add(each)
                for found in each["found"]:
                    _save(asked, found)
            if asked.state is not None:
                with asked.state.open("a") as file:
                    file.write(json.dumps({"seed": asked.seed, "part": part, "told": told}) + "\n")
            print(f"{part[0]} {part[1]:,} to {part[1] + part[2]:,}: "
                  f"{sum(len(t['found']) for t in told)} found", file=sys.stderr, flush=True)  # fmt: skip

    with ThreadPoolExecutor(asked.workers) as pool:
        list(pool.map(one, todo))
    return tallies


def _known(asked: argparse.Namespace, tallies: dict[str, Tally]) -> set[tuple[str, int, int]]:
    done: set[tuple[str, int, int]] = set()
    if asked.state is None or not asked.state.is_file():
        return done
    for line in asked.state.read_text().splitlines():
        entry = json.loads(line)
        if entry["seed"] == asked.seed and entry["part"][0] in tallies:
            done.add((entry["part"][0], entry["part"][1], entry["part"][2]))
            for each in entry["told"]:
                tallies[entry["part"][0]].add(each)
    return done


def _save(asked: argparse.Namespace, found: dict[str, Any]) -> None:
    asked.out.mkdir(parents=True, exist_ok=True)
    stem = asked.out / f"{found['target']}-{asked.seed}-{found['number']}"
    with tempfile.TemporaryDirectory() as folder:
        stem.with_suffix(".input").write_bytes(
            TARGETS[found["target"]](Path(folder)).input(asked.seed, found["number"])
        )
    stem.with_suffix(".txt").write_text(f"{found['what']}\n{found['said']}\n")


def report(tallies: dict[str, Tally]) -> int:
    """Print what became of all inputs; 1 where one of them found something."""
    kinds: Counter[str] = Counter()
    for name, tally in tallies.items():
        kinds.update(f["what"] for f in tally.found)
        each = 1e3 * tally.seconds / max(1, tally.inputs)
        said = ", ".join(f"{count:,} {what}" for what, count in tally.outcomes.most_common(6))
        print(f"{name:9} {tally.inputs:9,} inputs  {each:7.2f} ms each  peak {tally.peak_mib:5,} MiB  {said}")
    inputs, peak = sum(t.inputs for t in tallies.values()), max(t.peak_mib for t in tallies.values())
    print(f"{inputs:,} inputs: {kinds['signal']} signals, {kinds['hang']} hangs, {kinds['traceback']} tracebacks, "
          f"{kinds['exit']} other ends; peak {peak:,} of {PEAK_MIB:,} MiB")  # fmt: skip
    return 1 if kinds or peak > PEAK_MIB else 0


def replay(paths: list[Path]) -> int:
    """Read kept inputs in this process, as `Target.read` does."""
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            print(path.name, TARGETS[path.name.split("-")[0]](Path(folder)).read(path.read_bytes()))
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile.fuzz", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--targets", default="", help=f"kinds with commas between, of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=0.0, help="begin no slice after this time")
    parser.add_argument("--state", type=Path, help="file of what is done, to go on after a stop")
    parser.add_argument("--out", type=Path, default=Path("fuzz-found"), help="folder for inputs that find something")
    parser.add_argument("--replay", type=Path, nargs="+", help="read these files instead")
    parser.add_argument("--slice", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.slice:
        name, seed, first, count, progress = asked.slice
        print(json.dumps(read_slice(name, int(seed), int(first), int(count), Path(progress))))
        return 0
    if asked.replay:
        return replay(asked.replay)
    return report(fuzz(asked))


if __name__ == "__main__":
    sys.exit(main())
