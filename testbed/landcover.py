"""True land cover of the miniature Earth: classes, fields and their mosaics, at 5 m on the plane."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from rasterio.features import rasterize, shapes
from scipy.ndimage import distance_transform_edt
from shapely.affinity import scale
from shapely.geometry import LineString, Polygon, box, shape

from testbed.fields import make_fields
from testbed.terrain import CELL_M, WHOLE, fractal
from testbed.towns import ROAD_WIDTH_M, Road

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from testbed.plane import Patch
    from testbed.settlements import Settlements
    from testbed.terrain import Terrain


FARMED = 0.8
"""Share of a parcel's ground that is ploughed or mown if the parcel is a field."""


class Cover(IntEnum):
    """Classes of the truth; 0 is never written."""

    WATER = 1
    BROADLEAF = 2
    NEEDLELEAF = 3
    SHRUB = 4
    MEADOW = 5
    CROPS = 6
    GARDEN = 7
    ROOF = 8
    ROAD = 9
    ROCK = 10
    WETLAND = 11
    SNOW = 12
    BARE_SOIL = 13


COMMON: dict[Cover, str] = {
    Cover.WATER: "water",
    Cover.BROADLEAF: "trees",
    Cover.NEEDLELEAF: "trees",
    Cover.SHRUB: "shrub",
    Cover.MEADOW: "grass",
    Cover.CROPS: "crops",
    Cover.GARDEN: "grass",
    Cover.ROOF: "built",
    Cover.ROAD: "built",
    Cover.ROCK: "bare",
    Cover.WETLAND: "wetland",
    Cover.SNOW: "snow and ice",
    Cover.BARE_SOIL: "bare",
}
"""Class of the truth -> name in schemas.label.COMMON_CLASSES."""


@dataclass(frozen=True, kw_only=True)
class LandCover:
    """The truth on one patch."""

    patch: Patch
    """5 m grid."""
    cover: NDArray[np.uint8]
    """(y, x), codes of `Cover`."""
    variety: NDArray[np.uint8]
    """(y, x), 0..255: one number a field (its crop and vigour), a slowly varying one elsewhere."""
    fields: tuple[tuple[Polygon, bool], ...]
    """Parcels that are farmed on four fifths of their ground at least, and whether most of that is ploughed (else
    meadow). Forest, water or rock covers the others."""
    forests: tuple[Polygon, ...]
    """Forests larger than 1 ha."""
    lakes: tuple[Polygon, ...]
    rivers: tuple[tuple[LineString, BaseGeometry, float], ...]
    """Centre line, water surface, mean width in metres."""
    tracks: tuple[Road, ...]
    """Field roads."""


def _smooth(values: NDArray[np.float32], patch: Patch) -> NDArray[np.float32]:
    """A field on `WHOLE` at every pixel of a patch: linear, as an outer product."""
    xs, ys = patch.centres()
    col, row = (xs - WHOLE.x_min) / CELL_M - 0.5, (WHOLE.y_max - ys) / CELL_M - 0.5
    j, i = (np.clip(np.floor(v).astype(int), 0, n - 2) for v, n in ((col, WHOLE.width), (row, WHOLE.height)))
    fj, fi = (col - j).astype(np.float32), (row - i).astype(np.float32)[:, None]
    part = values[i.min() : i.max() + 2].astype(np.float32)
    across = part[:, j] * (1 - fj) + part[:, j + 1] * fj
    top = i - i.min()
    return np.asarray(across[top] * (1 - fi) + across[top + 1] * fi, dtype=np.float32)


def _burn(geometries: list[tuple[object, int]], patch: Patch, into: NDArray[Any] | None = None) -> NDArray[Any]:
    """Rasterise shapes with values (pixel centres), onto zeros or `into`."""
    if not geometries:
        return np.zeros(patch.shape, dtype=np.uint8) if into is None else into
    out = np.zeros(patch.shape, dtype=np.uint8) if into is None else into
    rasterize(geometries, out=out, transform=patch.transform)
    return out


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """Fields that decide what grows where, on the patch at 10 m."""

    elevation: NDArray[np.float32]
    slope: NDArray[np.float32]
    forest: NDArray[np.float32]
    needle: NDArray[np.float32]
    wild: NDArray[np.float32]
    vigour: NDArray[np.float32]
    valley: NDArray[np.float32]
    town: NDArray[np.float32]


def _ground(rng: np.random.Generator, terrain: Terrain, settlements: Settlements, patch: Patch) -> _Ground:
    gy, gx = np.gradient(terrain.elevation_m, CELL_M)
    slope = np.hypot(gx, gy).astype(np.float32)
    towns = _burn_whole(settlements)
    forest = 0.75 * fractal(rng, WHOLE.shape, CELL_M, 3_000.0, 3.4) + 3.4 * (slope - 0.12)
    far = np.clip((distance_transform_edt(~towns, sampling=CELL_M) - 120.0) / 400.0, -1.5, 0.6).astype(np.float32)
    wide = [
        terrain.elevation_m,
        slope,
        (forest + far).astype(np.float32),
        fractal(rng, WHOLE.shape, CELL_M, 3_000.0, 3.6),
        fractal(rng, WHOLE.shape, CELL_M, 1_100.0, 3.2),
        fractal(rng, WHOLE.shape, CELL_M, 3_500.0, 4.2),
        terrain.valley_m,
        towns.astype(np.float32),
    ]
    elevation, slope, forest, needle, wild, vigour, valley, town = (_smooth(w, patch) for w in wide)
    rough = np.tile(fractal(rng, (512, 512), 10.0, 160.0, 2.6), (patch.height // 512 + 1, patch.width // 512 + 1))
    rough = rough[: patch.height, : patch.width]
    return _Ground(
        elevation=elevation + 10 * rough,
        slope=slope,
        forest=forest + 0.05 * rough,
        needle=needle,
        wild=wild + 0.08 * rough,
        vigour=vigour,
        valley=valley,
        town=town,
    )


def _burn_whole(settlements: Settlements) -> NDArray[np.bool_]:
    return _burn([(t.outline, 1) for t in settlements.towns], WHOLE) > 0


def _natural(ground: _Ground, parcel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cover before water and people's stone (y, x): 1 in `parcel` is ploughed, 2 meadow."""
    high, slope = ground.elevation, ground.slope
    cover = np.where(parcel == 1, Cover.CROPS, Cover.MEADOW).astype(np.uint8)
    cover[(parcel == 1) & ((high > 640.0) | (slope > 0.19))] = Cover.MEADOW
    cover[(parcel == 0) & (ground.wild > 1.1)] = Cover.SHRUB
    wood = (ground.forest > 0.62) & (high < 1_360.0)
    needle = 0.0035 * (high - 620.0) + 0.8 * ground.needle > 0.25
    cover[wood] = np.where(needle, Cover.NEEDLELEAF, Cover.BROADLEAF)[wood]
    cover[~wood & (high > 800.0) & (ground.wild > 0.75)] = Cover.SHRUB
    cover[(high > 1_280.0) & (ground.wild > 0.1) & ~wood] = Cover.SHRUB
    cover[high > 1_400.0] = np.where(ground.wild > 0.7, Cover.SHRUB, Cover.MEADOW)[high > 1_400.0]
    cover[(high + 90.0 * ground.wild > 1_560.0) | (slope > 1.05)] = Cover.ROCK
    cover[(high + 60.0 * ground.wild > 2_060.0) & (slope < 0.7)] = Cover.SNOW
    marsh = (ground.valley < 260.0) & (ground.wild > 0.95) & (slope < 0.05) & (high < 620.0)
    cover[marsh & ~wood] = Cover.WETLAND
    return cover


def _water(terrain: Terrain, patch: Patch) -> tuple[list[tuple[LineString, BaseGeometry, float]], list[Polygon]]:
    window = box(*patch.bounds).buffer(400.0)
    rivers = []
    for river in terrain.rivers:
        line = LineString(river.xy)
        if not line.intersects(window):
            continue
        pieces = [
            LineString(river.xy[a : a + 9]).buffer(max(float(river.width_m[a : a + 9].mean()), 3.0) / 2)
            for a in range(0, len(river.xy) - 1, 8)
        ]
        rivers.append((line, shapely.union_all(pieces), float(river.width_m.mean())))
    found = shapes(terrain.lakes.astype(np.uint8), mask=terrain.lakes, transform=WHOLE.transform)
    lakes = [shape(g).buffer(90.0).buffer(-150.0).buffer(75.0).simplify(4.0) for g, _ in found]
    return rivers, [
        x for lake in lakes for x in getattr(lake, "geoms", [lake]) if x.area > 10_000 and x.intersects(window)
    ]


def _polygons(mask: NDArray[np.bool_], patch: Patch, factor: int = 2) -> tuple[Polygon, ...]:
    """Outlines of a mask at `factor` times its pixels, larger than 1 ha, simplified."""
    coarse = patch.coarser(factor)
    part = mask[: mask.shape[0] // factor * factor, : mask.shape[1] // factor * factor]
    part = part.reshape(part.shape[0] // factor, factor, -1, factor).mean(axis=(1, 3)) > 0.5
    found = (shape(g) for g, _ in shapes(part.astype(np.uint8), mask=part, transform=coarse.transform))
    simple = (g.simplify(12.0) for g in found if g.area > 10_000)
    return tuple(p for p in simple if isinstance(p, Polygon) and p.is_valid)


def _soft(
    ground: _Ground,
    parcels: list[tuple[Polygon, int, bool]],
    settlements: Settlements,
    rivers: list[tuple[LineString, BaseGeometry, float]],
    patch: Patch,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cover and variety of all that has no sharp edge: nature, fields, banks, gardens and squares (y, x)."""
    number = _burn([(p, i) for i, (p, _, _) in enumerate(parcels, 1)], patch, np.zeros(patch.shape, dtype=np.uint16))
    use = np.array([0, *(1 if ploughed else 2 for _, _, ploughed in parcels)], dtype=np.uint8)[number]
    lot = np.array([0, *(v for _, v, _ in parcels)], dtype=np.uint8)[number]
    cover = _natural(ground, use)
    slow = np.clip(128 + 48 * np.rint(1.1 * ground.vigour), 0, 255).astype(np.uint8)
    farmed = (cover == Cover.CROPS) | ((cover == Cover.MEADOW) & (use > 0))
    banks = _burn([(w.buffer(14.0), 1) for _, w, wide in rivers if wide > 7.0], patch) > 0
    cover[banks & (ground.wild > -0.3) & (ground.town < 0.5)] = Cover.BROADLEAF
    garden = _burn([(t.outline, 1) for t in settlements.towns], patch) > 0
    cover[garden] = np.where(ground.wild > 1.05, Cover.BROADLEAF, Cover.GARDEN)[garden]
    centre = _burn([(scale(t.outline, 0.5, 0.5), 1) for t in settlements.towns], patch) > 0
    cover[centre & (np.mod(ground.wild * 3.0, 1.0) < 0.6)] = Cover.ROAD
    return cover, np.where(farmed, lot, slow).astype(np.uint8)


def _farmed(parcels: list[Polygon], cover: NDArray[np.uint8], patch: Patch) -> tuple[tuple[Polygon, bool], ...]:
    """See `LandCover.fields`."""
    number = _burn([(p, i) for i, p in enumerate(parcels, 1)], patch, np.zeros(patch.shape, dtype=np.uint16))
    counts = [
        np.bincount(number[mask], minlength=len(parcels) + 1)[1:]
        for mask in (cover > 0, cover == Cover.CROPS, cover == Cover.MEADOW)
    ]
    whole, ploughed, meadow = counts
    fields = np.flatnonzero((ploughed + meadow >= FARMED * whole) & (whole > 0))
    return tuple((parcels[i], bool(ploughed[i] > meadow[i])) for i in fields)


def make_landcover(rng: np.random.Generator, terrain: Terrain, settlements: Settlements, patch: Patch) -> LandCover:
    """The truth on a patch: nature by ground and chance, fields, then roads, houses and water on top."""
    window = box(*patch.bounds).buffer(200.0)
    parcels, tracks = make_fields(rng, patch)
    rivers, lakes = _water(terrain, patch)
    coarse = patch.coarser(2)
    soft, variety = _soft(_ground(rng, terrain, settlements, coarse), parcels, settlements, rivers, coarse)
    forests = _polygons((soft == Cover.BROADLEAF) | (soft == Cover.NEEDLELEAF), coarse)
    cover, variety = (a.repeat(2, axis=0).repeat(2, axis=1)[: patch.height, : patch.width] for a in (soft, variety))
    dry_tracks = [t for t in tracks if not any(t.line.intersects(x.outline) for x in settlements.towns)]
    _burn([(t.line.buffer(ROAD_WIDTH_M["track"] / 2 + 1.0), int(Cover.BARE_SOIL)) for t in dry_tracks], patch, cover)
    wet: list[tuple[object, int]] = [(w, int(Cover.WATER)) for _, w, wide in rivers if wide > 4.5]
    _burn([*wet, *((lake, int(Cover.WATER)) for lake in lakes)], patch, cover)
    near = [r for r in settlements.roads if r.line.intersects(window)]
    _burn([(r.line.buffer(ROAD_WIDTH_M[r.kind] / 2), int(Cover.ROAD)) for r in near], patch, cover)
    _burn([(b, int(Cover.ROOF)) for b in settlements.buildings.tolist()], patch, cover)
    return LandCover(
        patch=patch,
        cover=cover,
        variety=variety,
        fields=_farmed([p for p, _, _ in parcels], cover, patch),
        forests=forests,
        lakes=tuple(lakes),
        rivers=tuple(rivers),
        tracks=tuple(dry_tracks),
    )
