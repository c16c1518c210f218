"""Which label layers vote together, and what their codes say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.crosswalks import CrosswalkError, legend_by
from pipelines.labels import legend_of
from pipelines.labels.fusion.voters import Voter, symbols, voter
from schemas.fused import FusedVoter
from schemas.label_layer import StatedCrosswalk
from schemas.label_source import RasterLabel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from schemas.fused import FusedLabel
    from schemas.label import Legend
    from schemas.label_source import ReadLabel
    from schemas.recipe import Recipe

MOST_COMBINATIONS = 1 << 50
"""Combinations of all families' symbols that a count can be kept of."""


class FusionError(ValueError):
    """A fused label cannot be made; the message is one line: what was found, what was expected and what to do."""


@dataclass(frozen=True, kw_only=True)
class Map:
    """One label layer that votes."""

    layer: str
    """Its name."""
    legend: Legend
    """Its codes, with the common classes of this vote."""

    @property
    def common(self) -> NDArray[np.uint8]:
        """(65,536,) code of COMMON_CLASSES of each code, 0 = none."""
        codes = np.arange(1 << 16)
        return self.legend.common(codes, np.isin(codes, [c.code for c in self.legend.classes]))

    @property
    def native(self) -> NDArray[np.uint16]:
        """(65,536,) place of each code in the legend, from 1; 0 = no label."""
        table = np.zeros(1 << 16, np.uint16)
        for place, one in enumerate(self.legend.classes, 1):
            table[one.code] = place
        return table


@dataclass(frozen=True, kw_only=True)
class Family:
    """Maps of one producer: one voter."""

    maps: tuple[Map, ...]
    """In the recipe's order."""
    form: Voter
    """The form of its symbols."""

    def votes(self, found: Sequence[NDArray[np.integer] | None], gaps: Sequence[int | None]) -> NDArray[np.uint16]:
        """(y, x) symbols of one sample.

        Args:
            found: for each map, (y, x) codes of its own legend; None = absent here. At least one is there.
            gaps: for each map, days from the image; None = not known.
        """
        shape = next(f.shape for f in found if f is not None)
        tables = [m.native if len(self.maps) == 1 else m.common for m in self.maps]
        known = [np.zeros(shape, t.dtype) if f is None else t[f] for f, t in zip(found, tables, strict=True)]
        order = sorted(range(len(known)), key=lambda i: (gaps[i] is None, gaps[i] or 0, i))
        return symbols(self.form, [known[i] for i in order])


def families(recipe: Recipe, label: FusedLabel) -> tuple[Family, ...]:
    """The families of a fused label, in the order of their first maps.

    Raises:
        FusionError: a crosswalk lacks a code of a map; votes are of fewer than two families, or of too many classes.
    """
    known = {x.layer: x for x in recipe.read_labels}
    grouped: dict[str, list[Map]] = {}
    for chosen in label.named or [FusedVoter(label=name) for name in known]:
        one = known[chosen.label]
        try:
            legend = legend_by(chosen.crosswalk, legend_of(one))
        except CrosswalkError as error:
            raise FusionError(f"{label.layer}.voters: {chosen.label}: {error}") from None
        grouped.setdefault(chosen.family or family_of(one), []).append(Map(layer=chosen.label, legend=legend))
    if len(grouped) < 2:
        layers = ", ".join(m.layer for maps in grouped.values() for m in maps)
        found = f"{layers} are of one family, {next(iter(grouped))}" if grouped else "this recipe has no other label"
        raise FusionError(
            f"{label.layer}.voters: votes of at least two families of products are needed, and {found}: their errors "
            "are shared, so add a label of another producer"
        )
    made = tuple(Family(maps=tuple(maps), form=_form(name, maps)) for name, maps in grouped.items())
    combinations = float(np.prod([float(f.form.size) for f in made]))
    if combinations > MOST_COMBINATIONS:
        raise FusionError(
            f"{label.layer}.voters: {len(made)} families have {combinations:.2g} combinations of classes, more than "
            f"{MOST_COMBINATIONS:.2g}: name fewer voters"
        )
    return made


def family_of(label: ReadLabel) -> str:
    """Family of a label, if the recipe names none: its product, without a year at the end."""
    if not isinstance(label, RasterLabel):
        return label.kind
    product = label.crosswalk.product if isinstance(label.crosswalk, StatedCrosswalk) else label.name
    return re.sub(r"[-_.]?\d+$", "", product) or product


def classes_of(found: Sequence[Family], label: FusedLabel) -> tuple[int, ...]:
    """Codes of COMMON_CLASSES that the fused map may have, ascending.

    Raises:
        FusionError: the recipe asks for a class that no voter names.
    """
    from schemas.label import COMMON_CLASSES

    named = {int(code) for family in found for code in family.form.means if code}
    for name in label.classes:
        if COMMON_CLASSES.index(name) not in named:
            has = ", ".join(COMMON_CLASSES[code] for code in sorted(named))
            raise FusionError(f"{label.layer}.classes: no voter names {name!r}; they name {has}")
    chosen = {COMMON_CLASSES.index(name) for name in label.classes} or named
    return tuple(sorted(chosen))


def _form(name: str, maps: Sequence[Map]) -> Voter:
    if len(maps) > 1:
        return voter(name, len(maps))
    own = maps[0].legend
    codes = own.common_of()
    return voter(name, 1, native=np.array([0, *(codes[c.code] for c in own.classes)], np.uint8))
