"""Exports: read back by each format's own library, whole or not there, the same bytes after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import landweave
from landweave.__main__ import main
from landweave.export import ABOUT, FORMATS, export
from landweave.record import record
from landweave.render import picture
from tests.export.readback import checksum
from tests.shards.synthetic import planned

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine samples in three splits; sample 1 lacks EnMAP and a label, sample 2 Sentinel-1 and a date of Sentinel-2."""
    plan = planned((4, 3, 3), sources=("sentinel2", "sentinel1", "enmap", "dem"), size_m=60.0)
    return plan.build(tmp_path_factory.mktemp("export") / "data")


@pytest.fixture(scope="module")
def data(source: Path) -> landweave.Dataset:
    return landweave.open(source)


@pytest.fixture(scope="session")
def loaders() -> Path:
    """The interpreter that has all the libraries; made once in the user's cache, from PyPI."""
    from benchmarks.loading_venv import make

    return make()


def command(python: Path | str, *arguments: object) -> str:
    done = subprocess.run(
        [str(python), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def tree(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "more"),
    [("webdataset", {}), ("mds", {}), ("mds", {"compression": "zstd"}), ("litdata", {}),
     ("litdata", {"compression": "zstd"}), ("parquet", {})],
)  # fmt: skip
def test_read_back_by_its_own_library(
    source: Path, data: landweave.Dataset, loaders: Path, tmp_path: Path, form: str, more: dict[str, str]
) -> None:
    """Pixel for pixel; what was not obtained is not there; captions and metadata say what the catalogue says."""
    code = "import sys, landweave.export as e, landweave as l; d = l.open(sys.argv[1])\n"
    code += f"for out in sys.argv[2:]: e.export(d, {form!r}, out, file_bytes=300_000, **{more!r})"
    out = tmp_path / "out"
    command(loaders, "-c", code, source, out, tmp_path / "again")
    assert tree(out) == tree(tmp_path / "again")
    said = command(loaders, Path(__file__).with_name("readback.py"), form, out)
    found = {f["id"]: f for f in (json.loads(line[6:]) for line in said.splitlines() if line.startswith("FOUND "))}
    assert list(found) == data.query().ids
    for sample in data:
        got = found[sample.id]
        expected = {}
        for array in data.spec.arrays:
            pixels = sample.get(array.path)
            if pixels is not None:
                obtained = pixels[np.array(sample.present[array.group])] if array.dated else pixels
                expected[array.path.replace("/", ".")] = checksum(obtained)
        assert got["arrays"] == expected
        assert got["captions"] == [c.text for c in sample.captions]
        assert got["split"] == sample.split
        assert got["metadata"]["present"] == {k: list(v) for k, v in sample.present.items()}
        assert got["metadata"]["epsg"] == sample.epsg
        assert got["metadata"]["sentinel2_datetimes"] == sample.item["sentinel2_datetimes"]
        assert got["metadata"]["worldcover_labelled"] == sample.item["worldcover_labelled"]
        assert got["metadata"]["transforms"]["dem.elevation"] == list(sample.transform("dem/elevation"))
    absent = found["s000_001"]
    assert not any(name.startswith(("enmap", "dynamicworld")) for name in absent["arrays"])
    assert absent["metadata"]["present"]["enmap"] == [False, False]


def test_an_export_that_was_killed_goes_on_and_has_the_same_bytes(data: landweave.Dataset, tmp_path: Path) -> None:
    whole = export(data, "parquet", tmp_path / "whole", file_bytes=1)

    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(data, "parquet", tmp_path / "out", file_bytes=1, progress=stop)
    assert not (tmp_path / "out").exists()
    (staging,) = tmp_path.glob(".out.*.partial")
    assert sorted(p.name for p in staging.glob("train-*")) == [f"train-{i:06d}" for i in range(3)]
    kept = (staging / "train-000001" / "part.parquet").stat().st_ino
    shutil.rmtree(staging / "train-000002")
    (staging / "train-000002.writing").mkdir()
    (staging / "train-000002.writing" / "part.parquet").write_bytes(b"half")
    export(data, "parquet", tmp_path / "out", file_bytes=1)
    assert tree(tmp_path / "out") == tree(whole)
    assert (tmp_path / "out" / "data" / "train-00001-of-00003.parquet").stat().st_ino == kept, "what is whole is kept"
    assert list(tmp_path.glob(".out.*")) == []


def test_a_damaged_shard_leaves_nothing_visible(source: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "data"
    shutil.copytree(source, spoilt)
    victim = next(p for p in (spoilt / "data.zarr/sentinel2/bands_10m/c/0").rglob("*") if p.is_file())
    raw = bytearray(victim.read_bytes())
    raw[100] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(landweave.CorruptError, match="sentinel2/bands_10m"):
        export(landweave.open(spoilt), "parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_parquet_has_pictures_of_a_layer(data: landweave.Dataset, loaders: Path, tmp_path: Path) -> None:
    out = export(data, "parquet", tmp_path / "out", arrays=["dem"], image="sentinel1")
    read = (
        "import sys, datasets, numpy, json\n"
        "found = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "rows = [r for split in found.values() for r in split]\n"
        "print(json.dumps({r['id']: None if r['image'] is None else numpy.asarray(r['image']).tolist() for r in rows}))"
    )
    shown = json.loads(command(loaders, "-c", read, out, tmp_path / "cache").splitlines()[-1])
    group = next(g for g in data.spec.groups if g.name == "sentinel1")
    for sample in data:
        slot = next((i for i, there in enumerate(sample.present["sentinel1"]) if there), None)
        assert shown[sample.id] == (None if slot is None else picture(sample, group, slot).tolist())
    with pytest.raises(landweave.LandweaveError, match="option of parquet"):
        export(data, "geotiff", tmp_path / "x", image="sentinel1")
    with pytest.raises(landweave.LandweaveError, match="sentinel1"):
        export(data, "parquet", tmp_path / "x", image="sentinel")


def test_parquet_and_its_card(data: landweave.Dataset, tmp_path: Path) -> None:
    """What a reader without `datasets` sees, and what the Hub reads."""
    from ruamel.yaml import YAML

    chosen = data.query("sentinel2_count == 2", split=["train", "val"])
    out = export(data, "parquet", tmp_path / "out", selection=chosen, arrays=["sentinel2/bands_20m", "worldcover"])
    card = (out / "README.md").read_text()
    head = YAML(typ="safe").load(card.split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    assert head["size_categories"] == ["n<1K"]
    assert [f["split"] for f in head["configs"][0]["data_files"]] == ["train", "validation"]
    assert "ODbL-1.0" in card
    table = pq.read_table(out / "data" / "train-00000-of-00001.parquet")
    assert table.column_names[6:] == ["sentinel2.bands_20m", "worldcover.classes"]
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["sentinel2.bands_20m"] == {"shape": [None, 6, 3, 3], "dtype": "uint16", "_type": "Array4D"}
    for row in table.to_pylist():
        sample = data.sample(row["id"])
        np.testing.assert_array_equal(row["sentinel2.bands_20m"], sample["sentinel2/bands_20m"])
        assert json.loads(row["metadata"])["licences"] == sample.item["licences"]
    about = json.loads((out / ABOUT).read_text())
    assert about["samples"] == len(chosen)
    assert str(tmp_path) not in json.dumps(about)


def test_a_record_holds_the_dates_that_were_obtained(data: landweave.Dataset) -> None:
    made = record(data.sample("s000_002"), data.spec.arrays)
    assert made.arrays["sentinel1.backscatter"] is None
    bands = made.arrays["sentinel2.bands_10m"]
    assert bands is not None
    np.testing.assert_array_equal(bands, data.sample("s000_002")["sentinel2/bands_10m"][1:])
    assert made.metadata["present"]["sentinel2"] == [False, True]


def test_one_clear_line(
    source: Path, data: landweave.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    cases = {
        (str(source), str(tmp_path / "there")): "already exists",
        (str(source), str(tmp_path / "x"), "--where", "lat > 89.9"): "selection is empty",
        (str(source), str(tmp_path / "x"), "--arrays", "sentinel9"): "no modality, label or array 'sentinel9'",
        (str(tmp_path), str(tmp_path / "x")): "no dataset here",
    }
    for arguments, expected in cases.items():
        assert main(["export", "parquet", *arguments]) == 1
        said = capsys.readouterr().err
        assert expected in said
        assert said.count("\n") == 1
    with pytest.raises(landweave.LandweaveError, match="no format 'npz'"):
        export(data, "npz", tmp_path / "x")
    assert main(["export", "parquet", str(source), str(tmp_path / "x"), "--split", "val", "--arrays", "dem"]) == 0
    assert "3 of 9 samples as parquet" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    assert "example: landweave export parquet" in capsys.readouterr().out


def test_a_missing_library_is_named(data: landweave.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed, it is hidden; nothing else of the export is touched."""
    monkeypatch.setattr(sys, "path", [str(CHECKOUT)])
    sys.path_importer_cache.clear()
    for form in ("mds", "litdata", "webdataset"):
        with pytest.raises(landweave.LandweaveError, match=rf"pip install '\.\[{form}\]'"):
            export(data, form, tmp_path / "x")
    assert set(FORMATS) == {"webdataset", "mds", "litdata", "parquet", "geotiff", "geoparquet", "chat"}
