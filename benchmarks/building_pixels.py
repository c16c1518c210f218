"""Compares what the methods of `benchmarks.building` wrote, number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import landweave

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

NAMES = {
    "sentinel2_10m": "sentinel2/bands_10m", "sentinel2_20m": "sentinel2/bands_20m",
    "sentinel2_60m": "sentinel2/bands_60m", "sentinel2_scl": "sentinel2/scl", "sentinel1": "sentinel1/backscatter",
    "landsat": "landsat/bands_30m", "dem": "dem/elevation", "worldcover": "worldcover/classes",
}  # fmt: skip
"""Array of the peers -> ours."""
TOLERANCE = {"sentinel1": 1e-4, "landsat": 1.0, "dem": 0.01}
"""Largest difference that counts as equal: dB after a logarithm in another precision; a digital number and a centimetre
after a bilinear kernel."""


def places_of(out: Path) -> list[dict[str, Any]]:
    """The footprints of our dataset: id, EPSG, left, top, and the centre in longitude and latitude."""
    dataset = landweave.open(out)
    found = []
    for name in dataset.query().ids:
        sample = dataset.sample(name)
        left, _, _, top = sample.bounds("sentinel2/bands_10m")
        lon, lat = sample.lonlat
        found.append({"id": name, "epsg": sample.epsg, "x": left, "y": top, "lon": lon, "lat": lat})
    return found


def compared(out: Path, theirs: Path, places: list[dict[str, Any]], most: int = 20) -> dict[str, float]:
    """Share of equal numbers for each array, over about `most` samples, where both have a pixel."""
    import zarr

    dataset = landweave.open(out)
    (name,) = [n for n in ("data.zarr", "compare.zarr") if (theirs / n).is_dir()]
    group: Any = zarr.open_group(theirs / name, mode="r")
    same: dict[str, list[float]] = {}
    for position in range(0, len(places), max(1, len(places) // most)):
        sample = dataset.sample(places[position]["id"])
        for name, ours in NAMES.items():
            mine = sample.get(ours)
            if name in group and mine is not None:
                found = np.asarray(group[name][position])
                mine = mine[: len(found)] if found.ndim > 2 else mine  # as many dates as they have
                same.setdefault(name, []).append(_equal(mine, found, name))
    return {name: round(float(np.mean(shares)), 5) for name, shares in same.items()}


def _equal(ours: NDArray[Any], theirs: NDArray[Any], name: str) -> float:
    a, b = np.asarray(ours, np.float64).ravel(), np.asarray(theirs, np.float64).ravel()
    there = np.isfinite(a) & np.isfinite(b)
    if name.startswith(("sentinel2", "landsat")):
        there &= (a != 0) & (b != 0)
    near = np.abs(a[there] - b[there]) <= TOLERANCE.get(name, 0.0)
    return float(near.mean()) if there.any() else 0.0
