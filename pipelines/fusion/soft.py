"""Votes of layers that hold a probability for each class, such as Dynamic World's nine bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.fusion.families import FusionError
from pipelines.labels.fusion.priors import CLASSES
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from schemas.fused import FusedLabel
    from schemas.recipe import Recipe


def check_soft(recipe: Recipe, label: FusedLabel) -> None:
    """See that the bands that vote are bands of their layers.

    Raises:
        FusionError: a layer has no such band.
    """
    sources = {s.name: s for s in recipe.sources}
    for chosen in label.named:
        if not chosen.bands:
            continue
        known = sources[chosen.label].modality.band_names
        absent = next((band for band in chosen.bands if band not in known), None)
        if absent is not None:
            raise FusionError(
                f"{label.layer}.voters: {chosen.label} has no band {absent!r}; its bands are {', '.join(known)}"
            )


def soft_vote(
    bands: Mapping[str, NDArray[Any]], classes: Mapping[str, str], clear: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The class of the greatest share, and the share.

    Numbers below 0 and NaN count as 0. Their unit does not matter: shares are of the sum of all bands named.

    Args:
        bands: band -> (time, y, x) numbers as stored.
        classes: band -> class of the common taxonomy; several bands of one class add up.
        clear: (time, y, x), True = measured and not under clouds.

    Returns:
        (y, x) codes of COMMON_CLASSES, 0 = none, and (y, x) share of the class 0..1, NaN where there is none.
    """
    sums = np.zeros((CLASSES, *clear.shape[1:]))
    for band, name in classes.items():
        found = np.nan_to_num(np.asarray(bands[band], np.float64), nan=0.0, posinf=0.0)
        sums[COMMON_CLASSES.index(name)] += np.where(clear, np.maximum(found, 0), 0).sum(axis=0)
    total = sums.sum(axis=0)
    codes = np.where(total > 0, sums.argmax(axis=0), 0).astype(np.uint8)
    with np.errstate(invalid="ignore", divide="ignore"):
        return codes, (sums.max(axis=0) / np.where(total > 0, total, np.nan)).astype(np.float32)
