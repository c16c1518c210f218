"""Damaged TIFF files end as classed errors, in bounded memory and time, and never end the process."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.tiff import directories
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.services import serve_catalogue
from tests.hostile.corrupt import entries, make

CHECKOUT = Path(__file__).parents[2]
MEMORY_MIB = 3072
"""Address space of the reading process, libraries included."""
PEAK_MIB = 900
"""What it may come to hold."""


def read_seeds(folder: Path, first: int, count: int) -> dict[str, Any]:
    """Read `count` damaged files in a process of its own."""
    make(folder)
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.reading", str(folder), str(first), str(count), str(MEMORY_MIB)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["peak_mib"] < PEAK_MIB
    assert found["slowest_s"] < 20.0, "seconds of CPU time"
    assert set(found["tally"]) <= {"chip", "corrupt", "wrong_grid", "bad_item", "unavailable"}
    return found


@pytest.mark.slow
def test_some_seeds(tmp_path: Path) -> None:
    found = read_seeds(tmp_path, 0, 150)
    assert found["tally"]["corrupt"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 5000, 1000))
def test_seeds(first: int, tmp_path: Path) -> None:
    read_seeds(tmp_path, first, 1000)


def read(folder: Path, name: str, **how: Any) -> Any:
    box = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=64, height=64)
    with serve_catalogue([], {"/f/": folder}) as services:
        request = ChipRequest(hrefs=(f"{services.base_url}/f/{name}",), bands=(1,), geobox=box, kernel="nearest")
        with Reader(Client(retries=1, backoff_s=0.001)) as reader:
            (got,) = reader.read_chips([request])
    return got


def patched(raw: bytes, tags: dict[int, int]) -> bytes:
    """Other values in the first directory's entries."""
    out = bytearray(raw)
    order, _, places, _ = entries(raw)
    for at in places:
        code, kind = struct.unpack_from(f"{order}HH", out, at)
        if code in tags:
            struct.pack_into(f"{order}{'H' if kind == 3 else 'L'}", out, at + 8, tags[code])
    return bytes(out)


def plain(path: Path, size: int, **options: Any) -> bytes:
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint8", crs="EPSG:32632", tiled=True,
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), **options,
    ) as dataset:  # fmt: skip
        dataset.write(np.zeros((1, size, size), "uint8"))
    return path.read_bytes()


@pytest.mark.parametrize("codec", ["deflate", "zstd", "lzw"])
def test_a_bomb_is_refused_before_it_goes_off(codec: str, tmp_path: Path) -> None:
    """A tile of 64 x 64 pixels that says it is one of 65,520 x 65,520."""
    raw = plain(tmp_path / "a.tif", 64, compress=codec, blockxsize=64, blockysize=64)
    huge = {256: 65_520, 257: 65_520, 322: 65_520, 323: 65_520}
    (tmp_path / "bomb.tif").write_bytes(patched(raw, huge))
    got = read(tmp_path, "bomb.tif")
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


def test_a_deflate_block_that_unfolds_to_more_than_its_pixels_is_refused(tmp_path: Path) -> None:
    raw = plain(tmp_path / "a.tif", 64, compress="deflate", blockxsize=64, blockysize=64)
    bomb = zlib.compress(bytes(200 << 20), 9)
    (tmp_path / "bomb.tif").write_bytes(patched(raw, {324: len(raw), 325: len(bomb)}) + bomb)
    got = read(tmp_path, "bomb.tif")
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1 << 31) - 16, 1 << 22, 300_000])
def test_absurd_dimensions_are_refused(size: int, tmp_path: Path) -> None:
    raw = plain(tmp_path / "a.tif", 70_000, compress="deflate", blockxsize=512, blockysize=512, SPARSE_OK=True)
    (tmp_path / "b.tif").write_bytes(patched(raw, {256: size, 257: size}))
    got = read(tmp_path, "b.tif")
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


@pytest.mark.parametrize("code", [324, 325], ids=["offsets", "sizes"])
@pytest.mark.parametrize("count", [0, 1, 3, 5, 1 << 20, (1 << 32) - 1])
def test_tile_counts_that_are_not_the_images_are_refused(code: int, count: int, tmp_path: Path) -> None:
    """A file of four tiles whose lists say that they are of another length."""
    raw = bytearray(plain(tmp_path / "a.tif", 128, compress="deflate", blockxsize=64, blockysize=64))
    order, _, places, _ = entries(bytes(raw))
    at = next(p for p in places if struct.unpack_from(f"{order}H", raw, p)[0] == code)
    assert struct.unpack_from(f"{order}L", raw, at + 4)[0] == 4
    struct.pack_into(f"{order}L", raw, at + 4, count)
    (tmp_path / "b.tif").write_bytes(raw)
    got = read(tmp_path, "b.tif")
    if count == 5:  # one more than there are: the four are there
        assert isinstance(got, Chip)
        assert (got.pixels == 0).all()
        return
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


def test_a_chain_of_directories_that_bites_its_tail_is_refused(tmp_path: Path) -> None:
    for path in make(tmp_path):
        raw = bytearray(path.read_bytes())
        order, big, _, links = entries(bytes(raw))
        first = raw[links[0] : links[0] + (8 if big else 4)]
        raw[links[-1] : links[-1] + len(first)] = first
        with pytest.raises(AccessError) as caught:
            directories(lambda at, n, raw=bytes(raw): raw[at : at + n])  # type: ignore[misc]
        assert caught.value.reason is Reason.CORRUPT
        assert order in "<>"


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["deflate", "lerc_deflate"])
def test_no_flipped_bit_of_a_block_with_a_check_sum_becomes_a_pixel(codec: str, tmp_path: Path) -> None:
    """GDAL alone lets about one in eight of deflate's pass."""
    rng = np.random.default_rng(1)
    pixels = (np.indices((64, 64)).sum(0) * 7 + rng.integers(0, 40, (64, 64))).astype("uint16")
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), tiled=True, blockxsize=64, blockysize=64, compress=codec,
    ) as dataset:  # fmt: skip
        dataset.write(pixels, 1)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        at, size = (int(dataset.get_tag_item(f"BLOCK_{n}_0_0", "TIFF", bidx=1)) for n in ("OFFSET", "SIZE"))
    raw = (tmp_path / "a.tif").read_bytes()
    box = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=64, height=64)
    refused = 0
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        client = Client(retries=1, backoff_s=0.001)
        for i in sorted(rng.choice(size, 150, replace=False)):
            bad = bytearray(raw)
            bad[at + i] ^= 1 << int(rng.integers(8))
            (tmp_path / "b.tif").write_bytes(bad)
            request = ChipRequest(hrefs=(f"{services.base_url}/f/b.tif",), bands=(1,), geobox=box, kernel="nearest")
            with Reader(client, workers=1) as reader:
                (got,) = reader.read_chips([request])
            if isinstance(got, AccessError):
                assert got.reason is Reason.CORRUPT
                refused += 1
            else:
                np.testing.assert_array_equal(got.pixels[0], pixels)
    assert refused > 100
