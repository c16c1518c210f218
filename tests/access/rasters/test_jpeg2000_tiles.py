"""JPEG 2000 files that list their tile-parts: chips by range, against GDAL's own reading of the whole file."""

from __future__ import annotations

import gc
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.warp import Resampling, reproject

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.http.client import AccessError, Client
from pipelines.access.rasters.cog import Reader
from pipelines.access.rasters.jpeg2000_head import head_of
from pipelines.access.rasters.jpeg2000_tiles import tiles_of
from pipelines.access.rasters.raster import open_raster
from pipelines.access.rasters.source import Source
from schemas.outcome import Reason
from schemas.place import GeoBox
from testbed.server import Fault
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.messages import Request

HEIGHT, WIDTH = 300, 340
PLACED: dict[str, Any] = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
LOSSLESS = {"QUALITY": 100, "REVERSIBLE": "YES"}
LOSSY = {"QUALITY": 25, "REVERSIBLE": "NO"}
TILES = {"tiled": True, "blockxsize": 128, "blockysize": 128}
SOT = b"\xff\x90\x00\x0a"


def jp2(dtype: str = "uint16", count: int = 1, **how: Any) -> bytes:
    """A file of noise over slopes, which GDAL writes; without a list of its tile-parts unless TLM is asked for."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    top = 250 if dtype == "uint8" else 4000
    ground = (y * 0.4 + x * 0.2)[None] * (top / 400) + rng.integers(1, top // 4, (count, HEIGHT, WIDTH))
    with MemoryFile(ext=".j2k" if how.get("CODEC") == "J2K" else ".jp2") as memory:
        with memory.open(
            driver="JP2OpenJPEG", count=count, height=HEIGHT, width=WIDTH, dtype=dtype, **PLACED, **{**TILES, **how}
        ) as dataset:
            dataset.write(ground.astype(dtype))
        return bytes(memory.read())


def stream_at(raw: bytes) -> int:
    """Where the codestream begins."""
    return raw.index(b"\xff\x4f\xff\x51")


def parts(raw: bytes) -> list[tuple[int, int, int]]:
    """(tile, offset, length) of each tile-part, by its own header."""
    at, found = raw.index(SOT, stream_at(raw)), []
    while raw[at : at + 4] == SOT:
        tile, length = struct.unpack_from(">HL", raw, at + 4)
        found.append((tile, at, length))
        at += length
    return found


def rebuilt(raw: bytes, listed: bytes = b"", order: list[int] | None = None) -> bytes:
    """The file with these segments at the end of its main header, and its tile-parts in this order."""
    start, found = stream_at(raw), parts(raw)
    first = found[0][1]
    body = b"".join(raw[a : a + n] for _, a, n in (found if order is None else [found[i] for i in order]))
    stream = raw[start:first] + listed + body + b"\xff\xd9"
    return raw[: start - 8] + struct.pack(">L4s", 8 + len(stream), b"jp2c") + stream if start else stream


def tlm(found: list[tuple[int, int]], number: int = 0, index: int = 2, wide: bool = True) -> bytes:
    """A TLM segment of (tile, length) with `index` bytes for a tile, 4 or 2 for a length (A.7.1)."""
    body = b"".join(
        (tile.to_bytes(index, "big") if index else b"") + length.to_bytes(4 if wide else 2, "big")
        for tile, length in found
    )
    return struct.pack(">HHBB", 0xFF55, 4 + len(body), number, index << 4 | wide << 6) + body


def listing(raw: bytes, order: list[int] | None = None) -> list[tuple[int, int]]:
    found = [(tile, length) for tile, _, length in parts(raw)]
    return found if order is None else [found[i] for i in order]


def with_list(raw: bytes, **how: Any) -> bytes:
    return rebuilt(raw, tlm(listing(raw), **how))


def scattered(raw: bytes) -> bytes:
    """The parts of a tile lie apart: all first ones, then all second ones, each in another order."""
    seen: dict[int, int] = {}
    keys = []
    for i, (tile, _, _) in enumerate(parts(raw)):
        seen[tile] = seen.get(tile, -1) + 1
        keys.append((seen[tile], (tile * 7 + seen[tile]) % 9, i))
    order = [i for _, _, i in sorted(keys)]
    return rebuilt(raw, tlm(listing(raw, order)), order)


def split_list(raw: bytes) -> bytes:
    """Two TLM segments, the second before the first."""
    found = listing(raw)
    return rebuilt(raw, tlm(found[4:], number=7) + tlm(found[:4], number=2))


def placed_last(raw: bytes) -> bytes:
    """The boxes that say where the image lies stand behind its pixels."""
    at, start = raw.index(b"jp2h") - 4, stream_at(raw) - 8
    at += struct.unpack_from(">L", raw, at)[0]
    return raw[:at] + raw[start:] + raw[at:start]


@pytest.fixture(scope="module")
def made() -> Callable[..., bytes]:
    """`jp2`, each kind once."""
    known: dict[str, bytes] = {}

    def of(**how: Any) -> bytes:
        if (key := repr(sorted(how.items()))) not in known:
            known[key] = jp2(**how)
        return known[key]

    return of


RESOLUTIONS = {**LOSSLESS, "TILEPARTS": "RESOLUTIONS"}
KINDS: dict[str, tuple[dict[str, Any], Callable[[bytes], bytes]]] = {
    "as GDAL writes it": ({**LOSSLESS, "TLM": "YES", "PLT": "YES"}, bytes),
    "lossy, as GDAL writes it": ({**LOSSY, "TLM": "YES"}, bytes),
    "no numbers of tiles, lengths of 16 bits": ({**LOSSLESS}, lambda raw: with_list(raw, index=0, wide=False)),
    "numbers of 8 bits": ({**LOSSLESS}, lambda raw: with_list(raw, index=1)),
    "two lists": ({**LOSSLESS}, split_list),
    "tiles in another order": ({**LOSSLESS}, scattered),
    "parts of a tile apart": (RESOLUTIONS, scattered),
    "parts of a tile together": (RESOLUTIONS, with_list),
    "place behind the pixels": ({**LOSSLESS, "TLM": "YES"}, placed_last),
    "no boxes": ({**LOSSLESS, "CODEC": "J2K"}, with_list),
    "colours, 8 bits": ({**LOSSLESS, "dtype": "uint8", "count": 3, "TLM": "YES"}, bytes),
    "colours, 8 bits, lossy": ({**LOSSY, "dtype": "uint8", "count": 3, "TLM": "YES"}, bytes),
    "four bands, lossy": ({**LOSSY, "count": 4, "TLM": "YES"}, bytes),
    "signed": ({**LOSSLESS, "dtype": "int16", "TLM": "YES"}, bytes),
    "15 bits": ({**LOSSLESS, "NBITS": 15, "TLM": "YES"}, bytes),
    "odd tiles": ({**LOSSY, "blockxsize": 101, "blockysize": 75, "TLM": "YES"}, bytes),
    "precincts": ({**LOSSLESS, "PRECINCTS": "{64,64},{32,32}", "RESOLUTIONS": 4, "TLM": "YES"}, bytes),
    "progression": ({**LOSSY, "PROGRESSION": "RPCL", "TLM": "YES"}, bytes),
}


@dataclass
class Served:
    """A folder behind HTTP."""

    folder: Path
    services: Services
    number: int = field(default=0)

    def put(self, raw: bytes) -> str:
        """Its address."""
        self.number += 1
        (self.folder / f"{self.number}.jp2").write_bytes(raw)
        return f"{self.services.base_url}/f/{self.number}.jp2"

    def sent(self, href: str) -> list[int]:
        """Bytes of each answer about a file."""
        return [e.bytes for e in self.services.log if href.endswith(e.path)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tiles")
    with serve_catalogue([], {"/f/": folder}) as services:
        yield Served(folder, services)


def box(column: int, row: int, width: int, height: int, resolution_m: float = 10.0) -> GeoBox:
    return GeoBox(
        epsg=32632, x_min=500_000 + column * 10, y_max=5_000_000 - row * 10, resolution_m=resolution_m, width=width,
        height=height,
    )  # fmt: skip


def chips(href: str, boxes: list[GeoBox], bands: tuple[int, ...] = (1,), kernel: str = "nearest") -> list[Any]:
    with Reader(Client(retries=1, backoff_s=0.001, timeout_s=5.0), workers=1) as reader:
        return reader.read_chips([
            ChipRequest(hrefs=(href,), bands=bands, geobox=b, kernel=kernel, fill=(0,))  # type: ignore[arg-type]
            for b in boxes
        ])  # fmt: skip


def gdals(raw: bytes) -> np.ndarray:
    """(band, y, x) as GDAL reads the whole file; with more threads it hides that a tile could not be decoded."""
    with rasterio.Env(GDAL_NUM_THREADS="1"), MemoryFile(raw) as memory, memory.open() as dataset:
        return dataset.read()


def by_range(raw: bytes) -> bool:
    return tiles_of(lambda at, n: raw[at : at + n], len(raw)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_that_gdal_reads(kind: str, made: Callable[..., bytes], served: Served) -> None:
    how, change = KINDS[kind]
    raw = change(made(**how))
    assert by_range(raw)
    href = served.put(raw)
    bands = tuple(range(1, how.get("count", 1) + 1))
    placed = how.get("CODEC") != "J2K"
    whole = gdals(made(**how))
    with MemoryFile(raw) as memory, memory.open() as dataset:
        transform = dataset.transform
        raster = open_raster(Client(), href)
        assert raster.memory is None
        assert (raster.crs, raster.count, raster.dtype) == (dataset.crs, dataset.count, dataset.dtypes[0])
        assert raster.levels[0].transform == transform
        assert [colour for colour, _ in raster.bands] == [c.name for c in dataset.colorinterp]
    if not placed:
        return
    windows = [
        (0, 0, 40, 40),
        (100, 90, 60, 80),
        (127, 127, 2, 2),
        (0, 0, WIDTH, HEIGHT),
        (WIDTH - 1, HEIGHT - 1, 1, 1),
    ]
    for (x, y, w, h), chip in zip(windows, chips(href, [box(*w) for w in windows], bands), strict=True):
        assert isinstance(chip, Chip), chip
        np.testing.assert_array_equal(chip.pixels, whole[:, y : y + h, x : x + w])
    (warped,) = chips(href, [box(105, 95, 45, 40, 8.0)], bands, "bilinear")
    expected = np.zeros(warped.pixels.shape, "float64")
    reproject(
        whole.astype("float64"), expected, src_transform=transform, src_crs=PLACED["crs"], dst_crs=PLACED["crs"],
        dst_transform=Affine(8, 0, 501_050, 0, -8, 4_999_050), resampling=Resampling.bilinear,
    )  # fmt: skip
    assert np.abs(warped.pixels - expected).max() <= 0.01


def test_a_chip_costs_the_head_and_its_tile_parts(made: Callable[..., bytes], served: Served) -> None:
    raw = made(**LOSSLESS, TLM="YES", blockxsize=64, blockysize=64)
    due = {tile: length for tile, _, length in parts(raw)}
    href = served.put(raw)
    (chip,) = chips(href, [box(200, 200, 10, 10)])
    assert isinstance(chip, Chip)
    sent = served.sent(href)
    assert len(sent) == 2, "the head, one tile-part"
    assert sum(sent) == 32_768 + due[3 * 6 + 3] < len(raw) / 3
    chips(href, [box(250, 250, 12, 12), box(240, 240, 30, 30)])
    head, *parts_sent = served.sent(href)[2:]
    assert (head, sorted(parts_sent)) == (32_768, sorted([due[21] + due[22], due[27] + due[28]]))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw,
        lambda raw: rebuilt(raw, tlm(listing(raw)[:-1])),
        lambda raw: rebuilt(raw, tlm([*listing(raw)[:-1], (8, 20)])),
        lambda raw: rebuilt(raw, tlm([*listing(raw)[:-1], (0, listing(raw)[-1][1])])),
        lambda raw: rebuilt(raw, tlm([*listing(raw)[:-1], (900, listing(raw)[-1][1])])),
        lambda raw: rebuilt(raw, tlm([(t, 1 << 31) for t, _ in listing(raw)])),
        lambda raw: rebuilt(raw, tlm([(t, 0) for t, _ in listing(raw)])),
        lambda raw: rebuilt(raw, tlm(listing(raw)[:4], 1) + tlm(listing(raw)[4:], 1)),
        lambda raw: rebuilt(raw, tlm(listing(raw))[:5] + b"\x70" + tlm(listing(raw))[6:]),
        lambda raw: rebuilt(raw, tlm(listing(raw))) + struct.pack(">L4s", 80_000, b"free") + bytes(79_992),
    ],
    ids=["none", "one missing", "one too short", "a tile twice", "no such tile", "beyond the file", "no bytes",
         "same number twice", "no such kind", "a large box behind the pixels"],
)  # fmt: skip
def test_a_list_that_cannot_be_right_is_not_used(
    change: Callable[[bytes], bytes], made: Callable[..., bytes], served: Served
) -> None:
    plain = made(**LOSSLESS)
    raw = change(plain)
    assert not by_range(raw)
    whole = gdals(plain)
    (chip,) = chips(served.put(raw), [box(0, 0, WIDTH, HEIGHT)])
    assert isinstance(chip, Chip), chip
    np.testing.assert_array_equal(chip.pixels, whole)


def swapped(raw: bytes) -> bytes:
    """Two entries of the list have each other's length."""
    found = listing(raw)
    found[0], found[1] = (found[0][0], found[1][1]), (found[1][0], found[0][1])
    return rebuilt(raw, tlm(found))


def renumbered(raw: bytes) -> bytes:
    """Two entries of the list have each other's tile."""
    found = listing(raw)
    found[0], found[1] = (1, found[0][1]), (0, found[1][1])
    return rebuilt(raw, tlm(found))


def patched(form: str, at: int, *values: int) -> Callable[[bytes], bytes]:
    """The second tile-part says something else in its SOT segment."""

    def change(raw: bytes) -> bytes:
        out = bytearray(with_list(raw))
        struct.pack_into(form, out, parts(bytes(out))[1][1] + at, *values)
        return bytes(out)

    return change


LIES = {
    "lengths swapped": swapped,
    "tiles swapped": renumbered,
    "Isot": patched(">H", 4, 3),
    "Psot": patched(">L", 6, 77),
    "Psot 0 in the middle": patched(">L", 6, 0),
    "TPsot": patched(">B", 10, 1),
    "TNsot": patched(">B", 11, 3),
    "no SOT": patched(">H", 0, 0xFF64),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_list_that_lies_is_one_clear_line_and_costs_no_other_chip(
    lie: str, made: Callable[..., bytes], served: Served
) -> None:
    raw = LIES[lie](made(**LOSSLESS))
    assert by_range(raw)
    whole = gdals(made(**LOSSLESS))
    bad, good = chips(served.put(raw), [box(140, 10, 20, 20), box(200, 200, 100, 90)])
    assert isinstance(bad, AccessError)
    assert bad.reason is Reason.CORRUPT
    assert "TLM" in bad.detail
    assert "\n" not in bad.detail
    assert isinstance(good, Chip), good
    np.testing.assert_array_equal(good.pixels, whole[:, 200:290, 200:300])


def test_a_last_part_without_a_length_ends_where_the_file_does(made: Callable[..., bytes], served: Served) -> None:
    raw = bytearray(with_list(made(**LOSSLESS)))
    struct.pack_into(">L", raw, parts(bytes(raw))[-1][1] + 6, 0)
    (chip,) = chips(served.put(bytes(raw)), [box(0, 0, WIDTH, HEIGHT)])
    assert isinstance(chip, Chip), chip
    np.testing.assert_array_equal(chip.pixels, gdals(made(**LOSSLESS)))


def test_counts_of_parts_that_are_too_small_are_mended(made: Callable[..., bytes], served: Served) -> None:
    """Some writers count one part too few; OpenJPEG gives up on such a file."""
    plain = made(**RESOLUTIONS)
    raw = bytearray(with_list(plain))
    for _, at, _ in parts(bytes(raw)):
        raw[at + 11] = max(1, raw[at + 11] - 1)
    (chip,) = chips(served.put(bytes(raw)), [box(0, 0, WIDTH, HEIGHT)])
    assert isinstance(chip, Chip), chip
    np.testing.assert_array_equal(chip.pixels, gdals(plain))


@pytest.mark.parametrize(
    ("at", "form", "values"),
    [
        (8, ">2L", (1 << 31, 1 << 31)), (8, ">2L", (60_000, 60_000)), (24, ">2L", (0, 0)), (24, ">2L", (1, 1)),
        (24, ">L", (0,)), (16, ">2L", (1 << 31, 1 << 31)), (40, ">H", (16_384,)),
    ],
)  # fmt: skip
def test_absurd_sizes_are_refused(
    at: int, form: str, values: tuple[int, ...], made: Callable[..., bytes], served: Served
) -> None:
    raw = bytearray(with_list(made(**LOSSLESS)))
    struct.pack_into(form, raw, stream_at(bytes(raw)) + at, *values)
    (got,) = chips(served.put(bytes(raw)), [box(0, 0, 10, 10)])
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


@pytest.mark.parametrize(
    ("at", "values"),
    [(14, (0x11, 0x11, 0x11, 0x11, 0x11, 0x11)), (6, (0xFF, 0xFF)), (9, (200,)), (10, (9, 9)), (10, (0, 0))],
    ids=[
        "precincts of 2 pixels",
        "65,535 layers",
        "200 levels",
        "code-blocks of 2^22 pixels",
        "code-blocks of 4 x 4 pixels",
    ],
)
def test_tiles_that_would_take_much_memory_are_refused(
    at: int, values: tuple[int, ...], made: Callable[..., bytes], served: Served
) -> None:
    """By the main header; precincts and layers cost a decoder memory, whatever the pixels are."""
    plain = made(**LOSSLESS, PRECINCTS="{128,128},{128,128},{128,128},{128,128},{128,128},{128,128}", RESOLUTIONS=6)
    found = head_of(lambda a, n: plain[a : a + n])
    assert not isinstance(found, str)
    raw = bytearray(with_list(plain))
    cod = bytes(raw).index(b"\xff\x52")
    raw[cod + at : cod + at + len(values)] = bytes(values)
    struct.pack_into(">2L", raw, stream_at(bytes(raw)) + 8, 20_000, 20_000)
    struct.pack_into(">2L", raw, stream_at(bytes(raw)) + 24, 5_000, 5_000)
    (got,) = chips(served.put(bytes(raw)), [box(0, 0, 10, 10)])
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT
    assert "\n" not in got.detail


@pytest.mark.parametrize("code", [0xFF52, 0xFF53], ids=["COD", "COC"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_style_that_is_cut_short_is_one_line(
    listed: bool, code: int, made: Callable[..., bytes], served: Served
) -> None:
    """Segments of any length, in the main header before the others."""
    plain = with_list(made(**LOSSLESS)) if listed else made(**LOSSLESS)
    siz = plain.index(b"\xff\x51")
    at = siz + 2 + int.from_bytes(plain[siz + 2 : siz + 4], "big")
    for length in range(2, 9):
        segment = struct.pack(">HH", code, length) + bytes(length - 2)
        (got,) = chips(served.put(plain[:at] + segment + plain[at:]), [box(0, 0, 10, 10)])
        assert isinstance(got, AccessError), length
        assert got.reason is Reason.CORRUPT
        assert "\n" not in got.detail


def test_65535_tiles_are_listed_and_read(served: Served) -> None:
    """Of one pixel each, without data: zeros."""
    count = 65_535
    siz = struct.pack(">HHH8LH3B", 0xFF51, 41, 0, count, 1, 0, 0, 1, 1, 0, 0, 1, 15, 1, 1)
    cod = struct.pack(">HHBBHBBBBBB", 0xFF52, 12, 0, 0, 1, 0, 0, 4, 4, 0, 1)
    qcd = struct.pack(">HHBB", 0xFF5C, 4, 0x40, 16 << 3)
    body = b"".join(struct.pack(">HHHLBBHB", 0xFF90, 10, t, 15, 0, 1, 0xFF93, 0) for t in range(count))
    lists = b"".join(
        tlm([(t, 15) for t in range(k, min(count, k + 10_000))], number=k // 10_000) for k in range(0, count, 10_000)
    )
    raw = b"\xff\x4f" + siz + cod + qcd + lists + body + b"\xff\xd9"
    raster = open_raster(Client(), served.put(raw))
    assert raster.memory is None
    image = raster.levels[0].image
    assert image is not None
    assert image.grid == (1, count)
    (found,) = raster.blocks(image, {(0, 0, 65_000): (0, 1, 1)}, lambda f, *a: lambda: f(*a))
    assert found.pixels is not None, found.error
    assert found.pixels.tolist() == [[[0 if raster.dtype.kind == "i" else 1 << 15]]]


def whole_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of files that are in memory as a whole, each time one has come."""
    held: list[int] = []
    taken = Source.take_whole

    def count(self: Source, data: bytes) -> None:
        taken(self, data)
        gc.collect()
        held.append(sum(isinstance(o, Source) and o.whole for o in gc.get_objects()))

    monkeypatch.setattr(Source, "take_whole", count)
    return held


def test_files_read_whole_do_not_pile_up(
    made: Callable[..., bytes], served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader lives as long as its worker: between calls it keeps whole files up to a limit only."""
    raw = made(**LOSSLESS)
    monkeypatch.setattr("pipelines.access.rasters.cog._KEPT_BYTES", int(2.5 * len(raw)))
    hrefs = [served.put(raw) for _ in range(3)]
    with Reader(Client(), workers=1) as reader:
        for href in (*hrefs[:2], hrefs[0], hrefs[2], hrefs[0]):
            asked = ChipRequest(hrefs=(href,), bands=(1,), geobox=box(0, 0, 9, 9), kernel="nearest", fill=(0,))
            (chip,) = reader.read_chips([asked])
            assert isinstance(chip, Chip), chip
    assert [sum(n > 32_768 for n in served.sent(href)) for href in hrefs] == [2, 1, 1]


@pytest.mark.slow
def test_a_call_holds_few_files_that_are_read_whole(
    made: Callable[..., bytes], served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six files for one call, room for two and a half: each is sent once, all chips come, two are there at once."""
    raw = made(**LOSSLESS)
    monkeypatch.setattr("pipelines.access.rasters.cog._KEPT_BYTES", 0)
    monkeypatch.setattr("pipelines.access.rasters.cog._WHOLE_BYTES", int(2.5 * len(raw)))
    hrefs = [served.put(raw) for _ in range(6)]
    boxes = [box(0, 0, 9, 9), box(20, 20, 9, 9)]
    asked = [
        ChipRequest(hrefs=(href,), bands=(1,), geobox=b, kernel="nearest", fill=(0,)) for b in boxes for href in hrefs
    ]
    held = whole_files(monkeypatch)
    with Reader(Client(), workers=1) as reader:
        found = reader.read_chips(asked)
    alone = chips(hrefs[0], boxes)
    assert all(isinstance(chip, Chip) for chip in (*found, *alone)), found
    for i, chip in enumerate(found):
        assert np.array_equal(chip.pixels, alone[i // 6].pixels)  # type: ignore[union-attr]
    assert [sum(n > 32_768 for n in served.sent(href)) for href in hrefs] == [2, 1, 1, 1, 1, 1]  # the first: `alone`
    assert max(held) <= 2


@pytest.mark.slow
def test_files_of_an_earlier_call_count_too(
    made: Callable[..., bytes], served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for two and a half files, one of which is there from the call before: the others come one by one."""
    raw = made(**LOSSLESS)
    monkeypatch.setattr("pipelines.access.rasters.cog._KEPT_BYTES", int(1.5 * len(raw)))
    monkeypatch.setattr("pipelines.access.rasters.cog._WHOLE_BYTES", int(2.5 * len(raw)))
    asked = [
        ChipRequest(hrefs=(served.put(raw),), bands=(1,), geobox=box(0, 0, 9, 9), kernel="nearest", fill=(0,))
        for _ in range(4)
    ]
    held = whole_files(monkeypatch)
    with Reader(Client(), workers=1) as reader:
        found = [*reader.read_chips(asked[:1]), *reader.read_chips(asked)]
    assert all(isinstance(chip, Chip) for chip in found), found
    assert len(held) == len(asked), "each is sent once"
    assert max(held) <= 2


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_shortened_file_is_corrupt_and_never_pixels(share: float, made: Callable[..., bytes], served: Served) -> None:
    raw = made(**LOSSLESS, TLM="YES")
    (got,) = chips(served.put(raw[: int(share * len(raw))]), [box(0, 0, 10, 10)])
    assert isinstance(got, AccessError)
    assert got.reason is Reason.CORRUPT


def test_a_file_that_changes_while_it_is_read_is_not_mixed(made: Callable[..., bytes], served: Served) -> None:
    raw, other = made(**LOSSY, TLM="YES"), made(**LOSSLESS, TLM="YES")
    href = served.put(raw)
    asked = 0

    def change(request: Request) -> Fault | None:
        nonlocal asked
        asked += href.endswith(request.path)
        if asked == 2:
            (served.folder / href.rpartition("/")[2]).write_bytes(other)
        return None

    served.services.faults.append(change)
    (got,) = chips(href, [box(200, 200, 10, 10)])
    served.services.faults.clear()
    assert isinstance(got, AccessError)
    assert got.reason is Reason.UNAVAILABLE
    (chip,) = chips(href, [box(200, 200, 10, 10)])
    np.testing.assert_array_equal(chip.pixels, gdals(other)[:, 200:210, 200:210])


def test_a_range_that_fails_costs_the_chips_that_need_it(made: Callable[..., bytes], served: Served) -> None:
    """Of a tile in several pieces one is lost: its chip has one error, and its pixels when it is asked for again."""
    plain = made(**RESOLUTIONS)
    raw = scattered(plain)
    href = served.put(raw)
    lost = [(a, n) for tile, a, n in parts(raw) if tile == 4][-1]

    def fail(request: Request) -> Fault | None:
        said = (request.range or "bytes=0-0").removeprefix("bytes=").split("-")
        first, last = int(said[0]), int(said[1] or 0)
        return Fault(status=503) if 0 < first <= lost[0] <= last else None

    served.services.faults.append(fail)
    (bad,) = chips(href, [box(150, 150, 10, 10)])
    served.services.faults.clear()
    assert isinstance(bad, AccessError)
    assert bad.reason is Reason.UNAVAILABLE
    (chip,) = chips(href, [box(150, 150, 10, 10)])
    np.testing.assert_array_equal(chip.pixels, gdals(plain)[:, 150:160, 150:160])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["as GDAL writes it", "parts of a tile apart", "colours, 8 bits, lossy"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_give_gdals_pixels_or_one_line(
    kind: str, data: st.DataObject, made: Callable[..., bytes], served: Served
) -> None:
    how, change = KINDS[kind]
    sound = change(made(**how))
    raw = bytearray(sound)
    start, first = stream_at(bytes(raw)), parts(bytes(raw))[0][1]
    listed = bytes(raw).index(b"\xff\x55", start, first)
    spots = st.one_of(
        st.integers(start, first + 20), st.sampled_from([a + i for _, a, _ in parts(bytes(raw)) for i in range(14)]),
        st.integers(0, len(raw) - 1),
    )  # fmt: skip
    for at in data.draw(st.lists(spots, min_size=1, max_size=3)):
        raw[at] = data.draw(st.integers(0, 255))
    got = chips(served.put(bytes(raw)), [box(0, 0, 30, 30), box(100, 90, 60, 80)])
    if raw[listed : listed + 2] == b"\xff\x55":
        raw[listed : listed + 2] = b"\xff\x64"  # GDAL's pixels are memory where the list is wrong
    for chip, (x, y, w, h) in zip(got, [(0, 0, 30, 30), (100, 90, 60, 80)], strict=True):
        if isinstance(chip, AccessError):
            assert "\n" not in chip.detail
            continue
        with rasterio.Env(GDAL_NUM_THREADS="1"), MemoryFile(bytes(raw)) as memory, memory.open() as dataset:
            where = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)  # elsewhere other pixels are asked for
            if dataset.transform == where and (dataset.width, dataset.height) == (WIDTH, HEIGHT):
                try:
                    due = dataset.read([1], window=rasterio.windows.Window(x, y, w, h))
                except rasterio.errors.RasterioIOError:
                    continue  # GDAL gives up on a file for the sake of another of its tiles
                if not np.array_equal(chip.pixels, due):  # a part of another tile claims to be of this one
                    with MemoryFile(sound) as unchanged, unchanged.open() as right:
                        due = right.read([1], window=rasterio.windows.Window(x, y, w, h))
                np.testing.assert_array_equal(chip.pixels, due)
