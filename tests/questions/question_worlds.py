"""A small dataset with questions: smooth land cover, terrain and images, some dates absent or clouded."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from pipelines.questions import questions_for
from pipelines.shards import ShardRows, dataset_spec, finalise, write_shard
from tests.shards import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from schemas.recipe import Recipe
    from schemas.stack import Stack

SOURCES = ("sentinel2", "sentinel1", "dem")
SIZE_M = 480.0


def recipe(samples: int, *, sources: Sequence[str] = SOURCES, ask: bool = True, **questions: Any) -> Recipe:
    """The recipe, with its `questions` section; ask=False: without."""
    made = synthetic.recipe(sources=tuple(sources), samples=samples, size_m=SIZE_M)
    if not ask:
        return made
    said = {**made.model_dump(mode="json"), "questions": {"kind": "questions", **questions}}
    return type(made).model_validate(said)


def build(out: Path, counts: tuple[int, ...] = (30, 18), **asked: Any) -> Path:
    """Build a dataset; `asked` as `recipe` takes it."""
    made = recipe(max(counts), **asked)
    spec = dataset_spec(made, len(counts), synthetic.LEGENDS)
    for index, count in enumerate(counts):
        ids = tuple(f"s{index:03d}_{row:03d}" for row in range(count))
        shard = ShardRows(index=index, split=("train", "test")[index % 2], sample_ids=ids)
        questions = questions_for(made, spec, index)
        footprints = {i: synthetic.footprint(synthetic.place(shard, row, SIZE_M)) for row, i in enumerate(ids)}
        passing = questions.passing(stacks(synthetic.Planned(spec, (shard,)), shard))
        write_shard(out, shard, passing, spec, footprints, questions.rows)
    finalise(out, spec)
    return out


def stacks(plan: synthetic.Planned, shard: ShardRows) -> Iterator[Stack]:
    """The stacks of a shard: those of `synthetic`, with smooth fields in place of noise."""
    for row, stack in enumerate(plan.stacks(shard)):
        random = np.random.default_rng((shard.index, row))
        for name, label in stack.labels.items():
            codes = np.array([c.code for c in label.legend.classes], label.classes.dtype)
            field = _smooth(random, label.classes.shape)
            ends = np.sort(random.uniform(0.1, 0.9, len(codes) - 1))
            found = codes[np.digitize(field, np.quantile(field, ends))]
            stack.labels[name] = dataclasses.replace(label, classes=found, valid=np.ones(found.shape, np.bool_))
        for key, seen in stack.observations.items():
            stack.observations[key] = _seen(seen, random, row)
        yield stack


def _seen(seen: Any, random: np.random.Generator, row: int) -> Any:
    """An observation with smooth pixels, all of them valid; every fifth is hidden by clouds."""
    arrays = {name: _pixels(pixels, random) for name, pixels in seen.arrays.items()}
    cloud = None if seen.cloud is None else np.full(seen.cloud.shape, row % 5 == 0)
    return dataclasses.replace(seen, arrays=arrays, valid=np.ones(seen.valid.shape, np.bool_), cloud=cloud)


def _pixels(pixels: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    field = np.stack([_smooth(random, pixels.shape[-2:]) for _ in range(max(1, pixels.size // _area(pixels)))])
    level = {"float32": -14.0, "uint16": 3000.0, "int16": 3000.0}.get(str(pixels.dtype))
    if level is None:
        return pixels
    spread = 2.5 if pixels.dtype == np.float32 else 900.0
    made: NDArray[Any] = (level + spread * field).reshape(pixels.shape).astype(pixels.dtype)
    return made if pixels.ndim == 3 else made.reshape(pixels.shape)


def _area(pixels: NDArray[Any]) -> int:
    return int(np.prod(pixels.shape[-2:]))


def _smooth(random: np.random.Generator, shape: Any) -> NDArray[np.float64]:
    field = gaussian_filter(random.normal(size=shape), max(shape) / 7)
    return np.asarray((field - field.mean()) / field.std())
