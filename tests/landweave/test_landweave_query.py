"""Queries answer what a plain loop over the items answers, and a bad one says what is wrong."""

from __future__ import annotations

import pickle
import shutil
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import landweave
from landweave.errors import QueryError
from landweave.query import expression

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
        ({"where": "split == lat"}, "compare a column with a plain value"),
        ({"where": "0.1 < lat < 0.2"}, "cannot read the condition"),
        ({"where": "split == 5"}, "contains string"),
        ({"where": "lat > 'north'"}, "contains double"),
        ({"where": "datetime > 'soon'"}, "not a (valid )?date or time"),
        ({"bbox": (1, 2, 3)}, "bbox must be"),
        ({"bbox": (1, 5, 3, 2)}, "bbox must be"),
        ({"time": "2021"}, "time must be"),
        ({"time": ("yesterday", None)}, "not a (valid )?date or time"),
        ({"colour": "red"}, "no column 'colour'"),
        ({"where": "split = 'train'"}, "write == for equality; for SQL use Dataset.sql"),
        ({"where": "split == 'tain'"}, "no value 'tain'; did you mean 'train'"),
        ({"where": "split != 'tain'"}, "no value 'tain'; did you mean 'train'"),
        ({"where": "split in ('val', 'tset')"}, "no value 'tset'; did you mean 'test'"),
        ({"where": "split in 'val'"}, "needs a list"),
        ({"where": "lat < None"}, "with None only by ==, !="),
        ({"where": "worldcover_tree > 1"}, "did you mean 'worldcover_trees'"),
        ({"where": "row in (1, 'a')"}, "cannot be one of"),
        ({"where": "row in [[1]]"}, "cannot be one of"),
        ({"where": "row > 99999999999999999999999"}, "cannot be compared"),
        ({"where": "datetime > '0001-01-01T00:00:00+14:00'"}, "not a (valid )?date or time"),
        ({"where": "not lat"}, "does not fit the columns"),
        ({"where": pc.field("nope") > 1}, "does not fit the columns"),
        ({"where": 5}, "a condition must be a text"),
        ({"split": "trian"}, "no value 'trian'; did you mean 'train'"),
        ({"splitt": "train"}, "did you mean 'split'"),
        ({"id": ["nobody", "noone"]}, "no value 'nobody'"),
        ({"time": ("2022-01-01", "2021-01-01")}, "is after 2021-01-01: swap them"),
        ({"bbox": (16, 46, 14, 48)}, "no sample is in it; longitudes here are"),
        ({"bbox": (0, 0, 360, 10)}, "longitudes must be -180 to 180"),
        ({"bbox": "text"}, "bbox must be"),
    ],
)
def test_bad_questions(data: landweave.Dataset, question, says: str) -> None:
    with pytest.raises(landweave.QueryError, match=says):
        data.query(**question)


@pytest.mark.parametrize("edge", range(4))
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_box_with_one_edge_that_is_no_number(data: landweave.Dataset, edge: int, number: float) -> None:
    box = [9.0, 46.0, 16.0, 48.0]
    box[edge] = number
    with pytest.raises(landweave.QueryError, match="bbox must be"):
        data.query(bbox=box)


LON, LAT = st.floats(-180, 180), st.floats(-90, 90)


@pytest.mark.slow
@settings(max_examples=60)
@given(west=LON, east=LON, south=LAT, north=LAT)
def test_a_box_finds_the_footprints_that_touch_it(
    data: landweave.Dataset, west: float, east: float, south: float, north: float
) -> None:
    """Also round the back of the Earth, where west is above east."""
    south, north = sorted((south, north))
    boxes = [item["bbox"] for item in data.catalogue.read().to_pylist()]

    def touches(box: dict[str, float]) -> bool:
        parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        beside = any(box["xmin"] <= last and box["xmax"] >= first for first, last in parts)
        return beside and box["ymin"] <= north and box["ymax"] >= south

    expected = [i for i, box in enumerate(boxes) if touches(box)]
    if expected or not 0 < west - east < 180:  # else a swapped box is suspected
        assert data.query(bbox=(west, south, east, north)).positions.tolist() == expected


def test_a_period_that_ends_at_an_observation_holds_it(data: landweave.Dataset) -> None:
    """To the microsecond, at both ends."""
    tick = timedelta(microseconds=1)
    for item in data.catalogue.read().to_pylist()[:3]:
        first, last = item["start_datetime"], item["end_datetime"]
        for period, inside in (
            ((last, None), True), ((last + tick, None), False), ((None, first), True), ((None, first - tick), False),
        ):  # fmt: skip
            assert (item["id"] in data.query(time=period).ids) == inside, period


def test_a_box_that_ends_at_a_footprint_touches_it(data: landweave.Dataset) -> None:
    item = data.catalogue.item(0)
    box = item["bbox"]
    for here in (
        (box["xmin"] - 1, box["ymin"], box["xmin"], box["ymax"]),
        (box["xmax"], box["ymin"], box["xmax"] + 1, box["ymax"]),
        (box["xmin"], box["ymax"], box["xmax"], box["ymax"] + 1),
        (box["xmin"], box["ymin"] - 1, box["xmax"], box["ymin"]),
        (179.0, box["ymin"], box["xmin"], box["ymax"]),
    ):
        assert item["id"] in data.query(bbox=here).ids, here


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


def test_null_and_lists_of_values(data: landweave.Dataset) -> None:
    lacking = data.query("worldcover_trees is None")
    assert 0 < len(lacking) < len(data)
    assert data.query("worldcover_trees == None").ids == lacking.ids == data.query(worldcover_trees=None).ids
    assert data.query("worldcover_trees != None").ids == (data.query() - lacking).ids
    assert data.query("split in ['val', None]").ids == data.query(split="val").ids
    assert len(data.query("worldcover_trees in [None]")) == len(lacking)
    moments = data.query().column("datetime")[:3]
    wanted = [i for i, t in zip(data.query().ids, data.query().column("datetime"), strict=True) if t in moments]
    assert data.query(datetime=moments).ids == data.query(datetime=[t.isoformat() for t in moments]).ids == wanted
    third = data.sample(2).id
    assert data.query(id=np.array(["nobody", third])).ids == [third], "of ids some may be unknown"
    assert len(data.query("row > 10000000000")) == 0


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=2),
        st.datetimes(), st.datetimes(timezones=st.timezones()), st.dates(), st.complex_numbers(),
        st.sampled_from(["train", "2021-01-15", "s001_001"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)  # fmt: skip
COLUMNS = st.sampled_from(
    ["split", "id", "row", "lat", "datetime", "bbox", "captions", "licences", "sentinel2_present", "worldcover_year"]
)


def answered_or_one_line(ask: Any) -> bool:
    try:
        return len(ask()) >= 0
    except landweave.QueryError as error:
        return len(str(error).splitlines()) == 1


@settings(deadline=None, max_examples=150)
@given(column=COLUMNS, operator=st.sampled_from(["==", "!=", "<", ">=", "in", "not in", "is"]), value=VALUES)
def test_any_value_is_answered_or_one_line(data: landweave.Dataset, column: str, operator: str, value: Any) -> None:
    for ask in (
        lambda: data.query(f"{column} {operator} {value!r}"),
        lambda: data.query(**{column: value}),
        lambda: data.query({column: [value]}),
        lambda: data.query(time=(value, None)),
        lambda: data.query(bbox=value),
    ):
        assert answered_or_one_line(ask)


@settings(deadline=None, max_examples=150)
@given(text=st.text(max_size=30))
def test_any_text_is_answered_or_one_line(data: landweave.Dataset, text: str) -> None:
    assert answered_or_one_line(lambda: data.query(text))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda d: d.sample(1.5), "id or its number, an integer; got 1.5"),
        (lambda d: d.sample(None), "got None"),
        (lambda d: d.samples("s001_001"), "takes a list of ids or numbers"),
        (lambda d: d.stream("train", batch_size=2), "a selection is what query"),
        (lambda d: d.stream(d.query().ids, batch_size=2), "a selection is what query"),
        (lambda d: d.stream(d.query("lat > 80"), batch_size=2), "the selection is empty"),
        (lambda d: d.stream(batch_size=None), "batch_size must be an integer of at least 1, got None"),
        (lambda d: d.stream(batch_size=2, normalize="all"), "did you mean 'normalise'"),
        (lambda d: d.stream(batch_size=2, shuffle="no"), "shuffle must be True or False"),
        (lambda d: d.stream(batch_size=2, missing=0.3), "missing must be a mapping"),
        (lambda d: d.stream(batch_size=2, crop_m="a"), "crop_m must be a number"),
        (lambda d: d.stream(batch_size=2, times=2.5), "times must be 'all'"),
        (lambda d: d.stream(batch_size=2, arrays=5), "arrays must be a list"),
        (lambda d: d.stream(batch_size=2, weights={"split": {"trian": 2}}), "did you mean 'train'"),
        (lambda d: d.query() & 5, "only with another selection"),
        (lambda d: d.sql("split = 'trian'"), "did you mean 'train'"),
        (lambda d: d.query().column("spilt"), "did you mean 'split'"),
    ],
)
def test_arguments_that_are_none(data: landweave.Dataset, ask: Any, says: str) -> None:
    with pytest.raises(landweave.QueryError, match=says) as error:
        ask(data)
    assert "\n" not in str(error.value)


def test_a_selection_is_of_its_dataset(data: landweave.Dataset, tmp_path: Path, dataset_path: Path) -> None:
    other = shutil.copytree(dataset_path, tmp_path / "other")
    with pytest.raises(landweave.QueryError, match="belongs to another dataset"):
        data.stream(landweave.open(other).query(), batch_size=2)
    again = landweave.open(dataset_path)
    assert len(data.stream(pickle.loads(pickle.dumps(again.query())), batch_size=2)) == 11  # noqa: S301 - our own


def test_bands_by_their_common_names(data: landweave.Dataset) -> None:
    def shown(*bands: str) -> list[list[str]]:
        stream = data.stream(batch_size=2, arrays=["sentinel2"], bands={"sentinel2": bands})
        return [[s.array.bands[i].name for i in s.bands] for s in stream.source.shown if s.bands is not None]

    assert shown("nir", "red") == shown("B08", "B04") == [["B08", "B04"]]
    with pytest.raises(landweave.UnknownNameError, match="no band 'rde'; did you mean 'red'"):
        shown("rde")


@pytest.mark.parametrize(
    ("library", "ask", "extra"),
    [
        ("duckdb", lambda d: d.sql("lat > 0"), "sql"),
        ("geopandas", lambda d: d.query().to_geodataframe(), "geo"),
        ("xarray", lambda d: d.to_xarray(), "xarray"),
        ("xarray", lambda d: d.sample(0).to_datatree(), "xarray"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    data: landweave.Dataset, library: str, ask: Any, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs {library}, .*pip install '\.\[{extra}\]'"):
        ask(data)


def test_a_name_with_a_hyphen_is_quoted_as_in_sql() -> None:
    schema = pa.schema([("attr_land-use", pa.int64()), ("lat", pa.float64())])
    found = expression(schema, where='"attr_land-use" > 3 and not "lat" < 0')
    assert found is not None
    table = pa.table({"attr_land-use": [3, 4, 5], "lat": [1.0, -1.0, 1.0]}, schema=schema)
    assert table.filter(found)["attr_land-use"].to_pylist() == [5]
    for bare in ("attr_land-use > 3", "'attr_land-use' > 3", "attr_land-use in [1]"):
        with pytest.raises(QueryError, match=r'double quotes: "attr_land-use"|write comparisons'):
            expression(schema, where=bare)
