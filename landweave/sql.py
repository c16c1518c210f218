"""A condition in SQL, asked of DuckDB over the catalogue's columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from landweave.errors import QueryError, first_line, needed, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue


def matching(catalogue: Catalogue, condition: str) -> NDArray[np.int64]:
    """Positions of the samples that fulfil it, ascending; see `Dataset.sql`."""
    duckdb = needed("duckdb", "sql", "Dataset.sql")
    words = condition.replace('"', " ").lower()
    names = [n for n in catalogue.schema.names if n.lower() in words]
    items = catalogue.read(names or ["id"])
    items = items.append_column("__position", pa.array(np.arange(items.num_rows)))
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("items", items)
        try:
            found = connection.sql(f"select __position from items where ({condition}) order by __position")  # noqa: S608
            positions = np.asarray(found.fetchnumpy()["__position"], np.int64)
        except duckdb.Error as error:
            raise QueryError(f"cannot ask {condition!r}: {first_line(error)}") from error
    if not len(positions):
        _check_values(catalogue, condition)
    return positions


def _check_values(catalogue: Catalogue, condition: str) -> None:
    """QueryError where a condition that nothing fulfils names a text that no sample has: it is misspelt."""
    for column, value in re.findall(r"(\w+)\"?\s*==?\s*'((?:[^']|'')*)'", condition):
        if column in catalogue.schema.names and pa.types.is_string(catalogue.schema.field(column).type):
            known, text = catalogue.texts(column), value.replace("''", "'")
            if text not in known:
                raise QueryError(f"column {column!r}: {unknown('value', text, known)}")
