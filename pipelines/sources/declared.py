"""Layers that a recipe or a preset describes: one class for all of them, which knows no sensor.

What an item says of its numbers is believed as for the coded sensors: a stated scale other than the declared one is
brought to it, a stated fill value goes before the declared one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import cloud_share, geometry, identity, licence, text, times
from pipelines.sources.candidates import Rules, choose
from pipelines.sources.item_bands import BandAsset, Bands
from pipelines.sources.rules import RULES
from pipelines.sources.sensor import SensorSource
from sampling.times import period_of
from schemas.declared_source import CloudyLayer, DatedLayer
from schemas.outcome import Reason
from schemas.scene import Radiometry, Scene
from schemas.source import DatedSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.declared_source import StaticLayer
    from schemas.modality import Layer
    from schemas.place import Place
    from schemas.provider import AnyProvider
    from schemas.scene import Candidate
    from schemas.window import Window

_REACH_PX = 3.0
"""Pixels of a static layer that are read around the chip, so that the kernel finds neighbours across a seam."""
_DAY = {"day": "%Y%m%d", "month": "%Y%m", "year": "%Y"}


@dataclass(frozen=True, slots=True)
class Declared(SensorSource):
    """A source of kind `declared`."""

    config: StaticLayer | DatedLayer | CloudyLayer

    def fill_of(self, layer: Layer) -> tuple[float, ...]:
        """Fill values that the array declares; for a separate cloud asset, those of `clouds`."""
        array = self.config.arrays.get(layer.name)
        return array.fill if array is not None else () if layer.nodata is None else (layer.nodata,)

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:
        """Parse and judge one item; raises ItemRefused."""
        item_id, config = identity(item), self.config
        cloud = cloud_share(item)
        if isinstance(config, DatedLayer) and config.max_scene_cloud is not None and cloud is None:
            raise ItemRefused(
                Reason.BAD_ITEM, f"item {item_id!r} states no eo:cloud_cover, so `max_scene_cloud` cannot be kept"
            )
        when, start, end = times(item)
        found = self._found(item)
        first = next(iter(found.values()))
        collection = str(item.get("collection") or config.collection)
        platform = text(item, "platform")
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=collection,
            modality=config.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=self._acquisition(item_id, platform, when) if config.dated else collection,
            product=item_id,
            revision=text(item, "updated", "created") or "",
            assets={band: asset.where for band, asset in found.items()},
            radiometry=self._radiometry(item, found, provider),
            cloud_cover=cloud,
            licence=licence(item, config.licence),
            facts={
                "platform": platform,
                "version": text(item, "version"),
                "orbit_state": text(item, "sat:orbit_state"),
                "crs": f"EPSG:{first.epsg}" if first.epsg else None,
            },
        )

    def candidates_at(
        self, scenes: Sequence[Scene], places: Sequence[Place], window: Window | None, occurrence: int = 0
    ) -> list[list[Candidate]]:
        """Dated: parts of one acquisition are mosaicked. Static: one, of all items that the chip touches."""
        if isinstance(self.config, DatedSource):
            return self.candidates_in(scenes, places, None if window is None else period_of(window, occurrence))
        margin_m = _REACH_PX * max(layer.resolution_m for layer in self.modality.layers)
        return choose(scenes, places, None, Rules(margin_m=margin_m, all_parts=True))

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of the cloud layer's numbers -> cloud, by the bits or the values that the description names."""
        if not isinstance(self.config, CloudyLayer):
            return np.zeros(layer.shape[-2:], np.bool_)
        clouds = self.config.clouds
        if clouds.values:
            return np.isin(layer, clouds.values)
        bits = sum(1 << bit for bit in set(clouds.bits))
        return np.asarray((layer.astype(np.int64) & bits) != 0)

    def _found(self, item: Item) -> dict[str, BandAsset]:
        """Band -> its place in the item; ItemRefused where one is missing."""
        bands, said = Bands(item), self.config.assets
        return {
            band: bands.require(band, (), said[band]) if band in said else bands.declared(band, assets)
            for band, assets in self.config.bands.items()
        }

    def _acquisition(self, item_id: str, platform: str | None, when: datetime) -> str:
        how = getattr(self.config, "acquisition", "day")
        return item_id if how == "item" else f"{platform or ''}|{when:{_DAY[how]}}"

    def _radiometry(self, item: Item, found: dict[str, BandAsset], provider: AnyProvider) -> dict[str, Radiometry]:
        rule = RULES.get(self.config.rule or "")
        made = {}
        for layer in self.modality.layers:
            for band in layer.bands:
                asset = found[band.name]
                if rule is not None and layer.kind == "continuous":
                    made[band.name] = rule(item, asset, layer, provider)
                else:
                    made[band.name] = self._plainly(band.name, asset, layer)
        return made

    def _plainly(self, band: str, asset: BandAsset, layer: Layer) -> Radiometry:
        """Rule by scale and offset: values as delivered, or converted to the declared scale and offset."""
        nodata = asset.nodata
        array = self.config.arrays.get(layer.name)
        if layer.kind != "continuous" or array is None:
            return Radiometry(nodata=nodata, rule=f"{layer.kind} as delivered")
        scale, offset = asset.scale, asset.offset or 0.0
        if array.scale is None:
            return Radiometry(nodata=nodata, rule="as delivered: the recipe declares no scale")
        if scale is None:
            return Radiometry(
                nodata=nodata, rule=f"as delivered: scale {array.scale:g} is declared, the item states none"
            )
        if scale <= 0.0:
            raise ItemRefused(Reason.BAD_ITEM, f"{band} declares a scale of {scale:g}")
        gain = round(scale / array.scale, 9)
        moved = round((offset - (array.offset or 0.0)) / array.scale, 6)
        said = f"the item states scale {scale:g}, offset {offset:g}"
        said = f"as delivered: {said}" if (gain, moved) == (1.0, 0.0) else f"{said}: brought to scale {array.scale:g}"
        return Radiometry(gain=gain, offset_dn=moved, nodata=nodata, rule=said)
