"""Notes for the user on where samples could not be placed, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sampling import majortom
from sampling.land import on_land
from sampling.splits import SPLITS
from schemas.crs import metric
from schemas.sampling import GridSampling, PointsSampling
from schemas.splits import Splits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.geobox import Footprints
    from sampling.region import Region
    from schemas.recipe import Recipe


_LOOKED_AT = 4_096
"""Places that are enough to see whether an area has land."""


def notes_on(
    footprints: Footprints, split: NDArray[np.int8], left_out: dict[str, int], recipe: Recipe
) -> tuple[str, ...]:
    """One line for each thing that a user may not expect: fewer samples than asked for, an empty split.

    Args:
        footprints: the samples.
        split: (n,) place in `sampling.splits.SPLITS`.
        left_out: candidates left out, by reason.
        recipe: what was asked for.
    """
    notes, splits, sampling, count = [], recipe.splits, recipe.sampling, len(footprints)
    wanted = None if isinstance(sampling, PointsSampling) else sampling.count
    if wanted is not None and count < wanted:
        reasons = _why(left_out)
        notes.append(
            f"{count} of {wanted} samples were placed: the area has no more room" + (f" ({reasons})" if reasons else "")
        )
    if isinstance(sampling, GridSampling) and left_out["overlap"] > count / 20:
        size, spacing, lost = recipe.grid.size_m, sampling.spacing_m, left_out["overlap"]
        notes.append(
            f"{lost} cells were left out: footprints of {size:g} m overlap at a spacing of {spacing:g} m; "
            f"spacing_m: {_roomy_spacing_m(recipe):g} keeps them apart, allow_overlap: true keeps them all"
        )
    got = np.bincount(split, minlength=len(SPLITS)).tolist()
    empty = [name for name, held in zip(SPLITS, got, strict=True) if splits.asked(name) != 0 and not held]
    if empty and not isinstance(splits, Splits):
        notes += [f"split {name!r} is empty" for name in empty if splits.asked(name) is not None]
    elif empty:
        row, column = majortom.cells_of(footprints.lon, footprints.lat, splits.block_m)
        blocks = len(np.unique(np.stack([row, column], axis=1), axis=0))
        notes += [
            f"split {name!r} is empty: the samples lie in {blocks} block{'s' if blocks > 1 else ''} "
            f"of {splits.block_m:g} m; make splits.block_m smaller or the area larger"
            for name in empty
        ]
    if not sampling.area.land_only and _land_if_swapped(footprints.lon[:_LOOKED_AT], footprints.lat[:_LOOKED_AT]):
        notes.append(f"hardly any sample is on land; {_SWAPPED}")
    lost = left_out["split_buffer"]
    if lost > count / 4 and isinstance(splits, Splits):
        notes.append(
            f"the split buffer cost {lost} samples against {count} kept; larger splits.block_m "
            f"({splits.block_m:g} m) or smaller splits.buffer_m ({splits.buffer_m:g} m) loses fewer, "
            "splits.allow_overlap: true loses none"
        )
    return tuple(notes)


def why_nothing(recipe: Recipe, region: Region, left_out: dict[str, int]) -> str:
    """Why no sample is left: what was left out, or that the area has no land."""
    if any(left_out.values()):
        crs = f"; grid.crs is {metric(recipe.grid.epsg).words}" if left_out["outside_crs"] and recipe.grid.epsg else ""
        return _why(left_out) + crs
    lon, lat, inside = region.draw(recipe.seed, 0, _LOOKED_AT)
    lon, lat = lon[inside], lat[inside]
    if not recipe.sampling.area.land_only or not len(lon):
        return "the area is empty"
    where = f"longitude {lon.min():.2f} to {lon.max():.2f}, latitude {lat.min():.2f} to {lat.max():.2f}"
    if on_land(lon, lat).any():
        return f"hardly any of the area is land ({where}); make it larger"
    hint = f"; {_SWAPPED}" if _land_if_swapped(lon, lat) else ""
    return f"the area is empty or has no land ({where}); area.land_only: false keeps samples at sea{hint}"


_SWAPPED = "with longitude and latitude swapped there would be land: longitude comes first; are the two swapped?"


def _land_if_swapped(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Whether nearly all places would be on land if they were (lat, lon), and few are as they stand."""
    if not len(lon) or np.abs(lon).max() > 90.0:
        return False
    return bool(on_land(lon, lat).mean() < 0.1 and on_land(lat, lon).mean() > 0.9)


def _roomy_spacing_m(recipe: Recipe) -> float:
    """A spacing at which no two footprints of a grid overlap, in tens of metres.

    Cells follow meridians, footprints the zone's own north, up to 3 degrees apart: a neighbour half a cell to the
    side comes nearer by 0.5 * sin(3 deg) = 2.6 %; snapping takes up to snap_m, cells are a little under the spacing.
    """
    return math.ceil((recipe.grid.size_m * 1.05 + (recipe.grid.snap_m or 0.0)) / 10.0) * 10.0


def _why(left_out: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count}" for reason, count in left_out.items() if count)
