"""The algorithms that our expression graphs use, by their names in the service."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from testbed.earthengine import filters, geometries, reducers
from testbed.earthengine.arithmetic import BINARY, CASTS, UNARY, binary, unary
from testbed.earthengine.errors import bad
from testbed.earthengine.evaluate import Collection, Evaluation, Feature
from testbed.earthengine.grids import Grid, Projection, crs_of, metres_per_unit
from testbed.earthengine.images import (
    Image,
    Plane,
    by_projection,
    cast,
    constant,
    drawn_bilinear,
    drawn_nearest,
    of_asset,
    retyped,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from shapely.geometry.base import BaseGeometry

Args = dict[str, Any]


def as_image(value: Any, where: str) -> Image:
    """An image from an image, a number or a list of numbers.

    Raises:
        EeError: 400.
    """
    if isinstance(value, Image):
        return value
    if isinstance(value, (int, float)):
        return constant([float(value)])
    if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
        return constant([float(v) for v in value])
    if value is None:
        raise bad(f"{where}: Parameter 'input' is required and may not be null.")
    raise bad(f"{where}: Cannot read the value as an image.")


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
    return Collection(tuple(as_image(i, "ImageCollection.fromImages") for i in args["images"]))


def _reduce_collection(_: Evaluation, args: Args) -> Image:
    reducer = args["reducer"]
    return reducers.composite(reducer.name, as_collection(args["collection"], "reduce").images, f"_{reducer.output}")


def _aggregate(_: Evaluation, args: Args) -> list[Any]:
    images = as_collection(args["collection"], "AggregateFeatureCollection.array").images
    values = [i.properties.get(str(args["property"])) for i in images]
    return [v for v in values if v is not None]


# Bands


def _selected(image: Image, selectors: list[Any]) -> list[int]:
    found: list[int] = []
    for selector in selectors:
        if isinstance(selector, (int, float)):
            if not 0 <= int(selector) < len(image.bands):
                raise bad(f"Image.select: Band index {int(selector)} is out of bounds.")
            hits = [int(selector)]
        elif selector in image.names:
            hits = [image.names.index(selector)]
        else:
            hits = [i for i, n in enumerate(image.names) if re.fullmatch(str(selector), n)]
        if not hits:
            raise bad(
                f"Image.select: Band pattern '{selector}' did not match any bands. "
                f"Available bands: [{', '.join(image.names)}]"
            )
        found += [h for h in hits if h not in found]
    return found


def _select(_: Evaluation, args: Args) -> Image:
    image = as_image(args.get("input"), "Image.select")
    selectors = args["bandSelectors"]
    picked = image.pick(_selected(image, selectors if isinstance(selectors, list) else [selectors]))
    return picked if args.get("newNames") is None else _renamed(picked, args["newNames"])


def _renamed(image: Image, names: Any) -> Image:
    names = names if isinstance(names, list) else [names]
    if len(names) != len(image.bands):
        raise bad(f"Image.rename: Must have as many names ({len(names)}) as bands ({len(image.bands)}).")
    return replace(image, bands=tuple(replace(b, name=str(n)) for b, n in zip(image.bands, names, strict=True)))


def _add_bands(_: Evaluation, args: Args) -> Image:
    image, other = as_image(args["dstImg"], "Image.addBands"), as_image(args["srcImg"], "Image.addBands")
    if args.get("names") is not None:
        other = other.pick(_selected(other, args["names"]))
    if args.get("overwrite"):
        image = image.pick([i for i, n in enumerate(image.names) if n not in other.names])
    return _joined([image, other])


def _joined(images: list[Image]) -> Image:
    used: dict[str, int] = {}
    bands = []
    for band in (b for image in images for b in image.bands):
        count = used[band.name] = used.get(band.name, 0) + 1
        bands.append(band if count == 1 else replace(band, name=f"{band.name}_{count - 1}"))

    def compute(grid: Grid) -> list[Plane]:
        return [plane for image in images for plane in image.compute(grid)]

    return Image(tuple(bands), compute, images[0].properties, images[0].footprint)


def _cat(_: Evaluation, args: Args) -> Image:
    return _joined([as_image(i, "Image.cat") for i in args["images"]])


# Masks


def _mask(ev: Evaluation, args: Args) -> Image:
    image = as_image(args["image"], "Image.mask")
    if args.get("mask") is not None:
        return _update_mask(ev, args, replacing=True)

    def compute(grid: Grid) -> list[Plane]:
        ones = _inside(image, grid)
        return [(m.astype(np.float64), ones) for _, m in image.compute(grid)]

    double = np.dtype("float64")
    return replace(image, bands=tuple(replace(b, dtype=double) for b in image.bands), compute=compute)


def _inside(image: Image, grid: Grid) -> np.ndarray[Any, np.dtype[np.float32]]:
    """1 inside the image's footprint: what stays valid of an operation that keeps the footprint."""
    if image.footprint is None:
        return np.ones((grid.height, grid.width), np.float32)
    return geometries.inside(image.footprint, grid).astype(np.float32)


def _update_mask(_: Evaluation, args: Args, *, replacing: bool = False) -> Image:
    image, mask = as_image(args["image"], "Image.updateMask"), as_image(args["mask"], "Image.updateMask")
    if len(mask.bands) not in (1, len(image.bands)):
        raise bad("Image.updateMask: The mask must have one band, or as many bands as the image.")

    def compute(grid: Grid) -> list[Plane]:
        masks = [np.where(m > 0, np.clip(v.astype(np.float32), 0, 1), 0) for v, m in mask.compute(grid)]
        masks = masks * len(image.bands) if len(masks) == 1 else masks
        planes = zip(image.compute(grid), masks, strict=True)
        return [(v, new if replacing else np.minimum(m, new)) for (v, m), new in planes]

    return replace(image, compute=compute)


def _unmask(_: Evaluation, args: Args) -> Image:
    image = as_image(args["input"], "Image.unmask")
    value = as_image(0 if args.get("value") is None else args["value"], "Image.unmask")
    same = args.get("sameFootprint", True) is not False
    if len(value.bands) not in (1, len(image.bands)):
        raise bad("Image.unmask: The value must have one band, or as many bands as the image.")
    fills = list(value.bands) * (len(image.bands) // len(value.bands))
    dtypes = [
        np.promote_types(b.dtype, f.dtype) if f.dtype.kind == "f" else b.dtype
        for b, f in zip(image.bands, fills, strict=True)
    ]

    def compute(grid: Grid) -> list[Plane]:
        under = value.compute(grid)
        under = under * len(image.bands) if len(under) == 1 else under
        allowed = _inside(image, grid) if same else np.float32(1)
        found = []
        for dtype, (v, m), (fill, fill_mask) in zip(dtypes, image.compute(grid), under, strict=True):
            out = np.where(m > 0, v, cast(fill, dtype)).astype(dtype)
            found.append((out, np.where(m > 0, m, fill_mask * allowed).astype(np.float32)))
        return found

    bands = tuple(replace(b, dtype=d) for b, d in zip(image.bands, dtypes, strict=True))
    return replace(image, bands=bands, compute=compute, footprint=image.footprint if same else None)


def _clip(_: Evaluation, args: Args) -> Image:
    image = as_image(args.get("input"), "Image.clip")
    if any(args.get(k) is not None for k in ("width", "height", "maxDimension", "scale")):
        raise bad("Image.clipToBoundsAndScale: the testbed's Earth Engine clips, it does not scale.")
    outline = geometries.geometry_of(args.get("geometry"))
    if outline is None:
        return image

    def compute(grid: Grid) -> list[Plane]:
        keep = geometries.inside(outline, grid)
        return [(v, np.where(keep, m, 0).astype(np.float32)) for v, m in image.compute(grid)]

    footprint = outline if image.footprint is None else outline.intersection(image.footprint)
    return replace(image, compute=compute, footprint=footprint)


def _remap(_: Evaluation, args: Args) -> Image:
    image = as_image(args["image"], "Image.remap")
    if args.get("bandName") is not None:
        image = image.pick(_selected(image, [args["bandName"]]))
    image = image.pick([0])
    table = dict(zip(args["from"], args["to"], strict=True))
    default = args.get("defaultValue")

    def compute(grid: Grid) -> list[Plane]:
        ((values, mask),) = image.compute(grid)
        out = np.full(values.shape, 0 if default is None else default, np.int32)
        hit = np.zeros(values.shape, bool)
        for old, new in table.items():
            out[values == old], hit[values == old] = new, True
        return [(out, mask if default is not None else np.where(hit, mask, 0).astype(np.float32))]

    return replace(image, bands=(replace(image.bands[0], name="remapped", dtype=np.dtype("int32")),), compute=compute)


# Projections


def _projection(args: Args, where: str) -> Projection:
    crs = args["crs"]
    base = crs if isinstance(crs, Projection) else Projection(geometries.code_of(crs), Affine.identity())
    if args.get("crsTransform") is not None:
        return Projection(base.crs, Affine(*args["crsTransform"]))
    if args.get("scale") is not None:
        step = float(args["scale"]) / metres_per_unit(base.crs)
        return Projection(base.crs, Affine(step, 0, 0, 0, -step, 0))
    if isinstance(crs, Projection):
        return base
    raise bad(f"{where}: a crs needs a crsTransform or a scale.")


def _reproject(_: Evaluation, args: Args) -> Image:
    image, projection = as_image(args["image"], "Image.reproject"), _projection(args, "Image.reproject")
    return replace(
        image,
        bands=tuple(replace(b, projection=projection) for b in image.bands),
        compute=lambda grid: drawn_nearest(image, projection, grid),
    )


def _resample(_: Evaluation, args: Args) -> Image:
    image = as_image(args["image"], "Image.resample")
    if (args.get("mode") or "bilinear") != "bilinear":
        raise bad("Image.resample: the testbed's Earth Engine interpolates bilinearly only.")
    return replace(image, compute=lambda grid: by_projection(image, drawn_bilinear, grid))


def _default_projection(_: Evaluation, args: Args) -> Image:
    image, projection = as_image(args["image"], "setDefaultProjection"), _projection(args, "setDefaultProjection")
    return replace(image, bands=tuple(replace(b, projection=projection) for b in image.bands))


def _projection_of(_: Evaluation, args: Args) -> Projection:
    image = as_image(args["image"], "Image.projection")
    found = {b.projection for b in image.bands}
    if len(found) != 1:
        raise bad(
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick exactly one band."
        )
    return found.pop()


def _new_projection(_: Evaluation, args: Args) -> Projection:
    transform = args.get("transform")
    crs_of(str(args["crs"]))
    return Projection(str(args["crs"]), Affine(*transform) if transform else Affine.identity())


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
    return reducers.reduce_region(as_image(args["image"], "Image.reduceRegion"), args["reducer"], region)


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
        "Image.select": _select,
        "Image.rename": lambda _, a: _renamed(as_image(a["input"], "Image.rename"), a["names"]),
        "Image.addBands": _add_bands,
        "Image.cat": _cat,
        "Image.constant": lambda _, a: as_image(a["value"], "Image.constant"),
        "Image.mask": _mask,
        "Image.updateMask": _update_mask,
        "Image.selfMask": lambda e, a: _update_mask(e, {"image": a["image"], "mask": a["image"]}),
        "Image.unmask": _unmask,
        "Image.clip": _clip,
        "Image.clipToBoundsAndScale": _clip,
        "Image.remap": _remap,
        "Image.reproject": _reproject,
        "Image.resample": _resample,
        "Image.setDefaultProjection": _default_projection,
        "Image.projection": _projection_of,
        "Image.reduce": lambda _, a: reducers.across_bands(a["reducer"], as_image(a["image"], "Image.reduce")),
        "Image.reduceRegion": _reduce_region,
        "Image.bandNames": lambda _, a: as_image(a["image"], "Image.bandNames").names,
        "Image.geometry": _footprint,
        "Element.geometry": _footprint,
        "Projection": _new_projection,
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
    return binary(name, as_image(args.get("image1"), f"Image.{name}"), as_image(args.get("image2"), f"Image.{name}"))


def _unary(name: str, _: Evaluation, args: Args) -> Image:
    return unary(name, as_image(args.get("value"), f"Image.{name}"))


def _cast(dtype: np.dtype[Any], _: Evaluation, args: Args) -> Image:
    return retyped(as_image(args.get("value"), "Image.cast"), dtype)


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
