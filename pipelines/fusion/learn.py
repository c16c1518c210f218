"""Between the passes: the statistics of all shards become the model that labels them, and the text that keeps it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.fusion.collect import WINDOW
from pipelines.fusion.families import FusionError
from pipelines.fusion.job import VERSION
from pipelines.fusion.strata import described_stratum
from pipelines.labels.fusion.doubt import FEWEST, SIGNS, Doubt, learn_doubt
from pipelines.labels.fusion.fuse import Evidence, Model, fuse, learn_image
from pipelines.labels.fusion.image import FOLDS, ImageModel
from pipelines.labels.fusion.priors import SOURCES
from pipelines.labels.fusion.votes import Patterns, VoteModel, learn
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.fusion.collect import Statistics
    from pipelines.fusion.job import Job


IMAGE_ROUNDS = 1
"""Image models learnt one after another. On the miniature Earth a second one, which learns from what the first is sure
of, lost 4 points of mIoU: with three products it repeats its own errors."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """All that labels a sample."""

    model: Model
    """Votes, image and calibration."""
    points: int
    """Reference points on labelled pixels; 0 = not calibrated."""

    @property
    def version(self) -> str:
        """What the catalogue says of each sample's map."""
        return f"v{VERSION} {'calibrated' if self.points else 'uncalibrated'}"

    def to_json(self, job: Job) -> dict[str, Any]:
        """The tables, for the workers and for the dataset: arrays as nested lists, classes in their common order."""
        votes, image, doubt = self.model.votes, self.model.image, self.model.doubt
        return {
            "version": VERSION,
            "layer": job.label.layer,
            "classes": [COMMON_CLASSES[code] for code in job.classes],
            "families": [
                {
                    "family": f.form.family,
                    "layers": [m.layer for m in f.maps],
                    "crosswalks": [m.stamp for m in f.maps],
                    "bands": [dict(m.bands) for m in f.maps],
                    "means": f.form.means.tolist(),
                    "prior": SOURCES.get(f.form.family, "no publication is known of: 70 %, our assumption"),
                }
                for f in job.families
            ],
            "common_classes": list(COMMON_CLASSES),
            "strata": votes.strata.tolist(),
            "strata_said": [described_stratum(job.label.strata, s) for s in votes.strata.tolist()],
            "shares": votes.shares.tolist(),
            "emissions": [table.tolist() for table in votes.emissions],
            "bands": [b.to_json() for b in job.bands],
            "image": None
            if image is None
            else {name: getattr(image, name).tolist() for name in ("known", "mean", "whiten", "logdet")},
            "doubt": None if doubt is None else doubt.weights.tolist(),
            "points": self.points,
        }

    @classmethod
    def of_json(cls, said: dict[str, Any], job: Job) -> Self:
        """What `to_json` wrote, number for number."""
        voters = tuple(f.form for f in job.families)
        votes = VoteModel(
            voters=voters,
            shares=np.array(said["shares"]),
            emissions=tuple(np.array(t) for t in said["emissions"]),
            strata=np.array(said["strata"], np.int64),
        )
        image, doubt = said["image"], said["doubt"]
        model = Model(
            votes=votes,
            image=None if image is None else ImageModel(**{name: np.array(table) for name, table in image.items()}),
            doubt=None if doubt is None else Doubt(weights=np.array(doubt)),
        )
        return cls(model=model, points=said["points"])


def learn_model(job: Job, statistics: Sequence[Statistics]) -> Learned:
    """The model of a dataset.

    Args:
        job: which label.
        statistics: of every shard, in the order of their numbers.

    Raises:
        FusionError: fewer than two families have a label anywhere, or too few reference points lie on labels.
    """
    voters = [f.form for f in job.families]
    patterns = Patterns.total(Patterns(keys=s.keys, counts=s.counts) for s in statistics)
    try:
        votes = learn(voters, patterns, classes=np.array(job.classes, np.uint8))
    except ValueError as error:
        raise FusionError(str(error)) from None
    drawn = _together(statistics)
    folds = [
        _evidence(drawn, np.flatnonzero((drawn.fold == fold) & (drawn.point < 0))[None], fold) for fold in range(FOLDS)
    ]
    model = learn_image(votes, [e for e in folds if e.image is not None and e.image.size], IMAGE_ROUNDS)
    points, model = _calibrated(job, drawn, model)
    return Learned(model=model, points=points)


def _together(parts: Sequence[Statistics]) -> Statistics:
    first = parts[0]
    return replace(
        first,
        votes=np.concatenate([p.votes for p in parts], axis=1),
        **{
            name: np.concatenate([getattr(p, name) for p in parts])
            for name in ("image", "usable", "fold", "stratum", "point")
        },
    )


def _evidence(drawn: Statistics, chosen: NDArray[np.intp], fold: int) -> Evidence:
    """Rows of the statistics, (y, x) numbers, as one sample of that shape."""
    image = drawn.image[chosen].astype(np.int32)
    return Evidence(
        votes=drawn.votes[:, chosen],
        image=image if image.size else None,
        usable=drawn.usable[chosen],
        block=fold,
        stratum=drawn.stratum[chosen],
    )


def _calibrated(job: Job, drawn: Statistics, model: Model) -> tuple[int, Model]:
    """How many points the model is calibrated with, and the model that is: its confidence, and its estimate of wrong
    pixels. Of one point in two samples the first counts."""
    if not len(job.points):
        return 0, model
    windows = np.flatnonzero(drawn.point >= 0).reshape(-1, WINDOW)
    _, first = np.unique(drawn.point[windows[:, 0]], return_index=True)
    told, right = [np.zeros((0, SIGNS))], [np.zeros(0, bool)]
    for fold in range(FOLDS):
        mine = windows[first][drawn.fold[windows[first, 0]] == fold]
        if not len(mine):
            continue
        # windows one below the other: the middle of each has its own neighbours around it, and no others
        fused = fuse(model, _evidence(drawn, mine.reshape(-1, 3), fold))
        middle = (slice(1, None, 3), 1)
        there = fused.raw[middle] > 0
        truth = job.points[drawn.point[mine[:, 0]], 2]
        told.append(fused.signs[middle][there])
        right.append((fused.classes[middle] == truth)[there])
    hit = np.concatenate(right)
    if len(hit) < FEWEST:
        raise FusionError(
            f"{job.label.layer}.reference: {len(hit)} of {len(job.points)} points lie on labelled pixels of samples, "
            f"at least {FEWEST} are needed; add points inside the samples, or remove `reference`"
        )
    return len(hit), replace(model, doubt=learn_doubt(np.concatenate(told), ~hit))
