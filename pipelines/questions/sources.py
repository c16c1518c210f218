"""What a dataset has to ask about: which of its arrays bear which questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from landweave.layout import ArraySpec, DatasetSpec

MAP = "openstreetmap"


@dataclass(frozen=True, slots=True)
class Images:
    """A layer of images."""

    group: str
    """Its name."""
    slots: int
    """Its dates; 1 where it has none."""
    array: str
    """'sentinel2/bands_10m'."""
    bands: tuple[str, ...]
    """Optical: near infrared and red. Radar: polarisations."""
    cloud: str = ""
    """Its cloud mask; '' where it has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The layers that questions may speak of."""

    labels: tuple[str, ...] = ()
    """Arrays of classes, the preferred one first."""
    map: str = ""
    """Table of map objects; '' = none."""
    ground: str = ""
    """Array of elevations, metres; '' = none."""
    optical: Images | None = None
    """The first optical layer with red and near infrared."""
    radar: Images | None = None
    """The first radar layer in decibels."""
    dated: tuple[Images, ...] = ()
    """All layers with dates."""

    @property
    def any(self) -> bool:
        """Whether there is anything to ask about."""
        return bool(self.labels or self.ground or self.optical or self.radar or self.map)


def sources_of(spec: DatasetSpec, labels: Sequence[str], terrain: Mapping[str, str]) -> Sources:
    """The layers of a dataset; those with an extent of their own are left out, parts of the scene are not theirs.

    Args:
        spec: its form.
        labels: label layers to take land cover from, the preferred one first.
        terrain: layer -> its array of elevations, of layers that have one.
    """
    groups = {g.name: g for g in spec.groups if not g.arrays[0].margin_m}
    ground = next((f"{g}/{name}" for g, name in sorted(terrain.items()) if g in groups and not groups[g].dated), "")
    images = [g for g in groups.values() if g.kind == "modality" and not g.target]
    optical = [i for g in images for a in g.arrays if (i := _optical(a, spec)) is not None]
    radar = [i for g in images for a in g.arrays if (i := _radar(a, spec)) is not None]
    first = {i.group: i for i in (*optical, *radar)}
    return Sources(
        labels=tuple(f"{name}/classes" for name in labels if name in groups),
        map=f"{MAP}/vectors" if MAP in groups and groups[MAP].vectors else "",
        ground=ground,
        optical=next(iter(optical), None),
        radar=next(iter(radar), None),
        dated=tuple(first[g.name] for g in images if g.dated and g.name in first),
    )


def _optical(array: ArraySpec, spec: DatasetSpec) -> Images | None:
    names = {b.common_name: b.name for b in array.bands if b.common_name}
    nir = names.get("nir") or names.get("nir08")
    if (
        nir is None
        or "red" not in names
        or array.kind != "continuous"
        or not array.unit.startswith(("reflectance", "digital"))
    ):
        return None
    clouds = any(a.role == "cloud" for a in spec.group(array.group).arrays)
    cloud = f"{array.group}/cloud" if clouds else ""
    return Images(array.group, array.slots, array.path, (nir, names["red"]), cloud)


def _radar(array: ArraySpec, spec: DatasetSpec) -> Images | None:
    del spec
    bands = tuple(b.name for b in array.bands if b.name in ("VV", "VH", "HH", "HV"))
    if not bands or not array.unit.startswith("dB"):
        return None
    return Images(array.group, array.slots, array.path, bands)
