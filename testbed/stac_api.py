"""A STAC API over items in memory: landing page, collections, items and search with paging."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from testbed.server import Answer, Request
from testbed.stac_filter import BadQueryError
from testbed.stac_search import Search, read_body, read_parameters

Json = dict[str, Any]
CONFORMANCE = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "https://api.stacspec.org/v1.0.0/item-search#filter",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
    "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
    "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2",
)
"""What the landing page declares: STAC API 1.0.0 and OGC API Features Part 1, and no more than is done here."""


@dataclass(kw_only=True)
class Catalogue:
    """Items and collections behind one API root; change `items` and `collections` as you like while it is served."""

    name: str
    """Provider name, lower case: files are under '/files/<name>/' and `Services.take_down` takes it."""
    root: str = "/stac"
    """URL path of the landing page, for example '/pc/stac'."""
    items: list[Json] = field(default_factory=list)
    """STAC items; every asset href that starts with '/' gets the server's base URL when served."""
    collections: dict[str, Json] = field(default_factory=dict)
    """Collection id -> STAC collection; made from the items where one is missing."""
    largest_page: int | None = None
    """Items on a page at most, whatever the client asks for."""
    merge_next: bool = False
    """POST paging: True = the next link's body holds only the token and is to be merged into the request's body."""


def collection_of(identity: str, items: list[Json]) -> Json:
    """A minimal valid STAC collection around items that name it."""
    mine = [i for i in items if i.get("collection") == identity]
    boxes = [i["bbox"] for i in mine if i.get("bbox")]
    corners = [
        [min(b[0] for b in boxes), min(b[1] for b in boxes)],
        [max(b[2] for b in boxes), max(b[3] for b in boxes)],
    ]
    times = sorted(
        t
        for i in mine
        for k in ("start_datetime", "datetime", "end_datetime")
        if (t := i["properties"].get(k)) is not None
    )
    period = [times[0].replace(" ", "T"), times[-1].replace(" ", "T")] if times else [None, None]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": identity,
        "description": f"Items of {identity}",
        "license": "other",
        "extent": {"spatial": {"bbox": [[*corners[0], *corners[1]]]}, "temporal": {"interval": [period]}},
        "links": [],
    }


@dataclass(kw_only=True)
class StacApi:
    """Answers requests below one root."""

    catalogue: Catalogue
    base_url: str
    """Scheme, host and port without a slash at the end: start of every href served."""

    @property
    def url(self) -> str:
        """URL of the landing page."""
        return self.base_url + self.catalogue.root

    def __call__(self, request: Request) -> Answer | None:
        """Answer a request below the root, None for any other."""
        root = self.catalogue.root
        if request.path.rstrip("/") != root and not request.path.startswith(root + "/"):
            return None
        parts = [p for p in request.path[len(root) :].split("/") if p]
        if request.method == "POST" and parts != ["search"]:
            return Answer.error(405, "POST is for /search alone")
        try:
            return self._answer(request, parts)
        except BadQueryError as error:
            return Answer.error(400, str(error))

    def _answer(self, request: Request, parts: list[str]) -> Answer:  # noqa: PLR0911 - one return a route
        match parts:
            case []:
                return Answer.of(self._landing())
            case ["conformance"]:
                return Answer.of({"conformsTo": CONFORMANCE})
            case ["api"]:
                return Answer.of(self._description(), kind="application/vnd.oai.openapi+json;version=3.0")
            case ["queryables"]:
                return Answer.of(self._queryables(), kind="application/schema+json")
            case ["search"]:
                return self._search(request)
            case ["collections"]:
                found = [self._collection(c) for c in self._ids()]
                return Answer.of(
                    {"collections": found, "links": [self._link("root", ""), self._link("self", "/collections")]}
                )
            case ["collections", name, *rest] if name in self._ids():
                return self._below(request, name, rest)
        return Answer.error(404, f"nothing is at {request.path}")

    def _below(self, request: Request, name: str, rest: list[str]) -> Answer:
        match rest:
            case []:
                return Answer.of(self._collection(name))
            case ["queryables"]:
                return Answer.of(self._queryables(), kind="application/schema+json")
            case ["items"]:
                asked = dict(request.query)
                if asked.pop("collections", name) != name:
                    raise BadQueryError(f"collections: the path says {name!r} already")
                return self._page(
                    read_parameters(asked | {"collections": name}), f"/collections/{name}/items", asked, None
                )
            case ["items", identity]:
                for item in self.catalogue.items:
                    if item["id"] == identity and item.get("collection") == name:
                        return Answer.of(self._served(item), kind="application/geo+json")
        return Answer.error(404, f"{name} has nothing at {'/'.join(rest)!r}")

    def _search(self, request: Request) -> Answer:
        if request.method != "POST":
            return self._page(read_parameters(dict(request.query)), "/search", dict(request.query), None)
        try:
            body = request.json()
        except ValueError as error:
            raise BadQueryError(f"body: {error}") from error
        return self._page(read_body(body), "/search", {}, body)

    def _page(self, search: Search, path: str, query: dict[str, str], body: Json | None) -> Answer:
        found = search(self.catalogue.items)
        page = found[search.start : search.start + min(search.limit, self.catalogue.largest_page or search.limit)]
        links = [self._link("root", ""), self._link("self", path, "application/geo+json")]
        if search.start + len(page) < len(found) and page:
            token = {"token": f"next:{search.start + len(page)}"}
            link = {"rel": "next", "type": "application/geo+json", "href": self.url + path}
            if body is None:
                link["href"] += "?" + urlencode(query | token)
                links.append(link | {"method": "GET"})
            else:
                merged = token if self.catalogue.merge_next else body | token
                links.append(link | {"method": "POST", "merge": self.catalogue.merge_next, "body": merged})
        answer = {
            "type": "FeatureCollection",
            "features": [self._served(i) for i in page],
            "links": links,
            "numberMatched": len(found),
            "numberReturned": len(page),
        }
        return Answer.of(answer, kind="application/geo+json")

    def _ids(self) -> list[str]:
        named = {i["collection"] for i in self.catalogue.items if i.get("collection")}
        return sorted({*self.catalogue.collections, *named})

    def _link(self, rel: str, path: str, kind: str = "application/json") -> Json:
        return {"rel": rel, "type": kind, "href": self.url + path}

    def _landing(self) -> Json:
        geo = "application/geo+json"
        links = [
            self._link("root", ""),
            self._link("self", ""),
            self._link("data", "/collections"),
            self._link("conformance", "/conformance"),
            self._link("search", "/search", geo) | {"method": "GET"},
            self._link("search", "/search", geo) | {"method": "POST"},
            self._link("service-desc", "/api", "application/vnd.oai.openapi+json;version=3.0"),
            self._link("http://www.opengis.net/def/rel/ogc/1.0/queryables", "/queryables", "application/schema+json"),
            *(self._link("child", f"/collections/{quote(c)}") for c in self._ids()),
        ]
        name = self.catalogue.name
        text = f"Testbed archive {name}"
        kind = {"type": "Catalog", "stac_version": "1.0.0", "id": name, "title": text, "description": text}
        return kind | {"conformsTo": CONFORMANCE, "links": links}

    def _description(self) -> Json:
        info = {"title": f"Testbed archive {self.catalogue.name}", "version": "1.0.0"}
        return {"openapi": "3.0.3", "info": info, "paths": {}}

    def _queryables(self) -> Json:
        names = sorted({k for i in self.catalogue.items for k in i["properties"]} | {"id", "collection", "geometry"})
        return {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "$id": self.url + "/queryables",
            "type": "object",
            "properties": {n: {} for n in names},
            "additionalProperties": True,
        }

    def _collection(self, name: str) -> Json:
        known = self.catalogue.collections.get(name) or collection_of(name, self.catalogue.items)
        path = f"/collections/{quote(name)}"
        links = [x for x in known.get("links", []) if x.get("rel") not in ("root", "self", "parent", "items")]
        links += [self._link("root", ""), self._link("parent", ""), self._link("self", path)]
        return known | {"links": [*links, self._link("items", path + "/items", "application/geo+json")]}

    def _served(self, item: Json) -> Json:
        """A copy of an item with this server's links and absolute hrefs."""
        served: Json = copy.deepcopy(item)
        for asset in served["assets"].values():
            for place in (asset, *asset.get("alternate", {}).values()):
                if place["href"].startswith("/"):
                    place["href"] = self.base_url + quote(place["href"])
        collection = f"/collections/{quote(str(item.get('collection')))}"
        links = [x for x in item.get("links", []) if x.get("rel") not in ("root", "self", "parent", "collection")]
        links.append(self._link("self", f"{collection}/items/{quote(item['id'])}", "application/geo+json"))
        links += [self._link("root", ""), self._link("parent", collection), self._link("collection", collection)]
        served["links"] = links
        return served
