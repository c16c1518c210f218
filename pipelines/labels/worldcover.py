"""ESA WorldCover: 10 m land cover of 2020 (v100) and 2021 (v200) in tiles of 3 by 3 degrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.access.errors import ItemRefused
from pipelines.access.stac import items
from pipelines.crosswalks import open_shipped
from pipelines.labels.labeller import BAND, RasterLabeller
from pipelines.labels.raster import one_per_period
from schemas.label_source import WorldCoverLabel
from schemas.outcome import Reason
from schemas.scene import AssetBand, Candidate, Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from schemas.place import Place
    from schemas.provider import AnyProvider

LEGEND = open_shipped("worldcover@1").legend
"""Codes, names and colours as the product's own items state them."""

_YEARS = {"v100": 2020, "v200": 2021}
"""Product version -> the year it maps. They are different algorithms, not one series (WorldCover PUM v2.0)."""

_LICENCE = "CC-BY-4.0"
"""Terms of use of WorldCover, both versions."""


class WorldCover(RasterLabeller[WorldCoverLabel]):
    """WorldCover with the recipe's settings; its tiles are mosaicked."""

    product = LEGEND

    def scene(self, item: Mapping[str, Any], provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002
        """One tile of one year.

        Raises:
            ItemRefused: version, period, footprint or map is missing, or version and year contradict one another.
        """
        item_id, facts = items.identity(item), items.properties(item)
        version = _version(item_id, facts.get("esa_worldcover:product_version"))
        start, end = items.moment(item, "start_datetime"), items.moment(item, "end_datetime")
        if start is None or end is None:
            raise ItemRefused(
                Reason.BAD_ITEM,
                f"item {item_id}: `start_datetime` or `end_datetime` is missing; a WorldCover map covers a period",
            )
        if _YEARS[version] != start.year:
            raise ItemRefused(
                Reason.BAD_ITEM, f"item {item_id}: {version} maps {_YEARS[version]}, the item says {start.year}"
            )
        tile = facts.get("esa_worldcover:product_tile") or item_id
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=self.config.collection,
            modality=self.name,
            datetime=start + (end - start) / 2,
            start=start,
            end=end,
            geometry=items.geometry(item),
            acquisition=f"worldcover-{start.year}",
            product=f"worldcover-{start.year}-{tile}",
            revision=f"{version} {facts.get('updated') or facts.get('created') or ''}".strip(),
            assets={BAND: AssetBand(href=items.asset_href(item, "map"))},
            radiometry={BAND: Radiometry(nodata=LEGEND.nodata, rule="class codes as delivered")},
            licence=_LICENCE,
            facts={"product_version": version, "tile": str(tile), "crs": items.crs(item, "map")},
        )

    def candidates(self, scenes: Sequence[Scene], place: Place, reference_time: datetime | None) -> list[Candidate]:
        """One candidate per year with every tile that touches the sample: the recipe's year, else the nearest first."""
        wanted = [s for s in scenes if self.config.year in (None, s.start.year)]
        return one_per_period(wanted, place, reference_time)


def _version(item_id: str, said: object) -> str:
    """'2.0.0' (as items say) or 'v200' -> 'v200'."""
    version = f"v{str(said).removeprefix('v').replace('.', '')}"
    if version not in _YEARS:
        raise ItemRefused(
            Reason.BAD_ITEM,
            f"item {item_id}: `esa_worldcover:product_version` is {said!r}, known are 1.0.0 (v100) and 2.0.0 (v200)",
        )
    return version
