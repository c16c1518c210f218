"""Searching to the last page or not at all: paging, circles, lost links, boxes across the 180th meridian."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.access.archives import Archives
from pipelines.access.http.client import AccessError, Client, SettingError
from pipelines.access.stac.search import search
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.provider import Provider
from testbed.server import Fault, Request
from testbed.services import Services, serve_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator


def item(number: int, lon: float, lat: float, day: int = 1) -> dict[str, Any]:
    ring = [[lon, lat], [lon + 0.1, lat], [lon + 0.1, lat + 0.1], [lon, lat + 0.1], [lon, lat]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": f"i{number:04d}", "collection": "c", "links": [],
        "assets": {},
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [lon, lat, lon + 0.1, lat + 0.1],
        "properties": {"datetime": f"2022-06-{day:02d}T10:00:00Z"},
    }  # fmt: skip


@pytest.fixture
def services() -> Iterator[Services]:
    items = [item(i, 10 + (i % 50) * 0.01, 46.0, 1 + i % 28) for i in range(600)]
    items += [item(9000, 179.95, -16.0), item(9001, -179.99, -16.0)]
    with serve_catalogue(items[::-1]) as running:
        yield running


def client() -> Client:
    return Client(retries=2, timeout_s=5.0, backoff_s=0.01)


def find(services: Services, **how: Any) -> list[str]:
    provider = Provider(url=services.stac_url("catalogue"))
    asked = {"areas": [BBox(9.0, 45.0, 12.0, 47.0)], "period": None, "client": client(), **how}
    return [i["id"] for i in search("p", provider, "c", **asked)]


def test_all_pages_once_and_in_order(services: Services) -> None:
    assert find(services) == [f"i{i:04d}" for i in range(600)]
    assert find(services, areas=[BBox(9.0, 45.0, 12.0, 47.0), BBox(9.5, 45.0, 13.0, 47.0)]) == [
        f"i{i:04d}" for i in range(600)
    ]


def test_a_box_across_the_180th_meridian_is_two(services: Services) -> None:
    assert find(services, areas=[BBox(179.0, -17.0, -179.0, -15.0)]) == ["i9000", "i9001"]


def test_days_are_whole(services: Services) -> None:
    from datetime import date

    got = find(services, period=(date(2022, 6, 3), date(2022, 6, 3)))
    assert got == [f"i{i:04d}" for i in range(600) if 1 + i % 28 == 3]


@pytest.mark.parametrize("what", ["lost link", "circle", "empty", "not a list", "no id"])
def test_an_incomplete_answer_is_no_answer(what: str, services: Services) -> None:
    pages = [0]

    def spoil(request: Request) -> Fault | None:
        if not request.path.endswith("/search"):
            return None
        pages[0] += 1
        page: dict[str, Any] = {
            "type": "FeatureCollection",
            "numberMatched": 3,
            "links": [],
            "features": [item(1, 10, 46)],
        }
        if what == "circle":
            page["links"] = [{"rel": "next", "method": "POST", "href": request.path, "body": {"token": pages[0]}}]
        elif what == "empty":
            page["features"] = []
        elif what == "not a list":
            page["features"] = None
        elif what == "no id":
            page["features"] = [{"type": "Feature"}]
        return Fault(status=200, body=json.dumps(page).encode())

    services.faults.append(spoil)
    with pytest.raises(AccessError) as caught:
        find(services)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert pages[0] <= 12


def test_a_service_that_is_down_is_asked_as_often_as_the_recipe_says(services: Services) -> None:
    services.take_down()
    asked = client()
    with pytest.raises(AccessError) as caught:
        find(services, client=asked)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert asked.counters.requests == 3


def test_a_page_that_fails_once_costs_nothing(services: Services) -> None:
    left = [2]

    def now_and_then(request: Request) -> Fault | None:
        if left[0] > 0 and request.path.endswith("/search"):
            left[0] -= 1
            return Fault(status=502)
        return None

    services.faults.append(now_and_then)
    assert len(find(services)) == 600


def test_the_next_body_of_a_service_that_forgets_its_filters_is_completed(services: Services) -> None:
    seen: list[dict[str, Any]] = []

    def dlr(request: Request) -> Fault | None:
        body = request.json()
        seen.append(body)
        start = body.get("startIndex", 0)
        page = {
            "type": "FeatureCollection", "numberMatched": 2, "features": [item(start, 10, 46)],
            "links": [{"rel": "next", "method": "POST", "href": request.path, "body": {"startIndex": 1, "limit": 1}}],
        }  # fmt: skip
        return Fault(status=200, body=json.dumps(page if start == 0 else {**page, "links": []}).encode())

    services.faults.append(dlr)
    assert find(services) == ["i0000", "i0001"]
    assert seen[1]["collections"] == ["c"]
    assert seen[1]["bbox"] == seen[0]["bbox"]


def test_an_unset_variable_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANDWEAVE_NOWHERE", raising=False)
    with (
        Archives({"p": Provider(url="${LANDWEAVE_NOWHERE}/stac")}) as archives,
        pytest.raises(SettingError, match="LANDWEAVE_NOWHERE"),
    ):
        archives.search("p", "c", [BBox(0.0, 0.0, 1.0, 1.0)], None)


@pytest.mark.real
def test_real_pages_are_followed_to_their_end(real: Path) -> None:
    """Earth Search's own pages: a link stands on the last full page too, and what is behind it is empty."""
    folder = real / "stac" / "earth_search_v1"
    names = ("sentinel-2-l2a_search_32TMT_2020-03.json", "sentinel-2-l2a_search_32TMT_2020-03_1.json")
    pages = [json.loads((folder / name).read_text())["response"] for name in names]
    empty = json.loads((folder / "s2_landsat_multi_collection_search_1.json").read_text())["response"]
    last = {**empty, "numberMatched": 16, "context": {**empty["context"], "matched": 16}}
    tokens: list[str | None] = []

    def replay(request: Request) -> Fault | None:
        tokens.append(request.json().get("next"))
        page = json.loads(json.dumps([*pages, last][len(tokens) - 1]))
        for link in page["links"]:
            link["href"] = request.path
        return Fault(status=200, body=json.dumps(page).encode())

    with serve_catalogue([]) as services:
        services.faults.append(replay)
        provider = Provider(url=services.stac_url("catalogue"), dialect="earth-search")
        found = search(
            "p", provider, "sentinel-2-l2a", areas=[BBox(9.0, 47.0, 10.0, 48.0)], period=None, client=client()
        )
    assert len(found) == 16
    assert tokens == [None, "2020-03-02T10:27:44.563000Z,S2A_32TMT_20200302_0_L2A,sentinel-2-l2a",
                      "2020-03-02T10:27:26.416000Z,S2A_32UNU_20200302_0_L2A,sentinel-2-l2a"]  # fmt: skip


@pytest.mark.parametrize("counted", ["numberMatched", "context"])
def test_a_link_that_vanishes_after_the_first_page_is_noticed(counted: str) -> None:
    def spoil(request: Request) -> Fault | None:
        start = request.json().get("token", 0)
        matched = {"numberMatched": 4} if counted == "numberMatched" else {"context": {"matched": 4}}
        links = [{"rel": "next", "method": "POST", "href": request.path, "body": {"token": 2}, "merge": True}]
        features = [item(start, 10, 46), item(start + 1, 10, 46)][: 2 if start == 0 else 1]
        page = {"type": "FeatureCollection", **matched, "links": links if start == 0 else [], "features": features}
        return Fault(status=200, body=json.dumps(page).encode())

    with serve_catalogue([]) as services:
        services.faults.append(spoil)
        with pytest.raises(AccessError, match="states 4 matching items but returned 3"):
            find(services)


@pytest.mark.parametrize(("empty", "complete"), [(2, True), (5, False)])
def test_some_empty_pages_between_full_ones_are_gone_through(empty: int, complete: bool) -> None:
    """CMR and others give pages that a filter has emptied; an endless row of them is no answer."""

    def page(request: Request) -> Fault | None:
        number = request.json().get("token", 0)
        full = number in (0, empty + 1)
        links = [{"rel": "next", "method": "POST", "href": request.path, "body": {"token": number + 1}, "merge": True}]
        body = {
            "type": "FeatureCollection", "numberMatched": 2, "features": [item(number, 10, 46)] if full else [],
            "links": links if number < empty + 1 else [],
        }  # fmt: skip
        return Fault(status=200, body=json.dumps(body).encode())

    with serve_catalogue([]) as services:
        services.faults.append(page)
        if complete:
            assert find(services) == ["i0000", f"i{empty + 1:04d}"]
        else:
            with pytest.raises(AccessError, match="incomplete"):
                find(services)


def test_several_collections_are_one_search() -> None:
    items = [item(n, 10.0, 46.0) | {"collection": "abc"[n]} for n in range(3)]
    with serve_catalogue(items) as services:
        provider = Provider(url=services.stac_url("catalogue"))
        box = [BBox(9.0, 45.0, 12.0, 47.0)]
        found = search("p", provider, "a,c", areas=box, period=None, client=client())
        assert [i["id"] for i in found] == ["i0000", "i0002"]
        assert len([e for e in services.log if e.path.endswith("/search")]) == 1


def test_the_alternate_address_is_taken_where_there_is_one() -> None:
    made = item(1, 10.0, 46.0) | {
        "assets": {
            "a": {"href": "https://x.example/login", "alternate": {"s3": {"href": "s3://bucket/a.tif"}}},
            "b": {"href": "https://x.example/b.tif"},
        }
    }
    with serve_catalogue([made]) as services:
        href, s3 = "https://x.example/login", "s3://bucket/a.tif"
        for more, first in (
            ({"dialect": "usgs"}, s3),
            ({"alternate": "s3"}, s3),
            ({}, href),
            ({"alternate": "ftp"}, href),
        ):
            provider = Provider.model_validate({"url": services.stac_url("catalogue"), **more})
            (got,) = search("p", provider, "c", areas=[BBox(9.0, 45.0, 12.0, 47.0)], period=None, client=client())
            assert [a["href"] for a in got["assets"].values()] == [first, "https://x.example/b.tif"]


def test_the_library_sends_nothing_by_its_own_session() -> None:
    """Deadlines, limits, address rules and counters hold for what goes through our layer alone."""
    from requests.exceptions import InvalidSchema

    from pipelines.access.stac.search_io import SearchIO
    from pipelines.access.stac.walk import Walk

    with serve_catalogue([item(1, 10, 46)]) as services:
        library = SearchIO(client(), Walk(0.0), lambda: None)
        before = len(services.server.log)
        for reach in (library.session.get, library.session.post):
            with pytest.raises(InvalidSchema):
                reach(services.stac_url("catalogue"), timeout=5)
        with pytest.raises(Exception, match="No connection adapters"):
            library.read_text(services.stac_url("catalogue"))
        assert len(services.server.log) == before


def test_each_page_of_a_search_is_counted(services: Services) -> None:
    asked = client()
    before = len(services.server.log)
    assert len(find(services, client=asked)) == 600
    assert asked.counters.requests == len(services.server.log) - before > 1


@pytest.mark.slow
def test_the_planner_starts_without_the_search_library() -> None:
    code = "import sys, pipelines.jobs; print(sorted({'pystac_client', 'pystac'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
