"""STAC answers with anything anywhere: scenes, refusals and classed errors, never another exception."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from pipelines.access.errors import ItemRefused
from pipelines.access.http.client import AccessError, Client
from pipelines.access.stac.search import search
from pipelines.sources import open_source
from schemas.modality import ENMAP, LANDSAT, SENTINEL2
from schemas.place import BBox, GeoBox, Place
from schemas.provider import Provider
from schemas.scene import Scene
from schemas.sensors import DemSource, EnmapSource, LandsatSource, Sentinel1Source, Sentinel2Source
from schemas.window import Window
from testbed.server import Answer, Fault
from testbed.services import serve_catalogue

RING = [[10.0, 46.0], [11.0, 46.0], [11.0, 47.0], [10.0, 47.0], [10.0, 46.0]]
DIALECTS = ("generic", "earth-search", "planetary-computer", "dlr-eoc")
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 70, 1e308, float("nan"), float("inf"), "", "x" * 5000, "\0", "\ud800",
    "../../etc/passwd", "file:///etc/passwd", "http://[",
    "EPSG:32632", "EPSG:99999", "2022-13-45T99:99:99Z", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59", "nan", "-1e999", [], {}, [[]], [None], {"a": None}, [[[]]], [1, 2, 3, 4],
    [[1e400] * 5],
    {"type": "Polygon", "coordinates": [[[0, 0]]]}, {"type": "Polygon", "coordinates": [[["a", "b"]] * 4]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]},
    {"type": "GeometryCollection", "geometries": []}, {"type": "MultiPolygon", "coordinates": [[RING], []]},
)  # fmt: skip
SOURCES = {
    "sentinel2": Sentinel2Source(providers=("p",)),
    "sentinel1": Sentinel1Source(providers=("p",)),
    "landsat": LandsatSource(providers=("p",)),
    "enmap": EnmapSource(providers=("p",)),
    "dem": DemSource(providers=("p",)),
}
WINDOW = Window.model_validate({"name": "w", "start": "2022-06-01", "end": "2022-06-30"})
PLACE = Place(
    sample_id="s", lon=10.5, lat=46.5, split="train", block="b", cell="c",
    geobox=GeoBox(epsg=32632, x_min=614_000, y_max=5_151_000, resolution_m=10, width=48, height=48),
)  # fmt: skip


def good(kind: str) -> dict[str, Any]:
    """An item that its source takes."""
    tif: dict[str, Any] = {
        "type": "image/tiff; application=geotiff", "proj:shape": [10, 10], "roles": ["data"],
        "proj:transform": [10.0, 0.0, 6e5, 0.0, -10.0, 5.2e6], "raster:bands": [{"nodata": 0}],
    }  # fmt: skip
    keys = {
        "sentinel2": list(SENTINEL2.band_names), "sentinel1": ["vv", "vh"], "landsat": list(LANDSAT.band_names),
        "enmap": ["image", "quality_cloud"], "dem": ["data"],
    }[kind]  # fmt: skip
    assets = {key: {"href": f"https://x.example/{kind}/{key}.tif", **copy.deepcopy(tif)} for key in keys}
    if kind == "enmap":
        names = [b.name for b in ENMAP.layer("bands_30m").bands]
        assets["image"]["bands"] = [{"name": n, "enmap:gain_of_band": 1e-4, "raster:offset": 0.0} for n in names]
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": "LC08_L2SP_194027_20220615_02_T1", "collection": "c",
        "geometry": {"type": "Polygon", "coordinates": [RING]}, "bbox": [10.0, 46.0, 11.0, 47.0],
        "links": [{"rel": "self", "href": "https://x.example/items/1"}], "assets": assets,
        "properties": {
            "datetime": "2022-06-15T10:00:00Z", "start_datetime": "2022-06-15T10:00:00Z", "eo:cloud_cover": 10.0,
            "end_datetime": "2022-06-15T10:00:10Z", "proj:code": "EPSG:32632", "platform": "landsat-8",
            "s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True, "s2:mgrs_tile": "32TPS",
            "s2:datatake_id": "GS2A_20220615T101021_036000_N05.09", "sar:product_type": "RTC", "updated": "2022-06-16",
            "sat:orbit_state": "ascending", "sat:relative_orbit": 15, "landsat:correction": "L2SP",
            "license": "CC0-1.0",
            "landsat:wrs_path": "194", "landsat:wrs_row": "027", "processing:level": "L2A", "enmap:nodata": "-32768",
        },
    }  # fmt: skip


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [s for k, v in value.items() for s in spots(v, (*path, k))]
    elif isinstance(value, list):
        found += [s for i, v in enumerate(value[:6]) for s in spots(v, (*path, i))]
    return found


def mutated(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Something else in one place, or in several; or nothing there."""
    out = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = spots(out)
        shallow = [p for p in places if len(p) <= 2] or places
        path = rng.choice(rng.choice((places, shallow)))
        holder: Any = out
        for step in path[:-1]:
            holder = holder[step]
        if rng.random() < 0.25:
            del holder[path[-1]]
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(ODD))
    return out


@pytest.mark.parametrize("kind", SOURCES)
def test_a_good_item_is_taken(kind: str) -> None:
    source = open_source(SOURCES[kind])
    scene = source.scene(good(kind), "p", Provider(url="http://x"))
    assert source.candidates([scene], PLACE, None if kind == "dem" else WINDOW)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_any_item_is_a_scene_or_a_refusal(kind: str) -> None:
    source = open_source(SOURCES[kind])
    window = None if kind == "dem" else WINDOW
    taken = refused = 0
    for seed in range(700):
        rng = random.Random(f"{kind} {seed}")
        item = mutated(good(kind), rng)
        provider = Provider(url="http://x", dialect=rng.choice(DIALECTS))
        try:
            scene = source.scene(item, "p", provider)
        except ItemRefused:
            refused += 1
            continue
        assert isinstance(scene, Scene)
        taken += 1
        for candidate in source.candidates(source.collapse([scene]), PLACE, window):
            assert candidate.scenes == (scene.item_id,)
        json.dumps(scene.geometry)
    assert taken > 100
    assert refused > 50


def test_any_answer_to_a_search_is_items_or_a_classed_error() -> None:
    page: dict[str, Any] = {
        "type": "FeatureCollection", "features": [good("dem")], "numberMatched": 1, "context": {"matched": 1},
        "links": [{"rel": "next", "href": "", "method": "POST", "body": {"token": "t"}, "merge": True}],
    }  # fmt: skip
    with serve_catalogue([good("dem")]) as services:
        page["links"][0]["href"] = f"{services.base_url}/stac/search"
        answers: list[bytes] = []
        told = {"Content-Type": "application/json"}
        services.faults.append(lambda _: Fault(change=lambda _: Answer(body=answers[0], headers=dict(told))))
        client = Client(retries=0, timeout_s=5.0, backoff_s=0.001)
        provider = Provider(url=services.stac_url("catalogue"))
        got = failed = 0
        for seed in range(300):
            rng = random.Random(seed)
            body = json.dumps(mutated(page, rng))
            answers[:] = [body.encode("utf-8", "surrogatepass") if seed % 10 else rng.randbytes(50)]
            try:
                items = search("p", provider, "c", areas=[BBox(10, 46, 11, 47)], period=None, client=client)
            except AccessError:
                failed += 1
            else:
                got += 1
                assert all(isinstance(i["id"], str) for i in items)
        assert got > 20
        assert failed > 20
