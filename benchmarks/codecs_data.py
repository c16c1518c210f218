"""Chips that `benchmarks.codecs` compresses: real scenes, and the miniature Earth where no open pixels exist."""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

Chips = list["NDArray[Any]"]
TERRAMESH = ("282D_485L_3_3", "38D_378R_2_3", "433D_629L_3_1")
"""Coast of Parana, Serengeti, Chile: one Sentinel-1 and one Sentinel-2 image each, with DEM and land cover."""
SCL_CLOUD = (3, 8, 9, 10)
"""Cloud shadow, cloud medium, cloud high, cirrus (Sentinel-2 L2A scene classification)."""


def chips_of(real: Path, earth: Path) -> dict[str, Chips]:
    """Name of a kind of array -> chips as the writer gets them: dtype and axes of an inner chunk.

    Args:
        real: folder of real data; kinds that need it are left out where it is not.
        earth: a miniature Earth (`python -m testbed make`); the same.
    """
    found: dict[str, Chips] = {}
    kinds: list[tuple[str, Path, Callable[[Path], Chips]]] = [
        ("S2 10 m, real", real, _s2_10m),
        ("S2 20 m, real", real, _s2_20m),
        ("S2 10 m, earth", earth, _s2_earth),
        ("S1 dB, real", real, _s1_db),
        ("S1 linear, real", real, _s1_linear),
        ("Landsat, real", real, _landsat),
        ("Landsat, earth", earth, _landsat_earth),
        ("EnMAP 224 bands, earth", earth, _enmap),
        ("DEM 30 m, real", real, _dem),
        ("DEM 10 m, real", real, _dem_10m),
        ("classes, real", real, _classes),
        ("QA bits, real", real, _qa),
        ("masks, real", real, _masks),
    ]
    for name, folder, load in kinds:
        if folder.is_dir():
            found[name] = load(folder)
    return found


def _s2_10m(real: Path) -> Chips:
    """4 bands of 224 and 256 px: three TerraMesh sites (L2A) and Mol (L2A by iCOR)."""
    sites = [_read(real / f"multimodal/terramesh/{s}/S2L2A.tif")[[1, 2, 3, 7]].astype(np.uint16) for s in TERRAMESH]
    folder = real / "multimodal/belgium_mol/sentinel2_boa"
    mol = np.concatenate([_read(folder / f"ref_check_icor_S2_{b}.tif") for b in ("B02", "B03", "B04", "B08")])
    return [*sites, *_cut(mol, 256)]


def _s2_20m(real: Path) -> Chips:
    """6 bands of 112 px: TerraMesh stores 20 m bands on 10 m, every second pixel is taken."""
    files = [_read(real / f"multimodal/terramesh/{s}/S2L2A.tif") for s in TERRAMESH]
    return [np.ascontiguousarray(f[[4, 5, 6, 8, 10, 11], ::2, ::2]).astype(np.uint16) for f in files]


def _s2_earth(earth: Path) -> Chips:
    folder = sorted({p.parent for p in (earth / "files/sentinel2").rglob("B02.tif")})[0]
    return _cut(np.concatenate([_read(folder / f"{b}.tif") for b in ("B02", "B03", "B04", "B08")]), 256)[:4]


def _s1_db(real: Path) -> Chips:
    return [_read(real / f"multimodal/terramesh/{s}/S1RTC.tif").astype(np.float32) for s in TERRAMESH]


def _s1_linear(real: Path) -> Chips:
    """VV and VH of 100 px, ten dates."""
    folder = real / "sentinel1/opera_rtc_santa_barbara"
    return [
        np.concatenate([_read(p), _read(p.with_name(p.name.replace("_VV", "_VH")))])
        for p in sorted(folder.glob("*_VV.tif"))
    ]


def _landsat(real: Path) -> Chips:
    """6 bands of 85 px of a whole scene that its source reduced to 600 m: rougher than a scene at 30 m."""
    folder = real / "landsat/LC08_L2SP_001062_20201031"
    bands = [_read(next(folder.glob(f"*_SR_B{b}.TIF"))) for b in range(2, 8)]
    return [c for c in _cut(np.concatenate(bands), 85) if c.min() > 0]


def _landsat_earth(earth: Path) -> Chips:
    folder = sorted({p.parent for p in (earth / "files/landsat").rglob("SR_B2.TIF")})[0]
    return _cut(np.concatenate([_read(folder / f"SR_B{b}.TIF") for b in range(1, 8)]), 85)[:6]


def _enmap(earth: Path) -> Chips:
    """224 bands of 86 px; there are no open EnMAP pixels to measure on, and synthetic noise is what decides here."""
    scene = _read(next((earth / "files/enmap").rglob("SPECTRAL_IMAGE_COG.TIF")))
    return [c for c in _cut(scene, 86) if (c != -32768).all()][:3]


def _dem(real: Path) -> Chips:
    """GLO-30 of Sao Tome (float32 as published) and SRTM of Mol and Andorra (whole metres), 85 px."""
    glo30 = _read(real / "multimodal/sao_tome/Copernicus_DSM_COG_10_N00_00_E006_00_DEM.tif")
    land = [c for c in _cut(glo30, 85) if (c > 0).all()][:12]
    tiles = ("belgium_mol/dem/N51E005.SRTMGL1.hgt.zip", "osm_srtm_andorra/N42E001.hgt.zip")
    return land + [c for t in tiles for c in _cut(_srtm(real / "multimodal" / t), 85)[100:106]]


def _dem_10m(real: Path) -> Chips:
    """Copernicus GLO-30 resampled to 10 m and rounded to metres by TerraMesh, as float32."""
    return [_read(real / f"multimodal/terramesh/{s}/DEM.tif").astype(np.float32) for s in TERRAMESH]


def _classes(real: Path) -> Chips:
    """Land cover of 224 and 256 px, and a scene classification."""
    lulc = [_read(real / f"multimodal/terramesh/{s}/LULC.tif")[0].astype(np.uint8) for s in TERRAMESH]
    cover = real / "multimodal/sao_tome/ESA_WorldCover_10m_2021_v200_N00E006_Map.tif"
    with rasterio.open(cover) as file:
        column, row = ~file.transform * (6.6, 0.25)
        window = rasterio.windows.Window(int(column), int(row), 1024, 512)
        world = file.read(window=window)
    scl = _read(real / "sentinel2/S2A_29RKH_20200219_0_L2A/SCL.tif")
    return lulc + [c[0] for c in _cut(world, 256)] + [c[0] for c in _cut(scl, 256)]


def _qa(real: Path) -> Chips:
    path = next((real / "landsat/LC08_L2SP_001062_20201031").glob("*_QA_PIXEL.TIF"))
    return [c[0] for c in _cut(_read(path), 85)]


def _masks(real: Path) -> Chips:
    """`cloud` and `valid`, from a scene classification and from QA_PIXEL."""
    scl = [c[0] for c in _cut(_read(real / "sentinel2/S2A_29RKH_20200219_0_L2A/SCL.tif"), 128)]
    qa = _qa(real)
    return [np.isin(c, SCL_CLOUD) for c in scl] + [(c & 0b11110) > 0 for c in qa] + [(c & 1) == 0 for c in qa]


def _srtm(path: Path) -> NDArray[np.float32]:
    with zipfile.ZipFile(path) as archive:
        heights = np.frombuffer(archive.read(archive.namelist()[0]), ">i2")
    edge = math.isqrt(heights.size)
    return heights.reshape(1, edge, edge).astype(np.float32)


def _read(path: Path) -> NDArray[Any]:
    """(band, y, x)."""
    with rasterio.open(path) as file:
        pixels: NDArray[Any] = file.read()
    return pixels


def _cut(pixels: NDArray[Any], edge: int) -> Chips:
    _, height, width = pixels.shape
    corners = [(y, x) for y in range(0, height - edge + 1, edge) for x in range(0, width - edge + 1, edge)]
    return [np.ascontiguousarray(pixels[:, y : y + edge, x : x + edge]) for y, x in corners]
