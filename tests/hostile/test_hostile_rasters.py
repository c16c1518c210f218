"""TIFF and JPEG 2000 files that are bombs: refused in one line, or read within the memory that a worker states."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.jpeg2000 import incomplete
from pipelines.sources.read_shard import PEAK_BYTES
from schemas.place import GeoBox
from testbed.services import serve_catalogue
from tests.access.rasters.tiffs import PLACED, Image, Value, tiff

CHECKOUT = Path(__file__).parents[2]
LARGE = (16_384, 16_384)
"""Edges of the largest block that is read, 256 MiB of bytes."""


def deflated(size: int) -> bytes:
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    return b"".join([packer.compress(piece) for _ in range(size >> 20)]) + packer.flush()


def one(raw: bytes, code: int, size: tuple[int, int] = LARGE, tags: dict[int, Any] | None = None, **how: Any) -> bytes:
    return tiff([Image(size[1], size[0], [raw], PLACED | (tags or {}), size, compression=code)], **how)


def tags(count: int, size: int) -> bytes:
    """A file of some hundred KiB whose directory has many tags that all are most of the file."""
    raw = bytearray(one(bytes(256), 1, (16, 16), {code: ("H", [0]) for code in range(40_000, 40_000 + count)}))
    at = len(raw)
    raw += bytes(size)
    entry = struct.pack("<HHL", 0, 1, size) + struct.pack("<L", at)
    for code in range(40_000, 40_000 + count):
        where = raw.index(struct.pack("<HHL", code, 3, 1))
        raw[where + 2 : where + 12] = entry[2:]
    return bytes(raw)


def long_tag(code: int, count: int) -> bytes:
    """A tag that says it is of so many bytes."""
    raw = bytearray(one(bytes(256), 1, (16, 16), {code: ("B", list(range(8)))}))
    where = raw.index(struct.pack("<HHL", code, 1, 8))
    struct.pack_into("<L", raw, where + 4, count)
    return bytes(raw) + bytes(600_000)


def chained(count: int, loop: int | None) -> bytes:
    """Directories one after the other; the last leads to number `loop` again."""
    raw = bytearray(tiff([Image(16, 16, [bytes(256)], dict(PLACED), (16, 16)) for _ in range(count)]))
    at, link = [], 4
    for _ in range(count):
        at.append(struct.unpack_from("<L", raw, link)[0])
        link = at[-1] + 2 + 12 * struct.unpack_from("<H", raw, at[-1])[0]
    struct.pack_into("<L", raw, link, at[loop] if loop is not None else 0)
    return bytes(raw)


def fine(step: float) -> bytes:
    """A raster whose pixels are far finer than a chip's: its one tile is left out."""
    place: dict[int, Value] = {
        33550: ("d", (step, step, 0.0)),
        33922: ("d", (0.0, 0.0, 0.0, 499_000.0, 5_001_000.0, 0.0)),
    }
    size = (1 << 24, 1 << 24)
    rows = (size[0] >> 14, size[1] >> 14)
    blocks = [b""] * (rows[0] * rows[1])
    return tiff([Image(size[1], size[0], blocks, PLACED | place, (1 << 14, 1 << 14))])


def picture(width: int, height: int) -> bytes:
    """A JPEG that says another size."""
    raw = bytearray(imagecodecs.jpeg8_encode(np.zeros((16, 16), "uint8")))
    at = raw.index(b"\xff\xc0")
    struct.pack_into(">HH", raw, at + 5, height, width)
    return bytes(raw)


BOMBS: dict[str, Any] = {
    "tags.tif": lambda: tags(900, 600_000),
    "metadata.tif": lambda: long_tag(42112, 500_000_000),
    "colours.tif": lambda: long_tag(320, 4_000_000_000),
    "loop.tif": lambda: chained(3, 0),
    "own_loop.tif": lambda: chained(3, 2),
    "chain.tif": lambda: chained(200, None),
    "fine.tif": lambda: fine(0.001),
    "size.tif": lambda: one(bytes(256), 1, (16, 16), {325: ("L", 4_000_000_000)}),
    "packed_size.tif": lambda: one(zlib.compress(bytes(256)), 8, (16, 16), {325: ("L", 4_000_000_000)}),
    "behind.tif": lambda: one(bytes(256), 1, (16, 16), {324: ("L", 4_000_000_000)}),
    "before.tif": lambda: one(bytes(256), 1, (16, 16), {324: ("Q", (1 << 64) - 5)}, big=True),
    "in_head.tif": lambda: one(bytes(256), 1, (16, 16), {324: ("L", 2)}),
    "jpeg_huge.tif": lambda: one(picture(65_500, 65_500), 7, (16, 16)),
    "jpeg_tall.tif": lambda: one(picture(16, 65_500), 7, (16, 16)),
    "deflate_more.tif": lambda: one(deflated(100 << 20), 8, (16, 16)),
    "large_tile.tif": lambda: one(bytes(9), 8, (32_768, 32_768)),
}
LARGEST: dict[str, Any] = {
    **{f"deflate{i}.tif": lambda: one(deflated(256 << 20), 8) for i in range(4)},
    **{f"slow{i}.tif": lambda: one(deflated(256 << 20), 8, order=">", tags={266: ("H", 1)}) for i in range(2)},
    "zstd.tif": lambda: one(imagecodecs.zstd_encode(bytes(256 << 20)), 50000),
    "zstd2.tif": lambda: one(imagecodecs.zstd_encode(bytes(256 << 20)), 50000),
}


def read(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.raster_bombs", str(folder)],
        capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert said["peak_mib"] << 20 < PEAK_BYTES, said
    return said


@pytest.mark.slow
def test_bombs_are_refused_in_one_line_within_the_stated_memory(tmp_path: Path) -> None:
    for name, make in BOMBS.items():
        (tmp_path / name).write_bytes(make())
    said = read(tmp_path)
    for name, (reason, detail) in said["found"].items():
        assert "\n" not in detail
        if name in ("tags.tif", "size.tif"):  # what is absurd in them nobody needs
            assert reason == "chip", (name, detail)
        else:
            assert reason in ("corrupt", "wrong_grid"), (name, reason, detail)
    assert said["peak_mib"] < 500, said


@pytest.mark.slow
def test_the_largest_blocks_that_are_read_take_no_more_than_is_stated(tmp_path: Path) -> None:
    for name, make in LARGEST.items():
        (tmp_path / name).write_bytes(make())
    said = read(tmp_path)
    assert {reason for reason, _ in said["found"].values()} == {"chip"}, said


@pytest.mark.slow
def test_a_jpeg2000_of_one_large_tile(tmp_path: Path) -> None:
    edge = 10_980
    for name in ("a.jp2", "b.jp2"):
        with rasterio.open(
            tmp_path / name, "w", driver="JP2OpenJPEG", count=1, height=edge, width=edge, dtype="uint16",
            crs="EPSG:32632", transform=rasterio.Affine(10, 0, 499_990, 0, -10, 5_000_010), BLOCKXSIZE=edge,
            BLOCKYSIZE=edge, QUALITY=1,
        ):  # fmt: skip
            pass
    said = read(tmp_path)
    assert {reason for reason, _ in said["found"].values()} == {"chip"}, said


@pytest.mark.parametrize(
    ("at", "form", "values"),
    [
        (8, ">2L", (1 << 31, 1 << 31)), (40, ">H", (16_384,)), (24, ">2L", (0, 0)), (24, ">2L", (1, 1)),
        (8, ">2L", (60_000, 60_000)),
    ],
)  # fmt: skip
def test_a_jpeg2000_of_absurd_size_is_refused_from_its_header(
    at: int, form: str, values: tuple[int, ...], tmp_path: Path
) -> None:
    with rasterio.open(tmp_path / "a.jp2", "w", driver="JP2OpenJPEG", count=1, height=64, width=64, dtype="uint8"):
        pass
    raw = bytearray((tmp_path / "a.jp2").read_bytes())
    struct.pack_into(form, raw, raw.index(b"\xff\x4f\xff\x51") + at, *values)
    assert incomplete(bytes(raw)) is not None


def test_every_seed_that_found_something_ends_as_it_should(tmp_path: Path) -> None:
    """Pixels of small files that once were memory, tracebacks or the wrong answer."""
    seeds = CHECKOUT / "tests" / "hostile" / "seeds" / "rasters"
    expected: dict[str, str] = json.loads((seeds / "expected.json").read_text())
    with serve_catalogue([], {"/f/": seeds}) as services, Reader(Client(retries=1, backoff_s=0.001)) as reader:
        box = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=16, height=16)
        for name, reason in expected.items():
            href = f"{services.base_url}/f/{name}"
            (got,) = reader.read_chips([ChipRequest(hrefs=(href,), bands=(1,), geobox=box, kernel="nearest")])
            if isinstance(got, Chip):
                assert reason == "chip", name
                assert got.pixels.all(), name  # no seed holds a zero
            else:
                assert got.reason.value == reason, (name, got)
