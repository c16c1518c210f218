"""Landsat 8 and 9 Collection 2 Level-2: seven surface reflectance bands and QA_PIXEL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import cloud_share, geometry, identity, licence, text, times
from pipelines.sources.item_bands import BandAsset, Bands
from pipelines.sources.sensor import DatedSensor
from schemas.outcome import Reason
from schemas.scene import Radiometry, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.provider import AnyProvider
    from schemas.sensors import LandsatSource

_NAMES: dict[str, tuple[str, ...]] = {
    "SR_B1": ("SR_B1", "coastal"),
    "SR_B2": ("SR_B2", "blue"),
    "SR_B3": ("SR_B3", "green"),
    "SR_B4": ("SR_B4", "red"),
    "SR_B5": ("SR_B5", "nir08"),
    "SR_B6": ("SR_B6", "swir16"),
    "SR_B7": ("SR_B7", "swir22"),
    "QA_PIXEL": ("QA_PIXEL",),
}
"""Band -> asset keys: USGS's, Planetary Computer's and Earth Search's."""
_SCALE, _OFFSET = 2.75e-5, -0.2
"""Reflectance = dn * scale + offset, USGS Landsat Collection 2 Level-2 science product guide."""
_CLOUDY = 0b11110
"""QA_PIXEL bits 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow (bit 0 is fill: not measured rather than cloud)."""
_ID = re.compile(r"(L[COTE]0\d)_(L\w{3})_(\d{6})_(\d{8})(?:_(\d{8}))?_(\d{2})_(\w{2})")


@dataclass(frozen=True, slots=True)
class Landsat(DatedSensor):
    """The source `landsat`."""

    config: LandsatSource

    @property
    def fill(self) -> tuple[float, ...]:
        """None beyond what is declared band by band: 0 in reflectance, 1 in QA_PIXEL."""
        return ()

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002 - one dialect for all
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        platform = _platform(item, item_id)
        if platform not in ("landsat-8", "landsat-9"):
            raise ItemRefused(
                Reason.NO_SCENE, f"item {item_id!r} is {platform or 'of unknown platform'}, not Landsat 8/9"
            )
        name = _ID.match(item_id)
        level = text(item, "landsat:correction") or (name.group(2) if name else "")
        if level and level not in ("L2SP", "L2SR"):
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} is {level}, not Level-2 surface reflectance")
        bands, said = Bands(item), self.config.assets
        found = {band: bands.require(band, names, said.get(band)) for band, names in _NAMES.items()}
        when, start, end = times(item)
        path = (text(item, "landsat:wrs_path") or (name.group(3)[:3] if name else "")).zfill(3)
        row = (text(item, "landsat:wrs_row") or (name.group(3)[3:] if name else "")).zfill(3)
        tier = text(item, "landsat:collection_category") or (name.group(7) if name else "")
        processed = _processed(found["SR_B4"], name)
        order = {"T1": "2", "T2": "1", "RT": "0"}.get(tier, "1")
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=str(item.get("collection") or self.config.collection),
            modality=self.modality.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=f"{platform}|{path}|{when:%Y%m%d}",
            product=f"{platform}|{path}{row}|{when:%Y%m%d}",
            revision=f"{order}|{processed}|{text(item, 'landsat:product_generated', 'created') or ''}",
            assets={band: asset.where for band, asset in found.items()},
            radiometry={band: _radiometry(band, asset) for band, asset in found.items()},
            cloud_cover=cloud_share(item),
            licence=licence(item, self.modality.licence),
            facts={
                "platform": platform,
                "wrs_path": path,
                "wrs_row": row,
                "tier": tier or None,
                "processed": processed or None,
                "crs": f"EPSG:{found['SR_B4'].epsg}" if found["SR_B4"].epsg else None,
            },
        )

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of QA_PIXEL -> dilated cloud, cirrus, cloud or shadow."""
        return np.asarray((layer.astype(np.uint16) & _CLOUDY) != 0)


def _platform(item: Item, item_id: str) -> str:
    said = (text(item, "platform", "eo:platform") or "").casefold().replace("_", "-")
    if not said and (name := _ID.match(item_id)):
        said = f"landsat-{int(name.group(1)[2:])}"
    return said


def _processed(asset: BandAsset, name: re.Match[str] | None) -> str:
    """Processing date, which providers keep in the file's name and drop from the item's id."""
    if name is not None and name.group(5):
        return name.group(5)
    match = _ID.search(asset.where.href)
    return (match.group(5) or "") if match else ""


def _radiometry(band: str, asset: BandAsset) -> Radiometry:
    if band == "QA_PIXEL":
        return Radiometry(nodata=1.0, rule="bits as delivered")
    nodata = 0.0 if asset.nodata is None else asset.nodata
    scale, offset = asset.scale, asset.offset
    if scale is None or (abs(scale - _SCALE) < 1e-12 and abs((offset or 0.0) - _OFFSET) < 1e-9):
        said = "stated by the item" if scale is not None else "the product's own, the item states none"
        return Radiometry(clip_min=1.0, nodata=nodata, rule=f"as delivered: scale 2.75e-05, offset -0.2, {said}")
    if scale <= 0.0:
        raise ItemRefused(Reason.BAD_ITEM, f"{band} declares a scale of {scale:g}")
    return Radiometry(
        gain=scale / _SCALE,
        offset_dn=((offset or 0.0) - _OFFSET) / _SCALE,
        clip_min=1.0,
        nodata=nodata,
        rule=f"the item states scale {scale:g}, offset {offset or 0.0:g}: brought to scale 2.75e-05, offset -0.2",
    )
