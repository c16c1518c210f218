"""Validity of pixels from Earth Engine: an extra band of bits, because masked pixels arrive as zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ee
import numpy as np

from pipelines.access.earthengine.requests import bits_dtype
from pipelines.access.http.client import AccessError
from schemas.outcome import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BITS = "validity_bits"
"""Name of the band that carries validity."""
_WHOLE = 0.999
"""A mask at least this large is whole; where interpolation met a masked neighbour it is less."""


def with_validity(expression: ee.Image, bands: tuple[str, ...], dtype: np.dtype[Any] | None) -> ee.Image:
    """The bands, cast, and one more band whose bit i says that band i is measured.

    Masked pixels come as zeros from the service, and zero may be a value: so validity travels apart. The bits are
    unmasked beyond the footprint too (sameFootprint = False).
    """
    picked = expression.select(list(bands))
    whole = picked.mask().gte(_WHOLE)
    if len(bands) > 1:
        whole = whole.multiply(ee.Image.constant([1 << i for i in range(len(bands))])).reduce(ee.Reducer.sum())
    bits = _cast(whole.unmask(0, False), bits_dtype(len(bands))).rename([_BITS])
    return (picked if dtype is None else _cast(picked, dtype)).addBands(bits)


def _cast(image: ee.Image, dtype: np.dtype[Any]) -> ee.Image:
    calls: dict[str, Callable[[], ee.Image]] = {
        "uint8": image.toUint8,
        "int8": image.toInt8,
        "uint16": image.toUint16,
        "int16": image.toInt16,
        "uint32": image.toUint32,
        "int32": image.toInt32,
        "float32": image.toFloat,
        "float64": image.toDouble,
    }
    return calls[dtype.name]()


def unpacked(
    table: NDArray[Any], bands: tuple[str, ...], dtype: np.dtype[Any] | None, shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """(band, y, x) and validity from the structured array of an answer.

    Raises:
        AccessError: CORRUPT, it is not what was asked for.
    """
    names = (*bands, _BITS)
    if table.dtype.names != names or table.shape != shape:
        raise AccessError(
            Reason.CORRUPT,
            f"asked Earth Engine for bands {list(names)} of {shape[0]} x {shape[1]} pixels, got "
            f"{list(table.dtype.names or ())} of {' x '.join(map(str, table.shape))}",
            retryable=True,
        )
    kinds = {table.dtype[name].newbyteorder("=") for name in bands}
    if dtype is not None and kinds != {dtype}:
        raise AccessError(Reason.CORRUPT, f"asked Earth Engine for {dtype.name}, got {sorted(k.name for k in kinds)}")
    pixels = np.stack([table[name] for name in bands]).astype(dtype or np.result_type(*kinds))
    bits = table[_BITS].astype(np.uint32)
    valid = np.stack([(bits >> i) & 1 for i in range(len(bands))]).astype(np.bool_)
    return pixels, valid
