"""What images show of a sample: whole-number features for the image model, on the grid of the fused label."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.fusion.families import FusionError
from pipelines.labels.fusion.image import features
from schemas.sensors import Sentinel1Source
from schemas.source import OpticalSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from schemas.fused import FusedLabel
    from schemas.modality import Layer
    from schemas.recipe import Recipe
    from schemas.sensors import Source

MOST_BANDS = 24
"""Bands of all image layers together: three features each. More repeat one another, and cost time squared."""
STEP = 1000.0
"""A band's standard deviation as a whole number."""
COARSEST = 2.0
"""Pixels of a band are at most this many times as large as the label's, where a layer has such bands."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """One array of an image layer, with the figures of its bands."""

    layer: str
    """Layer of images."""
    path: str
    """Of the array: 'sentinel2/bands_10m'."""
    mean: tuple[float, ...]
    """Per band, stored numbers."""
    std: tuple[float, ...]
    """Per band, stored numbers, positive."""

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(layer=said["layer"], path=said["path"], mean=tuple(said["mean"]), std=tuple(said["std"]))

    def to_json(self) -> dict[str, Any]:
        """For the plan of a fusion."""
        return asdict(self)


def image_layers(recipe: Recipe, label: FusedLabel) -> tuple[str, ...]:
    """Names of the layers of images that the model sees; () = votes alone.

    Raises:
        FusionError: the layers that the recipe names have too many bands, or none that is measured.
    """
    bands = {s.name: _bands(recipe, s) for s in recipe.sources}
    if label.images is None:
        votes = {v.label for v in label.named if v.bands}
        radar = [s for s in recipe.sources if isinstance(s, Sentinel1Source)]
        seen = [
            s
            for s in recipe.sources
            if s.name not in votes and isinstance(s, OpticalSource) and 0 < bands[s.name] <= MOST_BANDS - 2
        ]
        return tuple(s.name for s in (*seen[:1], *radar[:1]))
    for name in label.images:
        if not bands[name]:
            raise FusionError(f"{label.layer}.images: {name} has no measured bands; name another layer")
    total = sum(bands[name] for name in label.images)
    if total > MOST_BANDS:
        listed = ", ".join(f"{name} {bands[name]}" for name in label.images)
        raise FusionError(
            f"{label.layer}.images: the layers have {total} bands ({listed}), the image model takes at most "
            f"{MOST_BANDS}; name fewer layers"
        )
    return label.images


def _bands(recipe: Recipe, source: Source) -> int:
    return sum(len(y.bands) for y in fine_layers(recipe, source))


def fine_layers(recipe: Recipe, source: Source) -> list[Layer]:
    """The arrays of a source that the image model sees: measured ones with the finest pixels."""
    measured = [y for y in source.modality.layers if y.kind == "continuous"]
    edges = {y.name: recipe.resolution_of(source.name, y.name) for y in measured}
    limit = max(COARSEST * recipe.grid.resolution_m, min(edges.values(), default=0.0))
    return [y for y in measured if edges[y.name] <= limit]


@dataclass(frozen=True, kw_only=True)
class Shot:
    """The arrays of one layer of images at one sample."""

    arrays: Sequence[tuple[Band, NDArray[Any], float]]
    """Pixels ([time,] [band,] y, x) and their edge, metres."""
    valid: tuple[NDArray[np.bool_], float]
    """([time,] y, x), True = measured, and the edge."""
    cloud: tuple[NDArray[np.bool_], float] | None = None
    """([time,] y, x), True = cloud, and the edge."""
    present: tuple[bool, ...] = (True,)
    """Per date slot, whether it was obtained."""


def on_grid(pixels: NDArray[Any], edge_m: float, grid: tuple[int, float]) -> NDArray[Any]:
    """(..., y, x) pixels of another size, nearest, on a grid of (pixels across, metres) from the same corner."""
    size, resolution = grid
    if abs(edge_m - resolution) < 1e-9 and pixels.shape[-1] == size:
        return pixels
    where = np.minimum(((np.arange(size) + 0.5) * resolution / edge_m).astype(np.intp), pixels.shape[-1] - 1)
    return pixels[..., where[:, None], where[None, :]]


def clear_pixels(
    valid: tuple[NDArray[np.bool_], float],
    cloud: tuple[NDArray[np.bool_], float] | None,
    present: Sequence[bool],
    grid: tuple[int, float],
) -> NDArray[np.bool_]:
    """(time, y, x), True = measured at a date that was obtained, and not under clouds; arguments as in `Shot`."""
    clear = on_grid(*_dated(valid), grid)
    if cloud is not None:
        clear = clear & ~on_grid(*_dated(cloud), grid)
    return np.asarray(clear & np.array(present)[:, None, None])


def seen(
    shots: Sequence[Shot | None], bands: Sequence[int], grid: tuple[int, float]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """(y, x, D) features and (y, x) where every layer was seen at one date at least.

    Args:
        shots: per layer; None = nothing was obtained here.
        bands: per layer, how many bands it has.
        grid: (pixels across, metres per pixel) of the fused label.
    """
    size = grid[0]
    planes: list[NDArray[np.float64]] = []
    usable = np.ones((size, size), bool)
    for shot, count in zip(shots, bands, strict=True):
        if shot is None:
            planes += [np.zeros((size, size))] * count
            usable[:] = False
            continue
        clear = clear_pixels(shot.valid, shot.cloud, shot.present, grid)
        usable &= clear.any(axis=0)
        weight = clear / np.maximum(clear.sum(axis=0), 1)
        for band, pixels, edge in shot.arrays:
            whole = on_grid(pixels.reshape(len(clear), len(band.mean), *pixels.shape[-2:]), edge, grid)
            for i, (mean, std) in enumerate(zip(band.mean, band.std, strict=True)):
                scaled = (np.nan_to_num(whole[:, i].astype(np.float64)) - mean) * (STEP / std)
                planes.append((scaled * weight).sum(axis=0))
    return features(np.stack(planes), usable), usable


def _dated(masks: tuple[NDArray[np.bool_], float]) -> tuple[NDArray[np.bool_], float]:
    found, edge = masks
    return found.reshape(-1, *found.shape[-2:]), edge
