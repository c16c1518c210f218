"""Harmonized Landsat Sentinel-2 (HLS) 2.0: seven reflectance bands on MGRS tiles at 30 m, and Fmask.

S30 (Sentinel-2) is adjusted to the bandpasses of OLI and both are adjusted to nadir view, so that they are one series;
which half an image came from stays in its facts. Source: HLS Product User Guide, version 2.0 (LP DAAC).
"""

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
    from datetime import datetime

    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.provider import AnyProvider
    from schemas.sensors import HlsSource

_KEYS: dict[str, dict[str, str]] = {
    "S30": {"nir08": "B8A", "swir16": "B11", "swir22": "B12"},
    "L30": {"nir08": "B05", "swir16": "B06", "swir22": "B07"},
}
"""Half -> band -> asset key, where the halves differ (guide, table 4)."""
_SHARED = {"coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "Fmask": "Fmask"}
_ID = re.compile(r"HLS[._](S30|L30)[._]T(\d{2}[C-X][A-Z]{2})[._](\d{7}T\d{6})[._]v(\d+)\.?(\d*)")
_SCALE, _FILL, _FMASK_FILL = 1e-4, -9999.0, 255.0
_CLOUDY = 0b1110
"""Fmask bits 1 cloud, 2 beside cloud or shadow, 3 cloud shadow (0 is reserved; 4 snow, 5 water, 6 and 7 aerosol)."""
_ORBIT_S = 5934.0
"""Landsat's orbital period (98.9 minutes): scenes of one pass lie seconds apart, of two passes at least this far."""


@dataclass(frozen=True, slots=True)
class Hls(DatedSensor):
    """The source `hls`."""

    config: HlsSource

    @property
    def fill(self) -> tuple[float, ...]:
        """-9999 in every reflectance band."""
        return (_FILL,)

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002 - one dialect for all
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        name = _ID.match(item_id)
        if name is None:
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} does not have an HLS product's name (HLS.S30.T…)")
        half, tile, stamp, version = name.group(1), name.group(2), name.group(3), f"{name.group(4)}.{name.group(5)}"
        if name.group(4) != "2":
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} has version {version}; only 2.0 is supported")
        keys = _SHARED | _KEYS[half]
        bands, said = Bands(item), self.config.assets
        found = {band: bands.require(band, (keys[band],), said.get(band)) for band in self.modality.band_names}
        when, start, end = times(item)
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=str(item.get("collection") or self.config.collection),
            modality=self.modality.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=f"{half}|{stamp}" if half == "S30" else f"{half}|{_pass(when)}",
            product=f"{half}|{tile}|{stamp}",
            revision=f"{version}|{text(item, 'updated', 'created') or ''}",
            assets={band: asset.where for band, asset in found.items()},
            radiometry={band: _radiometry(band, asset) for band, asset in found.items()},
            cloud_cover=cloud_share(item),
            licence=licence(item, self.modality.licence),
            facts={
                "platform": (text(item, "platform") or half).casefold(),
                "half": half,
                "tile": tile,
                "version": version,
                "crs": f"EPSG:{found['red'].epsg}" if found["red"].epsg else None,
            },
        )

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of Fmask -> cloud, its surroundings, or shadow."""
        return np.asarray((layer.astype(np.uint8) & _CLOUDY) != 0)


def _pass(when: datetime) -> int:
    """Orbit number since 1970: rows of one path are seconds apart, and each tile states the time of its row."""
    return int(when.timestamp() // _ORBIT_S)


def _radiometry(band: str, asset: BandAsset) -> Radiometry:
    if band == "Fmask":
        return Radiometry(nodata=_FMASK_FILL, rule="bits as delivered")
    nodata = _FILL if asset.nodata is None else asset.nodata
    scale, offset = asset.scale, asset.offset or 0.0
    if scale is None:
        return Radiometry(nodata=nodata, rule="as delivered: scale 0.0001, the product's own, the item states none")
    if scale <= 0.0:
        raise ItemRefused(Reason.BAD_ITEM, f"{band} declares a scale of {scale:g}")
    gain, moved = round(scale / _SCALE, 9), round(offset / _SCALE, 6)
    rule = f"the item states scale {scale:g}, offset {offset:g}"
    rule = f"as delivered: {rule}" if (gain, moved) == (1.0, 0.0) else f"{rule}: brought to scale {_SCALE:g}"
    return Radiometry(gain=gain, offset_dn=moved, nodata=nodata, rule=rule)
