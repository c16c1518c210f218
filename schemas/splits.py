"""The `splits` section of a recipe: which samples are for training, validation and test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from schemas.primitives import LEAST_SPACING_M, MOST_M, Share
from schemas.strata import StrataBy
from schemas.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Sequence


BLOCK_M = 20_000.0
"""Edge of the blocks of ground that the catalogue names, where the splits have none of their own, metres."""
SplitName = Literal["train", "val", "test"]


def _stratify() -> Any:
    """The field of the strata within which the shares hold."""
    return Field(
        default=(),
        exclude_if=lambda given: not given,
        description="attributes whose values (combinations of them) are strata: the shares hold in each, of single "
        "samples within one sample, of blocks as near as the blocks allow: [attr_biome, { by: attr_agbd, quantiles: "
        "10 }]",
    )


def _whole(train: float, val: float, test: float) -> None:
    total = train + val + test
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"train + val + test must be 1, got {total:g}")


class Splits(Strict):
    """Splits by blocks of ground, with a buffer between blocks of different splits."""

    by: Literal["blocks"] = Field(default="blocks", exclude_if=lambda by: by == "blocks")
    train: Share = 0.8
    val: Share = 0.1
    test: Share = 0.1
    block_m: float = Field(
        default=20_000.0, ge=LEAST_SPACING_M, le=MOST_M, description="edge of a block of ground, metres"
    )
    buffer_m: float = Field(
        default=1_000.0,
        ge=0,
        description="least distance between footprints of different splits, metres; nearer footprints are left out",
    )
    allow_overlap: bool = Field(
        default=False,
        exclude_if=lambda allowed: not allowed,
        description="keep samples that are nearer than buffer_m to another split, or overlap it; the ground "
        "that splits share is then measured, stored and printed",
    )
    stratify: StrataBy = _stratify()

    @model_validator(mode="after")
    def _sum(self) -> Self:
        _whole(self.train, self.val, self.test)
        if self.buffer_m >= self.block_m:
            raise ValueError(f"buffer_m {self.buffer_m:g} must be smaller than block_m {self.block_m:g}")
        return self

    def asked(self, split: SplitName) -> float | None:
        """Share of the samples that the recipe gives to a split."""
        return float(getattr(self, split))

    @property
    def least_gap_m(self) -> float | None:
        """Distance between splits that is kept by leaving samples out, metres; None: every sample is kept."""
        return None if self.allow_overlap else self.buffer_m


class Kept(Strict):
    """Splits that keep every sample, unless the recipe states a buffer."""

    buffer_m: float | None = Field(
        default=None,
        ge=0,
        le=MOST_M,
        description="least distance between footprints of different splits, metres; nearer footprints are left out; "
        "if absent, every sample is kept, and the plan states how many pairs of splits overlap",
    )

    @property
    def block_m(self) -> float:
        """Edge of the blocks of ground that the catalogue names, metres."""
        return BLOCK_M

    @property
    def least_gap_m(self) -> float | None:
        """Distance between splits that is kept by leaving samples out, metres; None: every sample is kept."""
        return self.buffer_m

    def asked(self, split: SplitName) -> float | None:
        """Share of the samples that the recipe gives to a split; None: the data decide."""
        return None if isinstance(given := getattr(self, split), tuple) else float(given)


class Shared(Kept):
    """Splits by shares."""

    train: Share = 0.8
    val: Share = 0.1
    test: Share = 0.1

    @model_validator(mode="after")
    def _sum(self) -> Self:
        _whole(self.train, self.val, self.test)
        return self


class RandomSplits(Shared):
    """Each sample by itself at random: neighbours come into different splits."""

    by: Literal["random"] = "random"
    stratify: StrataBy = _stratify()


class StripeSplits(Shared):
    """Parallel stripes of ground."""

    by: Literal["stripes"] = "stripes"
    width_m: float = Field(
        default=BLOCK_M, ge=LEAST_SPACING_M, le=MOST_M, description="width of a stripe on the ground, metres"
    )
    angle: float = Field(
        default=0.0, ge=-180, le=180, description="direction of the stripes, degrees clockwise from north"
    )
    stratify: StrataBy = _stratify()


class ConcentricSplits(Shared):
    """Rings inside each block of ground: test in the middle, val around it, train outside; shares are of the area."""

    by: Literal["concentric"] = "concentric"
    tile_m: float = Field(
        default=100_000.0, ge=LEAST_SPACING_M, le=MOST_M, description="edge of a block of ground, metres"
    )

    @property
    def block_m(self) -> float:
        """Edge of the blocks of ground that the catalogue names, metres."""
        return self.tile_m


Folds = tuple[Annotated[int, Field(ge=0, le=999)], ...]


class FoldSplits(Kept):
    """Folds of blocks of ground for cross-validation; every sample's fold is the attribute `fold` (attr_fold)."""

    by: Literal["folds"] = "folds"
    folds: int = Field(default=5, ge=2, le=1_000, description="number of folds, numbered from 0")
    edge_m: float = Field(
        default=BLOCK_M, ge=LEAST_SPACING_M, le=MOST_M, description="edge of a block of ground, metres"
    )
    val: Folds = Field(default=(), description="folds of the val split")
    test: Folds = Field(default=(0,), description="folds of the test split; all others are train")
    stratify: StrataBy = _stratify()

    @property
    def block_m(self) -> float:
        """Edge of the blocks of ground that the catalogue names, metres."""
        return self.edge_m

    def asked(self, split: SplitName) -> float | None:
        """Share of the samples that the recipe gives to a split."""
        named = {"val": len(self.val), "test": len(self.test)}
        return named.get(split, self.folds - sum(named.values())) / self.folds

    @model_validator(mode="after")
    def _there(self) -> Self:
        named = [*self.val, *self.test]
        for fold in named:
            if fold >= self.folds:
                raise ValueError(f"fold {fold} does not exist: {self.folds} folds are numbered 0 to {self.folds - 1}")
            if named.count(fold) > 1:
                raise ValueError(f"fold {fold} is named twice in val and test")
        if len(named) >= self.folds:
            raise ValueError(f"val and test take all {self.folds} folds; leave at least one for train")
        return self


ATTRIBUTE = r"^attr_[A-Za-z][A-Za-z0-9_]{0,63}$"
"""Name of a column of the points file, as the catalogue has it."""
Words = tuple[Annotated[str, Field(max_length=1024)], ...]


class AttributeSplits(Kept):
    """Splits that a column of the points file states: published splits."""

    by: str = Field(pattern=ATTRIBUTE, description="attr_ and the column's name: attr_split reads the column `split`")
    train: Words = Field(default=("train",), description="values of the column that mean train")
    val: Words = Field(default=("val", "validation", "valid", "dev"), description="values that mean val")
    test: Words = Field(default=("test",), description="values that mean test")

    @property
    def column(self) -> str:
        """Column of the file."""
        return self.by.removeprefix("attr_")

    @model_validator(mode="after")
    def _once(self) -> Self:
        _each_once("value", [*self.train, *self.val, *self.test])
        return self


Years = tuple[Annotated[int, Field(ge=1, le=9999)], ...]


class YearSplits(Kept):
    """Splits by the year of a date that the points file states."""

    by: Literal["year"] = "year"
    date: str = Field(
        default="attr_date",
        pattern=ATTRIBUTE,
        description="attr_ and the name of a column of dates (2023-07-01, also with a time) or of years",
    )
    train: Years = Field(default=(), description="years of train; if absent, all that val and test do not name")
    val: Years = Field(default=(), description="years of val")
    test: Years = Field(default=(), description="years of test")

    @property
    def column(self) -> str:
        """Column of the file."""
        return self.date.removeprefix("attr_")

    @model_validator(mode="after")
    def _once(self) -> Self:
        if not self.val and not self.test:
            raise ValueError("name the years of val or test (for example test: [2023])")
        _each_once("year", [*self.train, *self.val, *self.test])
        return self


def _each_once(what: str, named: Sequence[object]) -> None:
    twice = next((x for x in named if named.count(x) > 1), None)
    if twice is not None:
        raise ValueError(f"{what} {twice!r} is named twice in train, val and test")


def split_kind(given: object) -> str:
    """Tag of a `splits` section, 'by random': by blocks if it does not say."""
    by = given.get("by", "blocks") if isinstance(given, dict) else getattr(given, "by", "blocks")
    return "by attribute" if isinstance(by, str) and by.startswith("attr_") else f"by {by}"


SPLIT_KINDS: dict[str, type[Splits | Kept]] = {
    "by blocks": Splits,
    "by random": RandomSplits,
    "by stripes": StripeSplits,
    "by concentric": ConcentricSplits,
    "by folds": FoldSplits,
    "by attribute": AttributeSplits,
    "by year": YearSplits,
}
"""Tag -> class of the section."""
AnySplits = Annotated[
    Annotated[Splits, Tag("by blocks")]
    | Annotated[RandomSplits, Tag("by random")]
    | Annotated[StripeSplits, Tag("by stripes")]
    | Annotated[ConcentricSplits, Tag("by concentric")]
    | Annotated[FoldSplits, Tag("by folds")]
    | Annotated[AttributeSplits, Tag("by attribute")]
    | Annotated[YearSplits, Tag("by year")],
    Discriminator(
        split_kind,
        custom_error_type="split_kind",
        custom_error_message="`by` is blocks, random, stripes, concentric, folds, year, or attr_ and a column's name",
    ),
]
"""Any `splits` section."""
SplitsOfFile = AttributeSplits | YearSplits
"""Splits that a column of the points file decides."""
