"""JPEG 2000 files from which something is missing are refused: OpenJPEG reads what it does not find as zeros."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.jpeg2000 import incomplete, is_jpeg2000
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.server import Fault
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 300
TILED = {"BLOCKXSIZE": 128, "BLOCKYSIZE": 128}
KINDS: dict[str, dict[str, Any]] = {
    "one tile": {},
    "three tiles": TILED,
    "no boxes": {**TILED, "CODEC": "J2K"},
    "parts of tiles": {**TILED, "TILEPARTS": "RESOLUTIONS"},
}
BOX = GeoBox(epsg=32632, x_min=500_000, y_max=5_000_000, resolution_m=10, width=SIZE, height=SIZE)


def written(path: Path, **how: Any) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(1).integers(1, 4000, (1, SIZE, SIZE)).astype("uint16")
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=1, height=SIZE, width=SIZE, dtype="uint16", crs="EPSG:32632",
        transform=Affine(10, 0, 500_000, 0, -10, 5_000_000), QUALITY=100, REVERSIBLE="YES", **how,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return path.read_bytes(), pixels


def unboxed(raw: bytes) -> int:
    """Where the codestream begins."""
    return raw.index(b"\xff\x4f\xff\x51")


def tile_parts(raw: bytes) -> list[tuple[int, int]]:
    """(offset, length) of each tile-part."""
    at, found = raw.index(b"\xff\x90\x00\x0a"), []
    while raw[at : at + 2] == b"\xff\x90":
        found.append((at, struct.unpack_from(">L", raw, at + 6)[0]))
        at += found[-1][1]
    return found


def read(services: Services, name: str = "a.jp2", retries: int = 1) -> Chip | AccessError:
    request = ChipRequest(hrefs=(f"{services.base_url}/f/{name}",), bands=(1,), geobox=BOX, kernel="nearest")
    with Reader(Client(retries=retries, backoff_s=0.001, timeout_s=2.0)) as reader:
        (got,) = reader.read_chips([request])
    return got


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with serve_catalogue([], {"/f/": tmp_path}) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_whole_and_shortened_ones_are_not(kind: str, tmp_path: Path) -> None:
    raw, _ = written(tmp_path / ("a.j2k" if "CODEC" in KINDS[kind] else "a.jp2"), **KINDS[kind])
    assert is_jpeg2000(raw)
    assert incomplete(raw) is None
    assert (len(tile_parts(raw)) == 1) == (kind == "one tile")
    start = unboxed(raw)
    endless = raw if start == 0 else raw[: start - 8] + bytes(4) + raw[start - 4 :]  # a last box of no stated length
    assert incomplete(endless) is None
    cuts = {len(raw) - 3, len(raw) - 100, start + 20, start + 60, *range(start + 200, len(raw) - 2, 4999)}
    cuts |= {at for at, _ in tile_parts(raw)}  # where nothing of a tile has come
    for cut in cuts:
        assert incomplete(raw[:cut]) is not None, cut
        assert incomplete(endless[:cut]) is not None, cut


def test_a_part_left_out_in_the_middle_is_missed(tmp_path: Path) -> None:
    for kind in ("three tiles", "parts of tiles"):
        raw, _ = written(tmp_path / "a.jp2", **KINDS[kind])
        at, length = (found := tile_parts(raw))[len(found) // 2]
        start = unboxed(raw)
        holed = raw[: start - 8] + bytes(4) + raw[start - 4 : at] + raw[at + length :]
        assert incomplete(holed) is not None, kind


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9, 0.999])
def test_a_shortened_file_in_the_archive_is_corrupt_and_never_pixels(
    share: float, tmp_path: Path, services: Services
) -> None:
    raw, _ = written(tmp_path / "a.jp2", **TILED)
    (tmp_path / "a.jp2").write_bytes(raw[: int(share * len(raw))])
    got = read(services)
    assert isinstance(got, AccessError), "GDAL alone takes what is missing for zeros"
    assert got.reason is Reason.CORRUPT


def test_absurd_sizes_are_refused_from_the_header(tmp_path: Path, services: Services) -> None:
    raw, _ = written(tmp_path / "a.jp2", **TILED)
    start = unboxed(raw)
    for at, form, value in ((8, ">L", 1 << 31), (12, ">L", 1 << 31), (40, ">H", 65_000), (24, ">L", 0)):
        bad = bytearray(raw)
        struct.pack_into(form, bad, start + at, value)
        assert incomplete(bytes(bad)) is not None, (at, value)
    bad = bytearray(raw)
    struct.pack_into(">2L", bad, start + 8, 60_000, 60_000)
    struct.pack_into(">2L", bad, start + 24, 60_000, 60_000)
    (tmp_path / "a.jp2").write_bytes(bad)
    got = read(services)
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


FAULTS = {
    "404": (Fault(status=404), Reason.NOT_FOUND),
    "503": (Fault(status=503), Reason.UNAVAILABLE),
    "reset": (Fault(reset=True), Reason.UNAVAILABLE),
    "short": (Fault(short_by_bytes=5000), Reason.UNAVAILABLE),
    "page": (Fault(status=200, body=b"<html>" + bytes(9000)), Reason.CORRUPT),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_is_not_remembered(name: str, tmp_path: Path, services: Services) -> None:
    """Nor by GDAL, whose own network layer remembers for a process that a file was not there."""
    _, pixels = written(tmp_path / "a.jp2", **TILED)
    fault, reason = FAULTS[name]
    request = ChipRequest(hrefs=(f"{services.base_url}/f/a.jp2",), bands=(1,), geobox=BOX, kernel="nearest")
    with Reader(Client(retries=1, backoff_s=0.001, timeout_s=2.0)) as reader:
        services.faults.append(lambda _: fault)
        (lost,) = reader.read_chips([request])
        services.faults.clear()
        (chip,) = reader.read_chips([request])
    assert isinstance(lost, AccessError)
    assert lost.reason is reason
    assert isinstance(chip, Chip), chip
    np.testing.assert_array_equal(chip.pixels, pixels)
    assert chip.valid.all()


@pytest.mark.parametrize("said", [0, -1, -2])
def test_a_count_of_tile_parts_that_is_too_small_is_not_a_missing_part(
    said: int, tmp_path: Path, services: Services
) -> None:
    """Some writers count one part too few; OpenJPEG gives up on such a file if it has more than one tile."""
    raw, pixels = written(tmp_path / "a.jp2", **KINDS["parts of tiles"])
    bad = bytearray(raw)
    for at, _ in tile_parts(raw):
        bad[at + 11] = max(1, bad[at + 11] + said) if said else 0
    (tmp_path / "a.jp2").write_bytes(bad)
    assert incomplete(bytes(bad)) is None
    got = read(services)
    assert isinstance(got, Chip), got
    np.testing.assert_array_equal(got.pixels, pixels)
