"""The `sampling` section of a recipe: where the samples lie."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from schemas.area import Area
from schemas.attribute import AttributeName
from schemas.primitives import LEAST_SPACING_M, MOST_M, RelativePath
from schemas.strict import Strict


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    lower = [name.lower() for name in names]
    twice = [name for name in names if lower.count(name.lower()) > 1]
    if twice:
        raise ValueError(f"{' and '.join(map(repr, twice))} are the same name (SQL ignores case)")
    return names


Carried = Annotated[
    tuple[AttributeName, ...],
    Field(
        max_length=64,
        exclude_if=lambda names: not names,
        description="columns (GeoJSON: properties) of the file to copy into the catalogue as attr_NAME: "
        "true/false, numbers or text, one type per column; values may be missing",
    ),
    AfterValidator(_once),
]
"""Columns that samples carry along."""
Column = Annotated[str, Field(min_length=1, max_length=256)]
"""Name of a column (GeoJSON: of a property); `tags.building` is the entry `building` of the map column `tags`."""
Value = bool | int | float | Annotated[str, Field(max_length=1024)]
Conditions = dict[Column, Value | Annotated[tuple[Value, ...], Field(min_length=1, max_length=1_000)]]
"""Column -> value or values; "*" = any value. A row must meet all of them."""
CATEGORY = "category"
"""Name of the column that `from.categories` makes."""


class UniformSampling(Strict):
    """Points uniform over the area's surface (equal-area)."""

    kind: Literal["uniform"] = "uniform"
    count: int = Field(gt=0, le=100_000_000, description="number of samples to place")
    area: Area = Field(default_factory=Area)
    allow_overlap: bool = Field(default=False, description="keep samples whose footprints overlap")


class GridSampling(Strict):
    """Every cell of a gap-free Major-TOM grid over the area."""

    kind: Literal["grid"] = "grid"
    spacing_m: float = Field(
        ge=LEAST_SPACING_M, le=MOST_M, description="edge of a grid cell, metres; 10,000 gives the cells of Major TOM"
    )
    count: int | None = Field(
        default=None, gt=0, description="number of cells to keep, chosen by the seed; all if absent"
    )
    area: Area = Field(default_factory=Area)
    allow_overlap: bool = Field(default=False, description="keep samples whose footprints overlap")


class PointsSampling(Strict):
    """Points from a file: CSV with lon and lat columns, GeoJSON or GeoParquet points.

    Columns `epsg`, `x_min` and `y_max`, where present, fix the footprint exactly (to match an existing dataset);
    a column `sample_id` names the samples; `splits: { by: attr_split }` takes the splits from a column `split`.
    """

    kind: Literal["points"] = "points"
    file: RelativePath = Field(description="path relative to the recipe")
    area: Area = Field(default_factory=lambda: Area(land_only=False))
    allow_overlap: bool = Field(default=False, description="keep samples whose footprints overlap")
    attributes: Carried = ()


class Frame(Strict):
    """A file of places, scenes, objects or areas that samples are drawn from."""

    file: RelativePath = Field(
        description="path relative to the recipe: CSV with lon and lat columns; GeoJSON; GeoParquet, also "
        "stac-geoparquet and the objects that `pipelines objects` reads from an OpenStreetMap extract"
    )
    spread_m: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="draw each sample from a Gaussian around a point of the file: its standard deviation east and "
        "north, metres; if absent, each point gives one sample",
    )
    at: Literal["within", "centre"] = Field(
        default="within",
        description="within: anywhere inside the polygon; centre: one sample at the centre of each object",
    )
    where: Conditions = Field(
        default_factory=dict, max_length=64, description="use only the rows that meet all these: column -> value(s)"
    )
    categories: dict[Annotated[str, Field(min_length=1, max_length=100)], Conditions] = Field(
        default_factory=dict,
        max_length=1_000,
        description="name -> conditions as in `where`; the first that a row meets is its `category`, rows that meet "
        "none are not used",
    )
    weight: Column | None = Field(
        default=None, description="column of numbers: a row is drawn in proportion to it (0 or missing: never)"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.spread_m is not None and self.at == "centre":
            raise ValueError("`spread_m` draws around points and `at: centre` takes one sample per object; give one")
        return self


class DrawSampling(Strict):
    """Samples drawn from a file: around its points, one per object, or inside its polygons; balanced if asked for."""

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["draw"] = "draw"
    count: int = Field(gt=0, le=100_000_000, description="number of samples to place")
    frame: Frame = Field(alias="from", description="the file, and how its rows become samples")
    balance: tuple[Column, ...] = Field(
        default=(),
        max_length=4,
        description="columns whose values (combinations of them) are strata; each stratum gets its share of the "
        "samples; rows without a value are not used",
    )
    shares: Literal["equal", "as_file"] = Field(
        default="equal",
        description="equal: the same number of samples from each stratum; as_file: in proportion to the rows (with "
        "`then: area`, to the ground) that the file has of it, so that a subset keeps the file's distribution",
    )
    then: Literal["row", "area"] = Field(
        default="row",
        description="within a stratum, row: each row of the file has the same chance; area: each piece of ground",
    )
    area: Area = Field(default_factory=Area)
    allow_overlap: bool = Field(default=False, description="keep samples whose footprints overlap")
    attributes: Carried = ()

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if self.shares != "equal" and not self.balance:
            raise ValueError(f"`shares: {self.shares}` needs `balance`: the columns that name the strata")
        if len(set(self.balance)) < len(self.balance):
            raise ValueError(f"balance names a column twice: {', '.join(self.balance)}")
        if self.then == "area" and (self.frame.spread_m is not None or self.frame.at == "centre"):
            raise ValueError("`then: area` draws inside polygons; it has no meaning with `spread_m` or `at: centre`")
        if self.then == "area" and self.frame.weight is not None:
            raise ValueError("`then: area` and `from.weight` both state the chance of a row; give one")
        return self


Sampling = Annotated[UniformSampling | GridSampling | PointsSampling | DrawSampling, Field(discriminator="kind")]
