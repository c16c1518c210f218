"""Rules that a declared layer names: what a product's numbers need beyond a scale and an offset.

A rule reads an item of a provider once, and says of each band's asset and array how delivered numbers become stored
ones. A recipe reaches code by these names only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, get_args

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import text
from pipelines.sources.enmap import gains
from pipelines.sources.sentinel1 import in_decibels
from pipelines.sources.sentinel2 import offsets_of
from schemas.declared import Rule
from schemas.earthengine import EarthEngineProvider
from schemas.outcome import Reason
from schemas.scene import Radiometry

if TYPE_CHECKING:
    from pipelines.sources.item_bands import BandAsset
    from pipelines.sources.sensor import Item
    from schemas.modality import Layer
    from schemas.provider import AnyProvider


Judge = Callable[["BandAsset", "Layer"], Radiometry]
"""A rule for one item: a band's asset and its array -> how delivered numbers become stored ones."""


@lru_cache(maxsize=4096, typed=True)
def shared(rule: str, nodata: float | None, offset_dn: float = 0.0, clip_min: float | None = None) -> Radiometry:
    """One object for all bands and items that say the same: plans know many thousand scenes at once."""
    return Radiometry(rule=rule, nodata=nodata, offset_dn=offset_dn, clip_min=clip_min)


def _sentinel2(item: Item, provider: AnyProvider) -> Judge:
    """Baseline 04.00 and later add 1000 to every number, of Level-1C and Level-2A alike; some archives undo it."""
    if isinstance(provider, EarthEngineProvider):
        if "HARMONIZED" not in str(item.get("collection") or ""):
            raise ItemRefused(
                Reason.BAD_ITEM, "Earth Engine's Sentinel-2: use a collection whose name ends _HARMONIZED"
            )
        rule = "as delivered: Earth Engine's harmonised collection"
        return lambda _, layer: shared(rule, layer.nodata, 0.0, 1.0)
    offset_of = offsets_of(item, provider.dialect)

    def judge(asset: BandAsset, layer: Layer) -> Radiometry:
        offset, rule = offset_of(asset)
        return shared(rule, layer.nodata, offset, 1.0)

    return judge


def _sentinel1(item: Item, provider: AnyProvider) -> Judge:  # noqa: ARG001
    """Decibels or linear power, as the array's unit says; an item that states no unit delivers linear power."""

    def judge(asset: BandAsset, layer: Layer) -> Radiometry:
        wanted = "db" if in_decibels(layer.unit) else "linear"
        delivered = "db" if in_decibels(asset.unit or "") else "linear"
        said = f"delivered in {'decibels' if delivered == 'db' else 'linear power'}"
        said += " (the item's unit)" if asset.unit else " (the item states no unit)"
        if wanted == delivered:
            return Radiometry(nodata=asset.nodata, rule=f"{said}, stored as delivered")
        if wanted == "db":
            return Radiometry(nodata=asset.nodata, to_db=True, rule=f"{said}, stored as 10 log10(dn); dn <= 0 is fill")
        return Radiometry(nodata=asset.nodata, to_linear=True, rule=f"{said}, stored as 10^(dn/10)")

    return judge


def _enmap(item: Item, provider: AnyProvider) -> Judge:  # noqa: ARG001
    """Gain and offset of each band as the item states them."""
    level = text(item, "processing:level") or ""
    if level and level != "L2A":
        raise ItemRefused(Reason.BAD_ITEM, f"item {item.get('id')!r} is of level {level}, not L2A")
    return gains(item)


RULES: dict[str, Callable[[Item, AnyProvider], Judge]] = {
    "sentinel2-offset": _sentinel2,
    "sentinel1-unit": _sentinel1,
    "enmap-gains": _enmap,
}
"""Name in a recipe -> its code."""
assert set(RULES) == set(get_args(Rule))  # noqa: S101 - the schema lists the names
