"""The archive beside the planet: days that come again, further products, and files to draw samples from."""

from __future__ import annotations

import json
import urllib.request
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile

import testbed
from testbed.archive.change import changed, gain
from testbed.archive.frames import ecoregions, places_in, shots

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def fetched(url: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return bytes(answer.read())


def band(url: str) -> Any:
    """The first band of a raster at a URL."""
    with MemoryFile(fetched(url)) as file, file.open() as raster:
        return raster.read(1)


def found(services: testbed.Services, provider: str, collection: str, period: str) -> list[Any]:
    body = {"collections": [collection], "datetime": period, "limit": 500}
    return list(json.loads(fetched(services.stac_url(provider) + "/search", body))["features"])


def test_the_archive_is_served_as_the_planet_is(earth: Path) -> None:
    with testbed.serve(earth, archive=True) as services:
        scenes = found(services, "planetary-computer", "sentinel-2-l2a", "2019-01-01/2019-12-31")
        assert {i["properties"]["datetime"][:4] for i in scenes} == {"2019"}
        assert len({i["id"] for i in scenes}) == len(scenes) > 60
        clear = next(i for i in scenes if i["properties"]["eo:cloud_cover"] == 0)
        scl = band(clear["assets"]["SCL"]["href"])
        assert not np.isin(scl, (3, 7, 8, 9, 10)).any()
        cloudy = next(i for i in scenes if i["properties"]["eo:cloud_cover"] > 50)
        href = cloudy["assets"]["B04"]["href"]
        day, path = href.split("/archive/")[1].split("/", 1)
        when = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        with rasterio.open(earth / "files" / path) as base:
            raw = base.read(1)
        pixels = band(href)
        assert np.array_equal(pixels, changed(path, when, raw))
        bright = raw[(raw > 500) & (raw < 10_000)].astype(float)
        assert abs(pixels[(raw > 500) & (raw < 10_000)].mean() / bright.mean() - gain(when)) < 0.01
        modis = found(services, "planetary-computer", "modis-09A1-061", "2020-01-01/2020-12-31")
        assert len(modis) >= 45
        with MemoryFile(fetched(modis[0]["assets"]["sur_refl_b01"]["href"])) as file, file.open() as raster:
            assert "+proj=sinu" in raster.crs.to_proj4()
            assert abs(raster.transform.a - 463.3127) < 1e-3
        photo = found(services, "testbed", "ortho-2154", "2021-01-01/2021-12-31")[0]
        with MemoryFile(fetched(photo["assets"]["image"]["href"])) as file, file.open() as raster:
            assert raster.crs.to_epsg() == 2154
            assert (raster.transform.a, raster.profile["compress"]) == (0.25, "jpeg")
        radar = found(services, "planetary-computer", "alos-palsar-mosaic", "2017-01-01/2018-12-31")
        assert len(radar) == 2
        assert services.archive is not None
        scratch = services.archive.scratch
        assert scratch.is_dir()
    assert not scratch.exists()


def test_without_the_archive_the_planet_is_as_it_was(earth: Path) -> None:
    with testbed.serve(earth) as services:
        assert not found(services, "planetary-computer", "sentinel-2-l2a", "2019-01-01/2019-12-31")


def test_files_to_draw_samples_from_lie_in_their_area(earth: Path) -> None:
    area = json.loads((earth / "aoi.geojson").read_text())
    assert places_in(area, 5, 1) == places_in(area, 5, 1)
    assert len(shots(area, 7)) == 7
    strips = ecoregions(area)
    assert [number for number, _ in strips] == list(range(1, 15))
    assert all(not ground.is_empty for _, ground in strips)
