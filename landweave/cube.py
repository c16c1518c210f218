"""A selection as a lazy xarray tree for statistics: one node per modality or label, dask chunks along shards.

Each chunk reads its samples from their shard when it is computed, so a computation over a million samples keeps only a
few chunks in memory. The catalogue states which observations are missing; pixels that look empty do not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from landweave.bands import wavelengths
from landweave.errors import QueryError, needed
from landweave.shard import fill_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from landweave.catalogue import Catalogue
    from landweave.layout import ArraySpec, GroupSpec
    from landweave.shard import ShardReader

Values = Literal["masked", "stored", "physical"]
_PLACE = ("split", "epsg", "x_min", "y_max", "lon", "lat")
_CHUNK_BYTES = 1 << 27
"""Most stored bytes per chunk: dask's documentation recommends about 100 MB."""


class _Chosen(NamedTuple):
    """The samples of a tree, and how their pixels are shown."""

    positions: NDArray[np.int64]
    ids: list[str]
    values: Values


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows of one array in one shard: what a task carries."""

    reader: ShardReader
    array: ArraySpec
    where: NDArray[np.int64]
    present: NDArray[np.bool_]
    ids: tuple[str, ...]
    values: Values

    def read(self) -> NDArray[Any]:
        """(rows, [time,] [band,] y, x)"""
        array = self.array
        out = np.empty((len(self.ids), *array.sample_shape), array.dtype)
        for row, sample in enumerate(self.ids):
            place = (int(self.where[row, 0]), int(self.where[row, 1]))
            self.reader.read(array, place, self.present[row].tolist(), out[row], sample)
        if self.values == "stored" or array.kind == "mask":
            return out
        return _floats(out, array, self.present, self.values)


def tree(
    catalogue: Catalogue, reader: ShardReader, groups: Sequence[tuple[GroupSpec, Sequence[ArraySpec]]], **how: Any
) -> xr.DataTree:
    """See `Dataset.to_xarray`.

    Args:
        catalogue: of the dataset.
        reader: of its shards.
        groups: each group with the arrays of it that are wanted.
        how: positions, (n,) positions in the catalogue; values, see `Dataset.to_xarray`.
    """
    for library in ("xarray", "dask", "pyproj"):
        needed(library, "xarray", "to_xarray")
    import xarray as xr

    positions, values = how["positions"], how["values"]
    if values not in ("masked", "stored", "physical"):
        raise QueryError(f"values must be 'masked', 'stored' or 'physical', got {values!r}")
    ids = catalogue.ids(positions)
    places = catalogue.rows(["id", *_PLACE], positions)
    coordinates: dict[str, Any] = {"sample": np.array(ids, object)}
    coordinates |= {
        name: ("sample", np.array(places[name].to_pylist(), object if name == "split" else None)) for name in _PLACE
    }
    nodes = {"/": xr.Dataset(coords=coordinates, attrs={"footprint": "x_min + x, y_max + y are metres in `epsg`"})}
    for group, arrays in groups:
        node = _group(catalogue, reader, group, arrays, _Chosen(positions, ids, values))
        # xarray hands down indexed coordinates only
        nodes[f"/{group.name}"] = node.assign_coords(coordinates)
    return xr.DataTree.from_dict(nodes)


def _group(
    catalogue: Catalogue,
    reader: ShardReader,
    group: GroupSpec,
    arrays: Sequence[ArraySpec],
    chosen: _Chosen,
) -> xr.Dataset:
    import xarray as xr

    present = catalogue.presence(group.name, chosen.positions)
    found: dict[str, Any] = {}
    coordinates: dict[str, Any] = {"sample": np.array(chosen.ids, object)}
    for array in arrays:
        found[array.name] = (array.dims, _lazy(catalogue, reader, array, chosen), _attributes(array, chosen.values))
        coordinates |= _axes(array)
    if group.dated:
        coordinates["time"] = np.array(group.slots, object)
    dims = ("sample", "time") if group.dated else ("sample",)
    coordinates["present"] = (dims, present if group.dated else present[:, 0])
    return xr.Dataset(found, coordinates, group.terms)


def _lazy(
    catalogue: Catalogue,
    reader: ShardReader,
    array: ArraySpec,
    chosen: _Chosen,
) -> Any:
    """A dask array: chunks end where shards end."""
    from importlib import import_module

    from dask.delayed import delayed

    da: Any = import_module("dask.array")  # untyped

    positions, ids, values = chosen
    where, present = catalogue.seats(positions), catalogue.presence(array.group, positions)
    dtype = np.dtype(array.dtype) if values == "stored" or array.kind == "mask" else _float(array)
    most = max(1, _CHUNK_BYTES // max(1, array.chip_bytes * array.slots))
    edges = np.flatnonzero(np.diff(where[:, 0])) + 1
    blocks = []
    for first, last in zip([0, *edges.tolist()], [*edges.tolist(), len(ids)], strict=True):
        for start in range(first, last, most):
            stop = min(start + most, last)
            block = _Block(reader, array, where[start:stop], present[start:stop], tuple(ids[start:stop]), values)
            read = delayed(_Block.read, pure=False)(block)
            blocks.append(da.from_delayed(read, (stop - start, *array.sample_shape), dtype))
    if not blocks:
        return da.zeros((0, *array.sample_shape), dtype)
    return da.concatenate(blocks, axis=0)


def _float(array: ArraySpec) -> np.dtype[Any]:
    """float32 holds every 16-bit integer."""
    return np.dtype(np.float64 if np.dtype(array.dtype).itemsize > 4 else np.float32)


def _floats(out: NDArray[Any], array: ArraySpec, present: NDArray[np.bool_], values: Values) -> NDArray[Any]:
    """NaN where nothing was obtained or measured; scaled where physical."""
    found: NDArray[Any] = out.astype(_float(array))
    nodata = fill_value(array)
    if array.nodata is not None and not math.isnan(nodata):
        found[out == out.dtype.type(nodata)] = np.nan
    found[~present if array.dated else ~present[:, 0]] = np.nan
    if values == "physical":
        # in float64, as `Sample.physical`
        found = (found.astype(np.float64) * array.scale + array.offset).astype(found.dtype)
    return found


def _attributes(array: ArraySpec, values: Values) -> dict[str, Any]:
    about: dict[str, Any] = {"resolution_m": array.resolution_m, "kind": array.kind}
    if array.kind == "continuous":
        about["units"] = ("1" if array.unit == "reflectance" else array.unit) if values == "physical" else "stored"
        if values != "physical":
            about |= {"scale": array.scale, "offset": array.offset, "unit_of_scaled": array.unit}
    return about


def _axes(array: ArraySpec) -> dict[str, Any]:
    """Pixel centres, metres from the upper left corner of the footprint (negative outside); bands with wavelengths."""
    found: dict[str, Any] = {}
    for dim, size in zip(array.dims[1:], array.sample_shape, strict=True):
        kind = dim.split("_")[0]
        if kind in ("x", "y"):
            centres = (np.arange(size) + 0.5) * array.resolution_m - array.margin_m
            found[dim] = (dim, centres if kind == "x" else -centres, {"units": "m"})
        elif kind == "band":
            found[dim] = np.array([b.name for b in array.bands], object)
            found |= wavelengths(array, dim)
    return found
