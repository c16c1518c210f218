"""`python -m benchmarks.reading`: reads chips from COGs over HTTP with landweave, other tools and a lower bound.

In one go, on the same files: requests and body bytes as the server counts them, CPU of the reading process, wall time,
and one checksum per chip. Methods that read chip by chip are measured on the first chips of each set (`measured`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import scenes as land
from benchmarks.server import Server, serve
from benchmarks.workers import ROOT, Worker, WorkerFailed, worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = dict[str, Any]
COLD = "odc-stac cold"
"""A load per chip that finds nothing in GDAL's cache: what a load is where chips are spread over processes."""
WARM = "odc-stac"
"""The same in one process, chip after chip on one scene: GDAL remembers the headers."""
PEERS = (COLD, WARM, "stackstac", "rslearn", "rasterio-windows", "async-geotiff")
INSTALL = (
    "odc-stac, async-geotiff: pip install --group bench; "
    "stackstac, rslearn: an environment of their own, see docs/measured.md"
)
"""How to get peers that are missing."""
PX = 256
GOALS_K = {16: (1 / 3, 1 / 3), 64: (1 / 6, 1 / 5), 256: (1 / 25, 1 / 10)}
"""K -> at most this share of odc-stac's requests, of its CPU."""
MAX_BYTES, MAX_CPU, MAX_WALL = 1.02, 1.5, 1 / 8
LATENCY_MS = 30
OURS_PLANNED = "landweave sharing=0.05"
MANY = 32
"""Requests under way at once, to fill a core or a link across the latency; a recipe's default is 8."""
HEADER_BYTES = 1 << 15
"""What ours reads of each file first; not counted against MAX_BYTES."""


@dataclass
class Bench:
    """One run: the server, the processes, the rows so far."""

    server: Server
    workers: ExitStack
    peer_python: str | None
    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Method -> why it could not run."""
    as_json: bool = False
    _running: dict[str, Worker] = field(default_factory=dict)
    _number: int = 0

    def tag(self) -> str:
        """A name that the server has not counted for yet."""
        self._number += 1
        return f"t{self._number}"

    def ask(self, method: str, job: dict[str, Any], tag: str) -> Row | None:
        """One job; None if the method cannot run."""
        if method in self.failed:
            return None
        if method not in self._running:
            self._running[method] = self.workers.enter_context(worker(method, self.peer_python))
        try:
            answer = self._running[method].ask(job)
        except WorkerFailed as error:
            self.failed[method] = str(error)
            return None
        requests, size = self.server.counted(tag)
        return {"requests": requests, "bytes": size, **answer}

    def add(self, row: Row) -> None:
        """Keep a row and show it."""
        self.rows.append(row)
        if self.as_json:
            print(json.dumps(row), flush=True)
        else:
            print(shown(row), flush=True)


def chips(url: str, count: int) -> list[dict[str, Any]]:
    """Places uniform on the first granule, on the 60 m lattice; the first of many are those of few."""
    rng = np.random.default_rng([land.SEED, 7])
    most = int((land.EDGE_M - 60 * -(-PX * 10 // 60)) // 60)
    return [
        {
            "href": f"{url}/s2/32TLA/20240603/{{band}}.tif", "item": "S2A_32TLA_20240603", "date": "2024-06-03",
            "left": land.LEFT, "top": land.TOP, "x": land.LEFT + 60 * int(a), "y": land.TOP - 60 * int(b), "px": PX,
        }
        for a, b in rng.integers(0, most, (count, 2))
    ]  # fmt: skip


def per_chip(part: str, method: str, count: int, latency_ms: int, answers: Sequence[Row]) -> Row:
    """Medians of repeated measurements, for each chip."""

    def middle(name: str, scale: float = 1.0) -> float:
        return round(float(statistics.median(a[name] for a in answers)) / count * scale, 4)

    return {
        "part": part, "method": method, "latency_ms": latency_ms, "measured": count,
        "requests": middle("requests"), "mb": middle("bytes", 1e-6), "cpu_ms": middle("cpu_s", 1e3),
        "wall_ms": middle("wall_s", 1e3),
    }  # fmt: skip


def one_scene(bench: Bench, k: int, latency_ms: int, most: int, repeats: int, peers: Sequence[str] = PEERS) -> None:
    """K chips of one granule by every method."""
    base = {"epsg": land.EPSG, "bands": land.S2_BANDS}

    def measured(method: str, count: int) -> Row | None:
        tag = bench.tag()
        return bench.ask(method, {**base, "chips": chips(bench.server.url(tag, latency_ms), count)}, tag)

    together: dict[str, list[Row]] = {"limit": [], "landweave": []}
    measured("landweave", 1)  # imports
    for _ in range(repeats):  # taking turns, so that a busy moment meets both
        for method, got in together.items():
            answer = measured(method, k)
            if answer is not None:
                got.append(answer)
    limit, ours = together["limit"], together["landweave"]
    part = f"K={k}"
    found = [per_chip(part, "landweave", k, latency_ms, ours)]
    found[0]["header_mb"] = round(len(land.S2_BANDS) * HEADER_BYTES / k / 1e6, 4)
    if limit:
        least = per_chip(part, "limit", k, latency_ms, limit)
        least["requests"] = limit[0]["requests"] and round(len_runs(limit[0]) / k, 4)
        least["mb"] = round(limit[0]["least_bytes"] / k / 1e6, 4)
        found.append(least)
    for method in peers:
        count = min(k, most)
        answer = measured(method, count)
        if answer is None:
            continue
        row = per_chip(part, method, count, latency_ms, [answer])
        row["identical"] = answer["checksums"] == ours[0]["checksums"][:count]
        found.append(row)
    ratios(found)
    for row in found:
        bench.add({"k": k, **row})


def len_runs(answer: Row) -> int:
    """Requests of the limit: one for each run of adjoining tiles."""
    return int(answer["runs"])


def ratios(found: list[Row]) -> None:
    """Each row against the least possible, and ours against each peer."""
    ours = found[0]
    least = next((row for row in found if row["method"] == "limit"), None)
    for row in found:
        names = ("requests", "mb", "cpu_ms", "wall_ms")
        if least is not None and row is not least:
            row["of_least"] = {n: round(row[n] / least[n], 3) for n in names if least[n]}
        if row["method"] not in ("limit", "landweave"):
            row["ours_of_this"] = {n: round(ours[n] / row[n], 4) for n in names if row[n]}


def planned(bench: Bench, samples: int, latency_ms: int, most: int) -> None:
    """A planned run over four granules and six dates, with and without sharing, and odc-stac over its chips."""
    part = f"plan of {samples}"
    job = {"samples": samples, "candidates": 6, "checked": most}
    runner = bench.workers.enter_context(Worker(sys.executable, "-m", "benchmarks.planned"))
    runner.ask({**job, "url": bench.server.url(bench.tag()), "sharing": 0.0, "samples": 4})  # imports
    found: list[Row] = []
    for sharing, under_way in ((0.05, 8), (0.05, MANY), (0.0, 8)) if latency_ms else ((0.05, 8),):
        tag = bench.tag()
        url = bench.server.url(tag, latency_ms)
        answer = runner.ask({**job, "url": url, "sharing": sharing, "concurrency": under_way})
        answer["requests"], answer["bytes"] = bench.server.counted(tag)
        method = f"landweave sharing={sharing:g}" + (f", {under_way} under way" if under_way == MANY else "")
        row = per_chip(part, method, answer["samples"], latency_ms, [answer])
        row |= {"scenes_opened": answer["scenes"], "peak_mb": round(answer["peak_bytes"] / 1e6)}
        row["link_mb_s"] = round(answer["bytes"] / answer["wall_s"] / 1e6, 1)
        row["cores_busy"] = round(answer["cpu_s"] / answer["wall_s"], 2)
        found.append(row)
        if sharing == 0.05 and under_way == 8:
            first = answer
    picked = list(first["checksums"])
    for method in (COLD, WARM, f"{COLD} pool=8"):
        tag = bench.tag()
        url = bench.server.url(tag, latency_ms)
        read = [first["chips"][s] for s in picked]
        old = read[0]["href"].split("/s2/")[0]
        again = [{**chip, "href": chip["href"].replace(old, url)} for chip in read]
        got = bench.ask(method, {"epsg": land.EPSG, "bands": land.S2_BANDS, "chips": again}, tag)
        if got is None:
            continue
        row = per_chip(part, method, len(read), latency_ms, [got])
        row["identical"] = got["checksums"] == [first["checksums"][s] for s in picked]
        row["ours_of_this"] = {n: round(found[0][n] / row[n], 4) for n in ("requests", "mb", "cpu_ms", "wall_ms")}
        found.append(row)
    for row in found:
        bench.add(row)


def modalities(bench: Bench, k: int, most: int) -> None:
    """Other sensors: ours and the least possible; the peer is GDAL's warp, chip by chip."""
    for product in land.PRODUCTS:
        resolution = {"sentinel1": 10, "worldcover": 10}.get(product.name, 30)
        kernel = "nearest" if product.name == "worldcover" else "bilinear"
        predictor = 1 if product.name == "worldcover" else 3 if product.dtype == "float32" else 2
        rng = np.random.default_rng([land.SEED, 11])
        px = 258
        left, top = (land.LEFT + 30_000, land.TOP - 30_000) if product.name == "enmap" else (land.LEFT, land.TOP)
        if product.crs == "EPSG:4326":
            left, top = 430_020.0, 5_310_000.0
        reach = {"enmap": 30_000, "sentinel1": 54_000, "landsat": 109_000}.get(product.name, 60_000) - px * 10
        spots = rng.integers(0, reach // 60, (k, 2)) * 60
        more = {"resolution_m": resolution, "count": product.bands, "kernel": kernel, "predictor": predictor}
        base = {"epsg": land.EPSG, "bands": {"data": resolution}, **more}
        found = []
        for method, count in (("landweave", k), ("limit", k), ("gdal-warp", min(k, most))):
            tag = bench.tag()
            href = f"{bench.server.url(tag)}/{product.name}/data.tif"
            read = [{"href": href, "x": left + float(a), "y": top - float(b), "px": px} for a, b in spots[:count]]
            answer = bench.ask(method, {**base, "chips": read}, tag)
            if answer is None:
                continue
            row = per_chip(product.name, method, count, 0, [answer])
            if method == "limit":
                row["requests"], row["mb"] = round(answer["runs"] / k, 4), round(answer["least_bytes"] / k / 1e6, 4)
            found.append(row)
        ratios(found)
        for row in found:
            bench.add({"k": k, **row})


def goals(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The table of the reading issue, decided by these rows."""
    judged: dict[str, list[str]] = {"met": [], "missed": [], "unjudged": []}
    for what, found, most in (*_goals_of_k(rows), *_goals_of_plan(rows)):
        judged["met" if found <= most else "missed"].append(f"{what}: {found:.3g}, goal {most:.3g}")
    compared = [r for r in rows if "identical" in r]
    different = [f"{r['part']} {r['method']}" for r in compared if not r["identical"]]
    if compared:
        judged["missed" if different else "met"].append("identical pixels" + "".join(f", not {d}" for d in different))
    judged["unjudged"] = _unjudged(rows)
    return judged


def _unjudged(rows: Sequence[Row]) -> list[str]:
    """Goals that these rows cannot decide, each with the reason."""
    found = []
    for k in GOALS_K:
        part = f"K={k}"
        if _row(rows, part, "landweave") is None:
            found.append(f"{part}: not measured in this run (--quick measures K=64 and 256)")
            continue
        found += [
            f"{part} against {name}: it did not run" for name in (COLD, WARM, "limit") if _row(rows, part, name) is None
        ]
    ours = [r for r in rows if r["method"] == OURS_PLANNED and r["latency_ms"] == LATENCY_MS]
    if not any(_row(rows, r["part"], COLD, LATENCY_MS) for r in ours):
        found.append(f"wall of the whole plan at {LATENCY_MS} ms: not measured in this run, or odc-stac did not run")
    return found


def _row(rows: Sequence[Row], part: str, method: str, latency_ms: int = 0) -> Row | None:
    wanted = (part, method, latency_ms)
    return next((r for r in rows if (r["part"], r["method"], r["latency_ms"]) == wanted), None)


def _goals_of_k(rows: Sequence[Row]) -> Iterator[tuple[str, float, float]]:
    """(what, found, most). CPU with and without latency: waiting costs a reader CPU too."""
    for k, (requests, cpu) in GOALS_K.items():
        part = f"K={k}"
        for latency_ms in (0, LATENCY_MS):
            ours, least = (_row(rows, part, name, latency_ms) for name in ("landweave", "limit"))
            if ours is None:
                continue
            at = f"{part} CPU at {latency_ms} ms latency"
            for name in (COLD, WARM):
                peer = _row(rows, part, name, latency_ms)
                if peer is None:
                    continue
                if not latency_ms:
                    yield f"{part} requests against {name}", ours["requests"] / peer["requests"], requests
                alone = (
                    "" if least is None else f" (fetch and decode in C alone: {least['cpu_ms'] / peer['cpu_ms']:.3g})"
                )
                yield f"{at} against {name}{alone}", ours["cpu_ms"] / peer["cpu_ms"], cpu
            if least is not None:
                if not latency_ms:
                    bytes_read = ours["mb"] - ours["header_mb"]
                    yield f"{part} bytes against each tile once", bytes_read / least["mb"], MAX_BYTES
                yield f"{at} against fetch and decode in C", ours["cpu_ms"] / least["cpu_ms"], MAX_CPU


def _goals_of_plan(rows: Sequence[Row]) -> Iterator[tuple[str, float, float]]:
    """(what, found, most)"""
    for ours in rows:
        if ours["method"] != OURS_PLANNED or ours["latency_ms"] != LATENCY_MS:
            continue
        more = _row(rows, ours["part"], f"{OURS_PLANNED}, {MANY} under way", LATENCY_MS) or ours
        busy = ", ".join(
            f"{words} under way: {row['cores_busy']:.2g} of {os.cpu_count()} cores, {row['link_mb_s']:.0f} MB/s"
            for words, row in (("8", ours), (str(MANY), more))
        )
        for name in (COLD, WARM):
            if peer := _row(rows, ours["part"], name, LATENCY_MS):
                yield f"{ours['part']} wall against {name} ({busy})", ours["wall_ms"] / peer["wall_ms"], MAX_WALL


def shown(row: Row) -> str:
    """One line for people."""
    line = f"{row['part']:<13} {row['method']:<24} {row['latency_ms']:>3} ms {row['measured']:>5} chips "
    line += (
        f"{row['requests']:>8.2f} req {row['mb']:>8.3f} MB {row['cpu_ms']:>8.1f} ms CPU {row['wall_ms']:>8.1f} ms wall"
    )
    if "identical" in row:
        line += "  same pixels" if row["identical"] else "  OTHER PIXELS"
    if "of_least" in row:
        line += "  of least: " + ", ".join(f"{k} {v:g}" for k, v in row["of_least"].items())
    more = ("scenes_opened", "peak_mb", "cores_busy", "link_mb_s")
    return line + "".join(f"  {k} {row[k]}" for k in more if k in row)


def main() -> None:
    """Run, print, decide the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object a row, last a summary")
    parser.add_argument(
        "--quick", action="store_true", help="K=64 and 256 only, under a minute once the scenes are made"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / ".benchmarks", help="folder for the scenes, 4 GB")
    parser.add_argument("--peer-python", help="Python that stackstac and rslearn are installed for")
    parser.add_argument("--samples", type=int, default=2048, help="samples of the planned run")
    asked = parser.parse_args()
    own = asked.cache / "peers" / "bin" / "python"
    python = asked.peer_python or (str(own) if own.exists() else None)
    home = land.make_scenes(asked.cache, [] if asked.quick else list(land.TILES))
    with serve(home) as server, ExitStack() as workers:
        bench = Bench(server, workers, python, as_json=asked.json)
        if asked.quick:
            for k in (64, 256):
                one_scene(bench, k, 0, 12, 2)
                one_scene(bench, k, LATENCY_MS, 3, 1, (COLD,))
        else:
            for k in (16, 64, 256, 1024):
                one_scene(bench, k, 0, 48, 3 if k < 1024 else 1)
            for k in (16, 64, 256):
                one_scene(bench, k, LATENCY_MS, 8, 2)
            modalities(bench, 64, 8)
            for latency_ms in (0, 30):
                planned(bench, asked.samples, latency_ms, 24)
        judged = goals(bench.rows)
        if asked.json:
            print(json.dumps({"summary": True, **judged, "not_run": bench.failed, "to_install": INSTALL}))
        else:
            for name, found in judged.items():
                print(f"\n{name}:", *found, sep="\n  ")
            for method, why in bench.failed.items():
                print(f"not run: {method}: {why}; {INSTALL}")


if __name__ == "__main__":
    main()
