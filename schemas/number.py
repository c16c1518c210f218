"""Numbers of each sample: statistics of its pixels, attributes of the polygon it lies in, values of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from schemas.attribute import AttributeName, AttributeType
from schemas.condition import band_of
from schemas.expression import Array
from schemas.primitives import RelativePath
from schemas.sampling import Column
from schemas.statistic import SMOOTH, Statistic, statistic
from schemas.strict import MisplacedError, Strict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from schemas.derived import Input


def _checked(text: str) -> str:
    statistic(text)
    return text


Unit = Annotated[str, Field(max_length=64, description="unit of the values, for people and for the catalogue")]
About = Annotated[str, Field(max_length=1_000, description="what the values are, for people and for the catalogue")]
Said = Annotated[str, Field(min_length=1), AfterValidator(_checked)]
"""A statistic that reads."""


class PixelNumber(Strict):
    """A statistic of a layer's pixels over the sample's footprint; `of` alone, as a text, is the short form."""

    of: Said = Field(
        description="'mean(dem.elevation)', 'share(worldcover in [80])', 'percentile(sentinel2.B08[summer], 90)', "
        "'dem.elevation[centre]'; docs/numbers.md has the grammar"
    )
    unit: Unit = ""
    description: About = ""


class PolygonNumber(Strict):
    """A column of the polygon that holds the sample's centre, or covers most of its footprint."""

    polygons: RelativePath = Field(
        description="GeoParquet or GeoJSON file of polygons, path relative to the recipe; it is read in pieces"
    )
    column: Column = Field(description="column (GeoJSON: property) whose value the sample gets")
    by: Literal["centre", "most"] = Field(
        default="centre",
        description="centre: the polygon that holds the centre of the footprint; most: the one that covers the largest "
        "part of it; the first in the file of several",
    )
    unit: Unit = ""
    description: About = ""

    @property
    def file(self) -> str:
        """The file."""
        return self.polygons


class TableNumber(Strict):
    """A column of the row of a table that belongs to the sample."""

    table: RelativePath = Field(description="CSV or Parquet file, path relative to the recipe; it is read in pieces")
    column: Column = Field(description="column whose value the sample gets")
    id: Column = Field(
        default="sample_id", description="column that names the sample, or the value of `match`, of each row"
    )
    match: str = Field(
        default="sample_id",
        pattern=r"^(sample_id|attr_[A-Za-z][A-Za-z0-9_]{0,63})$",
        description="value of a sample that `id` is compared with: sample_id, or an attribute or number, attr_NAME",
    )
    unit: Unit = ""
    description: About = ""

    @property
    def file(self) -> str:
        """The file."""
        return self.table


AnyNumber = Said | PixelNumber | PolygonNumber | TableNumber
FileNumber = PolygonNumber | TableNumber
"""Numbers that are known when the places are, before anything is fetched."""
NUMBER_KINDS: dict[str, type[PixelNumber | PolygonNumber | TableNumber]] = {
    "number of pixels": PixelNumber,
    "number of polygons": PolygonNumber,
    "number of a table": TableNumber,
}
"""Tag -> class of an entry of `numbers`."""


def _number_kind(given: object) -> str:
    if isinstance(given, str):
        return "a text"
    has = given if isinstance(given, dict) else vars(given) if isinstance(given, Strict) else {}
    return "number of " + ("polygons" if "polygons" in has else "a table" if "table" in has else "pixels")


NumberEntry = Annotated[
    Annotated[Said, Tag("a text")]
    | Annotated[PixelNumber, Tag("number of pixels")]
    | Annotated[PolygonNumber, Tag("number of polygons")]
    | Annotated[TableNumber, Tag("number of a table")],
    Discriminator(_number_kind),
]
Numbers = Annotated[
    dict[AttributeName, NumberEntry],
    Field(
        max_length=256,
        exclude_if=lambda stated: not stated,
        description="name -> number of each sample, column attr_NAME of the catalogue: 'height: mean(dem.elevation)'",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A number from pixels, checked against the recipe."""

    name: str
    statistic: Statistic
    kind: AttributeType
    unit: str
    description: str


def measured(numbers: Mapping[str, AnyNumber], inputs: Mapping[str, Input]) -> tuple[Measured, ...]:
    """The numbers that are computed from pixels.

    Args:
        numbers: of the recipe.
        inputs: layer, label or derived layer -> what it has.

    Raises:
        MisplacedError: names the number, and what of it cannot be had.
    """
    found = []
    for name, entry in numbers.items():
        if isinstance(entry, PolygonNumber | TableNumber):
            continue
        stated = PixelNumber(of=entry) if isinstance(entry, str) else entry
        try:
            found.append(_measured(name, stated, inputs))
        except ValueError as error:
            raise MisplacedError(f"{stated.of}: {error}", ("numbers", name)) from None
    return tuple(found)


def _measured(name: str, stated: PixelNumber, inputs: Mapping[str, Input]) -> Measured:
    said = statistic(stated.of)
    layer = inputs.get(said.array.layer)
    if layer is None:
        raise ValueError(f"{said.array.layer!r} is no source, label or derived layer; there are {', '.join(inputs)}")
    band = _band(said.array, layer)
    of = layer.kinds.get(band, "continuous")
    if said.name in SMOOTH and of != "continuous":
        raise ValueError(
            f"{said.array.layer} holds {'codes of classes' if of == 'classes' else 'bits'}, which have no {said.name}; "
            "use share, count, majority or [centre]"
        )
    if said.name == "majority" and of == "continuous":
        raise ValueError(f"{band} holds measurements, and hardly two of them are equal; use median, or share")
    native, edge = layer.native.get(band), layer.resolution_of[band]
    if said.name == "sum" and native is not None and native != edge:
        raise ValueError(
            f"a sum over pixels that are resampled from {native:g} to {edge:g} m is no sum of what was measured; use "
            "mean, or remove the entry of grid.resolutions"
        )
    _check_window(said.array, layer)
    units = {"share": "1", "count": "pixels", "majority": "class"}
    return Measured(
        name=name,
        statistic=Statistic(said.name, Array(said.array.layer, band, said.array.window), said.condition, said.percent),
        kind=said.kind(of),
        unit=stated.unit or units.get(said.name, layer.units.get(band, "")),
        description=stated.description or stated.of,
    )


def _band(array: Array, layer: Input) -> str:
    if array.band is None:
        if len(layer.bands) > 1:
            raise ValueError(f"names no band; {array.layer} has {', '.join(layer.bands)}")
        return layer.bands[0]
    found = band_of(array.band, layer.bands)
    if found is None:
        raise ValueError(f"{array.layer} has no band {array.band!r}; it has {', '.join(layer.bands)}")
    return found


def _check_window(array: Array, layer: Input) -> None:
    """Checks that the number uses exactly one date."""
    if array.window is None:
        if len(layer.slots) > 1:
            raise ValueError(
                f"{array.layer} has {len(layer.slots)} dates; name the window of one: "
                f"{array.layer}.{array.band or 'BAND'}[{layer.slots[0]}]"
            )
        return
    if layer.slots.count(array.window) != 1:
        several = array.window in layer.slots
        has = f"windows {', '.join(dict.fromkeys(layer.slots))}" if layer.slots else "no dates"
        what = f"window {array.window!r} has several dates" if several else f"{array.layer} has {has}"
        raise ValueError(f"names window {array.window!r}, but {what}; a number is of one date")


def check_numbers(numbers: Mapping[str, AnyNumber], carried: Collection[str]) -> None:
    """Names must differ from those of other attributes, and what tables are matched with must be there.

    Args:
        numbers: of the recipe.
        carried: names of the attributes that samples have already.

    Raises:
        MisplacedError: names the number.
    """
    taken = {name.lower(): "sampling.attributes has it too" for name in carried}
    for name in numbers:
        if name.lower() in taken:
            raise MisplacedError(
                f"the column attr_{name} is there already: {taken[name.lower()]} (SQL ignores case); choose another "
                "name",
                ("numbers", name),
            )
        taken[name.lower()] = f"numbers.{name}"
    known = [*carried, *(n for n, entry in numbers.items() if isinstance(entry, PolygonNumber))]
    for name, entry in numbers.items():
        if isinstance(entry, TableNumber) and entry.match.removeprefix("attr_") not in (*known, "sample_id"):
            raise MisplacedError(
                f"is matched with {entry.match}, which samples do not have; they have sample_id"
                + "".join(f", attr_{n}" for n in known),
                ("numbers", name, "match"),
            )


def of_files(numbers: Mapping[str, AnyNumber]) -> dict[str, FileNumber]:
    """The numbers that come from files beside the recipe."""
    return {name: entry for name, entry in numbers.items() if isinstance(entry, PolygonNumber | TableNumber)}


def files_of(numbers: Mapping[str, AnyNumber]) -> Iterable[tuple[str, str]]:
    """(key of the recipe, file) of each."""
    for name, entry in of_files(numbers).items():
        yield f"numbers.{name}.{'polygons' if isinstance(entry, PolygonNumber) else 'table'}", entry.file
