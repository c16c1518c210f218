"""Which pixels of the fused map are probably wrong: a small logistic model on what their neighbours say.

The probability of votes and image judges each pixel by itself, but ground is not a matter of single pixels: a class
that the eight pixels around do not share is wrong far more often than its own probability says. The class stays; only
the estimate of its error looks around.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNS = 3
"""What is known of a pixel: see `signs`."""
USUAL = (0.25, 0.17, 0.44, 0.2)
"""Constant and weight of each sign without reference points: fitted to the truth of the six worlds of
`benchmarks.labels`, seed 1, and the same for every dataset. docs/labels.md has the figures of other seeds."""
SPREAD = (0.5, 0.1, 0.1, 0.1)
"""How far reference points may move each of them: standard deviations of the prior around `USUAL`. Of four choices the
best for seeds 1 and 2 with 500 points."""
FEWEST = 30
"""Fewer reference points than this calibrate nothing."""
LEAST = 1e-4
"""Smallest probability of an error that a sign says."""
STEPS, SMALLEST = 50, 1e-9
"""Steps of Newton's method at most, which needs about six, and the smallest one."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Signs of a pixel -> the probability that its class is wrong."""

    weights: NDArray[np.float64] = field(default_factory=lambda: np.array(USUAL))
    """(1 + SIGNS,) constant, and weight of each sign."""

    def __call__(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """(...) probability 0..1 that the class is wrong, of (..., SIGNS) signs."""
        logit = self.weights[0] + sum(self.weights[1 + i] * found[..., i] for i in range(SIGNS))
        return np.asarray(1 / (1 + np.exp(-logit)), np.float64)


def signs(posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """(y, x, SIGNS) logits of three probabilities that a pixel's best class is wrong.

    Its own; that of the same class in the 3 x 3 pixels around; and the mean of what each of these pixels has of its own
    best class. Pixels without a vote do not count; at the edge the outermost pixels count again.

    Args:
        posterior: (y, x, CLASSES) P(class), 0 everywhere where no voter names a class.
    """
    best, own = posterior.argmax(axis=-1), posterior.max(axis=-1)
    voted = own > 0
    count = np.maximum(_around(voted.astype(np.float64)), 1)
    same = np.zeros(best.shape)
    for code in np.unique(best[voted]):
        here = best == code
        same[here] = _around(posterior[..., code])[here]
    every = _around(np.where(voted, 1 - own, 0)) / count
    return np.stack([_logit(p) for p in (1 - own, 1 - same / count, every)], axis=-1)


def learn_doubt(found: NDArray[np.float64], wrong: NDArray[np.bool_]) -> Doubt:
    """The most probable weights after reference points; none leave the usual ones.

    Args:
        found: (points, SIGNS) signs of their pixels.
        wrong: (points,) True = the fused class is not the point's.
    """
    rows = np.concatenate([np.ones((len(found), 1)), found], axis=1)
    usual, hold = np.array(USUAL), 1 / np.square(SPREAD)

    def loss(weights: NDArray[np.float64]) -> float:
        logit = np.einsum("nd,d->n", rows, weights)
        misfit = np.logaddexp(0, np.where(wrong, -logit, logit)).sum()
        return float(misfit + (hold * np.square(weights - usual)).sum() / 2)

    weights = usual.copy()
    for _ in range(STEPS):
        said = 1 / (1 + np.exp(-np.einsum("nd,d->n", rows, weights)))
        slope = np.einsum("nd,n->d", rows, said - wrong) + hold * (weights - usual)
        bend = np.einsum("nd,n,ne->de", rows, said * (1 - said), rows) + np.diag(hold)
        step = np.linalg.solve(bend, slope)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > SMALLEST:
            step = step / 2  # a whole step can lead beyond the minimum, and away from it
        if np.abs(step).max() <= SMALLEST:
            break
        weights = weights - step
    return Doubt(weights=weights)


def _logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(share, LEAST, 1 - LEAST)
    return np.asarray(np.log(kept / (1 - kept)))


def _around(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """(y, x) sums over 3 x 3 pixels; the same numbers in any window that holds them, since nothing is a running sum."""
    wide = np.pad(plane, 1, mode="edge")
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])
