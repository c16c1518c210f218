"""Chips in the projections of countries: copied from rasters on the same lattice, else as GDAL warps the whole file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine

from sampling.geobox import place_footprints, utm_epsgs
from schemas.grid import GridSpec
from testbed.services import serve_catalogue
from tests.access.rasters.test_cog_warp import oracle, read, same, smooth, write
from tests.sampling.test_sampling_crs import PLACES

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 320


@pytest.mark.slow
@pytest.mark.parametrize("code", [25832, 2154, 28992, 3035, 5070, 27700, 2056, 5514])
def test_every_warp_is_gdals(code: int, tmp_path: Path) -> None:
    lon, lat = PLACES[code]
    utm = int(utm_epsgs(np.array([lon]), np.array([lat]))[0])
    files = {"own": (code, 0.2), "utm": (utm, 10.0), "degrees": (4326, 1 / 3600)}
    for seed, (name, (epsg, step)) in enumerate(files.items()):
        x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
        x, y = (round(v / step) * step for v in (x, y))
        half = SIZE // 2 * step
        write(tmp_path / f"{name}.tif", smooth((SIZE, SIZE), seed), f"EPSG:{epsg}",
              Affine(step, 0, x - half, 0, -step, y + half), None)  # fmt: skip
    fine, coarse = (
        place_footprints(
            np.array([lon]), np.array([lat]), GridSpec(size_m=size, resolution_m=step, crs=f"EPSG:{code}")
        ).geobox(0, step)
        for size, step in ((25.6, 0.2), (640.0, 10.0))
    )
    with serve_catalogue([], {"/f/": tmp_path}) as services:
        (copied,) = read((f"{services.base_url}/f/own.tif",), [fine], "cubic")
        assert copied.resampling == "none"
        with rasterio.open(tmp_path / "own.tif") as dataset:
            column, row = ~dataset.transform @ (fine.x_min, fine.y_max)
            whole = dataset.read(1)
        assert fine.shape == (128, 128)
        np.testing.assert_array_equal(
            copied.pixels[0], whole[round(row) : round(row) + 128, round(column) : round(column) + 128]
        )
        for name in ("utm", "degrees"):
            for kernel in ("nearest", "bilinear", "cubic"):
                (chip,) = read((f"{services.base_url}/f/{name}.tif",), [coarse], kernel)
                assert chip.resampling == kernel
                assert chip.valid.all()
                same(chip, oracle(tmp_path / f"{name}.tif", coarse, kernel), kernel)
