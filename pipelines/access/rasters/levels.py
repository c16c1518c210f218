"""The images of a file: full resolution, overviews, and the mask of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affine import Affine

    from pipelines.access.rasters.jpeg2000_tiles import Tiles
    from pipelines.access.rasters.tiff import Directory

    Image = Directory | Tiles
    """Pixels that are stored in blocks: those of a TIFF, or the tiles of a JPEG 2000 file."""


@dataclass(frozen=True, slots=True)
class Level:
    """An image of the file on the ground: full resolution, or an overview."""

    transform: Affine
    """Pixel corner coordinates of this level."""
    width: int
    height: int
    image: Image | None
    """Its blocks; None for a file that is read whole."""
    mask: Image | None
    """Its validity mask, if it has one: in the same file, or in `Raster.mask_file`."""


def levels_of(images: list[Directory], transform: Affine, width: int, height: int) -> tuple[Level, ...]:
    """Full resolution first, then overviews from fine to coarse, each with its mask where there is one."""
    if not images:
        return (Level(transform, width, height, None, None),)
    masks = {(d.width, d.height): d for d in images[1:] if d.subfile & 4}
    full = images[0]
    chosen = [full]
    masked = (full.width, full.height) in masks
    chosen += sorted(
        (d for d in images[1:] if _is_overview(d, full) and (not masked or (d.width, d.height) in masks)),
        key=lambda d: -d.width,
    )
    return tuple(
        Level(
            transform * transform.scale(width / d.width, height / d.height),
            d.width,
            d.height,
            d,
            masks.get((d.width, d.height)),
        )
        for d in chosen
    )


def _is_overview(image: Directory, full: Directory) -> bool:
    """True if an image is a smaller version of the full image, with the same bands and bits."""
    return (
        image.subfile & 5 == 1
        and (image.samples, image.bits) == (full.samples, full.bits)
        and (image.width, image.height) != (full.width, full.height)
    )
