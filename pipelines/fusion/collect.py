"""First pass: what one shard says about how often products agree, and pixels that the image model learns from."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from pipelines.labels.fusion.image import FOLDS
from pipelines.labels.fusion.votes import Patterns
from sampling.geobox import projected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pipelines.fusion.reading import Read, Reading
    from pipelines.labels.fusion.fuse import Evidence

WINDOW = 9
"""Pixels that are kept of each reference point: its own, and those around, which tell of errors too."""
DEGREE_M = 110_000.0
"""Metres of a degree of latitude, at least: points farther from a sample's centre are not looked at."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What a shard tells the model."""

    keys: NDArray[np.int64]
    """(patterns,) see `Patterns`."""
    counts: NDArray[np.int64]
    """(patterns,) pixels."""
    votes: NDArray[np.uint16]
    """(voters, n) symbols of the pixels that were drawn."""
    image: NDArray[np.int16]
    """(n, D) their features; D = 0 with votes alone."""
    usable: NDArray[np.bool_]
    """(n,) True = the image is there."""
    fold: NDArray[np.uint8]
    """(n,) fold of their block."""
    stratum: NDArray[np.int64]
    """(n,) stratum of their sample."""
    point: NDArray[np.int32]
    """(n,) -1 for a pixel that was drawn, else the number of a reference point: `WINDOW` rows for each, of the 3 x 3
    pixels around it in order, the point's own in the middle. At the edge the outermost pixels come again."""

    def to_bytes(self) -> bytes:
        """The shard's file: NumPy's .npz, whose parts have checksums."""
        file = io.BytesIO()
        np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})
        return file.getvalue()

    @classmethod
    def of_bytes(cls, raw: bytes) -> Self:
        """What `to_bytes` made."""
        with np.load(io.BytesIO(raw), allow_pickle=False) as found:
            return cls(**{f.name: found[f.name] for f in fields(cls)})


def collect(reading: Reading, positions: Iterable[int]) -> Statistics:
    """Statistics of the samples at these places in the catalogue."""
    job = reading.job
    voters = [f.form for f in job.families]
    width = 3 * sum(len(b.mean) for b in job.bands)
    patterns: list[Patterns] = []
    parts: list[tuple[NDArray[np.intp], NDArray[np.int32], Evidence]] = []
    for position in positions:
        read = reading.read(position)
        if read.evidence is None:
            continue
        patterns.append(Patterns.of(voters, read.evidence.votes, read.evidence.stratum))
        parts.append((*_drawn(reading, read, read.evidence), read.evidence))
    total = Patterns.total(patterns)
    votes = [e.votes.reshape(len(voters), -1)[:, where] for where, _, e in parts]
    image = [_features(e, where, width) for where, _, e in parts]
    usable = [np.zeros(len(w), bool) if e.usable is None else e.usable.ravel()[w] for w, _, e in parts]
    fold = [np.full(len(where), e.block % FOLDS, np.uint8) for where, _, e in parts]
    stratum = [np.full(len(where), e.stratum, np.int64) for where, _, e in parts]
    return Statistics(
        keys=total.keys,
        counts=total.counts,
        votes=np.concatenate([np.zeros((len(voters), 0), np.uint16), *votes], axis=1),
        image=np.concatenate([np.zeros((0, width), np.int16), *image]),
        usable=np.concatenate([np.zeros(0, bool), *usable]),
        fold=np.concatenate([np.zeros(0, np.uint8), *fold]),
        stratum=np.concatenate([np.zeros(0, np.int64), *stratum]),
        point=np.concatenate([np.zeros(0, np.int32), *(point for _, point, _ in parts)]),
    )


def _features(one: Evidence, where: NDArray[np.intp], width: int) -> NDArray[np.int16]:
    """Features fit into 16 bits: `labels.fusion.image.LARGEST`."""
    if one.image is None:
        return np.zeros((len(where), width), np.int16)
    return one.image.reshape(-1, width)[where].astype(np.int16)


def _drawn(reading: Reading, read: Read, one: Evidence) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Pixels of a sample, drawn by its id alone, and behind them the windows of its reference points."""
    count = one.votes[0].size
    seed = int.from_bytes(hashlib.sha256(str(read.row["id"]).encode()).digest()[:8], "big")
    each = min(reading.job.pixels_each, count) if reading.job.bands else 0
    drawn = np.sort(np.random.default_rng(seed).choice(count, each, replace=False))
    pixel, number = _points(reading, read)
    mark = np.concatenate([np.full(len(drawn), -1, np.int32), number])
    return np.concatenate([drawn, pixel]).astype(np.intp), mark


def _points(reading: Reading, read: Read) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Pixels of the windows of a sample's reference points, and for each the number of its point."""
    row, points = read.row, reading.job.points
    size, resolution = reading.grid
    reach = 2 * reading.base.spec.size_m / DEGREE_M
    east = (points[:, 0] - row["lon"] + 180.0) % 360.0 - 180.0
    near = np.abs(points[:, 1] - row["lat"]) < reach
    near &= np.abs(east) * max(np.cos(np.radians(row["lat"])), 0.001) < reach
    number = np.flatnonzero(near).astype(np.int32)
    x, y = projected(np.full(len(number), row["epsg"]), points[number, 0], points[number, 1])
    column = np.floor((x - row["x_min"]) / resolution).astype(np.intp)
    line = np.floor((row["y_max"] - y) / resolution).astype(np.intp)
    inside = (column >= 0) & (column < size) & (line >= 0) & (line < size)
    step = np.arange(-1, 2)
    lines = np.clip(line[inside, None, None] + step[:, None], 0, size - 1)
    columns = np.clip(column[inside, None, None] + step, 0, size - 1)
    return (lines * size + columns).ravel(), number[inside].repeat(WINDOW)
