"""STAC items of label products: the facts that every one of them must carry, with one clear error for each missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from pipelines.labels.protocol import BadItemError

if TYPE_CHECKING:
    from collections.abc import Mapping


def identity(item: Mapping[str, Any]) -> str:
    """The item's id.

    Raises:
        BadItemError: there is none.
    """
    found = item.get("id")
    if not isinstance(found, str) or not found:
        raise BadItemError("a STAC item has no id: expected a string in `id`")
    return found


def properties(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item's properties, {} where they are missing."""
    found = item.get("properties")
    return found if isinstance(found, dict) else {}


def geometry(item: Mapping[str, Any]) -> dict[str, object]:
    """The item's footprint.

    Raises:
        BadItemError: it is missing or not a polygon.
    """
    found = item.get("geometry")
    if not isinstance(found, dict) or found.get("type") not in ("Polygon", "MultiPolygon"):
        raise BadItemError(f"item {identity(item)}: `geometry` is not a Polygon or MultiPolygon")
    return found


def moment(item: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of the properties `names` that is there, as UTC time; None where none is.

    Raises:
        BadItemError: it is no RFC 3339 date and time.
    """
    for name in names:
        text = properties(item).get(name)
        if text is None:
            continue
        try:
            found = datetime.fromisoformat(text)
        except (TypeError, ValueError) as error:
            raise BadItemError(f"item {identity(item)}: `{name}` is {text!r}, expected an RFC 3339 time") from error
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return None


def asset_href(item: Mapping[str, Any], *names: str) -> str:
    """Absolute address of the first of the assets `names` that is there; a relative one is resolved by the self link.

    Raises:
        BadItemError: the item has none of them, or the asset no href.
    """
    assets = item.get("assets")
    known = assets if isinstance(assets, dict) else {}
    for name in names:
        asset = known.get(name)
        if isinstance(asset, dict):
            href = asset.get("href")
            if not isinstance(href, str) or not href:
                raise BadItemError(f"item {identity(item)}: asset {name!r} has no href")
            return urljoin(_own_address(item), href)
    raise BadItemError(f"item {identity(item)}: no asset {' or '.join(map(repr, names))}, it has {sorted(known)}")


def crs(item: Mapping[str, Any], *names: str) -> str | None:
    """'EPSG:4326' as the item, or the first of the assets `names` that is there, states it; None where it does not."""
    assets = item.get("assets")
    asset: dict[str, Any] = (
        next((assets[n] for n in names if isinstance(assets.get(n), dict)), {}) if isinstance(assets, dict) else {}
    )
    for said in (asset, properties(item)):
        code, epsg = said.get("proj:code"), said.get("proj:epsg")
        if isinstance(code, str) and code.startswith("EPSG:") and code[5:].isdigit():
            return code
        if isinstance(epsg, int):
            return f"EPSG:{epsg}"
    return None


def _own_address(item: Mapping[str, Any]) -> str:
    links = item.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") == "self" and isinstance(link.get("href"), str):
            return str(link["href"])
    return ""
