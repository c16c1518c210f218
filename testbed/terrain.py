"""Elevation, rivers and lakes of the miniature Earth: fractal ground, downhill flow, eroded valleys."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from testbed.plane import DOMAIN_M, Patch

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL_M = 40.0
"""Pixel of the ground before detail is added, metres."""
FLOW_M = 80.0
"""Pixel on which water runs, metres."""
STREAM_KM2 = 2.0
"""Catchment from which a stream runs, square kilometres."""
WHOLE = Patch(
    x_min=-DOMAIN_M[0],
    y_max=DOMAIN_M[1],
    step_m=CELL_M,
    width=int(2 * DOMAIN_M[0] / CELL_M),
    height=int(2 * DOMAIN_M[1] / CELL_M),
)
"""The whole domain at 40 m."""
FLOW = WHOLE.coarser(2)
"""The whole domain at 80 m."""

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class River:
    """A river from its head, or the last confluence, to the next."""

    xy: NDArray[np.float64]
    """(point, 2), plane metres, downstream."""
    catchment_km2: NDArray[np.float64]
    """(point,), catchment above each point, square kilometres."""

    @property
    def width_m(self) -> NDArray[np.float64]:
        """(point,), width of the water, metres: 3.5 times the root of the catchment, a temperate lowland river."""
        return np.asarray(3.5 * np.sqrt(self.catchment_km2))


@dataclass(frozen=True, kw_only=True)
class Terrain:
    """Ground and water over the whole domain."""

    elevation_m: Floats
    """(y, x) on `WHOLE`, metres; lakes are level."""
    lakes: NDArray[np.bool_]
    """(y, x) on `WHOLE`, True = lake."""
    rivers: tuple[River, ...]
    """Streams and rivers."""
    valley_m: Floats
    """(y, x) on `WHOLE`, distance to the nearest river, metres."""


def fractal(rng: np.random.Generator, shape: tuple[int, int], step_m: float, longest_m: float, slope: float) -> Floats:
    """Random field with a power spectrum that falls as frequency ** -slope; mean 0, standard deviation 1.

    Args:
        rng: source of chance.
        shape: (rows, columns).
        step_m: pixel edge, metres.
        longest_m: wavelengths longer than this are left out, metres.
        slope: 2 is rough, 3 is smooth.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    fy = np.fft.fftfreq(shape[0], step_m)[:, None]
    fx = np.fft.rfftfreq(shape[1], step_m)[None, :]
    frequency = np.hypot(fy, fx).astype(np.float32)
    gain = np.where(frequency > 0, np.maximum(frequency, 1 / longest_m), 1.0) ** np.float32(-slope / 2)
    gain *= np.exp(-((1 / longest_m / np.maximum(frequency, 1e-9)) ** 4))
    gain[0, 0] = 0.0
    field = fft.irfft2(fft.rfft2(white) * gain, s=shape)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def _raw(rng: np.random.Generator) -> Floats:
    """Ground before water: plains in the north, hills, a ridged massif in the south."""
    shape = WHOLE.shape
    x, y = (v.astype(np.float32) for v in WHOLE.centres())
    hills = fractal(rng, shape, CELL_M, 7_000.0, 3.1)
    ridges = 1.0 - np.abs(fractal(rng, shape, CELL_M, 4_500.0, 3.4))
    rough = fractal(rng, shape, CELL_M, 1_500.0, 2.6)
    rim = fractal(rng, shape, CELL_M, 9_000.0, 3.2)
    south = np.clip(-(y[:, None] + 1_500.0) / 9_000.0 + 0.10 * rim - 0.05 * np.cos(x[None, :] / 5_000.0), 0.0, 1.0)
    massif = south.astype(np.float32) ** 1.3
    plain = 430.0 - 0.008 * y[:, None] + (34.0 + 40.0 * massif) * hills
    mountains = massif * (1150.0 + 520.0 * np.clip(ridges, -0.8, 1.0) + 28.0 * rough)
    return np.asarray(plain + mountains - _hollows(rng), dtype=np.float32)


def _hollows(rng: np.random.Generator, count: int = 12) -> Floats:
    """Depth of oval hollows, metres: glaciers' work in the plain, lakes to be."""
    x, y = (v.astype(np.float32) for v in WHOLE.centres())
    depth = np.zeros(WHOLE.shape, dtype=np.float32)
    for k in range(count):
        at_x = -13_500.0 + 27_000.0 * (k + 0.5 * float(rng.random()) + 0.25) / count
        at_y, turn, long_m = rng.uniform(-3_500.0, 6_500.0), rng.uniform(0, np.pi), rng.uniform(350.0, 800.0)
        dx, dy = x[None, :] - at_x, y[:, None] - at_y
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        reach = (along / long_m) ** 2 + (across / (long_m * rng.uniform(0.4, 0.8))) ** 2
        depth += np.float32(34.0) * np.exp(-(reach**2)).astype(np.float32)
    return depth


def _drain(ground: Floats) -> tuple[Floats, Indices, Indices]:
    """Fill pits and find where each cell drains: priority flood from the edge (Barnes et al. 2014).

    Returns:
        Filled ground (y, x); receiver of each cell (flat index, itself at the edge); cells from the outlet upwards.
    """
    height, width = ground.shape
    flat = ground.ravel().astype(float).tolist()
    filled = flat.copy()
    receiver = list(range(height * width))
    seen = bytearray(height * width)
    heap: list[tuple[float, int]] = []
    for i in range(height * width):
        if i < width or i >= (height - 1) * width or i % width in (0, width - 1):
            heap.append((flat[i], i))
            seen[i] = 1
    heapq.heapify(heap)
    order: list[int] = []
    steps = (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
    while heap:
        level, i = heapq.heappop(heap)
        order.append(i)
        if i < width or i >= (height - 1) * width or i % width in (0, width - 1):
            around: Iterator[int] = (j for j in (i - width, i - 1, i + 1, i + width) if 0 <= j < height * width)
        else:
            around = (i + s for s in steps)
        for j in around:
            if not seen[j]:
                seen[j] = 1
                receiver[j] = i
                filled[j] = max(flat[j], level + 0.002)
                heapq.heappush(heap, (filled[j], j))
    return np.array(filled, dtype=np.float32).reshape(ground.shape), np.array(receiver), np.array(order)


def _catchments(receiver: Indices, order: Indices) -> NDArray[np.float64]:
    """Cells that drain through each cell, itself included (flat)."""
    count = [1.0] * len(receiver)
    for i, r in zip(order[::-1].tolist(), receiver[order[::-1]].tolist(), strict=True):
        if r != i:
            count[r] += count[i]
    return np.array(count)


def smooth_line(xy: NDArray[np.float64], rounds: int = 3) -> NDArray[np.float64]:
    """Corner cutting (Chaikin); the ends stay."""
    for _ in range(rounds):
        if len(xy) < 3:
            return xy
        a, b = xy[:-1], xy[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, xy.shape[1])
        xy = np.concatenate([xy[:1], cut[1:-1], xy[-1:]])
    return xy


def _trace(rng: np.random.Generator, receiver: Indices, cells: NDArray[np.float64]) -> tuple[River, ...]:
    """Rivers from heads downstream, each ending where it meets one traced before."""
    km2 = cells * (FLOW_M / 1000) ** 2
    wet = km2 >= STREAM_KM2
    fed = np.zeros(len(receiver), dtype=bool)
    fed[receiver[wet & (receiver != np.arange(len(receiver)))]] = True
    heads = np.flatnonzero(wet & ~fed)
    taken = np.zeros(len(receiver), dtype=bool)
    x, y = FLOW.centres()
    jitter = rng.uniform(-0.35 * FLOW_M, 0.35 * FLOW_M, size=(len(receiver), 2))
    rivers: list[River] = []
    for head in heads[np.lexsort((heads, -_length(heads, receiver)))].tolist():
        path, i = [head], head
        while not taken[i] and receiver[i] != i:
            taken[i] = True
            i = int(receiver[i])
            path.append(i)
        at = np.array(path)
        if len(at) < 6:
            continue
        points = np.stack([x[at % FLOW.width], y[at // FLOW.width]], axis=1) + jitter[at]
        line = smooth_line(np.column_stack([points, km2[at]]))
        rivers.append(River(xy=line[:, :2], catchment_km2=line[:, 2]))
    return tuple(rivers)


def _length(heads: Indices, receiver: Indices) -> NDArray[np.int64]:
    """Cells from each head to the edge."""
    out = np.zeros(len(heads), dtype=np.int64)
    at = heads.copy()
    while (moving := receiver[at] != at).any():
        out += moving
        at = receiver[at]
    return out


def _lakes(ground: Floats, filled: Floats, count: int = 14) -> NDArray[np.bool_]:
    """The deepest pits that water fills, 4 to 300 ha each, below 640 m (y, x)."""
    deep = filled - ground > 1.5
    labels, found = ndimage.label(deep)
    if not found:
        return np.zeros(ground.shape, dtype=bool)
    volume = ndimage.sum_labels(filled - ground, labels, np.arange(1, found + 1))
    area_ha = ndimage.sum_labels(deep, labels, np.arange(1, found + 1)) * FLOW_M**2 / 1e4
    level = ndimage.mean(filled, labels, np.arange(1, found + 1))
    fit = (area_ha >= 4.0) & (area_ha <= 300.0) & (level < 640.0)
    ranked = [i for i in np.argsort(-volume, kind="stable") if fit[i]][:count]
    return np.isin(labels, np.array(ranked) + 1)


def make_terrain(rng: np.random.Generator) -> Terrain:
    """Ground, rivers that follow valleys and lakes in hollows, over the whole domain."""
    raw = _raw(rng)
    coarse = raw.reshape(FLOW.height, 2, FLOW.width, 2).mean(axis=(1, 3))
    filled, receiver, order = _drain(coarse)
    cells = _catchments(receiver, order)
    rivers = _trace(rng, receiver, cells)
    lakes = _lakes(coarse, filled)
    x, y = np.meshgrid(*WHOLE.centres())
    level = FLOW.bilinear(filled, x, y)
    big = FLOW.bilinear(lakes.astype(np.float32), x, y) > 0.5
    ground = np.where(big, level, np.maximum(raw, level - 6.0))
    bed = np.zeros(WHOLE.shape, dtype=bool)
    for river in rivers:
        row = ((WHOLE.y_max - river.xy[:, 1]) / CELL_M).astype(int).clip(0, WHOLE.height - 1)
        bed[row, ((river.xy[:, 0] - WHOLE.x_min) / CELL_M).astype(int).clip(0, WHOLE.width - 1)] = True
    distance, nearest = ndimage.distance_transform_edt(~bed, sampling=CELL_M, return_indices=True)
    floor = ndimage.gaussian_filter(np.where(big, level, np.minimum(ground, level)), 2.0)[tuple(nearest)]
    share = np.clip(distance / 420.0, 0.0, 1.0)
    share = share * share * (3 - 2 * share)
    carved = floor - 2.0 + (ground - floor + 2.0) * np.where(ground > floor, share, 1.0)
    smooth = ndimage.gaussian_filter(carved, 1.0)
    return Terrain(
        elevation_m=np.where(big, level, smooth).astype(np.float32),
        lakes=big,
        rivers=rivers,
        valley_m=distance.astype(np.float32),
    )
