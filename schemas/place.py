"""A place on Earth as a raster grid: footprint, GeoBox and split, without pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from schemas.attribute import AttributeValue

Split = Literal["train", "val", "test"]

_TOLERANCE_PX = 1e-6
"""Largest departure from a whole pixel, in pixels, that is rounding and not a part of a pixel."""

_DECIMALS = 6
"""Of a metre that corners keep: 6862703.2, not 6862703.199999999."""


class BBox(NamedTuple):
    """A box by its edges: degrees of WGS 84 (west > east where it crosses the antimeridian), or metres of a CRS."""

    west: float
    south: float
    east: float
    north: float

    def sides(self) -> tuple[BBox, ...]:
        """A box in degrees as one box, or as two (west first) where it crosses the antimeridian."""
        if self.west <= self.east:
            return (self,)
        return (self._replace(east=180.0), self._replace(west=-180.0))


def pixels_across(size_m: float, resolution_m: float) -> int:
    """Number of pixels of edge `resolution_m` that cover a footprint of edge `size_m`; the last may reach beyond it."""
    return max(1, math.ceil(size_m / resolution_m - _TOLERANCE_PX))


@dataclass(frozen=True, kw_only=True, slots=True)
class GeoBox:
    """A north-up raster grid: where pixel (row 0, column 0) starts, how large pixels are, how many there are."""

    epsg: int
    """EPSG code of the projected CRS, in metres: 326xx / 327xx (UTM), 32661 / 32761 (UPS north / south), or what the
    recipe asks for (`schemas.crs`)."""
    x_min: float
    """Western edge of the first column (pixel corner, not centre), CRS units (metres)."""
    y_max: float
    """Northern edge of the first row (pixel corner, not centre), CRS units (metres)."""
    resolution_m: float
    """Edge of a square pixel, metres, positive."""
    width: int
    """Columns (x)."""
    height: int
    """Rows (y)."""

    def __post_init__(self) -> None:
        if self.resolution_m <= 0 or self.width <= 0 or self.height <= 0:
            raise ValueError(
                "a GeoBox needs positive resolution, width and height, "
                f"got {self.resolution_m}, {self.width}, {self.height}"
            )

    @property
    def x_max(self) -> float:
        """Eastern edge, metres."""
        return self.x_min + self.width * self.resolution_m

    @property
    def y_min(self) -> float:
        """Southern edge, metres."""
        return self.y_max - self.height * self.resolution_m

    @property
    def bounds(self) -> BBox:
        """Outer edges (x_min, y_min, x_max, y_max), CRS units."""
        return BBox(self.x_min, self.y_min, self.x_max, self.y_max)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients (a, b, c, d, e, f): x = a*col + b*row + c, y = d*col + e*row + f, of pixel corners."""
        return (self.resolution_m, 0.0, self.x_min, 0.0, -self.resolution_m, self.y_max)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width): the (y, x) shape of an array on this grid."""
        return (self.height, self.width)

    def at(self, resolution_m: float) -> GeoBox:
        """The same footprint with pixels of another size, from the same north-western corner.

        Where they do not divide it, the last row and column reach beyond its southern and eastern edges: 43 pixels of
        60 m cover 2,560 m and reach 20 m beyond. Pixels are never cut, so that an archive's own are copied whole.
        """
        return GeoBox(
            epsg=self.epsg,
            x_min=self.x_min,
            y_max=self.y_max,
            resolution_m=resolution_m,
            width=pixels_across(self.width * self.resolution_m, resolution_m),
            height=pixels_across(self.height * self.resolution_m, resolution_m),
        )

    def about(self, size_m: float, resolution_m: float) -> GeoBox:
        """A square around the same centre: its edge in metres, and the edge of its pixels, which divide it."""
        across = pixels_across(size_m, resolution_m)
        return GeoBox(
            epsg=self.epsg,
            x_min=round(self.x_min + (self.width * self.resolution_m - size_m) / 2.0, _DECIMALS),
            y_max=round(self.y_max - (self.height * self.resolution_m - size_m) / 2.0, _DECIMALS),
            resolution_m=resolution_m,
            width=across,
            height=across,
        )


def centre_of(footprint: GeoBox, shape: tuple[int, ...], resolution_m: float) -> tuple[int, int]:
    """(row, column) of the pixel of a layer that holds the footprint's centre; the south-eastern one of four that meet.

    Where the layer's pixels reach beyond the footprint, this is not the middle of the array.
    """
    at = math.floor(footprint.width * footprint.resolution_m / 2.0 / resolution_m + _TOLERANCE_PX)
    return min(at, shape[0] - 1), min(at, shape[1] - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One sample's ground: made by sampling/ from recipe and seed alone, before anything is fetched."""

    sample_id: str
    """Unique in the dataset, stable for (recipe sampling section, seed): letters, digits, '_' and '-' only."""
    lon: float
    """Longitude of the footprint's centre, degrees east, WGS 84, in [-180, 180)."""
    lat: float
    """Latitude of the footprint's centre, degrees north, WGS 84."""
    geobox: GeoBox
    """The footprint at the recipe's base resolution; every layer's grid is `geobox.at(its resolution)`. In the place of
    a layer with an extent of its own (`Recipe.place_of`): that ground, with the layer's finest pixels."""
    split: Split
    """Split of the block of ground that contains this footprint."""
    block: str
    """Id of that block of ground: samples of one block are never parted (a rule of splits that parts ground adds the
    split to the id: '269U_44R-val')."""
    cell: str
    """Major-TOM grid cell id of the centre, for naming compatibility with other datasets."""
    stratum: str | None = None
    """Name of the stratum or input row group the point was drawn from, if the recipe has any."""
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    """(name, value) of the columns of the points file that the recipe carries along, by name. Text in them is untrusted
    data: it goes into the catalogue and nowhere else."""
