"""Which label layers vote together, and what their codes say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.crosswalks import CrosswalkError, legend_by
from pipelines.labels import legend_of
from pipelines.labels.fusion.voters import Voter, symbols, voter
from pipelines.labels.fusion.votes import MOST_COMBINATIONS
from schemas.fused import FusedVoter
from schemas.label import COMMON_CLASSES
from schemas.label_layer import StatedCrosswalk
from schemas.label_source import RasterLabel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from schemas.fused import FusedLabel
    from schemas.label import Legend
    from schemas.label_source import ReadLabel
    from schemas.recipe import Recipe


class FusionError(ValueError):
    """A fused label cannot be made; the message is one line: what was found, what was expected and what to do."""


@dataclass(frozen=True, kw_only=True)
class Map:
    """One layer that votes."""

    layer: str
    """Its name."""
    legend: Legend | None
    """Its codes, with the common classes of this vote; None for a source with probabilities."""
    bands: Mapping[str, str] = field(default_factory=dict)
    """Of such a source: band -> class of the common taxonomy."""

    @property
    def stamp(self) -> str:
        """Name and hash of the crosswalk; '' where there is none."""
        return "" if self.legend is None else self.legend.crosswalk

    def table(self, *, native: bool) -> NDArray[np.uint16]:
        """(65,536,) vote of each stored code: code of COMMON_CLASSES, or place in the legend from 1; 0 = none."""
        found = np.zeros(1 << 16, np.uint16)
        if self.legend is None:
            found[: len(COMMON_CLASSES)] = np.arange(len(COMMON_CLASSES))
        else:
            common = self.legend.common_of()
            for place, one in enumerate(self.legend.classes, 1):
                found[one.code] = place if native else common[one.code]
        return found


@dataclass(frozen=True, kw_only=True)
class Family:
    """Maps of one producer: one voter."""

    maps: tuple[Map, ...]
    """In the recipe's order."""
    form: Voter
    """The form of its symbols."""

    def votes(self, found: Sequence[Vote | None], gaps: Sequence[int | None]) -> NDArray[np.uint16]:
        """(y, x) symbols of one sample.

        Args:
            found: of each map its vote; None = absent here. At least one is there.
            gaps: for each map, days from the image; None = not known.
        """
        shape = next(f.codes.shape for f in found if f is not None)
        native = len(self.maps) == 1
        known = [
            np.zeros(shape, np.uint16) if f is None else m.table(native=native)[f.codes]
            for m, f in zip(self.maps, found, strict=True)
        ]
        none = np.full(shape, np.nan, np.float32)
        sure = [none if f is None or f.share is None else f.share for f in found]
        order = sorted(range(len(known)), key=lambda i: (gaps[i] is None, gaps[i] or 0, i))
        soft = any(m.bands for m in self.maps)
        return symbols(self.form, [known[i] for i in order], [sure[i] for i in order] if soft else None)


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What one map says of one sample."""

    codes: NDArray[np.integer]
    """(y, x) codes of its legend; of COMMON_CLASSES for a source with probabilities."""
    share: NDArray[np.floating] | None = None
    """(y, x) probability of the class, 0..1, NaN = none; None for a map of classes."""


def families(recipe: Recipe, label: FusedLabel) -> tuple[Family, ...]:
    """The families of a fused label, in the order of their first maps.

    Raises:
        FusionError: a crosswalk lacks a code of a map; votes are of fewer than two families, or of too many classes.
    """
    known = {x.layer: x for x in recipe.read_labels}
    grouped: dict[str, list[Map]] = {}
    for chosen in label.named or [FusedVoter(label=name) for name in known]:
        if chosen.bands:
            soft = Map(layer=chosen.label, legend=None, bands=chosen.bands)
            grouped.setdefault(chosen.family or family_named(chosen.label), []).append(soft)
            continue
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
    silent = next((f for f in made if not f.form.means.any()), None)
    if silent is not None:
        names = ", ".join(f"{m.layer} ({m.stamp.partition(' ')[0]})" for m in silent.maps)
        raise FusionError(
            f"{label.layer}.voters: {names} names no class: its crosswalk gives none to any code; choose another "
            "crosswalk, or leave it out of `voters`"
        )
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
    return family_named(product)


def family_named(product: str) -> str:
    """A product's name without a year at the end."""
    return re.sub(r"[-_.]?\d+$", "", product) or product


def classes_of(found: Sequence[Family], label: FusedLabel) -> tuple[int, ...]:
    """Codes of COMMON_CLASSES that the fused map may have, ascending.

    Raises:
        FusionError: the recipe asks for a class that no voter names.
    """
    named = {int(code) for family in found for code in family.form.means if code}
    for name in label.classes:
        if COMMON_CLASSES.index(name) not in named:
            has = ", ".join(COMMON_CLASSES[code] for code in sorted(named))
            raise FusionError(f"{label.layer}.classes: no voter names {name!r}; they name {has}")
    chosen = {COMMON_CLASSES.index(name) for name in label.classes} or named
    return tuple(sorted(chosen))


def _form(name: str, maps: Sequence[Map]) -> Voter:
    own = maps[0].legend
    if len(maps) > 1 or own is None:
        form = voter(name, len(maps), probabilities=any(m.bands for m in maps))
        named = {code for m in maps for code in np.unique(m.table(native=False)[1:]) if not m.bands}
        named |= {COMMON_CLASSES.index(c) for m in maps for c in m.bands.values()}
        return replace(form, means=np.where(np.isin(form.means, list(named)), form.means, 0).astype(np.uint8))
    codes = own.common_of()
    return voter(name, 1, native=np.array([0, *(codes[c.code] for c in own.classes)], np.uint8))
