"""The samples that a query found: ids, columns, a table of places, weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from landweave.errors import QueryError, needed, unknown
from landweave.notebook import table_html
from landweave.positions import Whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue
    from landweave.positions import Positions


_SHOWN = 5
"""Rows that a notebook shows."""


class Selection:
    """Samples that a query found, in the catalogue's order. Iterates over sample ids."""

    def __init__(self, catalogue: Catalogue, places: Positions) -> None:
        self._catalogue = catalogue
        self.places = places
        """Position of each sample in the catalogue; all samples are no array."""

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Position of each sample in the catalogue."""
        return self.places[:] if isinstance(self.places, Whole) else self.places

    @property
    def ids(self) -> list[str]:
        """Sample ids."""
        return self._catalogue.ids(self.positions)

    @cached_property
    def table(self) -> pa.Table:
        """Every catalogue column of these samples."""
        return self._table(None)

    def of(self, catalogue: Catalogue) -> bool:
        """True if the selection was made from this catalogue, in this process or in another one."""
        mine = self._catalogue
        return mine is catalogue or (mine.place == catalogue.place and mine.samples == catalogue.samples)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def _repr_html_(self) -> str:
        """In a notebook: the first samples."""
        columns = [n for n in ("id", "split", "lon", "lat", "datetime") if n in self._catalogue.schema.names]
        first = self.take(slice(_SHOWN))
        rows = [tuple(row[c] for c in columns) for row in first.table.select(columns).to_pylist()]
        return table_html(f"{len(self)} samples" + (", the first:" if len(rows) < len(self) else ""), columns, rows)

    def __repr__(self) -> str:
        return f"Selection({len(self)} samples)"

    def __and__(self, other: Selection) -> Selection:
        """Samples of both, in the catalogue's order."""
        return self._with(np.intersect1d, other)

    def __or__(self, other: Selection) -> Selection:
        """Samples of either, in the catalogue's order."""
        return self._with(np.union1d, other)

    def __sub__(self, other: Selection) -> Selection:
        """Samples of this selection that the other does not hold."""
        return self._with(np.setdiff1d, other)

    def _with(self, how: Callable[[Any, Any], Any], other: Any) -> Selection:
        if not isinstance(other, Selection) or not other.of(self._catalogue):
            raise QueryError(f"combine a selection only with another selection of the same dataset, got {other!r}")
        return Selection(self._catalogue, how(self.positions, other.positions))

    def take(self, which: Any) -> Selection:
        """Some of these samples, in the order given: indexes, a slice or a mask, as numpy takes them."""
        return Selection(self._catalogue, self.places[which])

    def column(self, name: str) -> Any:
        """One catalogue column of these samples: numbers as an array, all else as a list."""
        self._catalogue.check_column(name)
        return self._catalogue.column(name, self.positions)

    def to_geodataframe(self, columns: list[str] | None = None) -> Any:
        """A geopandas.GeoDataFrame, one row per sample: footprints in WGS 84 and catalogue columns (all if None).

        Raises:
            ModuleNotFoundError: geopandas is not installed (extra `[geo]`).
        """
        geopandas, shapely = (needed(name, "geo", "to_geodataframe") for name in ("geopandas", "shapely"))
        table = self.table if columns is None else self._table(["geometry", *(c for c in columns if c != "geometry")])
        places = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
        return geopandas.GeoDataFrame(table.drop_columns(["geometry"]).to_pandas(), geometry=places, crs="EPSG:4326")

    def weights(
        self, rule: str | Mapping[Any, float] | NDArray[Any] | Callable[[pa.Table], Any]
    ) -> NDArray[np.float64]:
        """(n,) weights of these samples; see `Dataset.stream`.

        Raises:
            QueryError: not a weight of at least 0 a sample, or all are 0.
        """
        if isinstance(rule, str):
            found = self.column(rule)
            found = np.nan_to_num(found) if isinstance(found, np.ndarray) else found  # no label, no weight
        elif isinstance(rule, Mapping):
            found = self._by_value(rule)
        else:
            found = rule(self.table) if callable(rule) else rule
        try:
            weights = np.asarray(found, np.float64)
        except (TypeError, ValueError) as error:
            raise QueryError("weights: each sample needs a number, but the column contains something else") from error
        if weights.shape != (len(self),):
            raise QueryError(f"weights: an array of shape {weights.shape} for {len(self)} samples")
        if len(self) and not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise QueryError("weights must be finite numbers of at least 0, and at least one must be above 0")
        return weights

    def _by_value(self, rule: Mapping[Any, Any]) -> NDArray[np.float64]:
        found = np.ones(len(self))
        for name, by_value in rule.items():
            if not isinstance(by_value, Mapping):
                raise QueryError(f"weights must be {{'column': {{value: weight}}}}, got {{{name!r}: {by_value!r}}}")
            self._check_values(name, by_value)
            try:
                found *= [float(by_value.get(value, 0.0)) for value in list(self.column(name))]
            except TypeError as error:
                raise QueryError(f"weights: {name!r} has values that cannot have weights") from error
        return found

    def _check_values(self, name: str, by_value: Mapping[Any, Any]) -> None:
        """QueryError for a weight of a text that no sample of the dataset has."""
        self._catalogue.check_column(name)
        if not pa.types.is_string(self._catalogue.schema.field(name).type):
            return
        known = self._catalogue.texts(name)
        for value in by_value:
            if value is not None and value not in known:
                raise QueryError(f"weights: column {name!r}: {unknown('value', value, known)}")

    def _table(self, columns: list[str] | None) -> pa.Table:
        return self._catalogue.rows(columns, self.places)
