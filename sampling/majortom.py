"""Major-TOM grid cells: names, places and lists of the cells of a gap-free grid of any spacing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sampling.sphere import SEMI_MAJOR_M, rounded, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from schemas.place import BBox

SPACING_M = 10_000.0
"""Spacing of Major TOM's own grid (Francis and Czerkawski 2024, arXiv:2402.12095)."""


def row_count(spacing_m: float) -> int:
    """Rows from pole to pole: pi * R / spacing, rounded up, R the equatorial radius (ESA-PhiLab/Major-TOM grid.py)."""
    return math.ceil(math.pi * SEMI_MAJOR_M / spacing_m)


def column_count(row: NDArray[np.int64], spacing_m: float) -> NDArray[np.int64]:
    """Columns of rows: the circumference at each row's southern edge / spacing, rounded up (the same source)."""
    south = np.radians(row * (180.0 / row_count(spacing_m)))
    circumference = 2.0 * math.pi * SEMI_MAJOR_M * np.cos(south)
    return np.asarray(np.maximum(np.ceil(circumference / spacing_m).astype(np.int64), 1))


def cells_of(
    lon: NDArray[np.float64], lat: NDArray[np.float64], spacing_m: float = SPACING_M
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Signed (row, column) of the cells that hold points: row 0 starts at the equator, column 0 at Greenwich.

    A cell is named after its south-western corner. In a row with an odd number of columns the easternmost cell
    goes on across 180 degrees.

    Args:
        lon: (n,) longitudes, degrees.
        lat: (n,) latitudes, degrees.
        spacing_m: edge of a cell, metres.

    Returns:
        two (n,) int64 arrays.
    """
    rows = row_count(spacing_m)
    row = np.clip(np.floor(lat / (180.0 / rows)).astype(np.int64), -((rows + 1) // 2), (rows - 1) // 2)
    columns = column_count(row, spacing_m)
    half = columns // 2
    column = (np.floor(lon / (360.0 / columns)).astype(np.int64) + half) % columns - half
    return row, column


def names(row: NDArray[np.int64], column: NDArray[np.int64]) -> list[str]:
    """Cell ids such as '433D_629L': rows U(p) and D(own) from the equator, columns R(ight) and L(eft) of Greenwich."""
    return [
        f"{abs(r)}{'U' if r >= 0 else 'D'}_{abs(c)}{'R' if c >= 0 else 'L'}"
        for r, c in zip(row.tolist(), column.tolist(), strict=True)
    ]


def centres(
    row: NDArray[np.int64], column: NDArray[np.int64], spacing_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(lon, lat) of the middle of cells, degrees; a cell that is a whole cap has its middle at the pole."""
    height = 180.0 / row_count(spacing_m)
    columns = column_count(row, spacing_m)
    south, north = np.maximum(row * height, -90.0), np.minimum((row + 1) * height, 90.0)
    cap = columns == 1
    lat = np.where(cap, np.where(row < 0, -90.0, 90.0), (south + north) / 2.0)
    lon = np.where(cap, 0.0, (column + 0.5) * (360.0 / columns))
    return wrapped(lon), rounded(lat)


def cells_in(
    box: BBox, spacing_m: float, at_once: int = 65_536
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The cells whose middle lies in a box, from south to north and west to east, at most about `at_once` a time.

    Args:
        box: west, south, east, north, degrees; east may pass 180 (190 is 170 W) and then the box crosses it.
        spacing_m: edge of a cell, metres.
        at_once: cells in a yielded chunk, give or take one row.

    Yields:
        (row, column) int64 arrays.
    """
    west, south, east, north = box
    rows = row_count(spacing_m)
    height = 180.0 / rows
    first = max(math.floor(south / height) - 1, -((rows + 1) // 2))
    last = min(math.floor(north / height) + 1, (rows - 1) // 2)
    held: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    size = 0
    for number in range(first, last + 1):
        count = int(column_count(np.array([number]), spacing_m)[0])
        width = 360.0 / count
        begin, end = math.floor(west / width) - 1, math.floor(east / width) + 1
        if end - begin + 1 >= count:
            begin, end = -(count // 2), count - 1 - count // 2
        column = (np.arange(begin, end + 1, dtype=np.int64) + count // 2) % count - count // 2
        row = np.full(column.shape, number, dtype=np.int64)
        lon, lat = centres(row, column, spacing_m)
        inside = (lat >= south) & (lat <= north) & (np.mod(lon - west, 360.0) <= east - west)
        held.append((row[inside], column[inside]))
        size += int(inside.sum())
        if size >= at_once:
            yield np.concatenate([h[0] for h in held]), np.concatenate([h[1] for h in held])
            held, size = [], 0
    if size:
        yield np.concatenate([h[0] for h in held]), np.concatenate([h[1] for h in held])
