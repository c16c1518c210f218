"""How much memory a worker needs for a recipe, and how much of a sample it keeps on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.assemble import STACKS_BYTES, made_bytes, sample_bytes
from pipelines.sources.read_shard import GROUP_BYTES, PEAK_BYTES
from schemas.source import DatedSource

if TYPE_CHECKING:
    from schemas.recipe import Recipe
    from schemas.sensors import Source

_READING = 3
"""Groups' worth of pixels that reading holds (`pipelines.sources.read_shard.PEAK_BYTES`)."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files that hold the memory limit of a container, cgroup versions 2 and 1 (docs.kernel.org/admin-guide)."""


def worker_bytes(recipe: Recipe) -> int:
    """Most memory that one worker process needs, its imports included; pages of files that it maps not counted."""
    largest = max((_scene_bytes(recipe, source) for source in recipe.sources), default=0)
    reading = PEAK_BYTES + _READING * max(0, largest - GROUP_BYTES)
    return reading + max(STACKS_BYTES, made_bytes(recipe))


def disk_bytes(recipe: Recipe) -> int:
    """Bytes of pixels, without masks, that one worker keeps in the work folder until a sample is whole; 0 where samples
    fit into memory."""
    sample = sample_bytes(recipe)
    found = sample if sample > STACKS_BYTES else 0
    for source in recipe.sources:
        if isinstance(source, DatedSource) and source.composite is not None:
            scenes = _scene_bytes(recipe, source) * source.scenes_per_date
            found += scenes if scenes > GROUP_BYTES else 0
    return found


def memory_text(recipe: Recipe) -> str:
    """The line that `plan` prints."""
    text = f"memory    at most {worker_bytes(recipe) / 1e9:,.1f} GB per worker process"
    disk = disk_bytes(recipe)
    return text + (f", and about {disk / 1e9:,.1f} GB of its disk while a sample is read" if disk else "")


def too_large(recipe: Recipe, here: int | None = None) -> list[str]:
    """A line if one worker needs more memory than there is.

    Args:
        recipe: of the plan.
        here: bytes that a process may have; those of this machine or container if absent.
    """
    here, needed = memory_here() if here is None else here, worker_bytes(recipe)
    if needed <= here:
        return []
    line = (
        f"a worker process needs up to {needed / 1e9:,.1f} GB and this machine has {here / 1e9:,.1f} GB: "
        "build on one with more memory, or make grid.size_m (or grid.extents) smaller"
    )
    return [line]


def memory_here() -> int:
    """Bytes of memory of this machine, or of the container where it has less."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in _LIMITS:
        try:
            found.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no container, or 'max'
            continue
    return min(found)


def _scene_bytes(recipe: Recipe, source: Source) -> int:
    """Bytes of one scene over one sample: pixels and masks of all arrays."""
    return sum(
        recipe.pixels_of(source.name, recipe.resolution_of(source.name, layer.name)) ** 2
        * len(layer.bands)
        * (np.dtype(layer.dtype).itemsize + 1)
        for layer in source.modality.layers
    )  # fmt: skip
