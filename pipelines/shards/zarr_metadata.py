"""The Zarr metadata of a dataset: written before the first pixel, a pure function of its specification.

Zarr v3 core and its sharding, blosc and crc32c codecs: https://zarr-specs.readthedocs.io/en/latest/v3/.
CF attributes: CF conventions 1.11, sections 2.5.1 (_FillValue), 3.1 (units), 8.1 (scale_factor, add_offset).
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.layout import COORDINATES, FORMAT, RECIPE, ZARR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec, Json

_BYTES: Json = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC: Json = {"name": "crc32c"}


@lru_cache(maxsize=4)
def documents(dataset: DatasetSpec) -> Mapping[str, bytes]:
    """Path from the dataset's root -> content of every file that precedes all shards."""
    files: dict[str, bytes] = {RECIPE: (dataset.recipe + "\n").encode()}
    nodes: dict[str, Json] = {}
    for name, dtype in COORDINATES.items():
        nodes[name] = _coordinate(name, dtype, dataset.rows)
    for group in dataset.groups:
        nodes[group.name] = {"zarr_format": 3, "node_type": "group", "attributes": _group_attributes(group)}
        for array in group.arrays:
            nodes[array.path] = _array(array, group, dataset)
            for dim, size in zip(array.dims[-2:], array.sample_shape[-2:], strict=True):
                nodes[f"{group.name}/{dim}"] = _offsets(dim, size, array.resolution_m)
                files[f"{ZARR}/{group.name}/{dim}/c/0"] = _offset_values(dim, size, array)
    root: Json = {"zarr_format": 3, "node_type": "group", "attributes": _root_attributes(dataset)}
    consolidated = {"kind": "inline", "must_understand": False, "metadata": dict(sorted(nodes.items()))}
    whole = {**root, "consolidated_metadata": consolidated}
    files[f"{ZARR}/zarr.json"] = (json.dumps(whole, separators=(",", ":"), ensure_ascii=False) + "\n").encode()
    for path, node in nodes.items():
        files[f"{ZARR}/{path}/zarr.json"] = _json(node)
    return MappingProxyType(dict(sorted(files.items())))


def object_count(dataset: DatasetSpec, samples: int = 0) -> int:
    """Objects (files) of the finished dataset: what a file system's inodes and an object store's requests count.

    Args:
        dataset: its form.
        samples: of the plan, for the picture and the STAC item of each; 0 = without these.
    """
    pages = 2 * samples + dataset.shards + 1 if samples and dataset.pages else 0
    parts_and_manifest = 4
    shard = len(dataset.arrays) + parts_and_manifest + sum(g.vectors for g in dataset.groups)
    shard += (dataset.questions is not None) + bool(dataset.packed)
    catalogue_and_manifest, beside = 6, 3
    return pages + dataset.shards * shard + len(documents(dataset)) + len(COORDINATES) + catalogue_and_manifest + beside


def _root_attributes(dataset: DatasetSpec) -> Json:
    return {
        "Conventions": "CF-1.11",
        "title": dataset.name,
        "comment": dataset.description,
        FORMAT: {
            "layout": dataset.layout,
            "recipe_sha256": dataset.recipe_sha256,
            "shard_samples": dataset.shard_samples,
        },
        "coordinates": " ".join(COORDINATES),
        "georeferencing": (
            "Row i of every array lies in the CRS epsg[i]; pixel centres are x_min[i] + x and y_max[i] + y: x and "
            "y are coordinates of the array's last two dimensions, in metres. epsg 0 = a row without a sample."
        ),
    }


def _group_attributes(group: GroupSpec) -> Json:
    attributes: Json = {
        "title": group.title,
        "license": group.licence,
        "attribution": group.attribution,
        "kind": group.kind,
    }
    if group.target:
        attributes["target"] = True
    if group.slots:
        attributes["slots"] = list(group.slots)
    if group.classes:
        attributes["classes"] = [
            {"value": c.code, "name": c.name, "color_hint": c.colour.removeprefix("#").upper(), "common": c.common}
            for c in group.classes
        ]
    if group.crosswalk:
        attributes["crosswalk"] = group.crosswalk
    return attributes


def _array(array: ArraySpec, group: GroupSpec, dataset: DatasetSpec) -> Json:
    shape = (dataset.rows, *array.sample_shape)
    dates = array.sample_shape[:1] if array.dated else ()
    inner = (1, *(1 for _ in dates), *array.chunk_shape)
    lead = tuple(n * array.chunks_per_date for n in array.chunk_shape[:1])
    outer = (dataset.shard_samples, *dates, *lead, *array.chunk_shape[1:])  # whole chunks: the codec's rule
    blosc = {
        "cname": array.codec.cname,
        "clevel": array.codec.level,
        "shuffle": array.codec.shuffle,
        "typesize": np.dtype(array.dtype).itemsize,
        "blocksize": array.codec.block_bytes,
    }
    sharding = {
        "chunk_shape": list(inner),
        "codecs": [_BYTES, {"name": "blosc", "configuration": blosc}, _CRC],
        "index_codecs": [_BYTES, _CRC],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": array.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(outer)},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill(array),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": _array_attributes(array, group),
        "dimension_names": list(array.dims),
    }


def _array_attributes(array: ArraySpec, group: GroupSpec) -> Json:
    attributes: Json = {"kind": array.kind, "role": array.role, "resolution_m": array.resolution_m}
    if array.kind == "continuous":
        attributes["units"] = "1" if array.unit == "reflectance" else array.unit
        attributes["long_name"] = array.unit
        if (array.scale, array.offset) != (1.0, 0.0):
            attributes |= {"scale_factor": array.scale, "add_offset": array.offset}
        if np.dtype(array.dtype).kind in "iu" and array.nodata is not None:
            attributes["_FillValue"] = int(array.nodata)
    elif array.nodata is not None:
        attributes["nodata"] = int(array.nodata)
    if group.classes and array.kind == "classes":
        attributes["flag_values"] = [c.code for c in group.classes]
        attributes["flag_meanings"] = " ".join(c.name.replace(" ", "_") for c in group.classes)
    if array.bands:
        attributes["bands"] = [
            {key: value for key, value in _band(band).items() if value is not None} for band in array.bands
        ]
    if array.kind == "mask":
        attributes["long_name"] = "True = measured" if array.role == "valid" else "True = cloud, cloud shadow or cirrus"
    return attributes


def _band(band: Any) -> Json:
    return {
        "name": band.name,
        "eo:common_name": band.common_name,
        "eo:center_wavelength": band.center_um,
        "eo:full_width_half_max": band.fwhm_um,
    }


def _fill(array: ArraySpec) -> Any:
    if array.dtype == "bool":
        return False
    if array.nodata is None or math.isnan(array.nodata):
        return "NaN" if np.dtype(array.dtype).kind == "f" else 0
    return float(array.nodata) if np.dtype(array.dtype).kind == "f" else int(array.nodata)


def _coordinate(name: str, dtype: str, rows: int) -> Json:
    meaning = {
        "epsg": ("1", "EPSG code of the footprint's CRS; 0 = no sample in this row"),
        "x_min": ("m", "western edge of the footprint in its CRS"),
        "y_max": ("m", "northern edge of the footprint in its CRS"),
        "lon": ("degrees_east", "longitude of the footprint's centre, WGS 84"),
        "lat": ("degrees_north", "latitude of the footprint's centre, WGS 84"),
    }[name]
    fill: Any = 0 if dtype == "int32" else "NaN"
    return _plain(dtype, rows, "sample", fill, {"units": meaning[0], "long_name": meaning[1]})


def _offsets(dim: str, size: int, resolution_m: float) -> Json:
    way = "east of x_min" if dim.startswith("x") else "north of y_max (negative: rows run south)"
    attributes = {"units": "m", "long_name": f"pixel centre, metres {way}", "resolution_m": resolution_m}
    return _plain("float64", size, dim, "NaN", attributes)


def _offset_values(dim: str, size: int, array: ArraySpec) -> bytes:
    sign = 1.0 if dim.startswith("x") else -1.0
    return (sign * ((np.arange(size, dtype="<f8") + 0.5) * array.resolution_m - array.margin_m)).tobytes()


def _plain(dtype: str, size: int, dim: str, fill: Any, attributes: Json) -> Json:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [size],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [size]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": [_BYTES],
        "attributes": attributes,
        "dimension_names": [dim],
    }


def _json(data: Json) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
