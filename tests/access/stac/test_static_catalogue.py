"""Any other archive by configuration: static catalogues, stac-geoparquet, its own asset keys and collection ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import stac_geoparquet.arrow

from pipelines.access.archives import Archives
from pipelines.access.errors import ItemRefused
from pipelines.access.http.client import AccessError
from pipelines.plan.blocks import Block
from pipelines.plan.search import Question, ask
from pipelines.sources import open_source
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.provider import Provider
from schemas.recipe import Recipe
from schemas.sensors import DemSource, Sentinel1Source, Sentinel2Source
from testbed.server import Answer, Request
from testbed.services import Services, serve_catalogue

Json = dict[str, Any]
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12", "SCL")


def item(number: int, lon: float, lat: float, **more: Any) -> Json:
    ring = [[lon, lat], [lon + 0.1, lat], [lon + 0.1, lat + 0.1], [lon, lat + 0.1], [lon, lat]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "stac_extensions": [], "id": f"i{number:03d}", "collection": "c",
        "links": [], "assets": {"data": {"href": f"./pixels/{number}.tif", "type": "image/tiff"}},
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [lon, lat, lon + 0.1, lat + 0.1],
        "properties": {"datetime": f"2022-06-{1 + number % 28:02d}T10:00:00Z"}, **more,
    }  # fmt: skip


ITEMS = [item(n, 10.0 + 0.2 * n, 46.0) for n in range(20)] + [item(90, 179.95, -16.0), item(91, -179.99, -16.0)]


def files() -> dict[str, Json]:
    """A catalogue of a catalogue, a collection of items, links up and round about, and an item collection."""
    child = {"rel": "child", "href": "./sub/catalog.json"}
    listed = [{"rel": "item", "href": f"./items/{i['id']}.json"} for i in ITEMS[:15]]
    return {
        "/static/catalog.json": {"type": "Catalog", "links": [child, {"rel": "self", "href": "https://old.example/c"}]},
        "/static/sub/catalog.json": {
            "type": "Catalog",
            "links": [{"rel": "child", "href": "collection.json"}, {"rel": "child", "href": "../catalog.json"}],
        },
        "/static/sub/collection.json": {
            "type": "Collection",
            "links": [*listed, {"rel": "items", "href": "rest.json"}, {"rel": "parent", "href": "catalog.json"}],
        },
        "/static/sub/rest.json": {"type": "FeatureCollection", "features": ITEMS[15:], "links": []},
        **{f"/static/sub/items/{i['id']}.json": i for i in ITEMS[:15]},
    }


def serving(services: Services, known: dict[str, Json]) -> Callable[[Request], Answer | None]:
    def route(request: Request) -> Answer | None:
        return Answer.of(known[request.path]) if request.path in known else None

    services.server.routes.append(route)
    return route


@pytest.fixture
def services() -> Any:
    with serve_catalogue([], {}) as running:
        serving(running, files())
        yield running


def find(archives: Archives, *boxes: BBox, period: Any = None) -> list[str]:
    return [i["id"] for i in archives.search("p", "c", list(boxes), period)]


QUESTIONS: list[tuple[BBox, Any]] = [
    (BBox(9.0, 45.0, 12.0, 47.0), None),
    (BBox(9.0, 45.0, 20.0, 47.0), (date(2022, 6, 3), date(2022, 6, 5))),
    (BBox(179.0, -17.0, -179.0, -15.0), None),
    (BBox(0.0, 0.0, 1.0, 1.0), None),
]


@pytest.mark.parametrize("kind", ["catalogue", "geoparquet"])
def test_a_static_catalogue_answers_as_an_api_does(kind: str, services: Services, tmp_path: Path) -> None:
    url = f"{services.base_url}/static/catalog.json"
    if kind == "geoparquet":
        table = stac_geoparquet.arrow.parse_stac_items_to_arrow(ITEMS)
        stac_geoparquet.arrow.to_parquet(table, tmp_path / "items.parquet")
        services.files.single["/static/sub/items.parquet"] = tmp_path / "items.parquet"
        url = f"{services.base_url}/static/sub/items.parquet"
    with serve_catalogue(ITEMS, {}) as api:
        providers = {"p": Provider(url=url)}
        with Archives(providers) as static, Archives({"p": Provider(url=api.stac_url("catalogue"))}) as asked:
            for box, period in QUESTIONS:
                assert find(static, box, period=period) == find(asked, box, period=period)
            paths = [e.path for e in services.log]
            assert len(paths) == len(set(paths)), "each file is read once for all questions"
            (found,) = static.search("p", "c", [BBox(10.0, 46.0, 10.05, 46.05)], None)
    where = "sub/items/pixels" if kind == "catalogue" else "sub/pixels"
    assert found["assets"]["data"]["href"] == f"{services.base_url}/static/{where}/0.tif"
    assert found["properties"]["datetime"].startswith("2022-06-01T10:00:00")


def test_a_catalogue_with_a_missing_file_is_no_answer(services: Services) -> None:
    known = files()
    del known["/static/sub/items/i007.json"]
    services.server.routes.clear()
    serving(services, known)
    with Archives({"p": Provider(url=f"{services.base_url}/static/catalog.json", retries=0)}) as archives:
        with pytest.raises(AccessError) as caught:
            find(archives, (9.0, 45.0, 9.5, 47.0))
        assert caught.value.reason is Reason.NOT_FOUND
        assert "i007.json" in str(caught.value)


def test_a_file_that_is_no_geoparquet_is_said_to_be_none(services: Services, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PAR1 not really PAR1")
    services.files.single["/x.parquet"] = tmp_path / "x"
    providers = {"p": Provider(url=f"{services.base_url}/x.parquet", retries=0)}
    with Archives(providers) as archives, pytest.raises(AccessError, match="not a stac-geoparquet file"):
        find(archives, (0.0, 0.0, 1.0, 1.0))


def test_the_recipe_names_assets_that_an_archive_names_otherwise() -> None:
    keys = {band: f"img_{band.lower()}" for band in S2_BANDS}
    made = item(1, 10.0, 46.0, assets={k: {"href": f"https://x.example/{k}"} for k in keys.values()})
    made["properties"] |= {"s2:processing_baseline": "05.00", "eo:cloud_cover": 3}
    provider = Provider(url="https://x.example/stac")
    with pytest.raises(ItemRefused, match="no asset for B01"):
        open_source(Sentinel2Source(providers=("p",))).scene(made, "p", provider)
    scene = open_source(Sentinel2Source(providers=("p",), assets=keys)).scene(made, "p", provider)
    assert {b: a.href for b, a in scene.assets.items()} == {b: f"https://x.example/{k}" for b, k in keys.items()}


def test_a_band_of_a_file_of_many_is_named_by_its_number() -> None:
    made = item(1, 10.0, 46.0, assets={"stack": {"href": "https://x.example/rtc.tif"}})
    made["properties"]["sar:product_type"] = "RTC"
    source = open_source(Sentinel1Source(providers=("p",), assets={"VV": "stack#2", "VH": "stack#1"}))
    scene = source.scene(made, "p", Provider(url="https://x.example/stac"))
    assert {b: (a.href, a.index) for b, a in scene.assets.items()} == {
        "VV": ("https://x.example/rtc.tif", 2),
        "VH": ("https://x.example/rtc.tif", 1),
    }


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_band_is_found_by_its_common_name_where_one_asset_has_it(version: str) -> None:
    common = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
    assets: Json = {}
    for band in S2_BANDS:
        entry = {"name": f"band-{band}"}
        if band in common:
            entry["eo:common_name" if version == "1.1" else "common_name"] = common[band]
        assets[f"x{band}"] = {
            "href": f"https://x.example/{band}.tif",
            "bands" if version == "1.1" else "eo:bands": [entry],
        }
    rest = {band: f"x{band}" for band in S2_BANDS if band not in common}
    made = item(1, 10.0, 46.0, assets=assets)
    made["properties"]["s2:processing_baseline"] = "05.00"
    source = open_source(Sentinel2Source(providers=("p",), assets=rest))
    scene = source.scene(made, "p", Provider(url="https://x.example/stac"))
    assert all(scene.assets[band].href == f"https://x.example/{band}.tif" for band in S2_BANDS)
    assets["other"] = {**assets["xB02"], "href": "https://x.example/other.tif"}
    with pytest.raises(ItemRefused, match="no asset for B02"):  # two blues: neither is known to be the one
        source.scene(made, "p", Provider(url="https://x.example/stac"))


def test_providers_of_one_product_may_name_its_collection_otherwise() -> None:
    """The first archive is down; the second answers, under its own collection id."""
    twin = [i | {"collection": "theirs"} for i in ITEMS[:3]]
    with serve_catalogue([], {}) as dead, serve_catalogue(twin, {}) as alive:
        dead.take_down()
        providers = {
            "one": Provider(url=dead.stac_url("catalogue"), retries=0),
            "two": Provider(url=alive.stac_url("catalogue")),
        }
        config = DemSource(providers=("one", "two"), collection="ours", collections={"two": "theirs"})
        question = Question(
            layer="dem", providers=config.providers, collection=config.collection, collections=config.collections,
            period=None, slots=(0,), parse=open_source(config).scene,
        )  # fmt: skip
        with Archives(providers) as archives:
            answer = ask(archives, question, Block(places=(), bboxes=(BBox(9.0, 45.0, 12.0, 47.0),)))
    assert answer.error is None
    assert answer.provider == "two"
    assert [s.item_id for s in answer.scenes] == ["i000", "i001", "i002"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"assets": {"B99": "x"}}, "sentinel2.assets: 'B99'"),
        ({"collections": {"nobody": "x"}}, "sentinel2.collections: 'nobody'"),
        ({"assets": {"B02": "x#0"}}, "pattern"),
    ],
)
def test_mappings_that_name_nothing_are_refused(change: Json, said: str) -> None:
    tree = {
        "name": "x", "seed": 1, "sampling": {"kind": "uniform", "count": 1}, "grid": {"size_m": 960},
        "windows": [{"name": "w", "start": "2022-01-01", "end": "2022-01-02"}], "providers": {"p": {"url": "http://x"}},
        "sources": [{"kind": "sentinel2", "providers": ["p"], **change}],
    }  # fmt: skip
    with pytest.raises(ValueError, match=said):
        Recipe.model_validate(json.loads(json.dumps(tree)))
