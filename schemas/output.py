"""The sections `quality` and `shards` of a recipe: which samples are kept, and how they are packed."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from schemas.keep import KeepRule
from schemas.strict import Strict


class Quality(Strict):
    """Rules for a sample as a whole; one that breaks them is in the ledger and not in the catalogue."""

    min_modalities: int = Field(default=1, ge=0, description="least number of obtained modalities (at any date)")
    require: dict[str, Literal["all"] | Annotated[int, Field(ge=1, le=366)]] = Field(
        default_factory=dict,
        exclude_if=lambda required: not required,
        description="source -> dates that a sample must have of it: all that the recipe asks for, or at least a number",
    )
    keep: tuple[KeepRule, ...] = Field(
        default=(),
        max_length=32,
        exclude_if=lambda rules: not rules,
        description="rules over pixels and numbers that a sample must meet, all of them and at every date obtained: "
        "'share(sentinel2.SCL in [4]) >= 0.2', 'sentinel2.SCL[centre] == 4', 'count(sentinel2) >= 2', 'attr_x > 9'",
    )


class Shards(Strict):
    """Packing of samples into shards."""

    samples: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="samples per shard; if absent, the power of two from 64 to 4,096 that gives about 256 shards: "
        "fewer than 10,000 objects for a million samples",
    )
    codec: Literal["balanced", "small"] = Field(
        default="balanced",
        description="balanced: fast to read; small: a tenth smaller on disk, twice the CPU time to read",
    )
    requests_per_sample: int | None = Field(
        default=None,
        ge=1,
        le=64,
        exclude_if=lambda requests: requests is None,
        description="for datasets that are read from a bucket: most requests that the pixels of a random sample cost, "
        "with all its dates; the small arrays are written a second time side by side, and `plan` prints how many bytes "
        "that adds; if absent, each array is one request",
    )

    bands_per_chunk: dict[str, Annotated[int, Field(ge=1, le=4_096)]] = Field(
        default_factory=dict,
        max_length=200,
        exclude_if=lambda bands: not bands,
        description="layer of images -> bands that one chunk holds ('enmap: 8'), so that few bands cost few chunks to "
        "read; if absent, a chunk holds all bands of one resolution; docs/loading.md has the figures",
    )

    def size(self, samples: int) -> int:
        """Samples per shard, for this number of samples in the dataset."""
        if self.samples is not None:
            return self.samples
        each = math.ceil(samples / 256)
        return min(4096, max(64, 1 << max(0, each - 1).bit_length()))
