"""Checks that a raster is at the place that its item states."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from affine import Affine

if TYPE_CHECKING:
    from schemas.scene import Coefficients, Shape

_FAR = 1e10
"""No CRS of the Earth has coordinates this large, whatever its unit."""
_SMALL = 1e-28
"""A pixel's area against the square of its largest coefficient: 1e7 m and 1e-6 m at most."""
_TOLERANCE_PX = 0.01
"""Rounding of coordinates in items, source pixels."""


class Lattice(Protocol):
    """Position of an image (`pipelines.access.rasters.levels.Level` is one)."""

    @property
    def transform(self) -> Affine:
        """Pixel corner coordinates."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    @property
    def height(self) -> int:
        """Rows."""
        ...


def unusable(transform: Affine, width: int, height: int) -> str | None:
    """The reason why a transform cannot be used to compute coordinates; None if it can."""
    corners = [transform * (x, y) for x in (0.0, float(width)) for y in (0.0, float(height))]
    if not all(math.isfinite(v) and abs(v) < _FAR for corner in corners for v in corner):
        return "has corners without valid coordinates"
    area = transform.a * transform.e - transform.b * transform.d
    if not area or abs(area) < _SMALL * max(abs(v) for v in transform[:6]) ** 2:
        return "has pixels without area"
    return None


def contradicted(level: Lattice, shape: Shape | None, transform: Coefficients | None) -> str | None:
    """The reason why a raster is not the one that its item describes; None if it is.

    The file's own georeference is what is used. An item's transform may be half a pixel off it, in x, in y or in both:
    some writers state pixel centres, as in stactools-packages/landsat's early items.

    Args:
        level: Full resolution.
        shape: (rows, columns) that the item states.
        transform: Pixel corner coordinates that it states.
    """
    if shape is not None and shape != (level.height, level.width):
        return f"has {level.height} x {level.width} pixels, but its item states {shape[0]} x {shape[1]}"
    if transform is None:
        return None
    stated, inverse = Affine(*transform), ~level.transform
    first = inverse * (stated * (0.0, 0.0))
    last = inverse * (stated * (float(level.width), float(level.height)))
    moved = (last[0] - level.width, last[1] - level.height)
    steady = all(abs(a - b) <= _TOLERANCE_PX for a, b in zip(first, moved, strict=True))
    if steady and all(min(abs(abs(v) - s) for s in (0.0, 0.5)) <= _TOLERANCE_PX for v in first):
        return None
    return f"lies {first[0]:.2f}, {first[1]:.2f} pixels (x, y) from the place that its item states"
