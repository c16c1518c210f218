"""Chunks that hold some bands of a layer: which layers may have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.strict import MisplacedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.modality import Layer, Modality


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
