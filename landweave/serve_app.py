"""The application of `landweave serve`: stac-fastapi's routes over `landweave.stac`."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import attr
from cql2 import Expr
from pydantic import Field
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import (
    ItemCollectionUri,
    create_get_request_model,
    create_post_request_model,
    create_request_model,
)
from stac_fastapi.extensions import filter as filters
from stac_fastapi.extensions.aggregation import AggregationExtension
from stac_fastapi.extensions.aggregation.client import BaseAggregationClient
from stac_fastapi.extensions.aggregation.request import (
    AggregationExtensionGetRequest,
    AggregationExtensionPostRequest,
)
from stac_fastapi.extensions.fields import FieldsExtension
from stac_fastapi.extensions.filter.client import BaseFiltersClient
from stac_fastapi.extensions.filter.filter import FilterConformanceClasses
from stac_fastapi.extensions.filter.request import FilterExtensionGetRequest, FilterExtensionPostRequest
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.sort import SearchSortExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.errors import InvalidQueryParameter, NotFoundError
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles

from landweave.errors import LandweaveError, QueryError
from landweave.plain import printable
from landweave.stac import (
    AGGREGATIONS,
    MOST_ITEMS,
    STAC_VERSION,
    Search,
    aggregate,
    collection,
    item,
    page,
    queryables,
)

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

    from landweave.dataset import Dataset
    from landweave.layout import Json

_LOG = logging.getLogger("landweave.serve")


def application(dataset: Dataset) -> FastAPI:
    """The ASGI application."""
    search = [
        SearchFilterExtension(client=_Queryables(dataset=dataset), conformance_classes=_FILTER),
        SearchSortExtension(conformance_classes=_SORT),
        FieldsExtension(),
        TokenPaginationExtension(),
    ]
    items_filter = filters.ItemCollectionFilterExtension(client=_Queryables(dataset=dataset))
    items: Any = create_request_model(
        "ItemCollectionURI", ItemCollectionUri, [items_filter, TokenPaginationExtension()], request_type="GET"
    )
    client = _Catalogue(dataset=dataset, landing_page_id=dataset.spec.name, stac_version=STAC_VERSION)
    api = StacApi(
        settings=ApiSettings(
            stac_fastapi_title=dataset.spec.name,
            stac_fastapi_description=dataset.spec.description or f"Samples of {dataset.spec.name}",
            stac_fastapi_version="1.0.0",
            enable_response_models=False,
        ),
        client=client,
        extensions=[*search, items_filter, _Aggregate(client=_Aggregations(dataset=dataset))],
        search_get_request_model=create_get_request_model(search),
        search_post_request_model=create_post_request_model(search),
        items_get_request_model=items,
        response_class=JSONResponse,
    )  # fmt: skip
    client.extensions = api.extensions
    app: FastAPI = api.app
    app.add_exception_handler(_UnreadableError, _unreadable)
    if not dataset.store.remote:
        app.mount("/files", StaticFiles(directory=Path(dataset.store.url), follow_symlink=False), name="files")
    return app


_FILTER: list[str] = [
    FilterConformanceClasses.FILTER, FilterConformanceClasses.SEARCH, FilterConformanceClasses.ITEMS,
    FilterConformanceClasses.CQL2_TEXT, FilterConformanceClasses.CQL2_JSON, FilterConformanceClasses.BASIC_CQL2,
    FilterConformanceClasses.ADVANCED_COMPARISON_OPERATORS, FilterConformanceClasses.BASIC_SPATIAL_FUNCTIONS,
    FilterConformanceClasses.SPATIAL_FUNCTIONS, FilterConformanceClasses.PROPERTY_PROPERTY,
]  # fmt: skip
_SORT = ["https://api.stacspec.org/v1.0.0/item-search#sort"]
_LONGEST = 1 << 16
"""Characters of a filter as text."""


@attr.s
class _AggregateGet(AggregationExtensionGetRequest, FilterExtensionGetRequest):
    """Aggregation takes filters too."""


class _FilterPost(FilterExtensionPostRequest):
    """pystac-client posts filters as text too."""

    filter_expr: dict[str, Any] | str | None = Field(None, alias="filter")  # type: ignore[assignment]
    filter_lang: Literal["cql2-json", "cql2-text"] | None = Field(None, alias="filter-lang")  # type: ignore[assignment]


class SearchFilterExtension(filters.SearchFilterExtension):
    """stac-fastapi looks for this name before it links the queryables."""

    POST = _FilterPost


class _AggregatePost(AggregationExtensionPostRequest, _FilterPost):
    """Aggregation takes filters too."""


class _Aggregate(AggregationExtension):
    GET = _AggregateGet
    POST = _AggregatePost


class _Told:
    """Turns errors of the reader into HTTP errors: a user's mistake is 400; no detail of this machine is sent."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, QueryError):
            raise InvalidQueryParameter(str(error)) from error
        if isinstance(error, LandweaveError):
            raise _UnreadableError(str(error)) from error


class _UnreadableError(Exception):
    """The catalogue is damaged or out of reach: HTTP 500, and one line for who runs the server."""


def _unreadable(_: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s", printable(error))
    answer = {"code": "UnreadableCatalogue", "description": "the catalogue cannot be read; the server's log says why"}
    return JSONResponse(answer, status_code=500)


def _cql2(text: Any, language: str | None) -> Any:
    if text is None or isinstance(text, dict):
        return text
    if len(text) > _LONGEST:
        raise QueryError(f"the filter has {len(text)} characters, at most {_LONGEST} are taken")
    try:
        return json.loads(text) if language == "cql2-json" else Expr(text).to_json()
    except Exception as error:
        raise QueryError("the filter is not CQL2: " + str(error).splitlines()[0][:200]) from error


def _shape(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise QueryError("intersects must be a GeoJSON geometry") from error


def _base(request: Request) -> str:
    return str(request.base_url)


def _in(dataset: Dataset, collections: list[str] | None) -> bool:
    return not collections or dataset.spec.name in collections


@attr.s
class _Catalogue(BaseCoreClient):
    """Answers of the core and of item search."""

    dataset: Dataset = attr.ib(default=None)
    _lock: threading.Lock = attr.ib(factory=threading.Lock, init=False)
    """Row groups are kept for neighbours, one at a time."""

    def _files(self, request: Request) -> str:
        return f"{self.dataset.store.url}/" if self.dataset.store.remote else f"{_base(request)}files/"

    def all_collections(self, **kwargs: Any) -> Any:
        request = kwargs["request"]
        links = [
            {"rel": "self", "href": f"{_base(request)}collections", "type": "application/json"},
            {"rel": "root", "href": _base(request), "type": "application/json"},
            {"rel": "parent", "href": _base(request), "type": "application/json"},
        ]
        return {"collections": [self.get_collection(self.dataset.spec.name, **kwargs)], "links": links}

    def get_collection(self, collection_id: str, **kwargs: Any) -> Any:
        self._known(collection_id)
        with _Told():
            return collection(self.dataset, _base(kwargs["request"]), self._files(kwargs["request"]))

    def get_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Any:
        self._known(collection_id)
        with _Told():
            position = self.dataset.catalogue.position(item_id)
        if position is None:
            raise NotFoundError(f"no item {item_id[:80]!r} in {collection_id[:80]!r}")
        return self._items([position], kwargs["request"])[0]

    def item_collection(self, collection_id: str, bbox: Any = None, datetime: Any = None, limit: int | None = 10,
                        token: str | None = None, **kwargs: Any) -> Any:  # fmt: skip
        self._known(collection_id)
        return self._search({
            "bbox": bbox, "interval": datetime, "token": token, "limit": limit,
            "cql2": (kwargs.get("filter_expr"), kwargs.get("filter_lang")),
        }, kwargs["request"])  # fmt: skip

    def get_search(self, collections: Any = None, ids: Any = None, bbox: Any = None, intersects: Any = None,
                   datetime: Any = None, limit: int | None = 10, **kwargs: Any) -> Any:  # fmt: skip
        by = [(name.lstrip("+-"), name.startswith("-")) for name in kwargs.get("sortby") or ()]
        return self._search({
            "collections": collections, "ids": ids, "bbox": bbox, "intersects": intersects, "interval": datetime,
            "limit": limit, "token": kwargs.get("token"), "sortby": by,
            "cql2": (kwargs.get("filter_expr"), kwargs.get("filter_lang")), "fields": _fields(kwargs.get("fields")),
        }, kwargs["request"])  # fmt: skip

    def post_search(self, search_request: Any, **kwargs: Any) -> Any:
        asked = search_request
        by = [(s.field, str(getattr(s.direction, "value", s.direction)) == "desc") for s in asked.sortby or ()]
        shape = None if asked.intersects is None else asked.intersects.model_dump(mode="json")
        fields = None if asked.fields is None else (asked.fields.include or set(), asked.fields.exclude or set())
        return self._search({
            "collections": asked.collections, "ids": asked.ids, "bbox": asked.bbox, "intersects": shape,
            "interval": asked.datetime, "limit": asked.limit, "token": asked.token, "sortby": by,
            "cql2": (asked.filter_expr, asked.filter_lang or "cql2-text"), "fields": fields,
        }, kwargs["request"])  # fmt: skip

    def _known(self, collection_id: str) -> None:
        if collection_id != self.dataset.spec.name:
            raise NotFoundError(f"no collection {collection_id[:80]!r}")

    def _search(self, asked: dict[str, Any], request: Request) -> Json:
        limit = min(int(asked["limit"] or 10), MOST_ITEMS)
        with _Told():
            by = [(name.removeprefix("properties."), down) for name, down in asked.get("sortby") or ()]
            found = page(self.dataset, _found(self.dataset, asked), by, limit, asked.get("token"))
            features = [_chosen(one, asked.get("fields")) for one in self._items(found.positions, request)]
        return {
            "type": "FeatureCollection",
            "features": features,
            "links": _links(request, found.token),
            "numberMatched": found.matched,
            "numberReturned": len(features),
        }

    def _items(self, positions: list[int], request: Request) -> list[Json]:
        base, files = _base(request), self._files(request)
        with self._lock, _Told():
            rows = self.dataset.catalogue.items(positions)
        return [item(row, self.dataset.spec, base, files) for row in rows]


def _found(dataset: Dataset, asked: dict[str, Any]) -> Search:
    if asked.get("bbox") is not None and asked.get("intersects") is not None:
        raise QueryError("give either bbox or intersects, not both")
    return Search(
        dataset,
        ids=asked.get("ids") if _in(dataset, asked.get("collections")) else (),
        bbox=asked.get("bbox"),
        intersects=_shape(asked.get("intersects")),
        interval=_interval(asked.get("interval")),
        cql2=_cql2(*asked["cql2"]),
    )


def _interval(value: Any) -> str | None:
    """The interval as text; stac-fastapi passes a text, a datetime, or a pair of them."""
    if value is None or isinstance(value, str):
        return value
    ends = value if isinstance(value, (tuple, list)) else (value,)
    return "/".join(".." if end is None else end.isoformat() for end in ends)


def _fields(listed: list[str] | None) -> tuple[set[str], set[str]] | None:
    if not listed:
        return None
    return {f.lstrip("+") for f in listed if not f.startswith("-")}, {f[1:] for f in listed if f.startswith("-")}


def _chosen(feature: Json, fields: tuple[set[str], set[str]] | None) -> Json:
    """The fields extension: keeps the included fields, then removes the excluded ones."""
    if fields is None or not any(fields):
        return feature
    include, exclude = fields
    found = dict(feature)
    if include:
        tops = {f.partition(".")[0] for f in include} | {"id", "type", "collection", "links"}
        found = {name: value for name, value in feature.items() if name in tops}
    for name in exclude - include - {"id", "type", "collection"}:
        found.pop(name, None)
    for top in {f.partition(".")[0] for f in include | exclude if "." in f} & feature.keys():
        if isinstance(feature[top], dict):
            inner = {f.partition(".")[2] for f in include if f.startswith(f"{top}.")}
            without = {f.partition(".")[2] for f in exclude if f.startswith(f"{top}.")} - inner
            only = inner and top not in include
            found[top] = {n: v for n, v in feature[top].items() if (n in inner if only else n not in without)}
    return found


def _links(request: Request, token: str | None) -> list[Json]:
    base = _base(request)
    links: list[Json] = [
        {"rel": "root", "href": base, "type": "application/json"},
        {"rel": "self", "href": str(request.url), "type": "application/geo+json"},
    ]
    if token is None:
        return links
    if request.method == "POST":
        body = {"token": token}
        link = {"href": str(request.url), "method": "POST", "body": body, "merge": True}
    else:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
        where = f"{base}{quote(request.url.path.removeprefix('/'))}"
        link = {"href": f"{where}?{urlencode([*query, ('token', token)])}", "method": "GET"}
    return [*links, {"rel": "next", "type": "application/geo+json", **link}]


@attr.s
class _Queryables(BaseFiltersClient):
    """Properties that a filter can name."""

    dataset: Dataset = attr.ib(default=None)

    def get_queryables(self, collection_id: str | None = None, **kwargs: Any) -> dict[str, Any]:
        if collection_id not in (None, self.dataset.spec.name):
            raise NotFoundError(f"no collection {str(collection_id)[:80]!r}")
        with _Told():
            return queryables(self.dataset, str(kwargs["request"].url))


@attr.s
class _Aggregations(BaseAggregationClient):
    """Counts over a search."""

    dataset: Dataset = attr.ib(default=None)

    def get_aggregations(self, collection_id: str | None = None, **kwargs: Any) -> Any:  # noqa: ARG002
        known = [{"name": name, "data_type": kind} for name, kind in AGGREGATIONS.items()]
        return {"type": "AggregationCollection", "aggregations": known, "links": _links(kwargs["request"], None)}

    def aggregate(self, collection_id: Any = None, **kwargs: Any) -> Any:
        """Counts over a search: GET passes parameters by name, POST passes its model as the first argument."""
        request: Request = kwargs.pop("request")
        posted = hasattr(collection_id, "model_dump")
        asked = collection_id.model_dump(exclude_none=True) if posted else dict(kwargs)
        names = asked.get("aggregations") or ["total_count"]
        with _Told():
            search = _found(self.dataset, {
                "collections": asked.get("collections"), "ids": asked.get("ids"), "bbox": asked.get("bbox"),
                "intersects": asked.get("intersects"),
                "interval": asked.get("datetime"),
                "cql2": (asked.get("filter_expr"), asked.get("filter_lang") or "cql2-text"),
            })  # fmt: skip
            found = aggregate(self.dataset, search, list(names))
        return {"type": "AggregationCollection", "aggregations": found, "links": _links(request, None)}
