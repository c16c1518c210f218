"""Computes derived layers from the observations and labels of a sample.

Numbers are physical ones (stored * scale + offset, codes for classes) in float64, the result is float32. A pixel is
valid where every array that its number comes from is valid there and the number is finite: division by zero, the root
of a negative number, the logarithm of what is not positive and overflow give no value. Coarse pixels are repeated on
the finest grid of the arrays that meet: each fine pixel takes the coarse one over its centre.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.sources.observation import enlarged
from schemas.derived import ARRAY
from schemas.expression import Array, Call, Number
from schemas.grammar import COMPARISONS
from schemas.outcome import Outcome, Reason
from schemas.stack import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from schemas.derived import Derived
    from schemas.expression import Node
    from schemas.modality import Modality
    from schemas.recipe import Recipe
    from schemas.stack import Stack

_PLAIN: dict[str, Callable[..., NDArray[np.float64]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "negative": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "min": lambda *values: np.minimum.reduce(values),
    "max": lambda *values: np.maximum.reduce(values),
    "clip": lambda value, low, high: np.minimum(np.maximum(value, low), high),
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


@dataclass(frozen=True, slots=True)
class Field:
    """Numbers on one grid; a constant has the shape ()."""

    values: NDArray[np.float64]
    """(y, x) or ()."""
    valid: NDArray[np.bool_]
    """The same shape, True = known."""
    edge_m: float
    """Pixel edge, metres; infinite for a constant."""


def derive(stack: Stack, recipe: Recipe) -> None:
    """Add the derived layers of a recipe to a sample, and an outcome for each of their date slots."""
    for derived in recipe.derived_layers:
        for slot in range(max(1, len(derived.slots))):
            result = _observed(derived, slot, stack, recipe)
            if isinstance(result, Observation):
                stack.observations[derived.name, slot] = result
                stack.outcomes.append(_outcome(derived, slot, stack, Reason.OK, "", result.item_ids))
            else:
                stack.outcomes.append(result)


def _observed(derived: Derived, slot: int, stack: Stack, recipe: Recipe) -> Observation | Outcome:
    """One date slot of a derived layer; an outcome where an input is absent or no pixel has a value."""
    fields: dict[Array, Field] = {}
    for array in derived.arrays:
        field = pixels_of(array, slot, stack, recipe)
        if field is None:
            return _outcome(derived, slot, stack, Reason.INPUT_MISSING, f"computed from {array}, which is absent", ())
        fields[array] = field
    inputs = [
        stack.observations[key]
        for array in derived.arrays
        if (key := (array.layer, _slot_of(array, slot, recipe))) in stack.observations
    ]
    shape = recipe.place_of(stack.place, derived.name).geobox.at(derived.resolution_m).shape
    field = _on(evaluate(derived.tree, fields), derived.resolution_m, shape)
    valid = field.valid & np.isfinite(field.values.astype(np.float32))
    labels = [stack.labels[a.layer] for a in derived.arrays if a.layer in stack.labels]
    items = tuple(dict.fromkeys([i for o in inputs for i in o.item_ids] + [i for x in labels for i in x.item_ids]))
    if not valid.any():
        return _outcome(derived, slot, stack, Reason.TOO_LITTLE_VALID, "no pixel has a value", items)
    values = np.where(valid, field.values, np.nan).astype(np.float32)
    year = dt.datetime(labels[0].year, 1, 1, tzinfo=dt.UTC) if labels else dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return Observation(
        modality=derived.name,
        slot=slot,
        datetime=inputs[0].datetime if inputs else year,
        arrays={ARRAY: values[None]},
        valid=valid,
        cloud=None,
        valid_fraction=float(np.count_nonzero(valid)) / valid.size,
        cloud_fraction=None,
        item_ids=items,
        provider=inputs[0].provider if inputs else "",
        radiometry={derived.name: derived.modality.title},
        resampling={ARRAY: "nearest" if len({f.edge_m for f in fields.values()}) > 1 else "none"},
        licence=derived.modality.licence,
    )


def evaluate(tree: Node, fields: Mapping[Array, Field]) -> Field:
    """The value of an expression.

    Args:
        tree: from `schemas.expression.parse`.
        fields: every array of it.
    """
    with np.errstate(all="ignore"):
        return _evaluate(tree, fields)


def _evaluate(tree: Node, fields: Mapping[Array, Field]) -> Field:
    if isinstance(tree, Number):
        return Field(np.asarray(tree.value), np.asarray(True), np.inf)
    if isinstance(tree, Array):
        return fields[tree]
    assert isinstance(tree, Call)  # noqa: S101 - there is no other node
    given = [_evaluate(argument, fields) for argument in tree.arguments]
    if tree.name == "slope":
        return slope(given[0])
    edge, shape = min((f.edge_m, f.values.shape) for f in given)
    on = [_on(f, edge, shape) for f in given]
    if tree.name == "where":
        chosen = on[0].values != 0
        valid = on[0].valid & np.where(chosen, on[1].valid, on[2].valid)
        return Field(np.where(chosen, on[1].values, on[2].values), valid, edge)
    values = np.asarray(_PLAIN[tree.name](*(f.values for f in on)), np.float64)
    valid = np.logical_and.reduce([f.valid for f in on])
    return Field(values, valid & (tree.name in COMPARISONS or np.isfinite(values)), edge)


def slope(height: Field) -> Field:
    """Slope of the ground, degrees, after Horn (1981, doi:10.1109/PROC.1981.11918), as GDAL computes it.

    At the edges of the chip heights go on as they went on before (2 * edge - inner). A pixel is valid where it and its
    eight neighbours on the chip are.
    """
    z, known = height.values, np.pad(height.valid, 1, constant_values=True)
    if min(z.shape) < 2:
        return Field(np.full(z.shape, np.nan), np.zeros(z.shape, np.bool_), height.edge_m)
    z = np.pad(np.where(height.valid, z, np.nan), 1, mode="reflect", reflect_type="odd")
    rows, columns = (slice(0, -2), slice(1, -1), slice(2, None)), (slice(0, -2), slice(1, -1), slice(2, None))
    west, east = (z[rows[0], c] + 2 * z[rows[1], c] + z[rows[2], c] for c in (columns[0], columns[2]))
    north, south = (z[r, columns[0]] + 2 * z[r, columns[1]] + z[r, columns[2]] for r in (rows[0], rows[2]))
    across, along = (east - west) / (8 * height.edge_m), (south - north) / (8 * height.edge_m)
    valid = np.logical_and.reduce([known[r, c] for r in rows for c in columns])
    values = np.degrees(np.arctan(np.hypot(across, along)))
    return Field(values, valid & np.isfinite(values), height.edge_m)


def _on(field: Field, edge_m: float, shape: tuple[int, ...]) -> Field:
    """The same values on a finer grid with the same corner."""
    if field.values.shape == shape or not shape:
        return field
    if not field.values.shape:
        return Field(np.broadcast_to(field.values, shape), np.broadcast_to(field.valid, shape), edge_m)
    rows, columns = shape
    factor = field.edge_m / edge_m
    values: Any = enlarged(field.values, (rows, columns), factor)  # type: ignore[arg-type]
    return Field(values, enlarged(field.valid, (rows, columns), factor), edge_m)


def pixels_of(array: Array, slot: int, stack: Stack, recipe: Recipe) -> Field | None:
    """Physical numbers of a band, codes of a label; None where the sample has no such observation.

    Args:
        array: of a source, a label or a derived layer of the recipe.
        slot: date slot of a layer with dates, where the array names no window.
        stack: the sample.
        recipe: checked recipe.
    """
    observation = stack.observations.get((array.layer, _slot_of(array, slot, recipe)))
    if observation is not None:
        return _of_observation(array, observation, recipe)
    if array.layer not in stack.labels:
        return None
    label = stack.labels[array.layer]
    return Field(label.classes.astype(np.float64), label.valid, recipe.resolution_of(array.layer, None))


def _of_observation(array: Array, observation: Observation, recipe: Recipe) -> Field:
    """Pixels where the layer's `valid` is True and the value is not fill."""
    modality, edges = _form_of(array.layer, recipe)
    name = modality.band_names[0] if array.band is None else array.band
    layer = next(x for x in modality.layers if name in [b.name for b in x.bands])
    pixels = observation.arrays[layer.name]
    if pixels.ndim == 3:
        pixels = pixels[[b.name for b in layer.bands].index(name)]
    edge = edges[layer.name]
    valid = np.ones(pixels.shape, np.bool_) if layer.nodata is None else pixels != layer.nodata
    if layer.kind != "continuous":  # 0 is a class of some layers: only `valid` knows
        finest = min(edges.values())
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * edge / finest).astype(np.intp), fine - 1)
            for n, fine in zip(pixels.shape, observation.valid.shape, strict=True)
        )
        valid = observation.valid[np.ix_(rows, columns)]
    values = pixels.astype(np.float64) * layer.scale + layer.offset
    return Field(values, valid & np.isfinite(values), edge)


def _form_of(name: str, recipe: Recipe) -> tuple[Modality, dict[str, float]]:
    """A source or derived layer: what it stores, and the pixel edge of each of its arrays, metres."""
    derived = next((d for d in recipe.derived_layers if d.name == name), None)
    if derived is not None:
        return derived.modality, {ARRAY: derived.resolution_m}
    modality = recipe.modalities[name]
    return modality, {layer.name: recipe.resolution_of(name, layer.name) for layer in modality.layers}


def _slot_of(array: Array, slot: int, recipe: Recipe) -> int:
    """The date slot of a layer that an array means."""
    source = next((s for s in recipe.sources if s.name == array.layer), None)
    derived = next((d for d in recipe.derived_layers if d.name == array.layer), None)
    windows = [] if source is None else [w.name for w in recipe.slots_of(source)]
    windows = windows if derived is None else list(derived.slots)
    if array.window is not None:
        return windows.index(array.window)
    return slot if windows else 0


def _outcome(derived: Derived, slot: int, stack: Stack, reason: Reason, detail: str, items: tuple[str, ...]) -> Outcome:
    return Outcome(
        sample_id=stack.place.sample_id, layer=derived.name, slot=slot, reason=reason, item_ids=items, detail=detail
    )
