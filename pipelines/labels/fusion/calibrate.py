"""Confidence that means what it says: isotonic regression on reference points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 30
"""Fewer reference points than this calibrate nothing."""
TOGETHER = 20
"""Points of neighbouring confidence that are one at first: a single point at an end of the curve would say 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A rising curve from confidence to the share that was right."""

    raw: NDArray[np.float64]
    """(knots,) confidence, ascending."""
    share: NDArray[np.float64]
    """(knots,) share of the reference points that were right, not falling."""

    def __call__(self, confidence: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated confidence, in the same shape."""
        return np.asarray(np.interp(confidence, self.raw, self.share))


def calibrate(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> Calibration:
    """Isotonic regression (pool adjacent violators); between pools the curve is straight.

    Args:
        confidence: (points,) confidence of the fused label at the reference points.
        right: (points,) True = the fused label is the point's class.

    Raises:
        ValueError: fewer than 30 points.
    """
    if len(confidence) < FEWEST:
        raise ValueError(f"calibration needs at least {FEWEST} reference points on labelled pixels, found {len(right)}")
    order = np.argsort(confidence, kind="stable")
    pools: list[tuple[float, float, int]] = []
    groups = np.array_split(order, max(1, len(order) // TOGETHER))
    for group in groups:
        pools.append((float(np.sum(confidence[group])), float(np.sum(right[group])), len(group)))
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] >= pools[-1][1] / pools[-1][2]:
            (x1, y1, n1), (x2, y2, n2) = pools[-2:]
            pools[-2:] = [(x1 + x2, y1 + y2, n1 + n2)]
    return Calibration(raw=np.array([x / n for x, _, n in pools]), share=np.array([y / n for _, y, n in pools]))


def expected_calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean distance between confidence and the share that is right, over equally wide bins of confidence, by pixels."""
    index = np.minimum((np.asarray(confidence, float) * bins).astype(int), bins - 1).ravel()
    hit = np.bincount(index, weights=np.asarray(right, float).ravel(), minlength=bins)
    said = np.bincount(index, weights=np.asarray(confidence, float).ravel(), minlength=bins)
    return float(np.abs(hit - said).sum() / max(1, index.size))
