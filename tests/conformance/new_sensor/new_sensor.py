"""CBERS-4 WFI level 4 surface reflectance: four bands at 64 m, and CMASK. Source: INPE, Brazil Data Cube."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import cloud_share, geometry, identity, licence, text, times
from pipelines.sources.item_bands import Bands
from pipelines.sources.sensor import DatedSensor
from schemas.outcome import Reason
from schemas.scene import Radiometry, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.provider import AnyProvider
    from schemas.sensors import CbersSource

_ID = re.compile(r"CBERS_4_A?WFI_(\d{8})_(\d{3})_(\d{3})_L4")
_FILL, _MASK_FILL, _CLOUD = -9999.0, 0.0, 255


@dataclass(frozen=True, slots=True)
class Cbers(DatedSensor):
    """The source `cbers`."""

    config: CbersSource

    @property
    def fill(self) -> tuple[float, ...]:
        """-9999 in every reflectance band."""
        return (_FILL,)

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002 - one dialect for all
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        name = _ID.match(item_id)
        if name is None:
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} does not have the name of a CBERS-4 WFI L4 product")
        day, path, row = name.groups()
        bands, said = Bands(item), self.config.assets
        found = {band: bands.require(band, (band,), said.get(band)) for band in self.modality.band_names}
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
            acquisition=f"{day}|{path}",
            product=f"{day}|{path}|{row}",
            revision=text(item, "updated", "created") or "",
            assets={band: asset.where for band, asset in found.items()},
            radiometry={
                band: Radiometry(nodata=_MASK_FILL, rule="classes as delivered")
                if band == "CMASK"
                else Radiometry(nodata=_FILL, rule="as delivered: scale 0.0001, the product's own")
                for band in found
            },
            cloud_cover=cloud_share(item),
            licence=licence(item, self.modality.licence),
            facts={"platform": "cbers-4", "path": path, "row": row},
        )

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of CMASK -> cloud or its shadow."""
        return np.asarray(layer == _CLOUD)
