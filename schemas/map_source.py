"""GeoParquet of a map in a recipe: where it lies, and which columns become the tags of OpenStreetMap."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from schemas.primitives import Day, PathOrAddress
from schemas.strict import Strict

OVERTURE_TYPES = {
    "buildings/building": "ODbL-1.0",
    "buildings/building_part": "ODbL-1.0",
    "base/land": "ODbL-1.0",
    "base/land_use": "ODbL-1.0",
    "base/land_cover": "CC-BY-4.0",
    "base/water": "ODbL-1.0",
    "base/infrastructure": "ODbL-1.0",
    "transportation/segment": "ODbL-1.0",
    "places/place": "CDLA-Permissive-2.0",
}
"""theme/type of Overture Maps that are read -> licence (https://docs.overturemaps.org/attribution)."""
OVERTURE_DEFAULT = (
    "buildings/building", "base/land", "base/land_use", "base/water", "base/infrastructure", "transportation/segment",
)  # fmt: skip
"""Read where the recipe names no `types`: what comes from OpenStreetMap and covers the ground."""
_OVERTURE = "(c) OpenStreetMap contributors, Overture Maps Foundation"
_Tag = Annotated[str, Field(min_length=1, max_length=255)]
ColumnPath = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^.\[\]]+(\.[^.\[\]]+|\[[0-9]{0,4}\])*$")]
"""A column, or what is nested in it: 'class', 'names.primary', 'sources[0].record_id'; 'flags[].values[]' is any of
them."""


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _as_column(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class TagRule(Strict):
    """Where the value of a tag comes from."""

    column: ColumnPath | None = Field(default=None, description="column that holds the value; none with `value`")
    values: dict[str, _Tag] = Field(
        default_factory=dict,
        max_length=4096,
        description="value of the column -> value of the tag; other values give no tag. If absent, the column's value",
    )
    value: _Tag | None = Field(default=None, description="the tag's value where the column gives none")
    when: dict[ColumnPath, Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]] = Field(
        default_factory=dict, max_length=16, description="column -> values of which it must have one"
    )

    @model_validator(mode="after")
    def _said(self) -> Self:
        if self.column is None and (self.value is None or self.values):
            raise ValueError("a tag needs `column`, or `value` without `values`")
        return self


_Rule = Annotated[TagRule, BeforeValidator(_as_column, json_schema_input_type=ColumnPath | TagRule)]
Rules = Annotated[
    tuple[_Rule, ...],
    Field(min_length=1, max_length=64),
    BeforeValidator(_listed, json_schema_input_type=ColumnPath | TagRule | tuple[ColumnPath | TagRule, ...]),
]


class MapColumns(Strict):
    """Columns of a map and the tags that they become."""

    id: ColumnPath | None = Field(
        default=None,
        description="column with an id; an object that is in several files counts once. Kept as the tag id",
    )
    edited: ColumnPath | None = Field(
        default=None,
        exclude_if=lambda said: said is None,
        description="column with the date or time of an object's last edit, ISO 8601: 'sources[].update_time' (the "
        "newest of them); the catalogue's openstreetmap_edited_since counts from it",
    )
    tags: dict[_Tag, Rules] = Field(
        default_factory=dict,
        max_length=256,
        description="tag -> column ('names.primary'), rule, or a list of them, of which the first that gives a value "
        "decides: '{ highway: { column: class, when: { subtype: road } } }'",
    )
    maps: tuple[ColumnPath, ...] = Field(
        default=(), max_length=16, description="columns that hold tags: a map, or a struct; they go before `tags`"
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.tags and not self.maps:
            raise ValueError("give `tags` or `maps`: without tags no object has a class")
        return self


class MapSource(Strict):
    """A map in GeoParquet: Overture Maps, or any other by its columns."""

    model_config = ConfigDict(serialize_by_alias=True)

    at: PathOrAddress | Annotated[tuple[PathOrAddress, ...], Field(min_length=1, max_length=1024)] = Field(
        alias="from",
        description="a .parquet file, or a folder of them (with parts like theme=base/type=land): path relative to the "
        "recipe, http(s) address of a file, s3:// or gs:// address; may begin with a variable, $LANDWEAVE_...; or a "
        "list of them",
    )
    columns: Literal["overture"] | MapColumns = Field(
        description="overture: the schema of Overture Maps; else the columns that become tags"
    )
    types: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default=(),
        max_length=16,
        description="of Overture: theme/type, 'base/water'; if absent buildings, land, land_use, water, infrastructure "
        "and segments",
    )
    date: Day = Field(description="day that the map describes: of a release")
    licence: str = Field(default="", max_length=64, description="SPDX id; Overture's own if absent, else ODbL-1.0")
    attribution: str = Field(default="", max_length=500, description="attribution that users must give")

    @property
    def places(self) -> tuple[str, ...]:
        """Files and folders, as the recipe names them."""
        return (self.at,) if isinstance(self.at, str) else self.at

    @property
    def read_types(self) -> tuple[str, ...]:
        """theme/type of what is read of Overture; () for another map."""
        return (self.types or OVERTURE_DEFAULT) if self.columns == "overture" else ()

    @property
    def licences(self) -> tuple[str, ...]:
        """SPDX ids of what is read."""
        if self.licence or self.columns != "overture":
            return (self.licence or "ODbL-1.0",)
        return tuple(dict.fromkeys(OVERTURE_TYPES[one] for one in self.read_types))

    @property
    def credit(self) -> str:
        """Attribution that users must give."""
        return self.attribution or (_OVERTURE if self.columns == "overture" else "")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.types and self.columns != "overture":
            raise ValueError("`types` are Overture's; remove them, or write `columns: overture`")
        strange = [one for one in self.types if one not in OVERTURE_TYPES]
        if strange:
            raise ValueError(f"types: {strange[0]!r} is not read; types are {', '.join(OVERTURE_TYPES)}")
        return self
