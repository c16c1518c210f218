"""Splits by blocks of ground: keeps the requested shares, and a strip without samples between splits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from sampling import majortom
from sampling.chance import Purpose, ranks
from sampling.nearness import nearest_gaps
from sampling.separation import TOUCH_M, stretch_of
from sampling.strata import shared_within
from schemas.place import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.geobox import Footprints
    from sampling.strata import Strata
    from schemas.splits import Splits

SPLITS: tuple[Split, ...] = get_args(Split)
"""train, val, test: a split's code is its place here."""
_COLUMN_BITS = 32
"""Bits of a block's column, signed, in its code."""


@dataclass(frozen=True, eq=False, slots=True)
class Assignment:
    """Split and block of each footprint, and which footprints keep the buffer."""

    split: NDArray[np.int8]
    """(n,) place in SPLITS."""
    blocks: int
    """How many blocks of ground (Major-TOM cells of spacing block_m) hold footprints, those left out among them."""
    kept: NDArray[np.bool_]
    """(n,) False where a footprint came nearer than the buffer to another split and is left out."""
    fold: NDArray[np.int64] | None = None
    """(n,) fold of each footprint, where the recipe asks for folds."""
    strata: Strata | None = None
    """Stratum of each footprint, where the recipe asks for shares within strata."""


def assign(footprints: Footprints, splits: Splits, seed: int, strata: Strata | None = None) -> Assignment:
    """Give every footprint a split by its block of ground, and leave out those that break the buffer.

    Blocks are the cells of a gap-free grid of edge block_m over the whole Earth (rows of equal height, columns of
    equal width in metres), so blocks depend on no sample. The blocks that hold samples are shuffled by the seed,
    fuller ones first, and each goes to the split whose share it serves best; then an empty split gets the least
    block of the fullest. Shares so hold to about one block, for ten blocks as for ten thousand. The price:
    an assignment belongs to this set of samples, and adding samples may move a block to another split (a hash
    of the block alone would never move one, and would leave test empty in a third of all datasets of ten blocks).

    Of two footprints of different splits nearer than buffer_m, the one of the split with the larger share is left
    out: train pays, val and test stay whole. Distances are taken from below (`sampling.separation.gaps`). With
    `splits.allow_overlap` none is left out. With `strata` blocks are shared out so that each stratum comes near its
    shares.
    """
    code = blocks_of(footprints, splits.block_m)
    codes, member, counts = np.unique(code, return_inverse=True, return_counts=True)
    del code
    shares = np.array([getattr(splits, name) for name in SPLITS], dtype=np.float64)
    block_row = (codes + (1 << (_COLUMN_BITS - 1))) >> _COLUMN_BITS
    order = ranks(seed, Purpose.BLOCKS, block_row, codes - (block_row << _COLUMN_BITS))
    split = groups_shared(member.ravel(), counts, order, shares, strata).astype(np.int8)[member.ravel()]
    del member
    if splits.allow_overlap:
        kept = np.ones(len(footprints), dtype=bool)
    else:
        kept = keeping(footprints, split, shares, splits.buffer_m)
    return Assignment(split=split, blocks=len(codes), kept=kept, strata=strata)


def blocks_of(footprints: Footprints, block_m: float) -> NDArray[np.int64]:
    """(n,) code of the block of ground of each footprint; codes sort as (row, column) do."""
    row, column = majortom.cells_of(footprints.lon, footprints.lat, block_m)
    return (row << _COLUMN_BITS) + column


def groups_shared(
    member: NDArray[np.int64],
    counts: NDArray[np.int64],
    order: NDArray[np.uint64],
    shares: NDArray[np.float64],
    strata: Strata | None,
) -> NDArray[np.int64]:
    """(groups,) split of every group of ground; `member` is the group of each of n samples."""
    if strata is None:
        return shared_out(counts, order, shares)
    return _none_empty(shared_within(member, strata.code, order, shares), counts, order, shares)


def shared_out(counts: NDArray[np.int64], order: NDArray[np.uint64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(b,) split of every block, so that the samples in each split come near their share.

    Each block goes where it lowers the chi-square distance between samples got and samples wanted the most.
    """
    open_splits = [code for code, share in enumerate(shares.tolist()) if share > 0]
    wanted = (shares * counts.sum()).tolist()
    got = [0] * len(shares)
    split = np.zeros(len(counts), dtype=np.int64)
    size_class = np.floor(np.log2(counts)).astype(np.int64)
    for block in np.lexsort((order, -size_class)).tolist():
        size = int(counts[block])
        chosen = min(open_splits, key=lambda code: (size + 2.0 * (got[code] - wanted[code])) / wanted[code])
        split[block] = chosen
        got[chosen] += size
    return _none_empty(split, counts, order, shares)


def _none_empty(
    split: NDArray[np.int64], counts: NDArray[np.int64], order: NDArray[np.uint64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Each split that has a share but no block gets the least block of the fullest split."""
    got = np.zeros(len(shares), dtype=np.int64)
    np.add.at(got, split, counts)
    for empty in np.flatnonzero((shares > 0) & (got == 0)).tolist():
        held = np.bincount(split, minlength=len(shares))
        donors = np.flatnonzero(held[split] > 1)
        if len(donors):
            least = min(donors.tolist(), key=lambda b: (-got[split[b]], counts[b], int(order[b])))
            got[split[least]] -= counts[least]
            got[empty] += counts[least]
            split[least] = empty
    return split


def keeping(
    footprints: Footprints, split: NDArray[np.int8], shares: NDArray[np.float64], buffer_m: float
) -> NDArray[np.bool_]:
    """(n,) False where a footprint is too near to a kept one of a split with a smaller share."""
    kept = np.ones(len(footprints), dtype=bool)
    protected = np.empty(0, dtype=np.int64)
    for code in np.lexsort((-np.arange(len(shares)), shares)).tolist():
        mine = np.flatnonzero(split == code)
        if len(mine) and len(protected):
            kept[mine[_too_near(footprints, mine, protected, buffer_m)]] = False
        protected = np.concatenate([protected, mine[kept[mine]]])
    return kept


def _too_near(
    footprints: Footprints, mine: NDArray[np.int64], others: NDArray[np.int64], buffer_m: float
) -> NDArray[np.bool_]:
    """(m,) True where footprint number mine[i] lies nearer than the buffer to any of the others."""
    reach_m = math.sqrt(2.0) * footprints.size_m * stretch_of(footprints) + buffer_m
    return nearest_gaps(footprints, mine, others, reach_m, buffer_m) < buffer_m - TOUCH_M
