"""A stream says who made the trainer wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

import landweave
from landweave.timing import Timing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def dataset(dataset_path: Path) -> landweave.Dataset:
    return landweave.open(dataset_path)


def stream_of(dataset: landweave.Dataset) -> landweave.Stream:
    return dataset.stream(batch_size=2, remainder="share")


@pytest.mark.slow
def test_a_slow_trainer_is_not_starved(dataset: landweave.Dataset) -> None:
    stream = stream_of(dataset)
    count = 0
    for _ in stream:
        time.sleep(0.1)
        count += 1
    timing = stream.timing
    assert timing.batches == count > 0
    assert timing.trainer_s >= 0.1 * count
    assert timing.decoding_s > 0
    assert timing.bytes_s > 0
    assert timing.collating_s > 0


@pytest.mark.slow
def test_a_slow_store_is_named(dataset: landweave.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of(dataset)
    store = stream.source.reader.store
    read = type(store).get_ranges

    def slow(self: object, *asked: object) -> object:
        time.sleep(0.02)
        return read(self, *asked)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "get_ranges", slow)
    for _ in stream:
        pass
    assert stream.timing.shares["bytes"] == max(stream.timing.shares.values())
    assert stream.timing.starved > 0.5
    assert "the trainer waited" in str(stream.timing)


def test_it_sums_over_epochs_and_counts_an_unfinished_one(dataset: landweave.Dataset) -> None:
    stream = stream_of(dataset)
    for _ in stream:
        break
    assert stream.timing.batches == 1
    for _ in stream:
        pass
    assert stream.timing.batches == 1 + len(stream)


def test_nothing_has_happened_yet() -> None:
    timing = Timing()
    assert timing.starved == 0
    assert set(timing.shares.values()) == {0}
    timing.add(Timing(2, 3.0, 1.0), Timing(decoding_s=4.0, bytes_s=1.0))
    assert (timing.batches, timing.starved, timing.shares["decoding"]) == (2, 0.75, 0.8)
