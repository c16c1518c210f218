"""Algorithms from images to images: bands, masks, values and projections."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from testbed.earthengine import geometries
from testbed.earthengine.errors import bad
from testbed.earthengine.grids import Grid, Projection, crs_of, metres_per_unit
from testbed.earthengine.images import (
    Image,
    Plane,
    by_projection,
    cast,
    constant,
    drawn_bilinear,
    drawn_nearest,
)

if TYPE_CHECKING:
    from testbed.earthengine.evaluate import Evaluation

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


def select(_: Evaluation, args: Args) -> Image:
    """Bands by name, pattern or index."""
    image = as_image(args.get("input"), "Image.select")
    selectors = args["bandSelectors"]
    picked = image.pick(_selected(image, selectors if isinstance(selectors, list) else [selectors]))
    return picked if args.get("newNames") is None else renamed(picked, args["newNames"])


def renamed(image: Image, names: Any) -> Image:
    """Bands with other names."""
    names = names if isinstance(names, list) else [names]
    if len(names) != len(image.bands):
        raise bad(f"Image.rename: Must have as many names ({len(names)}) as bands ({len(image.bands)}).")
    return replace(image, bands=tuple(replace(b, name=str(n)) for b, n in zip(image.bands, names, strict=True)))


def add_bands(_: Evaluation, args: Args) -> Image:
    """Bands of two images."""
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


def cat(_: Evaluation, args: Args) -> Image:
    """Bands of many images."""
    return _joined([as_image(i, "Image.cat") for i in args["images"]])


# Masks


def mask(ev: Evaluation, args: Args) -> Image:
    """The mask as an image, or the image with another mask."""
    image = as_image(args["image"], "Image.mask")
    if args.get("mask") is not None:
        return update_mask(ev, args, replacing=True)

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


def update_mask(_: Evaluation, args: Args, *, replacing: bool = False) -> Image:
    """The image masked where the mask is zero too."""
    image, mask = as_image(args["image"], "Image.updateMask"), as_image(args["mask"], "Image.updateMask")
    if len(mask.bands) not in (1, len(image.bands)):
        raise bad("Image.updateMask: The mask must have one band, or as many bands as the image.")

    def compute(grid: Grid) -> list[Plane]:
        masks = [np.where(m > 0, np.clip(v.astype(np.float32), 0, 1), 0) for v, m in mask.compute(grid)]
        masks = masks * len(image.bands) if len(masks) == 1 else masks
        planes = zip(image.compute(grid), masks, strict=True)
        return [(v, new if replacing else np.minimum(m, new)) for (v, m), new in planes]

    return replace(image, compute=compute)


def unmask(_: Evaluation, args: Args) -> Image:
    """Masked pixels filled."""
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


def clip(_: Evaluation, args: Args) -> Image:
    """Masked outside a geometry."""
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


def remap(_: Evaluation, args: Args) -> Image:
    """Class codes replaced."""
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


def reproject(_: Evaluation, args: Args) -> Image:
    """Computed on another lattice."""
    image, projection = as_image(args["image"], "Image.reproject"), _projection(args, "Image.reproject")
    return replace(
        image,
        bands=tuple(replace(b, projection=projection) for b in image.bands),
        compute=lambda grid: drawn_nearest(image, projection, grid),
    )


def resample(_: Evaluation, args: Args) -> Image:
    """Interpolated bilinearly."""
    image = as_image(args["image"], "Image.resample")
    if (args.get("mode") or "bilinear") != "bilinear":
        raise bad("Image.resample: the testbed's Earth Engine interpolates bilinearly only.")
    return replace(image, compute=lambda grid: by_projection(image, drawn_bilinear, grid))


def default_projection(_: Evaluation, args: Args) -> Image:
    """The lattice that is taken to be its own."""
    image, projection = as_image(args["image"], "setDefaultProjection"), _projection(args, "setDefaultProjection")
    return replace(image, bands=tuple(replace(b, projection=projection) for b in image.bands))


def projection_of(_: Evaluation, args: Args) -> Projection:
    """The lattice of its bands."""
    image = as_image(args["image"], "Image.projection")
    found = {b.projection for b in image.bands}
    if len(found) != 1:
        raise bad(
            "Image.projection: The bands of the specified image contains different projections. "
            "Use Image.select to pick exactly one band."
        )
    return found.pop()


def new_projection(_: Evaluation, args: Args) -> Projection:
    """A CRS with a transform."""
    transform = args.get("transform")
    crs_of(str(args["crs"]))
    return Projection(str(args["crs"]), Affine(*transform) if transform else Affine.identity())
