"""Sentinel-1: VV and VH as gamma0 (RTC) or sigma0 (GRD), in decibels or linear power, as the recipe states.

`product: rtc` takes terrain-corrected gamma0 and nothing else; `product: grd` takes sigma0 in decibels, as Earth Engine
has it, and nothing else: the two differ by decibels on slopes, so each has its own unit and title on disk.
Interpolation happens in the unit in which the archive delivers; decibels are made afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import geometry, identity, licence, text, times
from pipelines.sources.item_bands import BandAsset, Bands
from pipelines.sources.sensor import DatedSensor
from schemas.outcome import Reason
from schemas.scene import Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.provider import AnyProvider
    from schemas.sensors import Sentinel1Source

_CORRECTED = ("RTC", "NRB", "ORB")
"""sar:product_type of terrain-corrected products (CEOS: normalised radar backscatter)."""


@dataclass(frozen=True, slots=True)
class Sentinel1(DatedSensor):
    """The source `sentinel1`."""

    config: Sentinel1Source

    @property
    def _delivered(self) -> str:
        """'linear' or 'db': sigma0 is taken in decibels only."""
        return "db" if self.config.product == "grd" else self.config.delivered

    @property
    def fill(self) -> tuple[float, ...]:
        """0 is no backscatter but a border or shadow (microsoft/PlanetaryComputer#493); -32768 is RTC's own fill."""
        return (0.0, -32768.0) if self._delivered == "linear" else (-32768.0,)

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002 - one dialect for all
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        when, start, end = times(item)
        found = self._assets(item, item_id)
        orbit = (text(item, "sat:orbit_state") or "").casefold() or None
        if self.config.orbit is not None and orbit != self.config.orbit:
            raise ItemRefused(
                Reason.NO_SCENE, f"item {item_id!r} has {orbit or 'an unknown'} orbit; the recipe asks for another"
            )
        platform = (text(item, "platform") or "sentinel-1").casefold()
        absolute, relative = text(item, "sat:absolute_orbit"), text(item, "sat:relative_orbit")
        taken = text(item, "s1:datatake_id") or absolute or f"{relative or ''}|{when:%Y%m%d}"
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=str(item.get("collection") or self.config.collection),
            modality=self.modality.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=f"{platform}|{taken}|{orbit or ''}",
            product=_product(item_id),
            revision="|".join(text(item, n) or "" for n in ("s1:processing_datetime", "created", "updated")) + item_id,
            assets={band: asset.where for band, asset in found.items()},
            radiometry={band: self._radiometry(asset) for band, asset in found.items()},
            licence=licence(item, self.modality.licence),
            facts={
                "platform": platform,
                "orbit_state": orbit,
                "relative_orbit": relative,
                "absolute_orbit": absolute,
                "backscatter": "sigma0" if self.config.product == "grd" else "gamma0",
                "crs": f"EPSG:{found['VV'].epsg}" if found["VV"].epsg else None,
            },
        )

    def contradiction(
        self,
        scenes: Sequence[Scene],  # noqa: ARG002
        bands: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]],
    ) -> str | None:
        """Negative numbers cannot be linear power: the archive delivers decibels then, whatever the recipe says."""
        if self._delivered != "linear":
            return None
        negative = sum(int(np.count_nonzero(valid & (numbers < 0))) for numbers, valid in bands.values())
        seen = sum(int(np.count_nonzero(valid)) for _, valid in bands.values())
        if seen == 0 or negative / seen <= 0.5:
            return None
        return f"{negative / seen:.0%} of the numbers are negative: decibels, not linear power (set `delivered: db`)"

    def _assets(self, item: Item, item_id: str) -> dict[str, BandAsset]:
        bands = Bands(item)
        found = {band: bands.find((band,), self.config.assets.get(band)) for band in ("VV", "VH")}
        got = {band: asset for band, asset in found.items() if asset is not None}
        kind = (text(item, "sar:product_type") or "").upper()
        names = [item_id, str(item.get("collection") or ""), *(a.where.href for a in got.values())]
        corrected = kind in _CORRECTED or any("rtc" in n.casefold() for n in names)
        what = f"is {'RTC' if corrected else kind or 'of unknown type'} of collection {item.get('collection')!r}"
        if self.config.product == "rtc" and not corrected:
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} {what}, not terrain-corrected gamma0 (RTC)")
        if self.config.product == "grd" and (
            corrected or kind != "GRD" or {(a.unit or "").casefold() for a in got.values()} != {"db"}
        ):
            units = " and ".join(sorted({repr(a.unit) for a in got.values() if a.unit})) or "not stated"
            raise ItemRefused(
                Reason.BAD_ITEM,
                f"item {item_id!r} {what}, its unit is {units}; expected GRD as sigma0 in decibels (unit 'dB')",
            )
        if len(got) < 2:
            raise ItemRefused(Reason.NO_SCENE, f"item {item_id!r} has no VV and VH: it has {sorted(got) or 'neither'}")
        return got

    def _radiometry(self, asset: BandAsset) -> Radiometry:
        delivered, scale = self._delivered, self.config.scale
        said = (asset.unit or "").casefold()
        if (said == "db") != (delivered == "db") and said in ("db", "linear", "1", "linear power"):
            raise ItemRefused(
                Reason.BAD_ITEM, f"the item says its unit is {asset.unit!r}, the recipe says `delivered: {delivered}`"
            )
        rule = f"delivered in {'decibels' if delivered == 'db' else 'linear power'} (the recipe's `delivered`)"
        if self.config.product == "grd":
            rule = "sigma0 on the ellipsoid, delivered in decibels (the recipe's `product: grd`)"
        if delivered == scale:
            return Radiometry(nodata=asset.nodata, rule=f"{rule}, stored as delivered")
        if scale == "db":
            return Radiometry(nodata=asset.nodata, to_db=True, rule=f"{rule}, stored as 10 log10(dn); dn <= 0 is fill")
        return Radiometry(nodata=asset.nodata, to_linear=True, rule=f"{rule}, stored as 10^(dn/10)")


def in_decibels(unit: str) -> bool:
    """Whether a unit's name means decibels: 'dB', 'db', 'dB sigma0'."""
    return unit.casefold().split(" ")[0] == "db"


def _product(item_id: str) -> str:
    """A slice by mission, mode and times: reprocessings differ in the last, unique part of the name."""
    match = re.match(r"(S1[A-D]_\w{2}_\w{4}_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_\w{6})", item_id)
    if match:
        return match.group(1)
    opera = re.match(r"(OPERA_L2_RTC-S1_[A-Z0-9-]+_\d{8}T\d{6}Z)_\d{8}T\d{6}Z", item_id)
    return opera.group(1) if opera else item_id
