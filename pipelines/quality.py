"""Judges a sample as a whole by the recipe's `quality` rules and by what it requires; each refusal says why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from schemas.condition import OPERATORS, band_of
from schemas.keep import parsed
from schemas.place import centre_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from schemas.keep import Test
    from schemas.place import GeoBox
    from schemas.recipe import Recipe
    from schemas.stack import Observation, Stack

_SHOWN = 80
"""Characters of a text that a refusal shows."""
Pixels = tuple["NDArray[np.generic]", "NDArray[np.bool_]", float]
"""(y, x) values, (y, x) True where there is a value, and the pixel edge, metres."""


def refusal(stack: Stack, recipe: Recipe) -> str:
    """Why a sample is refused, one sentence; '' if it is kept.

    Args:
        stack: all layers of the sample, as far as they were obtained.
        recipe: checked recipe.
    """
    obtained = {name for name, _ in stack.observations if name not in recipe.derived}
    images = obtained - recipe.targets
    wanting: list[str] = [s.name for s in recipe.sources if s.required and s.name not in obtained]
    wanting += [x.layer for x in recipe.read_labels if x.required and x.layer not in stack.labels]
    if wanting:
        return f"required and absent: {', '.join(wanting)}"
    least = min(recipe.quality.min_modalities, len(recipe.sources) - len(recipe.targets))
    if len(images) < least:
        return f"{len(images)} modalities obtained, quality.min_modalities requires {least}"
    if not stack.observations and not stack.labels:
        return "no modality and no label obtained"
    return _too_few_dates(stack, recipe) or next(_broken(stack, recipe), "")


def _too_few_dates(stack: Stack, recipe: Recipe) -> str:
    for source in recipe.sources:
        wanted = recipe.quality.require.get(source.name)
        if wanted is None:
            continue
        slots = max(1, len(recipe.slots_of(source)))
        held = sum(name == source.name for name, _ in stack.observations)
        if held < (slots if wanted == "all" else wanted):
            return f"{source.name}: {held} of {slots} dates obtained, quality.require: {wanted}"
    return ""


def _broken(stack: Stack, recipe: Recipe) -> Iterator[str]:
    if not recipe.quality.keep:
        return
    for rule in recipe.quality.keep:
        for test in parsed(rule):
            words = _fails(test, stack, recipe)
            if words:
                yield f"quality.keep: {test.text}: {words}"


def _fails(test: Test, stack: Stack, recipe: Recipe) -> str:
    """The value that fails the test; '' if the sample passes it at every date."""
    if test.kind == "attribute":
        return _wrong_value(test, stack)
    if test.kind == "count":
        assert test.limit is not None  # noqa: S101 - of the grammar
        held = float(_count(test.layer, stack))
        return "" if bool(test.limit.of(np.array([held]))[0]) else f"found {held:g}"
    pixels = list(_pixels(test, stack, recipe))
    if not pixels:
        return f"{test.layer} was not obtained"
    box = recipe.place_of(stack.place, test.layer).geobox
    return next((words for one in pixels if (words := _wrong(test, one, box))), "")


def _wrong_value(test: Test, stack: Stack) -> str:
    value = {**dict(stack.place.attributes), **stack.numbers}.get(test.layer)
    assert test.condition is not None  # noqa: S101 - of the grammar
    if value is None:
        return "the sample has no value"
    shown = f"{value:g}" if isinstance(value, int | float) else ascii(value)[:_SHOWN]
    return "" if test.condition.holds(value) else f"found {shown}"


def _wrong(test: Test, pixels: Pixels, box: GeoBox) -> str:
    values, valid, edge_m = pixels
    assert test.condition is not None  # noqa: S101 - of the grammar
    if test.kind == "centre":
        at = centre_of(box, values.shape, edge_m)
        if not valid[at]:
            return "the centre has no value"
        return "" if bool(test.condition.of(values[at].reshape(1))[0]) else f"found {values[at]:g}"
    if not valid.any():
        return "no pixel has a value"
    assert test.limit is not None  # noqa: S101 - of the grammar
    share = float(test.condition.of(values[valid]).mean())
    return "" if bool(OPERATORS[test.limit.op](share, test.limit.numbers[0])) else f"found {share:.4g}"


def _count(layer: str, stack: Stack) -> int:
    held = sum(name == layer for name, _ in stack.observations)
    if held or layer not in stack.vectors or layer not in stack.labels:
        return held
    return len(stack.vectors[layer].features)


def _pixels(test: Test, stack: Stack, recipe: Recipe) -> Iterator[Pixels]:
    """The layer at each of its dates, in their order."""
    if test.layer in stack.labels:
        label = stack.labels[test.layer]
        yield label.classes, label.valid, recipe.resolution_of(test.layer, None)
    for (name, _), observation in sorted(stack.observations.items(), key=lambda item: item[0]):
        if name == test.layer:
            yield _band(observation, recipe, test.layer, test.band)


def _band(observation: Observation, recipe: Recipe, name: str, band: str | None) -> Pixels:
    """One band: where the array holds the layer's nodata there is no value."""
    modality = recipe.modality_of(name)
    layers, names = modality.layers, modality.band_names
    band = names[0] if band is None else str(band_of(band, names))
    layer = next(x for x in layers if band in [b.name for b in x.bands])
    array = observation.arrays[layer.name]
    values = array[[b.name for b in layer.bands].index(band)] if array.ndim == 3 else array
    return (
        values,
        _measured(values, layer.nodata),
        (layer.resolution_m if name in recipe.made else recipe.resolution_of(name, layer.name)),
    )


def _measured(values: NDArray[np.generic], nodata: float | None) -> NDArray[np.bool_]:
    if nodata is None:
        return np.ones(values.shape, dtype=bool)
    if math.isnan(nodata):
        return ~np.isnan(values.astype(np.float64))
    return np.asarray(values != nodata)
