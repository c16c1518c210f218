"""The `sources` section of a recipe: the sensors that have code of their own, and declared layers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag

from schemas.declared_source import CloudyLayer, DatedLayer, StaticLayer
from schemas.radar import backscatter
from schemas.source import DatedSource, ImageSource, OpticalSource

if TYPE_CHECKING:
    from schemas.modality import Modality


class Sentinel2Source(OpticalSource):
    """Sentinel-2 L2A: 12 bands and the scene classification, harmonised to one radiometric scale."""

    kind: Literal["sentinel2"] = "sentinel2"
    collection: str = Field(default="sentinel-2-l2a", min_length=1, max_length=128)
    baseline: str | None = Field(
        default=None,
        pattern=r"^\d{2}\.\d{2}$",
        exclude_if=lambda stated: stated is None,
        description="processing baseline ('05.09') of items that state none; it decides whether their values have "
        "an offset of -1000; if absent, such items are refused",
    )


class Sentinel1Source(DatedSource):
    """Sentinel-1: VV and VH, terrain-corrected gamma0 (RTC) or sigma0 (GRD)."""

    kind: Literal["sentinel1"] = "sentinel1"
    collection: str = Field(default="sentinel-1-rtc", min_length=1, max_length=128)
    product: Literal["rtc", "grd"] = Field(
        default="rtc",
        description="rtc: gamma0, corrected for terrain slopes; grd: sigma0 on the ellipsoid, as Earth Engine's "
        "COPERNICUS/S1_GRD, in decibels. They differ by decibels on slopes and are never mixed",
    )
    scale: Literal["db", "linear"] = Field(default="db", description="unit stored: decibels or linear power")
    delivered: Literal["linear", "db"] = Field(
        default="linear", description="unit that the archive delivers; items do not state it"
    )
    orbit: Literal["ascending", "descending"] | None = Field(default=None, description="keep one orbit direction only")

    @cached_property
    def modality(self) -> Modality:
        """With the title and unit of what the recipe stores."""
        return backscatter(self.name, self.product, self.scale)


class LandsatSource(OpticalSource):
    """Landsat 8/9 Collection 2 Level-2: 7 bands and QA_PIXEL."""

    kind: Literal["landsat"] = "landsat"
    collection: str = Field(default="landsat-c2-l2", min_length=1, max_length=128)


class EnmapSource(OpticalSource):
    """EnMAP L2A: 224 bands."""

    kind: Literal["enmap"] = "enmap"
    collection: str = Field(default="ENMAP_HSI_L2A", min_length=1, max_length=128)


class HlsSource(OpticalSource):
    """Harmonized Landsat Sentinel-2 (HLS) 2.0: the seven bands that both sensors have, and Fmask.

    HLSS30 holds the Sentinel-2 half, HLSL30 the Landsat half; both are searched by default.
    """

    kind: Literal["hls"] = "hls"
    collection: str = Field(default="HLSS30_2.0,HLSL30_2.0", min_length=1, max_length=128)


class DemSource(ImageSource):
    """Copernicus DEM GLO-30."""

    kind: Literal["dem"] = "dem"
    collection: str = Field(default="cop-dem-glo-30", min_length=1, max_length=128)


CODED_KINDS = ("sentinel2", "sentinel1", "landsat", "enmap", "hls", "dem")
"""Kinds of source that have code of their own; a source without a kind is declared, others are preset files."""


def _source_tag(entry: object) -> str:
    """Class of a source's entry: its kind; of a declared layer whether it has dates and clouds."""

    def stated(name: str, default: object) -> object:
        return entry.get(name, default) if isinstance(entry, dict) else getattr(entry, name, default)

    kind = str(stated("kind", "declared"))
    if kind != "declared":
        return kind
    if stated("dated", True) is False:
        return StaticLayer.tag
    return DatedLayer.tag if stated("clouds", None) is None else CloudyLayer.tag


Source = Annotated[
    Annotated[Sentinel2Source, Tag("sentinel2")]
    | Annotated[Sentinel1Source, Tag("sentinel1")]
    | Annotated[LandsatSource, Tag("landsat")]
    | Annotated[EnmapSource, Tag("enmap")]
    | Annotated[HlsSource, Tag("hls")]
    | Annotated[DemSource, Tag("dem")]
    | Annotated[StaticLayer, Tag(StaticLayer.tag)]
    | Annotated[DatedLayer, Tag(DatedLayer.tag)]
    | Annotated[CloudyLayer, Tag(CloudyLayer.tag)],
    Discriminator(_source_tag),
]
