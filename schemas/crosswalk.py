"""Crosswalk of a product: each code of its legend, and what it is in the common taxonomy, with weights and traits."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from schemas.label import LabelClass, Legend
from schemas.primitives import MappedClass
from schemas.strict import Name, Strict

MOST_CODE = 65_535
"""Largest code of a legend: what 16 bits hold."""
Relation = Literal["exact", "broader", "narrower", "mixture", "none"]
"""How a class of the product stands to the common taxonomy (after SKOS, https://www.w3.org/TR/skos-reference/#mapping).

exact: the same ground; narrower: a part of one common class (mangroves of wetland); broader: a pixel is one of several
common classes, the weights say how often; mixture: a pixel holds several at once, the weights are shares of its ground;
none: it says nothing about what covers the ground (clouds)."""
Trait = Literal[
    "annual crops", "aquaculture", "broadleaf", "building", "burnt", "closed canopy", "deciduous", "dwarf", "evergreen",
    "fallow", "flooded", "fodder", "greenhouse", "herbaceous", "industrial", "intertidal", "irrigated", "lake",
    "lichen", "mangrove", "moss", "needleleaf", "open canopy", "pasture", "paved", "peat", "quarry", "railway", "rice",
    "river", "road", "rock", "saline", "sand", "savanna", "sea", "shrub crops", "sparse", "tree crops", "urban",
    "urban green", "vineyard", "woody wetland",
]  # fmt: skip
"""Second level: what a class says beside the common class. A class may have several."""
TRAITS: tuple[str, ...] = get_args(Trait)
"""All traits, in alphabetical order."""
_SUM = 1e-6
"""The weights of a row add up to 1, to this."""


class CrosswalkSource(Strict):
    """Where a legend is published."""

    name: str = Field(min_length=1, max_length=200)
    url: str = Field(pattern=r"^https?://[^\s@?]+$", max_length=500, description="address without user or query")


class CrosswalkRow(Strict):
    """One class of the product."""

    code: int = Field(ge=0, le=MOST_CODE, description="value in the raster")
    name: str = Field(min_length=1, max_length=100, description="the product's own name of the class")
    native: str = Field(default="", max_length=32, description="the product's own code, if it is not a number (A11)")
    colour: str = Field(default="#808080", pattern=r"^#[0-9a-fA-F]{6}$", description="'#rrggbb' for pictures")
    relation: Relation = Field(description="exact, narrower, broader, mixture or none")
    to: dict[MappedClass, Annotated[float, Field(gt=0.0, le=1.0)]] = Field(
        default_factory=dict, description="common class -> weight; weights add up to 1; empty with relation: none"
    )
    traits: tuple[Trait, ...] = Field(default=(), description="second level: mangrove, tree crops, needleleaf, ...")
    group: str = Field(default="", max_length=100, description="the product's group of classes (cereals)")
    note: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _weighed(self) -> Self:
        where, count = f"code {self.code} ({self.name})", len(self.to)
        least, most = {"exact": (1, 1), "narrower": (1, 1), "broader": (1, 99), "mixture": (2, 99), "none": (0, 0)}[
            self.relation
        ]
        if not least <= count <= most:
            expected = "no class" if most == 0 else "exactly 1 class" if most == 1 else f"at least {least} classes"
            raise ValueError(f"{where}: relation {self.relation!r} goes with {expected} in `to`, found {count}")
        total = sum(self.to.values())
        if count and abs(total - 1.0) > _SUM:
            raise ValueError(f"{where}: the weights of `to` add up to {total:g}, expected 1")
        if len(set(self.traits)) < len(self.traits):
            raise ValueError(f"{where}: a trait is listed twice")
        return self

    @property
    def common(self) -> str:
        """The common class of the greatest weight, the first of equal ones; 'unknown' with relation none."""
        return max(self.to, key=lambda name: self.to[name]) if self.to else "unknown"


class Crosswalk(Strict):
    """One version of the crosswalk of one product. What a version says never changes: a correction is a new version."""

    product: Name
    version: int = Field(ge=1, le=9999, description="version of this table")
    title: str = Field(min_length=1, max_length=100, description="name of the product, to display")
    nodata: tuple[Annotated[int, Field(ge=0, le=MOST_CODE)], ...] = Field(
        min_length=1, max_length=16, description="values that mean 'no label here'; the first is written"
    )
    sources: tuple[CrosswalkSource, ...] = Field(min_length=1, max_length=16, description="where the legend is from")
    note: str = Field(default="", max_length=1000)
    rows: tuple[CrosswalkRow, ...] = Field(min_length=1, max_length=MOST_CODE + 1)

    @field_validator("rows")
    @classmethod
    def _in_order(cls, rows: tuple[CrosswalkRow, ...]) -> tuple[CrosswalkRow, ...]:
        seen: set[int] = set()
        for row in rows:
            if row.code in seen:
                raise ValueError(f"code {row.code} has two rows; each code has one")
            seen.add(row.code)
        return tuple(sorted(rows, key=lambda row: row.code))

    @model_validator(mode="after")
    def _apart(self) -> Self:
        both = sorted({row.code for row in self.rows} & set(self.nodata))
        if both:
            raise ValueError(f"code {both[0]} is a class and in `nodata`; a value is one of both")
        return self

    @property
    def name(self) -> str:
        """'worldcover@1'."""
        return f"{self.product}@{self.version}"

    @property
    def legend(self) -> Legend:
        """The product's classes with one common class each."""
        return Legend(
            product=self.title,
            nodata=self.nodata[0],
            fills=self.nodata[1:],
            source=self.sources[0].url,
            classes=tuple(LabelClass(code=r.code, name=r.name, colour=r.colour, common=r.common) for r in self.rows),
        )

    def row(self, code: int) -> CrosswalkRow:
        """The row of a code.

        Raises:
            KeyError: the product has no such class; the text lists those it has.
        """
        for row in self.rows:
            if row.code == code:
                return row
        raise KeyError(f"{self.name}: has no row for code {code}; it has {[r.code for r in self.rows]}")
