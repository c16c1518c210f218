"""Strata of samples by their attributes: shares that hold in each, and subsets that keep the distribution of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sampling.errors import SamplingError
from schemas.strata import Binned, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from schemas.strata import StratumBy

_WITHOUT = "(none)"
"""Name of the stratum of samples without a value."""
_NUMBERS = ("int64", "double")
_PASSES = 8
"""Times that all groups are looked at again, to move those that another split needs more."""
_LEAST_GAIN = 1e-9


@dataclass(frozen=True, eq=False, slots=True)
class Strata:
    """The stratum of each of n samples."""

    by: tuple[str, ...]
    """Attributes that the strata are named by."""
    names: list[str]
    """'attr_biome=14, attr_agbd=[50, 100)' of each stratum, sorted by their values."""
    code: NDArray[np.int64]
    """(n,) place in `names`."""

    def take(self, index: NDArray[np.int64]) -> Strata:
        """Those of some samples; strata without samples stay."""
        return Strata(self.by, self.names, self.code[index])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(strata,) samples of each."""
        return np.bincount(self.code, minlength=len(self.names))


def strata_of(key: str, wanted: Sequence[StratumBy], values: Mapping[str, pa.Array]) -> Strata:
    """The strata of samples.

    Args:
        key: of the recipe that asks for them, for messages.
        wanted: attributes, numbers in bins.
        values: name of each attribute, as `wanted` has it -> (n,) its values; null where a sample has none.

    Raises:
        SamplingError: bins of text, or an attribute of measurements without bins.
    """
    columns = [_column(key, by, values[name_of(by)]) for by in wanted]
    codes = np.stack([code for code, _ in columns], axis=1)
    there, code = np.unique(codes, axis=0, return_inverse=True)
    names = [", ".join(titles[c] for c, (_, titles) in zip(row, columns, strict=True)) for row in there.tolist()]
    return Strata(tuple(name_of(by) for by in wanted), names, code.reshape(-1))


def _column(key: str, by: StratumBy, values: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """(n,) code of each value, and the name of each code."""
    name, kind = name_of(by), str(values.type)
    if isinstance(by, Binned):
        if kind not in _NUMBERS:
            raise SamplingError(f"{key}: {name} is {_words(kind)}, and only numbers have bins; write {name} alone")
        return _binned(by, values)
    if kind == "double":
        raise SamplingError(
            f"{key}: {name} holds measurements, and hardly two of them are equal; write {{ by: {name}, quantiles: 10 }}"
            " or give `bins`"
        )
    said = values.to_pylist()
    there = sorted({v for v in said if v is not None})
    place = {value: number for number, value in enumerate(there)}
    code = np.array([place.get(v, len(there)) for v in said], dtype=np.int64)
    return code, [f"{name}={_short(v)}" for v in (*there, _WITHOUT)]


def _words(kind: str) -> str:
    return {"bool": "true or false"}.get(kind, "text")


def _short(value: Any) -> str:
    return ascii(value).strip("'\"")[:40]


def _binned(by: Binned, values: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    numbers = values.cast("float64").to_numpy(zero_copy_only=False)
    there = np.isfinite(numbers)
    if by.bins is not None:
        edges = np.array(by.bins)
    else:
        cuts = np.arange(1, by.quantiles or 2) / (by.quantiles or 2)
        edges = np.unique(np.quantile(numbers[there], cuts, method="inverted_cdf")) if there.any() else np.empty(0)
        edges = edges[edges > numbers[there].min(initial=np.inf)]  # below the least value there is nothing
    code = np.where(there, np.searchsorted(edges, numbers, side="right"), len(edges) + 1)
    ends = [f"{edge:.6g}" for edge in edges.tolist()]
    names = [f"[{low}, {high})" for low, high in zip(["-inf", *ends], [*ends, "inf"], strict=True)]
    return code.astype(np.int64), [f"{name_of(by)}={n}" for n in (*names, _WITHOUT)]


def check_sizes(key: str, strata: Strata, parts: int) -> None:
    """Each stratum needs a sample for each split that has a share.

    Raises:
        SamplingError: names the smallest.
    """
    sizes = strata.sizes
    small = np.flatnonzero((sizes > 0) & (sizes < parts))
    if not len(small):
        return
    least = int(small[np.argmin(sizes[small])])
    held = f"{sizes[least]:,} sample{'s' if sizes[least] > 1 else ''}"
    more = f"; {len(small):,} strata are as small" if len(small) > 1 else ""
    raise SamplingError(
        f"{key}: stratum {strata.names[least]} has {held}, fewer than the {parts} parts that it is divided into{more}; "
        "make fewer strata (fewer attributes, `quantiles` or `bins`), or leave these samples out of the file"
    )


def shares_held(code: NDArray[np.int64], rank: NDArray[np.uint64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) split of each sample: in each stratum every split has its share, rounded down or up, chosen by rank.

    What is rounded goes to the splits that lack most so far, so that the shares of all samples hold too.

    Args:
        code: (n,) stratum.
        rank: (n,) order in which samples of a stratum are taken.
        shares: (splits,) sum 1.
    """
    sizes = np.bincount(code)
    exact = sizes[:, None] * shares
    quota = np.floor(exact + 1e-9).astype(np.int64)
    part, owed = np.clip(exact - quota, 0.0, None), np.zeros(len(shares))
    for stratum in np.flatnonzero(sizes).tolist():
        owed += part[stratum]
        wanting = np.where(part[stratum] > 1e-9, owed, -np.inf)
        chosen = np.argsort(-wanting, kind="stable")[: int(sizes[stratum] - quota[stratum].sum())]
        quota[stratum, chosen] += 1
        owed[chosen] -= 1.0
    order = np.lexsort((rank, code))
    turn = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    ends = np.cumsum(quota, axis=1)[code[order]]
    split = np.empty(len(code), dtype=np.int64)
    split[order] = (turn[:, None] >= ends).sum(axis=1)
    return split


def systematic(code: NDArray[np.int64], rank: NDArray[np.uint64], count: int, start: float) -> NDArray[np.int64]:
    """Numbers of `count` of n samples, ascending: of each stratum its share, rounded down or up.

    Systematic sampling: the samples stand in order of stratum and rank, and every (n / count)-th is taken. Neighbouring
    strata together have their share within one sample too.

    Args:
        code: (n,) stratum.
        rank: (n,) order of the samples of a stratum.
        count: 1 to n.
        start: where the steps begin, 0 to below 1.
    """
    n = len(code)
    steps = (np.arange(n + 1, dtype=np.int64) * count + int(start * n)) // n
    return np.sort(np.lexsort((rank, code))[np.diff(steps) == 1])


def shared_within(
    member: NDArray[np.int64], code: NDArray[np.int64], order: NDArray[np.uint64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(groups,) split of every group of ground, so that each stratum comes near its share in each split.

    Each group goes where it lowers the chi-square distance between samples got and samples wanted, summed over the
    strata, the most; groups are then moved while that lowers it further.

    Args:
        member: (n,) group of each sample.
        code: (n,) stratum of each sample.
        order: (groups,) random order of the groups.
        shares: (splits,) sum 1.
    """
    strata, groups = int(code.max()) + 1, len(order)
    pairs, held = np.unique(member * strata + code, return_counts=True)
    starts = np.searchsorted(pairs // strata, np.arange(groups + 1))
    sizes = np.bincount(member, minlength=groups)
    open_splits = np.flatnonzero(shares > 0)
    wanted = shares[open_splits][:, None] * np.bincount(code, minlength=strata)
    got = np.zeros_like(wanted)
    split = np.full(groups, -1, dtype=np.int64)
    turns = np.lexsort((order, -np.floor(np.log2(sizes)))).tolist()
    for again in range(_PASSES + 1):
        moved = 0
        for group in turns:
            at = slice(starts[group], starts[group + 1])
            which, size = pairs[at] % strata, held[at]
            now = split[group]
            if now >= 0:
                got[now, which] -= size
            cost = (size * (size + 2.0 * (got[:, which] - wanted[:, which])) / wanted[:, which]).sum(axis=1)
            best = int(np.argmin(cost))
            if now >= 0 and cost[best] > cost[now] - _LEAST_GAIN:
                best = int(now)
            moved += best != now
            split[group] = best
            got[best, which] += size
        if again and not moved:
            break
    return np.asarray(open_splits[split], dtype=np.int64)


def note_on(
    key: str, strata: Strata, split: NDArray[np.int64], shares: NDArray[np.float64], names: Sequence[str]
) -> str:
    """How near the strata came to their shares, one line.

    Args:
        key: of the recipe.
        strata: of n samples.
        split: (n,) number of each one's split.
        shares: (splits,) asked for.
        names: of the splits.
    """
    sizes = strata.sizes
    got = np.bincount(strata.code * len(shares) + split, minlength=len(sizes) * len(shares)).reshape(-1, len(shares))
    off = np.abs(got - sizes[:, None] * shares)
    what = f"{key}: {int((sizes > 0).sum()):,} strata of {', '.join(strata.by)}"
    if off.max() < 1.0:
        return f"{what}: each has its shares of the splits within one sample"
    stratum, one = divmod(int(np.argmax(off)), off.shape[1])
    return (
        f"{what}: farthest from its share is {strata.names[stratum]}: {names[one]} has {got[stratum, one]:,} of "
        f"{sizes[stratum]:,} samples, asked {sizes[stratum] * shares[one]:,.1f}"
    )
