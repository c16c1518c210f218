"""What votes say: Dawid and Skene's model on counts of vote patterns, anchored at published accuracies.

Plain Dawid-Skene takes every map for an independent witness; maps that share errors then outvote the truth, and the
model collapses. Here each family is one voter, and 5 % of all pixels stand behind the published accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipelines.labels.fusion.priors import CLASSES, emission

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pipelines.labels.fusion.voters import Voter

MOST_COMBINATIONS = 1 << 46
"""Combinations of all families' symbols that a count can be kept of: with the stratum, they are one number."""
ANCHOR = 0.05
"""Pixels behind the published accuracy, as a share of all pixels."""
ROUNDS = 10
"""Rounds of expectation and maximisation; more move the model from its anchor."""
LOCAL = 0.02
"""Pixels behind the whole dataset's reliability in one stratum, as a share of all pixels: a stratum with few pixels has
the reliability of all."""
FEWEST = 50_000
"""Pixels of a stratum below which it has the reliability of all: about five samples of 96 x 96."""
SMALLEST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """How often each combination of symbols occurs in each stratum. Adds over shards in any order."""

    keys: NDArray[np.int64]
    """(patterns,) ascending: stratum and symbols as one number."""
    counts: NDArray[np.int64]
    """(patterns,) pixels."""

    @classmethod
    def of(cls, voters: Sequence[Voter], votes: NDArray[np.uint16], strata: NDArray[np.integer] | int = 0) -> Self:
        """Count pixels.

        Args:
            voters: the families, in a fixed order.
            votes: (voters, ...) symbols.
            strata: stratum of the pixels, 0 or above: region, relief or date gap. One number, or the shape of a vote.
        """
        keys, counts = np.unique(pattern_keys(voters, votes, strata), return_counts=True)
        return cls(keys=keys, counts=counts.astype(np.int64))

    @classmethod
    def total(cls, parts: Iterable[Patterns]) -> Self:
        """The sum of several."""
        parts = list(parts)
        keys = np.concatenate([p.keys for p in parts]) if parts else np.zeros(0, np.int64)
        counts = np.concatenate([p.counts for p in parts]) if parts else np.zeros(0, np.int64)
        found, inverse = np.unique(keys, return_inverse=True)
        summed = np.zeros(len(found), np.int64)
        np.add.at(summed, inverse, counts)
        return cls(keys=found, counts=summed)


def pattern_keys(
    voters: Sequence[Voter], votes: NDArray[np.uint16], strata: NDArray[np.integer] | int = 0
) -> NDArray[np.int64]:
    """One number per pixel: its stratum and its symbols.

    Raises:
        ValueError: the families have more combinations of symbols than a number holds.
    """
    combinations = int(np.prod([float(v.size) for v in voters]))
    if combinations > MOST_COMBINATIONS:
        raise ValueError(f"{len(voters)} families have {combinations:.3g} combinations of symbols: fuse fewer families")
    keys = np.broadcast_to(np.asarray(strata, np.int64), votes.shape[1:]).copy()
    for one, vote in zip(voters, votes, strict=True):
        keys = keys * one.size + vote
    return keys


@dataclass(frozen=True, kw_only=True)
class VoteModel:
    """What was learnt: shares of classes, and what each voter says about each class."""

    voters: tuple[Voter, ...]
    """The families, in order."""
    shares: NDArray[np.float64]
    """(1 + strata, CLASSES) share of each class; column 0 is 0. Row 0 is for all other strata."""
    emissions: tuple[NDArray[np.float64], ...]
    """Per voter (1 + strata, CLASSES, symbols): P(symbol | class)."""
    strata: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(strata,) ascending: the strata with values of their own."""

    def row(self, strata: NDArray[np.integer] | int) -> NDArray[np.intp]:
        """Row of each stratum; 0 for those without values of their own."""
        wanted = np.asarray(strata, np.int64)
        if not len(self.strata):
            return np.zeros(wanted.shape, np.intp)
        place = np.minimum(np.searchsorted(self.strata, wanted), len(self.strata) - 1)
        return np.where(self.strata[place] == wanted, place + 1, 0)

    def log_posterior(self, votes: NDArray[np.uint16], strata: NDArray[np.integer] | int = 0) -> NDArray[np.float64]:
        """(..., CLASSES) log P(class | votes) of each pixel; arguments as in `log_scores`."""
        found = self.log_scores(votes, strata)
        peak = found.max(axis=-1, keepdims=True)
        return np.asarray(found - peak - np.log(np.exp(found - peak).sum(axis=-1, keepdims=True)))

    def log_scores(self, votes: NDArray[np.uint16], strata: NDArray[np.integer] | int = 0) -> NDArray[np.float64]:
        """(..., CLASSES) log P(class and votes).

        `votes` is (voters, ...); `strata` one number or the shape of a vote.
        """
        stratum = np.broadcast_to(self.row(strata), votes.shape[1:])
        found = np.log(np.maximum(self.shares, 1e-300))[stratum]
        for table, vote in zip(self.emissions, votes, strict=True):
            logs = np.log(np.maximum(table, SMALLEST))
            logs[:, :, 0] = 0
            found = found + logs.transpose(0, 2, 1)[stratum, vote]
        found[..., (self.shares == 0).all(axis=0)] = -np.inf
        return np.asarray(found)


def learn(
    voters: Sequence[Voter],
    patterns: Patterns,
    rounds: int = ROUNDS,
    anchor: float = ANCHOR,
    classes: NDArray[np.uint8] | None = None,
) -> VoteModel:
    """Learn from counts; the result depends on nothing else.

    Args:
        voters: the families, in order.
        patterns: counts of the whole dataset.
        rounds: of expectation and maximisation.
        anchor: pixels behind the published accuracies, as a share of all.
        classes: codes of COMMON_CLASSES that the map may have; None = those that a voter names.

    Raises:
        ValueError: fewer than two families vote anywhere, or no family names any class.
    """
    codes, votes = _split(voters, patterns)
    speaking = [v.family for v, vote in zip(voters, votes, strict=True) if (vote > 0).any()]
    if len(speaking) < 2:
        only = f"only {speaking[0]} does" if speaking else "none does"
        raise ValueError(f"fused: at least two families of products must name classes, {only}: add another product")
    named = np.unique(np.concatenate([v.means[vote] for v, vote in zip(voters, votes, strict=True)]))
    allowed = named[named > 0] if classes is None else np.intersect1d(named, classes)
    if not len(allowed):
        raise ValueError("fused: no product names any of the classes anywhere: add products, or name other classes")
    often = [np.bincount(vote, patterns.counts, v.size) for v, vote in zip(voters, votes, strict=True)]
    priors = [emission(v.family, v.means, often=o) for v, o in zip(voters, often, strict=True)]
    model = _first(voters, priors, allowed, _strata(codes, patterns.counts))
    rows = model.row(codes)
    for _ in range(rounds):
        weights = np.exp(model.log_posterior(votes, codes)) * patterns.counts[:, None].astype(np.float64)
        model = _again(model, priors, votes, rows, weights, anchor)
    return model


def _split(voters: Sequence[Voter], patterns: Patterns) -> tuple[NDArray[np.intp], NDArray[np.uint16]]:
    rest, votes = patterns.keys, []
    for one in reversed(voters):
        votes.append((rest % one.size).astype(np.uint16))
        rest = rest // one.size
    return rest.astype(np.intp), np.stack(votes[::-1])


def _strata(codes: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The strata that have enough pixels for values of their own; none where there is one stratum."""
    found, place = np.unique(codes, return_inverse=True)
    pixels = np.bincount(place, counts, len(found))
    return found[pixels >= FEWEST].astype(np.int64) if len(found) > 1 else np.zeros(0, np.int64)


def _first(
    voters: Sequence[Voter], priors: Sequence[NDArray[np.float64]], classes: NDArray[np.uint8], strata: NDArray[Any]
) -> VoteModel:
    shares = np.zeros((1 + len(strata), CLASSES))
    shares[:, classes] = 1 / max(1, len(classes))
    tables = tuple(np.repeat(prior[None], len(shares), axis=0) for prior in priors)
    return VoteModel(voters=tuple(voters), shares=shares, emissions=tables, strata=strata)


def _again(
    model: VoteModel,
    priors: Sequence[NDArray[np.float64]],
    votes: NDArray[np.uint16],
    strata: NDArray[np.intp],
    weights: NDArray[np.floating],
    anchor: float,
) -> VoteModel:
    """One maximisation: `weights` is (patterns, CLASSES), pixels of each pattern by class; `strata` its row."""
    everyone, count = weights.sum(), len(model.shares)
    known = model.shares > 0
    shares = np.zeros_like(model.shares)
    np.add.at(shares, strata, weights)
    whole = shares.sum(axis=0) + 1
    shares = np.where(known, shares + LOCAL * everyone * whole / whole.sum(), 0)
    if count > 1:
        shares[0] = np.where(known[0], whole, 0)
    tables = []
    for one, prior, vote in zip(model.voters, priors, votes, strict=True):
        sums = np.zeros((count, one.size, CLASSES))
        np.add.at(sums, (strata, vote), weights)
        local = sums.transpose(0, 2, 1)
        general = _rows(local.sum(axis=0) + anchor * everyone * prior)
        own = _rows(local[1:] + LOCAL * everyone * general)
        tables.append(np.concatenate([general[None], own]))
    return replace(model, shares=shares / shares.sum(axis=1, keepdims=True), emissions=tuple(tables))


def _rows(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that add up to 1 without 'no vote', which is no evidence."""
    table = table.copy()
    table[..., 0] = 0
    return np.asarray(table / np.maximum(table.sum(axis=-1, keepdims=True), 1e-300))
