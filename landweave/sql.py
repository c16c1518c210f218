"""A condition in SQL, asked of DuckDB over the catalogue's columns."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from landweave.errors import QueryError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue


def matching(catalogue: Catalogue, condition: str) -> NDArray[np.int64]:
    """Positions of the samples that fulfil it, ascending; see `Dataset.sql`."""
    duckdb = importlib.import_module("duckdb")
    words = condition.replace('"', " ").lower()
    names = [n for n in catalogue.schema.names if n.lower() in words]
    items = catalogue.read(names or ["id"])
    items = items.append_column("__position", pa.array(np.arange(items.num_rows)))
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("items", items)
        try:
            found = connection.sql(f"select __position from items where ({condition}) order by __position")  # noqa: S608
            return np.asarray(found.fetchnumpy()["__position"], np.int64)
        except duckdb.Error as error:
            raise QueryError(f"cannot ask {condition!r}: {first_line(error)}") from error
