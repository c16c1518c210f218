"""A dataset that somebody else made, with what should not be in it: told in one line, never believed, never a crash."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import landweave
from landweave import codec
from landweave.check import check
from landweave.manifest import seal
from tests.hostile import datasets
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "worldcover/classes"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards, four samples."""
    plan = planned((3, 1), sources=("sentinel2", "dem"), size_m=60.0, name="hostile")
    return plan.build(tmp_path_factory.mktemp("hostile") / "out")


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "copy", ignore=shutil.ignore_patterns(".staging"))
    return tmp_path / "copy"


def everything(folder: Path) -> None:
    """Use all of a dataset that a user can."""
    data = landweave.open(folder)
    repr((data, data.spec, data.statistics, data.recipe, data.ledger.num_rows, data.splits))
    data.query("lon > -200", split="train", time=("2000-01-01", None), bbox=(-180, -90, 180, 90))
    for batch in data.stream(batch_size=2, times="2021-06-01", columns=["captions"], normalise="all"):
        assert len(batch["id"])
    for sample in data:
        repr((sample.captions, sample.facts, sample.attributes, sample.lonlat, sample.vectors().num_rows))
        for name in data.arrays:
            sample.get(name)
        for group in data.modalities:
            sample.datetimes(group)


def refused(folder: Path, expected: str | None = None) -> str:
    """The one line that a dataset is refused with, wherever that is noticed."""
    with pytest.raises(landweave.LandweaveError, match=expected) as told:
        everything(folder)
    text = str(told.value)
    assert "\n" not in text
    assert text.isprintable()
    return text


DTYPES: list[Any] = [
    "O", "O,i8", "O,O", "i8,O", "V100000000000", "V8", "M8[ns]", "m8[s]", "U100", "S9", "c16", "wat", "", None, 7,
    [["a", "O"]], {"names": ["a"], "formats": ["O"]}, ">u2", "uint16 ", "object", "float128", "float16",
]  # fmt: skip
SHAPES: list[Any] = [
    [10**6, 10**6], [2**31, 2], [-1, 6], [0, 6], [9.5, 6], ["6", 6], [True, 6], "ab", [10**30], [6], [],
    [1, 1, 1, 1, 6, 6], None, [6, 6, 6],
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
def test_numbers_are_of_a_closed_list_of_kinds(copy: Path, dtype: Any) -> None:
    datasets.sealed(copy, lambda m: datasets.spec_of(m, LABEL).update(dtype=dtype))
    refused(copy, "dtype: expected one of bool, uint8")


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_shapes_are_small_positive_and_fit_their_dimensions(copy: Path, shape: Any) -> None:
    datasets.sealed(copy, lambda m: datasets.spec_of(m, LABEL).update(sample_shape=shape))
    refused(copy, "expected")


def test_decoding_into_anything_but_plain_numbers_is_refused() -> None:
    data = codec.encode_chunk(np.arange(4.0), landweave.layout.CodecSpec(cname="lz4", level=1, shuffle="shuffle"))
    for dtype in ("O", "O,i8", "M8[ns]", "V8", "c16"):
        with pytest.raises(TypeError, match="plain numbers"):
            codec.decode_chunk(data, np.zeros(4, dtype))


FIELDS: list[tuple[str, Any]] = [
    ("dataset.shard_samples", 10**12), ("dataset.shard_samples", 0), ("dataset.shard_samples", -3),
    ("dataset.shards", 10**12), ("dataset.shards", 2.0), ("dataset.shards", True), ("dataset.groups", None),
    ("dataset.groups", "abc"), ("dataset.groups", {}), ("dataset.size_m", 0), ("dataset.size_m", "60"),
    ("dataset.name", 5), ("dataset.name", "x" * 2**21), ("dataset.recipe_sha256", "../x"),
    ("dataset.groups.0.name", "../../../etc"), ("dataset.groups.0.name", "sentinel2\n"),
    ("dataset.groups.0.name", "a/b"),
    ("dataset.groups.0.name", ""), ("dataset.groups.0.slots", ["x"] * 10), ("dataset.groups.0.slots", [["a"], 1]),
    ("dataset.groups.0.kind", "thing"), ("dataset.groups.0.arrays", []), ("dataset.groups.0.arrays.0.nodata", "x"),
    ("dataset.groups.0.arrays.0.nodata", "NaN"), ("dataset.groups.0.arrays.0.nodata", 65_536),
    ("dataset.groups.0.arrays.0.nodata", -1), ("dataset.groups.0.arrays.0.nodata", 0.5),
    ("dataset.groups.0.arrays.0.dims", ["sample", "x", "y"]), ("dataset.groups.0.arrays.0.name", "."),
    ("dataset.groups.0.arrays.0.group", "dem"), ("dataset.groups.0.arrays.0.bands", []),
    ("dataset.groups.0.arrays.0.resolution_m", 0), ("dataset.groups.0.arrays.0.codec", None),
    ("dataset.groups.0.arrays.0.codec.cname", "/usr/lib/x.so"), ("dataset.groups.0.arrays.0.codec.level", 99),
    ("dataset.groups.0.revision", 1), ("dataset.groups.2.classes.0.colour", "red"),
    ("dataset.groups.2.classes.0.code", -1), ("dataset.revision", "x/../.."), ("dataset.revision", -1),
    ("dataset.revision", 10**9), ("samples", "4"), ("samples", 10**9), ("samples", None), ("splits", {"../../x": 4}),
    ("splits", {"train\n": 3, "test": 1}), ("splits", {"train": -1}), ("splits", {"train": 3}), ("licences", [1]),
    ("attribution", "x"), ("objects", [1]), ("objects", {"a": {"size": -1, "sha256": "0" * 64}}),
    ("objects", {"a": {"size": 1, "sha256": "0"}}), ("before", 7), ("layout", "1"), ("layout", True), ("layout", None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), FIELDS, ids=lambda v: repr(v)[:40])
def test_every_field_of_the_manifest_has_a_kind_and_a_range(copy: Path, path: str, value: Any) -> None:
    def change(found: Any) -> None:
        *keys, last = (int(k) if k.isdigit() else k for k in path.split("."))
        for key in keys:
            found = found[key]
        found[last] = value

    datasets.sealed(copy, change)
    refused(copy)


def test_fields_that_a_later_version_adds_are_passed_over(copy: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        for place in (found, found["dataset"], *found["dataset"]["groups"], datasets.spec_of(found, LABEL)):
            place["from_the_future"] = {"any": [1, None, "thing"]}

    datasets.sealed(copy, change)
    everything(copy)


PATHS = [
    "../../../../../../etc/passwd", "/etc/hostname", "/dev/zero", "a/../../b", "a//b", "./a", "..", ".", "", "a\\..\\b",
    "C:/x", "a/\0", "a\n", "\u202eb", "a/" * 600 + "b", "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda p: repr(p)[:30])
def test_paths_are_relative_plain_and_inside(copy: Path, path: str) -> None:
    datasets.sealed(copy, lambda m: m["objects"].update({path: {"size": 1, "sha256": "0" * 64}}))
    refused(copy, "is not a path inside a dataset")


LINKS = ["recipe.json", "catalogue/items.parquet", "catalogue/statistics.json", "landweave.json", "shards/00000.json"]
CHUNKS = f"data.zarr/{LABEL}/c/0/0/0"


@pytest.mark.parametrize("path", [*LINKS, CHUNKS])
def test_links_that_lead_outside_are_not_followed(copy: Path, path: str, tmp_path: Path) -> None:
    shutil.move(copy / path, tmp_path / "outside")
    (copy / path).symlink_to(tmp_path / "outside")
    assert "a link to a file outside" in refused(copy)


def test_folders_that_are_links_outside_are_not_followed(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "data.zarr", tmp_path / "outside")
    (copy / "data.zarr").symlink_to(tmp_path / "outside")
    refused(copy, "a link to a file outside")


def test_links_inside_hard_links_and_a_dataset_that_is_a_link_are_read(copy: Path, tmp_path: Path) -> None:
    (copy / CHUNKS).rename(copy / "data.zarr/moved")
    (copy / CHUNKS).symlink_to(copy / "data.zarr/moved")
    os.link(copy / "recipe.json", tmp_path / "recipe")
    (tmp_path / "link").symlink_to(copy)
    everything(tmp_path / "link")


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "loop"])
@pytest.mark.parametrize("path", ["landweave.json", "recipe.json", CHUNKS])
def test_what_is_no_regular_file_is_not_opened(
    copy: Path, kind: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copy / path
    file.unlink()
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case "socket":
            monkeypatch.chdir(file.parent)
            socket.socket(socket.AF_UNIX).bind(file.name)
        case "folder":
            file.mkdir()
        case "loop":
            file.symlink_to(file)
    refused(copy, "not a regular file|outside the dataset|symbolic links|symlink|no dataset here")


def test_check_tells_all_this_and_reads_no_more_than_it_should(copy: Path) -> None:
    os.mkfifo(copy / "pipe")
    with (copy / "huge").open("wb") as file:
        file.truncate(2**40)
    sums = {"size": 1, "sha256": "0" * 64}
    datasets.sealed(copy, lambda m: m["objects"].update({"pipe": sums, "huge": sums}))
    faults = list(check(landweave.open(copy)))
    assert "pipe: pipe: is not a regular file" in faults
    assert f"huge: has {2**40} bytes, expected 1" in faults


JSON = {
    "deep": b"[" * 200_000,
    "deep inside": b'{"sha256":"'
    + b"0" * 64
    + b'","format":"landweave","layout":1,"x":'
    + b"[" * 990
    + b"]" * 990
    + b"}",
    "huge number": b'{"sha256":"","format":"landweave","layout":' + b"9" * 5_000 + b"}",
    "infinite": b'{"sha256":"","format":"landweave","layout":1e400}',
    "NaN": b'{"sha256":"","format":"landweave","layout":NaN}',
    "twice": b'{"sha256":"","format":"landweave","layout":1,"layout":2}',
    "surrogate": b'{"sha256":"","format":"landweave","layout":1,"x":"\\ud800"}',
    "latin-1": b'{"sha256":"","format":"landweave","layout":1,"x":"\xe9"}',
    "utf-16": '{"sha256":"","format":"landweave","layout":1}'.encode("utf-16"),
    "a list": b"[]",
    "a text": b'"x"',
    "nothing": b"",
}


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("path", ["landweave.json", "shards/00000.json", "catalogue/statistics.json", "recipe.json"])
def test_json_of_any_kind(copy: Path, name: str, path: str) -> None:
    (copy / path).write_bytes(JSON[name])
    if path != "landweave.json" and path in datasets.manifest(copy)["objects"]:
        datasets.resealed(copy, path)
    refused(copy)


STATISTICS: list[Any] = [
    None, [], {"bands": []}, {"bands": {"a": 1}}, {"bands": {"a": {"b": {"all": {"count": "x"}}}}},
    {"bands": {"a": {"b": {"all": {"count": 1, "mean": "x"}}}}},
    {"bands": {"a": {"b": {"all": {"count": 1, "percentiles": {"2": []}}}}}},
]  # fmt: skip


@pytest.mark.parametrize("statistics", STATISTICS, ids=repr)
def test_statistics_are_numbers(copy: Path, statistics: Any) -> None:
    (copy / "catalogue/statistics.json").write_text(json.dumps(statistics))
    datasets.resealed(copy, "catalogue/statistics.json")
    refused(copy, "statistics.json")


COLUMNS: list[tuple[str, Any, pa.DataType | None]] = [
    ("row", -1, None), ("row", 2**31 - 1, None), ("row", None, None), ("row", "a", pa.string()), ("row", 1, pa.int64()),
    ("shard", -1, None), ("shard", 2**31 - 1, None), ("shard", None, None), ("id", None, None), ("id", 5, pa.int64()),
    ("id", "same", None), ("id", "../../x", None), ("split", None, None), ("split", "../../x", None),
    ("split", "train\n", None), ("split", b"\xff", pa.binary()), ("sentinel2_present", None, None),
    ("sentinel2_present", [True], None), ("sentinel2_present", [True, None], None),
    ("sentinel2_present", [True] * 3, None), ("sentinel2_present", "x", pa.string()), ("captions", 3, pa.int64()),
    ("captions", [{"words": "x"}], pa.list_(pa.struct([("words", pa.string())]))),
    ("captions", [None], None), ("sentinel2_datetimes", "junk", pa.string()),
    ("sentinel2_datetimes", ["junk", "x"], None),
    ("sentinel2_datetimes", ["2021-01-01"], None), ("lon", "x", pa.string()), ("facts", "{", None),
    ("facts", "[1]", None),
    ("facts", "[" * 100_000, None), ("facts", '{"a": 1e400}', None), ("facts", 1, pa.int32()),
    ("start_datetime", 1, pa.int64()), ("geometry", "x", pa.string()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "kind"), COLUMNS, ids=lambda v: repr(v)[:40])
def test_columns_of_the_catalogue_are_what_they_should_be(copy: Path, name: str, value: Any, kind: Any) -> None:
    datasets.items(copy, datasets.column(name, value, kind))
    refused(copy)


def test_columns_that_are_missing_or_twice_rows_that_are_too_many(copy: Path) -> None:
    table = pq.read_table(copy / datasets.ITEMS)
    changes: list[Callable[[pa.Table], pa.Table]] = [
        lambda _: table.drop_columns(["split"]),
        lambda _: table.append_column("row", table["row"]),
        lambda _: pa.concat_tables([table] * 50),
        lambda _: table.slice(1),
    ]
    for change in changes:
        pq.write_table(change(table), copy / datasets.ITEMS, store_schema=False)
        datasets.resealed(copy, datasets.ITEMS)
        refused(copy, r"items\.parquet")


def test_texts_that_are_no_unicode(copy: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("facts")
        raw = pa.array([b"\xff\xfe"] * table.num_rows, pa.binary())
        return table.set_column(at, "facts", pa.Array.from_buffers(pa.string(), len(raw), raw.buffers()))

    datasets.items(copy, change)
    refused(copy, "items.parquet cannot be read")


ENTRIES = [(0, 1 << 40), (0, 1 << 63), (1 << 63, 100), (1, 2**64 - 2), (0, 0), (0, 3 << 30), (1 << 50, 60), (5, 40)]


@pytest.mark.parametrize("entry", ENTRIES, ids=repr)
def test_index_entries_that_lead_anywhere(copy: Path, entry: tuple[int, int]) -> None:
    def change(body: bytes, entries: np.ndarray) -> bytes:
        entries[:] = entry
        return body

    datasets.chunks(copy, LABEL, change)
    refused(copy, LABEL)


def blosc_frame(*, decoded: int, block: int, flags: int = 1, size: int = 1) -> bytes:
    body = b"\xff" * 24
    return struct.pack("<BBBBIII", 2, 1, flags, size, decoded, block, 16 + len(body)) + body


@pytest.mark.parametrize("flags", [0, 1, 2, 4, 16, 0x21, 0x61, 0x81, 0xFF])
@pytest.mark.parametrize("block", [0, 1, 36, 2**31 - 1, 2**32 - 1])
def test_chunks_of_nonsense_with_the_right_checksum(copy: Path, flags: int, block: int) -> None:
    chip = landweave.open(copy).arrays[LABEL].chip_bytes

    def change(_: bytes, entries: np.ndarray) -> bytes:
        frame = datasets.chunk(blosc_frame(decoded=chip, block=block, flags=flags))
        entries[:] = (0, len(frame))
        return frame

    datasets.chunks(copy, LABEL, change)
    data = landweave.open(copy)
    assert len(data)
    for sample in data:
        with suppress(landweave.CorruptError):
            assert sample.get(LABEL) is None or sample[LABEL].dtype == np.uint8


def test_a_chunk_that_decodes_to_more_than_it_should(copy: Path) -> None:
    settings = landweave.layout.CodecSpec(cname="zstd", level=1, shuffle="noshuffle")
    bomb = codec.encode_chunk(np.zeros(2**27, np.uint8), settings)

    def change(_: bytes, entries: np.ndarray) -> bytes:
        entries[:] = (0, len(bomb))
        return bomb

    datasets.chunks(copy, LABEL, change)
    refused(copy, "too long, or beyond|decodes to")


def test_shard_manifests_of_any_kind(copy: Path) -> None:
    path = copy / "shards/00000.json"
    sound = json.loads(path.read_text())
    del sound["sha256"]
    for name, value in {
        "shard": "0", "split": "../x", "samples": ["a", "a"], "samples ": 1, "presence": {"../x": ["1"]},
        "objects": {"../x": {"size": 1, "sha256": "0" * 64}}, "recipe_sha256": 1, "refused": [None],
    }.items():  # fmt: skip
        path.write_bytes(seal({**sound, name.strip(): value}))
        refused(copy)
        assert any("00000.json" in fault for fault in check(landweave.open(copy)))
