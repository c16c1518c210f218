"""Finds the asset of each band in a STAC item, and the stated scale and offset: one index per item."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pipelines.access.errors import ItemRefused
from pipelines.access.http.client import AccessError, asset_url
from pipelines.access.stac.footprint import finite, number
from pipelines.access.stac.items import properties
from schemas.outcome import Reason
from schemas.scene import AssetBand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.sources.sensor import Item
    from schemas.scene import Coefficients, Shape

    Asset = dict[str, Any]
    Entry = tuple[int, str, Asset, int]
    """(position among all bands, asset key, asset, index in it)."""

_PICTURES = frozenset(("visual", "preview", "rendered_preview", "thumbnail", "overview", "tilejson", "metadata"))
"""Asset keys and roles of renderings: their numbers are no measurements."""
_SIGNATURES = re.compile(r"(^|&)(sig|se|st|X-Amz-Signature|Signature|token|access_token)=", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BandAsset:
    """Place of one band, and the item's statements about its values."""

    key: str
    """Asset key."""
    where: AssetBand
    epsg: int | None
    """EPSG code, from the asset or the item."""
    scale: float | None
    """Declared factor; None = not stated. A pair of 1 and 0, which some writers put everywhere, is taken for None."""
    offset: float | None
    """Declared addend, in the unit of the scaled value."""
    nodata: float | None
    """Declared fill value."""
    unit: str | None
    """Declared unit."""
    band: dict[str, Any]
    """The band's own entry (eo:bands or bands); empty where there is none."""


class Bands:
    """The bands of one item, which must not change meanwhile."""

    def __init__(self, item: Item) -> None:
        self._item = item
        assets = item.get("assets")
        self._assets: dict[str, Any] = assets if isinstance(assets, dict) else {}
        self._rasters = _rasters(self._assets)
        self._keys: dict[str, list[tuple[str, Asset]]] = {}
        self._names: dict[str, list[Entry]] = {}
        self._common: dict[str, list[Entry]] = {}
        self._stated_by_assets: dict[str, bool] = {}
        self._listed: dict[str, list[dict[str, Any]]] = {}
        self._epsg = _epsg(properties(item))
        at = 0
        for key, asset in self._rasters:
            self._keys.setdefault(_plain(key), []).append((key, asset))
            for index, entry in enumerate(self._entries(key, asset)):
                self._names.setdefault(_name(entry), []).append((at, key, asset, index))
                common = str(entry.get("eo:common_name") or entry.get("common_name") or "").casefold()
                self._common.setdefault(common, []).append((at, key, asset, index))
                at += 1

    def find(self, names: Sequence[str], said: str | None = None) -> BandAsset | None:
        """A band: as the recipe says; else by asset key, then by the names of bands inside assets.

        Args:
            names: The band's names, most telling first; capitals do not matter.
            said: The recipe's word: an asset's key, and behind '#' the 1-based band in it. Nothing else is tried then.
        """
        if said is not None:
            return self._keyed(*_said(said)[:2])
        wanted = [n.casefold() for n in names]
        for name in wanted:
            for key, asset in self._keys.get(name, ()):
                entries = self._entries(key, asset)
                index = next((i for i, e in enumerate(entries) if _name(e) in wanted), 0)
                if len(entries) > 1 and _name(entries[index]) not in wanted:
                    continue
                return self._found(key, asset, index)
        named = [entry for name in set(wanted) for entry in self._names.get(name, ())]
        if named:
            return self._found(*min(named, key=lambda entry: entry[0])[1:])
        common = [entry for name in set(wanted) for entry in self._common.get(name, ())]
        return self._found(*common[0][1:]) if len(common) == 1 else None  # two of one common name: neither is known

    def require(self, band: str, names: Sequence[str], said: str | None = None) -> BandAsset:
        """`find`, or a refusal that names what is missing.

        Raises:
            ItemRefused: BAD_ITEM.
        """
        found = self.find(names, said)
        if found is None:
            keys = ", ".join(str(k)[:24] for k in list(self._assets)[:12])
            raise ItemRefused(
                Reason.BAD_ITEM, f"item {self._item.get('id')!r} has no asset for {band}; it has {keys or 'none'}"
            )
        return found

    def declared(self, band: str, assets: Sequence[str]) -> BandAsset:
        """The first of these assets that the item has: an asset's key, 'key#2', 'role:data', or a band's own name.

        Raises:
            ItemRefused: BAD_ITEM, it has none of them.
        """
        for name in assets:
            key, index, role = _said(name)
            found = None if role is None else self._by_role(role, index)
            if found is not None or (found := self._keyed(key, index)) is not None:
                return found
            if "#" not in name and (found := self.find((name,))) is not None:
                return found
        return self.require(f"{band} ({' or '.join(assets)})", ())

    def _by_role(self, role: str, index: int) -> BandAsset | None:
        """Band of the asset with this role, where exactly one has it."""
        keys = [k for k, a in self._rasters if isinstance(a.get("roles"), list) and role in a["roles"]]
        return self._keyed(keys[0], index) if len(keys) == 1 else None

    def _keyed(self, key: str, index: int) -> BandAsset | None:
        """Band `index` (0-based) of the asset with exactly this key."""
        asset = self._assets.get(key)
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            return None
        return self._found(key, asset, index)

    def entries(self, key: str) -> tuple[Asset, list[dict[str, Any]]] | None:
        """An asset by its key, with the entries of its bands; None if there is none."""
        found = self._keys.get(key.casefold())
        return None if not found else (found[0][1], self._entries(*found[0]))

    def of_asset(self, key: str, index: int) -> BandAsset:
        """Band `index` (0-based) of the asset `key`, which the item has."""
        asset = next(a for k, a in self._rasters if k == key or _plain(k) == key.casefold())
        return self._found(key, asset, index)

    def _entries(self, key: str, asset: Asset) -> list[dict[str, Any]]:
        """Entries of an asset's bands."""
        found = self._listed.get(key)
        if found is None:
            found = self._listed[key] = _entries(asset)
        return found

    def _found(self, key: str, asset: Asset, index: int) -> BandAsset:
        entries = self._entries(key, asset)
        band = entries[index] if index < len(entries) else {}
        rasters = asset.get("raster:bands")
        raster = rasters[index] if isinstance(rasters, list) and index < len(rasters) else {}
        said = [place for place in (band, raster, asset) if place and isinstance(place, dict)]
        scale, offset = finite(_first(said, "raster:scale", "scale")), finite(_first(said, "raster:offset", "offset"))
        if scale == 1.0 and not offset:
            scale = offset = None
        unit = _first(said, "unit", "raster:unit")
        return BandAsset(
            key=key,
            where=AssetBand(
                href=self._address(key, asset["href"]),
                index=index + 1,
                shape=_shape(self._stating(asset, "proj:shape")),
                transform=_transform(self._stating(asset, "proj:transform")),
            ),
            epsg=_epsg(asset) or self._epsg,
            scale=scale,
            offset=offset,
            nodata=number(_first(said, "nodata", "raster:nodata")),
            unit=unit if isinstance(unit, str) else None,
            band=band,
        )

    def _address(self, key: str, href: str) -> str:
        try:
            return _unsigned(asset_url(self._item, href))
        except AccessError as error:
            raise ItemRefused(error.reason, f"item {self._item.get('id')!r}: asset {key!r}: {error.detail}") from None

    def _stating(self, asset: Asset, name: str) -> object:
        """A statement of the asset, or of the item if none of its assets makes its own (bands differ in size)."""
        if asset.get(name) is not None:
            return asset[name]
        own = self._stated_by_assets.get(name)
        if own is None:
            own = any(isinstance(a, dict) and a.get(name) is not None for a in self._assets.values())
            self._stated_by_assets[name] = own
        return None if own else properties(self._item).get(name)


@lru_cache(maxsize=4096)
def _said(name: str) -> tuple[str, int, str | None]:
    """A recipe's word for a band, 'image#3', as the asset's key, the band's number in it, 0-based, and the role that
    'role:data' names."""
    key, _, number_ = name.partition("#")
    return key, int(number_ or 1) - 1, key.removeprefix("role:") if key.startswith("role:") else None


def _rasters(assets: dict[str, Any]) -> list[tuple[str, Asset]]:
    """Assets that hold measurements; JPEG 2000 only where the item has no TIFF (some are read whole)."""
    tiffs, others = [], []
    for key, asset in assets.items():
        if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
            continue
        kind = str(asset.get("type") or "")
        roles = asset.get("roles")
        if key in _PICTURES or (isinstance(roles, list) and _PICTURES & {str(r) for r in roles}):
            continue
        if "jp2" in kind or key.endswith("-jp2"):
            others.append((key, asset))
        elif not kind or "tiff" in kind or kind.startswith("application/x-"):
            tiffs.append((key, asset))
    return tiffs or others


def _plain(key: str) -> str:
    return re.sub(r"\.tiff?$", "", key.casefold())


def _entries(asset: Asset) -> list[dict[str, Any]]:
    for name in ("bands", "eo:bands"):
        entries = asset.get(name)
        if isinstance(entries, list) and entries and all(isinstance(e, dict) for e in entries):
            return entries
    return []


def _name(entry: dict[str, Any]) -> str:
    return str(entry.get("name", "")).casefold()


def _first(places: list[dict[str, Any]], *names: str) -> object:
    """The first of these properties that one of the places states."""
    for place in places:
        for name in names:
            if (value := place.get(name)) is not None:
                return value
    return None


def _epsg(place: dict[str, Any]) -> int | None:
    code = place.get("proj:code")
    if isinstance(code, str) and (match := re.fullmatch(r"EPSG:(\d{4,6})", code)):
        return int(match.group(1))
    old = place.get("proj:epsg")
    return int(old) if isinstance(old, int) and not isinstance(old, bool) else None


@lru_cache(maxsize=4096)
def _one(numbers: tuple[Any, ...]) -> Any:
    """Returns one shared object for equal values, because many bands and items have the same ones."""
    return numbers


def _shape(value: object) -> Shape | None:
    if not isinstance(value, list) or len(value) != 2 or not all(type(v) is int and v > 0 for v in value):
        return None
    shape: Shape = _one((value[0], value[1]))
    return shape


def _transform(value: object) -> Coefficients | None:
    """proj:transform, 6 or 9 numbers; None if it maps no area."""
    if not isinstance(value, list) or len(value) not in (6, 9):
        return None
    numbers = [number(v) for v in value[:6]]
    if None in numbers or not all(map(math.isfinite, numbers)):  # type: ignore[arg-type] # mypy does not see the first
        return None
    a, b, c, d, e, f = (v + 0.0 for v in numbers)  # type: ignore[operator] # the same; -0.0 becomes 0.0
    return None if a * e == b * d else _one((a, b, c, d, e, f))


def _unsigned(href: str) -> str:
    """The address without its signature, which expires and is a secret."""
    if "?" not in href:
        return href
    parts = urlsplit(href)
    return urlunsplit(parts._replace(query="", fragment="")) if _SIGNATURES.search(parts.query) else href
