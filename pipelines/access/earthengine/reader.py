"""Reads chips from Earth Engine, with the same interface as `cog.Reader` for COGs."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import numpy as np

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.earthengine import graphs
from pipelines.access.earthengine.items import Address, bands_of
from pipelines.access.earthengine.products import product_of
from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ee

    from pipelines.access.chips import Pile, Reduce
    from pipelines.access.earthengine.products import Product
    from pipelines.access.earthengine.session import Session
    from schemas.place import GeoBox

_ALIGNED_PX = 1e-3
"""Largest departure from whole pixels that counts as the same lattice (as pipelines.access.rasters.warp)."""
_WAITING = 8
"""Threads beyond the slots: they have the next request ready when a slot becomes free."""


class EarthEngineReader:
    """Reads chips of one session. Share one among the threads of a worker; close it at the end."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._threads = ThreadPoolExecutor(session.slots.share + _WAITING, thread_name_prefix="earthengine")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what is under way is finished. The session stays open."""
        self._threads.shutdown()

    def read_chips(self, requests: Sequence[ChipRequest]) -> list[Chip | AccessError]:
        """All requests, as many at once as the worker's share of slots allows.

        Hrefs are those of `earthengine_items`. Requests for the same images, grid and kernel are one request to the
        service.

        Returns:
            In the order of the requests: the chip, or why it could not be had.
        """
        return list(self._threads.map(self._read, requests))

    def _read(self, request: ChipRequest) -> Chip | AccessError:
        try:
            return self._chip(request)
        except AccessError as error:
            return error

    def _chip(self, request: ChipRequest) -> Chip:
        addresses = bands_of(request.hrefs)
        names = _names(addresses, request.bands)
        if request.pile is not None:
            return self._piled(request, request.pile, names)
        first = addresses[0]
        product, key = _stored_as(addresses, names)
        if request.reduce is not None:
            return self._reduced(request, addresses, product, request.reduce)
        copied = all(_aligned(request.geobox, a) for a in addresses)
        smooth = not copied and request.kernel != "nearest"
        image = graphs.stored(
            [a.image_id for a in addresses], names, lattice=(first.crs, first.transform) if smooth else None
        )
        stored_as = product.dtypes[key] if product is not None and key is not None else None
        computed = self.session.compute_chip(
            image,
            request.geobox,
            names,
            dtype="float32" if smooth else stored_as,
            images=len(addresses),
        )
        valid = computed.valid.copy()
        for value in request.fill:
            if value == 0.0 and product is not None and key in product.zero_is_value:
                continue
            valid &= computed.pixels != value
        if computed.pixels.dtype.kind == "f":
            valid &= ~np.isnan(computed.pixels)
        return Chip(computed.pixels, valid, "none" if copied else "bilinear" if smooth else "nearest")

    def _piled(self, request: ChipRequest, pile: Pile, names: tuple[str, ...]) -> Chip:
        """Many images in one request, side by side or reduced."""
        takes = [bands_of(take) for take in pile.takes]
        copied = all(_aligned(request.geobox, a) for take in takes for a in take)
        smooth = not copied and request.kernel != "nearest"
        images = [_image(take, names, smooth=smooth, request=request) for take in takes]
        product, key = _stored_as(takes[0], names)
        stored = None if product is None or key is None else product.dtypes[key]
        if pile.how == "apart":
            image, bands = graphs.piled(images, names), [f"{i}_{b}" for i in range(len(takes)) for b in names]
            stored = "float32" if smooth else stored
        else:
            image, bands = _over(images, pile, smooth=smooth).rename(list(names)), list(names)
            stored = stored if pile.whole else "float32"
        computed = self.session.compute_chip(image, request.geobox, bands, dtype=stored, images=len(takes))
        return Chip(computed.pixels, computed.valid, "none" if copied else "bilinear" if smooth else "nearest")

    def _reduced(
        self, request: ChipRequest, addresses: Sequence[Address], product: Product | None, reduce: Reduce
    ) -> Chip:
        """One map of classes of several days."""
        if product is None or "probabilities" not in product.dtypes:
            raise AccessError(Reason.BAD_ITEM, f"{addresses[0].image_id} has no class probabilities to reduce")
        bands = 1 if reduce.how == "mode" else len(product.lattices()["probabilities"])
        computed = self.session.compute_chip(
            graphs.reduced([a.image_id for a in addresses], product, reduce),
            request.geobox,
            ("label",),
            dtype=product.dtypes["label"],
            images=bands * len(addresses),
        )
        copied = all(_aligned(request.geobox, a) for a in addresses)
        return Chip(computed.pixels, computed.valid, "none" if copied else "nearest")


def _stored_as(addresses: Sequence[Address], names: Sequence[str]) -> tuple[Product | None, str | None]:
    """The product of images, and the lattice of their bands."""
    product = product_of(addresses[0].image_id)
    return product, next((b.lattice for b in product.bands if b.name == names[0]), None) if product else None


def _image(addresses: Sequence[Address], names: Sequence[str], *, smooth: bool, request: ChipRequest) -> ee.Image:
    """One image of a pile, without its fill."""
    first = addresses[0]
    image = graphs.stored(
        [a.image_id for a in addresses], names, lattice=(first.crs, first.transform) if smooth else None
    )
    product, key = _stored_as(addresses, names)
    for value in request.fill:
        if math.isfinite(value) and not (value == 0.0 and product is not None and key in product.zero_is_value):
            image = image.updateMask(image.neq(value))
    return image


def _over(images: Sequence[ee.Image], pile: Pile, *, smooth: bool) -> ee.Image:
    """A pile as one image."""
    assert pile.how != "apart"  # noqa: S101 - the caller's
    if pile.whole and smooth:
        images = [graphs.rounded(image) for image in images]
    if pile.least is not None:
        images = [image.max(pile.least) for image in images]
    if (sky := pile.sky) is not None:
        lattice = (f"EPSG:{sky.geobox.epsg}", sky.geobox.transform)
        masks = [
            graphs.clear_of(graphs.stored([a.image_id for a in take], _names(take, (sky.band,))), sky.clear, lattice)
            for take in map(bands_of, sky.takes)
        ]
        images = [image.updateMask(mask) for image, mask in zip(images, masks, strict=True)]
    found = graphs.over(images, pile.how)
    return graphs.rounded(found) if pile.whole and pile.how != "mosaic" else found


def _names(addresses: Sequence[Address], indices: Sequence[int]) -> tuple[str, ...]:
    """Band names from 1-based indices, the same in every image.

    Raises:
        AccessError: BAD_ITEM, WRONG_GRID.
    """
    first = addresses[0]
    for address in addresses:
        if address.bands != first.bands:
            raise AccessError(Reason.BAD_ITEM, f"images with bands {first.bands} and {address.bands} in one request")
        if product_of(address.image_id) != product_of(first.image_id):
            raise AccessError(Reason.BAD_ITEM, "images of different collections in one request")
    if not all(1 <= i <= len(first.bands) for i in indices):
        raise AccessError(
            Reason.BAD_ITEM, f"{first.image_id} has {len(first.bands)} bands, but bands {list(indices)} were requested"
        )
    return tuple(first.bands[i - 1] for i in indices)


def _aligned(geobox: GeoBox, address: Address) -> bool:
    """True if the grid is a window of the image's pixel grid, so that pixels are copied."""
    a, b, c, d, e, f = address.transform
    if address.crs != f"EPSG:{geobox.epsg}" or b or d:
        return False
    size = abs(a - geobox.resolution_m) + abs(-e - geobox.resolution_m)
    if size * max(geobox.width, geobox.height) / geobox.resolution_m > _ALIGNED_PX:
        return False
    columns, rows = (geobox.x_min - c) / geobox.resolution_m, (f - geobox.y_max) / geobox.resolution_m
    return max(abs(columns - round(columns)), abs(rows - round(rows))) <= _ALIGNED_PX
