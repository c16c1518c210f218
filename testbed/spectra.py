"""Reflectance of the ground: mixtures of twelve materials that change with crop and season."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PchipInterpolator

from schemas.enmap_bands import ENMAP_BANDS
from schemas.modality import LANDSAT, SENTINEL2
from testbed.landcover import Cover

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

Curve = tuple[tuple[float, float], ...]
"""(wavelength in micrometres, reflectance 0..1), increasing wavelength."""

MATERIALS: dict[str, Curve] = {
    "water": (
        (0.42, 0.045),
        (0.5, 0.05),
        (0.56, 0.05),
        (0.6, 0.028),
        (0.7, 0.012),
        (0.8, 0.007),
        (1, 0.004),
        (2.5, 0.002),
    ),
    "leaf": (
        *(
            (0.42, 0.03),
            (0.49, 0.033),
            (0.55, 0.075),
            (0.6, 0.05),
            (0.67, 0.033),
            (0.7, 0.1),
            (0.74, 0.32),
            (0.8, 0.44),
        ),
        *((0.95, 0.45), (0.98, 0.43), (1.07, 0.47), (1.2, 0.4), (1.28, 0.43), (1.45, 0.15), (1.65, 0.26), (1.8, 0.21)),
        *((1.95, 0.05), (2.2, 0.12), (2.45, 0.06)),
    ),
    "needle": (
        *(
            (0.42, 0.02),
            (0.49, 0.022),
            (0.55, 0.043),
            (0.67, 0.021),
            (0.7, 0.055),
            (0.74, 0.17),
            (0.8, 0.24),
            (0.95, 0.25),
        ),
        *((1.07, 0.25), (1.2, 0.19), (1.28, 0.2), (1.45, 0.06), (1.65, 0.11), (1.8, 0.08), (1.95, 0.022), (2.2, 0.05)),
        (2.45, 0.025),
    ),
    "grass": (
        *(
            (0.42, 0.038),
            (0.49, 0.042),
            (0.55, 0.095),
            (0.6, 0.07),
            (0.67, 0.043),
            (0.7, 0.13),
            (0.74, 0.35),
            (0.8, 0.43),
        ),
        *((0.95, 0.44), (0.98, 0.42), (1.07, 0.46), (1.2, 0.4), (1.28, 0.42), (1.45, 0.19), (1.65, 0.3), (1.8, 0.25)),
        *((1.95, 0.09), (2.2, 0.17), (2.45, 0.09)),
    ),
    "straw": (
        *(
            (0.42, 0.075),
            (0.49, 0.11),
            (0.55, 0.165),
            (0.67, 0.245),
            (0.8, 0.32),
            (1, 0.37),
            (1.28, 0.41),
            (1.45, 0.33),
        ),
        *((1.65, 0.41), (1.95, 0.23), (2.1, 0.27), (2.2, 0.31), (2.3, 0.26), (2.45, 0.22)),
    ),
    "soil": (
        *((0.42, 0.055), (0.49, 0.075), (0.55, 0.1), (0.67, 0.15), (0.8, 0.19), (1, 0.24), (1.28, 0.29), (1.45, 0.27)),
        *((1.65, 0.33), (1.95, 0.25), (2.2, 0.3), (2.45, 0.24)),
    ),
    "tile": (
        (0.42, 0.06),
        (0.49, 0.07),
        (0.55, 0.09),
        (0.6, 0.17),
        (0.67, 0.24),
        (0.8, 0.28),
        (1.65, 0.36),
        (2.45, 0.3),
    ),
    "metal": (
        (0.42, 0.26),
        (0.55, 0.31),
        (0.67, 0.33),
        (0.8, 0.34),
        (1, 0.35),
        (1.65, 0.36),
        (2.2, 0.32),
        (2.45, 0.28),
    ),
    "asphalt": (
        (0.42, 0.07),
        (0.55, 0.09),
        (0.67, 0.105),
        (0.8, 0.12),
        (1, 0.135),
        (1.65, 0.17),
        (2.2, 0.17),
        (2.45, 0.15),
    ),
    "rock": (
        (0.42, 0.15),
        (0.49, 0.18),
        (0.55, 0.21),
        (0.67, 0.25),
        (0.8, 0.27),
        (1.65, 0.32),
        (2.2, 0.29),
        (2.34, 0.23),
    ),
    "snow": (
        *((0.42, 0.92), (0.67, 0.91), (0.8, 0.87), (1, 0.72), (1.05, 0.6), (1.2, 0.44), (1.3, 0.4), (1.5, 0.05)),
        *((1.65, 0.1), (1.8, 0.19), (2, 0.03), (2.2, 0.08), (2.45, 0.03)),
    ),
    "cloud": (
        *((0.42, 0.72), (0.56, 0.73), (0.67, 0.74), (0.8, 0.75), (0.93, 0.68), (1, 0.73), (1.28, 0.68), (1.45, 0.45)),
        *((1.65, 0.52), (1.95, 0.25), (2.2, 0.36), (2.45, 0.28)),
    ),
}
"""Made-up smooth curves with the familiar shapes: red edge, water near 1.45 and 1.95 um, carbonate near 2.34 um."""
NAMES = tuple(MATERIALS)


def bands_of(sensor: str) -> dict[str, tuple[float, float]]:
    """Band name -> (centre, full width at half maximum), micrometres, of 'sentinel2', 'landsat' or 'enmap'."""
    if sensor == "enmap":
        return {f"B{i:03d}": band for i, band in enumerate(ENMAP_BANDS, 1)}
    modality = SENTINEL2 if sensor == "sentinel2" else LANDSAT
    return {b.name: (b.center_um, b.fwhm_um) for x in modality.layers for b in x.bands if b.center_um and b.fwhm_um}


def responses(bands: dict[str, tuple[float, float]]) -> NDArray[np.float32]:
    """Reflectance of each material in each band with a Gaussian response: (material, band)."""
    at = np.arange(0.40, 2.56, 0.001)
    curves = []
    for curve in MATERIALS.values():
        x, y = np.array(curve).T
        curves.append(PchipInterpolator(x, y, extrapolate=False)(np.clip(at, x[0], x[-1])))
    out = np.empty((len(curves), len(bands)), dtype=np.float32)
    for k, (centre, width) in enumerate(bands.values()):
        weight = np.exp(-4 * np.log(2) * ((at - centre) / width) ** 2)
        out[:, k] = (np.array(curves) * (weight / weight.sum())).sum(axis=1)
    return out


def _ramp(day: int, start: float, end: float) -> float:
    return float(np.clip((day - start) / (end - start), 0.0, 1.0))


def _crop(kind: int, day: int) -> tuple[float, float]:
    """(green, straw) shares of a crop on a day of the year; the rest is soil. Central Europe's calendar."""
    if kind == 0:  # winter cereal: ripe in July, stubble in August
        ripe, cut = _ramp(day, 165, 198), _ramp(day, 203, 215)
        return 0.85 * (1 - ripe), 0.8 * ripe * (1 - cut) + 0.3 * cut
    if kind == 1:  # maize: soil in May, closed in July
        return 0.08 + 0.82 * _ramp(day, 148, 192), 0.0
    if kind == 2:  # rape: ripe at the end of June, cut in July
        ripe, cut = _ramp(day, 158, 182), _ramp(day, 190, 202)
        return 0.8 * (1 - ripe), 0.7 * ripe * (1 - cut) + 0.2 * cut
    return 0.15 + 0.7 * _ramp(day, 140, 178), 0.0  # beet and potato


def mixtures(when: date) -> NDArray[np.float32]:
    """Shares of materials by class, variety and day: (class * 256 + variety, material); sums near 1, darker in forests.

    Args:
        when: the day; crops rotate from year to year.
    """
    day = when.timetuple().tm_yday
    spring = _ramp(day, 80, 135) * (1 - _ramp(day, 275, 320))
    table = np.zeros((max(Cover) + 1, 256, len(NAMES)), dtype=np.float32)
    m = {name: i for i, name in enumerate(NAMES)}
    variety = np.arange(256)
    v = variety / 255.0
    vigour = ((variety * 29) % 64) / 63.0

    def put(cover: Cover, **shares: NDArray[np.float64] | float) -> None:
        for name, share in shares.items():
            table[cover, :, m[name]] = share

    put(Cover.WATER, water=0.9 + 0.2 * v, soil=0.02 * v)
    put(Cover.BROADLEAF, leaf=(0.78 + 0.2 * v) * (0.3 + 0.7 * spring), soil=0.06 + 0.3 * (1 - spring))
    put(Cover.NEEDLELEAF, needle=0.85 + 0.25 * v, soil=0.03)
    put(Cover.SHRUB, leaf=0.35 * spring + 0.15 * v, grass=0.2, soil=0.22, straw=0.1)
    mown = (variety + when.year) % 3 == 0
    put(Cover.MEADOW, grass=np.where(mown, 0.55, 0.8) * (0.55 + 0.45 * spring) + 0.12 * vigour)
    put(Cover.MEADOW, straw=np.where(mown, 0.28, 0.08), soil=np.where(mown, 0.1, 0.04))
    for kind in range(4):
        green, straw = _crop(kind, day)
        mine = (variety * 7 + when.year) % 4 == kind
        table[Cover.CROPS, mine, m["grass"]] = (green * (0.85 + 0.25 * vigour))[mine]
        table[Cover.CROPS, mine, m["straw"]] = straw
        table[Cover.CROPS, mine, m["soil"]] = ((1 - green - straw) * (0.75 + 0.45 * vigour))[mine]
    put(Cover.GARDEN, grass=0.4, leaf=0.22, soil=0.12, asphalt=0.14)
    put(Cover.ROOF, tile=np.where(variety % 4 > 0, 0.95, 0.1), metal=np.where(variety % 4 > 0, 0.05, 0.9))
    put(Cover.ROAD, asphalt=0.95 + 0.1 * v)
    put(Cover.ROCK, rock=0.8 + 0.25 * v, grass=0.08)
    put(Cover.WETLAND, water=0.4, grass=0.45, straw=0.15 * v)
    put(Cover.SNOW, snow=0.95)
    put(Cover.BARE_SOIL, soil=0.9, grass=0.1)
    return table.reshape(-1, len(NAMES))
