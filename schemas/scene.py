"""A scene in a plan: one STAC item, reduced to the properties that reading needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence


Shape = tuple[int, int]
"""(rows, columns)."""
Coefficients = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a*column + b*row + c, y = d*column + e*row + f."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AssetBand:
    """Place of one band's pixels."""

    href: str
    """Unsigned URL of the raster. Never a signed one: signatures are added at the moment of reading."""
    index: int = 1
    """1-based band index inside the raster."""
    shape: Shape | None = None
    """(rows, columns) of the raster, if the item states it (proj:shape)."""
    transform: Coefficients | None = None
    """Pixel corner coordinates of the raster, if the item states them (proj:transform)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Radiometry:
    """Conversion of one asset's stored values to canonical values, with the reason; decided and recorded per asset.

    canonical = clip(round(dn * gain + offset_dn), clip_min, None) for valid pixels; a fill pixel stays fill.
    """

    gain: float = 1.0
    """Factor from the asset's numbers to the modality's canonical stored numbers."""
    offset_dn: float = 0.0
    """Added after the gain, in canonical stored numbers (Sentinel-2 baseline >= 04.00: -1000)."""
    clip_min: float | None = None
    """Smallest value a valid pixel may take (Sentinel-2: 1, so that a valid dark pixel is not read as nodata 0)."""
    nodata: float | None = None
    """Fill value in the asset (NaN counts as fill always)."""
    to_db: bool = False
    """True when linear power is turned into decibels: 10 * log10(dn); dn <= 0 is fill."""
    to_linear: bool = False
    """True when decibels are turned into linear power: 10 ** (dn / 10)."""
    rule: str = "as delivered"
    """The sentence that says which rule decided, with the facts it used. Goes into the dataset's provenance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One item of an archive, parsed and judged by the source that knows its sensor."""

    item_id: str
    """The provider's own item id."""
    provider: str
    """Name of the provider in the recipe."""
    collection: str
    """The provider's collection id."""
    modality: str
    """Name of the modality (or label) it serves."""
    datetime: dt.datetime
    """Acquisition time, UTC, timezone-aware; for products of a period, its middle."""
    start: dt.datetime
    """Start of the period that the item describes (equals `datetime` for an instant)."""
    end: dt.datetime
    """End of the period."""
    geometry: dict[str, object]
    """Footprint, GeoJSON in WGS 84 longitude/latitude."""
    acquisition: str
    """Identity of the acquisition: scenes that share it may be mosaicked (one datatake, orbit pass or product year)."""
    product: str
    """Identity of the product: of scenes that share it only the newest `revision` is used (reprocessings)."""
    revision: str
    """Sorts reprocessings of one product: the greatest string is the newest."""
    assets: dict[str, AssetBand]
    """Band name (of schemas.modality) -> where it is."""
    radiometry: dict[str, Radiometry]
    """Band name -> rule. Every key of `assets` is present."""
    cloud_cover: float | None = None
    """Cloud over the whole scene, share 0..1 as the provider states; None = not stated."""
    licence: str = "unknown"
    """SPDX id or 'proprietary', as the item, its collection or the modality says."""
    facts: dict[str, str | float | None] = field(default_factory=dict)
    """Provenance: baseline, orbit state, relative orbit, platform, product version, snapshot date."""

    @property
    def epsg(self) -> int | None:
        """EPSG code of the rasters' CRS as the item states it (fact 'crs'); None = it states none."""
        crs = self.facts.get("crs")
        return int(crs.removeprefix("EPSG:")) if isinstance(crs, str) and crs.startswith("EPSG:") else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One possible observation of a sample: scenes of one acquisition that together cover the chip, best first."""

    scenes: tuple[str, ...]
    """Item ids in mosaicking order: the first that has a valid pixel wins."""
    datetime: dt.datetime
    """Time of the first scene."""
    rank: tuple[float, ...]
    """Sort key, smaller is better; decided at planning from metadata alone."""


def newest_revisions(scenes: Sequence[Scene]) -> list[Scene]:
    """Of scenes that share a product the one with the greatest revision (then item id); sorted by item id."""
    best: dict[str, Scene] = {}
    for scene in sorted(scenes, key=lambda s: (s.revision, s.item_id)):
        best[scene.product] = scene
    return sorted(best.values(), key=lambda s: s.item_id)
