"""Coordinates of the band axis, for views in xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from landweave.layout import ArraySpec


def wavelengths(array: ArraySpec, dim: str) -> dict[str, Any]:
    """Coordinates along the band axis: centre wavelength and width, micrometres; none for sensors without."""
    found: dict[str, Any] = {}
    tail = dim.removeprefix("band")
    for name, field in (("wavelength", "center_um"), ("fwhm", "fwhm_um")):
        numbers = [getattr(b, field) for b in array.bands]
        if any(n is not None for n in numbers):
            about = {"units": "um", "long_name": "centre wavelength" if name == "wavelength" else "full width half max"}
            found[f"{name}{tail}"] = (dim, np.array([np.nan if n is None else n for n in numbers]), about)
    return found
