"""Derived layers: computed from other layers of the sample by one expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from schemas.expression import Array, Call, arrays, nodes, parse
from schemas.grammar import GrammarError
from schemas.modality import STATIC_DENSITY, Band, Layer, Modality
from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from schemas.expression import Node

ARRAY = "values"
"""Name of a derived layer's array."""


def _expression(text: str) -> str:
    parse(text)
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""An expression of `schemas.expression`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """A layer that expressions may use."""

    bands: tuple[str, ...]
    """Names of its bands."""
    slots: tuple[str, ...]
    """Name of the window of each of its date slots; () = static."""
    resolution_of: Mapping[str, float]
    """Band -> pixel edge in the dataset, metres."""
    licence: str = ""
    attribution: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Band -> 'continuous', 'classes' or 'bits'; 'continuous' where it is not named."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Band -> unit of its physical values."""
    native: Mapping[str, float] = field(default_factory=dict)
    """Band -> pixel edge of the product, metres, where it has one."""
    extent_m: float | None = None
    """Edge of its ground where it is not the footprint, metres."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Derived:
    """One derived layer, checked against the recipe."""

    name: str
    tree: Node
    slots: tuple[str, ...]
    """As of the layers that it is computed from date by date; () = one for all times."""
    resolution_m: float
    """The finest of its arrays."""
    modality: Modality
    extent_m: float | None = None
    """As of the layers that it is computed from; None = the footprint."""

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Arrays that it is computed from."""
        return arrays(self.tree)


def resolved(stated: Mapping[str, str], inputs: Mapping[str, Input]) -> tuple[Derived, ...]:
    """The derived layers of a recipe.

    Args:
        stated: name -> expression.
        inputs: layer or label -> what it has.

    Raises:
        MisplacedError: names the expression, and what of it is not there.
    """
    found = []
    for name, text in stated.items():
        try:
            found.append(_resolved(name, text, inputs))
        except GrammarError as error:
            raise MisplacedError(f"derived layer {name!r} {error}", ("derived", name)) from None
    return tuple(found)


def _resolved(name: str, text: str, inputs: Mapping[str, Input]) -> Derived:
    if name in inputs:
        raise GrammarError("has the name of a source or a label; choose another")
    tree = parse(text)
    used = arrays(tree)
    if not used:
        raise GrammarError("uses no layer")
    edges = [_edge(array, inputs) for array in used]
    for node in nodes(tree):
        if isinstance(node, Call) and node.name == "slope" and not isinstance(node.arguments[0], Array):
            raise GrammarError("needs one array inside slope(), for example slope(dem.elevation)")
    dated = {inputs[a.layer].slots: a.layer for a in used if a.window is None and inputs[a.layer].slots}
    if len(dated) > 1:
        one, two = list(dated.values())[:2]
        raise GrammarError(
            f"uses {one} and {two}, which have other dates; give them the same `windows`, or name a window: "
            f"{two}.BAND[WINDOW]"
        )
    layers = {a.layer: inputs[a.layer] for a in used}
    grounds = {layer.extent_m: name for name, layer in layers.items()}
    if len(grounds) > 1:
        (_, one), (_, two) = list(grounds.items())[:2]
        raise GrammarError(
            f"uses {one} and {two}, which lie on ground of another size (grid.extents); give them the same extent"
        )
    return Derived(
        name=name,
        tree=tree,
        slots=next(iter(dated), ()),
        resolution_m=min(edges),
        extent_m=next(iter(grounds)),
        modality=_modality(name, text, layers, min(edges), dated=bool(dated)),
    )


def _edge(array: Array, inputs: Mapping[str, Input]) -> float:
    """Pixel edge of an array, metres."""
    layer = inputs.get(array.layer)
    if layer is None:
        raise GrammarError(f"uses {array.layer!r}, which is no source or label of this recipe; known: {_few(inputs)}")
    if array.band is None and len(layer.bands) > 1:
        raise GrammarError(f"uses {array.layer!r} without a band; it has {_few(layer.bands)}")
    band = layer.bands[0] if array.band is None else array.band
    if band not in layer.bands:
        raise GrammarError(f"uses band {band!r}, but {array.layer} has {_few(layer.bands)}")
    if array.window is not None and layer.slots.count(array.window) != 1:
        if array.window in layer.slots:
            raise GrammarError(f"names window {array.window!r}, of which {array.layer} has several dates")
        has = f"has windows {_few(layer.slots)}" if layer.slots else "has no dates"
        raise GrammarError(f"names window {array.window!r}, but {array.layer} {has}")
    return layer.resolution_of[band]


def _few(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    return ", ".join(known[:16]) + (", ..." if len(known) > 16 else "")


def _modality(name: str, text: str, layers: Mapping[str, Input], edge_m: float, *, dated: bool) -> Modality:
    """A derived layer as a group on disk: float32, NaN where it is not valid."""
    said = [layer.attribution for layer in layers.values() if layer.attribution]
    return Modality(
        name=name,
        title=f"{name}: {' '.join(text.split())}",
        layers=(
            Layer(
                name=ARRAY,
                bands=(Band(name=name),),
                resolution_m=edge_m,
                dtype="float32",
                nodata=float("nan"),
                kind="continuous",
                kernel="nearest",
                unit="1",
            ),
        ),
        dated=dated,
        cloud_layer=None,
        licence=" AND ".join(sorted({x.licence for x in layers.values() if x.licence})) or "proprietary",
        attribution="; ".join(dict.fromkeys([f"Computed from {', '.join(layers)}", *said])),
        density=STATIC_DENSITY,
    )
