"""Chunks that hold some bands: the same pixels for every reader, and a few bands cost their chunks alone."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave import codec
from landweave.check import check
from landweave.layout_json import spec_from_json, spec_to_json
from landweave.local_store import LocalStore
from landweave.render import picture
from landweave.shard import ShardReader, fill_value
from pipelines.plan.indexes import large_index
from pipelines.shards import add, withdraw
from pipelines.shards.packs import PackWriter
from pipelines.shards.write import _ArrayWriter
from schemas.recipe import Recipe
from tests.landweave.test_landweave_bucket import bucket
from tests.shards.synthetic import Planned, planned, recipe
from tests.shards.test_shards_write import digest

SPLIT = {"sentinel2": 3, "enmap": 100, "landsat": 1}
"""3 of 4, 6 and 2 bands (filled up, even, whole), 100 of 224, and one."""


def made(**how: Any) -> Planned:
    return planned((4, 2), sources=("sentinel2", "enmap", "landsat", "dem"), size_m=120.0, **how)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> landweave.Dataset:
    """All bands of one resolution in a chunk."""
    return landweave.open(made().build(tmp_path_factory.mktemp("whole") / "out"))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> landweave.Dataset:
    """The same pixels with a few bands in a chunk."""
    return landweave.open(made(bands_per_chunk=SPLIT).build(tmp_path_factory.mktemp("split") / "out"))


def _folder(data: landweave.Dataset) -> Path:
    return Path(data.store.url)


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name, found in a.items():
        np.testing.assert_array_equal(found, b[name])


def test_samples_and_streams_are_those_of_whole_chunks(whole: landweave.Dataset, split: landweave.Dataset) -> None:
    chunks = {a.path: a.chunks_per_row for a in split.spec.arrays if a.bands_per_chunk}
    assert chunks == {"sentinel2/bands_10m": 4, "sentinel2/bands_20m": 4, "enmap/bands_30m": 6, "landsat/bands_30m": 14}
    assert list(check(split)) == []
    for a, b in zip(whole, split, strict=True):
        for name in whole.arrays:
            np.testing.assert_array_equal(a.get(name), b.get(name))
    for a, b in zip(whole.stream(batch_size=3), split.stream(batch_size=3), strict=True):
        same(a, b)
    here, there = (d.to_xarray(arrays=["sentinel2"], values="stored") for d in (whole, split))
    np.testing.assert_array_equal(here["sentinel2"].bands_10m.values, there["sentinel2"].bands_10m.values)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_view_is_that_of_whole_chunks(whole: landweave.Dataset, split: landweave.Dataset, data: Any) -> None:
    how: dict[str, Any] = {"arrays": ["sentinel2", "enmap", "landsat"], "bands": {}}
    for layer in how["arrays"]:
        names = [b.name for a in whole.spec.group(layer).arrays if a.kind == "continuous" for b in a.bands]
        few = st.lists(st.sampled_from(names), min_size=1, max_size=6, unique=True)
        kept = data.draw(few | st.just(names) | st.none(), label=layer)
        how["bands"] |= {} if kept is None else {layer: kept}
    how["times"] = data.draw(st.sampled_from(["all", "first", "last", 1]), label="times")
    how["crop_m"] = data.draw(st.sampled_from([None, 60.0]), label="crop_m")
    how["normalise"] = data.draw(st.sampled_from([None, "all"]), label="normalise")
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5), label="rows")
    same(whole.samples(rows, **how), split.samples(rows, **how))


def test_bands_of_a_sample_are_those_of_its_array(whole: landweave.Dataset, split: landweave.Dataset) -> None:
    asked = {
        "sentinel2/bands_10m": ["B08", "B02"], "sentinel2/bands_20m": ["B05"], "landsat/bands_30m": ["SR_B4", "red"],
        "enmap/bands_30m": ["B224", "B001", "B101", "B100"],
    }  # fmt: skip
    for data in (whole, split):
        for sample in data:
            for name, bands in asked.items():
                names = ["SR_B4" if band == "red" else band for band in bands]
                where = [sample.bands(name).index(band) for band in names]
                few, again = sample.get(name, bands), data.sample(sample.id).get(name)
                assert (few is None) == (again is None)
                if few is not None and again is not None:
                    np.testing.assert_array_equal(few, again[..., where, :, :])
                    physical = data.sample(sample.id).physical(name)[..., where, :, :]
                    np.testing.assert_array_equal(sample.physical(name, bands), physical)
        for name, bands in (("sentinel2/bands_10m", ["B05"]), ("sentinel2/scl", ["SCL"]), ("dem/elevation", [])):
            with pytest.raises(landweave.UnknownNameError, match="has no such bands"):
                data.sample(0).get(name, bands)
        with pytest.raises(landweave.UnknownNameError, match="no band 'B99'"):
            data.sample(0).get("sentinel2/bands_10m", ["B99"])
    assert whole.statistics == split.statistics


def test_a_picture_costs_the_bands_that_it_shows(whole: landweave.Dataset, split: landweave.Dataset) -> None:
    group = split.spec.group("enmap")
    array = split.arrays["enmap/bands_30m"]
    with bucket(_folder(split)) as served:
        remote = landweave.open(served.url)
        drawn = picture(remote.sample(0), group)
        np.testing.assert_array_equal(drawn, picture(whole.sample(0), whole.spec.group("enmap")))
        (span,) = [asked for path, asked in served.asked if path.endswith(array.object(0)) and "=-" not in asked]
        ends = split._reader.index(array, 0)[0, 0::3]  # the first hundred bands of both dates: blue to red are in them
        assert span == f"bytes={ends[0, 0]}-{ends[1].sum() - 1}"


def test_built_twice_and_a_shard_again_has_the_same_bytes(tmp_path: Path) -> None:
    plan = planned((2, 1), sources=("landsat",), size_m=60.0, bands_per_chunk={"landsat": 2}, requests=1)
    once, again = plan.build(tmp_path / "once"), plan.build(tmp_path / "again")
    assert digest(once) == digest(again)
    withdraw(again, [0])
    plan.build(again)
    assert digest(once) == digest(again)


def test_noise_is_the_same_in_any_batch_and_differs_between_bands(split: landweave.Dataset) -> None:
    how: dict[str, Any] = {"arrays": ["landsat"], "normalise": "all", "noise": {"landsat": 1.0}, "seed": 3}
    together, alone = split.samples([0, 1], **how), split.samples([1], **how)
    np.testing.assert_array_equal(together["landsat/bands_30m"][1], alone["landsat/bands_30m"][0])
    quiet = split.samples([0], **{**how, "noise": {}})["landsat/bands_30m"][0, 0]
    noise = together["landsat/bands_30m"][0, 0] - quiet
    there = quiet != 0
    assert abs(noise[there].std() - 1.0) < 0.2
    both = there[0] & there[1]
    assert abs(np.corrcoef(noise[0][both], noise[1][both])[0, 1]) < 0.9


def test_plain_zarr_reads_the_same(split: landweave.Dataset) -> None:
    folder = f"{_folder(split)}/data.zarr"
    root: Any = zarr.open_group(folder, mode="r")
    for array in split.spec.arrays:
        stored: Any = root[array.path]
        place = {"driver": "file", "path": f"{folder}/{array.path}/"}
        other = tensorstore.open({"driver": "zarr3", "kvstore": place}).result()
        assert stored.chunks[-len(array.chunk_shape) :] == array.chunk_shape
        seen = stored[:]
        np.testing.assert_array_equal(other.read().result(), seen)
        for sample in split:
            row = sample.item["shard"] * split.spec.shard_samples + sample.item["row"]
            ours = sample.get(array.path)
            expected = np.full(array.sample_shape, fill_value(array), array.dtype) if ours is None else ours
            np.testing.assert_array_equal(seen[row], expected)
        if array.bands_per_chunk:
            np.testing.assert_array_equal(stored[..., -1, :, :], seen[..., -1, :, :])
    opened = xr.open_zarr(folder, group="sentinel2", consolidated=False, mask_and_scale=False)
    np.testing.assert_array_equal(opened.bands_10m.values, root["sentinel2/bands_10m"][:])


@settings(max_examples=60, deadline=None)
@given(
    bands=st.integers(2, 9), each=st.integers(1, 8), dates=st.integers(0, 3), rows=st.integers(1, 4),
    dtype=st.sampled_from(["uint8", "int16", "float32"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, bands: int, each: int, dates: int, rows: int, dtype: str, seed: int
) -> None:
    each, rng = min(each, bands - 1), np.random.default_rng(seed)
    shape = (*([dates] if dates else []), bands, 3, 5)
    model = made().dataset.group("landsat").arrays[0]
    array = dataclasses.replace(
        model, dims=("sample", *(["time"] if dates else []), "band", "y", "x"), sample_shape=shape, dtype=dtype,
        nodata=7.0, bands=model.bands[:1] * bands, bands_per_chunk=each,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("array")
    (folder / array.object(0)).parent.mkdir(parents=True)
    pixels = rng.integers(0, 100, (rows, max(dates, 1), bands, 3, 5)).astype(dtype)
    present = rng.random((rows, max(dates, 1))) < 0.7
    with (folder / array.object(0)).open("wb") as file:
        writer = _ArrayWriter(file, array, rows, PackWriter(folder, 0, made().dataset))
        for row, slot in np.argwhere(present):
            writer.add(int(row), int(slot), pixels[row, slot])
        writer.close()
    reader = ShardReader(LocalStore(str(folder)), rows)
    pixels[~present] = 7
    for row in range(rows):
        out = np.empty(shape, dtype)
        reader.read(array, (0, row), present[row].tolist(), out, "s")
        np.testing.assert_array_equal(out, pixels[row] if dates else pixels[row, 0])
    entries = reader.index(array, 0).reshape(-1, 2).astype(np.int64)
    starts = entries[reader.index(array, 0).reshape(-1, 2)[:, 0] != codec.ABSENT, 0]
    assert (np.diff(starts) > 0).all()  # a sample is one range


def test_a_few_bands_cost_their_chunks(split: landweave.Dataset) -> None:
    array = split.arrays["landsat/bands_30m"]
    lengths = split._reader.index(array, 0)[0, :, 1].tolist()  # sample 0: two dates of 7 bands
    how: dict[str, Any] = {"arrays": ["landsat/bands_30m"], "times": "last"}
    with bucket(_folder(split)) as served:
        remote = landweave.open(served.url)
        remote.samples([1], **how)  # the index is known then
        for wanted in ([0], [2, 3, 4], [6, 5], list(range(7))):  # each other bytes than those before
            before = set(served.asked)
            names = [array.bands[i].name for i in wanted]
            found = remote.samples([0], **how, bands={"landsat": names})
            np.testing.assert_array_equal(
                found["landsat/bands_30m"][0, 0], split.sample(0)["landsat/bands_30m"][1][wanted]
            )
            new = [key for key in served.asked if key not in before]
            (span,) = [asked for path, asked in new if path.endswith(array.object(0))]
            first, last = (int(n) for n in span.removeprefix("bytes=").split("-"))
            assert last + 1 - first == sum(lengths[7 + i] for i in wanted)


def test_chunks_of_some_bands_lie_side_by_side_too(tmp_path: Path) -> None:
    how: dict[str, Any] = {"sources": ("sentinel2", "landsat"), "size_m": 60.0}
    plan = planned((3, 1), **how, requests=2, bands_per_chunk={"sentinel2": 3, "landsat": 1})
    local = landweave.open(plan.build(tmp_path / "out"))
    assert list(check(local)) == []
    assert {"landsat/bands_30m", "sentinel2/bands_60m"} <= set(local.spec.packed)
    with bucket(tmp_path / "out") as served:
        remote = landweave.open(served.url)
        kept = landweave.open(served.url, cache_dir=str(tmp_path / "cache"))
        for view in ({}, {"bands": {"landsat": ["SR_B5", "SR_B2"], "sentinel2": ["B08", "B02"]}, "times": "last"}):
            for data in (remote, kept, kept):
                same(data.samples([0, 2], **view), local.samples([0, 2], **view))
        for name in local.arrays:
            np.testing.assert_array_equal(remote.sample(2).get(name), local.sample(2).get(name))


def test_damage_of_a_chunk_is_that_of_its_bands(split: landweave.Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(_folder(split), copy)
    array = split.arrays["sentinel2/bands_10m"]
    start, length = (int(n) for n in split._reader.index(array, 0)[0, 1])  # the fourth band of the first date
    path = copy / array.object(0)
    raw = bytearray(path.read_bytes())
    raw[start + length // 2] ^= 1
    path.write_bytes(raw)
    data = landweave.open(copy)
    how: dict[str, Any] = {"arrays": ["sentinel2/bands_10m"]}
    sound, hurt = ([b.name for b in array.bands[part]] for part in (slice(3), slice(3, 4)))
    found = data.samples([0], **how, bands={"sentinel2": sound})
    np.testing.assert_array_equal(found["sentinel2/bands_10m"][0], split.sample(0)["sentinel2/bands_10m"][:, :3])
    for bands in (hurt, [*sound, *hurt]):
        with pytest.raises(landweave.CorruptError, match=r"sample s000_000: sentinel2/bands_10m .* crc32c"):
            data.samples([0], **how, bands={"sentinel2": bands})
    assert [fault for fault in check(data) if array.object(0) in fault]


def test_a_chunk_that_is_lacking_is_one_fault(split: landweave.Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(_folder(split), copy)
    array = split.arrays["enmap/bands_30m"]
    entries = split._reader.index(array, 0).copy()
    entries[0, 1:3] = codec.ABSENT
    path = copy / array.object(0)
    index = codec.encode_index(entries.reshape(-1, 2))
    path.write_bytes(path.read_bytes()[: -len(index)] + index)
    data = landweave.open(copy)
    assert len([fault for fault in check(data) if "lacks row 0 slot 0" in fault]) == 1
    with pytest.raises(landweave.CorruptError, match="in the catalogue but not in shard 0"):
        data.sample(0)["enmap/bands_30m"]
    first = [b.name for b in array.bands[:100]]
    data.samples([0], arrays=["enmap/bands_30m"], bands={"enmap": first})


def test_older_readers_refuse_it_and_forms_that_cannot_be_are_refused(split: landweave.Dataset) -> None:
    assert json.loads((_folder(split) / "landweave.json").read_text())["layout"] == split.spec.layout == 4
    said = spec_to_json(split.spec)
    assert spec_from_json(said) == dataclasses.replace(split.spec, recipe="{}")
    for path, wrong in (
        ("sentinel2/bands_10m", 4), ("sentinel2/bands_10m", True),
        ("sentinel2/bands_10m", 1.5), ("sentinel2/scl", 1), ("dem/elevation", 1), ("enmap/bands_30m", -1),
    ):  # fmt: skip
        group, _, name = path.partition("/")
        spoilt = json.loads(json.dumps(said))
        (array,) = (a for g in spoilt["groups"] if g["name"] == group for a in g["arrays"] if a["name"] == name)
        array["bands_per_chunk"] = wrong
        with pytest.raises(landweave.CorruptError, match="bands_per_chunk"):
            spec_from_json(spoilt)


def test_an_addition_brings_its_chunks(tmp_path: Path) -> None:
    plan = planned((2, 1), sources=("dem",), size_m=120.0)
    base = plan.build(tmp_path / "base")
    extra = planned((2, 1), sources=("landsat",), size_m=120.0, bands_per_chunk={"landsat": 2}, name="more")
    more = landweave.open(extra.build(tmp_path / "more"))
    assert json.loads((base / "landweave.json").read_text())["layout"] == 1
    add(base, str(tmp_path / "more"))
    data = landweave.open(base)
    assert json.loads((base / "landweave.json").read_text())["layout"] == 4
    assert list(check(data)) == []
    for sample in more:
        for name in more.modalities["landsat"].arrays:
            np.testing.assert_array_equal(data.sample(sample.id).get(name.path), sample.get(name.path))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"sentinal2": 1}, "'sentinal2' is no source of this recipe; layers with several bands in an array"),
        ({"worldcover": 1}, "'worldcover' is a label"),
        ({"dem": 1}, "'dem' has one band per array"),
        ({"sentinel2.bands_10m": 1}, "it holds for all arrays of a layer; write sentinel2"),
        ({"sentinel2": 0}, "greater than or equal to 1"),
    ],
)
def test_entries_that_mean_nothing_are_refused(entry: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recipe(bands_per_chunk=entry)


def test_an_index_that_readers_would_wait_for_is_refused_before_anything_is_fetched() -> None:
    def of(bands: int, samples: int) -> Recipe:
        return recipe(sources=("enmap", "sentinel2"), bands_per_chunk={"enmap": bands, "sentinel2": 1}, samples=samples)

    assert large_index(of(1, 2_048), 2_048) is None
    said = large_index(of(1, 4_096), 4_096)
    assert said == (
        "shards.bands_per_chunk.enmap: 1: the index of enmap/bands_30m would have 29.4 MB in each shard (4,096 samples "
        "x 2 dates x 224 chunks), and readers fetch it before the first sample; at most 16.8 MB: write enmap: 2, or "
        "fewer shards.samples"
    )
    assert large_index(of(2, 4_096), 4_096) is None


def test_the_number_that_is_proposed_is_enough_for_all_arrays_of_the_layer() -> None:
    said = large_index(recipe(bands_per_chunk={"sentinel2": 1}), 200_000)
    assert said is not None
    assert "sentinel2/bands_20m" in said
    assert "write sentinel2: 3, or" in said
    assert large_index(recipe(bands_per_chunk={"sentinel2": 2}), 200_000) is not None
    assert large_index(recipe(bands_per_chunk={"sentinel2": 3}), 200_000) is None


def test_bands_that_fit_into_a_chunk_are_not_split() -> None:
    plain, wide = made().dataset, made(bands_per_chunk={"sentinel2": 6, "enmap": 224}).dataset
    assert [a for g in wide.groups for a in g.arrays] == [a for g in plain.groups for a in g.arrays]
    assert wide.layout == 1
