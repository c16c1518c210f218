"""The stack that `benchmarks.building` builds: dates and footprints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyproj

if TYPE_CHECKING:
    from pathlib import Path

DATES = (
    {"name": "y2021", "start": "2021-06-01", "end": "2021-09-15"},
    {"name": "y2022", "start": "2022-06-01", "end": "2022-09-15"},
)
SIZE_M, STEP_M = 2560, 2580
"""Edge of a footprint; step of the lattice: footprints snap to 60 m, and must not overlap then."""
POINTS = "points.csv"
"""Footprints of an Earth that has its own."""
_OVER_M = 600
"""Each tile of the miniature Earth reaches at least so far over 12 E, where its zone ends."""


def write_points(earth: Path, path: Path, most: int) -> None:
    """Centres of footprints that lie side by side and whole in the two tiles of a miniature Earth: 50 at full size.

    An Earth of scenes of real size has its own points, of which the first are taken.
    The columns of the western tile begin at its left edge, and those of the eastern one end at its right edge.
    """
    if (earth / POINTS).is_file():
        path.write_text("".join((earth / POINTS).read_text().splitlines(keepends=True)[: 1 + most]))
        return
    rows = []
    for epsg, (left, top, edge) in _tiles(earth).items():
        change = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
        across, down = (edge - _OVER_M - 120) // STEP_M, (edge - 120) // STEP_M
        first = left + 60 if epsg == 32632 else left + edge - 60 - across * STEP_M
        for number in range(across * down):
            row, column = divmod(number, across)
            rows.append(change.transform(first + (column + 0.5) * STEP_M, top - 60 - (row + 0.5) * STEP_M))
    step = max(1, len(rows) // most)
    path.write_text("lon,lat\n" + "".join(f"{lon:.7f},{lat:.7f}\n" for lon, lat in rows[::step][:most]))


def _tiles(earth: Path) -> dict[int, tuple[int, int, int]]:
    """EPSG code -> left, top and edge of the tile of Sentinel-2, metres."""
    items = json.loads((earth / "stac" / "planetary-computer-items.json").read_text())
    found = {}
    for item in items:
        if item["collection"] == "sentinel-2-l2a":
            band = item["assets"]["B02"]
            _, _, left, _, _, top = band["proj:transform"]
            found[item["properties"]["proj:epsg"]] = (int(left), int(top), 10 * band["proj:shape"][0])
    return dict(sorted(found.items()))
