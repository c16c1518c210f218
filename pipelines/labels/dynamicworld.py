"""Dynamic World V1: 10 m land cover of single Sentinel-2 scenes: the map nearest in time, or a composite.

A composite (`composite: mode` or `probability`) is made of all maps within `max_gap_days` of the image, named one by
one in the plan and reduced to one map where they lie; the label says how many they were and from when to when.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.access.chips import Reduce
from pipelines.access.errors import ItemRefused
from pipelines.access.stac import items
from pipelines.crosswalks import open_shipped
from pipelines.labels.footprint import covered_share
from pipelines.labels.labeller import BAND, RasterLabeller
from pipelines.labels.raster import gap_days
from schemas.label_source import DynamicWorldLabel
from schemas.outcome import Reason
from schemas.scene import AssetBand, Candidate, Radiometry, Scene, newest_revisions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from schemas.place import Place
    from schemas.provider import AnyProvider

LEGEND = open_shipped("dynamicworld@1").legend
"""Codes and colours of the Earth Engine catalogue's page."""

_LICENCE = "CC-BY-4.0"
_DATATAKE = re.compile(r"^(\d{8}T\d{6})_")
"""Items are named like the Sentinel-2 scene that they label: <sensing time>_<generation time>_T<tile>."""
_COVERS = 0.95
"""A map that covers at least this share of the sample counts as covering it: then nearness in time decides."""
_ASSETS = ("label", "map", "data")
"""Names that archives give the raster of class codes, the first that is there."""
_MOST = 4
"""Candidates returned."""


class DynamicWorld(RasterLabeller[DynamicWorldLabel]):
    """Dynamic World with the recipe's settings."""

    product = LEGEND

    @property
    def reduce(self) -> Reduce | None:
        """Composite of several days, as the recipe states; None = a single map."""
        if self.config.composite == "nearest":
            return None
        return Reduce(how=self.config.composite, least=self.config.min_probability)

    def scene(self, item: Mapping[str, Any], provider_name: str, provider: AnyProvider) -> Scene:  # noqa: ARG002
        """The map of one Sentinel-2 scene.

        Raises:
            ItemRefused: the item lacks its time, footprint or map.
        """
        item_id, facts = items.identity(item), items.properties(item)
        when = items.moment(item, "datetime", "start_datetime")
        if when is None:
            raise ItemRefused(
                Reason.BAD_ITEM, f"item {item_id}: `datetime` is missing; Dynamic World labels one Sentinel-2 scene"
            )
        datatake = _DATATAKE.match(item_id)
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=self.config.collection,
            modality=self.name,
            datetime=when,
            start=when,
            end=when,
            geometry=items.geometry(item),
            acquisition=f"dynamicworld-{datatake.group(1) if datatake else when.isoformat()}",
            product=f"dynamicworld-{item_id}",
            revision=str(facts.get("updated") or facts.get("created") or ""),
            assets={BAND: AssetBand(href=items.asset_href(item, *_ASSETS))},
            radiometry={BAND: Radiometry(nodata=LEGEND.nodata, rule="class codes as delivered")},
            licence=_LICENCE,
            facts={"product_version": "v1", "crs": items.crs(item, *_ASSETS)},
        )

    def candidates(self, scenes: Sequence[Scene], place: Place, reference_time: datetime | None) -> list[Candidate]:
        """One candidate per Sentinel-2 datatake within `max_gap_days`: those that cover the sample first, then nearest.

        Without a dated image the newest map is the nearest. A composite is one candidate of all of them.
        """
        takes: dict[str, list[tuple[float, Scene]]] = {}
        for scene in newest_revisions(scenes):
            gap = gap_days(scene, reference_time)
            if gap is not None and gap > self.config.max_gap_days:
                continue
            share = covered_share(scene.geometry, place.geobox)
            if share > 0:
                takes.setdefault(scene.acquisition, []).append((share, scene))
        if self.reduce is not None:
            return _all_of(takes)
        found = []
        for tiles in takes.values():
            tiles.sort(key=lambda pair: (-pair[0], pair[1].item_id))
            share, first = tiles[0]
            missing = 0.0 if share >= _COVERS else round(1.0 - min(1.0, sum(s for s, _ in tiles)), 2)
            away_s = (
                -first.datetime.timestamp()
                if reference_time is None
                else abs((first.datetime - reference_time).total_seconds())
            )
            found.append(
                Candidate(
                    scenes=tuple(scene.item_id for _, scene in tiles),
                    datetime=first.datetime,
                    rank=(missing, away_s),
                )
            )
        return sorted(found, key=lambda candidate: (candidate.rank, candidate.scenes))[:_MOST]

    def described_by(self, scenes: Sequence[Scene]) -> Scene:
        """The map itself; of a composite, the days from its first map to its last."""
        return scenes[0] if self.reduce is None else _period_of(scenes[0], scenes, self.config)


def _all_of(takes: Mapping[str, Sequence[tuple[float, Scene]]]) -> list[Candidate]:
    """One candidate of all overpasses, in order of time; within one the map that covers most comes first."""
    ordered = [
        scene for key in sorted(takes) for _, scene in sorted(takes[key], key=lambda pair: (-pair[0], pair[1].item_id))
    ]
    if not ordered:
        return []
    return [Candidate(scenes=tuple(s.item_id for s in ordered), datetime=ordered[0].datetime, rank=(0.0,))]


def _period_of(first: Scene, maps: Sequence[Scene], config: DynamicWorldLabel) -> Scene:
    """A scene that represents a composite: its period, and a version that describes its inputs."""
    start, end = min(s.start for s in maps), max(s.end for s in maps)
    days = len({s.acquisition for s in maps})
    version = f"{first.facts['product_version']} {config.composite} of {days} days {start:%Y-%m-%d}..{end:%Y-%m-%d}"
    if config.min_probability > 0.0:
        version += f", probability >= {config.min_probability:g}"
    return replace(first, start=start, end=end, facts={**first.facts, "product_version": version})
