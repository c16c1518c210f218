"""Small arrays side by side: what is written, what a plan says of it, what `check` finds, and a form that holds."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from landweave import codec
from landweave.check import check
from landweave.layout import pack_path, shard_manifest
from landweave.layout_json import spec_from_json, spec_to_json
from landweave.manifest import ObjectSum, dataset_to_bytes, shard_from_bytes, shard_to_bytes
from landweave.packed import disagreements
from landweave.packs import Pack, pack_of
from pipelines.assemble import objects_text
from pipelines.shards import dataset_spec, finalise, object_count, withdraw
from pipelines.shards.addition import add
from pipelines.shards.desk import desk_of, is_remote
from pipelines.shards.store import DatasetStore
from tests.shards.synthetic import LEGENDS, Planned, planned, recipe
from tests.shards.test_shards_write import digest

SOURCES = ("sentinel2", "landsat", "dem")
ALONE = ("sentinel2/bands_10m", "sentinel2/bands_20m")
PACKED = (
    "sentinel2/bands_60m", "sentinel2/scl", "sentinel2/valid", "sentinel2/cloud", "landsat/bands_30m",
    "landsat/qa_pixel", "landsat/valid", "landsat/cloud", "dem/elevation", "dem/valid",
    "worldcover/classes", "dynamicworld/classes", "openstreetmap/classes",
)  # fmt: skip


def packed_plan(requests: int | None = 3, **how: object) -> Planned:
    return planned((4, 3), sources=SOURCES, size_m=120.0, requests=requests, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_plan().build(tmp_path_factory.mktemp("packs") / "out")


def test_the_largest_arrays_stay_alone_and_the_others_lie_side_by_side(built: Path) -> None:
    spec = landweave.open(built).spec
    assert spec.packed == PACKED
    assert {a.path for a in spec.arrays} == {*ALONE, *PACKED}


def test_nothing_else_changes(built: Path, tmp_path: Path) -> None:
    plain = digest(packed_plan(None).build(tmp_path / "out"))
    with_packs = digest(built)
    named = ("landweave.json", "recipe.json", "croissant.json", "CITATION.cff", "catalogue/shards.json", "shards/")
    assert {p for p in with_packs if p not in plain} == {pack_path(0), pack_path(1)}
    assert [p for p in plain if plain[p] != with_packs.get(p) and not p.startswith(named)] == ["data.zarr/zarr.json"]
    root = [(folder / "data.zarr/zarr.json").read_text() for folder in (built, tmp_path / "out")]
    hashes = [landweave.open(folder).spec.recipe_sha256 for folder in (built, tmp_path / "out")]
    assert root[0].replace(*hashes) == root[1]


def test_records_hold_the_bytes_of_the_arrays(built: Path) -> None:
    """By hand, from the documented form alone."""
    data = landweave.open(built)
    arrays, absent = [data.arrays[path] for path in data.spec.packed], [codec.ABSENT] * 2
    for shard in (0, 1):
        raw = (built / pack_path(shard)).read_bytes()
        rows = data.spec.shard_samples
        index = np.frombuffer(raw[-16 * rows - 4 : -4], "<u8").reshape(rows, 2)
        seen = 0
        for row, (offset, length) in enumerate(index.tolist()):
            files = [(built / a.object(shard)) for a in arrays for _ in range(a.slots)]
            chunks = [
                c
                for a in arrays
                for c in (
                    data._reader.index(a, shard)[row].tolist()
                    if (built / a.object(shard)).exists()
                    else [absent] * a.slots
                )
            ]
            if offset == codec.ABSENT:
                assert all(c[0] == codec.ABSENT for c in chunks)
                continue
            assert offset == seen
            seen += length
            record = raw[offset : offset + length]
            lengths = np.frombuffer(record[: 4 * len(chunks)], "<u4").tolist()
            at = 4 * len(chunks) + 4
            for found, (start, size), file in zip(lengths, chunks, files, strict=True):
                if start == codec.ABSENT:
                    assert found == 2**32 - 1
                    continue
                assert record[at : at + found] == file.read_bytes()[start : start + size]
                at += found
            assert at == length
        assert seen == len(raw) - 16 * rows - 4


def test_a_build_and_its_repetition_have_the_same_bytes_and_no_fault(built: Path, tmp_path: Path) -> None:
    again = packed_plan().build(tmp_path / "out")
    assert digest(again) == digest(built)
    assert list(check(landweave.open(built))) == []
    assert object_count(packed_plan().dataset) - object_count(packed_plan(None).dataset) == len(
        list((built / "packs").iterdir())
    )


def test_a_shard_that_is_built_again_gets_its_pack_again(built: Path, tmp_path: Path) -> None:
    """As `build --retry-failed` does: the manifest goes, and the objects are replaced."""
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    other = packed_plan(seed=1)
    withdraw(copy, [1])
    other.write(copy, other.shards[1])
    finalise(copy, other.dataset)
    assert (copy / pack_path(1)).read_bytes() != (built / pack_path(1)).read_bytes()
    assert list(check(landweave.open(copy))) == []
    withdraw(copy, [1])
    packed_plan().write(copy, other.shards[1])
    finalise(copy, other.dataset)
    assert digest(copy) == digest(built)


def test_a_store_gets_the_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Path) -> None:
    from pipelines.shards import desk_of

    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "work"))
    (tmp_path / "store").mkdir()
    desk = desk_of((tmp_path / "store").as_uri())
    packed_plan().build(desk)
    assert not (desk / "packs").exists()
    for shard in (0, 1):
        assert (tmp_path / "store" / pack_path(shard)).read_bytes() == (built / pack_path(shard)).read_bytes()
    assert isinstance(DatasetStore((tmp_path / "store").as_uri()), DatasetStore)


def test_a_flipped_byte_is_one_line_of_check(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    path = copy / pack_path(1)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert list(check(landweave.open(copy))) == [f"{pack_path(1)}: content differs from its checksum"]
    path.unlink()
    assert list(check(landweave.open(copy))) == [f"{pack_path(1)}: is missing"]


def resealed(out: Path, shard: int, pack: bytes | None) -> None:
    """Put a pack in place (None: leave it out), with checksums that fit."""
    manifest = shard_from_bytes((out / shard_manifest(shard)).read_bytes(), "manifest")
    objects = {p: o for p, o in manifest.objects.items() if p != pack_path(shard)}
    (out / pack_path(shard)).unlink()
    if pack is not None:
        (out / pack_path(shard)).write_bytes(pack)
        objects[pack_path(shard)] = ObjectSum(len(pack), hashlib.sha256(pack).hexdigest())
    sealed = shard_to_bytes(dataclasses.replace(manifest, objects=objects))
    (out / shard_manifest(shard)).write_bytes(sealed)
    index = (out / "catalogue/shards.json").read_text()
    before = landweave.open(out)
    old = hashlib.sha256(shard_to_bytes(manifest)).hexdigest()
    text = index.replace(old, hashlib.sha256(sealed).hexdigest()).encode()
    (out / "catalogue/shards.json").write_bytes(text)
    sums = {**before.manifest.objects, "catalogue/shards.json": ObjectSum(len(text), hashlib.sha256(text).hexdigest())}
    (out / "landweave.json").write_bytes(dataset_to_bytes(dataclasses.replace(before.manifest, objects=sums)))


def records_of(data: landweave.Dataset, shard: int) -> tuple[Pack, list[bytes | None]]:
    pack = pack_of(data.spec)
    assert pack is not None
    raw = data.store.get(pack_path(shard))
    index = data._reader.index(pack, shard)[:, 0].tolist()
    return pack, [None if start == codec.ABSENT else raw[start : start + length] for start, length in index]


def object_of(records: list[bytes | None]) -> bytes:
    entries = np.full((len(records), 2), codec.ABSENT, np.uint64)
    at = 0
    for row, record in enumerate(records):
        if record is not None:
            entries[row] = (at, len(record))
            at += len(record)
    return b"".join(r for r in records if r is not None) + codec.encode_index(entries)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("swap", "packs/00001.bin: row 0 holds other bytes of sentinel2/bands_60m than data.zarr/sentinel2/"),
        ("drop", "packs/00001.bin: row 1 lacks its record"),
        ("more", "packs/00001.bin: row 3 has a record and no chunks of its arrays"),
        ("head", "packs/00001.bin: row 2: crc32c of the record's head is wrong"),
        ("long", "packs/00001.bin: row 2: the record has"),
        ("none", "shard 1: packs/00001.bin is missing"),
        ("beyond", "packs/00001.bin: the record of row 2 lies beyond the end of the object"),
        ("index", "shard 1: packs: crc32c of the shard index is wrong (packs/00001.bin)"),
    ],
)  # fmt: skip
def test_check_finds_a_pack_that_disagrees_with_its_arrays(built: Path, tmp_path: Path, how: str, says: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    data = landweave.open(copy)
    pack, records = records_of(data, 1)
    first, third = records[0], records[2]
    assert first is not None
    assert third is not None
    if how == "swap":  # the chunk of another date, which decodes without fault
        spans = pack.spans(memoryview(first))
        chunks = [first[a : a + n] if n else None for a, n in spans]
        chunks[0], chunks[1] = chunks[1], chunks[0]
        records[0] = pack.record(chunks)
    elif how == "drop":
        records[1] = None
    elif how == "more":
        records[3] = first
    elif how == "head":
        records[2] = bytes([third[0] ^ 1]) + third[1:]
    elif how == "long":
        records[2] = third + b"\0"
    raw = object_of(records)
    if how == "beyond":
        entries = np.frombuffer(raw[-16 * len(records) - 4 : -4], "<u8").reshape(-1, 2).copy()
        entries[2, 0] = 2**50
        raw = raw[: -16 * len(records) - 4] + codec.encode_index(entries)
    resealed(copy, 1, None if how == "none" else raw[:-1] + bytes([raw[-1] ^ 1]) if how == "index" else raw)
    found = list(check(landweave.open(copy)))
    assert found
    assert found[0].startswith(says)
    assert all("\n" not in line for line in found)


def test_a_writer_compares_what_it_wrote(built: Path) -> None:
    data = landweave.open(built)
    pack = pack_of(data.spec)
    assert pack is not None
    there = [p for a in pack.members if (built / (p := a.object(0))).exists()]
    assert list(disagreements(data._reader, pack, 0, [*there, pack_path(0)])) == []
    assert list(disagreements(data._reader, pack, 0, there)) == ["shard 0: packs/00000.bin is missing"]


def test_what_is_added_later_is_not_packed(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    more = planned((4, 3), sources=("sentinel1",), size_m=120.0, requests=2).build(tmp_path / "more")
    add(copy, str(more))
    data = landweave.open(copy)
    assert data.spec.revision == 1
    assert data.spec.packed == PACKED
    assert (copy / pack_path(0)).read_bytes() == (built / pack_path(0)).read_bytes()
    assert list(check(data)) == []
    written = spec_to_json(data.spec)
    with pytest.raises(landweave.CorruptError, match=r"dataset\.packed: expected at least two arrays"):
        spec_from_json({**written, "packed": ["sentinel1/backscatter", "dem/valid"]})


@pytest.mark.parametrize("names", [["dem/valid"], ["dem/valid", "dem/valid"], ["dem/valid", "dem/none"], "dem", [1, 2]])
def test_packed_names_that_are_none_are_refused(built: Path, names: object) -> None:
    written = spec_to_json(landweave.open(built).spec)
    with pytest.raises(landweave.CorruptError, match=r"dataset\.packed") as refused:
        spec_from_json({**written, "packed": names})
    assert "\n" not in str(refused.value)


def test_a_plan_says_what_packs_cost() -> None:
    def said(requests: int | None) -> list[str]:
        return objects_text(recipe(sources=SOURCES, requests=requests, labels=False), 100, 4).splitlines()

    assert len(said(None)) == 1
    assert said(12)[1] == "packs     none: a sample has 12 arrays, which is no more than 12 requests"
    assert said(3)[1] == (
        "packs     3 requests per random sample from a bucket in place of 12: "
        "10 of its arrays lie side by side a second time, about 14 % more bytes"
    )
    assert said(1)[1].startswith("packs     1 request per random sample from a bucket in place of 12: ")
    assert said(1)[1].endswith("12 of its arrays lie side by side a second time, about 100 % more bytes")
    few, many = (int(said(n)[0].split()[1].replace(",", "")) for n in (None, 3))
    assert many == few + 4


def test_a_plan_for_a_bucket_proposes_packs() -> None:
    def said(sources: tuple[str, ...], requests: int | None) -> list[str]:
        made = recipe(sources=sources, requests=requests, labels=False)
        return objects_text(made, 100, 4, remote=True).splitlines()[1:]

    proposed, *others = said(SOURCES, None)
    assert not others
    assert proposed == (
        "packs     none: a random sample costs 12 requests from this store; "
        "with shards.requests_per_sample: 4 it costs 4, for about 2 % more bytes"
    )
    assert "10 of its arrays lie side by side" in said(SOURCES, 3)[0]
    assert said(("dem",), None) == []


def test_a_dataset_behind_a_file_url_is_read_without_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDWEAVE_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert [is_remote(desk_of(url)) for url in (f"file://{tmp_path}/data", "s3://bucket/data")] == [False, True]
    assert not is_remote(tmp_path)


def test_the_default_is_the_dataset_of_before() -> None:
    assert recipe().sha256 == recipe(requests=None).sha256
    assert "requests_per_sample" not in recipe().model_dump(mode="json")["shards"]
    assert "packed" not in spec_to_json(dataset_spec(recipe(), 1, LEGENDS))
    assert recipe(requests=4).sha256 != recipe().sha256


ARRAYS = tuple(dataset_spec(recipe(), 1, LEGENDS).arrays)
CHUNK = st.none() | st.binary(min_size=20, max_size=40)


def test_the_form_of_a_record_is_for_ever() -> None:
    """A dataset that lies in a bucket is read by every later reader: byte for byte as docs/layout.md says."""
    pack = Pack(members=ARRAYS[:2])
    assert [a.chunks_per_row for a in pack.members] == [2, 2]
    head = bytes.fromhex("14000000 ffffffff 15000000 ffffffff")
    assert pack.record([b"a" * 20, None, b"b" * 21, None]) == head + bytes.fromhex("da16021d") + b"a" * 20 + b"b" * 21


@given(st.data())
def test_records_come_back(data: st.DataObject) -> None:
    members = data.draw(st.lists(st.sampled_from(ARRAYS), min_size=2, max_size=6, unique_by=lambda a: a.path))
    pack = Pack(members=tuple(members))
    chunks = data.draw(st.lists(CHUNK, min_size=pack.chunks, max_size=pack.chunks))
    record = pack.record(chunks)
    spans = pack.spans(memoryview(record))
    assert [record[a : a + n] if n else None for a, n in spans] == chunks


@given(st.data())
def test_a_record_that_was_changed_is_damage_and_nothing_else(data: st.DataObject) -> None:
    pack = Pack(members=ARRAYS[:3])
    chunks = data.draw(st.lists(CHUNK, min_size=pack.chunks, max_size=pack.chunks))
    record = bytearray(pack.record(chunks))
    head = record[: 4 * pack.chunks]
    for _ in range(data.draw(st.integers(1, 3))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(record)) | st.just(len(record)))
    changed = (bytes(head) + codec._crc(bytes(head)) + bytes(record[len(head) + 4 :]))[:end]
    try:
        spans = pack.spans(memoryview(changed))
    except codec.DamageError:
        return
    assert sum(n for _, n in spans) + len(head) + 4 == len(changed)
    assert all(0 < a <= a + n <= len(changed) for a, n in spans)
