"""What the image says: one Gaussian per class in closed form, learnt from pixels whose votes are sure.

Features are whole numbers, so their sums are exact in any order. A pixel is judged by a model of the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.ndimage import uniform_filter

from pipelines.labels.fusion.priors import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FOLDS = 3
"""Parts of the blocks: a pixel is judged by what the other two parts teach."""
WINDOW = 5
"""Pixels across of the neighbourhood whose mean and spread are features."""
SURE = 0.98
"""A pixel teaches its class if its confidence is at least this share of the class's mean confidence. A flat limit would
leave nothing of classes that votes are never sure of, such as shrub."""
LARGEST = 30_000
"""Features are cut to this size: sums of products of a sample stay whole numbers in float64."""
SHRINKAGE, SHRINKAGE_FEW = 0.05, 60.0
"""The covariance of n pixels is drawn towards the pooled one by .05 + 60/n."""
SMALL = 1 << 17
"""Multiplications of a matrix product that OpenBLAS does in the calling thread: its threads would wait for one another
in busy loops, which took four times the CPU on a machine with other work, and could add in another order."""
FEWEST = 200
"""A class with fewer pixels in a fold's model is not judged by the image."""


def features(bands: NDArray[np.number], valid: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """(y, x, 3 B) whole numbers: the bands, and mean and spread of each in 5 x 5 pixels.

    Args:
        bands: (B, y, x), any units in which a step of 1 is below the noise: reflectance x 10,000, decibels x 100.
        valid: (y, x), True = usable. Other pixels take their neighbours' values.
    """
    values = np.asarray(bands, np.float64)
    use = np.asarray(np.isfinite(values).all(axis=0) & (True if valid is None else valid))
    size = (0, WINDOW, WINDOW)
    weight = np.maximum(uniform_filter(use[None].astype(np.float64), size, mode="nearest"), 1e-6)
    filled = np.where(use, values, 0)
    mean = uniform_filter(filled, size, mode="nearest") / weight
    square = uniform_filter(filled**2, size, mode="nearest") / weight
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    stack = np.concatenate([np.where(use, values, mean), mean, spread])
    return np.asarray(np.rint(np.clip(stack, -LARGEST, LARGEST)).transpose(1, 2, 0), np.int32)


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """Mean confidence of each class, from which follows who may teach it. Adds over shards in any order."""

    pixels: NDArray[np.int64]
    """(CLASSES,) pixels with the class on top."""
    confidence: NDArray[np.int64]
    """(CLASSES,) sum of their confidence x 1,000,000, rounded per pixel."""

    @classmethod
    def of(cls, posterior: NDArray[np.float64]) -> Self:
        """From P(class), (..., CLASSES); pixels with 0 everywhere do not count."""
        peak = posterior.max(axis=-1).ravel()
        top = posterior.argmax(axis=-1).ravel()[peak > 0]
        sums = np.bincount(top, weights=np.rint(peak[peak > 0] * 1e6), minlength=CLASSES).astype(np.int64)
        return cls(pixels=np.bincount(top, minlength=CLASSES).astype(np.int64), confidence=sums)

    @classmethod
    def total(cls, parts: Iterable[Sureness]) -> Self:
        """The sum of several."""
        zero = np.zeros(CLASSES, np.int64)
        pixels, confidence = zero.copy(), zero.copy()
        for part in parts:
            pixels, confidence = pixels + part.pixels, confidence + part.confidence
        return cls(pixels=pixels, confidence=confidence)

    @property
    def limits(self) -> NDArray[np.float64]:
        """(CLASSES,) confidence from which a pixel teaches its class."""
        return np.asarray(SURE * self.confidence / 1e6 / np.maximum(self.pixels, 1))


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over sure pixels of each fold and class. Adds over shards in any order."""

    count: NDArray[np.float64]
    """(FOLDS, CLASSES), whole numbers."""
    first: NDArray[np.float64]
    """(FOLDS, CLASSES, D) sum of features, whole numbers."""
    second: NDArray[np.float64]
    """(FOLDS, CLASSES, D, D) sum of products of features / 2**20, exact in units of 2**-20 up to 2**33."""

    @classmethod
    def of(
        cls,
        found: NDArray[np.int32],
        posterior: NDArray[np.float64],
        limits: NDArray[np.float64],
        fold: int,
        usable: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Sums of one sample.

        Args:
            found: (y, x, D) features.
            posterior: (y, x, CLASSES) P(class).
            limits: (CLASSES,) confidence from which a pixel teaches its class.
            fold: of the sample's block.
            usable: (y, x), True = the image is there.
        """
        size = found.shape[-1]
        moments = cls(
            count=np.zeros((FOLDS, CLASSES)),
            first=np.zeros((FOLDS, CLASSES, size)),
            second=np.zeros((FOLDS, CLASSES, size, size)),
        )
        top = posterior.argmax(axis=-1)
        sure = posterior.max(axis=-1) >= limits[top]
        sure &= True if usable is None else usable
        for code in np.unique(top[sure]):
            rows = found[sure & (top == code)].astype(np.float64)
            moments.count[fold, code] = len(rows)
            moments.first[fold, code] = rows.sum(axis=0)
            parts = _parts(rows)
            moments.second[fold, code] = (parts.transpose(0, 2, 1) @ parts).sum(axis=0) / 2**20
        return moments

    @classmethod
    def total(cls, parts: Iterable[Moments]) -> Self:
        """The sum of several, at least one."""
        walk = iter(parts)
        count, first, second = _three(next(walk))
        for part in walk:
            count, first, second = count + part.count, first + part.first, second + part.second
        return cls(count=count, first=first, second=second)


def _three(part: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return part.count, part.first, part.second


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """A Gaussian per fold and class: mean, inverse root of the covariance, logarithm of its determinant."""

    known: NDArray[np.bool_]
    """(FOLDS, CLASSES), True = judged."""
    mean: NDArray[np.float64]
    """(FOLDS, CLASSES, D)."""
    whiten: NDArray[np.float64]
    """(FOLDS, CLASSES, D, D)."""
    logdet: NDArray[np.float64]
    """(FOLDS, CLASSES)."""

    @classmethod
    def of(cls, moments: Moments) -> Self:
        """From the sums; fold f is judged by the sums of the other folds."""
        size = moments.first.shape[-1]
        known, logdet = np.zeros((FOLDS, CLASSES), bool), np.zeros((FOLDS, CLASSES))
        mean, whiten = np.zeros((FOLDS, CLASSES, size)), np.zeros((FOLDS, CLASSES, size, size))
        for fold in range(FOLDS):
            others = [f for f in range(FOLDS) if f != fold]
            count, first, second = (x[others].sum(axis=0) for x in _three(moments))
            heard = count >= max(FEWEST, size + 1)
            known[fold] = heard
            centre = first / np.maximum(count, 1)[:, None]
            scatter = second * 2**20 - count[:, None, None] * centre[:, :, None] * centre[:, None, :]
            pooled = scatter[heard].sum(axis=0) / max(1.0, count[heard].sum()) + np.eye(size)
            for code in np.flatnonzero(heard):
                drawn = min(1.0, SHRINKAGE + SHRINKAGE_FEW / count[code])
                cov = (1 - drawn) * scatter[code] / count[code] + drawn * pooled
                root = np.linalg.cholesky(cov)
                whiten[fold, code] = np.linalg.inv(root)
                logdet[fold, code] = 2 * np.log(np.diag(root)).sum()
            mean[fold] = centre
        return cls(known=known, mean=mean, whiten=whiten, logdet=logdet)

    def log_likelihood(self, found: NDArray[np.int32], fold: int) -> NDArray[np.float64]:
        """(y, x, CLASSES) logarithm of the density, but for a constant per pixel.

        Classes that are not known have the mean of the known ones: the image neither helps nor harms them.
        """
        rows = found.reshape(-1, found.shape[-1]).astype(np.float32)
        parts, known = _parts(rows), np.flatnonzero(self.known[fold])
        result = np.zeros((len(rows), CLASSES))
        for code in known:
            turn = self.whiten[fold, code].T
            turned = (parts @ turn.astype(np.float32)).reshape(-1, rows.shape[1])[: len(rows)]
            white = turned - (self.mean[fold, code] @ turn).astype(np.float32)
            result[:, code] = -0.5 * (np.einsum("nd,nd->n", white, white) + self.logdet[fold, code])
        if len(known):
            rest = np.setdiff1d(np.arange(CLASSES), known)
            result[:, rest] = result[:, known].mean(axis=1, keepdims=True)
        return result.reshape(*found.shape[:-1], CLASSES)


def _parts(rows: NDArray[Any]) -> NDArray[Any]:
    """(n, D) rows as (parts, rows of a part, D), filled with zeros: the products of a part are `SMALL`."""
    count, size = rows.shape
    each = max(1, SMALL // max(1, size * size))
    whole = np.zeros((-(-count // each) * each, size), rows.dtype)
    whole[:count] = rows
    return np.asarray(whole.reshape(-1, each, size))
