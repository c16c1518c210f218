"""`python -m benchmarks.labels_agreement`: where real maps of one place agree. No truth is claimed.

    python -m benchmarks.labels_agreement --map worldcover=2020.tif --map worldcover=2021.tif --bbox 6.4 0 6.8 0.45

A map is a raster and the crosswalk of its codes: the name of a shipped one, or a file (docs/crosswalks.md). Maps are
brought onto the grid of the first, nearest pixel. With `--image` (any bands, repeatable), a model of the image learns
each map's classes in two thirds of the blocks and is compared with the map in the rest: a low agreement means that the
image does not show what the map says.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window, from_bounds

from pipelines.crosswalks import CrosswalkError, open_shipped, read_crosswalk
from pipelines.labels.fusion.image import FOLDS, ImageModel, Moments, features
from schemas.label import COMMON_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Row = dict[str, Any]
    Map = NDArray[np.uint8]

LAGS = (1, 2, 5, 10, 20, 40)
"""Pixels between two pixels of a row whose disagreement is compared."""
BLOCK = 32
"""Pixels across a block of the image model: its folds are blocks, not pixels."""
LARGEST = 200_000_000
"""Pixels of one map that are read at most; a `--bbox` makes it fewer."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The grid of the first map, and the part of it that is compared."""

    path: Path
    """The first map."""
    window: Window
    """Pixels of it."""

    def read(self, path: Path) -> NDArray[Any]:
        """(band, y, x) of a raster on this grid, nearest pixel; NaN or the raster's nodata where it has none."""
        with rasterio.open(self.path) as first, rasterio.open(path) as other:
            grid = {"crs": first.crs, "transform": first.transform, "width": first.width, "height": first.height}
            with WarpedVRT(other, **grid, resampling=Resampling.nearest) as view:
                return np.asarray(view.read(window=self.window))


def place_of(path: Path, bbox: Sequence[float] | None) -> Place:
    """The part of a map inside a box (west, south, east, north; degrees), or all of it.

    Raises:
        ValueError: the box lies outside the map, or there are too many pixels; one line.
    """
    with rasterio.open(path) as file:
        whole = Window(0, 0, file.width, file.height)
        window = whole
        if bbox is not None:
            inside = from_bounds(*transform_bounds("EPSG:4326", file.crs, *bbox), transform=file.transform)
            inside = inside.round_offsets().round_lengths()
            try:
                window = inside.intersection(whole)
            except RasterioError:
                raise ValueError(f"{path.name}: does not lie in --bbox {' '.join(f'{b:g}' for b in bbox)}") from None
    if window.width * window.height > LARGEST:
        raise ValueError(f"{path.name}: {window.width * window.height:,.0f} pixels, at most {LARGEST:,}; give --bbox")
    return Place(path=path, window=window)


def common(place: Place, crosswalk: str, path: Path) -> Map:
    """(y, x) codes of COMMON_CLASSES of a map, 0 = none.

    Raises:
        ValueError: a code of the map has no row in the crosswalk; one line.
    """
    shipped = not crosswalk.endswith((".yaml", ".yml"))
    found = open_shipped(crosswalk) if shipped else read_crosswalk(Path(crosswalk))
    codes, legend = place.read(path)[0], found.legend
    known = {c.code for c in legend.classes}
    strange = [int(c) for c in np.unique(codes) if c not in known and c not in {legend.nodata, *legend.fills}]
    if strange:
        raise ValueError(f"{path.name}: code {strange[0]} has no row in {found.crosswalk.name}; name another crosswalk")
    return legend.common(codes, np.isin(codes, list(known)))


def kappa(one: Map, two: Map) -> float:
    """Cohen's kappa of two maps where both have a class."""
    there = (one > 0) & (two > 0)
    table = np.zeros((len(COMMON_CLASSES),) * 2)
    np.add.at(table, (one[there], two[there]), 1)
    table /= max(1.0, table.sum())
    chance = float((table.sum(axis=0) * table.sum(axis=1)).sum())
    return (float(np.trace(table)) - chance) / (1 - chance) if chance < 1 else 1.0


def autocorrelation(differs: NDArray[np.bool_], there: NDArray[np.bool_], lag: int) -> float | None:
    """Correlation of disagreement between pixels of a row, `lag` apart, where both are known; None if none differs."""
    both = there[:, lag:] & there[:, :-lag]
    one, two = differs[:, lag:][both].astype(float), differs[:, :-lag][both].astype(float)
    return None if len(one) < 2 or not one.std() or not two.std() else float(np.corrcoef(one, two)[0, 1])


def pair(names: tuple[str, str], one: Map, two: Map) -> Row:
    """How two maps agree."""
    there = (one > 0) & (two > 0)
    differs = one != two
    lags = {lag: autocorrelation(differs, there, lag) for lag in LAGS if lag < one.shape[1]}
    return {
        "maps": list(names),
        "pixels": int(there.sum()),
        "agreement": _share(~differs & there, there),
        "kappa": round(kappa(one, two), 3),
        "same_class": {
            COMMON_CLASSES[k]: _share((one == k) & (two == k), there & ((one == k) | (two == k)))
            for k in np.union1d(np.unique(one[there]), np.unique(two[there])).tolist()
        },
        "autocorrelation_of_disagreement": {k: None if v is None else round(v, 2) for k, v in lags.items()},
    }


def single(name: str, one: Map) -> Row:
    """What one map holds."""
    there = one > 0
    shares = {COMMON_CLASSES[k]: _share(one == k, there) for k in np.unique(one[there]).tolist()}
    return {"map": name, "covered": _share(there, np.ones_like(there)), "shares": shares}


def shown(name: str, one: Map, image: NDArray[np.floating]) -> Row:
    """How a model of the image, learnt from the map in other blocks, agrees with the map."""
    seen = features(image)
    usable = np.isfinite(image).all(axis=0) & (one > 0)
    y, x = np.indices(one.shape)
    fold = (y // BLOCK + 2 * (x // BLOCK)) % FOLDS
    posterior = np.eye(len(COMMON_CLASSES))[one]
    limits = np.full(len(COMMON_CLASSES), 0.5)
    parts = [Moments.of(seen, posterior, limits, f, usable & (fold == f)) for f in range(FOLDS)]
    model, found = ImageModel.of(Moments.total(parts)), np.zeros_like(one)
    for f in range(FOLDS):
        likely = np.where(model.known[f], model.log_likelihood(seen, f), -np.inf)
        found = np.where(fold == f, likely.argmax(axis=-1).astype(np.uint8), found)
    judged = usable & np.isin(one, np.flatnonzero(model.known.all(axis=0)))
    return {"map": name, "image_pixels": int(judged.sum()), "image_agreement": _share((found == one) & judged, judged)}


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return round(float(part.sum() / max(1, whole.sum())), 4)


def compare(maps: Sequence[tuple[str, Path]], images: Sequence[Path], bbox: Sequence[float] | None) -> Iterator[Row]:
    """Rows of every map, of every pair, and of every map with the images.

    Raises:
        ValueError, CrosswalkError: see `common` and `place_of`; one line.
    """
    place = place_of(maps[0][1], bbox)
    found = {f"{Path(crosswalk).name}={path.name}": common(place, crosswalk, path) for crosswalk, path in maps}
    yield from (single(name, one) for name, one in found.items())
    for (a, one), (b, two) in itertools.combinations(found.items(), 2):
        yield pair((a, b), one, two)
    if images:
        bands = np.concatenate([place.read(path).astype(np.float32) for path in images])
        low, high = np.nanpercentile(bands, (2, 98), axis=(1, 2), keepdims=True)
        yield from (
            shown(name, one, 5000 * (bands - low) / np.maximum(high - low, 1e-6)) for name, one in found.items()
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.labels_agreement", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--map", action="append", required=True, metavar="CROSSWALK=FILE", help="repeatable")
    parser.add_argument("--image", action="append", type=Path, default=[], help="image of the place; repeatable")
    parser.add_argument("--bbox", nargs=4, type=float, metavar=("W", "S", "E", "N"), help="degrees")
    parser.add_argument("--json", action="store_true", help="one object per row")
    asked = parser.parse_args()
    maps = [(crosswalk, Path(path)) for crosswalk, _, path in (m.partition("=") for m in asked.map)]
    if not all(crosswalk and path.name for crosswalk, path in maps):
        parser.error("--map needs CROSSWALK=FILE, such as worldcover=2021.tif")
    try:
        for row in compare(maps, asked.image, asked.bbox):
            print(json.dumps(row) if asked.json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
    except (ValueError, CrosswalkError, RasterioError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
