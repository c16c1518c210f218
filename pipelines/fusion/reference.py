"""Reference points of a fused label: read and checked before anything is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.fusion.families import FusionError
from pipelines.labels.fusion.doubt import FEWEST
from sampling.errors import SamplingError
from sampling.points import read_points
from sampling.region import region_of
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.recipes import RecipeFile
    from sampling.points import PointTable
    from schemas.fused import FusedLabel

DEGREE_M = 111_320.0
"""Metres of a degree of latitude."""


def read_reference(file: RecipeFile, label: FusedLabel) -> NDArray[np.float64]:
    """(points, 3): longitude, latitude, degrees, and code of COMMON_CLASSES; no rows where the recipe names no file.

    Raises:
        FusionError: a class is unknown, a point lies outside the recipe's area, or there are fewer than 30 points.
        RecipeError: the file is not there, or may not be read.
    """
    if label.reference is None:
        return np.zeros((0, 3))
    said, column = label.reference.file, label.reference.column
    key = f"{label.layer}.reference"
    path = file.file(f"labels.{key}.file", said)
    try:
        table = read_points(path.name, path.parent, [column])
    except SamplingError as error:
        raise FusionError(f"{key}: {error}") from None
    codes = _codes(key, table)
    if len(codes) < FEWEST:
        raise FusionError(f"{key}: {said!r} has {len(codes)} points, at least {FEWEST} are needed; add points")
    _inside(key, file, table)
    return np.stack([table.lon, table.lat, codes], axis=1)


def _codes(key: str, table: PointTable) -> NDArray[np.float64]:
    names, known = table.attributes[0].values.to_pylist(), {n: i for i, n in enumerate(COMMON_CLASSES) if i}
    wrong = [i for i, name in enumerate(names) if name not in known]
    if wrong:
        more = f" (and {len(wrong) - 1} more rows)" if len(wrong) > 1 else ""
        first = names[wrong[0]]
        found = "the class is missing; it must be one" if first is None else f"class {str(first)[:40]!r} is none"
        raise FusionError(f"{key}: {table.name!r}, {table.where[wrong[0]]}: {found} of {', '.join(known)}{more}")
    return np.array([known[name] for name in names], float)


def _inside(key: str, file: RecipeFile, table: PointTable) -> None:
    """Each point is in the area, or no farther from it than a footprint is wide."""
    try:
        region = region_of(file.recipe.sampling.area, file.folder)
    except SamplingError as error:
        raise FusionError(f"{key}: {error}") from None
    north = file.recipe.grid.size_m / DEGREE_M
    east = north / np.maximum(np.cos(np.radians(table.lat)), 0.01)
    inside = np.zeros(len(table.lon), bool)
    for x in (0, -1, 1):
        for y in (0, -1, 1):
            lon = (table.lon + x * east + 180.0) % 360.0 - 180.0
            inside |= region.contains(lon, np.clip(table.lat + y * north, -90.0, 90.0))
    if not inside.all():
        first = int(np.flatnonzero(~inside)[0])
        more = f" (and {np.count_nonzero(~inside) - 1} more)" if np.count_nonzero(~inside) > 1 else ""
        raise FusionError(
            f"{key}: {table.name!r}, {table.where[first]}: lon {table.lon[first]:g}, lat {table.lat[first]:g} is "
            f"outside the recipe's area{more}; remove such points"
        )
