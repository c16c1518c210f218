"""Whether a raster lies where its item says it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affine import Affine

if TYPE_CHECKING:
    from pipelines.access.raster import Level
    from schemas.scene import Coefficients, Shape

_TOLERANCE_PX = 0.01
"""Rounding of coordinates in items, source pixels."""


def contradicted(level: Level, shape: Shape | None, transform: Coefficients | None) -> str | None:
    """Why a raster is not the one that its item describes, in a few words; None where it is.

    The file's own georeference is what is used. An item's transform may be half a pixel off it, in x, in y or in both:
    some writers state pixel centres, as in stactools-packages/landsat's early items.

    Args:
        level: Full resolution.
        shape: (rows, columns) that the item states.
        transform: Pixel corner coordinates that it states.
    """
    if shape is not None and shape != (level.height, level.width):
        return f"has {level.height} x {level.width} pixels, its item says {shape[0]} x {shape[1]}"
    if transform is None:
        return None
    stated, inverse = Affine(*transform), ~level.transform
    first = inverse * (stated * (0.0, 0.0))
    last = inverse * (stated * (float(level.width), float(level.height)))
    moved = (last[0] - level.width, last[1] - level.height)
    steady = all(abs(a - b) <= _TOLERANCE_PX for a, b in zip(first, moved, strict=True))
    if steady and all(min(abs(abs(v) - s) for s in (0.0, 0.5)) <= _TOLERANCE_PX for v in first):
        return None
    return f"lies {first[0]:.2f}, {first[1]:.2f} pixels (x, y) from where its item says"
