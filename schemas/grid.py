"""The `grid` section of a recipe: size and lattice of the footprints."""

from __future__ import annotations

from pydantic import Field, field_validator

from schemas.primitives import LEAST_M
from schemas.strict import Strict


class GridSpec(Strict):
    """Size and lattice of a sample's footprint."""

    size_m: float = Field(ge=LEAST_M, le=100_000, description="edge of the square footprint, metres")
    resolution_m: float = Field(default=10.0, ge=LEAST_M, le=100_000, description="base pixel, metres")
    snap_m: float | None = Field(
        default=60.0,
        ge=LEAST_M,
        le=100_000,
        description="footprint corners are multiples of this in UTM/UPS (y counted from the equator), so that "
        "Sentinel-2's 10, 20 and 60 m pixels are copied and not resampled; null keeps the exact corners that a points "
        "file gives",
    )
    resolutions: dict[str, float] = Field(
        default_factory=dict,
        description="other resolution of a modality ('landsat: 10') or one layer ('sentinel2.bands_60m: 10'), metres",
    )

    @field_validator("resolutions")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for key, resolution in value.items():
            if not LEAST_M <= resolution <= 100_000:
                raise ValueError(f"resolution of {key} must be {LEAST_M:g} to 100,000 metres, got {resolution:g}")
        return value
