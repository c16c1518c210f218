"""Copernicus DEM GLO-30: one elevation in metres, mosaicked from tiles; voids stay voids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import geometry, identity, licence, text, times
from pipelines.sources.candidates import Rules, choose
from pipelines.sources.item_bands import Bands
from pipelines.sources.sensor import SensorSource
from schemas.outcome import Reason
from schemas.scene import Candidate, Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.sources.sensor import Item
    from schemas.place import Place
    from schemas.provider import AnyProvider
    from schemas.sensors import DemSource
    from schemas.window import Window

_VOIDS = (-32767.0, -32768.0)
"""Void values in use: Copernicus DEM product handbook (-32767), SRTM and mirrors (-32768)."""
_MARGIN_M = 100.0
"""Tiles this near to the chip are read too: the kernel reaches two 30 m pixels across a seam."""


@dataclass(frozen=True, slots=True)
class Dem(SensorSource):
    """The source `dem`."""

    config: DemSource

    @property
    def fill(self) -> tuple[float, ...]:
        """Void values, declared or not. 0 is a valid height: sea level."""
        return _VOIDS

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002 - one dialect for all
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        when, start, end = times(item)
        asset = Bands(item).require("elevation", ("elevation", "data", "dem"), self.config.assets.get("elevation"))
        if asset.unit is not None and asset.unit.casefold() not in ("m", "meter", "metre", "meters", "metres"):
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} is in {asset.unit!r}, not in metres")
        collection = str(item.get("collection") or self.config.collection)
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=collection,
            modality=self.modality.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=collection,
            product=item_id,
            revision=text(item, "updated", "created") or "",
            assets={"elevation": asset.where},
            radiometry={"elevation": Radiometry(nodata=asset.nodata, rule="metres as delivered; voids are fill")},
            licence=licence(item, self.modality.licence),
            facts={
                "platform": text(item, "platform"),
                "version": text(item, "version", "dem:version"),
                "crs": f"EPSG:{asset.epsg}" if asset.epsg else None,
            },
        )

    def candidates_at(
        self,
        scenes: Sequence[Scene],
        places: Sequence[Place],
        window: Window | None,  # noqa: ARG002 - static
        occurrence: int = 0,  # noqa: ARG002
    ) -> list[list[Candidate]]:
        """One: all tiles that the chip or its border touches. The open sea has none."""
        return choose(scenes, places, None, Rules(margin_m=_MARGIN_M, all_parts=True))
