"""Searching to the last page or not at all: paging, circles, lost links, boxes across the 180th meridian."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.access.http import AccessError, Client, SettingError
from pipelines.access.stac import Archives, search
from schemas.outcome import Reason
from schemas.recipe import Provider
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
    asked = {"areas": [(9.0, 45.0, 12.0, 47.0)], "period": None, "client": client(), **how}
    return [i["id"] for i in search("p", provider, "c", **asked)]


def test_all_pages_once_and_in_order(services: Services) -> None:
    assert find(services) == [f"i{i:04d}" for i in range(600)]
    assert find(services, areas=[(9.0, 45.0, 12.0, 47.0), (9.5, 45.0, 13.0, 47.0)]) == [f"i{i:04d}" for i in range(600)]


def test_a_box_across_the_180th_meridian_is_two(services: Services) -> None:
    assert find(services, areas=[(179.0, -17.0, -179.0, -15.0)]) == ["i9000", "i9001"]


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
    monkeypatch.delenv("NOWHERE", raising=False)
    with Archives({"p": Provider(url="${NOWHERE}/stac")}) as archives, pytest.raises(SettingError, match="NOWHERE"):
        archives.search("p", "c", [(0.0, 0.0, 1.0, 1.0)], None)
