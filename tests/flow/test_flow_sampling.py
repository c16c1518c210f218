"""Samples drawn from a map's objects, published splits and texts of a file: planned, built and read back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

import landweave
import testbed
from tests.flow.job import CHECKOUT, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flow")]

FRAME = {"tags.building": "*"}, {"tags.landuse": "farmland"}
DRAWN: dict[str, Any] = {
    "sampling": {
        "kind": "draw",
        "count": 6,
        "from": {"file": "objects.parquet", "at": "centre", "categories": {"house": FRAME[0], "farm": FRAME[1]}},
        "balance": ["category"],
        "attributes": ["osm_id"],
        "area": {"file": "aoi.geojson"},
    },
    "splits": {"by": "folds", "folds": 2, "edge_m": 2000},
}
STATED: dict[str, Any] = {
    "sampling": {"kind": "points", "file": "places.csv"},
    "splits": {"by": "attr_part", "train": ["a"], "test": ["b"]},
    "captions": {"kind": "column", "column": "text"},
    "quality": {"require": {"dem": "all"}, "keep": ["dem.elevation[centre] > -100"]},
}
RECIPE: dict[str, Any] = {
    "seed": 7,
    "grid": {"size_m": 480},
    "providers": {"es": {"url": "$LANDWEAVE_TESTBED/earth-search/v1", "dialect": "earth-search"}},
    "sources": [{"kind": "dem", "providers": ["es"]}],
}
PLACES = 'lon,lat,sample_id,part,text\n11.97,48.50,one,a,"A field, and a wood"\n11.98,48.51,two,b,\n'


@pytest.fixture(scope="module")
def folder(earth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("frames")
    shutil.copy(earth / "aoi.geojson", found)
    (found / "places.csv").write_text(PLACES)
    words = [sys.executable, "-m", "pipelines", "objects", earth / "osm" / "planet.osm.pbf", found / "objects.parquet"]
    subprocess.run(words, cwd=CHECKOUT, check=True)
    return found


def built(earth: Path, folder: Path, sections: dict[str, Any], name: str) -> tuple[landweave.Dataset, str]:
    with (folder / f"{name}.yaml").open("w") as file:
        YAML(typ="safe").dump(RECIPE | {"name": name} | sections, file)
    with testbed.serve(earth) as services:
        done = run(services, "build", folder / f"{name}.yaml", folder / name)
    assert done.returncode == 0, done.stdout + done.stderr
    check = [sys.executable, "-m", "landweave", "check", str(folder / name)]
    checked = subprocess.run(check, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return landweave.open(folder / name), done.stdout + done.stderr


def test_objects_of_a_map_in_balance(earth: Path, folder: Path) -> None:
    dataset, said = built(earth, folder, DRAWN, "drawn")
    items = [sample.item for sample in dataset]
    assert sorted(item["stratum"] for item in items) == ["category=farm"] * 3 + ["category=house"] * 3
    assert all(item["attr_osm_id"][0] in "nwr" for item in items)
    assert {(item["attr_fold"], item["split"]) for item in items} <= {(0, "test"), (1, "train")}
    assert "leakage   train and test" in said


def test_a_rule_refuses_with_its_reason(earth: Path, folder: Path) -> None:
    rules = {"quality": {"keep": ["share(dem.elevation < 9000) == 1 and dem.elevation[centre] > 9000"]}}
    with (folder / "strict.yaml").open("w") as file:
        YAML(typ="safe").dump(RECIPE | {"name": "strict"} | STATED | rules, file)
    with testbed.serve(earth) as services:
        done = run(services, "build", folder / "strict.yaml", folder / "strict")
    assert "Traceback" not in done.stderr, done.stderr
    assert "no sample was kept" in done.stdout + done.stderr
    ledgers = [pq.read_table(path) for path in sorted((folder / "strict" / "parts" / "ledger").glob("*.parquet"))]
    rows = [row for table in ledgers for row in table.to_pylist()]
    refused = [row["detail"] for row in rows if row["reason"] == "sample_refused"]
    assert len(refused) == 2
    assert all(detail.startswith("quality.keep: dem.elevation[centre] > 9000: found ") for detail in refused)


def test_published_splits_and_texts(earth: Path, folder: Path) -> None:
    dataset, said = built(earth, folder, STATED, "stated")
    samples = {sample.id: sample for sample in dataset}
    assert {name: sample.item["split"] for name, sample in samples.items()} == {"one": "train", "two": "test"}
    assert [c.text for c in samples["one"].captions] == ["A field, and a wood"]
    assert samples["one"].captions[0].captioner == "column"
    assert not samples["two"].captions
    assert "captions: 1 of 2 samples have no text (column text)" in said
    assert "caption_refused 1" in said
