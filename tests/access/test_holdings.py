"""What archives list is asked before anything is searched: real HTTP on loopback, APIs of every kind, static files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import testbed
from pipelines.access.archives import Archives
from pipelines.access.holdings import NotHeldError, holdings_of
from schemas.recipe import Recipe
from testbed.messages import Answer, Fault, Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.server import Server

EXTENT = {"spatial": {"bbox": [[5.0, 45.0, 15.0, 55.0]]}, "temporal": {"interval": [["2015-06-27T00:00:00Z", None]]}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Server, Path]]:
    """(address, server, folder that it serves below /static/)."""
    with testbed.serve_catalogue([], {"/static/": tmp_path}) as services:
        yield services.base_url, services.server, tmp_path


def recipe(url: str, collection: str = "sentinel-2-l2a") -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x", "seed": 1, "sampling": {"kind": "uniform", "count": 1}, "grid": {"size_m": 960},
            "windows": [{"name": "a", "start": "2021-06-01", "end": "2021-06-30"}],
            "providers": {"here": {"url": url, "retries": 0}},
            "sources": [{"kind": "sentinel2", "providers": ["here"], "collection": collection}],
        }
    )  # fmt: skip


def held(url: str, collection: str = "sentinel-2-l2a") -> list[Any]:
    plan = recipe(url, collection)
    with Archives(plan.providers) as archives:
        return holdings_of(archives, plan)


def api(server: Server, answers: dict[str, Any]) -> list[str]:
    """Answer below /api/ from a table, 404 elsewhere; the paths that were asked for."""
    asked: list[str] = []

    def route(request: Request) -> Answer | None:
        if not request.path.startswith("/api"):
            return None
        path = request.path.removeprefix("/api") + ("?page=2" if ("page", "2") in request.query else "")
        asked.append(path)
        return Answer.of(answers[path]) if path in answers else Answer.error(404, "no such path")

    server.routes.insert(0, route)
    return asked


def test_a_collection_that_is_there_says_where_and_when(server: tuple[str, Server, Path]) -> None:
    url, http, _ = server
    asked = api(http, {"/collections/sentinel-2-l2a": {"id": "sentinel-2-l2a", "extent": EXTENT}})
    (found,) = held(f"{url}/api")
    assert asked == ["/collections/sentinel-2-l2a"]
    assert found.bboxes == ((5.0, 45.0, 15.0, 55.0),)
    assert (str(found.begins), found.ends) == ("2015-06-27", None)


def test_an_unlisted_one_is_an_error_that_names_the_nearest(server: tuple[str, Server, Path]) -> None:
    url, http, _ = server
    pages = {
        "/collections": {"collections": [{"id": "landsat"}], "links": [{"rel": "next", "href": "?page=2"}]},
        "/collections?page=2": {"collections": [{"id": "sentinel-2-l1c"}], "links": []},
    }
    api(http, pages)
    with pytest.raises(NotHeldError, match="sentinel2: provider 'here' lists no collection 'sentinel-2-l2a'; did you"):
        held(f"{url}/api")
    (found,) = held(f"{url}/api", "landsat")
    assert found.bboxes == ()


@pytest.mark.parametrize(
    "answers",
    [{}, {"/collections": {"collections": []}}, {"/collections": {"nothing": 1}}, {"/collections": [1, 2]}],
    ids=["no such path", "empty", "another document", "a list"],
)
def test_an_archive_that_lists_nothing_is_passed_over(
    server: tuple[str, Server, Path], answers: dict[str, Any]
) -> None:
    url, http, _ = server
    api(http, answers)
    (found,) = held(f"{url}/api")
    assert found.collection == "sentinel-2-l2a"


def test_an_archive_that_is_down_is_left_to_the_search(server: tuple[str, Server, Path]) -> None:
    url, http, _ = server
    http.hooks.append(lambda _: Fault(status=503))
    assert len(held(f"{url}/api")) == 1


@pytest.mark.parametrize(
    "extent",
    [
        None,
        7,
        {"spatial": 3},
        {"spatial": {"bbox": [[1, 2], "x", [1, 2, "a", 4]]}},
        {"temporal": {"interval": [["x"]]}},
    ],
)
def test_an_extent_that_is_none_is_not_believed(server: tuple[str, Server, Path], extent: Any) -> None:
    url, http, _ = server
    api(http, {"/collections/sentinel-2-l2a": {"id": "sentinel-2-l2a", "extent": extent}})
    (found,) = held(f"{url}/api")
    assert (found.bboxes, found.begins, found.ends) == ((), None, None)


def test_a_static_catalogue_holds_what_its_items_name(server: tuple[str, Server, Path]) -> None:
    url, _, folder = server
    geometry = {"type": "Polygon", "coordinates": [[[5, 45], [6, 45], [6, 46], [5, 46], [5, 45]]]}
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "a", "collection": "sentinel-2-l2a", "geometry": geometry,
        "bbox": [5, 45, 6, 46], "properties": {"datetime": "2021-06-01T00:00:00Z"}, "assets": {}, "links": [],
    }  # fmt: skip
    (folder / "catalog.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    assert len(held(f"{url}/static/catalog.json")) == 1
    with pytest.raises(NotHeldError, match="lists no collection 'sentinel-2-l2b'; did you mean 'sentinel-2-l2a'"):
        held(f"{url}/static/catalog.json", "sentinel-2-l2b")
