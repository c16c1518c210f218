"""A subset of the samples that keeps their distribution over splits and attributes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sampling.chance import Purpose, ranks, uniforms
from sampling.errors import SamplingError
from sampling.leakage import leakage
from sampling.shared import shared_ground
from sampling.strata import strata_of, systematic
from schemas.attribute import PREFIX
from schemas.splits import Splits
from schemas.strata import STRATUM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sampling.located import Located
    from schemas.recipe import Recipe
    from schemas.strata import Subset

_KEY = "subset.keep"


def subset_of(located: Located, recipe: Recipe, subset: Subset) -> Located:
    """Some of the samples; each is the same as in the whole set, with its id, footprint and split.

    Of the samples of each split and stratum the same share is kept, within one sample.

    Args:
        located: all samples, with their attributes.
        recipe: for its seed, and whether splits keep a distance of their own.
        subset: how many, and which attributes keep their distribution.

    Raises:
        SamplingError: more samples are asked for than there are, or an attribute has no strata.
    """
    count = subset.kept(len(located))
    if count > len(located):
        raise SamplingError(f"subset.count is {count:,}, and there are {len(located):,} samples")
    code, words = _strata(located, subset)
    rank = ranks(recipe.seed, Purpose.SUBSET, located.key[:, 0], located.key[:, 1])
    start = float(uniforms(recipe.seed, Purpose.SUBSET, 0, 1)[0, 0])
    index = systematic(code, rank, count, start)
    lost = len(np.unique(code)) - len(np.unique(code[index]))
    if lost:
        words += f"; {lost:,} of {len(np.unique(code)):,} are so small that none of their samples is kept"
    some = located.take(index)
    measured = recipe.splits.least_gap_m is None
    return replace(
        some,
        notes=(*located.notes, f"a subset of {count:,} of {len(located):,} samples: {words}"),
        shared=shared_ground(some.footprints, some.split) if measured else (),
        leaks=leakage(some.footprints, some.split) if measured or not isinstance(recipe.splits, Splits) else (),
    )


def _strata(located: Located, subset: Subset) -> tuple[NDArray[np.int64], str]:
    """(n,) number of each sample's split and stratum, and what they are, in words."""
    split = located.split.astype(np.int64)
    if not subset.keep:
        return split, "the splits keep their shares"
    values = {PREFIX + a.name: a.values for a in located.attributes}
    if located.stratum is not None:
        values[STRATUM] = pa.array([located.strata[s] for s in located.stratum.tolist()])
    strata = strata_of(_KEY, subset.keep, values)
    words = f"{int((strata.sizes > 0).sum()):,} strata of {', '.join(strata.by)} keep their shares in each split"
    return split * len(strata.names) + strata.code, words
