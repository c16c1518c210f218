"""Values between Arrow and numpy or Python. Arrow's own conversions import pandas, which takes half a second."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow.compute as pc
    from numpy.typing import NDArray

TIME = pa.timestamp("us", tz="UTC")
"""Type of the times of a catalogue."""
_NUMPY = {"double": "float64", "float": "float32", "halffloat": "float16"}
"""Types that Arrow names in another way than numpy."""
_SOME = 1 << 12
"""Values that are made at a time."""
_EPOCH, _MICRO = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def indexes(places: NDArray[np.int64]) -> pa.Array:
    """(n,) places as Arrow takes them."""
    return _fixed(np.ascontiguousarray(places, np.int64), pa.int64())


def truths(values: NDArray[np.bool_]) -> pa.Array:
    """(n,) truth values as Arrow takes them."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def array_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Python values, none of them None, as an Arrow array of a type.

    Raises:
        TypeError, ValueError, OverflowError, pa.ArrowException: a value is not of this type.
    """
    if kind == TIME:
        return indexes(np.array([micros_of(v) for v in values], np.int64)).cast(kind)
    if pa.types.is_string(kind):
        return _strings(values)
    if pa.types.is_boolean(kind):
        _refuse(values, lambda v: not isinstance(v, (bool, np.bool_)), kind)
        return truths(np.array(values, np.bool_))
    if pa.types.is_integer(kind):
        return indexes(np.array([_whole(v) for v in values], np.int64)).cast(kind)
    if pa.types.is_floating(kind):
        _refuse(values, lambda v: isinstance(v, (bool, np.bool_, str, bytes)), kind)
        return _fixed(np.array([float(v) for v in values], np.float64), pa.float64()).cast(kind)
    return pa.array(values, kind)


def scalar_of(value: Any, kind: pa.DataType) -> pa.Scalar:
    """A Python value that is not None as an Arrow scalar of a type; raises as `array_of`."""
    return array_of([value], kind)[0]


def numbers_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """(n,) numbers or bools of a column; a column that lacks some becomes float64, NaN for null."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not (pa.types.is_integer(whole.type) or pa.types.is_floating(whole.type) or pa.types.is_boolean(whole.type)):
        return np.asarray(whole.to_numpy(zero_copy_only=False))
    content = whole.buffers()[1]
    if pa.types.is_boolean(whole.type):
        values = _bits(content, whole.offset, len(whole))
    else:
        dtype = np.dtype(_NUMPY.get(str(whole.type), str(whole.type)))
        values = np.frombuffer(content or b"", dtype)[whole.offset : whole.offset + len(whole)]
    if not whole.null_count:
        return values
    there = _bits(whole.buffers()[0], whole.offset, len(whole))
    return np.where(there, values, values.dtype.type(np.nan) if values.dtype.kind == "f" else np.float64(np.nan))


def each(column: pa.ChunkedArray) -> Iterator[Any]:
    """Values of a column as Python's, of which a few thousand are made at a time."""
    for start in range(0, len(column), _SOME):
        yield from _listed(column.slice(start, _SOME))


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as Python values."""
    columns = [_listed(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def first_row(table: pa.Table) -> dict[str, Any]:
    """The first row as Python values."""
    return rows_of(table.slice(0, 1))[0]


def _listed(column: pa.ChunkedArray) -> list[Any]:
    return [moment_of(v) for v in column] if column.type == TIME else column.to_pylist()


def moment_of(value: pa.Scalar) -> datetime | None:
    """A time as Python's; None for null."""
    micros = value.cast(pa.int64()).as_py()
    return None if micros is None else _EPOCH + micros * _MICRO


def filtered(table: pa.Table, where: pc.Expression) -> pa.Table:
    """Rows that fulfil a condition, in order. `Table.filter` would import pyarrow.dataset, and that imports pandas."""
    from pyarrow._acero import Declaration, FilterNodeOptions, TableSourceNodeOptions

    steps = [
        Declaration("table_source", TableSourceNodeOptions(table)),
        Declaration("filter", FilterNodeOptions(where)),
    ]
    return Declaration.from_sequence(steps).to_table(use_threads=False)


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The different values, ascending; numpy.unique would import numpy.ma."""
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_batches([], schema)


def _bits(content: pa.Buffer | None, start: int, count: int) -> NDArray[np.bool_]:
    """(count,) bools that begin at a bit of a buffer."""
    raw = np.frombuffer(content or b"", np.uint8)[start // 8 : -(-(start + count) // 8)]
    return np.unpackbits(raw, bitorder="little")[start % 8 : start % 8 + count].astype(np.bool_)


def _fixed(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _strings(values: Sequence[Any]) -> pa.Array:
    _refuse(values, lambda v: not isinstance(v, str), pa.string())
    texts = [str(v).encode() for v in values]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    if ends[-1] >= 2**31:
        raise OverflowError("more than 2 GiB of texts")
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(texts))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _refuse(values: Sequence[Any], wrong: Any, kind: pa.DataType) -> None:
    for value in values:
        if wrong(value):
            raise TypeError(f"{value!r} is no {kind}")


def _whole(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{value!r} is a truth value")
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return int(value)
    return operator.index(value)


def micros_of(value: Any) -> int:
    """Microseconds since 1970 of a time with a zone; TypeError for anything else."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{value!r} is no time with a zone")
    return (value - _EPOCH) // _MICRO
