"""Spatial relations between objects of a sample, and of each to the footprint (DE-9IM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

RELATIONS = {
    "equals": "both cover the same points",
    "contains": "the subject contains the object",
    "crosses": "they share some inner points, and what they share has a lower dimension than the larger of them",
    "overlaps": "they have the same dimension and share some, but not all, of their inner points",
    "touches": "they share points of their edges alone",
}
"""Relation -> its meaning, as OGC Simple Features and shapely define it; of two objects at most one holds."""
Pair = tuple[int, int, str, str]
"""(subject, object, relation, DE-9IM of the subject to the object)."""


def relations_of(shapes: NDArray[np.object_], footprint: BaseGeometry) -> tuple[list[str], list[str], list[Pair]]:
    """Relations in a plane.

    Args:
        shapes: (n,) the objects.
        footprint: the sample.

    Returns:
        (n,) relation of each object to the footprint: 'within', 'equals', 'contains', 'crosses', 'overlaps', 'touches'
        or 'disjoint'; (n,) DE-9IM of that; and the pairs of objects that are related, by subject and object.
    """
    import shapely

    sound = _valid(shapes)
    shapely.prepare(sound)
    to_sample = _named(sound, np.full(len(sound), footprint, dtype=object))
    words = ["within" if name == "inside" else name or "disjoint" for name in to_sample]
    matrices = shapely.relate(sound, footprint).tolist() if len(sound) else []
    one, two = shapely.STRtree(sound).query(sound, predicate="intersects") if len(sound) else np.zeros((2, 0), int)
    kept = one < two
    one, two = one[kept], two[kept]
    names = _named(sound[one], sound[two])
    swap = np.array([name == "inside" for name in names], bool)
    subject, other = np.where(swap, two, one), np.where(swap, one, two)
    said: list[str] = shapely.relate(sound[subject], sound[other]).tolist() if len(subject) else []
    pairs = [
        (int(a), int(b), "contains" if name == "inside" else name, matrix)
        for a, b, name, matrix in zip(subject, other, names, said, strict=True)
        if name
    ]
    return words, [str(matrix) for matrix in matrices], sorted(pairs)


def _valid(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """The shapes; those that cross themselves are mended, since nobody can say what they touch."""
    import shapely

    found = np.asarray(shapes, dtype=object).copy()
    bad = np.flatnonzero(~shapely.is_valid(found))
    found[bad] = shapely.make_valid(found[bad])
    return found


def _named(one: NDArray[np.object_], two: NDArray[np.object_]) -> list[str]:
    """Relation of each shape to its partner; 'inside' where the partner contains it, '' where they are disjoint."""
    import shapely

    if not len(one):
        return []
    tests = [
        ("equals", shapely.equals(one, two)), ("contains", shapely.contains(one, two)),
        ("inside", shapely.within(one, two)), ("touches", shapely.touches(one, two)),
        ("crosses", shapely.crosses(one, two)), ("overlaps", shapely.overlaps(one, two)),
    ]  # fmt: skip
    return np.select([holds for _, holds in tests], [name for name, _ in tests], default="").tolist()  # type: ignore[no-any-return]
