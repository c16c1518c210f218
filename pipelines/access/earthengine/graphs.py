"""Expression graphs: stored bands of named images, filtered collections, cloud masks, composites, class shares.

All are built by the client and computed by the service; a session must be open. Images whose pixels go into a dataset
are named one by one (`stored`): a filter would find others tomorrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import ee

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.access.chips import Reduce
    from pipelines.access.earthengine.products import Product
    from schemas.place import BBox

How = Literal["first", "mosaic", "median", "mode"]
_SCL_CLOUDS = (3, 8, 9, 10)
"""Cloud shadow, cloud of medium and of high probability, thin cirrus: what pipelines.sources.sentinel2 masks."""
_QA_CLOUDS = 0b11110
"""QA_PIXEL bits 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow: what pipelines.sources.landsat masks."""


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
    """One map of classes (band 'label') of named maps; images of one overpass count once, the first of them on top.

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


def collection(
    collection_id: str,
    *,
    period: tuple[dt.datetime, dt.datetime] | None = None,
    bbox: BBox | None = None,
    at_most: Mapping[str, float] | None = None,
    equal: Mapping[str, str | float] | None = None,
) -> ee.ImageCollection:
    """A collection filtered at the service, in order of time.

    Args:
        collection_id: Asset id.
        period: First moment and the moment after the last, UTC (the service leaves out the end).
        bbox: West, south, east, north in degrees; west > east crosses the antimeridian.
        at_most: Property -> largest value that passes.
        equal: Property -> value that passes.
    """
    found = ee.ImageCollection(collection_id)
    if period is not None:
        found = found.filterDate(*(moment.isoformat() for moment in period))
    if bbox is not None:
        found = found.filterBounds(ee.Geometry.BBox(*bbox))
    for name, value in sorted((at_most or {}).items()):
        found = found.filter(ee.Filter.lte(name, value))
    for name, wanted in sorted((equal or {}).items()):
        found = found.filter(ee.Filter.eq(name, wanted))
    in_order: ee.ImageCollection = found.sort("system:time_start")
    return in_order


def composite(images: ee.ImageCollection, bands: Sequence[str], how: How) -> ee.Image:
    """One image of many. Classes take 'mode', numbers 'median'; 'first' is the oldest image alone."""
    picked = images.select(list(bands))
    calls: dict[How, Callable[[], ee.Image]] = {
        "first": lambda: ee.Image(picked.first()),
        "mosaic": picked.mosaic,
        "median": picked.median,
        "mode": picked.mode,
    }
    return calls[how]()
