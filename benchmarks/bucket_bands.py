"""Rows of `benchmarks.bucket` for subsets of bands: bytes and CPU beside their share of the pixels.

Each sensor is written with chunks of all bands and of some; all its bands and few of them are read from each dataset,
in turn, three times; the median counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import landweave
from benchmarks.bucket_data import make_bands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Row = dict[str, Any]

DATASETS = {"sentinel2": (0, 1), "enmap": (0, 8, 1)}
"""Sensor -> bands of a chunk, 0 = all. Goals are judged by the last."""
ROUNDS = 3
_RGB_UM = (0.665, 0.56, 0.49)
_WATER = (slice(126, 141), slice(160, 167))
"""Bands of EnMAP in which water vapour absorbs the light: 22 of 224 that users leave out."""


def bands_rows(folder: Path, read: Callable[..., Row]) -> Iterator[Row]:
    """Rows of all sensors and sizes of chunks.

    Args:
        folder: where datasets are made and kept.
        read: reads random samples: (dataset's name, task, arrays=, bands=) -> its row.
    """
    for source, sizes in DATASETS.items():
        whole: Row = {}
        for size in sizes:
            made = make_bands(folder, source, size)
            for row in _of_one(landweave.open(made), made.name, source, read):
                whole = whole or row
                same = {"bytes_to_whole": "kb_sample", "cpu_to_whole": "cpu_ms"} if "bytes_to_share" not in row else {}
                yield {"bands_per_chunk": size or "all", **row, **{k: row[v] / whole[v] for k, v in same.items()}}


def _of_one(data: landweave.Dataset, name: str, source: str, read: Callable[..., Row]) -> Iterator[Row]:
    """All bands of a dataset, then subsets of them."""
    banded = [a for a in data.modalities[source].arrays if a.kind == "continuous"]
    held = {b.name: a for a in banded for b in a.bands}
    subsets = {f"{len(held)} bands": list(held)}
    subsets |= {f"{len(few)} of {len(held)} bands": few for few in _few(source, data)}
    runs: dict[str, list[Row]] = {task: [] for task in subsets}
    for _ in range(ROUNDS):
        for task, bands in subsets.items():
            paths = list(dict.fromkeys(held[band].path for band in bands))
            runs[task].append(read(name, task, arrays=paths, bands={source: bands}))
    rows = {task: _median(found) for task, found in runs.items()}
    (every, whole), *rest = ((rows[task], _pixels(held, bands)) for task, bands in subsets.items())
    yield every
    for row, pixels in rest:
        share = pixels / whole
        to = {"bytes_to_share": row["kb_sample"] / every["kb_sample"] / share}
        yield {**row, **to, "cpu_to_share": row["cpu_ms"] / every["cpu_ms"] / share}


def _few(source: str, data: landweave.Dataset) -> Iterator[list[str]]:
    """Subsets that users ask for."""
    if source == "sentinel2":
        yield ["B04", "B03", "B02"]
        return
    bands = data.arrays[f"{source}/bands_30m"].bands
    names = [band.name for band in bands]
    centres = np.array([band.center_um for band in bands], float)
    gone = {name for part in _WATER for name in names[part]}
    yield [name for name in names if name not in gone]
    yield [names[int(np.abs(centres - um).argmin())] for um in _RGB_UM]


def _pixels(held: dict[str, Any], bands: list[str]) -> int:
    return sum(held[band].chip_shape[-1] * held[band].chip_shape[-2] for band in bands)


def _median(rows: list[Row]) -> Row:
    return {k: float(np.median([r[k] for r in rows])) if isinstance(v, float) else v for k, v in rows[0].items()}
