"""Layers whose product the recipe, or a preset file, describes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from schemas.declared import DeclaredClouds, Described, SceneDensity
from schemas.earthengine import EarthEngineProvider
from schemas.primitives import Share
from schemas.source import ChipLimits, DatedSource, ImageSource, OpticalSource

if TYPE_CHECKING:
    from schemas.modality import Modality
    from schemas.provider import AnyProvider

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
    role: Literal["input", "label"] = Field(
        default="input",
        exclude_if=lambda role: role == "input",
        description="label: numbers to be predicted (height of the canopy, biomass). The layer is no image: it decides "
        "no date and does not count in quality.min_modalities; readers neither normalise it nor leave it out at random",
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

    @cached_property
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

    @property
    def limits(self) -> ChipLimits:
        """What the recipe asks of this layer's chips."""
        most = 1.0 if self.max_scene_cloud is None else self.max_scene_cloud
        return replace(super().limits, max_scene_cloud=most)

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

    @cached_property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Band -> where to look for it in an item, clouds included."""
        return self.assets_of(self.clouds)

    @cached_property
    def modality(self) -> Modality:
        """The product as this layer stores it."""
        return self.described(self.name, self.clouds, self.scenes)
