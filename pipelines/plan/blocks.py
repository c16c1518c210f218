"""Group places into blocks of ground, so that an archive is searched once a block and not once a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampling.geobox import bbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.place import Place

BLOCK_DEG = 1.0
"""Edge of a block, degrees: about one Sentinel-2 tile, so that a search answers with little that nobody needs."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Places that are searched for together."""

    key: tuple[int, int]
    """(floor(lat), floor(lon)) in units of BLOCK_DEG."""
    places: tuple[Place, ...]
    """Sorted by sample id."""
    bboxes: tuple[tuple[float, float, float, float], ...]
    """(west, south, east, north) that hold all footprints; two where they cross the antimeridian."""


def blocks_of(places: Iterable[Place]) -> list[Block]:
    """Blocks in key order."""
    grouped: dict[tuple[int, int], list[Place]] = {}
    for place in places:
        key = (math.floor(place.lat / BLOCK_DEG), math.floor(place.lon / BLOCK_DEG))
        grouped.setdefault(key, []).append(place)
    return [
        Block(
            key=key,
            places=tuple(sorted(grouped[key], key=lambda p: p.sample_id)),
            bboxes=_union([box for place in grouped[key] for box in bbox(place.geobox)]),
        )
        for key in sorted(grouped)
    ]


def _union(boxes: list[tuple[float, float, float, float]]) -> tuple[tuple[float, float, float, float], ...]:
    """Hulls of boxes, east and west of the antimeridian apart when the boxes lie on both of its sides."""
    touches = any(b[0] <= -180.0 or b[2] >= 180.0 for b in boxes)
    sides = [[b for b in boxes if b[0] < 0.0], [b for b in boxes if b[0] >= 0.0]] if touches else [boxes]
    return tuple(
        (min(b[0] for b in side), min(b[1] for b in side), max(b[2] for b in side), max(b[3] for b in side))
        for side in sides
        if side
    )
