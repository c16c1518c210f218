"""A flipped byte, a missing or short file, a dataset half built: found by check and by reading, told in one line."""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import landweave
from landweave import codec
from landweave.check import check
from landweave.documents import EDITED
from landweave.layout import CodecSpec
from landweave.manifest import seal
from tests.hostile.datasets import resealed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def copy(dataset_path: Path, tmp_path: Path) -> Path:
    shutil.copytree(dataset_path, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path, position: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 0x10
    path.write_bytes(raw)


def test_a_sound_dataset_has_no_fault(dataset_path: Path) -> None:
    assert list(check(landweave.open(dataset_path))) == []


@pytest.mark.slow
def test_a_flipped_byte_anywhere_is_found_by_check(copy: Path) -> None:
    rng = random.Random(1)
    files = sorted(p for p in copy.rglob("*") if p.is_file() and p.stat().st_size and p.name not in EDITED)
    for path in [*rng.sample(files, 30), *(copy / n for n in ("landweave.json", "shards/00002.json", "recipe.json"))]:
        sound = path.read_bytes()
        flip(path, rng.randrange(len(sound)))
        try:
            faults = list(check(landweave.open(copy)))
        except landweave.LandweaveError as error:
            faults = [str(error)]
        name = str(path.relative_to(copy))
        assert any(name in f for f in faults), f"{name}: {faults}"
        assert all("\n" not in f for f in faults)
        path.write_bytes(sound)


def test_a_flipped_byte_anywhere_in_a_shard_is_found_by_reading(copy: Path) -> None:
    path = copy / "data.zarr/sentinel2/bands_20m/c/1/0/0/0/0"
    sound = path.read_bytes()
    for position in random.Random(2).sample(range(len(sound)), 20):
        flip(path, position)
        data = landweave.open(copy)
        told = []
        for row in range(4):
            try:
                data.sample(f"s001_{row:03d}").get("sentinel2/bands_20m")
            except landweave.CorruptError as error:
                told.append(str(error))
        assert told, f"byte {position}"
        assert all("sentinel2/bands_20m" in t and "landweave check" in t for t in told)
        path.write_bytes(sound)


def test_the_sample_is_named(copy: Path) -> None:
    flip(copy / "data.zarr/dem/elevation/c/0/0/0/0", 30)
    data = landweave.open(copy)
    with pytest.raises(landweave.CorruptError, match=r"sample s000_000: dem/elevation in shard 0: crc32c of the chunk"):
        data.sample("s000_000")["dem/elevation"]
    assert data.sample("s000_001")["dem/elevation"].shape == (1, 4, 4)
    with pytest.raises(landweave.CorruptError, match="sample s000_000"):
        list(data.stream(batch_size=4, arrays=["dem"]))


def test_truncated_and_missing_objects(copy: Path) -> None:
    path = copy / "data.zarr/sentinel1/backscatter/c/2/0/0/0/0"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(landweave.CorruptError, match="crc32c of the shard index"):
        landweave.open(copy).sample("s002_000")["sentinel1/backscatter"]
    path.write_bytes(b"short")
    with pytest.raises(landweave.CorruptError, match="shard index has 5 bytes"):
        landweave.open(copy).sample("s002_000")["sentinel1/backscatter"]
    path.unlink()
    with pytest.raises(landweave.CorruptError, match="is missing"):
        landweave.open(copy).sample("s002_000")["sentinel1/backscatter"]
    (copy / "shards/00002.json").unlink()
    assert list(check(landweave.open(copy))) == ["shards/00002.json: is missing"]
    (copy / "vectors/openstreetmap/00000.parquet").unlink()
    with pytest.raises(landweave.CorruptError, match=r"openstreetmap/00000\.parquet is missing"):
        landweave.open(copy).sample("s000_000").vectors()


def test_an_object_cut_short_while_it_is_open(copy: Path) -> None:
    """It may be mapped into memory, where a read past the end would kill the process."""
    data = landweave.open(copy)
    assert data.sample("s000_000")["sentinel1/backscatter"].size
    path = copy / "data.zarr/sentinel1/backscatter/c/0/0/0/0/0"
    os.truncate(path, 0)
    with pytest.raises(landweave.CorruptError, match="sample s000_001: sentinel1/backscatter in shard 0: 0 bytes are"):
        data.sample("s000_001")["sentinel1/backscatter"]
    with pytest.raises(landweave.CorruptError, match="sentinel1/backscatter in shard 0"):
        data.samples(["s000_000", "s000_001"], arrays=["sentinel1/backscatter"])


def test_catalogue_and_shard_that_disagree(copy: Path) -> None:
    path = copy / "catalogue/items.parquet"
    table = pq.read_table(path)
    present = table["enmap_present"] if "enmap_present" in table.column_names else table["sentinel1_present"]
    turned = pa.array([[True, True]] * len(present), present.type)
    pq.write_table(table.set_column(table.column_names.index("sentinel1_present"), "sentinel1_present", turned), path)
    assert any("items.parquet: has" in f or "items.parquet: content" in f for f in check(landweave.open(copy)))
    resealed(copy, "catalogue/items.parquet")
    faults = list(check(landweave.open(copy)))
    assert "shard 0 row 2: catalogue and manifest disagree on sentinel1" in faults
    with pytest.raises(
        landweave.CorruptError, match="sample s000_002: sentinel1/backscatter is in the catalogue but not"
    ):
        landweave.open(copy).sample("s000_002")["sentinel1/backscatter"]


def test_doubled_samples_and_split_blocks(copy: Path) -> None:
    path = copy / "catalogue/items.parquet"
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table.slice(0, 1), table.slice(0, table.num_rows - 1)]), path)
    resealed(copy, "catalogue/items.parquet")
    (fault,) = check(landweave.open(copy))
    assert "it contains a sample twice" in fault
    blocks = pa.array(["one block"] * table.num_rows)
    pq.write_table(table.set_column(table.column_names.index("block"), "block", blocks), path)
    resealed(copy, "catalogue/items.parquet")
    assert any("its block one block is in train" in f for f in check(landweave.open(copy)))


def test_layouts_and_places_that_are_no_dataset(copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((copy / "landweave.json").read_text())
    del manifest["sha256"]
    (copy / "landweave.json").write_bytes(seal({**manifest, "layout": 5}))
    with pytest.raises(landweave.LayoutError, match="layout version 5, this landweave reads 1 to 4: install a newer"):
        landweave.open(copy)
    (copy / "landweave.json").write_bytes(seal({**manifest, "layout": 0}))
    with pytest.raises(landweave.LayoutError, match="this version does not know that layout"):
        landweave.open(copy)
    (copy / "landweave.json").write_bytes(b"{}")
    with pytest.raises(landweave.CorruptError, match="is not a manifest"):
        landweave.open(copy)
    (copy / "landweave.json").unlink()
    with pytest.raises(landweave.UnfinishedError, match="not finished"):
        landweave.open(copy)
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(landweave.NotADatasetError, match="no dataset here"):
            landweave.open(nothing)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "bool"])
def test_chunks_round_trip_and_refuse_what_is_not_theirs(dtype: str) -> None:
    settings = CodecSpec(cname="zstd", level=1, shuffle="shuffle")
    pixels = np.random.default_rng(0).integers(0, 2, (3, 20, 20)).astype(dtype)
    data = codec.encode_chunk(pixels[:, ::-1], settings)
    out = np.empty_like(pixels)
    codec.decode_chunk(data, out)
    np.testing.assert_array_equal(out, pixels[:, ::-1])
    for wrong in (data[:-1], data[:10], b"", data + b"x"):
        with pytest.raises(codec.DamageError):
            codec.decode_chunk(wrong, out)
    with pytest.raises(codec.DamageError, match="expected"):
        codec.decode_chunk(data, np.empty((3, 20, 21), dtype))


@pytest.mark.parametrize("name", ["catalogue/items.parquet", "catalogue/ledger.parquet", "vectors/openstreetmap"])
def test_a_flipped_byte_in_a_table_is_found_by_reading(copy: Path, name: str) -> None:
    """Wherever it falls: also in the footer and in the headers of pages, which have no checksum of their own."""
    path = copy / name if name.endswith("parquet") else sorted((copy / name).glob("*.parquet"))[0]
    sound = path.read_bytes()
    for position in random.Random(5).sample(range(len(sound)), 25):
        flip(path, position)
        data = landweave.open(copy)
        with pytest.raises(landweave.CorruptError, match=path.name) as told:
            _ = data.ledger if name.endswith("ledger.parquet") else [(s.item, s.vectors()) for s in data]
        assert "\n" not in str(told.value)
        path.write_bytes(sound)
