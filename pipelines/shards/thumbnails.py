"""Small pictures for STAC clients: one of each sample, and a map of all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.render import array_to_draw, drawn_bands, encoded, in_colour, picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, GroupSpec, Json
    from schemas.stack import Stack

EDGE_PX = 256
"""Pixels along an edge of a picture, at most half as many again: of larger chips every second (third, ...) is drawn."""
LEAST_PX = 96
"""Smaller chips are enlarged by a whole factor up to this edge."""
_SPLITS = {"train": (0, 114, 178, 255), "val": (230, 159, 0, 255), "test": (204, 121, 167, 255)}
"""Colours of the map that the colour-blind tell apart (Okabe and Ito 2008)."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """One chip as `landweave.render.picture` draws it: alone, so that no other sample is needed."""

    id: str
    spec: DatasetSpec
    array: ArraySpec
    stored: NDArray[Any]
    """As stored: ([band,] y, x)."""
    statistics: Json
    """Of the pixels without clouds; {} where there are none, or nothing is measured."""

    @property
    def present(self) -> dict[str, tuple[bool, ...]]:
        return {self.array.group: (True,)}

    def physical(self, name: str, bands: Sequence[str] | None = None) -> NDArray[np.float32]:
        stored, held = self[name], [band.name for band in self.array.bands]
        stored = stored if bands is None else stored[..., [held.index(band) for band in bands], :, :]
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
    clear = _clear(stack, group, shown[3], stored.shape[-2:])
    array = dataclasses.replace(
        array,
        bands=tuple(array.bands[band] for band in bands),
        resolution_m=array.resolution_m * step,
    )
    chip = _Chip(stack.place.sample_id, dataset, array, stored, _statistics(array, stored, clear))
    found = picture(chip, dataclasses.replace(group, arrays=(array,)))
    factor = max(1, LEAST_PX // max(found.shape[:2]))
    return encoded(found.repeat(factor, axis=0).repeat(factor, axis=1), lossless=array.kind == "classes")


def map_of(places: Iterable[tuple[str, Json]]) -> bytes:
    """A WebP picture of where the samples lie, by split; it covers their box in degrees, transparent between them.

    Args:
        places: (split, bbox as the catalogue has it) of each sample, at least one.
    """
    splits, boxes = zip(*places, strict=True)
    west, south, east, north = (np.array([box[edge] for box in boxes]) for edge in ("xmin", "ymin", "xmax", "ymax"))
    whole = [-180.0, 180.0] if (west > east).any() else [west.min(), east.max()]
    wide, high = max(whole[1] - whole[0], 1e-9), max(north.max() - south.min(), 1e-9)
    scale = 2 * EDGE_PX / max(wide, high)
    shape = (max(8, round(high * scale)), max(8, round(wide * scale)))
    drawn = np.zeros((*shape, 4), np.uint8)
    rows = _pixels(north.max() - np.stack([north, south], axis=1), high, shape[0])
    for split, down, left, right in zip(splits, rows, west.tolist(), east.tolist(), strict=True):
        for ends in [(left, right)] if left <= right else [(left, 180.0), (-180.0, right)]:
            drawn[slice(*down), slice(*_pixels(np.array([ends]) - whole[0], wide, shape[1])[0])] = _SPLITS[split]
    return encoded(drawn, lossless=True)


def _pixels(degrees: NDArray[np.float64], span: float, count: int) -> list[tuple[int, int]]:
    """(first, last + 1) pixel of each (start, end) in degrees from the edge of the map, one pixel at least."""
    start, end = np.round(degrees / span * count).astype(np.int64).T
    start = np.clip(start, 0, count - 1)
    return list(zip(start.tolist(), np.maximum(end, start + 1).tolist(), strict=True))


def _statistics(array: ArraySpec, stored: NDArray[Any], clear: NDArray[np.bool_]) -> Json:
    """Figures of the pixels (y, x) without clouds, which alone decide what is drawn black and white."""
    if array.kind != "continuous" or clear.all():
        return {}
    bands = zip(array.bands, stored.reshape(-1, *clear.shape)[:, clear], strict=True)
    return {array.path: {band.name: {"all": _ends(values, array.nodata)} for band, values in bands}}


def _ends(stored: NDArray[Any], nodata: float | None) -> Json:
    known = stored[np.isfinite(stored) & (stored != nodata)]
    if not len(known):
        return {}
    low, high = np.percentile(known, [2, 98]).tolist()
    return {"count": len(known), "percentiles": {"2": low, "98": high}}


def _clear(stack: Stack, group: GroupSpec, slot: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(y, x) without clouds, on the pixels that are drawn."""
    found = None if group.kind == "label" else stack.observations[group.name, slot].cloud
    if found is None:
        return np.ones(shape, np.bool_)
    rows, columns = (np.arange(count) * have // count for count, have in zip(shape, found.shape, strict=True))
    return np.asarray(~found[np.ix_(rows, columns)])


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
