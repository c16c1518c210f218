"""Layers that a recipe or a preset describes: one class for all of them, which knows no sensor.

What an item says of its numbers is believed as for the coded sensors: a stated scale other than the declared one is
brought to it, a stated fill value goes before the declared one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import cloud_share, geometry, identity, licence, text, times
from pipelines.sources.candidates import Rules, choose
from pipelines.sources.item_bands import BandAsset, Bands
from pipelines.sources.rules import RULES, shared
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
        if not said:
            return {band: bands.declared(band, assets) for band, assets in self.config.bands.items()}
        return {
            band: bands.require(band, (), said[band]) if band in said else bands.declared(band, assets)
            for band, assets in self.config.bands.items()
        }

    def _acquisition(self, item_id: str, platform: str | None, when: datetime) -> str:
        how = getattr(self.config, "acquisition", "day")
        return item_id if how == "item" else f"{platform or ''}|{when:{_DAY[how]}}"

    def _radiometry(self, item: Item, found: dict[str, BandAsset], provider: AnyProvider) -> dict[str, Radiometry]:
        judge, made = None, {}
        for layer in self.modality.layers:
            array = self.config.arrays.get(layer.name)
            measured = layer.kind == "continuous" and array is not None
            if measured and self.config.rule and judge is None:
                judge = RULES[self.config.rule](item, provider)
            for band in layer.bands:
                name, asset = band.name, found[band.name]
                if judge is not None and measured:
                    made[name] = judge(asset, layer)
                elif measured and array is not None:
                    stated = (asset.scale, asset.offset or 0.0, asset.nodata)
                    made[name] = _plainly(name, *stated, array.scale, array.offset or 0.0)
                else:
                    made[name] = shared(f"{layer.kind} as delivered", asset.nodata)
        return made


@lru_cache(maxsize=4096, typed=True)
def _plainly(
    band: str, scale: float | None, offset: float, nodata: float | None, wanted: float | None, wanted_offset: float
) -> Radiometry:
    """Rule by scale and offset: values as delivered, or converted to the declared (`wanted`) scale and offset."""
    if wanted is None:
        return Radiometry(nodata=nodata, rule="as delivered: the recipe declares no scale")
    if scale is None:
        return Radiometry(nodata=nodata, rule=f"as delivered: scale {wanted:g} is declared, the item states none")
    if scale <= 0.0:
        raise ItemRefused(Reason.BAD_ITEM, f"{band} declares a scale of {scale:g}")
    gain, moved = round(scale / wanted, 9), round((offset - wanted_offset) / wanted, 6)
    said = f"the item states scale {scale:g}, offset {offset:g}"
    said = f"as delivered: {said}" if (gain, moved) == (1.0, 0.0) else f"{said}: brought to scale {wanted:g}"
    return Radiometry(gain=gain, offset_dn=moved, nodata=nodata, rule=said)
