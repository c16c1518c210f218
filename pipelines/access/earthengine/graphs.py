"""Expression graphs: stored bands of named images, one map of classes made of many, and composites of images.

All are built by the client and computed by the service; a session must be open. Images whose pixels go into a dataset
are named one by one (`stored`): a filter would find others tomorrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import ee

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.access.chips import Reduce
    from pipelines.access.earthengine.products import Product


def stored(
    image_ids: Sequence[str],
    bands: Sequence[str],
    *,
    lattice: tuple[str, Sequence[float]] | None = None,
) -> ee.Image:
    """Stored bands of images mosaicked: the first of `image_ids` that has a valid pixel wins.

    Args:
        image_ids: Asset ids.
        bands: Earth Engine's band names.
        lattice: (CRS, affine transform a..f) of the images where the grid is another one and pixels are to be
            interpolated bilinearly on it, as floats: what the service makes of whole numbers there is not written
            anywhere. None = nearest neighbour, which copies pixels of the grid's own lattice.
    """
    images = [ee.Image(i).select(list(bands)) for i in image_ids]
    # the service puts the last on top
    image: ee.Image = images[0] if len(images) == 1 else ee.ImageCollection.fromImages(images[::-1]).mosaic()
    if lattice is None:
        return image
    crs, transform = lattice
    if len(images) > 1:  # a mosaic has lost its projection, and would be interpolated on pixels of one degree
        image = image.setDefaultProjection(crs, list(transform))
    smooth: ee.Image = image.toFloat().resample("bilinear")
    return smooth


def reduced(image_ids: Sequence[str], product: Product, reduce: Reduce) -> ee.Image:
    """One class map (band 'label') made from the named maps; images of one overpass count once, the first one on top.

    Args:
        image_ids: Asset ids; an index begins with its overpass ('20230601T100031_...').
        product: Dynamic World: band 'label' and a lattice 'probabilities' whose bands are in the order of the codes.
        reduce: How.
    """
    takes: dict[str, list[str]] = {}
    for image_id in image_ids:
        takes.setdefault(image_id.rpartition("/")[2].partition("_")[0], []).append(image_id)
    bands = ["label"] if reduce.how == "mode" else [b.name for b in product.lattices()["probabilities"]]
    maps = ee.ImageCollection.fromImages([stored(takes[take], bands) for take in sorted(takes)])
    if reduce.how == "mode":
        commonest: ee.Image = maps.mode()
        return commonest
    mean = maps.mean()
    top = mean.reduce(ee.Reducer.max())
    # the code of the first band that is the greatest: others are out of the race by a hundred
    codes = mean.lt(top).multiply(100).add(ee.Image.constant(list(range(len(bands)))))
    label: ee.Image = codes.reduce(ee.Reducer.min()).rename(["label"]).updateMask(top.gte(reduce.least))
    return label


def piled(images: Sequence[ee.Image], bands: Sequence[str]) -> ee.Image:
    """Bands of many images side by side, named in their order '0_B2', '0_B3', '1_B2', ..."""
    named = [image.rename([f"{i}_{band}" for band in bands]) for i, image in enumerate(images)]
    found: ee.Image = ee.Image.cat(named)
    return found


def clear_of(codes: ee.Image, clear: Sequence[int], lattice: tuple[str, Sequence[float]]) -> ee.Image:
    """1 where the code on a grid (CRS, affine transform a..f) is one of `clear`, else 0; masked where codes are."""
    crs, transform = lattice
    found: ee.Image = codes.reproject(crs, list(transform)).remap(list(clear), [1] * len(clear), 0)
    return found


def rounded(image: ee.Image) -> ee.Image:
    """Whole numbers, halves up."""
    found: ee.Image = image.add(0.5).floor()
    return found


def over(images: Sequence[ee.Image], how: Literal["median", "mean", "mosaic"]) -> ee.Image:
    """Many images with the same bands as one; of a mosaic the first is on top."""
    stack = ee.ImageCollection.fromImages(list(images[::-1] if how == "mosaic" else images))
    calls: dict[str, Callable[[], ee.Image]] = {"median": stack.median, "mean": stack.mean, "mosaic": stack.mosaic}
    return calls[how]()
