"""How many objects a dataset has, and how many dates a sample can have."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

import landweave
from landweave.check import check
from pipelines.assemble import objects_text
from pipelines.shards import dataset_spec, object_count
from schemas.outcome import Reason
from schemas.output import Shards
from schemas.recipe import Recipe
from tests.shards.synthetic import LEGENDS, Planned, planned, recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipelines.shards import ShardRows
    from schemas.stack import Stack


def test_the_count_of_objects_is_that_on_disk(tmp_path: Path) -> None:
    plan = planned((3, 2), size_m=60.0)
    plan.build(tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.is_file() and not p.relative_to(tmp_path).parts[0].startswith(".")]
    lacking = sum(not (tmp_path / a.object(s)).exists() for a in plan.dataset.arrays for s in (0, 1))
    assert object_count(plan.dataset, 5) == len(files) + lacking


def test_a_million_samples_of_five_sensors_stay_below_ten_thousand_objects() -> None:
    samples = Shards().size(1_000_000)
    made = recipe(sources=("sentinel2", "sentinel1", "landsat", "enmap", "dem"), samples=samples)
    dataset = dataset_spec(made, -(-1_000_000 // samples), LEGENDS)
    assert len(dataset.groups) >= 8
    assert 1_000 < object_count(dataset) < 10_000


def test_a_series_of_sixty_dates_costs_what_was_obtained(tmp_path: Path) -> None:
    """A ragged series: one slot a date, of which each sample has as many as were obtained, 11 to 60 here."""
    base = recipe(sources=("sentinel2", "dem"), samples=4, size_m=60.0).model_dump(mode="json")
    days = [f"2021-{1 + i // 6:02d}-{1 + 4 * (i % 6):02d}" for i in range(60)]
    windows = [{"name": f"w{i:02d}", "start": day, "end": day} for i, day in enumerate(days)]
    series = Recipe.model_validate({**base, "windows": windows})
    plan = planned((4,), sources=("sentinel2", "dem"), size_m=60.0)
    ragged = Ragged(dataset_spec(series, 1, LEGENDS), plan.shards, 0)
    out = ragged.build(tmp_path)
    data = landweave.open(out)
    assert list(check(data)) == []
    counts = [sum(s.present["sentinel2"]) for s in data]
    assert counts == [11, 60, 27, 43]
    assert data.query("sentinel2_count >= 40").ids == [data[1].id, data[3].id]
    array = data.arrays["sentinel2/bands_10m"]
    assert array.slots == 60
    entries = data._reader.index(array, 0)
    lengths = np.where(entries[..., 0] == 2**64 - 1, 0, entries[..., 1])
    assert [(row > 0).sum() for row in lengths] == counts
    size = (out / array.object(0)).stat().st_size
    assert size == int(lengths.sum()) + 16 * 4 * 60 + 4  # an absent date costs its 16 bytes of index
    for sample in data:
        pixels = sample["sentinel2/bands_10m"]
        there = np.array(sample.present["sentinel2"])
        assert (pixels[~there] == 0).all()
        assert all(pixels[slot].any() for slot in np.flatnonzero(there))


@dataclasses.dataclass(frozen=True)
class Ragged(Planned):
    """Each sample has its own number of dates."""

    def stacks(self, shard: ShardRows) -> Iterator[Stack]:
        for stack, count in zip(super().stacks(shard), (11, 60, 27, 43), strict=True):
            image = stack.observations["sentinel2", 5]
            kept = set(np.random.default_rng(count).permutation(60)[:count].tolist())
            for slot in range(60):
                stack.observations.pop(("sentinel2", slot), None)
                if slot in kept:
                    stack.observations["sentinel2", slot] = dataclasses.replace(image, slot=slot)
            stack.outcomes = [
                dataclasses.replace(o, reason=Reason.OK if o.slot in kept else Reason.NO_SCENE)
                if o.layer == "sentinel2"
                else o
                for o in stack.outcomes
                if o.reason is not Reason.SAMPLE_REFUSED
            ]
            yield stack


def test_a_plan_says_how_many_objects_and_what_to_do() -> None:
    made = Recipe.model_validate(
        {
            "name": "many",
            "seed": 1,
            "sampling": {"kind": "uniform", "count": 20},
            "grid": {"size_m": 960},
            "providers": {"earth": {"url": "http://localhost/stac"}},
            "sources": [{"kind": "dem", "providers": ["earth"]}],
            "shards": {"samples": 64},
        }
    )
    assert objects_text(made, 640, 10) == (
        "objects   1,379 on disk or in the store, 1,291 of them pictures and STAC items of single samples"
    )
    said = objects_text(made, 1_000_000, 15_625)
    assert said.startswith("objects   93,778 on disk or in the store: this is many; with shards.samples: 602 there are")
    assert object_count(dataset_spec(made, -(-1_000_000 // 602), {})) <= 10_000


def test_shards_grow_with_the_dataset_so_that_there_is_work_for_many() -> None:
    sizes = {n: Shards().size(n) for n in (0, 1, 16_384, 16_385, 131_072, 1_000_000, 10_000_000)}
    assert sizes == {0: 64, 1: 64, 16_384: 64, 16_385: 128, 131_072: 512, 1_000_000: 4096, 10_000_000: 4096}
    assert Shards(samples=7).size(10_000_000) == 7
