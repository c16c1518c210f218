"""Sentinel-1 as a recipe stores it: which backscatter, in which unit. gamma0 and sigma0 never have the same name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from schemas.modality import SENTINEL1

if TYPE_CHECKING:
    from schemas.modality import Modality
    from schemas.recipe import Sentinel1Source

_TITLES = {"rtc": SENTINEL1.title, "grd": "Sentinel-1 GRD sigma0 backscatter"}
_UNITS = {
    ("rtc", "db"): "dB",
    ("rtc", "linear"): "linear power",
    ("grd", "db"): "dB sigma0",
    ("grd", "linear"): "linear power sigma0",
}
"""(product, scale) -> unit of the stored numbers."""


def backscatter(source: Sentinel1Source) -> Modality:
    """The modality with the title and the unit that a recipe's entry leads to."""
    unit = _UNITS[source.product, source.scale]
    layers = tuple(replace(layer, unit=unit) for layer in SENTINEL1.layers)
    return replace(SENTINEL1, name=source.name, title=_TITLES[source.product], layers=layers)
