"""How often a voter names the right class, before the data say so: published accuracies, with their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CLASSES = len(COMMON_CLASSES)
OTHERS = 0.7
"""For a family that no publication is known of, and for classes that no publication rates. Between the overall
accuracies of the three global maps: 76.7 % (WorldCover 2021), 73.8 % (Dynamic World) and 75 % (Esri)."""
SOURCES: dict[str, str] = {
    "worldcover": "WorldCover Product Validation Report v2.0 (2022), https://esa-worldcover.org: 76.7 % overall",
    "dynamicworld": "Brown et al. 2022, https://doi.org/10.1038/s41597-022-01307-4: 73.8 % agreement with experts",
    "esri": "Venter et al. 2022, https://doi.org/10.3390/rs14164101: 75 % overall",
    "openstreetmap": "no global figure is published: 90 % of mapped objects, our assumption",
}
ACCURACY: dict[str, float] = {"openstreetmap": 0.9}
"""Families that differ from OTHERS."""
SHOWN: dict[str, float] = {
    "water": 0.92,
    "built": 0.83,
    "trees": 0.81,
    "crops": 0.78,
    "bare": 0.57,
    "wetland": 0.53,
    "shrub": 0.47,
    "grass": 0.34,
}
"""Accuracy per class, mean of the three global maps: Venter et al. 2022, Remote Sensing 14(16) 4101."""
WEIGHT = 0.5
"""Share of SHOWN in the prior of a class; the rest is the family's overall accuracy. A class accuracy is a mean over
three maps and one validation set, so it moves the prior half of the way."""

SELDOM = 1e-4
"""Share of a symbol that the data do not have, so that none is impossible."""


def emission(
    family: str,
    means: NDArray[np.uint8],
    stated: Mapping[str, float] | None = None,
    often: NDArray[np.number] | None = None,
) -> NDArray[np.float64]:
    """(CLASSES, symbols) P(symbol | class) before the data: rows add up to 1, column 0 (no vote) is 0.

    Args:
        family: name of the voter.
        means: (symbols,) class of each symbol in the common taxonomy, 0 = none.
        stated: class name -> accuracy 0..1 that replaces the published one.
        often: (symbols,) how often each is named in the data: a wrong pixel is then called what the product often
            says, and rarely by a rare class, which would drown in errors otherwise. None = all wrong symbols alike.
    """
    weight = np.ones(len(means)) if often is None else often / max(often[1:].sum(), 1e-300) + SELDOM
    overall = ACCURACY.get(family, OTHERS)
    table = np.zeros((CLASSES, len(means)))
    votes = np.arange(len(means)) > 0
    for code, name in enumerate(COMMON_CLASSES):
        right = votes & (means == code)
        wrong = votes & ~right
        share = overall if family in ACCURACY else (1 - WEIGHT) * overall + WEIGHT * SHOWN.get(name, overall)
        share = (stated or {}).get(name, share)
        if code and right.any():
            table[code, right] = share * weight[right] / weight[right].sum()
            table[code, wrong] = (1 - share) * weight[wrong] / max(1e-300, weight[wrong].sum())
        else:
            table[code, votes] = weight[votes]
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1e-300))
