"""One small dataset for trainings in real frameworks, and what a training must have seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import landweave
from tests.shards.synthetic import planned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards, 22 samples, 15 of them to train with."""
    return planned((4, 4, 4, 4, 4, 3), sources=("dem",), size_m=120.0).build(tmp_path_factory.mktemp("train") / "out")


@pytest.fixture(scope="session")
def orders(place: Path) -> list[list[str]]:
    """Ids of epochs 0, 1, 2, ... as `trainings.stream` gives them without any framework."""
    from tests.frameworks.trainings import stream

    made = stream(landweave.open(place))
    found = [[i for batch in made for i in batch["id"]] for _ in range(6)]
    assert all(sorted(ids) == sorted(landweave.open(place).query(split="train").ids) for ids in found)
    assert len({tuple(ids) for ids in found}) == len(found)
    return found
