"""The catalogue by column: types, gaps, ids of any selection, times; what is damaged is one line."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import landweave
from landweave.catalogue import _day, checked_captions, impossible

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


@pytest.mark.slow
@given(picked=st.lists(st.integers(0, 21), max_size=40))
def test_ids_and_columns_of_any_positions(data: landweave.Dataset, picked: list[int]) -> None:
    """More than sixteen are read another way than fewer."""
    items = data.catalogue.read().to_pylist()
    positions = np.array(picked, np.int64)
    assert data.catalogue.ids(positions) == [items[i]["id"] for i in picked]
    assert [data.catalogue.id(i) for i in picked] == [items[i]["id"] for i in picked]
    assert data.catalogue.column("split", positions) == [items[i]["split"] for i in picked]
    assert data.catalogue.column("lat", positions).tolist() == [items[i]["lat"] for i in picked]
    assert data.catalogue.seats(positions).tolist() == [[items[i]["shard"], items[i]["row"]] for i in picked]


def test_a_column_that_lacks_some_is_float_and_others_keep_their_type(data: landweave.Dataset) -> None:
    whole, items = np.arange(len(data)), data.catalogue.read().to_pylist()
    years = data.catalogue.column("worldcover_year", whole)
    assert years.dtype == np.float64
    np.testing.assert_array_equal(
        years, [np.nan if i["worldcover_year"] is None else i["worldcover_year"] for i in items]
    )
    assert np.isnan(years).any()
    assert not np.isnan(years).all()
    assert data.catalogue.column("row", whole).dtype.kind == "i"
    lacking = [i for i, item in enumerate(items) if item["worldcover_year"] is not None]
    assert data.catalogue.column("worldcover_year", np.array(lacking)).dtype == np.float64, "of all samples alike"


@pytest.mark.parametrize("lacks", [False, True])
def test_a_bool_column_is_bool_unless_it_lacks_some(
    data: landweave.Dataset, lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = landweave.open(data.store.url).catalogue
    made = pa.table({"made": pa.array([True, False, None if lacks else True])})
    monkeypatch.setattr(catalogue, "read", lambda _: made)
    for picked in ([2, 1, 0], [1, 0]):  # the type is that of all samples, also where none of these lacks it
        found = catalogue.column("made", np.array(picked))
        assert found.dtype == (np.float64 if lacks else np.bool_)
        assert found[-2:].tolist() == [0, 1]
    assert np.isnan(catalogue.column("made", np.array([2]))[0]) == lacks


def test_large_integers_with_gaps_become_the_nearest_float(data: landweave.Dataset, monkeypatch: Any) -> None:
    catalogue = landweave.open(data.store.url).catalogue
    made = pa.table({"big": pa.array([2**53 + 1, None], pa.int64())})
    monkeypatch.setattr(catalogue, "read", lambda _: made)
    found = catalogue.column("big", np.array([0, 1]))
    assert found[0] == float(2**53)
    assert np.isnan(found[1])


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - made aware below
def test_days_are_exact_to_the_microsecond(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    assert _day(aware.isoformat()) == pytest.approx(
        since.days + since.seconds / 86_400 + since.microseconds / 86.4e9, abs=1e-9
    )
    assert np.isnan(_day(None))


def test_days_of_a_modality_are_its_acquisitions(data: landweave.Dataset) -> None:
    found, items = data.catalogue.days("sentinel2", np.arange(len(data))), data.catalogue.read().to_pylist()
    assert found.shape == data.catalogue.presence("sentinel2").shape
    np.testing.assert_array_equal(np.isfinite(found), data.catalogue.presence("sentinel2"))
    for row, item in zip(found, items, strict=True):
        for day, stamp in zip(row, item["sentinel2_datetimes"] or [], strict=False):
            if stamp is not None:
                assert day == datetime.fromisoformat(stamp).timestamp() / 86_400


def test_the_checksum_is_of_ids_places_and_order(data: landweave.Dataset) -> None:
    catalogue, whole = data.catalogue, np.arange(len(data))
    one = catalogue.checksum(whole)
    assert one == landweave.open(data.store.url).catalogue.checksum(whole)
    assert len({one, catalogue.checksum(whole[::-1]), catalogue.checksum(whole[:-1]), zlib.crc32(b"")}) == 4


def light(data: landweave.Dataset, **columns: list[Any]) -> pa.Table:
    table = data.catalogue.light
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(values, table.schema.field(name).type))
    return table


@pytest.mark.parametrize(
    ("column", "change", "says"),
    [
        ("shard", lambda v: [-1, *v[1:]], "column shard contains -1 to"),
        ("shard", lambda v: [99, *v[1:]], "to 99, expected 0 to"),
        ("row", lambda v: [99, *v[1:]], "column row contains 0 to 99"),
        ("id", lambda v: [v[1], *v[1:]], "a sample twice"),
        ("id", lambda v: ["../x", *v[1:]], "not a sample id"),
        ("id", lambda v: [v[0] + "\n", *v[1:]], "not a sample id"),
        ("split", lambda v: ["dev", *v[1:]], "splits other than"),
        ("split", lambda v: [None, *v[1:]], "missing values"),
    ],
)
def test_what_cannot_be_is_named(data: landweave.Dataset, column: str, change: Any, says: str) -> None:
    values = change(data.catalogue.light[column].to_pylist())
    found = list(impossible(light(data, **{column: values}), data.spec, len(data)))
    assert any(says in text for text in found), found


def test_what_can_be_is_not_named(data: landweave.Dataset) -> None:
    """The first and the last shard and row that there can be, one sample alone, and none."""
    table = data.catalogue.light
    assert list(impossible(table, data.spec, len(data))) == []
    last = light(data, shard=[data.spec.shards - 1] * len(data), row=[data.spec.shard_samples - 1] * len(data))
    assert list(impossible(last, data.spec, len(data))) == []
    assert list(impossible(table.slice(1, 1), data.spec, 1)) == []
    above = light(data, shard=[1] * len(data), row=[1] * len(data))
    assert list(impossible(above, data.spec, len(data))) == []
    assert list(impossible(table, data.spec, len(data) + 1)) == [f"22 samples, landweave.json states {len(data) + 1}"]


@pytest.mark.parametrize("bad", [[None], [{"text": 1}], [{"text": "a", "captioner": "b", "prompt_version": "c"}]])
def test_a_caption_that_is_none_is_named(bad: list[Any]) -> None:
    with pytest.raises(landweave.CorruptError, match="not a caption"):
        checked_captions(bad)
