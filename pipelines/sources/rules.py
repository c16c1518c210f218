"""Rules that a declared layer names: what a product's numbers need beyond a scale and an offset.

A rule has the item, the band's asset, the array and the provider, and says how delivered numbers become stored ones. A
recipe reaches code by these names only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from pipelines.access.errors import ItemRefused
from pipelines.access.stac.items import text
from pipelines.sources.enmap import gains
from pipelines.sources.sentinel1 import in_decibels
from pipelines.sources.sentinel2 import offset_of
from schemas.declared import Rule
from schemas.earthengine import EarthEngineProvider
from schemas.outcome import Reason
from schemas.scene import Radiometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.sources.item_bands import BandAsset
    from pipelines.sources.sensor import Item
    from schemas.modality import Layer
    from schemas.provider import AnyProvider


def _sentinel2(item: Item, asset: BandAsset, layer: Layer, provider: AnyProvider) -> Radiometry:
    """Baseline 04.00 and later add 1000 to every number, of Level-1C and Level-2A alike; some archives undo it."""
    if isinstance(provider, EarthEngineProvider):
        if "HARMONIZED" not in str(item.get("collection") or ""):
            raise ItemRefused(
                Reason.BAD_ITEM, "Earth Engine's Sentinel-2: use a collection whose name ends _HARMONIZED"
            )
        return Radiometry(clip_min=1.0, nodata=layer.nodata, rule="as delivered: Earth Engine's harmonised collection")
    offset, rule = offset_of(item, asset, provider.dialect)
    return Radiometry(offset_dn=offset, clip_min=1.0, nodata=layer.nodata, rule=rule)


def _sentinel1(item: Item, asset: BandAsset, layer: Layer, provider: AnyProvider) -> Radiometry:  # noqa: ARG001
    """Decibels or linear power, as the array's unit says; an item that states no unit delivers linear power."""
    wanted = "db" if in_decibels(layer.unit) else "linear"
    delivered = "db" if in_decibels(asset.unit or "") else "linear"
    said = f"delivered in {'decibels' if delivered == 'db' else 'linear power'}"
    said += " (the item's unit)" if asset.unit else " (the item states no unit)"
    if wanted == delivered:
        return Radiometry(nodata=asset.nodata, rule=f"{said}, stored as delivered")
    if wanted == "db":
        return Radiometry(nodata=asset.nodata, to_db=True, rule=f"{said}, stored as 10 log10(dn); dn <= 0 is fill")
    return Radiometry(nodata=asset.nodata, to_linear=True, rule=f"{said}, stored as 10^(dn/10)")


def _enmap(item: Item, asset: BandAsset, layer: Layer, provider: AnyProvider) -> Radiometry:  # noqa: ARG001
    """Gain and offset of each band as the item states them."""
    level = text(item, "processing:level") or ""
    if level and level != "L2A":
        raise ItemRefused(Reason.BAD_ITEM, f"item {item.get('id')!r} is of level {level}, not L2A")
    return gains(item, asset, layer.scale)


RULES: dict[str, Callable[[Item, BandAsset, Layer, AnyProvider], Radiometry]] = {
    "sentinel2-offset": _sentinel2,
    "sentinel1-unit": _sentinel1,
    "enmap-gains": _enmap,
}
"""Name in a recipe -> its code."""
assert set(RULES) == set(get_args(Rule))  # noqa: S101 - the schema lists the names
