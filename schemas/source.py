"""What the entries of a recipe that come from archives have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from schemas import earthengine
from schemas.declared import AssetName, LayerName, Where
from schemas.earthengine import EarthEngineProvider
from schemas.modality import MODALITIES, Modality
from schemas.primitives import Share
from schemas.strict import Name, Strict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.provider import AnyProvider
    from schemas.window import Window


@dataclass(frozen=True, slots=True)
class ChipLimits:
    """What a recipe asks of the chips of a layer; the defaults ask nothing, as of a static layer."""

    min_valid: float = 0.0
    """Least share of the chip with valid pixels."""
    max_cloud: float = 1.0
    """Most cloud over the chip."""
    max_scene_cloud: float = 1.0
    """Most cloud over the scene."""
    sharing: float = 0.0
    """How much worse than the best a scene may be that neighbouring chips use too."""
    composite: Literal["median", "mean", "mosaic"] | None = None
    """How many scenes become one date; None = one scene is read."""


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
        description="name of the layer on disk, in the catalogue and in the ledger; if absent, the name of the "
        "product. Give names to have several layers of one product",
    )
    where: Where = Field(
        default_factory=dict,
        exclude_if=lambda wanted: not wanted,
        description="use only items with these properties: one value ('sat:orbit_state: ascending'), or a list of "
        "allowed values",
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

    @property
    def limits(self) -> ChipLimits:
        """What the recipe asks of this layer's chips."""
        return ChipLimits()


class DatedSource(ImageSource):
    """A source with one observation per date slot."""

    windows: tuple[Name, ...] | None = Field(default=None, description="names of windows; all if absent")
    max_candidates: int = Field(
        default=4, ge=1, le=64, description="number of scenes to consider per slot, best metadata first"
    )
    min_valid: Share = Field(default=0.95, description="least share of the chip with valid pixels")
    sharing: Share = Field(
        default=0.05,
        description="a chip may use a scene that is worse than its best one by up to this much (uncovered share of "
        "the chip; cloud plus distance in time), if neighbouring chips use that scene: fewer scenes, "
        "requests and bytes; 0 = only equally good scenes",
    )
    composite: Literal["median", "mean", "mosaic"] | None = Field(
        default=None,
        exclude_if=lambda how: how is None,
        description="compute each date from many scenes, pixel by pixel, from the scenes that are clear there: "
        "median, mean, or mosaic (the first clear scene, best metadata first)",
    )
    max_scenes: int = Field(
        default=30,
        ge=1,
        le=366,
        exclude_if=lambda most: most == 30,
        description="with composite: most scenes of one date, best metadata first",
    )

    @property
    def limits(self) -> ChipLimits:
        """What the recipe asks of this layer's chips."""
        return ChipLimits(min_valid=self.min_valid, sharing=self.sharing, composite=self.composite)

    @property
    def scenes_per_date(self) -> int:
        """Most candidates of one date slot."""
        return self.max_candidates if self.composite is None else self.max_scenes

    def windows_among(self, windows: Sequence[Window]) -> list[Window]:
        """The recipe's windows that this source uses: those that it names, else all but those around its own scenes."""
        if self.windows is None:
            return [w for w in windows if w.follows != self.name]
        return [w for w in windows if w.name in self.windows]

    @model_validator(mode="after")
    def _composed(self) -> Self:
        if self.composite is None and self.max_scenes != 30:
            raise ValueError(f"max_scenes {self.max_scenes} has no meaning without `composite: median`, mean or mosaic")
        return self


class OpticalSource(DatedSource):
    """A dated source that clouds can hide."""

    max_cloud: Share = Field(default=0.3, description="most cloud over the chip")
    max_scene_cloud: Share = Field(default=0.9, description="most cloud over the scene, according to its metadata")

    @property
    def limits(self) -> ChipLimits:
        """What the recipe asks of this layer's chips."""
        return replace(super().limits, max_cloud=self.max_cloud, max_scene_cloud=self.max_scene_cloud)
