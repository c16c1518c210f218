"""Small arrays side by side, from a URL: the same pixels with fewer requests, and damage is said."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from awscrt.checksums import crc32c

import landweave
from landweave import codec
from landweave.__main__ import main
from landweave.check import check
from landweave.layout import pack_path
from landweave.layout_json import spec_from_json, spec_to_json
from landweave.order import EpochRandom
from landweave.packs import pack_of
from landweave.view import View, shown
from pipelines.shards import dataset_spec
from tests.landweave.test_landweave_bucket import Bucket, bucket
from tests.shards.synthetic import LEGENDS, planned, recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VIEWS: dict[str, dict[str, Any]] = {
    "all": {},
    "crop": {"crop_m": 60.0},
    "dates": {"times": {"sentinel2": "first", "landsat": 1}},
    "bands": {"bands": {"sentinel2": ["B04", "B05", "B01"]}},
    "normalised": {"normalise": "all", "arrays": ["landsat", "dem", "dynamicworld"]},
    "some": {"arrays": ["dem", "worldcover", "sentinel2/scl"]},
    "missing": {"missing": {"landsat": 0.5}},
}


@pytest.fixture(scope="module")
def packed_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = planned((4, 4, 3), sources=("sentinel2", "landsat", "dem"), size_m=120.0, requests=3)
    return plan.build(tmp_path_factory.mktemp("packed") / "out")


@pytest.fixture
def served(packed_path: Path) -> Iterator[Bucket]:
    with bucket(packed_path) as made:
        yield made


def equal(there: dict[str, Any], here: dict[str, Any]) -> None:
    assert there.keys() == here.keys()
    for name, value in here.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(there[name], value)
        else:
            assert there[name] == value


def batch_of(data: landweave.Dataset, positions: Any, arrays: list[str] | None = None) -> dict[str, Any]:
    return data._reading(arrays, {})(np.array(positions), EpochRandom())


def pixels(served: Bucket) -> set[tuple[str, str]]:
    """(path, range) of the pixels that were asked for, once each however often a late one was sent; no indexes."""
    return {(p, asked) for p, asked in served.asked if ("/c/" in p or p.startswith("/packs"))
            and not asked.startswith("bytes=-") and asked != "bytes=0-0"}  # fmt: skip


def indexes(served: Bucket) -> set[str]:
    return {p for p, asked in served.asked if ("/c/" in p or p.startswith("/packs")) and asked.startswith("bytes=-")}


@pytest.mark.parametrize("view", VIEWS)
def test_batches_are_those_of_the_disk(served: Bucket, packed_path: Path, view: str) -> None:
    there, here = landweave.open(served.url), landweave.open(packed_path)
    how = {"batch_size": 5, "shuffle": True, "seed": 3, **VIEWS[view]}
    for far, near in zip(there.stream(**how), here.stream(**how), strict=True):
        equal(far, near)
    assert any(p.startswith("/packs") for p, _ in pixels(served))


def test_a_random_sample_costs_the_requests_that_the_recipe_says(served: Bucket) -> None:
    data = landweave.open(served.url)
    seats = data.catalogue.seats(np.arange(len(data)))
    batch_of(data, [int(np.flatnonzero(seats[:, 0] == shard)[-1]) for shard in range(3)])
    known = {
        *(f"/{data.arrays[p].object(s)}" for p in ("sentinel2/bands_10m", "sentinel2/bands_20m") for s in range(3)),
        *(f"/{pack_path(s)}" for s in range(3)),
    }
    assert indexes(served) == known
    for shard in range(3):
        before = pixels(served)
        batch_of(data, [int(np.flatnonzero(seats[:, 0] == shard)[0])])
        assert 0 < len(pixels(served) - before) <= 3
    assert indexes(served) == known


def test_a_single_small_array_is_read_from_its_own_object(served: Bucket, packed_path: Path) -> None:
    there, here = landweave.open(served.url), landweave.open(packed_path)
    for arrays in (["dem/elevation"], ["sentinel2/bands_10m", "landsat/qa_pixel"]):
        equal(batch_of(there, [0, 5], arrays=arrays), batch_of(here, [0, 5], arrays=arrays))
    assert not any(p.startswith("/packs") for p, _ in served.asked)


def test_nothing_is_read_from_packs_on_a_disk(packed_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed_path, copy)
    shutil.rmtree(copy / "packs")
    equal(batch_of(landweave.open(copy), range(8)), batch_of(landweave.open(packed_path), range(8)))


def test_a_sample_takes_its_record_from_the_second_small_array_on(served: Bucket, packed_path: Path) -> None:
    there, here = landweave.open(served.url), landweave.open(packed_path)
    same = there[0]
    np.testing.assert_array_equal(same["dem/elevation"], here[0]["dem/elevation"])
    before = pixels(served)
    assert [p for p, _ in before] == [f"/{here.arrays['dem/elevation'].object(0)}"]
    for path, array in here.arrays.items():
        found, known = same.get(path), here[0].get(path)
        assert (found is None) == (known is None)
        if known is not None:
            np.testing.assert_array_equal(found, known)
            assert found.dtype == array.dtype
    assert sorted(p.split("/")[1] for p, _ in pixels(served) - before) == ["data.zarr", "data.zarr", "packs"]
    again = pickle.loads(pickle.dumps(there))  # noqa: S301 - our own
    np.testing.assert_array_equal(again[1].get("dem/valid"), here[1].get("dem/valid"))
    for near, far in zip(here, there, strict=True):
        for path in here.arrays:
            found, known = far.get(path), near.get(path)
            assert (found is None) == (known is None)
            if known is not None:
                np.testing.assert_array_equal(found, known)


def test_a_second_epoch_reads_the_records_that_are_kept(packed_path: Path, tmp_path: Path) -> None:
    here = landweave.open(packed_path)
    for epoch in range(2):
        with bucket(packed_path) as store:
            data = landweave.open(store.url, cache_dir=tmp_path)
            for _ in range(2):
                for far, near in zip(data.stream(batch_size=5), here.stream(batch_size=5), strict=True):
                    equal(far, near)
            assert bool(pixels(store)) == (not epoch)
            assert bool(indexes(store)) == (not epoch)


def spoiled(copy: Path, shard: int, row: int, what: str) -> None:
    """Change a byte of the row's record, in its head, or in the last chunk."""
    data = landweave.open(copy)
    pack = pack_of(data.spec)
    assert pack is not None
    start, length = data._reader.index(pack, shard)[row, 0].tolist()
    path = copy / pack_path(shard)
    raw = bytearray(path.read_bytes())
    raw[start if what == "head" else start + length - 9] ^= 4
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("head", "packs/00001.bin: row 2: crc32c of the record's head is wrong"),
        ("chunk", "openstreetmap/classes in shard 1: crc32c of the chunk is wrong"),
    ],
)
def test_damage_loses_the_sample_and_says_so(packed_path: Path, tmp_path: Path, what: str, says: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed_path, copy)
    spoiled(copy, 1, 2, what)
    with bucket(copy) as made:
        data = landweave.open(made.url, cache_dir=tmp_path / "kept")
        stream = data.stream(batch_size=4, on_error="skip")
        ids = [i for batch in stream for i in batch["id"]]
        assert [lost for lost, _ in stream.skipped] == ["s001_002"]
        assert says in stream.skipped[0][1]
        assert "landweave check" in stream.skipped[0][1]
        assert sorted([*ids, "s001_002"]) == sorted(data.catalogue.read(["id"])["id"].to_pylist())
        with pytest.raises(landweave.CorruptError, match="sample s001_002: ") as failed:
            batch_of(data, [data.catalogue.position("s001_002")])
        assert "\n" not in str(failed.value)
        sample = data.sample("s001_002")
        sample.get("dynamicworld/classes")
        with pytest.raises(landweave.CorruptError, match="sample s001_002: "):
            sample.get("openstreetmap/classes")
        assert list(check(data)) == ["packs/00001.bin: content differs from its checksum"]


@pytest.mark.parametrize("how", ["missing", "cut", "index"])
def test_a_pack_that_is_not_whole_is_one_line(packed_path: Path, tmp_path: Path, how: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed_path, copy)
    path = copy / pack_path(1)
    raw = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(raw[:30])
    else:  # an index that says nothing is there
        entries = np.full((4, 2), codec.ABSENT, np.uint64)
        path.write_bytes(raw[: -len(codec.encode_index(entries))] + codec.encode_index(entries))
    with bucket(copy) as made:
        data = landweave.open(made.url)
        stream = data.stream(batch_size=4, on_error="skip")
        assert sum(len(batch["id"]) for batch in stream) == len(data) - 4
        assert {text.count("\n") for _, text in stream.skipped} == {0}
        assert all("packs/00001.bin" in text for _, text in stream.skipped)


def test_a_pack_is_used_where_it_pays() -> None:
    """264 pixels an edge: the pack holds some 200 kB, of which two masks are a thousandth."""
    made = recipe(sources=("sentinel2", "sentinel1", "landsat", "dem"), size_m=2640.0, requests=4)
    spec = dataset_spec(made, 1, LEGENDS)
    pack = pack_of(spec)
    assert pack is not None
    assert {a.path for a in spec.arrays} - pack.firsts.keys() == {
        "sentinel1/backscatter", "sentinel2/bands_10m", "sentinel2/bands_20m"
    }  # fmt: skip

    def taken(*names: str, **view: Any) -> frozenset[str]:
        arrays = [a for a in spec.arrays if not names or a.path in names]
        seen = shown(spec, arrays, View(**view), None)
        return pack.worth({s.array.path: s.slots / s.array.slots for s in seen})

    assert taken() == pack.firsts.keys()
    assert taken("sentinel2/bands_10m", "dem/valid") == frozenset()
    assert taken("sentinel2/valid", "dem/valid") == frozenset()
    assert taken("landsat/bands_30m", "dem/elevation", "landsat/valid", "landsat/cloud", "landsat/qa_pixel")


def test_info_names_the_arrays_that_lie_side_by_side(packed_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(packed_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = tuple(line.split()[0] for line in lines if line.endswith("  side by side"))
    assert named == landweave.open(packed_path).spec.packed


def test_a_record_is_kept_only_if_all_its_chunks_are_whole(packed_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed_path, copy)
    spoiled(copy, 1, 2, "chunk")  # the last one, of a label
    some = ["dem/elevation", "sentinel2/scl", "sentinel2/valid", "sentinel2/cloud"]
    with bucket(copy) as made:
        first = landweave.open(made.url, cache_dir=tmp_path / "kept")
        assert sum(len(batch["id"]) for batch in first.stream(batch_size=4, arrays=some)) == len(first)
        assert any(p.startswith("/packs") for p, _ in pixels(made))
        shutil.copy(packed_path / pack_path(1), copy / pack_path(1))
        there, here = landweave.open(made.url, cache_dir=tmp_path / "kept"), landweave.open(packed_path)
        for far, near in zip(there.stream(batch_size=4), here.stream(batch_size=4), strict=True):
            equal(far, near)


def test_kept_records_that_are_wrong_and_gone_at_their_origin_lose_their_samples_alone(
    packed_path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed_path, copy)
    with bucket(copy) as made:
        data: Any = landweave.open(made.url, cache_dir=tmp_path / "kept")
        list(data.stream(batch_size=4))
        (copy / pack_path(1)).unlink()
        pack = pack_of(data.spec)
        assert pack is not None
        starts = [start for start, length in data._reader.index(pack, 1)[:, 0].tolist() if start != codec.ABSENT]
        with (
            (tmp_path / "kept" / "landweave-cache")
            .joinpath(data.store.kept._folder(pack_path(1)).rpartition("/")[2], "000000.bytes")
            .open("r+b") as file
        ):
            for start in starts:
                file.seek(start)
                file.write(bytes(8))
        stream = data.stream(batch_size=4, on_error="skip")
        assert sum(len(batch["id"]) for batch in stream) == len(data) - len(starts)
        assert all("packs/00001.bin" in text for _, text in stream.skipped)


def test_chunks_that_an_index_lacks_are_told_where_the_object_is_missing_too(packed_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed_path, copy)
    with bucket(copy) as made:
        data = landweave.open(made.url)
        array = data.arrays["landsat/bands_30m"]
        held = data._reader.index(array, 0)[..., 0] != codec.ABSENT
        chips: list[Any] = [
            (row, slot, (row, slot), np.empty(array.chunk_shape, array.dtype)) for row, slot in np.ndindex(*held.shape)
        ]
        assert 0 < held.sum() < len(chips)
        (copy / array.object(0)).unlink()
        assert {key for key, _ in data._reader.read_chips(array, 0, chips)} == {chip[2] for chip in chips}


def test_samples_that_were_read_one_by_one_are_kept_too(packed_path: Path, tmp_path: Path) -> None:
    here = landweave.open(packed_path)
    for epoch in range(2):
        with bucket(packed_path) as made:
            data = landweave.open(made.url, cache_dir=tmp_path)
            for path in here.arrays:
                for far, near in zip(data, here, strict=True):
                    found, known = far.get(path), near.get(path)
                    assert (found is None) == (known is None)
                    if known is not None:
                        np.testing.assert_array_equal(found, known)
            for path in here.arrays:  # of one sample: from its record
                data.sample(0).get(path)
            same = data.sample(1)
            assert [same.get(path) is None for path in here.arrays] == [
                here[1].get(path) is None for path in here.arrays
            ]
            assert bool(pixels(made)) == (not epoch)


def with_dates(dates: int) -> Any:
    """The form of a dataset whose Sentinel-2 has so many dates."""
    made = dataset_spec(recipe(sources=("sentinel2", "dem"), requests=3), 1, LEGENDS)
    form = json.loads(json.dumps(spec_to_json(made)))
    form["shard_samples"] = 1
    form["groups"][0]["slots"] = [f"w{n}" for n in range(dates)]
    for array in form["groups"][0]["arrays"]:
        array["sample_shape"][0] = dates
    return form


def test_a_hostile_head_takes_little_more_memory_than_it_has_bytes() -> None:
    pack = pack_of(spec_from_json(with_dates(2**15)))
    assert pack is not None
    head = b"\xff" * (4 * pack.chunks)
    record = memoryview(head + int(crc32c(head)).to_bytes(4, "little"))
    tracemalloc.start()
    try:
        assert not pack.spans(record)[:, 1].any()
        assert tracemalloc.get_traced_memory()[1] < 12 * len(record)
    finally:
        tracemalloc.stop()
    with pytest.raises(landweave.CorruptError, match=r"expected at most 262144, found arrays with 26\d+ chunks"):
        spec_from_json(with_dates(2**16))
