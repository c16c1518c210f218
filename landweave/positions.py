"""Positions of samples in the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Whole:
    """Positions of all samples of a catalogue, without an array of them."""

    def __init__(self, samples: int) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, which: Any) -> NDArray[np.int64]:
        """Positions of these samples: indexes, a slice or a mask, as numpy takes them."""
        plain = isinstance(which, np.ndarray) and which.dtype.kind in "iu" and which.size
        if plain and which.min() >= 0 and which.max() < self._samples:
            return np.asarray(which, np.int64)
        return np.asarray(np.arange(self._samples)[which])


Positions = Whole | NDArray[np.int64]
"""Position of each sample in the catalogue."""
