"""Catalogue of the miniature Earth Engine: image assets over local rasters, as plain records from the caller."""

from __future__ import annotations

import datetime as dt
from bisect import insort
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import rasterio
from shapely import box
from shapely.geometry import mapping, shape
from shapely.ops import unary_union

from testbed.earthengine.errors import EeError
from testbed.earthengine.grids import reprojected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

PUBLIC = "projects/earthengine-public/assets/"
"""Cloud API name of the public catalogue: asset 'LANDSAT/X' is 'projects/earthengine-public/assets/LANDSAT/X'."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EeBand:
    """One band: a band of one raster, or of several that lie on one lattice."""

    paths: tuple[Path, ...]
    """Rasters of one CRS and lattice; the first that has a valid pixel wins."""
    index: int = 1
    """1-based band in each raster."""
    scale: float = 1.0
    """value = raw * scale + offset, rounded and clipped to `dtype` where that is an integer."""
    offset: float = 0.0
    """See scale. Harmonised Sentinel-2 of baseline 04.00 and later: -1000."""
    nodata: float | None = None
    """Raw value that is masked; the raster's own fill value if None. NaN is masked always."""
    derive: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    """What is made of the raw values first: float in, float out; None = nothing. Then `scale` and `offset`."""
    dtype: str | None = None
    """numpy dtype of the band; the raster's own if None."""
    pyramid: Literal["mean", "mode", "sample"] = "mean"
    """How coarser levels are made (the asset's pyramidingPolicy)."""


@dataclass(frozen=True, kw_only=True)
class EeImage:
    """One image asset."""

    id: str
    """Asset id: collection id, '/', index, as in 'ESA/WorldCover/v200/2021'."""
    bands: dict[str, EeBand]
    """Band name -> where its pixels are, in the asset's order."""
    properties: dict[str, Any] = field(default_factory=dict)
    """Metadata; 'system:index' and the times are added."""
    start: dt.datetime | None = None
    """`system:time_start`, UTC."""
    end: dt.datetime | None = None
    """`system:time_end`, UTC; the start if None."""
    geometry: dict[str, Any] | None = None
    """Footprint, GeoJSON in WGS 84; the outline of the first band's rasters if None."""

    @property
    def collection(self) -> str:
        """Id of the collection that holds it."""
        return self.id.rpartition("/")[0]

    @cached_property
    def footprint(self) -> BaseGeometry:
        """Footprint in longitude and latitude."""
        if self.geometry is not None:
            return shape(self.geometry)
        outlines = []
        for path in next(iter(self.bands.values())).paths:
            with rasterio.open(path) as raster:
                outlines.append(reprojected(box(*raster.bounds), raster.crs.to_string(), "EPSG:4326"))
        return unary_union(outlines)

    def all_properties(self) -> dict[str, Any]:
        """Properties with those that the service sets."""
        found: dict[str, Any] = {"system:index": self.id.rpartition("/")[2]}
        if self.start is not None:
            found["system:time_start"] = milliseconds(self.start)
            found["system:time_end"] = milliseconds(self.end or self.start)
        return {**found, **self.properties}

    def asset(self, *, full: bool = True) -> dict[str, Any]:
        """The EarthEngineAsset resource (https://developers.google.com/earth-engine/reference/rest/v1/projects.assets)."""
        found: dict[str, Any] = {"type": "IMAGE", "name": PUBLIC + self.id, "id": self.id}
        if self.start is not None:
            found["startTime"] = timestamp(self.start)
            found["endTime"] = timestamp(self.end or self.start)
        if not full:
            return found
        hidden = ("system:index", "system:time_start", "system:time_end")
        found["properties"] = {k: v for k, v in self.all_properties().items() if k not in hidden}
        found["geometry"] = mapping(self.footprint)
        found["bands"] = [_band_resource(name, band) for name, band in self.bands.items()]
        return found


@lru_cache(maxsize=4096)
def _grid_of(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The lattice of a raster as the service states it, and the dtypes of its bands."""
    with rasterio.open(path) as raster:
        t = raster.transform
        affine = {"scaleX": t.a, "shearX": t.b, "translateX": t.c, "shearY": t.d, "scaleY": t.e, "translateY": t.f}
        size = {"width": raster.width, "height": raster.height}
        return {"crsCode": raster.crs.to_string(), "dimensions": size, "affineTransform": affine}, raster.dtypes


def _band_resource(name: str, band: EeBand) -> dict[str, Any]:
    grid, dtypes = _grid_of(band.paths[0])
    dtype = band.dtype or dtypes[band.index - 1]
    precision = "INT" if "int" in dtype else "FLOAT" if dtype == "float32" else "DOUBLE"
    return {"id": name, "dataType": {"precision": precision}, "grid": grid, "pyramidingPolicy": band.pyramid.upper()}


def milliseconds(when: dt.datetime) -> int:
    """Milliseconds since 1970, UTC."""
    return round(when.timestamp() * 1000)


def timestamp(when: dt.datetime) -> str:
    """google.protobuf.Timestamp in JSON."""
    return when.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class EeCatalogue:
    """All image assets; collections are the ids before the last '/'."""

    def __init__(self, images: Iterable[EeImage] = ()) -> None:
        self._images: dict[str, EeImage] = {}
        self._collections: dict[str, list[EeImage]] = {}
        for image in images:
            self.add(image)

    def add(self, image: EeImage) -> None:
        """Put an image into its collection."""
        if image.id in self._images:
            raise ValueError(f"asset {image.id!r} is there already")
        self._images[image.id] = image
        insort(self._collections.setdefault(image.collection, []), image, key=lambda x: x.id)

    def is_image(self, asset_id: str) -> bool:
        """Whether such an image is there."""
        return asset_id in self._images

    def is_collection(self, asset_id: str) -> bool:
        """Whether such a collection is there."""
        return asset_id in self._collections

    def image(self, asset_id: str) -> EeImage:
        """The image of that id.

        Raises:
            EeError: 400 as the evaluator words it.
        """
        if asset_id not in self._images:
            raise EeError(
                400,
                f"Image.load: Image asset '{asset_id}' not found (does not exist or caller does not have access).",
            )
        return self._images[asset_id]

    def collection(self, asset_id: str) -> list[EeImage]:
        """The images of a collection, by id.

        Raises:
            EeError: 400 as the evaluator words it.
        """
        if asset_id not in self._collections:
            raise EeError(
                400,
                f"ImageCollection.load: ImageCollection asset '{asset_id}' not found "
                "(does not exist or caller does not have access).",
            )
        return list(self._collections[asset_id])
