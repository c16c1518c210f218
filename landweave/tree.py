"""One sample as an xarray.DataTree: one node per obtained modality or label, pixels in the sample's CRS.

A group whose arrays lie on more than one grid has a node a grid below its own: `tree["sentinel2/20m"]`. Every node has
dims x and y in metres of the CRS, and `spatial_ref` (CF grid mapping), so that rioxarray and odc-geo read it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.bands import wavelengths
from landweave.errors import needed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec


def sample_tree(sample: Any, spec: DatasetSpec, *, physical: bool) -> xr.DataTree:
    """See `Sample.to_datatree`."""
    for library in ("xarray", "pyproj"):
        needed(library, "xarray", "to_datatree")
    import xarray as xr
    from pyproj import CRS

    crs = CRS.from_epsg(sample.epsg)
    about = {
        "id": sample.id,
        "split": sample.split,
        "epsg": sample.epsg,
        "lon": sample.lonlat[0],
        "lat": sample.lonlat[1],
    }
    about["captions"] = [c.text for c in sample.captions]
    nodes: dict[str, xr.Dataset] = {"/": xr.Dataset(attrs=about)}
    for group in spec.groups:
        present = np.array(sample.present[group.name])
        if not present.any():
            continue
        facts = group.terms
        grids = sorted({a.resolution_m for a in group.arrays})
        if len(grids) > 1:
            nodes[f"/{group.name}"] = xr.Dataset(coords=_times(sample, group, present), attrs=facts)
        for grid in grids:
            arrays = [a for a in group.arrays if a.resolution_m == grid]
            node = _node(sample, group, arrays, present, physical=physical)
            mapping = {**crs.to_cf(), "GeoTransform": _transform(sample.transform(arrays[0].path))}
            node = node.assign_coords(spatial_ref=((), np.int32(sample.epsg), mapping))
            nodes[f"/{group.name}/{grid:g}m" if len(grids) > 1 else f"/{group.name}"] = node.assign_attrs(facts)
    return xr.DataTree.from_dict(nodes)


def _node(
    sample: Any, group: GroupSpec, arrays: Sequence[ArraySpec], present: NDArray[np.bool_], *, physical: bool
) -> xr.Dataset:
    import xarray as xr

    found: dict[str, Any] = {}
    coordinates: dict[str, Any] = _times(sample, group, present)
    for array in arrays:
        pixels = sample.physical(array.path) if physical and array.kind == "continuous" else sample[array.path]
        dims = tuple(d.split("_")[0] for d in array.dims[1:])
        found[array.name] = (dims, pixels[present] if array.dated else pixels, _attributes(array, group, physical))
        a, _, left, _, e, top = sample.transform(array.path)
        height, width = array.sample_shape[-2:]
        coordinates["x"] = ("x", left + a * (np.arange(width) + 0.5), _axis("x", "projection_x_coordinate"))
        coordinates["y"] = ("y", top + e * (np.arange(height) + 0.5), _axis("y", "projection_y_coordinate"))
        coordinates["gsd"] = ((), float(array.resolution_m), {"units": "m", "long_name": "pixel edge"})
        if "band" in dims:
            coordinates["band"] = np.array([b.name for b in array.bands], object)
            coordinates |= wavelengths(array, "band")
    return xr.Dataset(found, coordinates)


def _times(sample: Any, group: GroupSpec, present: NDArray[np.bool_]) -> dict[str, Any]:
    """Acquisition times of what was obtained, UTC, and the window that each was obtained for."""
    if not group.dated:
        return {}
    times = [t for t, there in zip(sample.datetimes(group.name), present, strict=True) if there]
    stamps = np.array([np.datetime64("NaT") if t is None else t.replace(tzinfo=None) for t in times], "datetime64[us]")
    slots = np.array([s for s, there in zip(group.slots, present, strict=True) if there], object)
    return {"time": ("time", stamps.astype("datetime64[ns]")), "slot": ("time", slots)}


def _attributes(array: ArraySpec, group: GroupSpec, physical: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"grid_mapping": "spatial_ref"}
    if array.kind == "classes" and group.classes:
        about["flag_values"] = [c.code for c in group.classes]
        about["flag_meanings"] = " ".join(c.name.replace(" ", "_") for c in group.classes)
    if array.kind == "continuous":
        about["units"] = "1" if array.unit == "reflectance" else array.unit
        if not physical:
            about |= {"units": "stored", "scale": array.scale, "offset": array.offset}
    if array.nodata is not None and not (physical and array.kind == "continuous"):
        about["nodata"] = array.nodata if math.isnan(array.nodata) else np.dtype(array.dtype).type(array.nodata).item()
    return about


def _axis(axis: str, standard: str) -> dict[str, str]:
    return {"units": "m", "standard_name": standard, "axis": axis.upper(), "long_name": "pixel centre"}


def _transform(coefficients: tuple[float, ...]) -> str:
    """GDAL's order: left, pixel width, 0, top, 0, -pixel height."""
    a, b, c, d, e, f = coefficients
    return " ".join(f"{v:.17g}" for v in (c, a, b, f, d, e))
