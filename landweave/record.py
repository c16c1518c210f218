"""A sample as a record for export formats: the obtained arrays, and metadata."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from landweave.render import encoded, picture

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, GroupSpec, Json
    from landweave.sample import Sample

_LEFT_OUT = ("geometry", "links", "assets", "stac_extensions", "stac_version", "type", "captions", "shard", "row")
"""Catalogue columns that say how landweave's own files lie, or have a place of their own."""


@dataclass(frozen=True, slots=True)
class Record:
    """One sample to be written."""

    id: str
    """Sample id."""
    arrays: dict[str, NDArray[Any] | None]
    """'sentinel2.bands_10m' -> the dates that were obtained, (obtained, [band,] y, x); static layers and labels
    ([band,] y, x). None = nothing was obtained: never zeros in its place."""
    captions: list[str]
    """Checked captions."""
    image: bytes | None
    """PNG of the layer to be shown; None = no layer was named, or the sample lacks it."""
    footprint: bytes
    """WKB, degrees."""
    vectors: dict[str, pa.Table]
    """Layer -> its vector objects (`Sample.vectors`), of the layers that were asked for."""
    metadata: Json
    """Catalogue columns as JSON, and 'present': group -> a bool per date slot; 'transforms': array -> (a, b, c, d, e,
    f) of pixel corners in `epsg`."""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(a.nbytes for a in self.arrays.values() if a is not None)


def flat_name(array: ArraySpec) -> str:
    """'sentinel2.bands_10m'."""
    return array.path.replace("/", ".")


def record(
    sample: Sample, arrays: Iterable[ArraySpec], image: GroupSpec | None = None, vectors: Iterable[str] = ()
) -> Record:
    """Read a sample's arrays and the objects of the layers `vectors`, and draw the first date of `image`.

    Raises:
        CorruptError: the shard is damaged.
    """
    found: dict[str, NDArray[Any] | None] = {}
    transforms: dict[str, tuple[float, ...]] = {}
    for array in arrays:
        pixels = sample.get(array.path)
        if pixels is not None and array.dated:
            pixels = pixels[np.asarray(sample.present[array.group])]
        found[flat_name(array)] = None if pixels is None else np.ascontiguousarray(pixels)
        transforms[flat_name(array)] = sample.transform(array.path)
    metadata = {key: plain(value) for key, value in sample.item.items() if key not in _LEFT_OUT}
    metadata["present"] = {group: list(slots) for group, slots in sample.present.items()}
    metadata["transforms"] = plain(transforms)
    shown = None if image is None else _image(sample, image)
    captions, objects = [c.text for c in sample.captions], {layer: sample.vectors(layer) for layer in vectors}
    return Record(sample.id, found, captions, shown, sample.item["geometry"], objects, metadata)


def _image(sample: Sample, group: GroupSpec) -> bytes | None:
    slot = next((i for i, there in enumerate(sample.present[group.name]) if there), None)
    return None if slot is None else encoded(picture(sample, group, slot), "PNG")


def plain(value: Any) -> Any:
    """The value for JSON: times in RFC 3339 (UTC), tuples as lists, bytes in hex, NaN and infinity as null."""
    match value:
        case dict():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case date():
            return _stamp(value)
        case bytes():
            return value.hex()
        case float() if not math.isfinite(value):
            return None
    return value


def _stamp(value: date) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat()


def description(array: ArraySpec) -> Json:
    """Description of an array: dims, dtype, bands, scale and offset."""
    nodata = array.nodata
    return {
        "dims": list(array.dims[1:]),
        "dtype": array.dtype,
        "bands": [{"name": b.name, "center_um": b.center_um, "fwhm_um": b.fwhm_um} for b in array.bands],
        "resolution_m": array.resolution_m,
        "unit": array.unit,
        "scale": array.scale,
        "offset": array.offset,
        "nodata": None if nodata is None else "NaN" if math.isnan(nodata) else nodata,
    }
