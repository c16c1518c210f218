"""Queries answer what a plain loop over the items answers, and a bad one says what is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pytest

import landweave

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def test_dataset_says_what_it_holds(data: landweave.Dataset) -> None:
    assert len(data) == 22
    assert data.splits == {"test": 3, "train": 15, "val": 4}
    assert list(data.modalities) == ["sentinel2", "sentinel1", "landsat", "dem"]
    assert list(data.labels) == ["worldcover", "dynamicworld", "openstreetmap"]
    assert data.arrays["sentinel2/bands_10m"].sample_shape == (2, 4, 12, 12)
    assert data.recipe["name"] == "synthetic"
    mean, std = data.normalisation("sentinel2/bands_10m", "clear")
    assert mean.shape == std.shape == (4,)
    assert (std > 0).all()


@pytest.mark.parametrize(
    ("where", "keeps"),
    [
        ("worldcover_trees > 0.33", lambda i: (i["worldcover_trees"] or 0) > 0.33),
        ("split in ('val', 'test')", lambda i: i["split"] != "train"),
        (
            "split not in ['train'] and sentinel2_count == 2",
            lambda i: i["split"] != "train" and i["sentinel2_count"] == 2,
        ),
        (
            "not (split == 'train' or sentinel1_count < 2)",
            lambda i: i["split"] != "train" and i["sentinel1_count"] == 2,
        ),
        ("worldcover_trees is None", lambda i: i["worldcover_trees"] is None),
        ("worldcover_trees is not None", lambda i: i["worldcover_trees"] is not None),
        ("worldcover_year >= 2021.5", lambda i: i is None),
        ("datetime < '2021-01-15T11:00:00Z'", lambda i: i["datetime"] < datetime(2021, 1, 15, 11, tzinfo=UTC)),
        ({"split": "val", "row": [0, 1]}, lambda i: i["split"] == "val" and i["row"] < 2),
        (pc.field("lat") > 46.97, lambda i: i["lat"] > 46.97),
    ],
)
def test_conditions(data: landweave.Dataset, where, keeps) -> None:
    items = [data.catalogue.item(i) for i in range(len(data))]
    selection = data.query(where)
    assert list(selection) == [i["id"] for i in items if keeps(i)]
    assert len(selection) == selection.table.num_rows
    assert selection.table["id"].to_pylist() == selection.ids


def test_bbox_time_and_columns_together(data: landweave.Dataset) -> None:
    item = data.catalogue.item(3)
    box = item["bbox"]
    touching = (box["xmin"], box["ymin"], box["xmax"], box["ymax"])
    assert data.query(bbox=touching).ids == [item["id"]]
    assert len(data.query(bbox=(170, -90, -170, 90))) == 0
    assert len(data.query(bbox=(170, -90, 16, 90))) == 22
    assert len(data.query(time=("2021-06-01", None))) == 22
    assert len(data.query(time=(None, date(2021, 1, 14)))) == 0
    assert len(data.query(time=("2021-01-15", "2021-01-15"))) == len(
        data.query("sentinel2_count == 2 or landsat_count > 0")
    )
    assert data.query("sentinel2_count == 2", bbox=touching, split="val").ids == []
    assert len(data.query(split=["val", "test"])) == 7


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"where": "trees > 1"}, "no column 'trees'"),
        ({"where": "split >"}, "cannot read the condition"),
        ({"where": "__import__('os').system('x')"}, "cannot read the condition"),
        ({"where": "split == lat"}, "compared with a plain value"),
        ({"where": "0.1 < lat < 0.2"}, "cannot read the condition"),
        ({"where": "split == 5"}, "holds string"),
        ({"where": "lat > 'north'"}, "holds double"),
        ({"where": "datetime > 'soon'"}, "no date or time"),
        ({"bbox": (1, 2, 3)}, "bbox is"),
        ({"bbox": (1, 5, 3, 2)}, "bbox is"),
        ({"time": "2021"}, "time is"),
        ({"time": ("yesterday", None)}, "no date or time"),
        ({"colour": "red"}, "no column 'colour'"),
    ],
)
def test_bad_questions(data: landweave.Dataset, question, says: str) -> None:
    with pytest.raises(landweave.QueryError, match=says):
        data.query(**question)


def test_sample_knows_its_place_and_time(data: landweave.Dataset, plan) -> None:
    stack = next(plan.stacks(plan.shards[1]))
    sample = data.sample(stack.place.sample_id)
    assert sample.transform("sentinel2/bands_20m") == stack.place.geobox.at(20.0).transform
    assert sample.datetimes("sentinel2")[0] == stack.observations["sentinel2", 0].datetime
    assert sample.bands("sentinel2/bands_60m") == ("B01", "B09")
    assert sample.wavelengths("sentinel2/bands_10m").tolist() == [0.49, 0.56, 0.665, 0.842]
    assert sample.captions[0].text == stack.captions[0].text
    assert sample.facts["overall"][0]["name"] == "trees"
    assert sample.legend("worldcover")[0].colour == "#006400"
    assert sample["worldcover"].shape == (12, 12)
    assert data[-1].id == data.query().ids[-1]
    physical = sample.physical("landsat/bands_30m")
    assert physical.dtype == "float32"
    assert ((physical > -0.2) | np.isnan(physical)).all()


def test_unknown_names(data: landweave.Dataset) -> None:
    for ask in (
        lambda: data.sample("nobody"),
        lambda: data.sample(22),
        lambda: data.sample(0)["sentinel9/x"],
        lambda: data.sample(0)["sentinel2/x"],
        lambda: data.sample(0).cloud("dem"),
        lambda: data.sample(0).vectors("worldcover"),
        lambda: data.stream(batch_size=2, arrays=["nothing"]),
        lambda: data.normalisation("worldcover/classes"),
    ):
        with pytest.raises(landweave.UnknownNameError):
            ask()
