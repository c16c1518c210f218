"""Gradients through Earth Engine's reader: the real client, grids of another zone, and arithmetic as the oracle."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from pipelines.access.chips import Chip, ChipRequest
from pipelines.access.earthengine import items
from pipelines.access.earthengine.products import PRODUCTS
from pipelines.access.earthengine.reader import EarthEngineReader
from pipelines.access.earthengine.session import Settings, open_session
from schemas.place import BBox, GeoBox
from testbed.earthengine import EeBand, EeCatalogue, EeImage, serve_earthengine
from tests.everywhere.planes import Plane, around
from tests.everywhere.test_everywhere_golden import MOST_PX

LON, LAT = 6.0005, 46.3
S2, LANDSAT, RADAR, DEM = (
    "COPERNICUS/S2_SR_HARMONIZED", "LANDSAT/LC09/C02/T1_L2", "COPERNICUS/S1_GRD", "COPERNICUS/DEM/GLO30",
)  # fmt: skip
NAMES = {
    S2: "20230606T100029_20230606T100545_T31TGM",
    LANDSAT: "LC09_196028_20230606",
    RADAR: "S1A_IW_GRDH_1SDV_20230606T050000_20230606T050025_048800_05DE00_ABCD",
    DEM: "N46_E006",
}
PIXEL_M = {"r10m": 10.0, "r20m": 20.0, "r60m": 60.0, "scl": 20.0, "r30m": 30.0}


def scenes(folder: Path) -> tuple[EeCatalogue, dict[tuple[str, str], Plane]]:
    """One image of each collection in the zone west of the samples, and the gradient of each lattice."""
    planes: dict[tuple[str, str], Plane] = {}
    found = EeCatalogue()
    for collection, name in NAMES.items():
        bands: dict[str, EeBand] = {}
        for key, members in PRODUCTS[collection].lattices().items():
            dtype = PRODUCTS[collection].dtypes[key]
            path, across = folder / f"{collection.replace('/', '-')}-{key}.tif", len(planes) % 2 == 0
            base, slope = (100.0, 1.0) if dtype.startswith("f") else (8000.0, 40.0)
            if collection == DEM:
                corner = Affine(1 / 3600, 0, LON - 0.03, 0, -1 / 3600, LAT + 0.02)
                plane = Plane(path=path, epsg=4326, transform=corner, shape=(144, 216), base=base, across=across)
            else:
                size = round(2400 / PIXEL_M[key])
                plane = around(
                    path, 32631, LON, LAT, pixel_m=PIXEL_M[key], size=size, base=base, slope=slope, across=across
                )
            planes[collection, key] = plane.write("uint16" if key == "scl" else dtype)
            bands |= {band.name: EeBand(paths=(path,)) for band in members}
        found.add(EeImage(id=f"{collection}/{name}", bands=bands, start=dt.datetime(2023, 6, 6, tzinfo=dt.UTC)))
    return found, planes


@pytest.mark.parametrize("off", [0.0, 3.3], ids=["whole", "odd"])
def test_a_gradient_lies_where_it_is(off: float, tmp_path: Path) -> None:
    catalogue, planes = scenes(tmp_path)
    with serve_earthengine(catalogue) as running:
        settings = Settings(project="testbed-project", endpoint=running.base_url, credentials="anonymous")
        with open_session(settings) as session, EarthEngineReader(session) as reader:
            for collection in NAMES:
                (item,) = items.search(
                    session,
                    collection,
                    areas=[BBox(5.9, 46.2, 6.1, 46.4)],
                    period=(dt.date(2023, 6, 1), dt.date(2023, 7, 1)),
                )
                for key, asset in item["assets"].items():
                    if key == "scl":
                        continue
                    plane = planes[collection, key]
                    pixel_m = PIXEL_M.get(key, 30.0)
                    geobox = GeoBox(epsg=32632, x_min=268_900 + off, y_max=5_131_900 - off, resolution_m=pixel_m,
                                    width=round(960 / pixel_m), height=round(960 / pixel_m))  # fmt: skip
                    (chip,) = reader.read_chips(
                        [ChipRequest(hrefs=(asset["href"],), bands=(1,), geobox=geobox, kernel="bilinear")]
                    )
                    assert isinstance(chip, Chip), (collection, key, chip)
                    assert chip.resampling == "bilinear"
                    assert chip.valid.all(), (collection, key)
                    grid = Affine(pixel_m, 0, geobox.x_min, 0, -pixel_m, geobox.y_max)
                    right = plane.at(32632, grid, geobox.shape)
                    moved = np.abs(chip.pixels[0] - right) / plane.slope
                    assert moved.max() < MOST_PX, (collection, key, moved.max())
