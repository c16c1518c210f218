"""`python -m benchmarks.building`: builds one stack with landweave, with a script of odc-stac, and with rslearn.

    python -m benchmarks.building --earth data/earth            # all; `make quickstart` makes data/earth
    python -m benchmarks.building --earth data/earth --quick --json
    python -m benchmarks.building --earth data/earth --scenes full   # one of the two tables
    python -m benchmarks.building --earth data/earth --profile  # the CPU of our build by stage

The stack: Sentinel-2, Sentinel-1, Landsat, DEM, WorldCover and OpenStreetMap over footprints of 256 pixels of 10 m at
two dates, over HTTP. `miniature`: the miniature Earth, footprints side by side, 10 and 50 of them. `full`: scenes of
real size (`benchmarks.building_scenes`), 8, 64 and 400 footprints at random places of a granule, without the map.

Each method is one process. CPU is counted after its imports, over all threads and children, and planning and searching
count; so it hardly depends on how busy the machine is. The difference of the runs over few and over many footprints of
the same scenes is what a further sample costs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.building_cost import cost_of_million
from benchmarks.building_pixels import compared, places_of
from benchmarks.building_profile import stage_goals, stage_rows
from benchmarks.building_scenes import make_full
from benchmarks.building_server import counted, serving
from benchmarks.building_stack import DATES, SIZE_M, write_points
from benchmarks.report import print_goals, print_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = dict[str, Any]

ROOT = Path(__file__).parents[1]
TIMES = 5.0
"""Goal: samples per core-hour against the best peer's, at the longest latency."""
EQUAL = 0.9999
"""Goal: share of the pixels of Sentinel-2 that are the same number in ours and in the peer's."""
MINIATURE, FULL = "miniature", "full"
LATENCIES_MS = {MINIATURE: (0, 30), FULL: (30,)}
SIZES = {MINIATURE: (10, 50), FULL: (8, 64, 400)}
"""Samples of the runs."""
OURS, ODC, RSLEARN = "landweave", "odc-stac", "rslearn"
INSTALL = {
    ODC: "python -m venv .benchmarks/odc; .benchmarks/odc/bin/pip install odc-stac pystac-client osmium zarr",
    RSLEARN: "python -m venv .benchmarks/rslearn; .benchmarks/rslearn/bin/pip install rslearn einops pystac scipy "
    "xarray planetary-computer osmium zarr",
}
"""How to get a peer that is missing."""


@dataclass(frozen=True)
class Bench:
    """One run."""

    scenes: str
    """MINIATURE or FULL."""
    earth: Path
    folder: Path
    pythons: dict[str, str]
    """Peer -> its interpreter."""

    def out(self, method: str, latency_ms: int, samples: int) -> Path:
        """Folder of a run."""
        return self.folder / f"{self.scenes}-{method}-{latency_ms}-{samples}"


def run(command: list[str]) -> tuple[Row, int]:
    """Run a method; (its answer, peak memory of its largest process, bytes).

    Raises:
        RuntimeError: it failed; the last line that it printed.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0), errors.seek(0)
        lines = said.read().strip().splitlines()
        if process.returncode or not lines:
            words = errors.read().strip().splitlines() or [f"it ended with status {process.returncode}"]
            raise RuntimeError(words[-1])
    return json.loads(lines[-1]), used.ru_maxrss << 10


def measured(bench: Bench, method: str, latency_ms: int, samples: int, places: list[Row]) -> Row:
    """One method at one latency, against a server of its own; the places are those of our dataset."""
    out = bench.out(method, latency_ms, samples)
    out.mkdir()
    with serving(bench.earth, latency_ms) as url:
        job = {"url": url, "folder": str(bench.folder), "out": str(out), "size_m": SIZE_M, "compare": True}
        job["map"] = (bench.earth / "osm").is_dir()
        if method == OURS:
            write_points(bench.earth, bench.folder / "points.csv", samples)
            command = [sys.executable, "-m", "benchmarks.building_ours", json.dumps(job)]
        else:
            dates = [[date["start"], date["end"]] for date in DATES]
            file = out.with_suffix(".json")
            file.write_text(json.dumps(job | {"places": places, "dates": dates}))
            program = ROOT / "benchmarks" / f"building_{method.partition('-')[0]}.py"
            command = [bench.pythons[method], str(program), str(file)]
        found, peak = run(command)
        requests, size = counted(url)
    row = {
        "scenes": bench.scenes,
        "method": method,
        "latency_ms": latency_ms,
        **found,
        "requests": requests,
        "bytes": size,
    }
    row |= {"peak_mib": peak >> 20, "disk_bytes": _disk_bytes(out)}
    row["samples_per_core_hour"] = round(3600 * row["samples"] / row["cpu_s"])
    return row | cost_of_million(row)


def _disk_bytes(out: Path) -> int:
    """What the dataset takes, without working files and downloads."""
    temporary = (".work", "tiles", "map.osm.pbf", ".staging", "compare.zarr")
    return sum(
        p.stat().st_size for p in out.rglob("*") if p.is_file() and not set(p.relative_to(out).parts) & set(temporary)
    )


def rows_of(bench: Bench, latencies: Sequence[int], sizes: Sequence[int], failed: dict[str, str]) -> Iterator[Row]:
    """A row per method, latency and number of samples, and one per peer about its pixels; what cannot run: `failed`."""
    failed |= {name: f"it is not installed: {INSTALL[name]}" for name in (ODC, RSLEARN) if name not in bench.pythons}
    for latency_ms, samples in itertools.product(latencies, sizes):
        yield measured(bench, OURS, latency_ms, samples, [])
        ours = bench.out(OURS, latency_ms, samples)
        places = places_of(ours)
        for method in (ODC, RSLEARN):
            if method in failed:
                continue
            try:
                yield measured(bench, method, latency_ms, samples, places)
            except RuntimeError as error:
                failed[method] = str(error)
                continue
            if (latency_ms, samples) == (latencies[-1], sizes[-1]):
                same = compared(ours, bench.out(method, latency_ms, samples), places)
                yield {"scenes": bench.scenes, "method": method, "equal_to_ours": True, **same}


def further(rows: Sequence[Row]) -> dict[str, float]:
    """Method -> samples per core-hour of further samples over the same scenes, from runs over few and over many."""
    found = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        few, *_, many = [row for row in rows if row["method"] == method] * 2
        if many["samples"] > few["samples"] and many["cpu_s"] > few["cpu_s"]:
            found[method] = 3600 * (many["samples"] - few["samples"]) / (many["cpu_s"] - few["cpu_s"])
    return found


def goals(rows: Sequence[Row], failed: Mapping[str, str]) -> dict[str, list[str]]:
    """Kind -> lines, for each kind of scenes."""
    said: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for scenes in dict.fromkeys(row["scenes"] for row in rows):
        mine = [row for row in rows if row["scenes"] == scenes]
        latency_ms = max(row["latency_ms"] for row in mine if "latency_ms" in row)
        last = [row for row in mine if row.get("latency_ms") == latency_ms]
        whole = {row["method"]: row["samples_per_core_hour"] for row in last}
        for what, rate in (("whole run", whole), ("further samples of the same scenes", further(last))):
            peers = {name: value for name, value in rate.items() if name != OURS}
            if peers and OURS in rate:
                best = max(peers, key=lambda name: peers[name])
                times = rate[OURS] / peers[best]
                text = f"{scenes} scenes, samples per core-hour at {latency_ms} ms, {what}: {times:.1f} times {best}'s"
                said["met" if times >= TIMES else "missed"].append(f"{text} (goal {TIMES:g})")
        for row in mine:
            shares = [v for k, v in row.items() if k.startswith("sentinel2_") and row.get("equal_to_ours")]
            if shares:
                text = f"{scenes} scenes, pixels of Sentinel-2 equal to {row['method']}'s: {min(shares):.2%} at least"
                said["met" if min(shares) >= EQUAL else "missed"].append(f"{text} of an array")
    said["unjudged"] += [f"{name}: {why}" for name, why in failed.items()]
    return said


def _pythons() -> dict[str, str]:
    """Interpreters of the peers that are installed."""
    found = {}
    needs = ((ODC, "odc.stac, pystac_client, osmium, zarr", "odc"), (RSLEARN, "rslearn", "rslearn"))
    for method, module, folder in needs:
        own = ROOT / ".benchmarks" / folder / "bin" / "python"
        for python in [str(own)] * own.exists() + [sys.executable]:
            if _runs([python, "-c", f"import {module}"]):
                found[method] = python
                break
    return found


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.building", description=(__doc__ or "").split("\n", 1)[0],
        epilog="Example: python -m benchmarks.building --earth data/earth --quick --json",
    )  # fmt: skip
    parser.add_argument("--earth", type=Path, default=ROOT / "data" / "earth", help="the miniature Earth")
    parser.add_argument("--scenes", choices=(MINIATURE, FULL), action="append", help="one table; without: both")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / ".benchmarks",
        help="where scenes of real size are kept: 1.1 GB, made once",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a row per line, last the summary")
    parser.add_argument(
        "--quick", action="store_true", help="few samples at 30 ms only, of the miniature Earth if not asked otherwise"
    )
    parser.add_argument("--profile", action="store_true", help="instead: the CPU of our build by stage, with texts")
    asked = parser.parse_args()
    if not (asked.earth / "planet.json").is_file():
        print(
            f"{asked.earth.name}: holds no miniature Earth; make one: python -m testbed make {asked.earth.name}",
            file=sys.stderr,
        )
        return 1
    if asked.profile:
        return _profile(asked.earth.resolve(), as_json=asked.json)
    rows, failed = [], dict[str, str]()
    for scenes in asked.scenes or ((MINIATURE,) if asked.quick else (MINIATURE, FULL)):
        earth = asked.earth.resolve() if scenes == MINIATURE else _full(asked.earth, asked.folder.resolve())
        latencies: tuple[int, ...] = LATENCIES_MS[scenes]
        sizes: tuple[int, ...] = SIZES[scenes]
        if asked.quick:
            latencies, sizes = latencies[-1:], sizes[:1]
        with tempfile.TemporaryDirectory() as folder:
            for row in rows_of(Bench(scenes, earth, Path(folder), _pythons()), latencies, sizes, failed):
                rows.append(row)
                print_row(row, as_json=asked.json)
    print_goals(goals(rows, failed), as_json=asked.json)
    return 0


def _full(earth: Path, folder: Path) -> Path:
    """Make the scenes of real size in another process: a child's peak memory is at least that of its parent so far."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(make_full, earth, folder).result()


def _profile(earth: Path, *, as_json: bool) -> int:
    """Print a row per stage of our build, and the goal."""
    with tempfile.TemporaryDirectory() as folder, serving(earth, LATENCIES_MS[MINIATURE][-1]) as url:
        write_points(earth, Path(folder) / "points.csv", SIZES[MINIATURE][-1])
        job = {"url": url, "folder": folder, "out": f"{folder}/out", "size_m": SIZE_M, "map": True}
        job |= {"texts": True, "profile": True}
        found, _ = run([sys.executable, "-m", "benchmarks.building_ours", json.dumps(job)])
    for row in stage_rows(found["stages"], found["samples"]):
        print_row(row, as_json=as_json)
    print_goals(stage_goals(found["stages"]), as_json=as_json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
