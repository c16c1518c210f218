"""One synthetic dataset for all tests of the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines.shards import parts
from tests.shards.synthetic import Planned, planned

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def plan() -> Planned:
    """Six shards, 23 samples, one of which is refused."""
    return planned((4, 4, 4, 4, 4, 3), sources=("sentinel2", "sentinel1", "landsat", "dem"), size_m=120.0)


@pytest.fixture(scope="session")
def dataset_path(plan: Planned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset; tests that spoil it copy it first."""
    return plan.build(tmp_path_factory.mktemp("reader") / "out")


@pytest.fixture(scope="session")
def parted_path(plan: Planned, dataset_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset with its catalogue in parts of six samples and row groups of three."""
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        return plan.build(tmp_path_factory.mktemp("parted") / "out")


def small_parts(patch: pytest.MonkeyPatch) -> None:
    """Catalogues are in parts of six samples and row groups of three, at any size."""
    patch.setattr(parts, "WHOLE_ROWS", 0)
    patch.setattr(parts, "PART_ROWS", 6)
    patch.setattr(parts, "ROW_GROUP", 3)
