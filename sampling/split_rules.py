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
from sampling.splits import SPLITS, Assignment, assign, blocks_of, keeping, shared_out
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
    from schemas.splits import AnySplits, SplitsOfFile

_YEAR = re.compile(r"([0-9]{4})(?:$|[-/T ].*)")
_SHOWN = 40


def divide(chosen: Candidates, splits: AnySplits, seed: int, said: NDArray[np.int8] | None = None) -> Assignment:
    """The split of every candidate, and which of them keep the buffer.

    Args:
        chosen: in the order of their draw.
        splits: the recipe's section.
        seed: the recipe's seed.
        said: (n,) place in SPLITS that the points file states, where the recipe takes the splits from it.
    """
    footprints, fold = chosen.footprints, None
    match splits:
        case Splits():
            return assign(footprints, splits, seed)
        case RandomSplits():
            split = _in_order(ranks(seed, Purpose.SPLITS, chosen.key[:, 0], chosen.key[:, 1]), _shares(splits))
        case StripeSplits():
            split = _stripes(footprints, splits, seed)
        case ConcentricSplits():
            split = _rings(footprints, splits)
        case FoldSplits():
            fold = _folds(footprints, splits, seed)
            split = np.zeros(len(fold), dtype=np.int8)
            split[np.isin(fold, splits.val)], split[np.isin(fold, splits.test)] = 1, 2
        case AttributeSplits() | YearSplits():
            assert said is not None  # noqa: S101 - read with the file
            split = said
    kept = np.ones(len(split), dtype=bool)
    if splits.buffer_m is not None:
        held = np.bincount(split, minlength=len(SPLITS)) / max(1, len(split))
        kept = keeping(footprints, split, held, splits.buffer_m)
    return Assignment(split=split, blocks=len(np.unique(blocks_of(footprints, splits.block_m))), kept=kept, fold=fold)


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


def _stripes(footprints: Footprints, splits: StripeSplits, seed: int) -> NDArray[np.int8]:
    """Stripes of a plane whose scale is right at the middle latitude of the samples."""
    lat = np.radians(footprints.lat)
    middle = (lat.min() + lat.max()) / 2.0
    lon = np.radians(np.mod(footprints.lon - _west_of(footprints.lon), 360.0))
    x, y = SEMI_MAJOR_M * lon * math.cos(middle), SEMI_MAJOR_M * lat
    turn = math.radians(splits.angle)
    stripe = np.floor((x * math.cos(turn) - y * math.sin(turn)) / splits.width_m).astype(np.int64)
    return _by_groups(stripe, _shares(splits), seed)


def _west_of(lon: NDArray[np.float64]) -> float:
    """The longitude east of the largest gap: samples on both sides of 180 degrees stay together."""
    there = np.unique(lon)
    gaps = np.diff(there, append=there[0] + 360.0)
    return float(there[(int(np.argmax(gaps)) + 1) % len(there)])


def _by_groups(group: NDArray[np.int64], shares: NDArray[np.float64], seed: int) -> NDArray[np.int8]:
    """Assigns whole groups to splits, so that the splits get about their shares."""
    codes, member, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = ranks(seed, Purpose.BLOCKS, codes >> 32, codes & 0xFFFFFFFF)
    return shared_out(counts, order, shares).astype(np.int8)[member.ravel()]


def _rings(footprints: Footprints, splits: ConcentricSplits) -> NDArray[np.int8]:
    """Test in the middle square of each block, val in the ring around it, train outside: shares of the area."""
    row, column = majortom.cells_of(footprints.lon, footprints.lat, splits.tile_m)
    lon, lat = majortom.centres(row, column, splits.tile_m)
    north = np.radians(footprints.lat - lat) * SEMI_MAJOR_M
    away = np.mod(footprints.lon - lon + 180.0, 360.0) - 180.0
    east = np.radians(away) * SEMI_MAJOR_M * np.cos(np.radians(lat))
    inside = (np.maximum(np.abs(east), np.abs(north)) / (splits.tile_m / 2.0)) ** 2
    return np.where(inside < splits.test, 2, np.where(inside < splits.test + splits.val, 1, 0)).astype(np.int8)


def _folds(footprints: Footprints, splits: FoldSplits, seed: int) -> NDArray[np.int64]:
    """(n,) fold of each footprint: whole blocks, folds of about the same size."""
    shares = np.full(splits.folds, 1.0 / splits.folds)
    codes, member, counts = np.unique(blocks_of(footprints, splits.block_m), return_inverse=True, return_counts=True)
    return shared_out(counts, ranks(seed, Purpose.BLOCKS, codes >> 32, codes & 0xFFFFFFFF), shares)[member.ravel()]


def said_by(splits: SplitsOfFile, name: str, values: Sequence[Any], where: Sequence[str]) -> NDArray[np.int8]:
    """(n,) place in SPLITS of every row of a points file."""
    read = split_reader(splits, name)
    return np.array([read(v, w) for v, w in zip(values, where, strict=True)], dtype=np.int8)
