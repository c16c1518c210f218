"""Values go between Arrow, numpy and Python as Arrow's own conversions do it, but pandas stays out of the process."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landweave.values import TIME, array_of, distinct, each, filtered, numbers_of, rows_of

if TYPE_CHECKING:
    from pathlib import Path

KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    TIME: st.integers(-(2**45), 2**45).map(lambda s: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=s)),
}  # fmt: skip
CASES = st.sampled_from(list(KINDS)).flatmap(lambda k: st.tuples(st.just(k), st.lists(KINDS[k], max_size=20)))


@given(CASES)
def test_python_values_become_what_arrow_makes_of_them(case: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = case
    assert array_of(values, kind).equals(pa.array(values, kind))
    assert rows_of(pa.table({"v": array_of(values, kind)})) == [{"v": v} for v in pa.array(values, kind).to_pylist()]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", pa.int64()), (1, pa.string()), (1.5, pa.int64()), (True, pa.int64()), (2**31, pa.int32()), (1, pa.bool_()),
     (2**64, pa.int64()), ("a", pa.float64()), (date(2021, 1, 1), TIME), ("2021", TIME), ("\ud800", pa.string())],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(value: Any, kind: pa.DataType) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, pa.ArrowException)):
        array_of([value], kind)


NUMBERS = [pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64()]


@given(st.sampled_from(NUMBERS), st.data())
def test_numbers_are_those_of_arrow_with_nan_for_null(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | KINDS[kind], max_size=30))
    cut = data.draw(st.integers(0, len(values)))
    column = pa.chunked_array([pa.array(values, kind).slice(cut), pa.array(values[:cut], kind)])
    expected = [np.nan if v is None else v for v in values[cut:] + values[:cut]]
    found = numbers_of(column)
    np.testing.assert_array_equal(found.astype(np.float64), np.array(expected, np.float64))
    assert found.dtype.kind == "f" or not column.null_count


@given(st.lists(st.none() | st.integers(-5, 5), max_size=30), st.integers(-5, 5))
def test_rows_are_filtered_as_arrow_does(values: list[int | None], bound: int) -> None:
    table = pa.table({"v": pa.array(values, pa.int64()), "n": pa.array(range(len(values)), pa.int64())})
    for where in (pc.field("v") > bound, ~(pc.field("v") > bound), pc.field("v").is_null()):
        assert filtered(table, where).to_pylist() == table.filter(where).to_pylist()
    known = np.array([v for v in values if v is not None], np.int64)
    assert distinct(known).tolist() == np.unique(known).tolist()
    assert list(each(table["v"])) == values


USE = """
import sys, landweave
data = landweave.open(sys.argv[1])
data.query("worldcover_trees > 0.3 and split == 'train'", bbox=(0, 0, 1, 1), time=("2021-01-01", "2021-08-01"))
data.query("worldcover_year == 2021 or sentinel1_count in [1, 2] or datetime < '2021-02-03'", split=["val", "test"])
sample = data.sample(0)
sample.lonlat, sample.item, sample.captions, sample.present, data.sample(sample.id)
next(iter(data.stream(batch_size=4, shuffle=True, columns=["captions", "lat"], arrays=["dem"])))
data.speaking_of("trees")
sys.exit("pandas was imported" if "pandas" in sys.modules else 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["dataset_path", "parted_path"])
def test_reading_imports_no_pandas(place: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(place)
    subprocess.run([sys.executable, "-c", USE, str(path)], check=True)
