"""Which scenes could show a place: duplicates dropped, parts of one acquisition laid together, the best first.

From metadata alone, so that planning costs no pixel. The rank, smaller is better:
1. share of the chip that the footprints leave uncovered, in whole percent;
2. cloud over the scene (0..1) plus distance to the target date as a share of half the period (0..1): a clear scene at
   the far end of the period is worth as much as an overcast one on the day;
3. distance to the target date, days.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from shapely.geometry import box

from schemas.recipe import OpticalSource
from schemas.scene import Candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from schemas.place import Place
    from schemas.recipe import DatedSource, Window
    from schemas.scene import Scene

_SLACK = 0.05
"""Footprints are drawn roughly: a candidate may miss this much of what the recipe asks; the pixels decide."""
_COVERED = 0.9999
_WORTH = 0.001
"""Least share of the chip that a further scene must add."""
_SEGMENT_DEG = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """One date slot's part of a window."""

    start: datetime
    """First moment, UTC."""
    end: datetime
    """First moment after it."""
    target: datetime
    """The moment to be near to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What the recipe asks of a candidate."""

    max_candidates: int = 1
    min_valid: float = 0.0
    """Least share of the chip that footprints must cover, less a slack."""
    max_scene_cloud: float = 1.0
    """Most cloud over the scene; scenes that say nothing pass."""
    margin_m: float = 0.0
    """Ground around the chip that is wanted too, so that the kernel finds neighbours across tile seams."""
    all_parts: bool = False
    """True: every scene that touches the chip belongs to the candidate (static mosaics)."""


def period_of(window: Window, occurrence: int) -> Period:
    """The `occurrence`-th (0-based) of the window's `count` equal parts."""
    start = datetime(window.start.year, window.start.month, window.start.day, tzinfo=UTC)
    end = datetime(window.end.year, window.end.month, window.end.day, tzinfo=UTC) + timedelta(days=1)
    step = (end - start) / window.count
    first, last = start + occurrence * step, start + (occurrence + 1) * step
    target = first + step / 2
    if window.target is not None:
        wanted = datetime(window.target.year, window.target.month, window.target.day, 12, tzinfo=UTC)
        if first <= wanted < last:
            target = wanted
    return Period(start=first, end=last, target=target)


def newest(scenes: Sequence[Scene]) -> list[Scene]:
    """Of scenes that share a product the one with the greatest revision (then item id); sorted by item id."""
    best: dict[str, Scene] = {}
    for scene in sorted(scenes, key=lambda s: (s.revision, s.item_id)):
        best[scene.product] = scene
    return sorted(best.values(), key=lambda s: s.item_id)


def choose_dated(
    config: DatedSource, scenes: Sequence[Scene], place: Place, window: Window | None, occurrence: int
) -> list[Candidate]:
    """`choose` by what a dated source's entry in the recipe asks, for one of its window's slots."""
    rules = Rules(
        max_candidates=config.max_candidates,
        min_valid=config.min_valid,
        max_scene_cloud=config.max_scene_cloud if isinstance(config, OpticalSource) else 1.0,
    )
    return choose(scenes, place, None if window is None else period_of(window, occurrence), rules)


def choose(scenes: Sequence[Scene], place: Place, period: Period | None, rules: Rules) -> list[Candidate]:
    """Candidates for one place and period, best first, at most `rules.max_candidates`."""
    chip = box(*place.geobox.bounds).buffer(rules.margin_m, join_style="mitre")
    groups: dict[str, list[tuple[Scene, BaseGeometry]]] = {}
    for scene in sorted(scenes, key=lambda s: s.item_id):
        if period is not None and not period.start <= scene.datetime < period.end:
            continue
        if scene.cloud_cover is not None and scene.cloud_cover > rules.max_scene_cloud:
            continue
        part = _footprint(json.dumps(scene.geometry, sort_keys=True), place.geobox.epsg).intersection(chip)
        if part.area > 0.0:
            groups.setdefault(scene.acquisition, []).append((scene, part))
    found = []
    for acquisition in sorted(groups):
        chosen, covered = _cover(groups[acquisition], chip.area, place.geobox.epsg, rules.all_parts)
        if covered >= rules.min_valid - _SLACK:
            found.append(_candidate(chosen, covered, period))
    return sorted(found, key=lambda c: (c.rank, c.scenes))[: rules.max_candidates]


def _cover(
    parts: list[tuple[Scene, BaseGeometry]], area: float, epsg: int, everything: bool
) -> tuple[list[Scene], float]:
    """Few scenes of one acquisition that cover the chip, best first, and the share they cover."""
    wanted = f"EPSG:{epsg}"

    def key(item: tuple[Scene, BaseGeometry]) -> tuple[bool, bool, float, str]:
        share = item[1].area / area
        return (share < _COVERED, item[0].facts.get("crs") != wanted, -round(share, 6), item[0].item_id)

    waiting = sorted(parts, key=key)
    scene, union = waiting.pop(0)
    chosen = [scene]
    while waiting and (everything or union.area / area < _COVERED):
        gains = [(-round(union.union(p).area / area, 6), *key((s, p)), i) for i, (s, p) in enumerate(waiting)]
        best = min(gains)
        scene, part = waiting.pop(best[-1])
        if not everything and -best[0] - union.area / area < _WORTH:
            break
        chosen.append(scene)
        union = union.union(part)
    return chosen, union.area / area


def _candidate(scenes: Sequence[Scene], covered: float, period: Period | None) -> Candidate:
    cloud = max((s.cloud_cover or 0.0 for s in scenes), default=0.0)
    first = scenes[0]
    days = half = 0.0
    if period is not None:
        days = abs((first.datetime - period.target).total_seconds()) / 86_400
        half = (period.end - period.start).total_seconds() / 2 / 86_400
    rank = (round(1.0 - min(covered, 1.0), 2), round(cloud + (days / half if half else 0.0), 6), round(days, 6))
    return Candidate(scenes=tuple(s.item_id for s in scenes), datetime=first.datetime, rank=rank)


@lru_cache(maxsize=8192)
def _footprint(geojson: str, epsg: int) -> BaseGeometry:
    """A footprint in the chip's CRS, its edges bent as on the ground; empty where it cannot be brought there."""
    parts = shapely.get_parts(shapely.force_2d(shapely.from_geojson(geojson)))
    shape = shapely.union_all([_unrolled(part) for part in parts])
    shape = shapely.segmentize(shape, _SEGMENT_DEG)
    transformer = _transformer(epsg)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    try:
        flat = shapely.transform(shape, project)
        bounds = shapely.bounds(flat)
        if not np.isfinite(bounds).all():
            return shapely.Polygon()
        return flat if shapely.is_valid(flat) else shapely.make_valid(flat)
    except (pyproj.exceptions.ProjError, shapely.errors.GEOSException):
        return shapely.Polygon()


def _unrolled(polygon: BaseGeometry) -> BaseGeometry:
    """A polygon whose vertices jump across the 180th meridian, with longitudes that go on instead.

    An edge from -180 to 180 degrees is no jump: it runs along a parallel, or along the pole of an outline that holds
    one. An outline that goes round a pole without closing over it gets the pole's edge.
    """
    ring = shapely.get_exterior_ring(polygon)
    points = shapely.get_coordinates(ring)
    jumps = np.abs(np.diff(points[:, 0]))
    if len(points) < 4 or not ((jumps > 180.0) & (jumps < 359.99)).any():
        return polygon
    points[:, 0] = np.rad2deg(np.unwrap(np.deg2rad(points[:, 0])))
    if abs(points[-1, 0] - points[0, 0]) > 180.0:
        pole = math.copysign(90.0, points[:, 1].mean())
        points = np.concatenate([points, [[points[-1, 0], pole], [points[0, 0], pole]], points[:1]])
    return shapely.Polygon(points)


@lru_cache(maxsize=128)
def _transformer(epsg: int) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(4326, epsg, always_xy=True)
