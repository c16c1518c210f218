"""The questions of a finished dataset, made from its own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landweave.questions import question_of
from landweave.scenes import scene_of
from pipelines.questions import ShardQuestions, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from landweave.dataset import Dataset
    from landweave.questions import Question
    from pipelines.questions.sources import Sources


def dataset_sources(dataset: Dataset) -> Sources:
    """What there is to ask about: land cover from the first label, elevations from an array of that name in metres."""
    terrain = {a.group: a.name for a in dataset.spec.arrays if a.name == "elevation" and a.unit == "m"}
    labels = [g.name for g in dataset.spec.groups if g.kind == "label" and g.classes]
    return sources_of(dataset.spec, labels, terrain)


def questions_of(dataset: Dataset, most: int) -> Iterator[Question]:
    """The questions that a build with `most` pairs per sample makes of these samples, shard by shard."""
    sources = dataset_sources(dataset)
    for shard in dataset.catalogue.shards:
        asked = ShardQuestions(sources, most, shard)
        inside = dataset.catalogue.inside(shard)
        for position, (_, row) in zip(inside.tolist(), dataset.catalogue.seats(inside).tolist(), strict=True):
            sample = dataset.sample(position)
            asked.add(scene_of(sample), sample.id, row)
        for row in asked.rows():
            yield question_of(row)
