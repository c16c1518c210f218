"""What GDAL says of a file from its header: coordinate system, size, dtype, nodata."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from pipelines.access.http.client import AccessError, shown
from pipelines.access.rasters.crs import GDAL_ERRORS, horizontal
from pipelines.access.rasters.tiff import is_tiff
from schemas.outcome import Reason

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.crs import CRS


warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # `Raster.placed` is what we say of such files

_KEPT_BYTES = 1 << 17
"""Largest header that is remembered with what GDAL makes of it."""
_OTHER_DRIVERS = ["JP2OpenJPEG"]
"""The format beside TIFF that archives deliver; its files stand alone. GDAL's others (VRT and the like) could name
further files and addresses to open."""


@dataclass(frozen=True, slots=True)
class Description:
    """Content of a raster's header, as GDAL reads it."""

    crs: CRS | None
    """Without heights."""
    count: int
    dtypes: frozenset[str]
    """Of all bands."""
    nodata: tuple[float | None, ...]
    width: int
    """Columns; of a TIFF its directory says it, what GDAL is given is smaller."""
    height: int
    """Rows; the same holds."""
    transform: Affine
    """Identity where the file has none."""
    alpha: int | None
    """1-based band that says how opaque pixels are, None if the file has none."""
    bands: tuple[tuple[str, str], ...]
    """(colour, description) of each band: ('red', ''), ('undefined', 'near infrared')."""


def described(file: bytes) -> Description:
    """The header of a file in memory; raises one of GDAL_ERRORS if GDAL cannot read it."""
    with MemoryFile(file) as memory, memory.open(driver=["GTiff"] if is_tiff(file) else _OTHER_DRIVERS) as dataset:
        return Description(
            crs=None if dataset.crs is None else horizontal(dataset.crs),
            count=dataset.count,
            dtypes=frozenset(dataset.dtypes),
            nodata=tuple(dataset.nodatavals),
            width=dataset.width,
            height=dataset.height,
            transform=dataset.transform,
            alpha=next((i for i, kind in enumerate(dataset.colorinterp, 1) if kind is ColorInterp.alpha), None),
            bands=tuple(
                (kind.name, said or "") for kind, said in zip(dataset.colorinterp, dataset.descriptions, strict=True)
            ),
        )


described_small = lru_cache(maxsize=1024)(described)


def described_once(header: bytes) -> Description:
    """The same, remembered: a granule has few different headers; GDAL and PROJ take 1 ms for each, 10 ms the first time
    in a thread. Long ones are not kept."""
    return described_small(header) if len(header) <= _KEPT_BYTES else described(header)


class opened:  # noqa: N801 - used as a context, like open()
    """A dataset over bytes in memory."""

    def __init__(self, data: bytes, href: str) -> None:
        self._file = MemoryFile(data)
        self._href = href
        self._drivers = ["GTiff"] if is_tiff(data) else _OTHER_DRIVERS

    def __enter__(self) -> Any:
        try:
            self._dataset = self._file.open(driver=self._drivers)
        except GDAL_ERRORS as error:
            self._file.close()
            raise AccessError(Reason.CORRUPT, f"{shown(self._href)} is not a raster that GDAL can read") from error
        return self._dataset

    def __exit__(self, *_: object) -> None:
        self._dataset.close()
        self._file.close()
