"""Splits after every rule of the recipe: blocks, random, stripes, rings, folds, a column of the file, years."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sampling import majortom
from sampling.chance import Purpose, ranks
from sampling.errors import SamplingError
from sampling.sphere import SEMI_MAJOR_M
from sampling.splits import SPLITS, Assignment, assign, blocks_of, groups_shared, keeping
from sampling.strata import check_sizes, note_on, shares_held
from schemas.splits import (
    AttributeSplits,
    ConcentricSplits,
    FoldSplits,
    RandomSplits,
    Splits,
    StripeSplits,
    YearSplits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from sampling.candidates import Candidates
    from sampling.geobox import Footprints
    from sampling.strata import Strata
    from schemas.splits import AnySplits, SplitsOfFile
    from schemas.strata import StratumBy

_YEAR = re.compile(r"([0-9]{4})(?:$|[-/T ].*)")
_SHOWN = 40


def divide(
    chosen: Candidates,
    splits: AnySplits,
    seed: int,
    said: NDArray[np.int8] | None = None,
    strata: Strata | None = None,
) -> Assignment:
    """The split of every candidate, and which of them keep the buffer.

    Args:
        chosen: in the order of their draw.
        splits: the recipe's section.
        seed: the recipe's seed.
        said: (n,) place in SPLITS that the points file states, where the recipe takes the splits from it.
        strata: of the candidates, where shares are to hold within each.

    Raises:
        SamplingError: a stratum has fewer samples than it is divided into.
    """
    footprints, fold = chosen.footprints, None
    if strata is not None:
        check_sizes("splits.stratify", strata, len(shares_of(splits)[0]))
    match splits:
        case Splits():
            return assign(footprints, splits, seed, strata)
        case RandomSplits():
            rank = ranks(seed, Purpose.SPLITS, chosen.key[:, 0], chosen.key[:, 1])
            split = _in_order(rank, _shares(splits)) if strata is None else (
                shares_held(strata.code, rank, _shares(splits)).astype(np.int8)
            )  # fmt: skip
        case StripeSplits():
            split = _stripes(footprints, splits, seed, strata)
        case ConcentricSplits():
            split = _rings(footprints, splits)
        case FoldSplits():
            fold = _folds(footprints, splits, seed, strata)
            split = np.zeros(len(fold), dtype=np.int8)
            split[np.isin(fold, splits.val)], split[np.isin(fold, splits.test)] = 1, 2
        case AttributeSplits() | YearSplits():
            assert said is not None  # noqa: S101 - read with the file
            split = said
    kept = np.ones(len(split), dtype=bool)
    if splits.buffer_m is not None:
        held = np.bincount(split, minlength=len(SPLITS)) / max(1, len(split))
        kept = keeping(footprints, split, held, splits.buffer_m)
    blocks = len(np.unique(blocks_of(footprints, splits.block_m)))
    return Assignment(split=split, blocks=blocks, kept=kept, fold=fold, strata=strata)


def splits_strata(splits: AnySplits) -> tuple[StratumBy, ...]:
    """What the strata are named by within which shares are to hold; () where there are none."""
    return splits.stratify if isinstance(splits, Splits | RandomSplits | StripeSplits | FoldSplits) else ()


def shares_of(splits: AnySplits) -> tuple[list[str], NDArray[np.float64]]:
    """Names and shares of the parts that samples are divided into: the splits that have a share, or the folds."""
    if isinstance(splits, FoldSplits):
        return [f"fold {n}" for n in range(splits.folds)], np.full(splits.folds, 1.0 / splits.folds)
    asked = {name: splits.asked(name) or 0.0 for name in SPLITS}
    return [name for name in SPLITS if asked[name]], np.array([share for share in asked.values() if share])


def note_on_strata(splits: AnySplits, assignment: Assignment, index: NDArray[np.int64]) -> tuple[str, ...]:
    """How near the strata of the samples number `index` came to their shares."""
    if assignment.strata is None:
        return ()
    names, shares = shares_of(splits)
    part = assignment.fold
    if part is None:
        part = np.searchsorted([SPLITS.index(name) for name in SPLITS if name in names], assignment.split)
    part = part[index]
    return (note_on("splits.stratify", assignment.strata.take(index), part, shares, names),)


def split_reader(splits: SplitsOfFile, name: str) -> Callable[[Any, str], int]:
    """Function (value, where it stands) -> place in SPLITS.

    Raises (the function):
        SamplingError: the value belongs to no split, or is no date.
    """
    named = {w: code for code, split in enumerate(SPLITS) for w in getattr(splits, split)}
    rest = 0 if isinstance(splits, YearSplits) and not splits.train else None

    def read(value: Any, where: str) -> int:
        key = year_of(value) if isinstance(splits, YearSplits) else _word(value)
        found = named.get(key) if key is not None else None
        if found is None and key is not None:
            found = rest
        if found is None:
            shown = ascii(value)[:_SHOWN]
            wanted = "a date or a year" if isinstance(splits, YearSplits) and key is None else "a value of some split"
            raise SamplingError(
                f"{name!r}, {where}: {splits.column} is {shown}, expected {wanted}: "
                f"splits name {', '.join(map(str, named))}"
            )
        return found

    return read


def year_of(value: Any) -> int | None:
    """Year of a date, of its text (2023-07-01), or of a number; None if it is none of these."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value) if float(value).is_integer() and 1 <= value <= 9999 else None
    if isinstance(value, str):
        found = _YEAR.fullmatch(value.strip())
        return None if found is None else int(found[1])
    year = getattr(value, "year", None)
    return year if isinstance(year, int) else None


def _word(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _shares(splits: RandomSplits | StripeSplits | ConcentricSplits) -> NDArray[np.float64]:
    return np.array([getattr(splits, name) for name in SPLITS], dtype=np.float64)


def _in_order(rank: NDArray[np.uint64], shares: NDArray[np.float64]) -> NDArray[np.int8]:
    """The samples of lowest rank are train, the next val, the rest test: shares hold to one sample."""
    ends = np.rint(np.cumsum(shares) * len(rank)).astype(np.int64)
    split = np.empty(len(rank), dtype=np.int8)
    turn = np.arange(len(rank))
    split[np.argsort(rank, kind="stable")] = np.searchsorted(ends, turn, side="right").clip(0, 2)
    return split


def _stripes(footprints: Footprints, splits: StripeSplits, seed: int, strata: Strata | None) -> NDArray[np.int8]:
    """Stripes of a plane whose scale is right at the middle latitude of the samples."""
    lat = np.radians(footprints.lat)
    middle = (lat.min() + lat.max()) / 2.0
    lon = np.radians(np.mod(footprints.lon - _west_of(footprints.lon), 360.0))
    x, y = SEMI_MAJOR_M * lon * math.cos(middle), SEMI_MAJOR_M * lat
    turn = math.radians(splits.angle)
    stripe = np.floor((x * math.cos(turn) - y * math.sin(turn)) / splits.width_m).astype(np.int64)
    return _by_groups(stripe, _shares(splits), seed, strata).astype(np.int8)


def _west_of(lon: NDArray[np.float64]) -> float:
    """The longitude east of the largest gap: samples on both sides of 180 degrees stay together."""
    there = np.unique(lon)
    gaps = np.diff(there, append=there[0] + 360.0)
    return float(there[(int(np.argmax(gaps)) + 1) % len(there)])


def _by_groups(
    group: NDArray[np.int64], shares: NDArray[np.float64], seed: int, strata: Strata | None
) -> NDArray[np.int64]:
    """(n,) number of a share: whole groups of samples, so that each number gets about its share."""
    codes, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = ranks(seed, Purpose.BLOCKS, codes >> 32, codes & 0xFFFFFFFF)
    return groups_shared(member.ravel(), counts, order, shares, strata)[member.ravel()]


def _rings(footprints: Footprints, splits: ConcentricSplits) -> NDArray[np.int8]:
    """Test in the middle square of each block, val in the ring around it, train outside: shares of the area."""
    row, column = majortom.cells_of(footprints.lon, footprints.lat, splits.tile_m)
    lon, lat = majortom.centres(row, column, splits.tile_m)
    north = np.radians(footprints.lat - lat) * SEMI_MAJOR_M
    away = np.mod(footprints.lon - lon + 180.0, 360.0) - 180.0
    east = np.radians(away) * SEMI_MAJOR_M * np.cos(np.radians(lat))
    inside = (np.maximum(np.abs(east), np.abs(north)) / (splits.tile_m / 2.0)) ** 2
    return np.where(inside < splits.test, 2, np.where(inside < splits.test + splits.val, 1, 0)).astype(np.int8)


def _folds(footprints: Footprints, splits: FoldSplits, seed: int, strata: Strata | None) -> NDArray[np.int64]:
    """(n,) fold of each footprint: whole blocks, folds of about the same size."""
    return _by_groups(blocks_of(footprints, splits.block_m), shares_of(splits)[1], seed, strata)


def said_by(splits: SplitsOfFile, name: str, values: Sequence[Any], where: Sequence[str]) -> NDArray[np.int8]:
    """(n,) place in SPLITS of every row of a points file."""
    read = split_reader(splits, name)
    return np.array([read(v, w) for v, w in zip(values, where, strict=True)], dtype=np.int8)
