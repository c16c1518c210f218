"""How far a confidence is from what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def expected_calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean distance between confidence and the share that is right, over equally wide bins of confidence, by pixels."""
    index = np.minimum((np.asarray(confidence, float) * bins).astype(int), bins - 1).ravel()
    hit = np.bincount(index, weights=np.asarray(right, float).ravel(), minlength=bins)
    said = np.bincount(index, weights=np.asarray(confidence, float).ravel(), minlength=bins)
    return float(np.abs(hit - said).sum() / max(1, index.size))
