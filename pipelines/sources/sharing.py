"""Scene sharing: among candidates about as good as the best, prefers scenes that serve many places.

Choosing scenes for the samples of a shard is a covering problem (set cover, solved greedily): a scene that is already
open costs no header, and internal tiles that two chips touch are fetched once. The recipe limits the loss of a place.
The choice uses only metadata, while planning: otherwise it would depend on whether the neighbours' pixels were
readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from schemas.scene import Candidate

K = TypeVar("K", bound="Hashable")

_ROUNDING = 1e-9
"""Numbers that differ by less than this are equal: they are rounded decimals."""
_BOUNDED = 2
"""Numbers of a rank that the tolerance bounds; the third, days, is part of the second."""


def cover(candidates: Mapping[K, Sequence[Candidate]], tolerance: float) -> dict[K, tuple[Candidate, ...]]:
    """The candidates of many places, reordered so that neighbours agree.

    Args:
        candidates: Place (of one shard, one layer, one date slot) -> its candidates, best first.
        tolerance: How much worse the chosen candidate may be than the place's best one, in each of the first two
            numbers of `Candidate.rank`: share of the chip that footprints leave uncovered; cloud over the scene plus
            distance to the target date as a share of half the period. 0.1 is a tenth of the chip, of the sky or of the
            half period. 0 chooses among equals alone.

    Returns:
        The same places with the same candidates: the chosen one first, the others in their order. The first ones
        together never name more scenes than before. The same for any order of the places.
    """
    usable = {
        key: [c for c in listed if _near(c, listed[0], tolerance)] for key, listed in candidates.items() if listed
    }
    chosen = _greedy(usable)
    before = {scene for listed in usable.values() for scene in listed[0].scenes}
    if len({scene for scenes in chosen.values() for scene in scenes}) > len(before):
        return {key: tuple(listed) for key, listed in candidates.items()}
    return {
        key: tuple(sorted(listed, key=lambda c, k=key: c.scenes != chosen[k]))  # type: ignore[misc]
        for key, listed in candidates.items()
    }


def _near(candidate: Candidate, best: Candidate, tolerance: float) -> bool:
    pairs = zip(candidate.rank[:_BOUNDED], best.rank[:_BOUNDED], strict=True)
    return all(found <= least + tolerance + _ROUNDING for found, least in pairs)


def _greedy(usable: Mapping[K, Sequence[Candidate]]) -> dict[K, tuple[str, ...]]:
    """Key -> item ids: again and again the candidate that serves most open keys for each scene not yet taken."""
    serves: dict[tuple[str, ...], dict[K, float]] = {}
    for key, listed in usable.items():
        for candidate in listed:
            serves.setdefault(candidate.scenes, {})[key] = sum(candidate.rank[:_BOUNDED])
    taken: set[str] = set()
    found: dict[K, tuple[str, ...]] = {}
    while len(found) < len(usable):
        best = min(serves, key=_price(serves, taken))
        served = serves.pop(best)
        found.update(dict.fromkeys(served, best))
        taken.update(best)
        for keys in serves.values():
            for key in served.keys() & keys.keys():
                del keys[key]
        serves = {scenes: keys for scenes, keys in serves.items() if keys}
    return found


def _price(
    serves: Mapping[tuple[str, ...], Mapping[K, float]], taken: set[str]
) -> Callable[[tuple[str, ...]], tuple[float, int, float, tuple[str, ...]]]:
    """Sort key: new scenes for each key served, then keys served, then what they lose on average, then item ids."""

    def price(scenes: tuple[str, ...]) -> tuple[float, int, float, tuple[str, ...]]:
        losses = serves[scenes].values()
        fresh = sum(scene not in taken for scene in scenes)
        return (fresh / len(losses), -len(losses), round(sum(sorted(losses)) / len(losses), 9), scenes)

    return price
