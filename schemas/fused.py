"""The `labels` kind that is made of others: one map with a confidence, fused after all samples are there."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from schemas.label_layer import CrosswalkChoice, LayerName
from schemas.primitives import MappedClass, RelativePath, Share
from schemas.sampling import Column
from schemas.strict import Strict

StratumKind = Literal["region", "relief", "date_gap"]
"""What the reliability of maps may hang on, besides the class."""
MOST_VOTERS = 64
"""Most label layers that one fused label is made of."""


class FusedVoter(Strict):
    """A layer that votes, where its name alone does not say enough."""

    label: LayerName = Field(
        description="name of a label layer of this recipe; with `bands`: of a source with a probability per class"
    )
    bands: dict[str, MappedClass] = Field(
        default_factory=dict,
        max_length=256,
        exclude_if=lambda bands: not bands,
        description="band of the source -> class that its numbers are the probability of; several bands of one class "
        "add up, and the unit does not matter",
    )
    family: LayerName | None = Field(
        default=None,
        description="maps of one family share their errors and have one vote together; if absent: the product, so that "
        "two years of WorldCover are one family",
    )
    crosswalk: CrosswalkChoice = Field(
        default=None,
        exclude_if=lambda chosen: chosen is None,
        description="common classes for this vote, if not those of the layer: name of a shipped crosswalk, or a file "
        "beside the recipe",
    )


def _form(value: object) -> str:
    """Tag of a voter's form, so that a mistake in one form is not described as one in the other."""
    return "a text" if isinstance(value, str) else "a voter"


_Voter = Annotated[Annotated[LayerName, Tag("a text")] | Annotated[FusedVoter, Tag("a voter")], Discriminator(_form)]


class FusedReference(Strict):
    """Points whose class is known, which the confidence is calibrated with."""

    file: RelativePath = Field(
        description="path relative to the recipe: CSV with lon and lat columns, GeoJSON or GeoParquet points"
    )
    column: Column = Field(default="class", description="column that names the class, in the common taxonomy")


class FusedLabel(Strict):
    """One map made of the other labels, with a confidence and the number of agreeing products."""

    kind: Literal["fused"] = "fused"
    layer: LayerName = Field(
        default="fused",
        exclude_if=lambda name: name == "fused",
        description="name of the layer on disk and in the catalogue, so that fused can be there more than once",
    )
    voters: tuple[_Voter, ...] = Field(
        default=(),
        max_length=MOST_VOTERS,
        description="the label layers that vote, of at least two families; all others of the recipe if absent",
    )
    classes: tuple[MappedClass, ...] = Field(
        default=(), max_length=16, description="classes that the map may have; all that a voter names if absent"
    )
    images: tuple[LayerName, ...] | None = Field(
        default=None,
        max_length=8,
        description="layers of images that tell classes apart; [] = votes alone; if absent, the first optical source "
        "and the first Sentinel-1",
    )
    reference: FusedReference | None = Field(
        default=None, description="points that calibrate the confidence; without them it is marked `uncalibrated`"
    )
    strata: tuple[StratumKind, ...] = Field(
        default=(),
        exclude_if=lambda kinds: not kinds,
        description="what the reliability of maps and the shares of classes may differ by: region (cells of 5 "
        "degrees), relief (heights of a `dem` source), date_gap (days between the image and the farthest map); samples "
        "of a stratum with few pixels have the values of all",
    )
    abstain_below: Share = Field(default=0.0, description="pixels with a lower confidence get no class")
    probabilities: bool = Field(default=False, description="also store the probability of each class")
    mislabelled: bool = Field(
        default=False,
        exclude_if=lambda wanted: not wanted,
        description="also store the probability that the class of each pixel is wrong",
    )

    @property
    def named(self) -> tuple[FusedVoter, ...]:
        """The voters that the recipe names, each in its long form; () = all labels."""
        return tuple(FusedVoter(label=v) if isinstance(v, str) else v for v in self.voters)

    @model_validator(mode="after")
    def _once(self) -> Self:
        listed: dict[str, list[str]] = {
            "voters": [v.label for v in self.named],
            "classes": list(self.classes),
            "images": list(self.images or ()),
            "strata": list(self.strata),
        }
        for what, names in listed.items():
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{self.layer}: {what} names {twice!r} twice")
        soft = next((v.label for v in self.named if v.bands and v.crosswalk is not None), None)
        if soft is not None:
            raise ValueError(f"{self.layer}: voters: {soft}: give `bands` or `crosswalk`, not both")
        if len(self.classes) == 1:
            raise ValueError(f"{self.layer}: `classes` names one class; a map needs at least two")
        return self
