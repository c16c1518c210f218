"""Whether the index of a shard becomes too large where a chunk holds some bands of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.recipe import Recipe

ENTRY_BYTES = 16
"""Of a chunk in the index of its shard: offset and length (Zarr's sharding codec)."""
MOST_INDEX_BYTES = 16 << 20
"""Index of an array in a shard whose bands are in several chunks: a reader fetches it before the first sample."""


def large_index(recipe: Recipe, shard_samples: int) -> str | None:
    """What is wrong where the index of an array in a shard would be too large; None = nothing.

    Args:
        recipe: the recipe.
        shard_samples: rows of a shard.
    """
    for name, bands in recipe.shards.bands_per_chunk.items():
        dates = recipe.dates_of(name)
        layer = max(recipe.modality_of(name).layers, key=lambda x: len(x.bands))  # its index is the largest
        held, each = len(layer.bands), ENTRY_BYTES * shard_samples * dates
        size = each * -(-held // bands)
        if bands >= held or size <= MOST_INDEX_BYTES:
            continue
        enough = -(-held // max(1, MOST_INDEX_BYTES // each))
        return (
            f"shards.bands_per_chunk.{name}: {bands}: the index of {name}/{layer.name} would have "
            f"{size / 1e6:,.1f} MB in each shard ({shard_samples:,} samples x {dates} date{'s' * (dates > 1)} x "
            f"{-(-held // bands)} chunks), and readers fetch it before the first sample; at most "
            f"{MOST_INDEX_BYTES / 1e6:.1f} MB: write {name}: {enough}, or fewer shards.samples"
        )
    return None
