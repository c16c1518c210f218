"""Any other class map from a STAC API, with a legend from the recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.access.errors import ItemRefused
from pipelines.access.stac import items
from pipelines.crosswalks import legend_of_choice
from pipelines.labels.labeller import BAND, RasterLabeller
from pipelines.labels.raster import gap_days, one_per_period
from schemas.crosswalk import MOST_CODE
from schemas.label import LabelClass, Legend
from schemas.label_source import RasterLabel
from schemas.outcome import Reason
from schemas.scene import AssetBand, Candidate, Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from schemas.place import Place
    from schemas.provider import AnyProvider


class CustomRaster(RasterLabeller[RasterLabel]):
    """A product that landweave does not know by name; its tiles are mosaicked."""

    @property
    def legend(self) -> Legend:
        """The recipe's legend. Where the codes' dtype cannot hold the raster's nodata, the first value that is no class
        stands for it."""
        if self.config.crosswalk is not None:
            return legend_of_choice(self.config.crosswalk)
        classes = sorted(self.config.classes, key=lambda c: c.code)
        most = 255 if classes[-1].code <= 255 and len(classes) < 256 else MOST_CODE
        free = next(code for code in range(MOST_CODE + 1) if code not in {c.code for c in classes})
        return Legend(
            product=self.config.product,
            nodata=self.config.nodata if 0 <= self.config.nodata <= most else free,
            source="the recipe",
            classes=tuple(LabelClass(code=c.code, name=c.name, colour=c.colour, common=c.common) for c in classes),
        )

    @property
    def raster_nodata(self) -> int | None:
        """The recipe's `nodata`; a crosswalk has its own."""
        return None if self.config.crosswalk is not None else self.config.nodata

    def scene(self, item: Mapping[str, Any], provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002
        """One map.

        Raises:
            ItemRefused: time, footprint or the asset is missing.
        """
        item_id, facts = items.identity(item), items.properties(item)
        start = items.moment(item, "start_datetime", "datetime")
        end = items.moment(item, "end_datetime", "datetime")
        if start is None or end is None:
            raise ItemRefused(
                Reason.BAD_ITEM, f"item {item_id}: has neither `datetime` nor `start_datetime` and `end_datetime`"
            )
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=self.config.collection,
            modality=self.name,
            datetime=start + (end - start) / 2,
            start=start,
            end=end,
            geometry=items.geometry(item),
            acquisition=f"{self.name}-{start:%Y%m%dT%H%M%S}",
            product=item_id,
            revision=str(facts.get("updated") or facts.get("created") or ""),
            assets={BAND: AssetBand(href=items.asset_href(item, self.config.asset))},
            radiometry={BAND: Radiometry(nodata=self._fill(item), rule="class codes as delivered")},
            licence=self.config.licence,
            facts={"product_version": str(facts.get("version") or self.config.version)},
        )

    def _fill(self, item: Mapping[str, Any]) -> float:
        """The recipe's nodata if it states one, else the item's; the file's own counts in any case."""
        if self.config.crosswalk is not None:
            return self.legend.nodata
        said = None if "nodata" in self.config.model_fields_set else items.nodata(item, self.config.asset)
        return self.config.nodata if said is None else said

    def candidates(self, scenes: Sequence[Scene], place: Place, reference_time: datetime | None) -> list[Candidate]:
        """One candidate per period with every map that touches the sample, nearest to the image first."""
        most = self.config.max_gap_days
        near = [s for s in scenes if most is None or (gap_days(s, reference_time) or 0) <= most]
        return one_per_period(near, place, reference_time)
