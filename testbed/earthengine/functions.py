"""The algorithms that our expression graphs use, under the names of the service."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from testbed.earthengine import filters, geometries, reducers
from testbed.earthengine import image_functions as on_images
from testbed.earthengine.arithmetic import BINARY, CASTS, UNARY, binary, unary
from testbed.earthengine.errors import bad
from testbed.earthengine.evaluate import Collection, Evaluation, Feature
from testbed.earthengine.grids import Projection
from testbed.earthengine.images import (
    Image,
    of_asset,
    retyped,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shapely.geometry.base import BaseGeometry

Args = dict[str, Any]


def as_collection(value: Any, where: str) -> Collection:
    """A collection.

    Raises:
        EeError: 400.
    """
    if isinstance(value, Collection):
        return value
    raise bad(f"{where}: Parameter 'collection' is required and must be a collection.")


# Loading


def _load_image(ev: Evaluation, args: Args) -> Image:
    return of_asset(ev.catalogue.image(str(args["id"])), ev.cost.read)


def _load_collection(ev: Evaluation, args: Args) -> Collection:
    asset_id = str(args["id"])
    return Collection(tuple(of_asset(i, ev.cost.read) for i in ev.catalogue.collection(asset_id)), asset_id)


# Collections


def _filter(_: Evaluation, args: Args) -> Collection:
    collection = as_collection(args["collection"], "Collection.filter")
    if not callable(args["filter"]):
        raise bad("Collection.filter: the testbed's Earth Engine takes Filter objects only.")
    return replace(collection, images=tuple(i for i in collection.images if args["filter"](i)))


def _map(_: Evaluation, args: Args) -> Collection:
    collection = as_collection(args["collection"], "Collection.map")
    found = [args["baseAlgorithm"](image) for image in collection.images]
    if any(f is None for f in found) and not args.get("dropNulls"):
        raise bad("Collection.map: A mapped algorithm must return a Feature or Image.")
    kept = [f for f in found if f is not None]
    indexed = [
        replace(new, properties={**new.properties, "system:index": old.properties.get("system:index")})
        for new, old in zip(kept, collection.images, strict=False)
    ]
    return Collection(tuple(indexed))


def _limit(_: Evaluation, args: Args) -> Collection:
    collection = as_collection(args["collection"], "Collection.limit")
    images = list(collection.images)
    if args.get("key") is not None:
        key, ascending = str(args["key"]), args.get("ascending", True)
        images.sort(key=lambda i: _sortable(i.properties.get(key)), reverse=ascending is False)
    count = args.get("limit")
    return replace(collection, images=tuple(images if count is None else images[: int(count)]))


def _sortable(value: Any) -> tuple[int, Any]:
    return (1, 0) if value is None else (0, value)


def _first(_: Evaluation, args: Args) -> Image | None:
    images = as_collection(args["collection"], "Collection.first").images
    return images[0] if images else None


def _merge(_: Evaluation, args: Args) -> Collection:
    return Collection(
        as_collection(args["collection1"], "merge").images + as_collection(args["collection2"], "").images
    )


def _from_images(_: Evaluation, args: Args) -> Collection:
    return Collection(tuple(on_images.as_image(i, "ImageCollection.fromImages") for i in args["images"]))


def _reduce_collection(_: Evaluation, args: Args) -> Image:
    reducer = args["reducer"]
    return reducers.composite(reducer.name, as_collection(args["collection"], "reduce").images, f"_{reducer.output}")


def _aggregate(_: Evaluation, args: Args) -> list[Any]:
    images = as_collection(args["collection"], "AggregateFeatureCollection.array").images
    values = [i.properties.get(str(args["property"])) for i in images]
    return [v for v in values if v is not None]


# Values


def _reduce_region(_: Evaluation, args: Args) -> dict[str, Any]:
    crs, transform = args.get("crs"), args.get("crsTransform")
    region = reducers.Region(
        geometry=geometries.geometry_of(args.get("geometry")),
        crs=crs.crs if isinstance(crs, Projection) else crs,
        transform=Affine(*transform) if transform else None,
        scale_m=None if args.get("scale") is None else float(args["scale"]),
        max_pixels=float(args.get("maxPixels") or 1e7),
        best_effort=bool(args.get("bestEffort")),
    )
    return reducers.reduce_region(on_images.as_image(args["image"], "Image.reduceRegion"), args["reducer"], region)


def _get(_: Evaluation, args: Args) -> Any:
    return _properties(args["object"]).get(str(args["property"]))


def _properties(value: Any) -> dict[str, Any]:
    if isinstance(value, (Image, Feature)):
        return dict(value.properties)
    raise bad("Element: Parameter 'object' is required and may not be null.")


def _set(_: Evaluation, args: Args) -> Any:
    changes = {str(args["key"]): args.get("value")} if "key" in args else dict(args["properties"])
    return replace(args["object"], properties={**_properties(args["object"]), **changes})


def _copy_properties(_: Evaluation, args: Args) -> Any:
    source, target = _properties(args["source"]), _properties(args["destination"])
    names = args.get("properties")
    copied = {k: v for k, v in source.items() if (k in names if names else not k.startswith("system:"))}
    return replace(args["destination"], properties={**target, **copied})


def _to_dictionary(_: Evaluation, args: Args) -> dict[str, Any]:
    found, names = _properties(args["element"]), args.get("properties")
    return {k: v for k, v in found.items() if (k in names if names else True)}


def _advance(_: Evaluation, args: Args) -> filters.Moment:
    days = {"second": 1 / 86400, "minute": 1 / 1440, "hour": 1 / 24, "day": 1.0, "week": 7.0}
    unit = str(args["unit"]).rstrip("s")
    start = filters.moment(args["date"])
    if unit in days:
        return filters.Moment(start.ms + float(args["delta"]) * days[unit] * 86_400_000)
    when = dt.datetime.fromtimestamp(start.ms / 1000, dt.UTC)
    months = when.year * 12 + when.month - 1 + int(args["delta"]) * (12 if unit == "year" else 1)
    return filters.Moment(when.replace(year=months // 12, month=months % 12 + 1).timestamp() * 1000)


def _period(_: Evaluation, args: Args) -> filters.Period:
    start = filters.moment(args["start"])
    end = filters.Moment(start.ms + 1) if args.get("end") is None else filters.moment(args["end"])
    if end.ms <= start.ms:
        raise bad("DateRange: End must be after start.")
    return filters.Period(start, end)


def _footprint(_: Evaluation, args: Args) -> BaseGeometry | None:
    value = args.get("feature")
    return value.footprint if isinstance(value, Image) else geometries.geometry_of(value)


def _table() -> dict[str, Callable[[Evaluation, Args], Any]]:
    table: dict[str, Callable[[Evaluation, Args], Any]] = {
        "Image.load": _load_image,
        "ImageCollection.load": _load_collection,
        "ImageCollection.fromImages": _from_images,
        "Collection.filter": _filter,
        "Collection.map": _map,
        "Collection.limit": _limit,
        "Collection.first": _first,
        "Collection.merge": _merge,
        "Collection.size": lambda _, a: len(as_collection(a["collection"], "Collection.size").images),
        "Collection.toList": lambda _, a: list(as_collection(a["collection"], "").images[: int(a["count"])]),
        "ImageCollection.mosaic": lambda _, a: reducers.mosaic(as_collection(a["collection"], "mosaic").images),
        "ImageCollection.reduce": _reduce_collection,
        "AggregateFeatureCollection.array": _aggregate,
        "Image.select": on_images.select,
        "Image.rename": lambda _, a: on_images.renamed(on_images.as_image(a["input"], "Image.rename"), a["names"]),
        "Image.addBands": on_images.add_bands,
        "Image.cat": on_images.cat,
        "Image.constant": lambda _, a: on_images.as_image(a["value"], "Image.constant"),
        "Image.mask": on_images.mask,
        "Image.updateMask": on_images.update_mask,
        "Image.selfMask": lambda e, a: on_images.update_mask(e, {"image": a["image"], "mask": a["image"]}),
        "Image.unmask": on_images.unmask,
        "Image.clip": on_images.clip,
        "Image.clipToBoundsAndScale": on_images.clip,
        "Image.remap": on_images.remap,
        "Image.reproject": on_images.reproject,
        "Image.resample": on_images.resample,
        "Image.setDefaultProjection": on_images.default_projection,
        "Image.projection": on_images.projection_of,
        "Image.reduce": lambda _, a: reducers.across_bands(
            a["reducer"], on_images.as_image(a["image"], "Image.reduce")
        ),
        "Image.reduceRegion": _reduce_region,
        "Image.bandNames": lambda _, a: on_images.as_image(a["image"], "Image.bandNames").names,
        "Image.geometry": _footprint,
        "Element.geometry": _footprint,
        "Projection": on_images.new_projection,
        "Projection.nominalScale": lambda _, a: a["proj"].metres,
        "Element.get": _get,
        "Element.set": _set,
        "Element.setMulti": _set,
        "Element.copyProperties": _copy_properties,
        "Element.toDictionary": _to_dictionary,
        "Element.propertyNames": lambda _, a: list(_properties(a["element"])),
        "Feature": lambda _, a: Feature(a.get("geometry"), a.get("metadata") or {}),
        "Collection": lambda _, a: Feature(geometries.union_of(a.get("features")), {}),
        "Collection.geometry": lambda _, a: a["collection"].geometry,
        "Date": lambda _, a: filters.moment(a["value"]),
        "Date.millis": lambda _, a: filters.moment(a["date"]).ms,
        "Date.advance": _advance,
        "DateRange": _period,
        "Dictionary": lambda _, a: dict(a.get("input") or {}),
        "List.get": lambda _, a: a["list"][int(a["index"])],
        "List.size": lambda _, a: len(a["list"]),
        "Number.add": lambda _, a: a["left"] + a["right"],
        "Number.subtract": lambda _, a: a["left"] - a["right"],
        "Number.multiply": lambda _, a: a["left"] * a["right"],
        "Number.divide": lambda _, a: a["left"] / a["right"],
    }
    for name in reducers.STACKING:
        table[f"reduce.{name}"] = partial(_stacked, name)
    for name in (*reducers.STACKING, "frequencyHistogram"):
        table[f"Reducer.{name}"] = partial(_reducer, name)
    for name in BINARY:
        table[f"Image.{name}"] = partial(_binary, name)
    for name in UNARY:
        table[f"Image.{name}"] = partial(_unary, name)
    for name, dtype in CASTS.items():
        table[f"Image.{name}"] = partial(_cast, np.dtype(dtype))
    for old, new in (
        ("bitwise_and", "bitwiseAnd"),
        ("bitwise_or", "bitwiseOr"),
        ("left_shift", "leftShift"),
        ("right_shift", "rightShift"),
    ):
        table[f"Image.{old}"] = table[f"Image.{new}"]
    table.update(geometries.constructors())
    return table


def _stacked(name: str, _: Evaluation, args: Args) -> Image:
    return reducers.composite(name, as_collection(args["collection"], f"reduce.{name}").images)


def _reducer(name: str, _: Evaluation, __: Args) -> reducers.Reducer:
    return reducers.Reducer(name)


def _binary(name: str, _: Evaluation, args: Args) -> Image:
    return binary(
        name,
        on_images.as_image(args.get("image1"), f"Image.{name}"),
        on_images.as_image(args.get("image2"), f"Image.{name}"),
    )


def _unary(name: str, _: Evaluation, args: Args) -> Image:
    return unary(name, on_images.as_image(args.get("value"), f"Image.{name}"))


def _cast(dtype: np.dtype[Any], _: Evaluation, args: Args) -> Image:
    return retyped(on_images.as_image(args.get("value"), "Image.cast"), dtype)


def _filter_of(name: str, _: Evaluation, args: Args) -> filters.Passes | None:
    return filters.make(name, args)


FUNCTIONS: dict[str, Callable[[Evaluation, Args], Any]] = _table()
"""Name of an algorithm -> what it does."""
for _name in [
    "and",
    "or",
    "not",
    "calendarRange",
    "notNull",
    "equals",
    "eq",
    "neq",
    "notEquals",
    "lessThan",
    "lt",
    "lessThanOrEquals",
    "lte",
    "greaterThan",
    "gt",
    "greaterThanOrEquals",
    "gte",
    "inList",
    "listContains",
    "stringContains",
    "stringStartsWith",
    "stringEndsWith",
    "dateRangeContains",
    "intersects",
]:
    FUNCTIONS[f"Filter.{_name}"] = partial(_filter_of, _name)
