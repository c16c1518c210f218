"""Earth Engine in a recipe: connection, cost limits, and the collections of each layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from schemas.primitives import http_address
from schemas.strict import Strict

SLOTS = 40
"""Concurrent requests of a project, standard and high-volume endpoint each
(https://developers.google.com/earth-engine/guides/usage)."""
REQUESTS_PER_S = 100.0
"""Requests per second of a project (the same page)."""
COLLECTIONS: dict[str, tuple[str, ...]] = {
    "sentinel2": ("COPERNICUS/S2_SR_HARMONIZED",),
    "sentinel1": ("COPERNICUS/S1_GRD",),
    "landsat": ("LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2"),
    "dem": ("COPERNICUS/DEM/GLO30",),
    "worldcover": ("ESA/WorldCover/v100", "ESA/WorldCover/v200"),
    "dynamicworld": ("GOOGLE/DYNAMICWORLD/V1",),
}
"""Kind of source or label -> asset ids of the collections that hold it
(https://developers.google.com/earth-engine/datasets/catalog)."""


class EarthEngineProvider(Strict):
    """Google Earth Engine: images are listed as scenes, pixels are computed on the sample's own grid."""

    kind: Literal["earthengine"] = "earthengine"
    project: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9-]{4,61}[a-z0-9]$",
        description="Cloud project that is billed; from EARTHENGINE_PROJECT, GOOGLE_CLOUD_PROJECT or the "
        "credentials if absent",
    )
    endpoint: Literal["high_volume", "standard"] = Field(
        default="high_volume", description="use high_volume for many small requests"
    )
    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=2048,
        description="another address of the service, below googleapis.com or on this machine; may begin with an "
        "environment variable, $LANDWEAVE_...",
    )
    credentials: Literal["auto", "service_account", "application_default", "workload_identity"] = Field(
        default="auto", description="which kind of credentials the environment must hold"
    )
    slots: int = Field(default=SLOTS, ge=1, le=1000, description="concurrent requests of the project, over all workers")
    requests_per_s: float | None = Field(
        default=REQUESTS_PER_S, gt=0, description="requests started per second, over all workers; not limited if null"
    )
    eecu_hours: float | None = Field(
        default=None, gt=0, description="most compute time that one run may use, EECU-hours; not limited if absent"
    )
    retries: int = Field(default=8, ge=0, le=20, description="attempts after the first, for temporary errors")
    timeout_s: float = Field(default=300.0, gt=0, description="deadline of one request, seconds")

    dialect: ClassVar[Literal["generic"]] = "generic"
    """Its items say themselves what was done to the numbers."""

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value or "?" in value:
            raise ValueError("url must not contain a user, password or query: credentials come from the environment")
        return http_address(value)
