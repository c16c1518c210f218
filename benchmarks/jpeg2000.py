"""`python -m benchmarks.jpeg2000`: chips of a Sentinel-2-like JPEG 2000 band over HTTP, by tile-part and whole.

One band of 10,980 px, lossless, in tiles of 1,024 (`.benchmarks/jpeg2000-1`, made once): with a list of its tile-parts
(TLM), and the same bytes without. Requests and bytes as the server counts them; CPU of this process, medians of runs
that take turns. The bound: each needed tile once through OpenJPEG alone, from memory.
"""

from __future__ import annotations

import argparse
import statistics
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import rasterio
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.windows import Window

from benchmarks import scenes as land
from benchmarks.report import print_goals, print_row
from benchmarks.server import Server, serve
from benchmarks.workers import ROOT
from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.jpeg2000_tiles import Tiles, tiles_of
from schemas.place import GeoBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SIZE, TILE, PX = 10_980, 1_024, 256
LATENCY_MS = 30
MAX_BYTES, MAX_REQUESTS, LEAST_SAVED, MAX_CPU, MAX_GDAL = 1.1, 12, 10, 1.1, 1.0
"""Bytes of the needed tile-parts; requests of a chip; times fewer bytes than whole files; CPU of OpenJPEG alone; CPU of
GDAL on the whole file in memory."""


def made(home: Path) -> tuple[Path, Path]:
    """(band with a list of its tile-parts, the same without), about 105 MB each."""
    home.mkdir(parents=True, exist_ok=True)
    listed, plain = home / "listed.jp2", home / "plain.jp2"
    if not listed.exists():
        aside = home / "part.jp2"
        _write(aside)
        aside.rename(listed)
    if not plain.exists():
        raw = bytearray(listed.read_bytes())
        at = raw.index(b"\xff\x55", raw.index(b"\xff\x4f\xff\x51"), raw.index(b"\xff\x90\x00\x0a"))
        raw[at : at + 2] = b"\xff\x64"  # the list becomes a comment
        plain.write_bytes(raw)
    return listed, plain


def _write(path: Path) -> None:
    rng = np.random.default_rng([land.SEED, 18])
    place = {"crs": f"EPSG:{land.EPSG}", "transform": Affine(10, 0, land.LEFT, 0, -10, land.TOP)}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", width=SIZE, height=SIZE, count=1, dtype="uint16", **place) as file:
            row = 0
            for field, noise in land.strips(rng, SIZE, SIZE):
                pixels = 1_900.0 + 700.0 * field
                pixels = np.clip(pixels + noise * (12.0 + 0.02 * np.abs(pixels)), 1, 20_000).astype("uint16")
                file.write(pixels, 1, window=Window(0, row, SIZE, len(pixels)))
                row += len(pixels)
        with memory.open() as file:
            how = {"quality": 100, "reversible": "yes", "blockxsize": TILE, "blockysize": TILE, "TLM": "YES"}
            precincts = ",".join(["{256,256}"] * 6)
            copy(file, path, driver="JP2OpenJPEG", PLT="YES", RESOLUTIONS=6, PRECINCTS=precincts, **how)


def spots(count: int) -> list[tuple[int, int]]:
    """(column, row) of chips, uniform."""
    found = np.random.default_rng([land.SEED, 19]).integers(0, SIZE - PX, (count, 2))
    return [(int(x), int(y)) for x, y in found]


def request(href: str, spot: tuple[int, int]) -> ChipRequest:
    """A chip whose pixels are the band's own."""
    x, y = land.LEFT + 10 * spot[0], land.TOP - 10 * spot[1]
    box = GeoBox(epsg=land.EPSG, x_min=x, y_max=y, resolution_m=10, width=PX, height=PX)
    return ChipRequest(hrefs=(href,), bands=(1,), geobox=box, kernel="nearest", fill=(0,))


def read(href: str, chips: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
    """Pixels (y, x) of chips by one new reader."""
    client = Client()
    with Reader(client) as reader:
        found = reader.read_chips([request(href, spot) for spot in chips])
    client.close()
    return [_pixels(chip) for chip in found]


def _pixels(chip: object) -> NDArray[Any]:
    if not isinstance(chip, Chip):
        raise TypeError(f"a chip could not be read: {chip}")
    pixels: NDArray[Any] = chip.pixels[0]
    return pixels


def tiles_under(spot: tuple[int, int]) -> list[tuple[int, int, int]]:
    """Blocks (0, row, column) that a chip touches."""
    columns, rows = (range(at // TILE, (at + PX - 1) // TILE + 1) for at in spot)
    return [(0, row, column) for row in rows for column in columns]


def timed(work: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Name -> (CPU, wall) seconds, medians of runs that take turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: (statistics.median(c for c, _ in some), statistics.median(w for _, w in some))
        for name, some in taken.items()
    }


class Bench:
    """One band, served; its rows."""

    def __init__(self, server: Server, listed: Path, plain: Path, *, as_json: bool) -> None:
        self._server, self._as_json = server, as_json
        self._names = {"listed": listed.name, "plain": plain.name}
        self._raw, self._plain = listed.read_bytes(), plain
        found = tiles_of(lambda at, length: self._raw[at : at + length], len(self._raw))
        assert isinstance(found, Tiles)  # noqa: S101 - it was written so
        self._tiles = found
        self._number = 0
        self.goals: list[tuple[str, float, float]] = []
        """(what, found, most)."""

    def row(self, **values: Any) -> None:
        """Print a row."""
        print_row(values, as_json=self._as_json)

    def fetched(self, kind: str, jobs: Sequence[Sequence[tuple[int, int]]]) -> tuple[list[Any], float, float]:
        """(pixels, requests, bytes) of jobs, each by a reader of its own, with LATENCY_MS to each answer."""
        self._number += 1
        tag = f"t{self._number}"
        href = f"{self._server.url(tag, LATENCY_MS)}/{self._names[kind]}"
        pixels = [chip for job in jobs for chip in read(href, job)]
        return pixels, *self._server.counted(tag)

    def needed(self, blocks: set[tuple[int, int, int]]) -> int:
        """Bytes of the tile-parts of these tiles."""
        return sum(size for block in blocks for _, size in self._tiles.spans(block))

    def bytes_and_requests(self, k: int) -> None:
        """Chips one by one and together, by tile-part and whole."""
        chips = spots(k)
        least = sum(self.needed(set(tiles_under(spot))) for spot in chips)
        cold, requests, size = self.fetched("listed", [[spot] for spot in chips])
        whole, whole_requests, whole_size = self.fetched("plain", [chips[:1]])
        together = self.fetched("listed", [chips])
        shared = self.needed({block for spot in chips for block in tiles_under(spot)})
        same = all(np.array_equal(a, b) for a, b in zip(cold, self.by_gdal(chips), strict=True))
        same &= all(np.array_equal(a, b) for a, b in zip(cold, together[0], strict=True))
        same &= np.array_equal(cold[0], whole[0])
        part = f"K={k}, {LATENCY_MS} ms"
        self.row(part=part, method="listed, chip by chip", requests=requests / k, mb=size / k / 1e6,
                 of_tile_parts=size / least, same_pixels=same)  # fmt: skip
        self.row(part=part, method="listed, together", requests=together[1] / k, mb=together[2] / k / 1e6,
                 of_tile_parts=together[2] / shared)  # fmt: skip
        self.row(part=part, method="not listed, one chip", requests=float(whole_requests), mb=whole_size / 1e6)
        self.goals += [
            (f"{part}: bytes of a chip against its tile-parts", size / least, MAX_BYTES),
            (f"{part}: requests of a chip", requests / k, MAX_REQUESTS),
            (f"{part}: bytes of a chip against the whole file", size / k / whole_size, 1 / LEAST_SAVED),
            (f"{part}: chips whose pixels differ from GDAL's", 0.0 if same else 1.0, 0.0),
        ]

    def by_gdal(self, chips: Sequence[tuple[int, int]]) -> list[NDArray[Any]]:
        """The same windows by GDAL, from the whole file on disk; a cache holds all tiles."""
        with rasterio.Env(GDAL_CACHEMAX=1024), rasterio.open(self._plain) as file:
            return [file.read(1, window=Window(x, y, PX, PX)) for x, y in chips]

    def cpu(self, k: int, repeats: int) -> None:
        """CPU of K chips together, without latency: ours, GDAL's, and OpenJPEG alone."""
        chips = spots(k)
        href = f"{self._server.url('cpu')}/{self._names['listed']}"
        streams = list(self._streams(sorted({block for spot in chips for block in tiles_under(spot)})))
        taken = timed(
            {
                "landweave": lambda: read(href, chips),
                "GDAL, file on disk": lambda: self.by_gdal(chips),
                "OpenJPEG alone": lambda: [imagecodecs.jpeg2k_decode(s, numthreads=8) for s in streams],
            },
            repeats,
        )
        for method, (cpu, wall) in taken.items():
            self.row(part=f"K={k}, CPU", method=method, cpu_ms=cpu / k * 1e3, wall_ms=wall / k * 1e3)
        ours = taken["landweave"][0]
        self.goals += [
            (f"K={k}: CPU against OpenJPEG {imagecodecs.jpeg2k_version()} alone", ours / taken["OpenJPEG alone"][0],
             MAX_CPU),
            (f"K={k}: CPU against GDAL's on the file", ours / taken["GDAL, file on disk"][0], MAX_GDAL),
        ]  # fmt: skip

    def _streams(self, blocks: Sequence[tuple[int, int, int]]) -> Iterator[bytes]:
        """Each tile as a file of its own."""
        for block in blocks:
            parts = bytearray(b"".join(self._raw[at : at + size] for at, size in self._tiles.spans(block)))
            struct.pack_into(">H", parts, 4, 0)
            yield self._tiles.head.codestream(self._tiles.head.size.of_tile(*block[1:]), bytes(parts))


def main() -> None:
    """Run, print, decide the goals."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jpeg2000", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object a row, last a summary")
    parser.add_argument("--quick", action="store_true", help="K=64 only, CPU once")
    parser.add_argument("--cache", type=Path, default=ROOT / ".benchmarks", help="folder for the band, 0.4 GB")
    asked = parser.parse_args()
    home = asked.cache / "jpeg2000-1"
    listed, plain = made(home)
    with serve(home.resolve()) as server:
        bench = Bench(server, listed, plain, as_json=asked.json)
        for k in (64,) if asked.quick else (16, 64, 256):
            bench.bytes_and_requests(k)
            bench.cpu(k, 1 if asked.quick else 3)
    said: dict[str, list[str]] = {"met": [], "missed": []}
    for what, found, most in bench.goals:
        said["met" if found <= most else "missed"].append(f"{what}: {found:.3g}, goal {most:.3g}")
    print_goals(said, as_json=asked.json)


if __name__ == "__main__":
    main()
