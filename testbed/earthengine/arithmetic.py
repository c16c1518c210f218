"""Pixel arithmetic: operations between images band by band, with the service's rules for names, types and masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from testbed.earthengine.errors import bad
from testbed.earthengine.images import Image, Plane, Values, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.earthengine.grids import Grid

_BYTE = np.dtype("uint8")
_INT = np.dtype("int32")
_DOUBLE = np.dtype("float64")


def _whole(values: Values) -> Values:
    whole: Values = values.astype(np.int64)
    return whole


def _divided(a: Values, b: Values) -> Values:
    out: Values = np.zeros(a.shape)
    np.divide(a.astype(float), b.astype(float), out=out, where=b != 0)
    return out


_BINARY: dict[str, tuple[Callable[[Values, Values], Values], str]] = {
    "add": (lambda a, b: _wide(a) + _wide(b), "number"),
    "subtract": (lambda a, b: _wide(a) - _wide(b), "number"),
    "multiply": (lambda a, b: _wide(a) * _wide(b), "number"),
    "divide": (_divided, "double"),
    "min": (np.minimum, "number"),
    "max": (np.maximum, "number"),
    "pow": (lambda a, b: np.power(a.astype(float), b.astype(float)), "double"),
    "mod": (lambda a, b: np.fmod(_wide(a), _wide(b)), "number"),
    "eq": (np.equal, "byte"),
    "neq": (np.not_equal, "byte"),
    "lt": (np.less, "byte"),
    "lte": (np.less_equal, "byte"),
    "gt": (np.greater, "byte"),
    "gte": (np.greater_equal, "byte"),
    "and": (lambda a, b: (a != 0) & (b != 0), "byte"),
    "or": (lambda a, b: (a != 0) | (b != 0), "byte"),
    "bitwiseAnd": (lambda a, b: _whole(a) & _whole(b), "integer"),
    "bitwiseOr": (lambda a, b: _whole(a) | _whole(b), "integer"),
    "bitwiseXor": (lambda a, b: _whole(a) ^ _whole(b), "integer"),
    "leftShift": (lambda a, b: _whole(a) << _whole(b), "integer"),
    "rightShift": (lambda a, b: _whole(a) >> _whole(b), "integer"),
}
_UNARY: dict[str, tuple[Callable[[Values], Values], str]] = {
    "not": (lambda a: a == 0, "byte"),
    "bitwiseNot": (lambda a: ~_whole(a), "integer"),
    "abs": (np.abs, "same"),
    "sqrt": (lambda a: np.sqrt(np.maximum(a.astype(float), 0)), "double"),
    "log10": (lambda a: np.log10(a.astype(float), out=np.zeros(a.shape), where=a > 0), "double"),
    "round": (np.round, "same"),
    "floor": (np.floor, "same"),
    "ceil": (np.ceil, "same"),
}
CASTS = {
    "toByte": "uint8",
    "toUint8": "uint8",
    "toInt8": "int8",
    "toUint16": "uint16",
    "toInt16": "int16",
    "toUint32": "uint32",
    "toInt32": "int32",
    "toInt": "int32",
    "toShort": "int16",
    "toFloat": "float32",
    "toDouble": "float64",
    "byte": "uint8",
    "uint8": "uint8",
    "int8": "int8",
    "uint16": "uint16",
    "int16": "int16",
    "uint32": "uint32",
    "int32": "int32",
    "int": "int32",
    "short": "int16",
    "float": "float32",
    "double": "float64",
}
"""Image.<name> -> numpy dtype."""
BINARY = frozenset(_BINARY)
UNARY = frozenset(_UNARY)


def _wide(values: Values) -> Values:
    return values.astype(np.int64) if values.dtype.kind in "iub" else values


def _type(rule: str, *dtypes: np.dtype[Any]) -> np.dtype[Any]:
    if rule == "byte":
        return _BYTE
    if rule == "double":
        return _DOUBLE
    whole = all(d.kind in "iu" for d in dtypes)
    if rule == "same":
        return dtypes[0]
    if rule == "integer" or whole:
        return _INT if all(d.itemsize < 4 or d == _INT for d in dtypes) else np.dtype("int64")
    return np.dtype("float32") if all(d == np.float32 for d in dtypes) else _DOUBLE


def binary(name: str, left: Image, right: Image) -> Image:
    """`left` op `right`: bands pairwise, or the one band of either against all of the other; masks are intersected."""
    operation, rule = _BINARY[name]
    n, m = len(left.bands), len(right.bands)
    if n != m and 1 not in (n, m):
        raise bad(
            f"Image.{name}: Images must contain the same number of bands or have one of them contain a single band "
            f"({n} vs. {m})."
        )
    count = max(n, m)
    lead = left if n >= m else right
    i = [0] * count if n == 1 else list(range(count))
    j = [0] * count if m == 1 else list(range(count))
    bands = tuple(
        replace(band, dtype=_type(rule, left.bands[i[k]].dtype, right.bands[j[k]].dtype))
        for k, band in enumerate(lead.bands)
    )

    def compute(grid: Grid) -> list[Plane]:
        a, b = left.compute(grid), right.compute(grid)
        found = []
        for k, band in enumerate(bands):
            (x, mx), (y, my) = a[i[k]], b[j[k]]
            mask = np.minimum(mx, my)
            found.append(
                (np.where(mask > 0, cast(np.asarray(operation(x, y)), band.dtype), 0).astype(band.dtype), mask)
            )
        return found

    footprint = left.footprint if right.footprint is None else right.footprint if left.footprint is None else None
    if footprint is None and left.footprint is not None and right.footprint is not None:
        footprint = left.footprint.intersection(right.footprint)
    return replace(
        left, bands=bands, compute=compute, footprint=footprint, properties=_index(left.properties), asset_id=None
    )


def unary(name: str, image: Image) -> Image:
    """One operation on every band."""
    operation, rule = _UNARY[name]
    bands = tuple(replace(b, dtype=_type(rule, b.dtype)) for b in image.bands)

    def compute(grid: Grid) -> list[Plane]:
        planes = zip(bands, image.compute(grid), strict=True)
        return [
            (np.where(m > 0, cast(np.asarray(operation(v)), b.dtype), 0).astype(b.dtype), m) for b, (v, m) in planes
        ]

    return replace(image, bands=bands, compute=compute, properties=_index(image.properties), asset_id=None)


def _index(properties: dict[str, Any]) -> dict[str, Any]:
    """Computed images keep only the index and the footprint of their first input."""
    return {k: v for k, v in properties.items() if k == "system:index"}
