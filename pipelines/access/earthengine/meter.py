"""Compute time at Earth Engine: estimated and used so far, with a stop before the limit."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.earthengine.requests import pieces, pixel_bytes
from pipelines.access.earthengine.slots import PROJECT_REQUESTS_PER_S, PROJECT_SLOTS
from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.place import GeoBox

EECU_S_PER_REQUEST = 0.03
"""Assumed compute time of a request that reads nothing, EECU-seconds."""
EECU_S_PER_MPX_BAND = 0.1
"""Assumed compute time of a million pixels of one band of one image, EECU-seconds."""
# Earth Engine publishes no prices for stored bands. The two numbers only rank requests against one another: profiles
# of real requests scale them during a run.
PRIOR_SPREAD = 3.0
"""The truth is assumed to lie between the estimate divided and multiplied by this."""
SERVICE_S = 2.0
"""Assumed time of one pixel request at the service, seconds."""
_ROW = re.compile(r"^\s*(\d+(?:\.\d+)?)\s+\S+\s+\d", re.MULTILINE)


def eecu_s(pixels: int, bands: int, images: int) -> float:
    """Assumed compute time of one pixel request, EECU-seconds.

    Args:
        pixels: Pixels of the grid.
        bands: Bands read.
        images: Images that are mosaicked or reduced.
    """
    return EECU_S_PER_REQUEST + EECU_S_PER_MPX_BAND * pixels / 1e6 * bands * max(1, images)


def profile_eecu_s(text: str) -> float:
    """Compute time of a profile: the sum of the column EECU.s of the profiler's table."""
    return sum(float(row) for row in _ROW.findall(text))


class Meter:
    """EECU-seconds of one worker, with a hard stop.

    A request is charged its estimate, scaled by what profiles of earlier requests have shown, before it is sent: so
    that requests under way together cannot pass the budget together. Failed requests stay charged: the service
    charges them too.
    """

    def __init__(self, budget_hours: float | None = None, *, workers: int = 1) -> None:
        """`budget_hours`: EECU-hours that the whole run may use, divided among `workers`; None = no stop."""
        self._budget_s = None if budget_hours is None else budget_hours * 3600.0 / workers
        self._lock = threading.Lock()
        self._used_s = 0.0
        self._measured_s = 0.0
        self._expected_s = 0.0

    @property
    def used_hours(self) -> float:
        """EECU-hours charged so far."""
        with self._lock:
            return self._used_s / 3600.0

    @property
    def scale(self) -> float:
        """Measured compute time over assumed compute time, of the profiled requests; 1 before the first."""
        with self._lock:
            return self._scale()

    def _scale(self) -> float:
        return self._measured_s / self._expected_s if self._expected_s > 0.0 else 1.0

    def reserve(self, expected_s: float) -> float:
        """Charge a request before it is sent; returns what was charged.

        Raises:
            AccessError: UNAVAILABLE, the budget does not bear it. Nothing was sent, nothing is charged.
        """
        with self._lock:
            charge_s = expected_s * self._scale()
            if self._budget_s is not None and self._used_s + charge_s > self._budget_s:
                raise AccessError(
                    Reason.UNAVAILABLE,
                    f"the Earth Engine budget is spent: {self._used_s / 3600:.4g} of {self._budget_s / 3600:.4g} "
                    "EECU-hours of this worker are used, and the next request would exceed it; raise the budget and "
                    "run again to continue",
                )
            self._used_s += charge_s
            return charge_s

    def measured(self, expected_s: float, charged_s: float, measured_s: float) -> None:
        """Use the profile of a request to correct its charge, and to scale later charges."""
        with self._lock:
            self._used_s += measured_s - charged_s
            self._measured_s += measured_s
            self._expected_s += expected_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Predicted use of Earth Engine by a plan."""

    requests: int
    """Pixel requests."""
    bytes: int
    """Uncompressed pixels with masks."""
    eecu_hours: float
    """Compute time, as assumed; nothing is published, so take `eecu_hours_range` seriously."""
    eecu_hours_range: tuple[float, float]
    """Between these the truth is assumed to lie."""
    hours: float
    """Wall time at the quota: whichever is longer, slots busy all the time or the rate of requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedChip:
    """One chip that a plan will ask for."""

    geobox: GeoBox
    bands: int
    """Bands of one lattice: read together."""
    dtype: str
    """numpy dtype asked for."""
    images: int = 1
    """Images mosaicked."""


def estimate(chips: Iterable[PlannedChip], slots: int = PROJECT_SLOTS) -> Cost:
    """Predicted use by a plan's chips, cut into requests as the session does; `slots`: of the project."""
    requests, size, compute_s = 0, 0, 0.0
    for chip in chips:
        dtype = np.dtype(chip.dtype)
        for piece in pieces(chip.geobox, chip.bands, dtype):
            bands = piece.bands.stop - piece.bands.start
            pixels = piece.width * piece.height
            requests += 1
            size += pixels * pixel_bytes(bands, dtype)
            compute_s += eecu_s(pixels, bands, chip.images)
    return cost(requests, size, compute_s, slots)


def cost(requests: int, pixel_bytes: int, compute_s: float, slots: int) -> Cost:
    """Estimate from totals: requests, bytes, EECU-seconds (`eecu_s`) and the project's slots."""
    hours = max(requests * SERVICE_S / slots, requests / PROJECT_REQUESTS_PER_S) / 3600.0
    eecu_hours = compute_s / 3600.0
    return Cost(
        requests=requests,
        bytes=pixel_bytes,
        eecu_hours=eecu_hours,
        eecu_hours_range=(eecu_hours / PRIOR_SPREAD, eecu_hours * PRIOR_SPREAD),
        hours=hours,
    )
