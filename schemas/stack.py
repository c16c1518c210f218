"""All co-registered data of one place, on its way from sources to shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
    from numpy.typing import NDArray

    from schemas.attribute import AttributeValue
    from schemas.caption import Caption, Facts
    from schemas.label import LabelMap, VectorLayer
    from schemas.outcome import Outcome
    from schemas.place import Place


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One modality at one date (or once, if static) on one sample's grids."""

    modality: str
    """Name of the modality."""
    slot: int
    """Date slot, 0-based, in the recipe's order of windows; 0 if static."""
    datetime: dt.datetime
    """Acquisition time of the first scene, UTC."""
    arrays: dict[str, NDArray[np.generic]]
    """Layer name (schemas.modality.Layer.name) -> pixels: (band, y, x), or (y, x) where the layer has one unnamed band.
    dtype as the layer says. Fill pixels hold the layer's nodata."""
    valid: NDArray[np.bool_]
    """(y, x) at the modality's finest resolution. True = every band of the modality has a measured value here."""
    cloud: NDArray[np.bool_] | None
    """(y, x) at the cloud layer's resolution. True = cloud, cloud shadow or cirrus. None: sees no clouds."""
    valid_fraction: float
    """Share of True in `valid`."""
    cloud_fraction: float | None
    """Share of True in `cloud` among observed pixels."""
    item_ids: tuple[str, ...]
    """Source items, mosaicking order."""
    provider: str
    """Provider name in the recipe."""
    radiometry: dict[str, str]
    """Band name -> the rule that was applied, in words."""
    resampling: dict[str, str]
    """Layer name -> 'none' (pixels copied, same lattice), 'nearest', 'bilinear' or 'cubic'."""
    facts: dict[str, str | float | None] = field(default_factory=dict)
    """Provenance of the scenes: baseline, orbit, platform, product version."""
    licence: str = "unknown"
    """SPDX id."""
    composite: bool = False
    """True: made of several dates; `datetime` is the middle one, and texts tell no season by it."""
    terrain: str | None = None
    """`Modality.terrain`: array that holds the elevation of the ground in metres."""


@dataclass(kw_only=True)
class Stack:
    """One sample: its place and all that was obtained for it."""

    place: Place
    """Where."""
    observations: dict[tuple[str, int], Observation] = field(default_factory=dict)
    """(modality, slot) -> what was obtained. Absent key = absent observation: never a filled array."""
    reference: Observation | None = None
    """The image that labels and texts refer to: its time decides date gaps and the season. None = no dated image."""
    labels: dict[str, LabelMap] = field(default_factory=dict)
    """Label name -> map."""
    vectors: dict[str, VectorLayer] = field(default_factory=dict)
    """Label name -> objects of the map, or of the user's own file."""
    numbers: dict[str, AttributeValue] = field(default_factory=dict)
    """Number of the recipe -> value that was computed from the sample's pixels; None where no pixel has one."""
    facts: Facts | None = None
    """Facts for captions."""
    texts: tuple[str, ...] = ()
    """Texts that a file gives to this sample."""
    captions: list[Caption] = field(default_factory=list)
    """Checked captions."""
    outcomes: list[Outcome] = field(default_factory=list)
    """One row for each expected sample x layer x slot."""

    @property
    def reference_time(self) -> dt.datetime | None:
        """Time of the image that labels and texts refer to, UTC."""
        return None if self.reference is None else self.reference.datetime
