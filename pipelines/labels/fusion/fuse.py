"""The whole: statistics from samples in a first pass, labels in a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.labels.fusion.doubt import Doubt, signs
from pipelines.labels.fusion.image import FOLDS, ImageModel, Moments, Sureness
from pipelines.labels.fusion.votes import Patterns, VoteModel, learn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.labels.fusion.voters import Voter

IMAGE_WEIGHT = 0.5
"""Weight of the image's log-likelihood beside that of the votes: neighbouring bands and pixels repeat one another."""
USUAL_FEATURES = 24
"""More features than these repeat one another still more, and weigh less in proportion."""
HEDGE = 0.2
"""Share of the votes' own probability of the class in the confidence: votes and image together are too sure. Measured
on five worlds, docs/labels.md."""
IMAGE_ROUNDS = 2
"""Image models learnt one after another: the second learns from what votes and the first one are sure of."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What there is about one sample."""

    votes: NDArray[np.uint16]
    """(voters, y, x) symbols."""
    image: NDArray[np.int32] | None = None
    """(y, x, D) features; None = votes alone."""
    usable: NDArray[np.bool_] | None = None
    """(y, x), True = the image is there; None = everywhere."""
    block: int = 0
    """Number of the sample's block on the ground: blocks are folds of the image model."""
    stratum: NDArray[np.integer] | int = 0
    """Region, relief or date gap by which reliability may differ: one number, or (y, x)."""

    @property
    def fold(self) -> int:
        """Fold of the block."""
        return self.block % FOLDS


@dataclass(frozen=True, kw_only=True)
class Model:
    """What labels a sample."""

    votes: VoteModel
    """What votes say."""
    image: ImageModel | None = None
    """What the image says; None = nothing."""
    doubt: Doubt | None = None
    """Which pixels are probably wrong, learnt from reference points; None = there are none, and the confidence is not
    calibrated."""

    def posterior(self, one: Evidence) -> NDArray[np.float64]:
        """(y, x, CLASSES) P(class); 0 everywhere where no voter names a class."""
        return self.both(one)[0]

    def both(self, one: Evidence) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(y, x, CLASSES) P(class) as `posterior`, and P(class | votes) without the image, 0 where that is."""
        found = self.votes.log_scores(one.votes, one.stratum)
        voted = np.asarray((one.votes > 0).any(axis=0))[..., None]
        alone = np.where(voted, _normal(found), 0)
        if self.image is None or one.image is None or not self.image.known[one.fold].any():
            return alone, alone
        weight = IMAGE_WEIGHT * min(1.0, USUAL_FEATURES / one.image.shape[-1])
        said = weight * self.image.log_likelihood(one.image, one.fold)
        found = found + np.where(True if one.usable is None else one.usable[..., None], said, 0)
        return np.where(voted, _normal(found), 0), alone


def _normal(logs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities along the last axis; computed class by class, which is quicker along so short an axis."""
    by_class = np.ascontiguousarray(np.moveaxis(logs, -1, 0), np.float64)
    found = np.exp(by_class - by_class.max(axis=0))
    return np.moveaxis(found / found.sum(axis=0), 0, -1)


@dataclass(frozen=True, kw_only=True)
class Fused:
    """Labels of one sample."""

    classes: NDArray[np.uint8]
    """(y, x) codes of COMMON_CLASSES, 0 = abstained."""
    confidence: NDArray[np.uint8]
    """(y, x) probability that the class is right, 0..255 = 0..1; 0 where abstained."""
    votes: NDArray[np.uint8]
    """(y, x) families that name the class."""
    posterior: NDArray[np.float64]
    """(y, x, CLASSES) P(class) before calibration."""
    raw: NDArray[np.float64]
    """(y, x) confidence before calibration, 0..1; 0 without a vote."""
    signs: NDArray[np.float64]
    """(y, x, SIGNS) what tells of errors: `doubt.signs`."""
    wrong: NDArray[np.float64]
    """(y, x) probability that the class is wrong, 0..1; 1 - confidence with reference points. Without meaning where
    there is no vote."""


def fuse(model: Model, one: Evidence, abstain_below: float = 0.0) -> Fused:
    """Label one sample; pixels with a confidence below `abstain_below` (0..1), or without a vote, get no class."""
    posterior, votes = model.both(one)
    classes = posterior.argmax(axis=-1).astype(np.uint8)
    peak, told = posterior.max(axis=-1), signs(posterior)
    voted = np.take_along_axis(votes, classes[..., None].astype(np.intp), axis=-1)[..., 0]
    raw = (1 - HEDGE) * peak + HEDGE * voted
    wrong = (model.doubt or Doubt())(told)
    confidence = raw if model.doubt is None else 1 - wrong
    kept = (raw > 0) & (confidence >= abstain_below)
    agree = np.zeros(classes.shape, np.uint8)
    for voter, vote in zip(model.votes.voters, one.votes, strict=True):
        agree += (vote > 0) & (voter.means[vote] == classes)
    return Fused(
        classes=np.where(kept, classes, 0).astype(np.uint8),
        confidence=np.where(kept, np.rint(confidence * 255), 0).astype(np.uint8),
        votes=np.where(kept, agree, 0).astype(np.uint8),
        posterior=posterior,
        raw=raw,
        signs=told,
        wrong=wrong,
    )


def learn_all(voters: Sequence[Voter], samples: Sequence[Evidence], rounds: int = IMAGE_ROUNDS) -> Model:
    """Both kinds of statistics from samples in memory.

    Raises:
        ValueError: as in `learn`.
    """
    patterns = Patterns.total(Patterns.of(voters, s.votes, s.stratum) for s in samples)
    return learn_image(learn(voters, patterns), samples, rounds)


def learn_image(votes: VoteModel, samples: Sequence[Evidence], rounds: int = IMAGE_ROUNDS) -> Model:
    """Image models from pixels whose votes are sure; a dataset gives a part of its pixels, drawn by sample."""
    model = Model(votes=votes)
    seen = [s for s in samples if s.image is not None]
    for _ in range(rounds if seen else 0):
        posteriors = [model.posterior(s) for s in seen]
        sure = Sureness.total(map(Sureness.of, posteriors))
        sums = Moments.total(moments(s, p, sure) for s, p in zip(seen, posteriors, strict=True))
        model = Model(votes=votes, image=ImageModel.of(sums))
    return model


def moments(one: Evidence, posterior: NDArray[np.float64], sure: Sureness) -> Moments:
    """Sums of a sample's sure pixels, for the next image model; `posterior` is (y, x, CLASSES) of the model so far.

    Raises:
        ValueError: the sample has no image.
    """
    if one.image is None:
        raise ValueError("a sample without an image teaches no image model")
    usable = np.asarray(posterior.sum(axis=-1) > 0)
    return Moments.of(
        one.image, posterior, sure.limits, one.fold, usable if one.usable is None else usable & one.usable
    )
