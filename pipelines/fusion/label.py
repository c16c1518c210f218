"""Second pass: labels one shard with the learnt model, as a shard of a dataset with the fused layer alone."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.labels.fusion.fuse import Fused, fuse
from pipelines.shards import DatasetSpec, ShardRows, write_shard
from pipelines.shards.finished import refused_stack
from pipelines.shards.fused_spec import MEASURES, fused_dataset, terms_of
from schemas.label import COMMON_CLASSES, LabelClass, LabelMap, Legend
from schemas.outcome import Outcome, Reason
from schemas.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.fusion.job import Job
    from pipelines.fusion.learn import Learned
    from pipelines.fusion.reading import Read, Reading

NONE = 255
"""Code of a pixel without a class; the classes are 0, 1, 2, ..."""
COLOURS = {
    "water": "#0064c8",
    "trees": "#006400",
    "shrub": "#ffbb22",
    "grass": "#ffff4c",
    "crops": "#f096ff",
    "built": "#fa0000",
    "bare": "#b4b4b4",
    "snow and ice": "#f0f0f0",
    "wetland": "#0096a0",
    "moss and lichen": "#fae6a0",
}
"""As WorldCover's items state them for the same classes."""


def legend_of_fused(job: Job) -> Legend:
    """Classes of a fused label: contiguous codes from 0, named as the common taxonomy does."""
    names = [COMMON_CLASSES[code] for code in job.classes]
    stamps = dict.fromkeys(m.stamp for f in job.families for m in f.maps if m.stamp)
    return Legend(
        product="Fused land cover",
        nodata=NONE,
        classes=tuple(LabelClass(code=i, name=n, colour=COLOURS[n], common=n) for i, n in enumerate(names)),
        source="docs/labels.md",
        crosswalk="; ".join(stamps),
    )


class Labelling:
    """Labels the shards of one dataset."""

    def __init__(self, reading: Reading, learned: Learned) -> None:
        """Take what all shards share.

        Args:
            reading: reads the samples.
            learned: the model.
        """
        self.reading, self.job, self.learned = reading, reading.job, learned
        self._index = np.full(len(COMMON_CLASSES), NONE, np.uint8)
        self._index[list(self.job.classes)] = np.arange(len(self.job.classes))

    @cached_property
    def form(self) -> DatasetSpec:
        """Form of the dataset with the fused layer alone."""
        legend, spec = legend_of_fused(self.job), self.reading.base.spec
        return fused_dataset(spec, self.job.recipe, legend, self._layers, calibrated=self.learned.points)

    @property
    def _layers(self) -> list[str]:
        """Every layer that votes."""
        return [m.layer for f in self.job.families for m in f.maps]

    def build(self, out: Path, shard: int) -> int:
        """Write and publish one shard; returns its samples."""
        base = self.reading.base
        manifest, places = base.manifest(shard), {}
        for position in base.positions(shard):
            row = base.row(position)
            places[row["id"]] = (position, base.footprint(row))
        left = iter(manifest.refused)
        ids = tuple(next(left) if s is None else s for s in manifest.samples)
        rows = ShardRows(index=shard, split=manifest.split, sample_ids=ids)
        footprints = {sample: footprint for sample, (_, footprint) in places.items()}
        stacks = (
            self._stack(places[s][0]) if s in places else refused_stack(s, manifest.split) for s in rows.sample_ids
        )
        return write_shard(out, rows, stacks, self.form, footprints).samples

    def _stack(self, position: int) -> Stack:
        read = self.reading.read(position)
        stack = Stack(place=self.reading.base.place(read.row))
        label = None if read.evidence is None else self._map(read, fuse(self.learned.model, read.evidence, self._least))
        if label is None:
            why = "no voter has a label here" if read.evidence is None else "no pixel has a class that is sure enough"
            reason, detail = Reason.LABEL_MISSING, why
        else:
            reason, detail = Reason.OK, ""
            stack.labels[label.label] = label
        stack.outcomes.append(
            Outcome(
                sample_id=stack.place.sample_id,
                layer=self.job.label.layer,
                slot=0,
                reason=reason,
                item_ids=() if label is None else label.item_ids,
                detail=detail,
            )
        )
        return stack

    @property
    def _least(self) -> float:
        return self.job.label.abstain_below

    def _map(self, read: Read, fused: Fused) -> LabelMap | None:
        there = fused.classes > 0
        if not there.any():
            return None
        gaps = [gap for gap in self.reading.gaps(read.row).values() if gap is not None]
        items = [i for layer in self.reading.gaps(read.row) for i in read.row[f"{layer}_items"] or ()]
        more: dict[str, NDArray[Any]] = {"confidence": fused.confidence, "votes": fused.votes}
        if self.job.label.mislabelled:
            more["mislabelled"] = stored_doubt(fused.wrong, there)
        if self.job.label.probabilities:
            share = fused.posterior[..., list(self.job.classes)].transpose(2, 0, 1)
            more["probabilities"] = np.rint(np.where(there, share, 0) * 255).astype(np.uint8)
        return LabelMap(
            label=self.job.label.layer,
            classes=self._index[fused.classes],
            valid=there,
            legend=legend_of_fused(self.job),
            version=self.learned.version,
            year=self.reading.base.time(read.row).year,
            date_gap_days=max(gaps, default=None),
            item_ids=tuple(dict.fromkeys(items)),
            licence=terms_of(self.reading.base.spec, self._layers)[0],
            more=more,
            measures=self._measures(read, fused, there),
        )

    def _measures(self, read: Read, fused: Fused, there: NDArray[np.bool_]) -> dict[str, float]:
        assert read.evidence is not None  # noqa: S101 - there are labels
        voting = (read.evidence.votes > 0).sum(axis=0)
        said = fused.posterior[there]
        entropy = -(said * np.log(np.maximum(said, 1e-300))).sum(axis=1) / np.log(max(2, len(self.job.classes)))
        found = (
            float(fused.confidence[there].mean() / 255),
            float((fused.votes[there] / voting[there]).mean()),
            float(entropy.mean()),
            float(fused.wrong[there].mean()),
        )
        return {name: round(v, 6) for name, v in zip(MEASURES, found, strict=True)}


def stored_doubt(wrong: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(y, x) probabilities 0..1 that classes are wrong as 1..255 = 0..1, and 0 where there is no class: a pixel that is
    all but sure is 1, since 0 would be read as no value."""
    return np.where(there, np.maximum(np.rint(wrong * 255), 1), 0).astype(np.uint8)
