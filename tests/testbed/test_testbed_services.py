"""The loopback archives against real clients: pystac-client, pystac, GDAL and plain sockets."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import pystac_client
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import testbed
from testbed.anywhere import serve_anywhere
from testbed.ranges import parse_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]
BODY = bytes(range(256)) * 40


def item(number: int, lon: float, when: str, **properties: object) -> Json:
    ring = [[lon, 0], [lon + 1, 0], [lon + 1, 1], [lon, 1], [lon, 0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": f"item-{number:03d}",
        "collection": "even" if number % 2 == 0 else "odd",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [lon, 0, lon + 1, 1],
        "properties": {"datetime": when, "number": number, **properties},
        "links": [],
        "assets": {"data": {"href": "s3://bucket/deep/a.bin"}, "other": {"href": "https://elsewhere.example/x"}},
    }


@pytest.fixture
def services(tmp_path: Path) -> Iterator[testbed.Services]:
    (tmp_path / "a.bin").write_bytes(BODY)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b c.tif").write_bytes(b"II*")
    (tmp_path / "secret").write_text("no")
    items = [item(n, n * 5 - 100.0, f"2021-06-{n + 1:02d}T10:00:00Z", cloud=n * 10.0) for n in range(25)]
    items.append(item(99, 179.0, "2022-01-01T00:00:00Z"))
    files = {"s3://bucket/deep/a.bin": tmp_path / "a.bin", "/files/catalogue/folder/": tmp_path / "folder"}
    with testbed.serve_catalogue(items, files) as running:
        yield running


def ask(services: testbed.Services, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", services.port, timeout=10)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


PATH = "/files/catalogue/bucket/deep/a.bin"


def test_pystac_client_pages_through_everything_by_get_and_post(services: testbed.Services) -> None:
    client = pystac_client.Client.open(services.stac_url("catalogue"))
    for method in ("GET", "POST"):
        search = client.search(method=method, limit=4, collections=["even", "odd"])
        found = list(search.items())
        assert len(found) == 26 == search.matched()
        assert len({i.id for i in found}) == 26
    for found_item in found:
        pystac.Item.from_dict(found_item.to_dict()).validate()
    assert found[-1].assets["data"].href == services.base_url + PATH
    assert found[-1].assets["other"].href == "https://elsewhere.example/x"
    merged = services.catalogues["catalogue"]
    merged.merge_next = True
    assert len(list(client.search(limit=5, collections=["even"]).items())) == 13


def test_collections_are_valid_and_list_their_items(services: testbed.Services) -> None:
    client = pystac_client.Client.open(services.stac_url("catalogue"))
    collections = {c.id: c for c in client.get_collections()}
    assert set(collections) == {"even", "odd"}
    for collection in collections.values():
        collection.validate()
    assert len(list(collections["even"].get_items())) == 13
    assert client.get_collection("odd").get_item("item-003").id == "item-003"


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"bbox": [-95.5, 0, -84.5, 1]}, {1, 2, 3}),
        ({"bbox": [179.5, 0, -99.5, 1]}, {0, 99}),
        ({"bbox": [-95.5, 0, 0, -84.5, 1, 9]}, {1, 2, 3}),
        ({"intersects": {"type": "Point", "coordinates": [-94.5, 0.5]}}, {1}),
        ({"datetime": "2021-06-03T00:00:00Z/2021-06-04T23:59:59Z"}, {2, 3}),
        ({"datetime": "2021-06-24T00:00:00Z/.."}, {23, 24, 99}),
        ({"datetime": "2021-06-03T10:00:00Z"}, {2}),
        ({"ids": ["item-007", "nope"]}, {7}),
        ({"query": {"cloud": {"lt": 30}, "number": {"gte": 1}}}, {1, 2}),
        ({"query": {"number": {"in": [4, 5]}}}, {4, 5}),
        (
            {
                "filter": {
                    "op": "or",
                    "args": [
                        {"op": ">", "args": [{"property": "cloud"}, 225]},
                        {"op": "in", "args": [{"property": "id"}, ["item-001"]]},
                    ],
                }
            },
            {1, 23, 24},
        ),
        ({"filter": {"op": "isNull", "args": [{"property": "cloud"}]}}, {99}),
        ({"filter": {"op": "between", "args": [{"property": "number"}, 3, 4]}}, {3, 4}),
        ({"filter": {"op": "<", "args": [{"property": "datetime"}, {"timestamp": "2021-06-02T00:00:00Z"}]}}, {0}),
    ],
)
def test_search_conditions(services: testbed.Services, asked: Json, numbers: set[int]) -> None:
    client = pystac_client.Client.open(services.stac_url("catalogue"))
    found = client.search(**asked, limit=100).items()
    assert {i.properties["number"] for i in found} == numbers
    if not {"filter", "query", "intersects"} & set(asked):
        found = client.search(**asked, method="GET", limit=2).items()
        assert {i.properties["number"] for i in found} == numbers


def test_sorting(services: testbed.Services) -> None:
    client = pystac_client.Client.open(services.stac_url("catalogue"))
    for method in ("GET", "POST"):
        found = [
            i.properties["number"] for i in client.search(method=method, sortby="-properties.number", limit=7).items()
        ]
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    "query", ["bbox=1,2,3", "limit=0", "nonsense=1", "datetime=x", "token=abc", "filter=x", "bbox=0,5,1,-5"]
)
def test_bad_searches_are_refused(services: testbed.Services, query: str) -> None:
    status, body, _ = ask(services, f"/stac/search?{query}")
    assert status == 400
    assert json.loads(body)["description"]


def test_single_and_several_ranges(services: testbed.Services) -> None:
    size = len(BODY)
    for asked, (start, stop) in {"0-9": (0, 10), "100-": (100, size), "-5": (size - 5, size)}.items():
        status, body, headers = ask(services, PATH, Range=f"bytes={asked}")
        assert (status, body) == (206, BODY[start:stop])
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
    status, body, headers = ask(services, PATH, Range="bytes=0-3,10-11")
    assert status == 206
    assert headers["Content-Type"].startswith("multipart/byteranges")
    assert BODY[:4] in body
    assert b"Content-Range: bytes 10-11/" in body
    assert ask(services, PATH, Range=f"bytes={size}-")[0] == 416
    assert ask(services, PATH, Range="lines=1-2")[1] == BODY
    status, body, headers = ask(services, PATH, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(size))


def test_conditional_requests(services: testbed.Services) -> None:
    tag = ask(services, PATH, "HEAD")[2]["ETag"]
    assert ask(services, PATH, If_None_Match=tag)[0] == 304
    assert ask(services, PATH, If_Match='"other"')[0] == 412
    assert ask(services, PATH, Range="bytes=0-1", If_Range=tag)[0] == 206
    assert ask(services, PATH, Range="bytes=0-1", If_Range='"other"')[0] == 200


def test_nothing_outside_the_folder_is_served(services: testbed.Services) -> None:
    assert ask(services, "/files/catalogue/folder/b%20c.tif")[1] == b"II*"
    for path in ("../secret", "%2e%2e/secret", "..%2fsecret", "%00", "/etc/passwd"):
        assert ask(services, f"/files/catalogue/folder/{path}")[0] == 404


def test_log_says_what_was_asked(services: testbed.Services) -> None:
    ask(services, PATH, Range="bytes=0-9")
    (entry,) = services.log
    assert (entry.method, entry.path, entry.range, entry.bytes, entry.status) == ("GET", PATH, "bytes=0-9", 10, 206)
    assert json.loads(ask(services, "/log")[1])[0]["path"] == PATH
    assert len(services.log) == 1


def test_connections_are_kept_alive(services: testbed.Services) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", services.port, timeout=10)
    sockets = set()
    for path in (PATH, "/stac", "/nowhere", PATH):
        connection.request("GET", path)
        connection.getresponse().read()
        sockets.add(id(connection.sock))
    assert len(sockets) == 1
    connection.close()


def test_a_provider_goes_down_and_comes_back(services: testbed.Services) -> None:
    services.take_down("catalogue")
    assert {ask(services, p)[0] for p in ("/stac", "/stac/search", PATH)} == {503}
    assert ask(services, "/log")[0] == 200
    services.bring_up("catalogue")
    services.take_down(how="reset")
    with pytest.raises(ConnectionError):
        ask(services, PATH)
    services.bring_up()
    port = services.port
    services.refuse()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", PATH)
    services.listen()
    assert services.port == port
    assert ask(services, PATH)[1] == BODY


def test_faults_by_path(services: testbed.Services) -> None:
    faults = iter(
        [
            testbed.Fault(status=429, headers={"Retry-After": "1"}),
            testbed.Fault(short_by_bytes=5),
            testbed.Fault(delay_s=0.2),
        ]
    )
    services.faults.append(lambda request: next(faults) if request.path.endswith(".bin") else None)
    status, _, headers = ask(services, PATH)
    assert (status, headers["Retry-After"]) == (429, "1")
    with pytest.raises(http.client.IncompleteRead):
        ask(services, PATH)
    started = time.monotonic()
    assert ask(services, PATH)[1] == BODY
    assert time.monotonic() - started >= 0.2


def test_gdal_reads_through_ranges(tmp_path: Path) -> None:
    pixels = np.arange(600 * 600, dtype=np.uint16).reshape(600, 600)
    path = tmp_path / "x.tif"
    with rasterio.open(path, "w", driver="COG", width=600, height=600, count=1, dtype="uint16", blocksize=256) as file:
        file.write(pixels, 1)
    # rasterio opens with the interpreter's lock held, so a server in a thread of the same process could never answer
    code = (
        "import sys, rasterio; print(rasterio.open(sys.argv[1]).read(1, window=((300, 310), (5, 20))).tobytes().hex())"
    )
    with testbed.serve_catalogue([], {"/files/catalogue/x.tif": path}) as services:
        url = f"/vsicurl/{services.base_url}/files/catalogue/x.tif"
        out = subprocess.run(
            [sys.executable, "-c", code, url], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        assert out.strip() == pixels[300:310, 5:20].tobytes().hex()
        assert any(e.status == 206 for e in services.log)


@given(size=st.integers(1, 1000), first=st.integers(0, 1100), last=st.integers(0, 1100))
def test_a_range_is_what_python_slices(size: int, first: int, last: int) -> None:
    body = bytes(n % 251 for n in range(size))
    spans = parse_ranges(f"bytes={first}-{last}", size)
    if last < first:
        assert spans is None
    elif first >= size:
        assert spans == []
    else:
        assert spans is not None
        assert body[spans[0][0] : spans[0][1] + 1] == body[first : last + 1]


def test_answers_that_are_kept_are_the_same(tmp_path: Path) -> None:
    """Of each page of a search; another search gets its own."""
    body = {"collections": ["sentinel-2-l2a"], "bbox": [8, 47, 9, 48], "datetime": "2021-06-01/2021-06-10", "limit": 5}

    def found(url: str, *searches: Json) -> list[Any]:
        answers = []
        for search in searches:
            request = urllib.request.Request(f"{url}/anywhere/search", json.dumps(search).encode(), method="POST")  # noqa: S310
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                answers.append((answer.headers["Content-Type"], answer.read().replace(url.encode(), b"URL")))
        return answers

    searches = [body, body | {"token": "next:5"}, body | {"datetime": "2021-06-01/2021-06-03"}]
    with serve_anywhere() as plain, serve_anywhere(keep=tmp_path / "kept") as keeping:
        expected = found(plain.base_url, *searches)
        assert found(keeping.base_url, *searches, *searches) == expected * 2
    assert len({answer for _, answer in expected}) == len(list((tmp_path / "kept").iterdir())) == len(searches)
