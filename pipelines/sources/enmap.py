"""EnMAP L2A: 224 bands of surface reflectance in one file, and a separate cloud mask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.footprint import finite, number
from pipelines.access.stac.items import (
    cloud_share,
    geometry,
    identity,
    licence,
    properties,
    text,
    times,
)
from pipelines.sources.item_bands import BandAsset, Bands
from pipelines.sources.sensor import DatedSensor
from schemas.modality import ENMAP
from schemas.outcome import Reason
from schemas.scene import Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.modality import Layer
    from schemas.provider import AnyProvider
    from schemas.sensors import EnmapSource

_REFLECTANCE = ENMAP.layer("bands_30m")
_BANDS = tuple(b.name for b in _REFLECTANCE.bands)
_FILL = -32768.0
"""enmap:nodata of the provider's items."""
_ID = re.compile(r"DT(\d+)_(\d{8}T\d{6}Z)_(\d{3})_V(\d+)_(\d{8}T\d{6}Z)")


@dataclass(frozen=True, slots=True)
class Enmap(DatedSensor):
    """The source `enmap`."""

    config: EnmapSource

    @property
    def fill(self) -> tuple[float, ...]:
        """-32768 in the spectral image."""
        return (_FILL,)

    def fill_of(self, layer: Layer) -> tuple[float, ...]:
        """`fill`, and the cloud mask's own: 255, where nothing was measured."""
        return self.fill if layer.kind == "continuous" else () if layer.nodata is None else (float(layer.nodata),)

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002 - one dialect for all
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        level = text(item, "processing:level") or ""
        if level and level != "L2A":
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} is of level {level}, not L2A")
        when, start, end = times(item)
        bands = Bands(item)
        image, judge = _image(bands, item_id), gains(item)
        cloud = bands.require("QUALITY_CLOUD", ("quality_cloud",), self.config.assets.get("QUALITY_CLOUD"))
        name = _ID.search(item_id)
        take = name.group(1) if name else text(item, "enmap:datatakeID") or item_id
        tile = name.group(3) if name else text(item, "enmap:tileID") or ""
        version = text(item, "version", "enmap:archivedVersion") or (name.group(4) if name else "")
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=str(item.get("collection") or self.config.collection),
            modality=self.modality.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=take,
            product=f"{take}|{tile}",
            revision=f"{version}|{name.group(5) if name else text(item, 'enmap:processingDate', 'created') or ''}",
            assets={**{b: a.where for b, a in image.items()}, "QUALITY_CLOUD": cloud.where},
            radiometry={
                **{b: judge(a, _REFLECTANCE) for b, a in image.items()},
                "QUALITY_CLOUD": Radiometry(nodata=cloud.nodata, rule="classes as delivered: 1 = cloud"),
            },
            cloud_cover=cloud_share(item),
            licence=licence(item, self.modality.licence),
            facts={
                "platform": "enmap",
                "version": version or None,
                "relative_orbit": text(item, "sat:relative_orbit"),
                "overall_quality": text(item, "enmap:overallQuality"),
                "crs": f"EPSG:{image['B001'].epsg}" if image["B001"].epsg else None,
            },
        )

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of QUALITY_CLOUD -> cloud (cirrus, haze and shadow are layers of their own, not read)."""
        return np.asarray(layer == 1)


def _image(bands: Bands, item_id: str) -> dict[str, BandAsset]:
    """All bands of the spectral image, in file order."""
    for key in ("image", "spectral_image"):
        if (asset := bands.entries(key)) is not None:
            break
    else:
        raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} has no asset 'image'")
    if len(asset[1]) != len(_BANDS):
        raise ItemRefused(
            Reason.BAD_ITEM, f"item {item_id!r} describes {len(asset[1])} bands, a complete image has {len(_BANDS)}"
        )
    return {band: bands.of_asset(key, i) for i, band in enumerate(_BANDS)}


def gains(item: Item) -> Callable[[BandAsset, Layer], Radiometry]:
    """Function (band's asset, its array) -> gain and offset, as the item states them, brought to the array's scale;
    never guessed.

    Raises (the function):
        ItemRefused: BAD_ITEM, the item states no gain.
    """
    nodata = number(properties(item).get("enmap:nodata"))
    usual = _FILL if nodata is None else nodata

    def judge(asset: BandAsset, layer: Layer) -> Radiometry:
        gain = finite(asset.band.get("enmap:gain_of_band"))
        offset, scale = finite(asset.band.get("enmap:offset_of_band")), layer.scale
        said = "enmap:gain_of_band"
        if gain is None:
            gain, offset, said = asset.scale, asset.offset, "the band's scale"
        if gain is None or gain <= 0.0:
            raise ItemRefused(Reason.BAD_ITEM, f"item {item.get('id')!r} states no gain for its bands")
        fill = usual if asset.nodata is None else asset.nodata
        gain, moved = round(gain / scale, 9), round((offset or 0.0) / scale, 6)
        rule = f"{said} is {gain * scale:g}, offset {offset or 0.0:g}"
        rule = f"as delivered: {rule}" if (gain, moved) == (1.0, 0.0) else f"{rule}: brought to scale {scale:g}"
        return Radiometry(gain=gain, offset_dn=moved, nodata=fill, rule=rule)

    return judge
