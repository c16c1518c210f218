"""Statistics per band of the train split: exact sums and fixed bins, so that no order of merging changes a digit.

Stored numbers (before scale and offset), over pixels that are not nodata in that band (`all`), and over those that are
not under the cloud mask either (`clear`). A pixel of a coarser layer is cloudy if any mask pixel in it is.

Sums of integers are Python integers. A float32 is an integer times a power of two, so its sum and sum of squares are
kept as integers in units of 2**-149 and 2**-298 (the smallest float32 and its square) and rounded once, at the end.
Percentiles come from bins: 16 stored numbers wide for 16-bit integers, 1 for 8-bit ones, and 256 bins to each factor of
two for floats (within 0.2 % of the value); they are interpolated inside the bin.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from landweave.layout import ArraySpec, DatasetSpec, Json
    from schemas.stack import Stack

PERCENTILES = (1, 2, 5, 25, 50, 75, 95, 98, 99)
_INT16_SHIFT = 4
_INT16_BIN = 1 << _INT16_SHIFT
_FLOAT_SHIFT = 15
"""Float bins keep sign, exponent and 8 bits of mantissa: 23 - 8 = 15 bits are dropped."""
_SUM_UNIT = 149
_SQUARE_UNIT = 298
_SCHEMA = pa.schema(
    [
        ("array", pa.string()),
        ("band", pa.string()),
        ("pixels", pa.string()),
        ("count", pa.int64()),
        ("sum", pa.string()),
        ("sum_of_squares", pa.string()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("bins", pa.list_(pa.int64())),
        ("counts", pa.list_(pa.int64())),
    ]
)


class Moments:
    """Mergeable statistics of one band: adding in any order and grouping gives the same figures."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        """Of the pixels: integers of up to 16 bits, or float32."""
        self.count = 0
        """Pixels."""
        self.total = 0
        """Exact sum, in units of 1 (integers) or 2**-149 (floats)."""
        self.squares = 0
        """Exact sum of squares, in units of 1 or 2**-298."""
        self.low = math.inf
        """Smallest."""
        self.high = -math.inf
        """Largest."""
        self.bins = np.zeros(_bin_count(dtype), np.int64)
        """Pixels by bin; see `_bin_of`."""

    def add(self, values: NDArray[Any]) -> None:
        """Add pixels, all finite."""
        if values.size == 0:
            return
        self.count += int(values.size)
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        if values.dtype.kind == "f":
            total, squares = _float_sums(values)
        else:
            total, squares = _whole_sums(values)
        self.total += total
        self.squares += squares
        self.bins += np.bincount(_bin_of(values), minlength=self.bins.size)

    def merge(self, other: Moments) -> None:
        """Add the statistics of another object."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.bins += other.bins

    def summary(self) -> Json:
        """count, mean, std (population), min, max, percentiles; only the count where there is no pixel."""
        if self.count == 0:
            return {"count": 0}
        units = (_SUM_UNIT, _SQUARE_UNIT) if self.dtype.kind == "f" else (0, 0)
        mean = Fraction(self.total, self.count << units[0])
        variance = Fraction(self.squares, self.count << units[1]) - mean * mean
        return {
            "count": self.count,
            "mean": float(mean),
            "std": math.sqrt(variance),
            "min": self.low,
            "max": self.high,
            "percentiles": {str(p): self._percentile(p) for p in PERCENTILES},
        }

    def _percentile(self, percent: int) -> float:
        rank = percent / 100 * (self.count - 1)
        ends = np.cumsum(self.bins)
        where = int(np.searchsorted(ends, rank, side="right"))
        pixels = int(self.bins[where])
        low, high = _edges(where, self.dtype)
        value = low + (high - low) * ((rank - (int(ends[where]) - pixels) + 0.5) / pixels)
        return min(max(value, self.low), self.high)


class Statistics:
    """Statistics of every continuous band of a dataset's modalities."""

    def __init__(self, dataset: DatasetSpec) -> None:
        measured = {g.name for g in dataset.groups if g.kind == "modality"}
        self._arrays = [a for a in dataset.arrays if a.kind == "continuous" and a.group in measured]
        self.moments: dict[tuple[str, str, str], Moments] = {
            (a.path, band.name, pixels): Moments(np.dtype(a.dtype))
            for a in self._arrays
            for band in a.bands
            for pixels in (("all", "clear") if _has_clouds(a, dataset) else ("all",))
        }

    def add(self, stack: Stack) -> None:
        """Add one sample of the train split."""
        for array in self._arrays:
            for slot in range(array.slots):
                observation = stack.observations.get((array.group, slot))
                if observation is None:
                    continue
                pixels = observation.arrays[array.name]
                clear = None if observation.cloud is None else ~_on_grid(observation.cloud, pixels.shape[-2:])
                for band, plane in zip(array.bands, pixels, strict=True):
                    there = _measured(plane, array)
                    whole = self.moments[array.path, band.name, "all"]
                    if clear is None:
                        whole.add(_taken(plane, there))
                        continue
                    seen = Moments(whole.dtype)
                    seen.add(_taken(plane, there & clear))
                    self.moments[array.path, band.name, "clear"].merge(seen)
                    whole.merge(seen)  # each pixel is counted once: the clear ones here, the others below
                    whole.add(_taken(plane, there & ~clear))

    def merge(self, other: Statistics) -> None:
        """Add the statistics of another shard."""
        for key, moments in other.moments.items():
            self.moments[key].merge(moments)

    def write(self, path: Path) -> None:
        """Write the part of one shard."""
        rows = [
            {
                "array": array,
                "band": band,
                "pixels": pixels,
                "count": m.count,
                "sum": str(m.total),
                "sum_of_squares": str(m.squares),
                "min": m.low,
                "max": m.high,
                "bins": np.flatnonzero(m.bins),
                "counts": m.bins[m.bins > 0],
            }
            for (array, band, pixels), m in self.moments.items()
            if m.count
        ]
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), path, compression="zstd", store_schema=False)

    @classmethod
    def read(cls, path: Path, dataset: DatasetSpec) -> Statistics:
        """Read the part of one shard."""
        statistics = cls(dataset)
        for row in pq.read_table(path).to_pylist():
            moments = statistics.moments[row["array"], row["band"], row["pixels"]]
            moments.count, moments.low, moments.high = row["count"], row["min"], row["max"]
            moments.total, moments.squares = int(row["sum"]), int(row["sum_of_squares"])
            moments.bins[row["bins"]] = row["counts"]
        return statistics

    def summary(self) -> Json:
        """Array -> band -> 'all' and 'clear' -> figures, in stored numbers."""
        result: Json = {}
        for (array, band, pixels), moments in self.moments.items():
            result.setdefault(array, {}).setdefault(band, {})[pixels] = moments.summary()
        return result


def _has_clouds(array: ArraySpec, dataset: DatasetSpec) -> bool:
    return any(a.role == "cloud" for a in dataset.group(array.group).arrays)


def _measured(plane: NDArray[Any], array: ArraySpec) -> NDArray[np.bool_]:
    there = np.isfinite(plane) if plane.dtype.kind == "f" else np.ones(plane.shape, np.bool_)
    if array.nodata is not None and not math.isnan(array.nodata):
        there &= plane != array.nodata
    return there


def _on_grid(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask on another grid of the same footprint: a pixel is True if any mask pixel that it touches is True."""
    for axis, size in enumerate(shape):
        have = mask.shape[axis]
        if have == size:
            continue
        first = np.arange(size) * have // size
        last = -(-(np.arange(size) + 1) * have // size)
        count = np.concatenate([np.zeros_like(mask.take([0], axis), np.int64), mask.cumsum(axis, dtype=np.int64)], axis)
        mask = count.take(last, axis) > count.take(first, axis)
    return mask


def _taken(plane: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """(n,) the pixels of a plane (y, x) where a mask (y, x) is True."""
    return plane.ravel() if mask.all() else plane[mask]


def _dot(a: NDArray[Any], b: NDArray[Any]) -> Any:
    """Sum of the products, in this thread: `np.dot` wakes the threads of BLAS, which wait busily for more."""
    return np.einsum("i,i->", a, b)


def _whole_sums(values: NDArray[Any]) -> tuple[int, int]:
    """Exact sum and sum of squares of integers of up to 16 bits, (n,).

    Doubles hold them: 2**20 squares below 2**32 come to less than 2**53.
    """
    total = squares = 0
    for start in range(0, len(values), 1 << 20):
        some = values[start : start + (1 << 20)].astype(np.float64)
        total += int(some.sum())
        squares += int(_dot(some, some))
    return total, squares


def _float_sums(values: NDArray[Any]) -> tuple[int, int]:
    """Exact sum in units of 2**-149 and of squares in units of 2**-298.

    Each float32 is m * 2**e in units of 2**-149, with |m| < 2**24 and e from 0 on. Values are taken together whose e
    lies in one step of 8: in units of that step |m| < 2**32. They are summed in int64, and the squares in halves of
    16 bits, which cannot overflow below 2**30 pixels.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    power = (bits >> 23) & 0xFF
    whole = (bits & 0x7FFFFF) | (np.minimum(power, 1) << 23)
    shift = np.maximum(power, 1) - 1
    steps = (shift >> 3).astype(np.uint8)
    total = squares = 0
    for step in np.flatnonzero(np.bincount(steps)).tolist():
        taken = steps == step
        m = whole[taken].astype(np.int64) << (shift[taken] & 7)
        high, low = m >> 16, m & 0xFFFF
        square = (int(_dot(high, high)) << 32) + (int(_dot(high, low)) << 17) + int(_dot(low, low))
        total += int(np.where(bits[taken] < 0, -m, m).sum()) << (8 * step)
        squares += square << (16 * step)
    return total, squares


def _bin_count(dtype: np.dtype[Any]) -> int:
    if dtype.kind == "f":
        return 2 << (31 - _FLOAT_SHIFT)
    return 2**16 // _INT16_BIN if dtype.itemsize > 1 else 2**8


def _bin_of(values: NDArray[Any]) -> NDArray[np.integer]:
    """Bin of each pixel, from 0; bins of signed types are counted from the middle."""
    middle = _bin_count(values.dtype) // 2
    if values.dtype.kind == "f":
        bits = np.ascontiguousarray(values, np.float32).view(np.int32)
        return (np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF)) >> _FLOAT_SHIFT) + middle
    bins = values >> _INT16_SHIFT if values.dtype.itemsize > 1 else values
    return bins.astype(np.int32) + middle if values.dtype.kind == "i" else bins


def _edges(where: int, dtype: np.dtype[Any]) -> tuple[float, float]:
    """First number of a bin and of the next (integers: half a number lower, so that a value is its own middle)."""
    if dtype.kind in "if":
        where -= _bin_count(dtype) // 2
    if dtype.kind != "f":
        width = _INT16_BIN if dtype.itemsize > 1 else 1
        return where * width - 0.5, (where + 1) * width - 0.5
    return _float_of(where << _FLOAT_SHIFT), _float_of((where + 1) << _FLOAT_SHIFT)


def _float_of(ordered: int) -> float:
    bits = np.array([abs(ordered)], np.int32).view(np.float32)[0]
    return math.copysign(float(bits), ordered)
