"""A small picture of each sample, for STAC clients and lists of samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.render import array_to_draw, drawn_bands, encoded, in_colour, picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec, Json
    from schemas.stack import Stack

EDGE_PX = 256
"""Pixels along an edge of a picture, at most half as many again: of larger chips every second (third, ...) is drawn."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """One chip as `landweave.render.picture` draws it: alone, so that no other sample is needed."""

    id: str
    spec: DatasetSpec
    array: ArraySpec
    stored: NDArray[Any]
    """As stored: ([band,] y, x)."""

    @property
    def present(self) -> dict[str, tuple[bool, ...]]:
        return {self.array.group: (True,)}

    @property
    def statistics(self) -> Json:
        return {}

    def physical(self, name: str) -> NDArray[np.float32]:
        stored = self[name]
        values: NDArray[np.float32] = (stored * self.array.scale + self.array.offset).astype(np.float32)
        if self.array.nodata is not None:
            values[stored == self.array.nodata] = np.nan
        return values

    def __getitem__(self, _name: str) -> NDArray[Any]:
        return self.stored[np.newaxis] if self.array.dated else self.stored


def thumbnail(stack: Stack, dataset: DatasetSpec) -> bytes:
    """A WebP picture of a sample: of the first sensor in true colour, its least cloudy date; else of the first layer.

    Raises:
        ValueError: the sample has no observation and no label.
    """
    shown = min(_candidates(stack, dataset), default=None)
    if shown is None:
        raise ValueError(f"sample {stack.place.sample_id} has nothing to draw: it must be left out")
    group = dataset.groups[shown[1]]
    array = array_to_draw(group)
    bands = drawn_bands(array)
    stored = _stored(stack, group, array, shown[3])
    step = max(1, round(max(stored.shape[-2:]) / EDGE_PX))
    stored = (stored[bands] if stored.ndim == 3 else stored)[..., ::step, ::step]
    array = dataclasses.replace(
        array,
        bands=tuple(array.bands[band] for band in bands),
        resolution_m=array.resolution_m * step,
    )
    chip = _Chip(stack.place.sample_id, dataset, array, stored)
    return encoded(picture(chip, dataclasses.replace(group, arrays=(array,))), lossless=array.kind == "classes")


def _candidates(stack: Stack, dataset: DatasetSpec) -> Iterator[tuple[int, int, float, int]]:
    """(0 in true colour, 1 other sensors, 2 labels; number of the group; cloud share; slot) of what a sample has."""
    for number, group in enumerate(dataset.groups):
        if group.kind == "label":
            if group.name in stack.labels:
                yield 2, number, 0.0, 0
            continue
        kind = 0 if in_colour(array_to_draw(group)) else 1
        for slot in range(group.slot_count):
            found = stack.observations.get((group.name, slot))
            if found is not None:
                yield kind, number, found.cloud_fraction or 0.0, slot


def _stored(stack: Stack, group: GroupSpec, array: ArraySpec, slot: int) -> NDArray[Any]:
    if group.kind == "label":
        label = stack.labels[group.name]
        return label.stored if array is group.arrays[0] else label.more[array.name]
    return stack.observations[group.name, slot].arrays[array.name]
