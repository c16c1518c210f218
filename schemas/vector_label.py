"""The label `vector` of a recipe: polygons, lines or points of a file, as a class raster and as objects."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from schemas.declared import Plain  # noqa: TC001 - pydantic needs it at run time
from schemas.label_date import LabelDate
from schemas.label_layer import CrosswalkChoice, LayerName, LegendEntry, StatedCrosswalk, crosswalk_field
from schemas.primitives import PathOrAddress
from schemas.strict import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

IGNORE = "ignore"
"""`other`: features with other values are not drawn."""
ONE_CLASS = "object"
"""Name of the only class where the recipe states none."""
_Column = Annotated[str, Field(min_length=1, max_length=128)]


def text_of(value: Any) -> str | None:
    """A value of a column as text: 3.0 is '3', a date is 2021-06-05; None where there is none, or no plain value."""
    if value is None or isinstance(value, bytes | dict | list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else f"{value:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat()
    return value.isoformat() if isinstance(value, date) else str(value)


class VectorClass(LegendEntry):
    """One class, and the values of the column that mean it."""

    values: tuple[Plain, ...] = Field(
        default=(), max_length=10_000, description="values of `column` that mean this class; its name if absent"
    )

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as text."""
        return tuple(str(text_of(v)) for v in self.values) or (self.name,)


class VectorLabel(Strict):
    """Your own vectors: parcels, burnt areas, crowns of trees; from GeoParquet, GeoPackage, GeoJSON and the like."""

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["vector"] = "vector"
    layer: LayerName = Field(description="name of the layer on disk and in the catalogue")
    file: PathOrAddress = Field(
        description="GeoParquet, GeoPackage (.gpkg), GeoJSON, FlatGeobuf (.fgb) or zipped shapefile (.zip): path "
        "relative to the recipe, or URL; may begin with an environment variable, $LANDWEAVE_..."
    )
    table: str | None = Field(
        default=None, max_length=128, description="table of a GeoPackage that holds several with geometries"
    )
    crs: str | None = Field(
        default=None,
        pattern=r"^(EPSG|ESRI|OGC|IGNF):[A-Za-z0-9.]{1,32}$",
        description="CRS of a file that states none ('EPSG:2154')",
    )
    date: LabelDate | None = Field(
        default=None,
        exclude_if=lambda said: said is None,
        description="day that the vectors describe, or attr_ and the name of an attribute that holds it for each "
        "sample; with `from` or `until` it may be absent: the date of the sample's image is taken",
    )
    begins: _Column | None = Field(
        default=None,
        alias="from",
        exclude_if=lambda said: said is None,
        description="column of the first day on which a feature is there: only features that are there on the label's "
        "date count; 2021, 2021-06 or 2021-06-05, empty: always was",
    )
    until: _Column | None = Field(
        default=None,
        exclude_if=lambda said: said is None,
        description="column of the last day on which a feature is there; empty: still is",
    )
    column: _Column | None = Field(
        default=None, description="column that decides the class; if absent, all features are of one class"
    )
    classes: tuple[VectorClass, ...] = Field(
        default=(), max_length=4096, description="the legend; without it and without `column` the one class is 'object'"
    )
    crosswalk: CrosswalkChoice = crosswalk_field(
        "the legend with weights and traits, instead of `classes`; values of `column` are its native codes, codes or "
        "names"
    )
    other: str | None = Field(
        default=None,
        max_length=100,
        description="class of all other values of `column`, empty ones included; 'ignore': those features are not "
        "drawn; if absent, a value without a class is an error",
    )
    background: str | None = Field(
        default=None,
        max_length=100,
        description="class of ground on which no feature lies, inside the file's extent; if absent it has no label",
    )
    priority: _Column | None = Field(
        default=None, description="column of numbers: where features overlap, the greatest is on top"
    )
    over: tuple[str, ...] = Field(
        default=(),
        max_length=4096,
        description="classes that lie over all others where features overlap, the last on top; otherwise `priority` "
        "decides, then the smaller area is on top",
    )
    all_touched: bool = Field(
        default=False, description="label every pixel that an area touches; else those whose centre it covers"
    )
    width_m: float | None = Field(
        default=None,
        gt=0,
        le=1_000,
        description="lines and points are drawn this wide, metres; else one pixel thin",
    )
    objects: bool = Field(default=True, description="also store the features of each sample, cut to its footprint")
    attributes: tuple[_Column, ...] | None = Field(
        default=None, max_length=256, description="columns that the stored features keep; all if absent, [] for none"
    )
    product: str = Field(
        default="", max_length=100, description="name of the product, to display; the layer's if absent"
    )
    licence: str = Field(default="proprietary", max_length=64, description="SPDX id of the vectors")
    attribution: str = Field(default="", max_length=500, description="attribution that users of the labels must give")
    required: bool = Field(default=False, description="leave samples without it out of the catalogue")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.date is None and not self.dated:
            raise ValueError(
                f"{self.layer}: give `date`, the day that the vectors describe, or `from` and `until`, columns of the "
                "days on which each feature is there"
            )
        most = 1 if self.background is None else 2
        if self.column is None and (len(self.classes) > most or self.crosswalk or self.other):
            raise ValueError(
                f"{self.layer}: several classes, `crosswalk` and `other` need `column` to decide the class"
            )
        if self.column is not None and bool(self.classes) == (self.crosswalk is not None):
            raise ValueError(
                f"{self.layer}: give `classes` or `crosswalk`, {'not both' if self.classes else 'found none'}"
            )
        if self.attributes is not None and not self.objects:
            raise ValueError(f"{self.layer}: `attributes` are of stored features, and `objects: false` stores none")
        for what, said in (("name", [c.name for c in self.classes]), ("code", [c.code for c in self.classes])):
            self._once(what, said)
        self._once("value", [t for c in self.classes for t in c.texts] if self.column is not None else [])
        self._named()
        return self

    def _once(self, what: str, said: Iterable[object]) -> None:
        seen: set[object] = set()
        for one in said:
            if one in seen:
                raise ValueError(f"{self.layer}: classes: {what} {one!r} is there twice")
            seen.add(one)

    def _named(self) -> None:
        """Classes that are named must be in the legend, once it is known."""
        if isinstance(self.crosswalk, str):
            return  # not read yet: `pipelines.recipes` puts its content here
        names = self.names
        other = None if self.other == IGNORE else self.other
        for key, name in (("other", other), ("background", self.background), *(("over", n) for n in self.over)):
            if name is not None and name not in names:
                raise ValueError(f"{self.layer}: {key}: {name!r} is no class; classes are {list(names)[:20]}")
        if self.column is None and self.background is not None and len(self.classes) < 2:
            raise ValueError(f"{self.layer}: background: {self.background!r} needs a second class, for the features")

    @property
    def names(self) -> dict[str, int]:
        """Name of each class -> its code."""
        if isinstance(self.crosswalk, StatedCrosswalk):
            return {row.name: row.code for row in self.crosswalk.rows}
        return {c.name: c.code for c in self.classes} or {ONE_CLASS: 1}

    @property
    def codes(self) -> Mapping[str, int]:
        """Text of a value of `column` -> code."""
        if not isinstance(self.crosswalk, StatedCrosswalk):
            return {text: c.code for c in self.classes for text in c.texts}
        rows = self.crosswalk.rows
        found = {row.name: row.code for row in rows} | {str(row.code): row.code for row in rows}
        return found | {row.native: row.code for row in rows if row.native}

    @property
    def one_code(self) -> int:
        """Code of all features where no column decides it: of the first class that is not the background."""
        return next(code for name, code in self.names.items() if name != self.background)

    @property
    def other_code(self) -> int | None:
        """Code of values without a class; None = they are not drawn, or not allowed."""
        return None if self.other in (None, IGNORE) else self.names[str(self.other)]

    @property
    def dated(self) -> bool:
        """Whether features are there for a time only."""
        return self.begins is not None or self.until is not None

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that decide class, order and time."""
        columns = (self.column, self.priority, self.begins, self.until)
        return tuple(dict.fromkeys(c for c in columns if c is not None))
