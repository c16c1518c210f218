"""Metric map projections for grids: which EPSG codes can be used, and for which ground.

Figures come from the EPSG register that PROJ carries (area of use, axes, units) and from PROJ's own factors of scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STRETCH = 1.05
"""A metre of the grid is 1/1.05 to 1.05 metres on the ground, in every direction, where the grid is used."""
MOST_TURN_DEG = 45.0
"""Grid north is off true north by at most this: the middle of a sample's north-eastern quarter then lies north-east."""
_LEAST_USED = 0.5
"""Share of its area of use in which a system must keep these two, so that it counts as metric."""
_LOOKED_AT = 25
"""Points along each side of that area."""
_IN_DEGREES = (
    "samples are squares of metres: leave `crs` out, and rasters in degrees are resampled onto each sample's own grid "
    "(`grid.extents` gives a coarse layer wider ground)"
)
"""What to do where a recipe asks for a grid in degrees."""
_UTM_UPS = {*range(32601, 32661), *range(32701, 32761), 32661, 32761}
"""WGS 84 / UTM and UPS: the systems that are chosen place by place where no other is asked for."""


def is_utm_or_ups(codes: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which EPSG codes are of WGS 84 / UTM or UPS."""
    return np.isin(codes, list(_UTM_UPS))


@dataclass(frozen=True, slots=True)
class Metric:
    """A projected system in metres whose axes point east and north."""

    code: int
    """EPSG."""
    name: str
    """As the register has it."""
    area: tuple[float, float, float, float]
    """Area of use: west, south, east, north, degrees; west > east where it crosses the antimeridian."""

    @property
    def words(self) -> str:
        """'EPSG:2154 (RGF93 v1 / Lambert-93, for -9.86 to 10.38 E, 41.15 to 51.56 N)'."""
        west, south, east, north = self.area
        return f"EPSG:{self.code} ({self.name}, for {west:g} to {east:g} E, {south:g} to {north:g} N)"

    def scales(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, n) most and least grid metres of a metre on the ground, over all directions; NaN where undefined."""
        found = _factors(self.code).get_factors(lon, lat, errcheck=False)
        scales = np.stack([np.atleast_1d(found.tissot_semimajor), np.atleast_1d(found.tissot_semiminor)])
        return np.where(np.isfinite(scales) & (scales < 1e6), scales, np.nan)

    def holds(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(n,) whether a place (degrees) lies in the area of use, and MOST_STRETCH and MOST_TURN_DEG are kept there."""
        west, south, east, north = self.area
        width = east - west if east >= west else east - west + 360.0
        inside = (np.mod(np.asarray(lon, dtype=np.float64) - west, 360.0) <= width) & (lat >= south) & (lat <= north)
        if inside.any():
            inside[inside] = self._true(np.asarray(lon)[inside], np.asarray(lat)[inside])
        return np.asarray(inside)

    def _true(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
        large, small = self.scales(lon, lat)
        turn = np.atleast_1d(_factors(self.code).get_factors(lon, lat, errcheck=False).meridian_convergence)
        return np.asarray((large <= MOST_STRETCH) & (small >= 1.0 / MOST_STRETCH) & (np.abs(turn) <= MOST_TURN_DEG))


@lru_cache(maxsize=64)
def _factors(code: int) -> Any:
    import pyproj

    return pyproj.Proj(pyproj.CRS.from_epsg(code))


@lru_cache(maxsize=256)
def metric(code: int) -> Metric:
    """The system of an EPSG code.

    Raises:
        ValueError: there is none, or samples cannot be squares of metres in it; one line.
    """
    import pyproj

    if code in (32661, 32761):
        return Metric(code, "UPS", (-180.0, 60.0, 180.0, 90.0) if code == 32661 else (-180.0, -90.0, 180.0, -60.0))
    try:
        crs = pyproj.CRS.from_epsg(code)
    except pyproj.exceptions.CRSError:
        raise ValueError(f"EPSG:{code} is no coordinate system of the EPSG register") from None
    problem = _unfit(crs)
    if problem is None:
        found = Metric(code, crs.name, crs.area_of_use.bounds)  # type: ignore[union-attr]
        problem = _untrue(found)
    if problem is not None:
        cure = _IN_DEGREES if crs.is_geographic else "name a projected system in metres, or leave `crs` out"
        raise ValueError(f"EPSG:{code} ({crs.name}) {problem}; {cure}")
    return found


def _unfit(crs: Any) -> str | None:
    """Why the axes of a system are no lattice of metres."""
    if crs.is_compound or crs.is_vertical or len(crs.axis_info) != 2:
        return "has heights, and a grid lies in the plane"
    if not crs.is_projected:
        unit = crs.axis_info[0].unit_name
        return f"counts {unit}s" if crs.is_geographic else f"has axes in {unit}s and is not projected"
    units = [axis for axis in crs.axis_info if axis.unit_conversion_factor != 1.0]
    if units:
        return f"has axes in {units[0].unit_name}, not metres"
    directions = sorted(axis.direction for axis in crs.axis_info)
    if directions != ["east", "north"]:
        return f"has axes that point {' and '.join(directions)}, and rows of a grid run east, columns south"
    return "has no area of use in the register" if crs.area_of_use is None else None


def _untrue(found: Metric) -> str | None:
    """Why metres of a system are none on the ground."""
    west, south, east, north = found.area
    lon, lat = np.meshgrid(
        np.linspace(west, east + (360.0 if east < west else 0.0), _LOOKED_AT), np.linspace(south, north, _LOOKED_AT)
    )
    lon = np.mod(lon.ravel() + 180.0, 360.0) - 180.0
    held = found.holds(lon, lat.ravel())
    if held.mean() >= _LEAST_USED:
        return None
    large, small = found.scales(lon, lat.ravel())
    return (
        f"has metres that are {1.0 / np.nanmax(large):.2g} to {1.0 / np.nanmin(small):.2g} metres on the ground in its "
        f"area of use; at most {MOST_STRETCH - 1.0:.0%} off is accepted in most of it"
    )


def ground_scale(code: int, lon: float, lat: float) -> tuple[float, float]:
    """(grid metres of a metre, grid square metres of a square metre) on the ground at a place, mean of all directions;
    (1, 1) for UTM and UPS, whose metres are taken as they are."""
    if code in _UTM_UPS:
        return 1.0, 1.0
    large, small = metric(code).scales(np.array([lon]), np.array([lat]))[:, 0].tolist()
    return (large * small) ** 0.5, large * small
