"""The recipe file: one dataset in one YAML file, validated, hashed, and stored with its dataset."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, field_validator, model_validator

from schemas import earthengine
from schemas.area import Area  # noqa: F401 - users of the recipe find it here
from schemas.crosswalk import MOST_CODE
from schemas.declared import AssetName, DeclaredClouds, Described, LayerName, SceneDensity, Where
from schemas.declared import LayerName as DerivedName
from schemas.derived import Derived, Expression, Input, resolved
from schemas.earthengine import EarthEngineProvider
from schemas.identity import sha256_of
from schemas.keep import KeepRule, check_names
from schemas.label import CommonClass  # noqa: TC001 - pydantic needs it at run time
from schemas.label_layer import CrosswalkChoice  # noqa: TC001 - pydantic needs it at run time
from schemas.label_layer import LayerName as LabelName  # noqa: TC001 - the same
from schemas.modality import MODALITIES, STATIC_DENSITY, Modality, SearchDensity
from schemas.place import pixels_across
from schemas.primitives import LEAST_M, MOST_PIXELS, Address, PathOrAddress, Share
from schemas.radar import backscatter
from schemas.sampling import (
    DrawSampling,
    GridSampling,  # noqa: F401 - users of the recipe find it here
    PointsSampling,
    Sampling,
    UniformSampling,  # noqa: F401 - users of the recipe find it here
)
from schemas.splits import AnySplits, FoldSplits, Splits, SplitsOfFile
from schemas.strict import Name, Strict
from schemas.texts import ColumnCaptions, FileCaptions
from schemas.variables import checked_key
from schemas.window import Window, check_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class GridSpec(Strict):
    """Size and lattice of a sample's footprint."""

    size_m: float = Field(ge=LEAST_M, le=100_000, description="edge of the square footprint, metres")
    resolution_m: float = Field(default=10.0, ge=LEAST_M, le=100_000, description="base pixel, metres")
    snap_m: float | None = Field(
        default=60.0,
        ge=LEAST_M,
        le=100_000,
        description="footprint corners are multiples of this in UTM/UPS (y counted from the equator), so that "
        "Sentinel-2's 10, 20 and 60 m pixels are copied and not resampled; null keeps the exact corners that a points "
        "file gives",
    )
    resolutions: dict[str, float] = Field(
        default_factory=dict,
        description="other resolution of a modality ('landsat: 10') or one layer ('sentinel2.bands_60m: 10'), metres",
    )

    @field_validator("resolutions")
    @classmethod
    def _positive(cls, value: dict[str, float]) -> dict[str, float]:
        for key, resolution in value.items():
            if not LEAST_M <= resolution <= 100_000:
                raise ValueError(f"resolution of {key} must be {LEAST_M:g} to 100,000 metres, got {resolution:g}")
        return value


def _without_secret(url: str) -> str:
    if "@" in url.split("?", maxsplit=1)[0] or "?" in url:
        raise ValueError(
            "a provider's url must not contain a user, password or query: credentials come from the environment"
        )
    return url


Dialect = Literal[
    "generic", "earth-search", "planetary-computer", "dlr-eoc", "copernicus-data-space", "usgs", "earthdata"
]
"""Whose conventions an archive follows; docs/providers.md says which rules hang on it."""


HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,253}$")]
"""Name or number of a host, or name of a bucket."""


class Signing(Strict):
    """Another place that gives credentials than the dialect's own: a private copy of a service, or one on loopback."""

    url: Address = Field(
        description="token service, or endpoint of an S3 store; may begin with an environment variable "
        "$LANDWEAVE_...; another host "
        "than the login's own must be allowed by the user who runs the recipe (--allow-host)"
    )
    hosts: tuple[HostName, ...] = Field(
        default=(),
        max_length=16,
        description="hosts (of an S3 store: buckets) whose objects need it; the dialect's default if absent; the "
        "generic dialect has no default",
    )
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]{1,32}$", description="region of an S3 store")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return _without_secret(value)


class Provider(Strict):
    """An archive behind a STAC API, or a static STAC catalogue."""

    kind: Literal["stac"] = "stac"
    url: Address = Field(
        description="root of a STAC API; or address of a static catalogue's catalog.json or collection.json, or of a "
        "stac-geoparquet file (.parquet); may begin with an environment variable, $LANDWEAVE_...",
    )
    dialect: Dialect = Field(
        default="generic", description="archive whose conventions the items follow: asset keys, offset flags, signing"
    )
    alternate: str | None = Field(
        default=None,
        max_length=64,
        description="read the assets' alternate address of this name ('s3', 'https') instead of their href, if they "
        "have one; the dialect's default if absent",
    )
    signing: Signing | None = Field(default=None, description="source of the credentials, if not the dialect's default")
    concurrency: int = Field(default=8, ge=1, le=256, description="concurrent requests, over all workers")
    requests_per_s: float | None = Field(
        default=None, gt=0, description="requests started per second, over all workers; not limited if absent"
    )
    retries: int = Field(default=5, ge=0, le=20, description="attempts after the first, for temporary errors")
    timeout_s: float = Field(default=60.0, gt=0, description="deadline of one request, seconds")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        return _without_secret(value)


def _kind_of(provider: object) -> str:
    """Class of a provider's entry: STAC if it states no kind."""
    found = provider.get("kind", "stac") if isinstance(provider, dict) else getattr(provider, "kind", "stac")
    return str(found)


AnyProvider = Provider | EarthEngineProvider
"""An archive of images."""
ProviderEntry = Annotated[
    Annotated[Provider, Tag("stac")] | Annotated[EarthEngineProvider, Tag("earthengine")], Discriminator(_kind_of)
]


class RasterSource(Strict):
    """Common settings of layers from archives."""

    providers: tuple[Name, ...] = Field(min_length=1, description="names of providers, tried in this order")
    collection: str = Field(
        min_length=1,
        max_length=128,
        description="collection id at the provider; separate several with commas; not needed for Earth Engine",
    )
    collections: dict[Name, str] = Field(
        default_factory=dict, description="provider -> collection id, for providers of the list that use another id"
    )
    required: bool = Field(default=False, description="leave samples without it out of the catalogue")

    def collection_at(self, name: str, provider: AnyProvider) -> str:
        """The collection's id at a provider, or ids with commas between."""
        if name in self.collections or not isinstance(provider, EarthEngineProvider) or "/" in self.collection:
            return self.collections.get(name, self.collection)
        return ",".join(earthengine.COLLECTIONS.get(str(getattr(self, "kind", "")), ()))


class ImageSource(RasterSource):
    """A layer of images."""

    layer: LayerName | None = Field(
        default=None,
        exclude_if=lambda name: name is None,
        description="name of the layer on disk, in the catalogue and in the ledger; the product's if absent. Give "
        "names to have several layers of one product",
    )
    where: Where = Field(
        default_factory=dict,
        exclude_if=lambda wanted: not wanted,
        description="use only items with these properties: one value ('sat:orbit_state: ascending') or a list, of "
        "which one must be there",
    )
    assets: dict[str, AssetName] = Field(
        default_factory=dict,
        description="band -> asset key, for an archive that uses another name ('B02: blue_band', 'VH: backscatter#2')",
    )

    @property
    def name(self) -> str:
        """Name of the layer on disk, in the catalogue and in the ledger."""
        return self.layer or str(getattr(self, "kind", ""))

    @cached_property
    def modality(self) -> Modality:
        """The product as this layer stores it."""
        return replace(MODALITIES[str(getattr(self, "kind", ""))], name=self.name)


class DatedSource(ImageSource):
    """A source with one observation per date slot."""

    windows: tuple[Name, ...] | None = Field(default=None, description="names of windows; all if absent")
    max_candidates: int = Field(
        default=4, ge=1, le=64, description="number of scenes to consider per slot, best metadata first"
    )
    min_valid: Share = Field(default=0.95, description="least share of the chip with valid pixels")
    sharing: Share = Field(
        default=0.05,
        description="how much worse a scene may be than a chip's best one (share of the chip uncovered; cloud plus "
        "distance in time) if neighbouring chips use it too: fewer scenes, requests and bytes; 0 = only equal scenes",
    )
    composite: Literal["median", "mean", "mosaic"] | None = Field(
        default=None,
        exclude_if=lambda how: how is None,
        description="make each date of many scenes, pixel by pixel over those that are clear there: their median, "
        "their mean, or the first clear one, best metadata first",
    )
    max_scenes: int = Field(
        default=30,
        ge=1,
        le=366,
        exclude_if=lambda most: most == 30,
        description="with composite: most scenes of one date, best metadata first",
    )

    @property
    def scenes_per_date(self) -> int:
        """Most candidates of one date slot."""
        return self.max_candidates if self.composite is None else self.max_scenes

    @model_validator(mode="after")
    def _composed(self) -> Self:
        if self.composite is None and self.max_scenes != 30:
            raise ValueError(f"max_scenes {self.max_scenes} has no meaning without `composite: median`, mean or mosaic")
        return self


class OpticalSource(DatedSource):
    """A dated source that clouds can hide."""

    max_cloud: Share = Field(default=0.3, description="most cloud over the chip")
    max_scene_cloud: Share = Field(default=0.9, description="most cloud over the scene, according to its metadata")


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


Acquisition = Annotated[
    Literal["day", "month", "year", "item"],
    Field(
        description="scenes that may be put together into one observation: those of one platform and day (month, "
        "year); item: each scene stands alone"
    ),
]


class DeclaredSource(Described, ImageSource):
    """A layer whose product the recipe, or a preset file, describes."""

    kind: Literal["declared"] = "declared"
    preset: str | None = Field(
        default=None,
        max_length=64,
        exclude_if=lambda name: name is None,
        description="the preset file that the description was taken from; written by landweave",
    )
    collection: str = Field(default="", max_length=128, description="collection id; separate several with commas")
    earthengine: str | None = Field(
        default=None, max_length=256, description="asset id of the product's image collection at Earth Engine"
    )

    @property
    def name(self) -> str:
        """Name of the layer on disk, in the catalogue and in the ledger."""
        return self.layer or self.preset or ""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            raise ValueError("a declared layer needs a name; add `layer: NAME`")
        return self

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Band -> where to look for it in an item, clouds included."""
        return self.assets_of(None)

    def collection_at(self, name: str, provider: AnyProvider) -> str:
        """The collection's id at a provider, or ids with commas between; '' = none is known."""
        if name in self.collections or not isinstance(provider, EarthEngineProvider):
            return self.collections.get(name, self.collection)
        return self.earthengine or (self.collection if "/" in self.collection else "")


class StaticLayer(DeclaredSource):
    """A declared layer without time: one mosaic of all its items."""

    tag: ClassVar[str] = "declared/static"
    refused: ClassVar[dict[str, str]] = dict.fromkeys(
        ("max_cloud", "max_scene_cloud", "clouds", "windows", "max_candidates", "sharing", "acquisition", "min_valid"),
        "has no meaning for a layer with `dated: false`",
    )
    dated: Literal[False] = Field(description="false: one map for all times")

    @cached_property
    def modality(self) -> Modality:
        """The product as this layer stores it."""
        return self.described(self.name, None, None)


class DatedLayer(DeclaredSource, DatedSource):
    """A declared layer with one observation per date slot, in which nothing says where clouds are."""

    tag: ClassVar[str] = "declared/dated"
    refused: ClassVar[dict[str, str]] = {
        "max_cloud": "needs `clouds`, which says where clouds are in the pixels; `max_scene_cloud` limits what the "
        "items state of whole scenes"
    }
    dated: Literal[True] = Field(default=True, description="true: one observation per date slot")
    max_scene_cloud: Share | None = Field(
        default=None,
        description="most cloud over the scene; items that state none are refused; no limit if absent",
    )
    acquisition: Acquisition = "day"
    scenes: SceneDensity = Field(default_factory=SceneDensity, description="how densely the archive holds scenes")

    @cached_property
    def modality(self) -> Modality:
        """The product as this layer stores it."""
        return self.described(self.name, None, self.scenes)


class CloudyLayer(DeclaredSource, OpticalSource):
    """A declared layer with one observation per date slot, and a band that says where clouds are."""

    tag: ClassVar[str] = "declared/clouds"
    dated: Literal[True] = Field(default=True, description="true: one observation per date slot")
    clouds: DeclaredClouds = Field(description="which pixels are cloud, cloud shadow or cirrus")
    acquisition: Acquisition = "day"
    scenes: SceneDensity = Field(default_factory=SceneDensity, description="how densely the archive holds scenes")

    @model_validator(mode="after")
    def _seen(self) -> Self:
        self.check_clouds(self.clouds)
        return self

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Band -> where to look for it in an item, clouds included."""
        return self.assets_of(self.clouds)

    @cached_property
    def modality(self) -> Modality:
        """The product as this layer stores it."""
        return self.described(self.name, self.clouds, self.scenes)


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


def _crosswalk(what: str) -> Any:
    """The field of a label's crosswalk."""
    return Field(
        default=None,
        exclude_if=lambda chosen: chosen is None,
        description=f"{what}: name of a shipped crosswalk ('corine', 'corine@1'), or a file beside the recipe",
    )


def _layer(default: str) -> Any:
    """The field of a label's layer name."""
    return Field(
        default=default,
        exclude_if=lambda name: name == default,
        description=f"name of the layer on disk and in the catalogue, so that {default} can be there more than once",
    )


CODED_KINDS = ("sentinel2", "sentinel1", "landsat", "enmap", "hls", "dem")
"""Kinds of source that have code of their own; a source without a kind is declared, others are preset files."""


class LabelSource(RasterSource):
    """A raster label product."""

    @property
    def density(self) -> SearchDensity:
        """Density of the maps in an archive, for planning searches."""
        return STATIC_DENSITY


class WorldCoverLabel(LabelSource):
    """ESA WorldCover."""

    kind: Literal["worldcover"] = "worldcover"
    layer: LabelName = _layer("worldcover")
    crosswalk: CrosswalkChoice = _crosswalk("common classes, if not those of worldcover@1")
    collection: str = Field(default="esa-worldcover", min_length=1, max_length=128)
    year: int | None = Field(default=None, description="2020 (v100) or 2021 (v200); the nearest to the image if absent")

    @property
    def density(self) -> SearchDensity:
        """Tiles of three degrees."""
        return SearchDensity(edge_km=333.0, step_km=333.0, per_day=None)


class DynamicWorldLabel(LabelSource):
    """Dynamic World V1, the map nearest in time to the image."""

    kind: Literal["dynamicworld"] = "dynamicworld"
    layer: LabelName = _layer("dynamicworld")
    crosswalk: CrosswalkChoice = _crosswalk("common classes, if not those of dynamicworld@1")
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


class LegendEntry(Strict):
    """One class of a legend that the recipe states."""

    code: int = Field(ge=0, le=MOST_CODE, description="value in the raster, 0 to 65,535")
    name: str = Field(min_length=1, max_length=100, description="name of the class in the product")
    colour: str = Field(default="#808080", pattern=r"^#[0-9a-fA-F]{6}$", description="'#rrggbb' for pictures")
    common: CommonClass = Field(description="class of the common taxonomy it maps to")


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
    crosswalk: CrosswalkChoice = _crosswalk("the legend with weights and traits, instead of `classes`")
    licence: str = Field(default="proprietary", max_length=64, description="SPDX id of the labels")
    attribution: str = Field(default="", max_length=500, description="attribution that users of the labels must give")
    max_gap_days: int | None = Field(default=None, ge=0, description="largest distance in time to the image")

    @property
    def layer(self) -> str:
        """Name of the label on disk, in the catalogue and in the ledger."""
        return self.name

    @property
    def density(self) -> SearchDensity:
        """Of maps of a limited time as many as of images; else one for all times."""
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
    """OpenStreetMap from a .osm.pbf extract: rasterised classes and the objects with their tags."""

    kind: Literal["openstreetmap"] = "openstreetmap"
    pbf: PathOrAddress | Annotated[tuple[PathOrAddress, ...], Field(min_length=1, max_length=256)] = Field(
        description="path relative to the recipe, or URL; may begin with an environment variable, $LANDWEAVE_...; or a "
        "list of them: of an object in several extracts, that of the newest counts"
    )
    required: bool = Field(default=False, description="leave samples without it out of the catalogue")
    crosswalk: CrosswalkChoice = _crosswalk("common classes, if not those of openstreetmap@1")

    @property
    def extracts(self) -> tuple[str, ...]:
        """The extracts, as the recipe names them."""
        return (self.pbf,) if isinstance(self.pbf, str) else self.pbf

    @property
    def layer(self) -> str:
        """Name of the label on disk, in the catalogue and in the ledger."""
        return self.kind


RasterLabelEntry = WorldCoverLabel | DynamicWorldLabel | RasterLabel
"""Labels that lie in an archive as rasters."""
Label = Annotated[WorldCoverLabel | DynamicWorldLabel | RasterLabel | OpenStreetMapLabel, Field(discriminator="kind")]


class TemplateCaptions(Strict):
    """Sentences from facts, without a model."""

    kind: Literal["template"] = "template"
    per_sample: int = Field(default=1, ge=1, le=8, description="wordings per sample")
    facts_from: str | None = Field(default=None, description="label layer for the class shares; the first if absent")


class LlmCaptions(Strict):
    """Sentences from a language model behind an OpenAI-compatible endpoint, checked against the facts."""

    kind: Literal["llm"] = "llm"
    model: str = Field(min_length=1, description="model name at the endpoint")
    base_url: Address = Field(
        default="$OPENAI_BASE_URL",
        description="endpoint; may begin with $OPENAI_BASE_URL or a variable $LANDWEAVE_...; the key is sent to its "
        "own service, to the host in OPENAI_BASE_URL and to hosts that the user allows (--allow-host)",
    )
    api_key_variable: Annotated[str, AfterValidator(checked_key)] = Field(
        default="OPENAI_API_KEY",
        pattern=r"^[A-Z][A-Z0-9_]*$",
        max_length=128,
        description="environment variable that holds the key: a model service's own, or LANDWEAVE_...",
    )
    per_sample: int = Field(default=1, ge=1, le=8)
    attempts: int = Field(
        default=3, ge=1, le=10, description="number of answers to request before the template is used instead"
    )
    max_tokens: int = Field(default=300, ge=16, le=4096)
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    facts_from: str | None = None


Captions = Annotated[TemplateCaptions | LlmCaptions | ColumnCaptions | FileCaptions, Field(discriminator="kind")]


class Quality(Strict):
    """Rules for a sample as a whole; one that breaks them is in the ledger and not in the catalogue."""

    min_modalities: int = Field(default=1, ge=0, description="least number of obtained modalities (at any date)")
    require: dict[str, Literal["all"] | Annotated[int, Field(ge=1, le=366)]] = Field(
        default_factory=dict,
        exclude_if=lambda required: not required,
        description="source -> dates that a sample must have of it: all that the recipe asks for, or at least a number",
    )
    keep: tuple[KeepRule, ...] = Field(
        default=(),
        max_length=32,
        exclude_if=lambda rules: not rules,
        description="rules over pixels that a sample must meet, all of them and at every date obtained: "
        "'share(sentinel2.SCL in [4]) >= 0.2', 'sentinel2.SCL[centre] == 4', 'count(sentinel2) >= 2'",
    )


class Shards(Strict):
    """Packing of samples into shards."""

    samples: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="samples per shard; if absent, the power of two from 64 to 4,096 that gives about 256 shards: "
        "fewer than 10,000 objects for a million samples",
    )
    codec: Literal["balanced", "small"] = Field(
        default="balanced",
        description="balanced: fast to read; small: a tenth smaller on disk, twice the CPU time to read",
    )

    def size(self, samples: int) -> int:
        """Samples per shard, for this number of samples in the dataset."""
        if self.samples is not None:
            return self.samples
        each = math.ceil(samples / 256)
        return min(4096, max(64, 1 << max(0, each - 1).bit_length()))


def _known(where: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{where}: {name!r} is none of {list(known)}")


def _held_by_earth_engine(entry: RasterSource, kind: str, name: str, provider: EarthEngineProvider) -> None:
    """Earth Engine must hold what is asked for, in the collections that are named."""
    if isinstance(entry, DeclaredSource):
        named = entry.collection_at(name, provider)
        if not named or not all("/" in one for one in named.split(",")):
            raise ValueError(
                f"{kind}: provider {name!r} is Earth Engine, and needs the id of an image collection there; "
                "write `earthengine: MODIS/061/MOD09A1`"
            )
        return
    known, named = earthengine.COLLECTIONS.get(kind, ()), entry.collection_at(name, provider)
    if not known:
        raise ValueError(f"{kind}: Earth Engine (provider {name!r}) does not have it")
    strange = [c for c in named.split(",") if c not in known]
    if strange:
        raise ValueError(f"{kind}: Earth Engine has it in {list(known)}, found {strange[0]!r}")
    if isinstance(entry, Sentinel1Source) and entry.product == "rtc":
        raise ValueError(
            f"{kind}: Earth Engine (provider {name!r}) has sigma0 (GRD) but no terrain-corrected gamma0; "
            "write `product: grd` to use sigma0"
        )


def check_splits(sampling: Sampling, splits: AnySplits) -> None:
    """Splits that a file states need a file; the fold of a sample needs a name of its own."""
    of_file = isinstance(sampling, PointsSampling | DrawSampling)
    if isinstance(splits, SplitsOfFile) and not of_file:
        raise ValueError(
            f"splits.by: {splits.by} takes the splits from column {splits.column!r} of the points file, and "
            f"sampling.kind: {sampling.kind} has none; use kind: points or draw, or other splits"
        )
    carried = getattr(sampling, "attributes", ())
    if isinstance(splits, FoldSplits) and "fold" in [name.lower() for name in carried]:
        raise ValueError("splits.by: folds writes the attribute 'fold', and sampling.attributes names it too")


class Recipe(Strict):
    """One dataset."""

    name: Name
    description: str = Field(default="", max_length=4_000)
    licence: str = Field(default="proprietary", max_length=64, description="SPDX id of the dataset as a whole")
    seed: int = Field(ge=0, lt=2**63)
    limit: int | None = Field(
        default=None,
        gt=0,
        exclude_if=lambda number: number is None,
        description="trial: keep this many samples, spread evenly over all of them (--limit on the command line)",
    )
    sampling: Sampling
    grid: GridSpec
    windows: tuple[Window, ...] = Field(default=(), max_length=366)
    providers: dict[Name, ProviderEntry] = Field(default_factory=dict)
    sources: tuple[Source, ...] = Field(description="sensors; [] for a dataset of labels only")
    labels: tuple[Label, ...] = ()
    derived: dict[DerivedName, Expression] = Field(
        default_factory=dict,
        max_length=64,
        exclude_if=lambda stated: not stated,
        description="name -> expression over bands and labels, computed for every sample: "
        "'ndvi: (sentinel2.B08 - sentinel2.B04) / (sentinel2.B08 + sentinel2.B04)'; docs/derived.md has the grammar",
    )
    captions: Captions | None = None
    quality: Quality = Field(default_factory=Quality)
    splits: AnySplits = Field(default_factory=Splits)
    shards: Shards = Field(default_factory=Shards)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.sources and not self.labels:
            raise ValueError("sources and labels are both empty: name at least one")
        self._no_doubles()
        self._label_names()
        dated = {s.name: s.windows for s in self.sources if isinstance(s, DatedSource)}
        check_windows(self.windows, getattr(self.sampling, "attributes", ()), dated)
        for entry in (*self.sources, *self.labels):
            self._references(entry)
        labels = [x.layer for x in self.labels]
        wanted = self.captions.facts_from if self.captions is not None else None
        if wanted is not None and wanted not in labels:
            raise ValueError(f"captions: facts_from {wanted!r} is not among the labels {labels}")
        self._overrides(labels)
        self._whole()
        _ = self.derived_layers
        check_splits(self.sampling, self.splits)
        self._quality(labels)
        if isinstance(self.captions, ColumnCaptions) and self.points_file is None:
            raise ValueError(
                f"captions: kind column takes texts from the file of the samples, and sampling.kind: "
                f"{self.sampling.kind} has none; use kind: points or draw, or captions of kind: file"
            )
        return self

    def _quality(self, labels: list[str]) -> None:
        """Rules may be given for the layers of this recipe only."""
        sources = {s.name: s for s in self.sources}
        for name, wanted in self.quality.require.items():
            if name not in sources:
                raise ValueError(f"quality.require: {name!r} is no source of this recipe; known: {sorted(sources)}")
            slots = max(1, len(self.slots_of(sources[name])))
            if wanted != "all" and wanted > slots:
                raise ValueError(f"quality.require: {name}: {wanted} dates are required and {slots} are asked for")
        bands = {name: s.modality.band_names for name, s in sources.items()}
        objects = [x.layer for x in self.labels if isinstance(x, OpenStreetMapLabel)]
        check_names(self.quality.keep, bands, labels, objects)

    def _overrides(self, labels: list[str]) -> None:
        """Resolutions may be given for the layers of this recipe only."""
        known: dict[str, list[str]] = {x: [] for x in labels}
        known |= {s.name: [x.name for x in s.modality.layers] for s in self.sources}
        for key in self.grid.resolutions:
            name, _, layer = key.partition(".")
            if name not in known:
                raise ValueError(
                    f"grid.resolutions: {name!r} is no source or label of this recipe; known: {sorted(known)}"
                )
            if layer and layer not in known[name]:
                raise ValueError(f"grid.resolutions: {name} has no layer {layer!r}; it has {known[name]}")

    def _no_doubles(self) -> None:
        listed: dict[str, list[str]] = {
            "sources": [s.name for s in self.sources],
            "labels": [x.layer for x in self.labels],
            "windows": [w.name for w in self.windows],
        }
        engines = [name for name, p in self.providers.items() if isinstance(p, EarthEngineProvider)]
        if len(engines) > 1:
            raise ValueError(f"providers: {engines} are all of kind earthengine; a run can use one project only")
        for what, names in listed.items():
            twice = sorted({k for k in names if names.count(k) > 1})
            if twice:
                hint = "; give each its own `layer: NAME`" if what == "sources" else ""
                raise ValueError(f"{what}: {twice[0]} is listed twice{hint}")
        both = sorted(set(listed["sources"]) & set(listed["labels"]))
        if both:
            raise ValueError(f"{both[0]!r} is the name of a source and of a label; give the source another `layer`")

        reserved = sorted({"attr", "sample"} & set(listed["sources"]))
        if reserved:
            raise ValueError(f"sources: {reserved[0]!r} has another meaning in the catalogue; choose another `layer`")

    def _label_names(self) -> None:
        """A label may have the name of its own product, of no other layer, and none that columns begin with."""
        for label in self.labels:
            if label.layer in {*MODALITIES, "worldcover", "dynamicworld", "openstreetmap"} - {label.kind}:
                raise ValueError(f"labels: {label.layer!r} is the name of a built-in layer; choose another")
            if label.layer == "attr":
                raise ValueError("labels: 'attr' is the prefix of attribute columns; choose another name")

    def _references(self, entry: Source | Label) -> None:
        """Providers and windows that an entry names must be defined."""
        if isinstance(entry, RasterSource):
            self._archives_of(entry)
        if isinstance(entry, ImageSource):
            _known(f"{entry.name}.assets", entry.assets, entry.modality.band_names)
        if not isinstance(entry, DatedSource):
            return
        if not self.windows:
            raise ValueError(f"{entry.name}: needs at least one entry in `windows`")
        names = [w.name for w in self.windows]
        series = next((w.name for w in self._windows_of(entry) if w.every == "scene"), None)
        if entry.composite is not None and series is not None:
            raise ValueError(
                f"{entry.name}: `composite: {entry.composite}` makes one date of many scenes, and window "
                f"{series!r} wants each scene as a date; remove one of the two"
            )
        for window in entry.windows or ():
            if window not in names:
                raise ValueError(f"{entry.name}: window {window!r} is not defined; `windows` has {names}")

    def _archives_of(self, entry: RasterSource) -> None:
        """Providers that an entry names must be defined, and must be able to hold it."""
        kind = entry.name if isinstance(entry, DeclaredSource) else str(getattr(entry, "kind", ""))
        for name in entry.providers:
            provider = self.providers.get(name)
            if provider is None:
                raise ValueError(f"{kind}: provider {name!r} is not defined; `providers` has {sorted(self.providers)}")
            if isinstance(provider, EarthEngineProvider):
                _held_by_earth_engine(entry, kind, name, provider)
            elif isinstance(entry, DynamicWorldLabel) and entry.composite != "nearest":
                raise ValueError(
                    f"{kind}: `composite: {entry.composite}` needs Earth Engine; provider {name!r} is not Earth Engine"
                )
            elif not entry.collection_at(name, provider):
                raise ValueError(f"{kind}: provider {name!r} needs `collection: ID`")
        _known(f"{kind}.collections", entry.collections, entry.providers)

    def _whole(self) -> None:
        """The base pixel must divide the footprint; layers of other pixels get as many as cover it."""
        finest = min([self.grid.resolution_m, *self._edges()])
        if self.grid.size_m / finest > MOST_PIXELS:
            raise ValueError(
                f"grid: size_m {self.grid.size_m:g} has {self.grid.size_m / finest:,.0f} pixels of {finest:g} m along "
                f"an edge; the limit is {MOST_PIXELS:,}"
            )
        resolution = self.grid.resolution_m
        count = self.grid.size_m / resolution
        if abs(count - round(count)) > 1e-6:
            down, up = int(count) * resolution, (int(count) + 1) * resolution
            sizes = f"{up:g}" if down == 0 else f"{down:g} or {up:g}"
            raise ValueError(
                f"grid: size_m {self.grid.size_m:g} is not a whole number of pixels of resolution_m {resolution:g}; "
                f"write size_m: {sizes}, or another resolution_m"
            )

    @property
    def points_file(self) -> str | None:
        """File that the samples come from, relative to the recipe."""
        if isinstance(self.sampling, DrawSampling):
            return self.sampling.frame.file
        return self.sampling.file if isinstance(self.sampling, PointsSampling) else None

    @property
    def overhang_m(self) -> float:
        """How far the last row and column of any layer's pixels reach beyond the footprint, metres: 20 for the 60 m
        bands of Sentinel-2 over 2,560 m; 0 where every layer's pixels divide the footprint."""
        size = self.grid.size_m
        return max((pixels_across(size, edge) * edge - size for edge in self._edges()), default=0.0)

    def _edges(self) -> list[float]:
        """Pixel edge of every layer, metres."""
        edges = [self.resolution_of(x.layer, None) for x in self.labels]
        return edges + [self.resolution_of(s.name, y.name) for s in self.sources for y in s.modality.layers]

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """Layer of images -> the product as this recipe stores it."""
        return {s.name: s.modality for s in self.sources}

    def resolution_of(self, modality: str, layer: str | None) -> float:
        """Pixel edge in metres of a modality's layer (or of a label) in this dataset: override, else native."""
        overrides = self.grid.resolutions
        if layer is not None and f"{modality}.{layer}" in overrides:
            return overrides[f"{modality}.{layer}"]
        if modality in overrides:
            return overrides[modality]
        if modality in self.modalities and layer is not None:
            return self.modalities[modality].layer(layer).resolution_m
        return self.grid.resolution_m

    def slots_of(self, source: Source) -> tuple[Window, ...]:
        """The window of each date slot of a source, in order (a window with count n stands n times); static: ().

        Windows of months or `dates` stand as one window with `start` and `end` for each.
        """
        if not isinstance(source, DatedSource):
            return ()
        found: list[Window] = []
        for window in self._windows_of(source):
            anchor = self._source(window.follows)
            found += [
                w for w in window.parts() for _ in range(w.count if anchor is None else len(self.slots_of(anchor)))
            ]
        return tuple(found)

    @cached_property
    def composed(self) -> frozenset[str]:
        """Layers whose dates are made of many scenes each."""
        return frozenset(s.name for s in self.sources if isinstance(s, DatedSource) and s.composite is not None)

    @cached_property
    def derived_layers(self) -> tuple[Derived, ...]:
        """The layers of `derived`, checked."""
        return resolved(self.derived, self._inputs()) if self.derived else ()

    def _inputs(self) -> dict[str, Input]:
        """What expressions may use: bands of sources, classes of labels."""
        found = {
            source.name: Input(
                bands=source.modality.band_names,
                slots=tuple(window.name for window in self.slots_of(source)),
                resolution_of={
                    band.name: self.resolution_of(source.name, layer.name)
                    for layer in source.modality.layers
                    for band in layer.bands
                },
                licence=source.modality.licence,
                attribution=source.modality.attribution,
            )
            for source in self.sources
        }
        for label in self.labels:
            edge = self.resolution_of(label.layer, None)
            found[label.layer] = Input(bands=("classes",), slots=(), resolution_of={"classes": edge})
        return found

    def anchor_of(self, source: Source, slot: int) -> tuple[str, int] | None:
        """(layer, date slot) whose chosen scene a date slot of a source is to be near to; None if there is none."""
        slots = self.slots_of(source)
        if not slots or slots[slot].follows is None:
            return None
        return str(slots[slot].follows), slot - slots.index(slots[slot])

    def _windows_of(self, source: DatedSource) -> list[Window]:
        """Windows of a source: those that it names, else all but those around its own scenes."""
        if source.windows is None:
            return [w for w in self.windows if w.follows != source.name]
        return [w for w in self.windows if w.name in source.windows]

    def _source(self, layer: str | None) -> Source | None:
        return next((s for s in self.sources if s.name == layer), None)

    @property
    def sha256(self) -> str:
        """Hash of what the recipe says, fields that equal their defaults left out, lower-case hex: its identity."""
        return sha256_of(self)
