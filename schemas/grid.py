"""The `grid` section of a recipe: size and lattice of the footprints."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator, model_validator

from schemas.crs import metric
from schemas.primitives import LEAST_M, MOST_EXTENT_M
from schemas.strict import MisplacedError, Strict

_CODE = re.compile("EPSG:[0-9]{4,6}")
_MOST_M = 100_000
"""Largest footprint, pixel and lattice, metres."""


class GridSpec(Strict):
    """Size and lattice of a sample's footprint."""

    size_m: float = Field(ge=LEAST_M, le=_MOST_M, description="edge of the square footprint, metres")
    resolution_m: float = Field(default=10.0, ge=LEAST_M, le=_MOST_M, description="base pixel, metres")
    snap_m: float | None = Field(
        default=60.0,
        ge=LEAST_M,
        le=_MOST_M,
        description="footprint corners are multiples of this in UTM/UPS (y counted from the equator) or `crs`, so that "
        "Sentinel-2's 10, 20 and 60 m pixels are copied and not resampled; null keeps the exact corners that a points "
        "file gives",
    )
    crs: str | None = Field(
        default=None,
        pattern=r"^(EPSG:[0-9]{4,6}|attr_[A-Za-z][A-Za-z0-9_]{0,63})$",
        exclude_if=lambda code: code is None,
        description="one projected system in metres for all samples, 'EPSG:2154', in place of the UTM zone of each; "
        "places outside its area of use are left out, and snap_m is then resolution_m unless it is stated; attr_NAME: "
        "the system of each point, a column of the points file",
    )
    resolutions: dict[str, float] = Field(
        default_factory=dict,
        description="other resolution of a modality ('landsat: 10') or one layer ('sentinel2.bands_60m: 10'), metres",
    )
    extents: dict[str, float] = Field(
        default_factory=dict,
        max_length=200,
        exclude_if=lambda extents: not extents,
        description="edge of the ground of a layer that does not cover the footprint alone, metres, around the same "
        "centre: 'era5: 66792' adds the surroundings, 'parcels: 320' takes the middle only",
    )

    @model_validator(mode="before")
    @classmethod
    def _own_lattice(cls, given: Any) -> Any:
        """Another system has other rasters than Sentinel-2's: corners lie on the sample's own pixels."""
        if not isinstance(given, dict) or given.get("crs") is None:
            return given
        if isinstance(code := given["crs"], str) and _CODE.fullmatch(code):
            try:
                metric(int(code.removeprefix("EPSG:")))
            except ValueError as error:  # lengths of such a grid are in its own unit: they are no mistakes of their own
                raise MisplacedError(str(error), ("crs",)) from None
        edge = given.get("resolution_m", 10.0)
        if "snap_m" not in given and isinstance(edge, int | float) and LEAST_M <= edge <= _MOST_M:
            return {**given, "snap_m": edge}
        return given

    @property
    def epsg(self) -> int | None:
        """EPSG code of `crs`; None where each place has its UTM zone or a system of its own."""
        found = self.crs or ""
        return int(found.removeprefix("EPSG:")) if found.startswith("EPSG:") else None

    @property
    def crs_column(self) -> str | None:
        """Attribute of the points that states the system of each; None without."""
        found = self.crs or ""
        return found.removeprefix("attr_") if found.startswith("attr_") else None

    @field_validator("extents")
    @classmethod
    def _reachable(cls, value: dict[str, float]) -> dict[str, float]:
        for key, extent in value.items():
            if not LEAST_M <= extent <= MOST_EXTENT_M:
                raise ValueError(f"extent of {key} must be {LEAST_M:g} to {MOST_EXTENT_M:,.0f} metres, got {extent:g}")
        return value

    @field_validator("resolutions")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for key, resolution in value.items():
            if not LEAST_M <= resolution <= 100_000:
                raise ValueError(f"resolution of {key} must be {LEAST_M:g} to 100,000 metres, got {resolution:g}")
        return value
