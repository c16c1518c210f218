"""Sentinel-2 L2A: twelve bands and the scene classification, converted to one radiometric scale.

The rule of the offset (decided by processing baseline, never by date, and per asset):

| what the item says                                             | numbers become                        |
|----------------------------------------------------------------|---------------------------------------|
| the provider has applied it (boa_offset_applied: true)         | as delivered                          |
| baseline < 04.00                                               | as delivered                          |
| baseline >= 04.00, Planetary Computer                          | dn - 1000: it never applies it        |
| baseline >= 04.00, Earth Search sentinel-2-c1-l2a              | dn - 1000: it never applies it        |
| baseline >= 04.00, Earth Search sentinel-2-l2a, flag false     | dn - 1000, if the pixels agree        |
| the same, and the item declares an offset of 0                 | refused: the statements contradict    |
| the same, no flag                                              | refused: not stated                   |
| baseline >= 04.00, others: flag false, or a declared -1000     | dn - 1000                             |
| baseline >= 04.00, others: nothing said                        | dn - 1000                             |
| others: declared offset contradicts the baseline               | refused                               |
| no baseline                                                    | that of the recipe, else refused,     |
|                                                                | unless the flag says applied          |

Sources: ESA processing baseline 04.00 (BOA_ADD_OFFSET -1000, quantification 10000); microsoft/PlanetaryComputer#134;
Element84/earth-search#9 (raster:bands says -0.1 also where the offset is applied, so it proves nothing in that
collection); #66, #71 and cirrus-earth-search#33 (the flag is false on items of 2022 to 2025 whose offset was applied,
and nothing in the metadata tells them apart: only the pixels do).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import (
    cloud_share,
    geometry,
    identity,
    licence,
    properties,
    text,
    times,
)
from pipelines.sources.item_bands import BandAsset, Bands
from pipelines.sources.sensor import DatedSensor
from schemas.outcome import Reason
from schemas.scene import Radiometry, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from pipelines.sources.sensor import Item
    from schemas.provider import AnyProvider
    from schemas.sensors import Sentinel2Source

_NAMES: dict[str, tuple[str, ...]] = {
    "B01": ("B01", "coastal", "B01_60m"),
    "B02": ("B02", "blue", "B02_10m"),
    "B03": ("B03", "green", "B03_10m"),
    "B04": ("B04", "red", "B04_10m"),
    "B05": ("B05", "rededge1", "B05_20m"),
    "B06": ("B06", "rededge2", "B06_20m"),
    "B07": ("B07", "rededge3", "B07_20m"),
    "B08": ("B08", "nir", "B08_10m"),
    "B8A": ("B8A", "nir08", "B8A_20m"),
    "B09": ("B09", "nir09", "B09_60m"),
    "B11": ("B11", "swir16", "B11_20m"),
    "B12": ("B12", "swir22", "B12_20m"),
    "SCL": ("SCL", "scl", "SCL_20m"),
}
"""Band -> asset keys: Planetary Computer's, Earth Search's (v1), Copernicus Data Space's."""
_OFFSET_DN = -1000.0
_CLOUDS = (3, 8, 9, 10)
"""SCL 3 cloud shadow, 8 and 9 cloud of medium and high probability, 10 thin cirrus. Not 1 (saturated or defective):
that is no cloud, and such a pixel keeps its numbers."""
_L1C = re.compile(r"(?:MSI|L|LEVEL[-_ ]?)1C(?![A-Za-z0-9])", re.IGNORECASE)
_LEVEL_1 = re.compile(r"(?:LEVEL[-_ ]?|L)?1[A-C]?", re.IGNORECASE)
"""Level 1 as items write it: 'L1C', 'Level-1C', 'L1' (Copernicus Data Space), '1C'."""
_WITNESSES = ("B02", "B03", "B04")
_DOUBT_SHARE = 0.25
"""With the offset still in, a number below 1000 is a negative reflectance: rare. With it taken out already, it is any
surface darker than 0.1 in blue, green and red: most of them."""


_CLASSES = Radiometry(nodata=0.0, rule="classes as delivered")


@lru_cache(maxsize=256)
def _numbers(offset: float, rule: str) -> Radiometry:
    """One object for all bands that a rule holds for: plans know many thousand scenes at once."""
    return Radiometry(offset_dn=offset, clip_min=1.0, nodata=0.0, rule=rule)


@dataclass(frozen=True, slots=True)
class Sentinel2(DatedSensor):
    """The source `sentinel2`."""

    config: Sentinel2Source

    @property
    def fill(self) -> tuple[float, ...]:
        """0 in every band and in SCL (product specification)."""
        return (0.0,)

    def scene(self, item: Item, provider_name: str, provider: AnyProvider) -> Scene:
        """Parse and judge one item; raises ItemRefused."""
        item_id = identity(item)
        _check_level(item, item_id)
        when, start, end = times(item)
        collection = str(item.get("collection") or self.config.collection)
        bands, said = Bands(item), self.config.assets
        found = {band: bands.require(band, names, said.get(band)) for band, names in _NAMES.items()}
        baseline = _baseline(item, self.config.baseline)
        applied = _applied(item)
        radiometry = {}
        for band, asset in found.items():
            if band == "SCL":
                radiometry[band] = _CLASSES
                continue
            offset, rule = _offset(provider.dialect, collection, baseline, applied, asset)
            radiometry[band] = _numbers(offset, rule)
        platform, datatake, tile, strip = _identity(item, item_id, when)
        generated = text(item, "s2:generation_time", "processing:datetime", "created") or ""
        version = "" if baseline is None else f"{baseline:05.2f}"
        return Scene(
            item_id=item_id,
            provider=provider_name,
            collection=collection,
            modality=self.modality.name,
            datetime=when,
            start=start,
            end=end,
            geometry=geometry(item),
            acquisition=f"{platform}|{datatake}",
            product=f"{platform}|{datatake}|{tile}|{strip}",
            revision=f"{version}|{generated}|{text(item, 's2:sequence') or ''}|{text(item, 'updated') or ''}",
            assets={band: asset.where for band, asset in found.items()},
            radiometry=radiometry,
            cloud_cover=cloud_share(item),
            licence=licence(item, self.modality.licence),
            facts={
                "platform": platform,
                "tile": tile,
                "baseline": version or None,
                "boa_offset_applied": None if applied is None else str(applied).lower(),
                "relative_orbit": text(item, "sat:relative_orbit"),
                "crs": f"EPSG:{found['B02'].epsg}" if found["B02"].epsg else None,
            },
        )

    def cloud_mask(self, layer: NDArray[np.generic]) -> NDArray[np.bool_]:
        """(y, x) of SCL -> cloud, shadow or cirrus."""
        return np.isin(layer, _CLOUDS)

    def contradiction(
        self, scenes: Sequence[Scene], bands: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]
    ) -> str | None:
        """If only the flag says that the offset is still present: do the values of blue, green and red agree?"""
        doubtful = [
            s
            for s in scenes
            if s.radiometry["B02"].offset_dn == _OFFSET_DN and s.facts.get("boa_offset_applied") == "false"
        ]
        if not doubtful:
            return None
        dark = seen = 0
        for name in _WITNESSES:
            numbers, valid = bands[name]
            dark += int(np.count_nonzero(valid & (numbers < -_OFFSET_DN)))
            seen += int(np.count_nonzero(valid))
        if seen == 0 or dark / seen <= _DOUBT_SHARE:
            return None
        return (
            f"item {doubtful[0].item_id} says that the offset of -1000 is not applied, but {dark / seen:.0%} of its "
            "blue, green and red values are below 1000 (Element84/earth-search#66)"
        )


def _check_level(item: Item, item_id: str) -> None:
    """Top-of-atmosphere products are refused whatever assets they have: their numbers look like those of Level-2A.

    Raises:
        ItemRefused: BAD_ITEM.
    """
    stated = [text(item, name) or "" for name in ("processing:level", "s2:processing_level", "sentinel2:level")]
    kinds = [text(item, name) or "" for name in ("s2:product_type", "product:type", "sentinel:product_type")]
    names = [text(item, name) or "" for name in ("s2:product_uri", "sentinel:product_id", "eopf:product_name")]
    for said in (*kinds, *names, item_id, str(item.get("collection") or "")):
        if _L1C.search(said):
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} is Level-1C, as {said!r} says; expected Level-2A")
    for said in stated:
        if _LEVEL_1.fullmatch(said):
            raise ItemRefused(Reason.BAD_ITEM, f"item {item_id!r} is of level {said!r}; expected Level-2A")


def _baseline(item: Item, otherwise: str | None) -> float | None:
    """Processing baseline: '05.09' -> 5.09, from the property or from the product's own name (_N0509_); `otherwise`
    where the item states none."""
    said = text(item, "s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
    if said is not None and re.fullmatch(r"\d{1,2}\.\d{1,2}", said):
        return float(said)
    names = (text(item, "s2:product_uri", "sentinel:product_id") or "", str(item.get("id", "")))
    for name in names:
        if match := re.search(r"_N(\d{2})(\d{2})_", name):
            return float(f"{match.group(1)}.{match.group(2)}")
    return None if otherwise is None else float(otherwise)


def _applied(item: Item) -> bool | None:
    """Whether the provider says that it applied the offset; None = it does not say."""
    for name in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied", "s2:boa_offset_applied"):
        value = properties(item).get(name)
        if isinstance(value, bool):
            return value
    return None


def offsets_of(item: Item, dialect: str, otherwise: str | None = None) -> Callable[[BandAsset], tuple[float, str]]:
    """What the item says of the offset: function of a band's asset -> addend in stored numbers (0 or -1000), and the
    rule in words; of Level-1C and Level-2A alike.

    Args:
        item: the STAC item.
        dialect: whose conventions the archive follows.
        otherwise: processing baseline of items that state none.

    Raises (the function):
        ItemRefused: BAD_ITEM, the item does not say enough, or contradicts itself.
    """
    collection = str(item.get("collection") or "")
    if _L1C.search(collection) or _L1C.search(str(item.get("id"))):
        dialect = "generic"  # archives keep Level-1C as it was delivered
    return partial(_offset, dialect, collection, _baseline(item, otherwise), _applied(item))


def _offset(
    dialect: str, collection: str, baseline: float | None, applied: bool | None, asset: BandAsset
) -> tuple[float, str]:
    """(offset in DN, the rule in words); the table in this module's docstring."""
    if applied is True:
        return 0.0, "as delivered: the provider says that it has applied the offset (boa_offset_applied: true)"
    if baseline is None:
        raise ItemRefused(
            Reason.BAD_ITEM,
            "the processing baseline is not stated, so the offset cannot be known: add the property "
            "s2:processing_baseline ('05.09') to the item, or set `baseline` in the recipe's sentinel2",
        )
    stated = f"processing baseline {baseline:05.2f}"
    declared = None
    if asset.scale is not None and asset.offset is not None and abs(asset.scale - 1e-4) < 1e-9:
        declared = round(asset.offset / asset.scale)
    if dialect == "earth-search":
        return _offset_earth_search(collection, stated, baseline, applied, declared)
    if dialect == "planetary-computer":
        if baseline < 4.0:
            return 0.0, f"as delivered: {stated} is before 04.00"
        return _OFFSET_DN, f"dn - 1000: {stated}, and Planetary Computer never applies the offset"
    expected = _OFFSET_DN if baseline >= 4.0 else 0.0
    if declared is not None and declared != expected:
        raise ItemRefused(
            Reason.BAD_ITEM, f"{stated} means an offset of {expected:g}, but the item declares {declared:g}"
        )
    if baseline < 4.0:
        return 0.0, f"as delivered: {stated} is before 04.00"
    return _OFFSET_DN, f"dn - 1000: {stated}, and nothing says that the offset was applied"


def _offset_earth_search(
    collection: str, stated: str, baseline: float, applied: bool | None, declared: int | None
) -> tuple[float, str]:
    if baseline < 4.0:
        return 0.0, f"as delivered: {stated} is before 04.00"
    if "c1" in collection.split("-"):
        return _OFFSET_DN, f"dn - 1000: {stated}, and Earth Search's Collection 1 never applies the offset"
    if applied is None:
        raise ItemRefused(Reason.BAD_ITEM, f"{stated}, and earthsearch:boa_offset_applied is not stated")
    if declared == 0:
        raise ItemRefused(
            Reason.BAD_ITEM, f"{stated} and boa_offset_applied: false, but raster:bands declares an offset of 0"
        )
    return _OFFSET_DN, f"dn - 1000: {stated}, and Earth Search says that the offset is not applied"


def _identity(item: Item, item_id: str, when: datetime) -> tuple[str, str, str, str]:
    """(platform, start of the datatake, MGRS tile, start of the strip)."""
    said = (text(item, "platform") or "").casefold()
    match = re.search(r"sentinel-?2([a-d])", said) or re.match(r"s2([a-d])_", item_id.casefold())
    platform = f"S2{match.group(1).upper()}" if match else "S2"
    datatake = (
        next(
            (
                m.group(1)
                for m in (
                    re.search(r"_(\d{8}T\d{6})_", text(item, "s2:datatake_id", "eopf:datatake_id") or ""),
                    re.search(r"_MSIL2A_(\d{8}T\d{6})_", f"{text(item, 's2:product_uri') or ''} {item_id}"),
                )
                if m
            ),
            None,
        )
        or f"{when:%Y%m%dT%H%M%S}"
    )
    tile = text(item, "s2:mgrs_tile") or (text(item, "grid:code") or "").removeprefix("MGRS-")
    if not tile and (found := re.search(r"_T?(\d{2}[C-X][A-Z]{2})_", f"_{item_id}_")):
        tile = found.group(1)
    strip = re.search(r"_S(\d{8}T\d{6})(?:_|$)", text(item, "s2:datastrip_id", "eopf:datastrip_id") or "")
    return platform, datatake, tile or item_id, strip.group(1) if strip else ""
