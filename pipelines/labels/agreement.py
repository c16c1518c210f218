"""Share of pixels on which label products agree, in the common taxonomy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from schemas.label import LabelMap

UNKNOWN = 0
"""Code of 'unknown' in COMMON_CLASSES: no label, or a class without a place in the common taxonomy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement of label products on one sample."""

    all_agree: float | None
    """Share 0..1 of the pixels with every label on which all are the same; None if no pixel has every label."""
    pixels: int
    """Pixels with every label: what `all_agree` is a share of."""
    pairs: dict[tuple[str, str], tuple[float, int]]
    """(label, label), names sorted -> (share that agrees, pixels with both). Pairs without such pixels are absent."""


def to_common(label: LabelMap) -> NDArray[np.uint8]:
    """Classes of a label map as codes of COMMON_CLASSES, (y, x), 0 where there is no label."""
    return label.legend.common(label.classes, label.valid)


def agreement(labels: Mapping[str, LabelMap]) -> Agreement:
    """Agreement of the label maps of one sample, all on the same grid.

    Raises:
        ValueError: the maps have different shapes.
    """
    names = sorted(labels)
    shapes = {labels[name].classes.shape for name in names}
    if len(shapes) > 1:
        raise ValueError(f"label maps of one sample must share a grid to be compared, got shapes {sorted(shapes)}")
    common = {name: to_common(labels[name]) for name in names}
    pairs: dict[tuple[str, str], tuple[float, int]] = {}
    for one, two in combinations(names, 2):
        both = (common[one] != UNKNOWN) & (common[two] != UNKNOWN)
        if both.any():
            pairs[(one, two)] = (float((common[one] == common[two])[both].mean()), int(both.sum()))
    if len(names) < 2:
        return Agreement(all_agree=None, pixels=0, pairs=pairs)
    stack = np.stack([common[name] for name in names])
    every = (stack != UNKNOWN).all(axis=0)
    same = (stack == stack[0]).all(axis=0)
    return Agreement(all_agree=float(same[every].mean()) if every.any() else None, pixels=int(every.sum()), pairs=pairs)


def agreement_map(labels: Mapping[str, LabelMap]) -> NDArray[np.uint8]:
    """(y, x): how many labels name the pixel's most named class; 0 where no label is there. At least one map."""
    stack = np.stack([to_common(labels[name]) for name in sorted(labels)])
    votes = [((stack == label) & (label != UNKNOWN)).sum(axis=0) for label in stack]
    most: NDArray[np.uint8] = np.max(votes, axis=0).astype(np.uint8)
    return most
