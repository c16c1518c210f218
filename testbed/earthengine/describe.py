"""Answers of value:compute for each kind of value."""

from __future__ import annotations

from typing import Any

import numpy as np
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from testbed.earthengine.errors import bad
from testbed.earthengine.evaluate import Collection, Feature
from testbed.earthengine.filters import Moment, Period
from testbed.earthengine.grids import Projection
from testbed.earthengine.images import Band, Image

_MOST = 5000


def described(value: Any) -> Any:  # noqa: C901, PLR0911 - one arm a kind of value
    """A JSON value.

    Raises:
        EeError: 400 for what cannot be sent.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [described(v) for v in value]
        case dict():
            return {str(k): described(v) for k, v in value.items()}
        case Moment():
            return {"type": "Date", "value": value.ms}
        case Period():
            return {"type": "DateRange", "dates": [value.start.ms, value.end.ms]}
        case Projection():
            return {"type": "Projection", "crs": value.crs, "transform": list(value.transform)[:6]}
        case BaseGeometry():
            return mapping(value)
        case Feature():
            geometry = None if value.geometry is None else described(value.geometry)
            return {"type": "Feature", "geometry": geometry, "properties": described(dict(value.properties))}
        case Image():
            return _image(value)
        case Collection():
            if len(value.images) > _MOST:
                raise bad(f"Collection query aborted after accumulating over {_MOST} elements.")
            found = {"type": "ImageCollection", "bands": [], "features": [_image(i) for i in value.images]}
            return {**found, **({"id": value.asset_id} if value.asset_id else {})}
    if isinstance(value, np.generic):
        return value.item()
    raise bad("Cannot encode the value of the expression.")


def _image(image: Image) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "Image", "bands": [_band(b) for b in image.bands]}
    if image.asset_id:
        found["id"] = image.asset_id
    if image.properties:
        found["properties"] = described(image.properties)
    return found


def _band(band: Band) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "PixelType", "precision": "int"}
    if band.dtype.kind in "iu":
        info = np.iinfo(band.dtype)
        kind.update(min=int(info.min), max=int(info.max))
    else:
        kind["precision"] = "float" if band.dtype.itemsize == 4 else "double"
    transform = list(band.projection.transform)[:6]
    return {"id": band.name, "data_type": kind, "crs": band.projection.crs, "crs_transform": transform}
