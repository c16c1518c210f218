"""Runs an SQL condition with DuckDB over the catalogue's columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from landweave.errors import QueryError, first_line, needed, unknown

_POSITION = "__position"
_ALONE = {"enable_external_access": "false", "python_enable_replacements": "false", "lock_configuration": "true"}
"""No file, no network, no variable of this program, and no setting that would allow them."""

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue


def matching(catalogue: Catalogue, condition: str) -> NDArray[np.int64]:
    """Positions of the samples that fulfil it, ascending; see `Dataset.sql`."""
    duckdb = needed("duckdb", "sql", "Dataset.sql")
    words = condition.replace('"', " ").lower()
    names = [n for n in catalogue.schema.names if n.lower() in words]
    items = catalogue.read(names or ["id"])
    items = items.append_column(_POSITION, pa.array(np.arange(items.num_rows)))
    with duckdb.connect(config=_ALONE) as connection:
        try:
            # a filter is one expression: what follows it, or would close it, is not understood
            kept = connection.from_arrow(items).filter(condition).project(_POSITION).fetchnumpy()[_POSITION]
        except (duckdb.Error, UnicodeEncodeError) as error:
            raise QueryError(f"cannot run {condition!r}: {first_line(error)}") from error
    found = np.unique(np.asarray(kept))
    if not len(found):
        _check_values(catalogue, condition)
    elif found.dtype.kind not in "iu" or found[0] < 0 or found[-1] >= items.num_rows:
        raise QueryError(f"cannot run {condition!r}: it does not select samples of the catalogue")
    return found.astype(np.int64)


def _check_values(catalogue: Catalogue, condition: str) -> None:
    """Raises QueryError if an unfulfilled condition names a text that no sample has: a likely misspelling."""
    for column, value in re.findall(r"(\w+)\"?\s*==?\s*'((?:[^']|'')*)'", condition):
        if column in catalogue.schema.names and pa.types.is_string(catalogue.schema.field(column).type):
            known, text = catalogue.texts(column), value.replace("''", "'")
            if text not in known:
                raise QueryError(f"column {column!r}: {unknown('value', text, known)}")
