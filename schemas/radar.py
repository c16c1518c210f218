"""Sentinel-1 as a recipe stores it: which backscatter, in which unit. gamma0 and sigma0 never have the same name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from schemas.modality import SENTINEL1

if TYPE_CHECKING:
    from schemas.modality import Modality

_TITLES = {"rtc": SENTINEL1.title, "grd": "Sentinel-1 GRD sigma0 backscatter"}
_UNITS = {
    ("rtc", "db"): "dB",
    ("rtc", "linear"): "linear power",
    ("grd", "db"): "dB sigma0",
    ("grd", "linear"): "linear power sigma0",
}
"""(product, scale) -> unit of the stored numbers."""


def backscatter(name: str, product: str, scale: str) -> Modality:
    """The modality with the title and the unit that a recipe's entry leads to.

    Args:
        name: of the layer.
        product: 'rtc' or 'grd'.
        scale: 'db' or 'linear', the unit stored.
    """
    layers = tuple(replace(layer, unit=_UNITS[product, scale]) for layer in SENTINEL1.layers)
    return replace(SENTINEL1, name=name, title=_TITLES[product], layers=layers)
