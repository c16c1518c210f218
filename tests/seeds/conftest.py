"""The miniature Earth with ten years of passes, served once for all recipes of a process."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import testbed
from pipelines.access.openstreetmap.extract import prepare_as
from tests.seeds.moved import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def world(earth: Path) -> Iterator[World]:
    """The planet with its archive, and the objects of its map."""
    objects = earth.parent / "seeds-objects.parquet"
    with (earth.parent / "seeds.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not objects.is_file():
            prepare_as(earth / "osm" / "planet.osm.pbf", objects)
    with testbed.serve(earth, archive=True) as services:
        yield World(earth, services, objects)
