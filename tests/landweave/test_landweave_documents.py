"""The card, Croissant and citation of a dataset: read by their own tools, true, and safe with any name."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import mlcroissant
import pytest
from ruamel.yaml import YAML

import landweave
from landweave.documents import CARD, CITATION, CROISSANT, card, citation, croissant, documents


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def test_a_build_ends_with_them(data: landweave.Dataset, dataset_path: Path) -> None:
    for name, text in documents(data.manifest).items():
        assert (dataset_path / name).read_text() == text
    assert {CARD, CROISSANT, CITATION} == set(documents(data.manifest))


def test_croissant_is_valid_and_gives_the_samples(dataset_path: Path, data: landweave.Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset_path / "catalogue", tmp_path / "catalogue")
    shutil.copy(dataset_path / CROISSANT, tmp_path)
    dataset = mlcroissant.Dataset(jsonld=tmp_path / CROISSANT)
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records(record_set="samples"))
    assert [row["samples/id"].decode() for row in rows] == data.query().ids
    assert [row["samples/split"].decode() for row in rows] == data.query().column("split")


def test_the_card_has_a_head_that_the_hub_reads_and_every_layer(data: landweave.Dataset, dataset_path: Path) -> None:
    text = (dataset_path / CARD).read_text()
    head = YAML(typ="safe").load(text.split("---")[1])
    assert head["configs"][0]["data_files"] == data.spec.at("catalogue/items.parquet")
    assert head["size_categories"] == ["n<1K"]
    for array in data.arrays:
        assert f"`{array}`" in text
    for group in data.spec.groups:
        assert f"| `{group.name}` | {group.licence} |" in text


def test_conflicts_are_named(data: landweave.Dataset) -> None:
    stated = dataclasses.replace(data.manifest, spec=dataclasses.replace(data.spec, licence="CC0-1.0"))
    assert "ODbL-1.0 for a database" in card(stated)
    unstated = dataclasses.replace(data.manifest, spec=dataclasses.replace(data.spec, licence="proprietary"))
    assert "Conflicts" not in card(unstated)


def test_the_citation_is_yaml_with_every_source(data: landweave.Dataset) -> None:
    found = YAML(typ="safe").load(citation(data.manifest))
    assert found["cff-version"] == "1.2.0"
    assert [r["title"] for r in found["references"]] == [g.title for g in data.spec.groups]


def test_any_name_stays_data(data: landweave.Dataset) -> None:
    evil = "x\n---\n# <script>alert(1)</script> \x1b[2J | [a](javascript:b) \u202e"
    spec = dataclasses.replace(data.spec, description=evil, name="x", licence=evil)
    made = dataclasses.replace(data.manifest, spec=spec, attribution=(evil,))
    for text in (card(made), json.dumps(croissant(made)), citation(made)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    words = card(made)
    body = re.split(r"(?m)^---$", words)[2]
    assert "<script>" not in words
    assert "](javascript" not in body
    assert YAML(typ="safe").load(re.split(r"(?m)^---$", words)[1])["pretty_name"] == "x"
    assert YAML(typ="safe").load(citation(made))["title"] == "x"
