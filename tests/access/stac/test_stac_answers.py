"""What real services answer: other page sizes, links with headers, counts that are guesses, items as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import stac_geoparquet.arrow

from pipelines.access.archives import Archives
from pipelines.access.http.client import AccessError, Client
from pipelines.access.stac.search import search
from schemas.outcome import Reason
from schemas.place import BBox
from schemas.provider import Provider
from testbed.server import Answer, Request
from testbed.services import Services, serve_catalogue

Json = dict[str, Any]
BOX = BBox(9.0, 45.0, 11.0, 47.0)


def item(name: object, lon: float = 10.0, **more: Any) -> Json:
    ring = [[lon, 46], [lon + 0.1, 46], [lon + 0.1, 46.1], [lon, 46.1], [lon, 46]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "c", "links": [],
        "assets": {"data": {"href": "./a.tif"}}, "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [lon, 46, lon + 0.1, 46.1], "properties": {"datetime": "2022-06-01T10:00:00Z"}, **more,
    }  # fmt: skip


def answers(say: Callable[[Request, Json], Answer]) -> tuple[list[str], list[Json]]:
    """Ids that a search of a service finds, and what the service was asked."""
    asked: list[Json] = []

    def route(request: Request) -> Answer | None:
        if not request.path.endswith("/search"):
            return None
        asked.append(request.json() if request.method == "POST" else dict(request.query))
        return say(request, asked[-1])

    with serve_catalogue([]) as services:
        services.server.routes.insert(0, route)
        client = Client(retries=1, timeout_s=5.0, backoff_s=0.001)
        try:
            got = search("p", Provider(url=services.base_url), "c", areas=[BOX], period=None, client=client)
        finally:
            client.close()
    return [i["id"] for i in got], asked


class Paged:
    """A service that keeps to limits, and counts as it likes."""

    def __init__(self, count: int, *, says: Any = None, most: int = 10_000, loses: int | None = None) -> None:
        self.items = [item(f"i{n:03d}") for n in range(count)]
        self.says, self.most, self.loses = says, most, loses

    def __call__(self, request: Request, body: Json) -> Answer:
        limit, start = min(body.get("limit", 10), self.most), body.get("start", 0)
        listed = self.items[start : start + limit]
        link = {"rel": "next", "method": "POST", "href": request.path, "body": {"start": start + limit}, "merge": True}
        more = start + limit < len(self.items) and start // limit != self.loses
        links = [link] if more else []
        return Answer.of({"type": "FeatureCollection", "features": listed, "links": links, "numberMatched": self.says})


@pytest.mark.parametrize(("status", "most"), [(400, 100), (422, 60), (413, 10)])
def test_a_service_that_refuses_large_pages_gets_smaller_ones(status: int, most: int) -> None:
    service = Paged(120, says=120)

    def say(request: Request, body: Json) -> Answer:
        return Answer.error(status, f"limit must be <= {most}") if body["limit"] > most else service(request, body)

    got, asked = answers(say)
    assert got == [f"i{n:03d}" for n in range(120)]
    assert max(body["limit"] for body in asked if body.get("start")) <= most


def test_a_refusal_that_is_not_about_the_size_is_told_as_it_is() -> None:
    with pytest.raises(AccessError, match="HTTP 400") as caught:
        answers(lambda *_: Answer.error(400, "no such collection"))
    assert caught.value.reason is Reason.UNAVAILABLE


def test_pages_that_are_too_large_to_be_read_are_asked_for_smaller() -> None:
    service = Paged(60)

    def say(request: Request, body: Json) -> Answer:
        if body["limit"] > 50:
            return Answer(body=b"[" + b"1," * 4_000_001 + b"1]", headers={"Content-Type": "application/json"})
        return service(request, body)

    assert len(answers(say)[0]) == 60


@pytest.mark.parametrize("says", [12_345, 10_000, "10000"])
def test_a_large_count_that_is_a_guess_does_not_make_an_answer_incomplete(says: Any) -> None:
    assert len(answers(Paged(7, says=says))[0]) == 7
    assert len(answers(Paged(307, says=says))[0]) == 307


def test_a_small_count_that_is_a_guess_is_found_out_by_smaller_pages() -> None:
    got, asked = answers(Paged(21, says=37))
    assert len(got) == 21
    assert {body["limit"] for body in asked} == {250, 10}


@pytest.mark.parametrize("count", [100, 120])
def test_a_link_that_is_lost_is_not_taken_for_a_guess(count: int) -> None:
    """A service that cuts pages at 100 without a word, and whose link to the second page is lost."""
    service = Paged(count + 400, says=12_345, most=100, loses=0)
    with pytest.raises(AccessError, match="incomplete"):
        answers(service)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_service_without_post_is_asked_by_get(status: int) -> None:
    def say(request: Request, _: Json) -> Answer:
        return Answer.of({"features": [item("a")]}) if request.method == "GET" else Answer.error(status, "no")

    assert answers(say)[0] == ["a"]


@pytest.mark.parametrize("body", [{"t": 2}, '{"t": 2}'])
def test_a_next_link_brings_its_headers_and_its_body(body: object) -> None:
    def say(request: Request, asked: Json) -> Answer:
        if {k.lower(): v for k, v in request.headers.items()}.get("search-after") == "z" and asked.get("t") == 2:
            return Answer.of({"features": [item("b")]})
        link = {"rel": "next", "method": "post", "href": request.path, "body": body, "headers": {"search-after": "z"}}
        return Answer.of({"features": [item("a")], "links": [{**link, "merge": True}]})

    got, asked = answers(say)
    assert got == ["a", "b"]
    assert asked[1]["bbox"] == asked[0]["bbox"]


def test_the_address_of_a_search_is_as_good_as_that_of_its_root() -> None:
    with serve_catalogue([item("a")]) as services:
        url = services.stac_url("catalogue") + "/search/"
        with Archives({"p": Provider(url=url)}) as archives:
            assert [i["id"] for i in archives.search("p", "c", [BOX], None)] == ["a"]


def polygon(points: list[Any]) -> Json:
    return {"type": "Polygon", "coordinates": [points]}


RING = [[10, 46], [10.1, 46], [10.1, 46.1], [10, 46.1], [10, 46]]
MAY = "2022-05-01T00:00:00Z"
HERE: dict[str, Json] = {
    "plain": {},
    "null geometry": {"geometry": None},
    "ring that does not close": {"geometry": {"type": "Polygon", "coordinates": [RING[:-1]]}},
    "collection of shapes": {
        "bbox": None, "geometry": {"type": "GeometryCollection", "geometries": [polygon(RING)]},
    },
    "numbers as text": {"geometry": {"type": "Polygon", "coordinates": [[[str(v) for v in p] for p in RING]]}},
    "heights": {"geometry": {"type": "Polygon", "coordinates": [[[*p, 7.0] for p in RING]]}},
    "box of six": {"geometry": None, "bbox": [10, 46, 0, 10.1, 46.1, 100]},
    "point with a box": {"geometry": {"type": "Point", "coordinates": [10, 46]}},
    "whole Earth": {"geometry": None, "bbox": [-180, -90, 180, 90]},
    "whole Earth as a ring": {
        "geometry": {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]}
    },
    "small z": {"properties": {"datetime": "2022-06-01t10:00:00z"}},
    "nine digits": {"properties": {"datetime": "2022-06-01T10:00:00.123456789Z"}},
    "day alone": {"properties": {"datetime": "2022-06-01"}},
    "interval": {"properties": {"datetime": None, "start_datetime": MAY, "end_datetime": "2022-07-01T00:00:00Z"}},
    "open interval": {"properties": {"datetime": None, "start_datetime": MAY, "end_datetime": None}},
    "hour 24, told by who asks": {"properties": {"datetime": "2022-06-01T24:00:00Z"}},
    "no collection": {"collection": None},
}  # fmt: skip
EAST, WEST = BBox(179.6, -16.4, 179.9, -16.1), BBox(-179.9, -16.4, -179.6, -16.1)


def ring(*lons: float) -> list[Any]:
    west, east = lons
    return [[west, -16.5], [east, -16.5], [east, -16], [west, -16], [west, -16.5]]


SEAM: dict[str, Json] = {
    "jumps": {"geometry": polygon(ring(179.5, -179.5)), "bbox": [179.5, -16.5, -179.5, -16]},
    "runs over": {"geometry": polygon(ring(179.5, 180.5)), "bbox": [179.5, -16.5, 180.5, -16]},
    "runs under": {"geometry": polygon(ring(-180.5, -179.5))},
    "split": {"geometry": {"type": "MultiPolygon", "coordinates": [[ring(179.5, 180)], [ring(-180, -179.5)]]}},
    "box alone": {"geometry": None, "bbox": [179.5, -16.5, -179.5, -16]},
}  # fmt: skip
ITEMS = [item(n, **c) for n, c in HERE.items()] + [item(n, **c) for n, c in SEAM.items()] + [item("far", 60.0)]
ROUND = {"whole Earth", "whole Earth as a ring"}


def static(services: Services, features: list[Any]) -> Archives:
    found = Answer.of({"type": "FeatureCollection", "features": features})
    services.server.routes.insert(0, lambda r: found if r.path == "/all.json" else None)
    return Archives({"p": Provider(url=f"{services.base_url}/all.json", retries=0)})


def test_a_static_catalogue_finds_items_where_and_when_they_are() -> None:
    def names(archives: Archives, box: Any, period: Any = None) -> set[str]:
        return {i["id"] for i in archives.search("p", "c", [box], period)}

    with serve_catalogue([]) as services, static(services, ITEMS) as archives:
        assert names(archives, (10.02, 46.02, 10.05, 46.05)) == set(HERE)
        assert names(archives, BOX, (date(2022, 6, 1), date(2022, 6, 1))) == set(HERE)
        later = names(archives, BOX, (date(2022, 8, 1), date(2022, 8, 2)))
        assert later == {"open interval", "hour 24, told by who asks"}
        for box in (EAST, WEST, BBox(179.8, -16.4, -179.8, -16.1), BBox(179.8, -16.4, 180.2, -16.1)):
            assert names(archives, box) == set(SEAM) | ROUND
        assert names(archives, (0, -16.4, 1, -16.1)) == ROUND
        area = polygon(ring(179.6, 179.9))
        assert {i["id"] for i in archives.search("p", "c", area, None)} == set(SEAM) | ROUND


def parquet(services: Services, folder: Path, table: pa.Table) -> Archives:
    pq.write_table(table, folder / "items.parquet")
    services.files.single["/items.parquet"] = folder / "items.parquet"
    return Archives({"p": Provider(url=f"{services.base_url}/items.parquet", retries=0)})


@pytest.mark.parametrize("boxes", ["list", "fixed list", "struct", "none"])
def test_a_parquet_file_of_any_writer_is_read(boxes: str, tmp_path: Path) -> None:
    """The library that writes most of them is the oracle; older files have lists for boxes."""
    written = [item(f"i{n}", 10.0 + n, properties={"datetime": "2022-06-01T10:00:00Z", "n": n}) for n in range(3)]
    table = pa.table(stac_geoparquet.arrow.parse_stac_items_to_arrow(written))
    at = table.schema.get_field_index("bbox")
    plain = [i["bbox"] for i in written]
    if boxes == "none":
        table = table.remove_column(at)
    elif boxes != "struct":
        kind = pa.list_(pa.float64()) if boxes == "list" else pa.list_(pa.float64(), 4)
        table = table.set_column(at, "bbox", pa.array(plain, kind))
    with serve_catalogue([]) as services, parquet(services, tmp_path, table) as archives:
        got = archives.search("p", "c", [BBox(9.0, 45.0, 20.0, 47.0)], (date(2022, 6, 1), date(2022, 6, 1)))
    assert [(i["id"], i["collection"], i["properties"]["n"]) for i in got] == [(f"i{n}", "c", n) for n in range(3)]
    assert [shapely.from_geojson(json.dumps(i["geometry"])).bounds for i in got] == [tuple(b) for b in plain]
    if boxes != "none":
        assert [i["bbox"] for i in got] == plain


def test_parquet_that_is_no_stac_is_said_to_be_none(tmp_path: Path) -> None:
    places = pa.table({"name": ["a"], "geometry": [shapely.to_wkb(shapely.Point(10, 46))]})
    with serve_catalogue([]) as services, parquet(services, tmp_path, places) as archives:
        what = "no column id and no column assets"
        with pytest.raises(AccessError, match=what) as caught:
            archives.search("p", "c", [BOX], None)
    assert caught.value.reason is Reason.CORRUPT
