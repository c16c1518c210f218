"""Runs an SQL condition with DuckDB over the catalogue's columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from landweave.errors import QueryError, first_line, needed, unknown
from landweave.query import quoted_names
from landweave.values import indexes

_POSITION = "__position"
_ALONE = {"enable_external_access": "false", "python_enable_replacements": "false", "lock_configuration": "true"}
"""No file, no network, no variable of this program, and no setting that would allow them."""

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue


def matching(catalogue: Catalogue, condition: str) -> NDArray[np.int64]:
    """Positions of the samples that fulfil it, ascending; see `Dataset.sql`. Reads the columns batch by batch."""
    duckdb = needed("duckdb", "sql", "Dataset.sql")
    words = condition.replace('"', " ").lower()
    names = [n for n in catalogue.schema.names if n.lower() in words]
    found = [np.zeros(0, np.int64)]
    with duckdb.connect(config=_ALONE) as connection:
        try:
            for positions, table in catalogue.batches(names or ["id"]):
                items = table.append_column(_POSITION, indexes(positions))
                # a filter is one expression: what follows it, or would close it, is not understood
                kept = connection.from_arrow(items).filter(condition).project(_POSITION).fetchnumpy()[_POSITION]
                found.append(_selected(np.unique(np.asarray(kept)), positions, condition))
        except (duckdb.Error, UnicodeEncodeError) as error:
            said = quoted_names(catalogue.schema.names, condition) or first_line(error)
            raise QueryError(f"cannot run {condition!r}: {said}") from error
    all_found = np.concatenate(found)
    if not len(all_found):
        _check_values(catalogue, condition)
    return all_found


def _selected(kept: NDArray[Any], positions: NDArray[np.int64], condition: str) -> NDArray[np.int64]:
    """What a condition kept of a batch, which must be samples of it."""
    if len(kept) and (kept.dtype.kind not in "iu" or kept[0] < positions[0] or kept[-1] > positions[-1]):
        raise QueryError(f"cannot run {condition!r}: it does not select samples of the catalogue")
    return kept.astype(np.int64)


def _check_values(catalogue: Catalogue, condition: str) -> None:
    """Raises QueryError if an unfulfilled condition names a text that no sample has: a likely misspelling."""
    for column, value in re.findall(r"(\w+)\"?\s*==?\s*'((?:[^']|'')*)'", condition):
        if column in catalogue.schema.names and pa.types.is_string(catalogue.schema.field(column).type):
            known, text = catalogue.texts(column), value.replace("''", "'")
            if text not in known:
                raise QueryError(f"column {column!r}: {unknown('value', text, known)}")
