"""The form of a dataset as JSON: written by the factory, and checked field by field when it is read."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

from landweave.layout import (
    DTYPES,
    MOST_BYTES,
    SPLITS,
    ArraySpec,
    AttributeSpec,
    BandSpec,
    ClassSpec,
    CodecSpec,
    DatasetSpec,
    GroupSpec,
    Json,
    SharedGround,
)
from landweave.strict import NAME, SHA256, Fields, number, refuse, whole

_MOST_SAMPLE_BYTES = 2**34
_MOST_SLOTS = _MOST_CLASSES = 2**16
_MOST_GROUPS, _MOST_REVISIONS, _MOST_SHARDS, _MOST_ROWS = 200, 10_000, 10**7, 2**24
_MOST_PACKED = 2**18
"""Chunks of a sample that lie side by side."""
_METRES = (1e-3, 1e7)
_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_DIMS = re.compile(r"sample( time)?( band[A-Za-z0-9_.-]{0,64})? y[A-Za-z0-9_.]{0,64} x[A-Za-z0-9_.]{0,64}")


def spec_to_json(spec: DatasetSpec) -> Json:
    """The spec as JSON, without the recipe's text (that has its own file). NaN becomes 'NaN'."""
    data = asdict(spec)
    del data["recipe"]
    data["attributes"] = [{k: v for k, v in a.items() if v} for a in data["attributes"]]
    _without(data, "revision", "attributes", "shared_ground", "pages", "packed")
    if spec.questions is None:
        del data["questions"]
    for group in data["groups"]:
        _without(group, "revision", "target")
        for array in group["arrays"]:
            _without(array, "margin_m", "bands_per_chunk")
            if array["nodata"] is not None and math.isnan(array["nodata"]):
                array["nodata"] = "NaN"
    return data


def _without(data: Json, *names: str) -> None:
    """Leave out fields that say nothing."""
    for name in names:
        if not data[name]:
            del data[name]


def spec_from_json(data: Json, where: str = "dataset") -> DatasetSpec:
    """The spec that `spec_to_json` wrote; unknown keys are ignored, because later minor versions may add some.

    Raises:
        CorruptError: a field is not of the kind, range or spelling that the layout has.
    """
    found = Fields(data, where)
    revision = found.whole("revision", 0, _MOST_REVISIONS, 0)
    asked = found.only("questions")
    spec = DatasetSpec(
        name=found.text("name"),
        description=found.text("description"),
        licence=found.text("licence"),
        recipe_sha256=found.text("recipe_sha256", SHA256),
        shards=found.whole("shards", 0, _MOST_SHARDS),
        shard_samples=found.whole("shard_samples", 1, _MOST_ROWS),
        size_m=found.number("size_m", *_METRES),
        resolution_m=found.number("resolution_m", *_METRES),
        groups=tuple(_group(g, revision) for g in found.objects("groups", _MOST_GROUPS)),
        attributes=tuple(_attribute(a) for a in found.objects("attributes", default=[])),
        shared_ground=tuple(_shared(s) for s in found.objects("shared_ground", default=[])),
        revision=revision,
        questions=None if asked is None else whole(asked, found.at("questions"), 0, revision),
        pages=found.flag("pages", default=False),
        packed=found.texts("packed") if "packed" in found else (),
    )
    _check_packed(spec, found.at("packed"))
    for what, names in (("groups", spec.groups), ("attributes", spec.attributes)):
        if len({n.name for n in names}) != len(names):
            refuse(found.at(what), [n.name for n in names], "names that differ")
    for group in spec.groups:
        if group.arrays[0].margin_m * 2 <= -spec.size_m or len({a.margin_m for a in group.arrays}) > 1:
            refuse(where, f"{group.name} with margins {[a.margin_m for a in group.arrays]} m", "one that leaves ground")
    for array in spec.arrays:
        if 16 * spec.shard_samples * array.chunks_per_row > MOST_BYTES:
            chunks = f"{spec.shard_samples} rows of {array.chunks_per_row} chunks"
            refuse(where, f"{array.path} with {chunks}", "an index below 2 GiB")
    return spec


def _check_packed(spec: DatasetSpec, where: str) -> None:
    """At least two arrays that the dataset was built with, each once: those of a revision came later."""
    chunks = {a.path: a.chunks_per_row for g in spec.groups if not g.revision for a in g.arrays}
    names = set(spec.packed)
    if spec.packed and (len(names) < 2 or len(names) < len(spec.packed) or names - chunks.keys()):
        refuse(where, list(spec.packed), "at least two arrays that the dataset was built with, each once")
    if (found := sum(chunks[name] for name in names)) > _MOST_PACKED:
        refuse(where, f"arrays with {found} chunks per sample", f"at most {_MOST_PACKED}")


def statistics_from_json(data: Any, where: str) -> Json:
    """Array -> band -> 'all' | 'clear' -> figures, each null or a number.

    Raises:
        CorruptError: it is something else.
    """
    arrays = Fields(data, where).object("bands")
    found: Json = {}
    for array in arrays:
        bands = arrays.object(array)
        found[array] = {band: _figures(bands.object(band)) for band in bands}
    return found


def _figures(band: Fields) -> Json:
    found: Json = {}
    for pixels in band:
        figures = band.object(pixels)
        found[pixels] = {name: figures.number_or_none(name) for name in figures if name != "percentiles"}
        found[pixels]["count"] = figures.whole("count", 0, 2**63)
        if "percentiles" in figures:
            percentiles = figures.object("percentiles")
            found[pixels]["percentiles"] = {p: percentiles.number_or_none(p) for p in percentiles}
    return found


def _group(found: Fields, newest: int) -> GroupSpec:
    name = found.text("name", NAME)
    group = GroupSpec(
        name=name,
        kind=found.choice("kind", ("modality", "label")),
        title=found.text("title"),
        slots=found.texts("slots", most=_MOST_SLOTS),
        licence=found.text("licence"),
        attribution=found.text("attribution"),
        arrays=tuple(_array(a, name) for a in found.objects("arrays", _MOST_GROUPS)),
        classes=tuple(_class(c) for c in found.objects("classes", _MOST_CLASSES)),
        vectors=found.flag("vectors"),
        crosswalk=found.text_or_none("crosswalk") or "",
        revision=found.whole("revision", 0, newest, 0),
        target=found.flag("target", default=False),
    )
    if not group.arrays or len({a.name for a in group.arrays}) != len(group.arrays):
        refuse(found.at("arrays"), [a.name for a in group.arrays], "at least one, with names that differ")
    for array in group.arrays:
        if array.slots != group.slot_count or array.dated != group.dated:
            refuse(found.where, f"{array.name} with {array.slots} dates", f"{group.slot_count}, one for each slot")
    return group


def _array(found: Fields, group: str) -> ArraySpec:
    shape = tuple(whole(n, found.at("sample_shape"), 1, MOST_BYTES) for n in found.entries("sample_shape", 4))
    dtype = found.choice("dtype", DTYPES)
    array = ArraySpec(
        group=found.choice("group", (group,)),
        name=found.text("name", NAME),
        role=found.choice("role", ("pixels", "valid", "cloud")),
        dims=_dims(found, len(shape)),
        sample_shape=shape,
        dtype=dtype,
        nodata=_nodata(found, dtype),
        kind=found.choice("kind", ("continuous", "classes", "bits", "mask")),
        resolution_m=found.number("resolution_m", *_METRES),
        unit=found.text("unit"),
        scale=found.number("scale"),
        offset=found.number("offset"),
        bands=tuple(_band(b) for b in found.objects("bands", _MOST_CLASSES)),
        codec=_codec(found.object("codec")),
        margin_m=found.number_or_none("margin_m", -_METRES[1], _METRES[1]) or 0.0,
        bands_per_chunk=found.whole("bands_per_chunk", 0, MOST_BYTES, 0),
    )
    pixels = array.role == "pixels"
    smooth = array.kind == "continuous"
    if {array.kind == "mask", dtype == "bool"} != {not pixels} or (dtype[0] == "f" and not smooth):
        refuse(found.where, f"{array.role} of {array.kind} as {dtype}", "masks of bool, classes and bits of integers")
    axes = array.chip_shape[:-2]
    if pixels and len(array.bands) != (axes[0] if axes else 1):
        refuse(found.at("bands"), f"{len(array.bands)} entries", "one for each band")
    if array.bands_per_chunk and (not axes or array.bands_per_chunk >= axes[0]):
        refuse(found.at("bands_per_chunk"), array.bands_per_chunk, "fewer than the array has bands")
    if array.chip_bytes > MOST_BYTES - 64 or array.chip_bytes * array.slots > _MOST_SAMPLE_BYTES:
        refuse(found.at("sample_shape"), list(shape), "a chip below 2 GiB and a sample below 16 GiB")
    return array


def _dims(found: Fields, axes: int) -> tuple[str, ...]:
    """'sample', then 'time', a band axis and y, x."""
    dims = found.texts("dims", most=5)
    if len(dims) != axes + 1 or not _DIMS.fullmatch(" ".join(dims)):
        refuse(found.at("dims"), list(dims), f"sample, [time,] [band...,] y..., x... for {axes} axes of a sample")
    return dims


def _nodata(found: Fields, dtype: str) -> float | None:
    """A number that the dtype can hold; NaN for floats only; None for masks."""
    value = found.only("nodata")
    if value is None or dtype == "bool":
        return value if value is None else refuse(found.at("nodata"), value, "null for a mask")
    if dtype[0] == "f":
        return math.nan if value == "NaN" else number(value, found.at("nodata"), -3.5e38, 3.5e38)
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if number(value, found.at("nodata"), low, high) != int(value):
        refuse(found.at("nodata"), value, f"an integer, for {dtype}")
    return value  # type: ignore[no-any-return]


def _codec(found: Fields) -> CodecSpec:
    return CodecSpec(
        cname=found.choice("cname", ("blosclz", "lz4", "lz4hc", "zlib", "zstd")),
        level=found.whole("level", 0, 9),
        shuffle=found.choice("shuffle", ("noshuffle", "shuffle", "bitshuffle")),
        block_bytes=found.whole("block_bytes", 0, MOST_BYTES, 0),
    )


def _band(found: Fields) -> BandSpec:
    return BandSpec(
        name=found.text("name"),
        common_name=found.text_or_none("common_name"),
        center_um=found.number_or_none("center_um", 0.0, 1e9),
        fwhm_um=found.number_or_none("fwhm_um", 0.0, 1e9),
    )


def _class(found: Fields) -> ClassSpec:
    return ClassSpec(
        code=found.whole("code", 0, _MOST_CLASSES),
        name=found.text("name"),
        colour=found.text("colour", _COLOUR),
        common=found.text("common"),
    )


def _attribute(found: Fields) -> AttributeSpec:
    return AttributeSpec(
        name=found.text("name", NAME),
        dtype=found.choice("dtype", ("bool", "int64", "float64", "string")),
        unit=found.text_or_none("unit") or "",
        description=found.text_or_none("description") or "",
    )


def _shared(found: Fields) -> SharedGround:
    return SharedGround(
        split=found.choice("split", SPLITS),
        other=found.choice("other", SPLITS),
        samples=found.whole("samples", 0, 2**40),
        share=found.number("share", 0.0, 2.0),
    )
