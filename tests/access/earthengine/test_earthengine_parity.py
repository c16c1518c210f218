"""One sample, the same files, two roads: a STAC item with COGs, and Earth Engine. The observations are the same."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.access.earthengine import items
from pipelines.access.earthengine.reader import EarthEngineReader
from pipelines.access.earthengine.session import Session, Settings, open_session
from pipelines.access.http.client import Client
from pipelines.access.rasters.cog import Reader
from pipelines.sources.read_shard import ObservationRequest, gather
from pipelines.sources.sentinel2 import Sentinel2
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.sensors import Sentinel2Source
from schemas.stack import Observation
from testbed.earthengine import Running, serve_earthengine
from testbed.server import Files
from tests.access.earthengine import earthengine_scenes as scenes
from tests.access.earthengine.earthengine_scenes import S2, S2_B

AREA = BBox(15.0, 47.82, 15.05, 47.86)
RECIPE = Recipe.model_validate(
    {
        "name": "parity",
        "seed": 1,
        "sampling": {"kind": "uniform", "count": 1},
        "grid": {"size_m": 960},
        "windows": [{"name": "june", "start": "2023-06-01", "end": "2023-06-30"}],
        "providers": {"stac": {"url": "http://127.0.0.1"}, "ee": {"url": "http://127.0.0.1"}},
        "sources": [
            {
                "kind": "sentinel2",
                "providers": ["stac", "ee"],
                "min_valid": 0.1,
                "max_cloud": 1.0,
                "max_scene_cloud": 1.0,
            }
        ],
    }
)
SOURCE = Sentinel2(next(s for s in RECIPE.sources if isinstance(s, Sentinel2Source)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with serve_earthengine(scenes.catalogue(folder)) as found:
        found.server.routes.append(Files(folders={"/files/": folder}))
        yield found


@pytest.fixture
def session(running: Running) -> Iterator[Session]:
    settings = Settings(project="testbed-project", endpoint=running.base_url, credentials="anonymous")
    with open_session(settings) as found:
        yield found


def stac_item(base_url: str) -> dict[str, Any]:
    """The second scene as an archive of COGs has it: numbers with the offset still in."""
    bands = {
        "10": ("B02", "B03", "B04", "B08"),
        "20": ("B05", "B06", "B07", "B8A", "B11", "B12"),
        "60": ("B01", "B09"),
        "scl": ("SCL",),
    }
    return {
        "type": "Feature",
        "id": "S2A_MSIL2A_20230606T100029_N0509_R122_T33UWP_20230606T164000",
        "collection": "sentinel-2-l2a",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[15, 47.8], [15.1, 47.8], [15.1, 47.9], [15, 47.9], [15, 47.8]]],
        },
        "properties": {
            "datetime": "2023-06-06T10:00:29Z",
            "s2:processing_baseline": "05.09",
            "proj:code": "EPSG:32633",
        },
        "assets": {
            f"r{key}": {"href": f"{base_url}/files/2-{key}.tif", "bands": [{"name": n} for n in names]}
            for key, names in bands.items()
        },
    }


def observed(item: dict[str, Any], name: str, reader: Any, place: Place) -> Observation:
    scene = SOURCE.scene(item, name, Provider(url="http://127.0.0.1"))
    candidates = SOURCE.candidates([scene], place, RECIPE.windows[0])
    assert candidates
    (found,) = gather(
        SOURCE, RECIPE, [ObservationRequest(place, 0, tuple(candidates))], {scene.item_id: scene}, lambda _: reader
    )
    assert isinstance(found, Observation), found
    return found


@pytest.mark.parametrize("x", [600.0, 1200.0], ids=["inside", "over the edge of the swath"])
def test_the_same_sample_through_both_archives(session: Session, running: Running, x: float) -> None:
    geobox = GeoBox(epsg=32633, x_min=scenes.X0 + x, y_max=scenes.Y0 - x, resolution_m=10, width=96, height=96)
    place = Place(sample_id="s", lon=15.02, lat=47.84, geobox=geobox, split="train", block="b", cell="c")
    client = Client(concurrency=4)
    with Reader(client) as cogs:
        stac = observed(stac_item(running.base_url), "stac", cogs, place)
    client.close()
    period = (dt.date(2023, 6, 5), dt.date(2023, 6, 7))
    (item,) = items.search(session, S2, areas=[AREA], period=period)
    assert item["id"] == S2_B.rpartition("/")[2]
    with EarthEngineReader(session) as reader:
        engine = observed(item, "ee", reader, place)
    assert stac.arrays.keys() == engine.arrays.keys()
    for layer, pixels in stac.arrays.items():
        assert engine.arrays[layer].dtype == pixels.dtype
        np.testing.assert_array_equal(engine.arrays[layer], pixels, err_msg=layer)
    np.testing.assert_array_equal(engine.valid, stac.valid)
    np.testing.assert_array_equal(engine.cloud, stac.cloud)
    assert engine.resampling == stac.resampling
    assert set(engine.resampling.values()) == {"none"}
    assert stac.valid_fraction == (1.0 if x == 600.0 else pytest.approx(1 - 0.375**2))
