"""Keeps pixels in a file instead of in memory, for samples and composites that are larger than a worker's share.

The file is mapped for reading, so arrays stay arrays; the system drops its pages when memory is short, and reads
them again. It has no name: nothing is left of it when the arrays are gone, or when the process is killed.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.sources.observation import Layered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from schemas.stack import Observation

_ALIGNED = 64
"""Arrays begin at multiples of this many bytes in the file, as they do in memory."""


def spilled(arrays: Sequence[NDArray[Any]], folder: Path | None) -> list[NDArray[Any]]:
    """The same arrays, read-only, in a file.

    Args:
        arrays: of any shapes and dtypes.
        folder: holds the file, and is made where it is not there; the system's folder for temporary files if absent.

    Raises:
        OSError: the disk is full.
    """
    starts, end = [], 0
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for array in arrays:
            starts.append(end)
            data = np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")
            file.seek(end)
            while data:
                data = data[file.write(data) :]
            end += -(-array.nbytes // _ALIGNED) * _ALIGNED
        file.truncate(max(end, 1))
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return [
        np.frombuffer(held, array.dtype, array.size, start).reshape(array.shape)
        for array, start in zip(arrays, starts, strict=True)
    ]


def spilled_observation(made: Observation, folder: Path | None) -> Observation:
    """The same observation with its pixels and masks in a file; arguments as for `spilled`."""
    names = list(made.arrays)
    masks = [made.valid] if made.cloud is None else [made.valid, made.cloud]
    found = spilled([*made.arrays.values(), *masks], folder)
    return replace(
        made,
        arrays=dict(zip(names, found, strict=False)),
        valid=found[len(names)],
        cloud=None if made.cloud is None else found[-1],
    )


def spilled_layers(layers: dict[str, Layered], folder: Path | None) -> dict[str, Layered]:
    """The same layers with their numbers and masks in a file; arguments as for `spilled`."""
    found = spilled([a for layer in layers.values() for a in (layer.values, layer.valid)], folder)
    pairs = zip(found[::2], found[1::2], strict=True)
    return {
        name: Layered(values, valid, layers[name].resampling)
        for name, (values, valid) in zip(layers, pairs, strict=True)
    }
