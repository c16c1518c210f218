"""`landweave serve` answers as the dataset does: asked by pystac-client, and with what a stranger may send."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import requests
import shapely
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pystac_client import Client

import landweave
from landweave.cql2 import Filter
from landweave.errors import QueryError
from landweave.serve import application_of, listening


@pytest.fixture(scope="module", params=["whole", "parted"])
def data(request: pytest.FixtureRequest, dataset_path: Path, parted_path: Path) -> landweave.Dataset:
    """One catalogue in a single file, and one in parts."""
    return landweave.open(dataset_path if request.param == "whole" else parted_path)


@contextlib.contextmanager
def served(dataset: landweave.Dataset) -> Iterator[str]:
    with listening("127.0.0.1", 0) as taken:
        server = uvicorn.Server(uvicorn.Config(application_of(dataset), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def url(data: landweave.Dataset) -> Iterator[str]:
    with served(data) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client.open(url)


def ids(found: Any) -> list[str]:
    return [i.id for i in found.items()]


@pytest.mark.slow
def test_every_item_is_reached_by_pages(client: Client, data: landweave.Dataset) -> None:
    search = client.search(limit=5)
    assert ids(search) == data.query().ids
    assert search.matched() == len(data)
    collection = client.get_collection(data.spec.name)
    assert [i.id for i in collection.get_items()] == data.query().ids
    assert [i.id for i in client.search(method="GET", limit=7).items()] == data.query().ids


def test_items_say_what_the_catalogue_says(client: Client, data: landweave.Dataset, url: str) -> None:
    name = data.query().ids[3]
    item = client.get_collection(data.spec.name).get_item(name)
    assert isinstance(item, pystac.Item)
    row = data.catalogue.item(3)
    assert shapely.geometry.shape(item.geometry).equals(shapely.from_wkb(row["geometry"]))
    assert item.properties["split"] == row["split"]
    assert item.datetime == row["datetime"]
    shown = requests.get(item.assets.pop("thumbnail").href, headers={"Origin": "http://elsewhere.example"}, timeout=30)
    assert (shown.headers["content-type"], shown.content[8:12]) == ("image/webp", b"WEBP")
    assert shown.headers["access-control-allow-origin"] == "*"
    assert {c["title"] for c in item.assets["worldcover"].extra_fields["classification:classes"]} >= {"Tree cover"}
    for asset in item.assets.values():
        metadata = requests.get(f"{asset.href}/zarr.json", timeout=30)
        assert metadata.json()["node_type"] == "group"
    assert url in item.get_self_href()


@pytest.mark.slow
def test_boxes_times_and_ids_are_the_readers(client: Client, data: landweave.Dataset) -> None:
    row = data.catalogue.item(2)
    edges = [row["bbox"][e] for e in ("xmin", "ymin", "xmax", "ymax")]
    assert ids(client.search(bbox=edges)) == data.query(bbox=tuple(edges)).ids
    day = row["datetime"].date().isoformat()
    assert ids(client.search(datetime=f"{day}/..")) == data.query(time=(day, None)).ids
    some = data.query().ids[4:7]
    assert ids(client.search(ids=[*some, "nobody"])) == some
    shape = shapely.geometry.mapping(shapely.from_wkb(row["geometry"]).centroid)
    shapes = shapely.from_wkb(data.query().table["geometry"].to_numpy(zero_copy_only=False))
    expected = np.array(data.query().ids)[shapely.intersects(shapes, shapely.geometry.shape(shape))].tolist()
    assert ids(client.search(intersects=shape)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("split = 'train'", "split == 'train'"),
        ("NOT split = 'train'", "split != 'train'"),
        ("worldcover_trees > 0.2 AND (split = 'val' OR lon < 12)",
         "worldcover_trees > 0.2 and (split == 'val' or lon < 12)"),
        ("worldcover_trees BETWEEN 0.1 AND 0.3", "worldcover_trees >= 0.1 and worldcover_trees <= 0.3"),
        ("split IN ('val', 'test')", "split in ['val', 'test']"),
        ("sentinel2_count = 2", "sentinel2_count == 2"),
        ("0.2 < worldcover_trees", "worldcover_trees > 0.2"),
    ],
)  # fmt: skip
def test_filters_are_the_readers_conditions(text: str, python: str, client: Client, data: landweave.Dataset) -> None:
    expected = data.query(python).ids
    assert ids(client.search(filter=text)) == expected
    assert ids(client.search(filter=text, filter_lang="cql2-text", method="GET")) == expected


def test_spatial_filters_join_with_others(client: Client, data: landweave.Dataset) -> None:
    row = data.catalogue.item(0)
    point = shapely.from_wkb(row["geometry"]).centroid.wkt
    inside = set(ids(client.search(filter=f"S_INTERSECTS(geometry, {point})")))
    assert row["id"] in inside
    rest = ids(client.search(filter=f"NOT S_INTERSECTS(geometry, {point}) AND split = 'train'"))
    assert set(rest) == set(data.query("split == 'train'").ids) - inside


@pytest.mark.slow
def test_sorting_fields_and_aggregations(client: Client, data: landweave.Dataset, url: str) -> None:
    found = ids(client.search(sortby="-properties.worldcover_trees", limit=6))
    shares = dict(zip(data.query().ids, data.query().column("worldcover_trees"), strict=True))
    values = [shares[i] for i in found]
    assert values == sorted(values, reverse=True)
    assert sorted(found) == sorted(data.query().ids)
    by = ["-properties.split", "+properties.worldcover_year", "-properties.lat"]
    whole = ids(client.search(sortby=by, limit=100))
    assert ids(client.search(sortby=by, limit=4)) == ids(client.search(sortby=by, limit=1)) == whole
    rows = {i["id"]: i for i in data.catalogue.items(range(len(data)))}
    for first, second in itertools.pairwise(whole):
        assert rows[first]["split"] >= rows[second]["split"]
    some = client.search(sortby="properties.lon", limit=2, filter="split = 'train'")
    lons = [rows[i]["lon"] for i in ids(some)]
    assert (lons, some.matched()) == (sorted(lons), len(lons))
    assert set(ids(some)) == set(data.query("split == 'train'").ids)
    (only,) = requests.get(f"{url}search?limit=1&fields=properties.split", timeout=30).json()["features"]
    assert set(only["properties"]) == {"split"}
    assert "geometry" not in only
    told = requests.get(f"{url}aggregate?aggregations=total_count,split_frequency", timeout=30).json()["aggregations"]
    assert told[0]["value"] == len(data)
    assert {b["key"]: b["frequency"] for b in told[1]["buckets"]} == data.splits
    posted = requests.post(f"{url}aggregate", json={"filter": "split = 'val'"}, timeout=30).json()["aggregations"]
    assert posted[0]["value"] == data.splits["val"]
    named = requests.get(f"{url}queryables", timeout=30).json()["properties"]
    assert named["worldcover_trees"]["type"] == "number"
    assert named["datetime"]["format"] == "date-time"


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("search?filter=nonsense>3", 400, "no property 'nonsense'"),
        ("search?filter=split>", 400, "not CQL2"),
        ("search?filter=split=3", 400, "cannot be compared with"),
        ("search?filter-lang=cql2-json&filter={", 400, "not CQL2"),
        ("search?intersects=%7B", 400, "GeoJSON"),
        ('search?bbox=0,0,1,1&intersects={"type":"Point","coordinates":[0,0]}', 400, "not both"),
        ("search?bbox=1,2", 400, "4 or 6"),
        ("search?bbox=300,0,301,1", 400, "longitudes"),
        ("search?token=zzz!", 400, "token"),
        ("search?token=MjIuOTk", 400, "token"),
        ("search?token=LTEuMA", 400, "token"),
        ("search?sortby=nope", 400, "no property 'nope'"),
        ("search?datetime=yesterday", 400, "RFC"),
        ("collections/other", 404, "no collection"),
        ("collections/synthetic/items/nobody", 404, "no item"),
        ("files/%2e%2e/%2e%2e/etc/passwd", 404, "Not Found"),
        ("aggregate?aggregations=nope", 400, "no aggregation"),
    ],
)
def test_mistakes_are_one_line(path: str, code: int, said: str, url: str, dataset_path: Path) -> None:
    answer = requests.get(url + path, timeout=30)
    assert (answer.status_code, said in answer.text) == (code, True), answer.text
    assert str(dataset_path.parent.parent) not in answer.text


def test_nothing_can_be_written(url: str) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert requests.request(method, f"{url}collections/synthetic", timeout=30).status_code == 405
    assert requests.post(f"{url}files/landweave.json", timeout=30).status_code == 405


OPERATORS = ["and", "or", "not", "=", "<", "in", "between", "like", "isNull", "s_intersects", "nope"]
NODES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from([{"property": "split"}, {"property": "lon"}, {"property": "geometry"},
                       {"timestamp": "2021-01-01"}, {"bbox": [0, 0, 1, 1]}]),
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({
        "op": st.sampled_from(OPERATORS),
        "args": st.lists(inner, max_size=3),
    }),
    max_leaves=8,
)  # fmt: skip


@given(NODES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_filter_is_answered_or_refused(data: landweave.Dataset, node: Any) -> None:
    with contextlib.suppress(QueryError):
        found = Filter(data.catalogue).positions(node)
        assert found.dtype == np.int64
        assert (np.diff(found) > 0).all()


def test_a_deep_filter_is_refused(data: landweave.Dataset) -> None:
    node: Any = {"op": "=", "args": [{"property": "split"}, "train"]}
    for _ in range(40):
        node = {"op": "not", "args": [node]}
    with pytest.raises(QueryError, match="too large"):
        Filter(data.catalogue).positions(node)


def test_a_catalogue_that_is_damaged_later_is_one_line_for_who_serves(
    parted_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(parted_path, folder)
    with served(landweave.open(folder)) as address:
        for part in (folder / "catalogue").rglob("*.parquet"):
            part.write_bytes(part.read_bytes()[:100])
        answer = requests.get(f"{address}search", params={"filter": "lat > -90", "sortby": "+lat"}, timeout=30)
        assert requests.get(f"{address}collections/nothing", timeout=30).status_code == 404
        assert requests.get(f"{address}search", params={"filter": "nothing > 1"}, timeout=30).status_code == 400
    assert answer.status_code == 500
    assert answer.json()["code"] == "UnreadableCatalogue"
    said = [record.getMessage() for record in caplog.records if "urllib3" not in record.name]
    assert len(said) == 1, said
    assert "catalogue" in said[0]
    assert not any(record.exc_info for record in caplog.records)
