"""The `labels` section of a recipe: label products and OpenStreetMap."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from schemas.fused import FusedLabel
from schemas.label_date import DAY, LabelDate, LabelPick
from schemas.label_layer import CrosswalkChoice, LayerName, LegendEntry, crosswalk_field
from schemas.map_source import MapSource
from schemas.modality import STATIC_DENSITY, SearchDensity
from schemas.osm_channels import Channels
from schemas.primitives import Day, PathOrAddress, Share
from schemas.source import RasterSource
from schemas.strict import Strict
from schemas.vector_label import VectorLabel


def _form(given: object) -> str:
    return "image" if given == "image" else DAY


MapDate = Annotated[Annotated[Literal["image"], Tag("image")] | Annotated[Day, Tag(DAY)], Discriminator(_form)]
"""The day of each sample's image, or one day."""


def _layer(default: str) -> Any:
    """The field of a label's layer name."""
    return Field(
        default=default,
        exclude_if=lambda name: name == default,
        description=f"name of the layer on disk and in the catalogue, so that {default} can be there more than once",
    )


class LabelSource(RasterSource):
    """A raster label product."""

    date: LabelDate | None = Field(
        default=None,
        exclude_if=lambda said: said is None,
        description="date that the map is chosen for, instead of the image's: a day (2019-07-01), or attr_ and the "
        "name of an attribute that holds it for each sample",
    )
    pick: LabelPick = Field(
        default="nearest",
        exclude_if=lambda pick: pick == "nearest",
        description="nearest: the map nearest to the date; same: only one whose period holds it, of maps of one moment "
        "one of the same year; before: the last that begins until then; after: the first that ends from then on",
    )

    @property
    def density(self) -> SearchDensity:
        """Density of the maps in an archive, for planning searches."""
        return STATIC_DENSITY


class WorldCoverLabel(LabelSource):
    """ESA WorldCover."""

    kind: Literal["worldcover"] = "worldcover"
    layer: LayerName = _layer("worldcover")
    crosswalk: CrosswalkChoice = crosswalk_field("common classes, if not those of worldcover@1")
    collection: str = Field(default="esa-worldcover", min_length=1, max_length=128)
    year: int | None = Field(default=None, description="2020 (v100) or 2021 (v200); the nearest to the image if absent")

    @field_validator("year")
    @classmethod
    def _mapped(cls, year: int | None) -> int | None:
        if year not in (None, 2020, 2021):
            raise ValueError(f"WorldCover maps 2020 and 2021, found {year}; write one of them, or leave `year` out")
        return year

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.year is not None and (self.date is not None or self.pick != "nearest"):
            raise ValueError(f"{self.layer}: `year: {self.year}` names the map; remove it, or `date` and `pick`")
        return self

    @property
    def density(self) -> SearchDensity:
        """Tiles of three degrees."""
        return SearchDensity(edge_km=333.0, step_km=333.0, per_day=None)


class DynamicWorldLabel(LabelSource):
    """Dynamic World V1, the map nearest in time to the image."""

    kind: Literal["dynamicworld"] = "dynamicworld"
    layer: LayerName = _layer("dynamicworld")
    crosswalk: CrosswalkChoice = crosswalk_field("common classes, if not those of dynamicworld@1")
    collection: str = Field(default="dynamic-world-v1", min_length=1, max_length=128)
    max_gap_days: int = Field(default=60, ge=0, description="largest distance in time to the image")
    composite: Literal["nearest", "mode", "probability"] = Field(
        default="nearest",
        description="nearest: the map nearest in time; mode: the most frequent class of all maps within max_gap_days "
        "of the image; probability: the class of the greatest mean probability over them. The last two are computed by "
        "Earth Engine",
    )
    min_probability: Share = Field(
        default=0.0, description="with composite: probability, pixels below this mean probability have no label"
    )

    @model_validator(mode="after")
    def _probable(self) -> Self:
        if self.min_probability > 0.0 and self.composite != "probability":
            raise ValueError(f"min_probability {self.min_probability:g} needs `composite: probability`")
        return self

    @property
    def density(self) -> SearchDensity:
        """A map for each scene of Sentinel-2."""
        return SearchDensity()


class RasterLabel(LabelSource):
    """Any other map of classes behind a STAC API, with the legend that the recipe states."""

    kind: Literal["raster"] = "raster"
    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,31}$", description="name of the layer on disk and in the catalogue")
    product: str = Field(min_length=1, max_length=100, description="name of the product, to display")
    version: str = Field(
        default="unknown", max_length=32, description="version of the product, if items do not state it"
    )
    asset: str = Field(default="data", min_length=1, description="key of the item's asset that contains the classes")
    nodata: int = Field(
        default=0,
        ge=-(2**31),
        le=2**32 - 1,
        description="value in the raster that means 'no label here', instead of the value that the item states",
    )
    classes: tuple[LegendEntry, ...] = Field(
        default=(), max_length=4096, description="the legend; not with `crosswalk`, which has one"
    )
    crosswalk: CrosswalkChoice = crosswalk_field("the legend with weights and traits, instead of `classes`")
    licence: str = Field(default="proprietary", max_length=64, description="SPDX id of the labels")
    attribution: str = Field(default="", max_length=500, description="attribution that users of the labels must give")
    max_gap_days: int | None = Field(default=None, ge=0, description="largest distance in time to the image")

    @property
    def layer(self) -> str:
        """Name of the label on disk, in the catalogue and in the ledger."""
        return self.name

    @property
    def density(self) -> SearchDensity:
        """As many maps as images if maps are valid for a limited time; otherwise one map."""
        return STATIC_DENSITY if self.max_gap_days is None else SearchDensity()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if bool(self.classes) == (self.crosswalk is not None):
            raise ValueError(
                f"{self.name}: give `classes` or `crosswalk`, {'not both' if self.classes else 'found none'}"
            )
        if self.crosswalk is not None and self.nodata:
            raise ValueError(f"{self.name}: `nodata` comes from the crosswalk; remove it")
        codes = [c.code for c in self.classes]
        twice = sorted({c for c in codes if codes.count(c) > 1})
        if twice or self.nodata in codes:
            raise ValueError(f"{self.name}: class code {twice[0] if twice else self.nodata} is used twice")
        return self


class OpenStreetMapLabel(Strict):
    """OpenStreetMap from .osm.pbf extracts or GeoParquet: rasterised classes and the objects with their tags."""

    kind: Literal["openstreetmap"] = "openstreetmap"
    pbf: PathOrAddress | Annotated[tuple[PathOrAddress, ...], Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="path relative to the recipe, or URL; may begin with an environment variable, $LANDWEAVE_...; or "
        "a list of them: an object in several extracts is taken from the newest one",
    )
    required: bool = Field(default=False, description="leave samples without it out of the catalogue")
    crosswalk: CrosswalkChoice = crosswalk_field("common classes, if not those of openstreetmap@1")
    date: MapDate | None = Field(
        default=None,
        exclude_if=lambda said: said is None,
        description="of full-history files (.osh.pbf): image: the map as of the day of each sample's image; a day: as "
        "of that day. Both at 00:00 UTC",
    )
    geoparquet: Annotated[tuple[MapSource, ...], Field(max_length=64)] = Field(
        default=(),
        exclude_if=lambda maps: not maps,
        description="maps in GeoParquet, instead of `pbf` or beside it: '[{ from: s3://bucket/release/2025-11-19.0/, "
        "columns: overture, date: 2025-11-19 }]'",
    )
    channels: Channels = Field(
        default_factory=dict,
        exclude_if=lambda channels: not channels,
        description="channel -> conditions on tags, stored beside the classes as the layer openstreetmap_channels, 1 "
        "where such an object lies: 'road: [{ highway: [primary, secondary] }, { railway: rail }]'; of a condition all "
        "tags must fit, of a list one condition; '*' is any value but 'no'",
    )

    @property
    def extracts(self) -> tuple[str, ...]:
        """The extracts, as the recipe names them."""
        return (self.pbf,) if isinstance(self.pbf, str) else self.pbf or ()

    @property
    def licence(self) -> str:
        """SPDX expression of the licences of all sources."""
        osm = ("ODbL-1.0",) if self.pbf else ()
        return " AND ".join(dict.fromkeys([*osm, *(one for source in self.geoparquet for one in source.licences)]))

    @property
    def attribution(self) -> str:
        """Attribution that users of the labels must give."""
        osm = ("(c) OpenStreetMap contributors",) if self.pbf else ()
        return "; ".join(dict.fromkeys(filter(None, [*osm, *(source.credit for source in self.geoparquet)])))

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if not self.pbf and not self.geoparquet:
            raise ValueError("openstreetmap: give `pbf`, the path or address of an extract, or `geoparquet`")
        if self.date is not None and (self.geoparquet or not self.pbf):
            raise ValueError(
                "openstreetmap: `date` is for the full-history files of `pbf`; each of `geoparquet` has its own"
            )
        return self

    @property
    def layer(self) -> str:
        """Name of the label on disk, in the catalogue and in the ledger."""
        return self.kind


RasterLabelEntry = WorldCoverLabel | DynamicWorldLabel | RasterLabel
"""Labels that lie in an archive as rasters."""
ObjectLabel = OpenStreetMapLabel | VectorLabel
"""Labels that are made of objects of a file."""
ReadLabel = WorldCoverLabel | DynamicWorldLabel | RasterLabel | OpenStreetMapLabel | VectorLabel
"""Labels that are read, from an archive or a file."""
Label = Annotated[
    WorldCoverLabel | DynamicWorldLabel | RasterLabel | OpenStreetMapLabel | VectorLabel | FusedLabel,
    Field(discriminator="kind"),
]
