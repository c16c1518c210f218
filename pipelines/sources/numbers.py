"""Computes the numbers of a sample: statistics of its pixels over the footprint, or over the layer's own extent.

A pixel counts where it has a value and its centre lies in that square, as rasterstats counts them: the last row and
column of a layer whose pixels do not divide it may lie outside. Values are physical (stored * scale +
offset; codes for classes), in float64. The standard deviation is that of the population, percentiles are interpolated
linearly, and of several most frequent codes the smallest is taken: numpy's own definitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.sources.derived import pixels_of
from schemas.place import centre_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pipelines.sources.derived import Field
    from schemas.number import Measured
    from schemas.place import GeoBox
    from schemas.recipe import Recipe
    from schemas.stack import Stack
    from schemas.statistic import Statistic

_OF: dict[str, Callable[[NDArray[np.float64]], np.float64]] = {
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "max": np.max,
    "std": np.std,
    "sum": np.sum,
}


def measure(stack: Stack, recipe: Recipe) -> None:
    """Put the numbers that a recipe computes from pixels into a sample; None where there is no value."""
    for number in recipe.measured:
        array = number.statistic.array
        field, box = pixels_of(array, 0, stack, recipe), recipe.place_of(stack.place, array.layer).geobox
        stack.numbers[number.name] = None if field is None else _value(number, field, box)


def _value(number: Measured, field: Field, box: GeoBox) -> float | int | None:
    statistic, values = number.statistic, field.values
    if statistic.name == "centre":
        at = centre_of(box, values.shape, field.edge_m)
        found = values[at] if field.valid[at] else None
    else:
        size_m = box.width * box.resolution_m
        inside = tuple(slice(0, int(np.count_nonzero(_middles(n, field.edge_m) < size_m))) for n in values.shape)
        known = values[inside][field.valid[inside]]
        found = computed(statistic, known)
    if found is None or not np.isfinite(found):
        return None
    return int(found) if number.kind == "int64" else float(found)


def computed(statistic: Statistic, values: NDArray[np.float64]) -> float | np.float64 | None:
    """A statistic of the pixels that have a value, (n,); None if it has none of them to say something of."""
    if statistic.name == "count":
        return float(len(values) if statistic.condition is None else statistic.condition.of(values).sum())
    if not len(values):
        return None
    if statistic.name == "share":
        assert statistic.condition is not None  # noqa: S101 - of the grammar
        return float(statistic.condition.of(values).mean())
    if statistic.name == "majority":
        codes, counts = np.unique(values, return_counts=True)
        return float(codes[np.argmax(counts)])
    if statistic.name == "percentile":
        return float(np.percentile(values, statistic.percent))
    return _OF[statistic.name](values)


def _middles(count: int, edge_m: float) -> NDArray[np.float64]:
    """Distance of pixel centres from the corner, metres."""
    return np.asarray((np.arange(count) + 0.5) * edge_m, np.float64)
