"""Attributes from the plan to whoever reads: catalogue, STAC, queries, samples, batches, exports, revisions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
import stac_geoparquet.arrow

import landweave
from landweave.__main__ import main
from landweave.check import check
from landweave.layout import AttributeSpec
from landweave.layout_json import spec_from_json, spec_to_json
from landweave.record import record
from pipelines.shards import add
from schemas.recipe import Recipe
from tests.shards.synthetic import ATTRIBUTES, HOSTILE, attributes, planned
from tests.shards.test_shards_stac import validator

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = (3, 2)
PLAN = planned(COUNTS, sources=("dem",), size_m=60.0, attributes=True)
KEPT = {f"s{s:03d}_{r:03d}": dict(attributes(s, r)) for s, count in enumerate(COUNTS) for r in range(count)}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return PLAN.build(tmp_path_factory.mktemp("attributes") / "out")


@pytest.fixture(scope="module")
def data(out: Path) -> landweave.Dataset:
    return landweave.open(out)


def test_every_sample_says_what_the_file_said(out: Path, data: landweave.Dataset) -> None:
    assert {s.id: s.attributes for s in data} == KEPT
    assert data.spec.attributes == tuple(AttributeSpec(name=n, dtype=t) for n, t in ATTRIBUTES.items())
    kinds = {n: str(data.catalogue.schema.field(f"attr_{n}").type).replace("double", "float64") for n in ATTRIBUTES}
    assert kinds == ATTRIBUTES
    assert list(check(data)) == []


@pytest.mark.parametrize(
    ("where", "keeps"),
    [
        ("attr_biomass > 100", lambda a: (a["biomass"] or 0) > 100),
        ("attr_checked", lambda a: a["checked"]),
        ("attr_species is None and attr_plots >= 0", lambda a: a["species"] is None),
        ({"attr_species": HOSTILE}, lambda a: a["species"] == HOSTILE),
        (f"attr_plots == {2**53 + 1}", lambda a: a["plots"] == 2**53 + 1),
    ],
)
def test_queries(data: landweave.Dataset, where: Any, keeps: Any) -> None:
    assert data.query(where).ids == [name for name, a in KEPT.items() if keeps(a)]


def test_sql_and_frames(data: landweave.Dataset) -> None:
    assert data.sql("attr_biomass > 100 and attr_checked").ids == ["s001_000"]
    frame = data.query(split="train").to_geodataframe(["id", "attr_biomass", "attr_species"])
    assert frame["attr_species"].fillna("").tolist() == [HOSTILE, "", HOSTILE]


def test_batches_have_one_type_whatever_samples_are_in_them(data: landweave.Dataset) -> None:
    columns = [f"attr_{n}" for n in ATTRIBUTES]
    batches = list(data.stream(batch_size=1, arrays=["dem"], columns=columns))
    assert {str(b["attr_biomass"].dtype) for b in batches} == {str(b["attr_checked"].dtype) for b in batches}
    together = {name: np.concatenate([b[name] for b in batches]) for name in columns}
    assert together["attr_checked"].dtype == np.float64
    assert np.isnan(together["attr_checked"]).tolist() == [a["checked"] is None for a in KEPT.values()]
    assert together["attr_plots"].tolist() == [a["plots"] for a in KEPT.values()]
    assert together["attr_species"].tolist() == [a["species"] for a in KEPT.values()]


def test_they_are_properties_of_valid_stac_items(out: Path) -> None:
    table = pq.read_table(out / "catalogue" / "items.parquet")
    items = [json.loads(json.dumps(i)) for i in stac_geoparquet.arrow.stac_table_to_items(table)]
    collection = json.loads((out / "catalogue" / "collection.json").read_text())
    validator("collection").validate(collection)
    for item in items:
        validator("item").validate(item)
        for name, value in KEPT[item["id"]].items():
            assert item["properties"].get(f"attr_{name}") == value
            jsonschema.validate(value, collection["summaries"][f"attr_{name}"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("a", collection["summaries"]["attr_biomass"])


def test_text_goes_nowhere_else(out: Path, data: landweave.Dataset) -> None:
    for item in data.catalogue.read().to_pylist():
        assert HOSTILE not in json.dumps({k: v for k, v in item.items() if not k.startswith("attr_")}, default=str)
    told = HOSTILE.encode()[:20]
    files = {p.relative_to(out).parts[:2] for p in out.rglob("*.json") if told in p.read_bytes()}
    assert files == {("catalogue", "stac")}  # the items' properties


def test_exports_and_info_have_them(out: Path, data: landweave.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = record(data.sample("s001_000"), data.spec.arrays).metadata
    assert metadata["attr_biomass"] == 100.5
    assert metadata["attr_species"] == HOSTILE
    assert main(["info", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attributes"] == ATTRIBUTES
    assert main(["info", str(out)]) == 0
    assert "biomass float64, checked bool" in capsys.readouterr().out


def test_they_stay_when_something_is_added(tmp_path: Path) -> None:
    base = PLAN.build(tmp_path / "data")
    more = planned(COUNTS, sources=("landsat",), size_m=60.0, labels=False, name="more").build(tmp_path / "more")
    add(base, str(more))
    grown = landweave.open(base)
    assert {s.id: s.attributes for s in grown} == KEPT
    assert (list(grown.modalities), list(check(grown))) == (["dem", "landsat"], [])


def test_they_are_added_to_a_dataset_that_has_none(tmp_path: Path) -> None:
    base = planned(COUNTS, sources=("landsat",), size_m=60.0, labels=False, name="bare").build(tmp_path / "data")
    add(base, str(PLAN.build(tmp_path / "more")))
    grown = landweave.open(base)
    assert {s.id: s.attributes for s in grown} == KEPT
    assert list(check(grown)) == []
    collection = json.loads((base / "catalogue" / "collection.r1.json").read_text())
    assert {a.column for a in grown.spec.attributes} <= set(collection["summaries"])


def test_a_form_without_attributes_is_written_as_before() -> None:
    assert spec_from_json(spec_to_json(PLAN.dataset)).attributes == PLAN.dataset.attributes
    without = planned(COUNTS, sources=("dem",), size_m=60.0).dataset
    assert "attributes" not in spec_to_json(without)
    assert spec_from_json(spec_to_json(without)).attributes == ()


def test_no_label_takes_their_name() -> None:
    made = planned(COUNTS, sources=("dem",)).dataset
    recipe = json.loads(made.recipe)
    entry = {"code": 1, "name": "a", "common": "trees"}
    recipe["labels"] = [{"kind": "raster", "name": "attr", "product": "p", "providers": ["earth"],
                         "collection": "c", "classes": [entry]}]  # fmt: skip
    with pytest.raises(ValueError, match="'attr' is the prefix of"):
        Recipe.model_validate(recipe)
