"""Chunks that hold some bands of a layer: which layers may have them, and how large the index of a shard becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.modality import Layer, Modality
    from schemas.recipe import Recipe

ENTRY_BYTES = 16
"""Of a chunk in the index of its shard: offset and length (Zarr's sharding codec)."""
MOST_INDEX_BYTES = 16 << 20
"""Index of an array in a shard whose bands are in several chunks: a reader fetches it before the first sample."""


def check_chunks(bands_per_chunk: Mapping[str, int], layers: Mapping[str, Modality], labels: list[str]) -> None:
    """Each entry is of a layer of images that has bands.

    Args:
        bands_per_chunk: the recipe's.
        layers: layer -> the product as the recipe stores it.
        labels: names of the labels.

    Raises:
        MisplacedError: names the layer, what was found and what to write.
    """
    known = sorted(name for name, product in layers.items() if any(_banded(x) for x in product.layers))
    for name in bands_per_chunk:
        if name in known:
            continue
        where = ("shards", "bands_per_chunk", name)
        if name.partition(".")[0] in known:
            layer = name.partition(".")[0]
            raise MisplacedError(f"{name}: it holds for all arrays of a layer; write {layer}", where)
        what = "is a label" if name in labels else "is no source of this recipe"
        what = "has one band per array" if name in layers else what
        raise MisplacedError(f"{name!r} {what}; layers with several bands in an array: {known}", where)


def _banded(layer: Layer) -> bool:
    return layer.has_band_axis and len(layer.bands) > 1


def large_index(recipe: Recipe, shard_samples: int) -> str | None:
    """What is wrong where the index of an array in a shard would be too large; None = nothing.

    Args:
        recipe: the recipe.
        shard_samples: rows of a shard.
    """
    for name, bands in recipe.shards.bands_per_chunk.items():
        dates = recipe.dates_of(name)
        for layer in recipe.modality_of(name).layers:
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
