"""Which stratum a sample is of: region, relief and date gap, by which the reliability of maps may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.fusion.families import FusionError
from schemas.sensors import DemSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from schemas.fused import FusedLabel, StratumKind
    from schemas.recipe import Recipe

REGION_DEG = 5
"""Edge of a region, degrees of latitude and of longitude."""
RELIEF_M = (50.0, 300.0)
"""Edges between flat, hilly and mountainous: metres between the 2nd and the 98th percentile of a sample's heights."""
GAP_DAYS = (31, 366, 1096)
"""Edges of the date gap: days between the image and the farthest map, up to a month, a year, three years."""
_SIZES = {"region": (180 // REGION_DEG) * (360 // REGION_DEG), "relief": len(RELIEF_M) + 2, "date_gap": 5}


def height_layer(recipe: Recipe, label: FusedLabel) -> str | None:
    """Name of the DEM that relief is read from; None where it is not asked for.

    Raises:
        FusionError: the recipe has no DEM.
    """
    if "relief" not in label.strata:
        return None
    found = next((s.name for s in recipe.sources if isinstance(s, DemSource)), None)
    if found is None:
        raise FusionError(
            f"{label.layer}.strata: relief is read from a DEM, and the recipe has none; add a source of `kind: dem`, "
            "or remove relief"
        )
    return found


def stratum_of(
    kinds: Sequence[StratumKind], row: dict[str, Any], gaps: Iterable[int | None], heights: NDArray[np.floating] | None
) -> int:
    """Number of a sample's stratum: 0 with no kinds.

    Args:
        kinds: what strata are made of.
        row: the sample's columns `lon` and `lat`.
        gaps: days between the image and each map; None = not known.
        heights: metres, any shape, NaN = none; None = no DEM here.
    """
    number = 0
    for kind in kinds:
        if kind == "region":
            part = _region(row["lon"], row["lat"])
        elif kind == "relief":
            part = _relief(heights)
        else:
            known = [gap for gap in gaps if gap is not None]
            part = 1 + int(np.searchsorted(GAP_DAYS, max(known), side="right")) if known else 0
        number = number * _SIZES[kind] + part
    return number


def described_stratum(kinds: Sequence[StratumKind], number: int) -> str:
    """'region 45..50 N 10..15 E, relief hilly': a stratum in words, for the tables of a model."""
    said = []
    for kind in reversed(kinds):
        number, part = divmod(number, _SIZES[kind])
        if kind == "region":
            south, west = (REGION_DEG * p - o for p, o in zip(divmod(part, 360 // REGION_DEG), (90, 180), strict=True))
            said.append(f"region lat {south}..{south + REGION_DEG} lon {west}..{west + REGION_DEG}")
        elif kind == "relief":
            said.append(f"relief {('unknown', 'flat', 'hilly', 'mountainous')[part]}")
        else:
            names = ("unknown", "up to a month", "up to a year", "up to three years", "more than three years")
            said.append(f"date gap {names[part]}")
    return ", ".join(reversed(said))


def _region(lon: float, lat: float) -> int:
    across, down = 360 // REGION_DEG, 180 // REGION_DEG
    column = int((lon + 180.0) % 360.0 // REGION_DEG) % across
    return min(down - 1, int((lat + 90.0) // REGION_DEG)) * across + column


def _relief(heights: NDArray[np.floating] | None) -> int:
    known = np.zeros(0) if heights is None else heights[np.isfinite(heights)]
    if not known.size:
        return 0
    low, high = np.percentile(known, (2, 98))
    return 1 + int(np.searchsorted(RELIEF_M, high - low, side="right"))
