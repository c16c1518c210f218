"""A chip and the request for it: the pixels of one footprint, from files or from Earth Engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.access.errors import AccessError
    from schemas.modality import Kernel
    from schemas.place import GeoBox
    from schemas.scene import Coefficients, Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Reduce:
    """Composite of maps of several days into one class map; Earth Engine computes it."""

    how: Literal["mode", "probability"]
    """mode: the commonest class; probability: the class of the greatest mean probability. The smallest of equals."""
    least: float = 0.0
    """probability: pixels whose greatest mean probability is below this are not valid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sky:
    """Where the images of a pile are clear: a band of codes of each, on the sample's own grid."""

    takes: tuple[tuple[str, ...], ...]
    """Addresses, as `Pile.takes`."""
    band: int
    """1-based index of the codes."""
    geobox: GeoBox
    """Codes are brought to this grid first, by nearest neighbour; the chip's pixels take the one over their centre."""
    clear: tuple[int, ...]
    """Codes that are not cloud."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pile:
    """Many images of one place in one request: side by side, or reduced pixel by pixel. Earth Engine computes it."""

    takes: tuple[tuple[str, ...], ...]
    """Addresses of each image, best first; those of one image are mosaicked as `ChipRequest.hrefs`."""
    how: Literal["apart", "median", "mean", "mosaic"]
    """apart: all bands of the first image, then of the second, ...; mosaic: the first that is clear."""
    sky: Sky | None = None
    """None: every valid pixel counts."""
    least: float | None = None
    """Smaller numbers are taken for this one."""
    whole: bool = False
    """Numbers are rounded half up, before they are reduced and afterwards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChipRequest:
    """Bands of one footprint, from one raster or from several that are mosaicked."""

    hrefs: tuple[str, ...]
    """Addresses of the rasters in mosaicking order: the first that has a valid pixel wins. All must deliver. They must
    have one radiometry: numbers of adjacent tiles are mixed by the kernel."""
    bands: tuple[int, ...]
    """1-based band indices, the same in every raster."""
    geobox: GeoBox
    """The chip's grid."""
    kernel: Kernel
    """Interpolation between pixels, if the pixel grids differ."""
    fill: tuple[float, ...] = ()
    """Numbers that mean 'no data', besides the file's own nodata, its mask, and NaN."""
    epsgs: tuple[int | None, ...] = ()
    """EPSG code that each raster's item states (None = it does not); a file that says otherwise is refused."""
    grids: tuple[tuple[Shape | None, Coefficients | None], ...] = ()
    """(shape, transform) that each raster's item states, as `schemas.scene.AssetBand`; the same holds."""
    beside: bool = False
    """True where the product is anybody's: `<file>.msk` may say which pixels are measured although `fill` is stated."""
    reduce: Reduce | None = None
    """None: rasters are mosaicked, the first valid pixel wins. Files are never reduced."""
    pile: Pile | None = None
    """None: one image. Files are never piled."""


@dataclass(frozen=True, slots=True)
class Chip:
    """Result of a request."""

    pixels: NDArray[Any]
    """(band, y, x). The source's dtype where pixels were copied or picked ('nearest'); float32 or float64 where they
    were interpolated. Numbers where `valid` is False mean nothing."""
    valid: NDArray[np.bool_]
    """(band, y, x), True = measured."""
    resampling: str
    """'none' = pixels copied, otherwise the kernel."""


class ChipReader(Protocol):
    """Reads chips of one provider of any kind."""

    def read_chips(self, requests: Sequence[ChipRequest]) -> list[Chip | AccessError]:
        """In the order of the requests: the chip, or why it could not be had."""
        ...
