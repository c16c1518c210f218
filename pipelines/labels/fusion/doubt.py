"""Which labelled pixels are probably wrong: confident learning against an image model of other blocks.

After Northcutt, Jiang and Chuang 2021, https://doi.org/10.1613/jair.1.12125: a label is doubted where another class is
at least as probable as pixels of that class usually are. The image model has not seen the pixel's own fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pipelines.labels.fusion.priors import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Usual:
    """How probable the image model finds each class on pixels that have it. Adds over shards in any order."""

    pixels: NDArray[np.int64]
    """(CLASSES,) labelled pixels with an image."""
    probability: NDArray[np.int64]
    """(CLASSES,) sum of their P(own class | image) x 1,000,000, rounded per pixel."""

    @classmethod
    def of(cls, classes: NDArray[np.uint8], image: NDArray[np.float64]) -> Self:
        """From (...) codes of COMMON_CLASSES, 0 = none, and (..., CLASSES) P(class | image), 0 = no image."""
        there = (classes > 0) & (image.sum(axis=-1) > 0)
        own = classes[there]
        said = np.take_along_axis(image[there], own[:, None].astype(np.intp), axis=1)[:, 0]
        sums = np.bincount(own, weights=np.rint(said * 1e6), minlength=CLASSES).astype(np.int64)
        return cls(pixels=np.bincount(own, minlength=CLASSES).astype(np.int64), probability=sums)

    @classmethod
    def total(cls, parts: Iterable[Usual]) -> Self:
        """The sum of several."""
        pixels, probability = np.zeros(CLASSES, np.int64), np.zeros(CLASSES, np.int64)
        for part in parts:
            pixels, probability = pixels + part.pixels, probability + part.probability
        return cls(pixels=pixels, probability=probability)

    @property
    def limits(self) -> NDArray[np.float64]:
        """(CLASSES,) mean probability of a class on its own pixels; above 1 for a class without pixels."""
        mean = self.probability / 1e6 / np.maximum(self.pixels, 1)
        return np.asarray(np.where(self.pixels > 0, mean, 2.0))


def doubted(classes: NDArray[np.uint8], image: NDArray[np.float64], limits: NDArray[np.float64]) -> float | None:
    """Share of the labelled pixels with an image whose label is probably wrong; None if there is no such pixel.

    Args:
        classes: (...) codes of COMMON_CLASSES, 0 = none.
        image: (..., CLASSES) P(class | image), 0 = no image.
        limits: `Usual.limits`.
    """
    there = (classes > 0) & (image.sum(axis=-1) > 0)
    if not there.any():
        return None
    said = image[there]
    likely = np.where(said >= limits, said, 0)
    other = (likely.max(axis=1) > 0) & (likely.argmax(axis=1) != classes[there])
    return float(other.mean())
