"""Kinds of values that the sections of a recipe share: shares, days, places on Earth, paths and addresses."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.label import GroundClass
from schemas.variables import checked_template


def _mapped(name: object) -> object:
    if name == "unknown":
        raise ValueError(
            "'unknown' is no class to map to: leave it out; a code without a class has `relation: none` in a crosswalk"
        )
    return name


MappedClass = Annotated[GroundClass, BeforeValidator(_mapped)]
"""A class of the common taxonomy that something is mapped to."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share 0..1."""
Longitude = Annotated[float, Field(ge=-180.0, le=180.0)]
Latitude = Annotated[float, Field(ge=-90.0, le=90.0)]
StatedBox = tuple[Longitude, Latitude, Longitude, Latitude]
"""(west, south, east, north), WGS 84 degrees; west > east crosses the antimeridian."""


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SERVED = ("http", "https", "s3", "gs")


def relative(path: str) -> str:
    """The path as it is, where it starts from the recipe's folder.

    Raises:
        ValueError: it is absolute, or an address.
    """
    foreign = path.startswith(("/", "~")) or path[:5].lower() == "file:" or path[1:3] in (":\\", ":/")
    if foreign or _SCHEME.match(path):
        raise ValueError(
            "give a path relative to the recipe (recipes are stored with the dataset and must not contain paths "
            f"of your machine); found {path!r}"
        )
    if "\0" in path:
        raise ValueError(f"a path must not contain a NUL character; found {path!r}")
    return path


def _relative_or_served(path: str) -> str:
    scheme = _SCHEME.match(path)
    if scheme is None or scheme[1] not in _SERVED:
        relative(path)
    return checked_template(path)


def beside(path: str) -> str:
    """A provider's relative url, where it is that of a catalogue.

    Raises:
        ValueError: it is none, or leads out of the recipe's folder.
    """
    found = relative(path)
    if not found.endswith((".parquet", ".geoparquet", ".json")):
        raise ValueError(
            "expected the http(s) address of an archive, or the path of a catalogue (.parquet, .json) relative to the "
            f"recipe, which `python -m pipelines catalogue FOLDER` makes; found {path!r}"
        )
    if ".." in found.split("/"):
        raise ValueError(f"a catalogue lies in the recipe's folder or below it, without '..'; found {path!r}")
    return found


RelativePath = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(relative)]
"""A path that starts from the recipe's folder; `pipelines.access.http.permission` sees to it that it stays below."""
PathOrAddress = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_relative_or_served)]
"""The same, or an http, https, s3 or gs address; a variable that a recipe may name can be its beginning."""


def http_address(address: str) -> str:
    """The address as it is, where it is one of http or https, or begins with a variable that a recipe may name.

    Raises:
        ValueError: it is none.
    """
    scheme = _SCHEME.match(address)
    if not checked_template(address).startswith("$") and (scheme is None or scheme[1].lower() not in _SERVED[:2]):
        found = "none" if scheme is None else f"{scheme[1]}://"
        raise ValueError(f"expected an address that begins with https:// or http://, found {found}")
    return address


Address = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(http_address)]
"""An http or https address; an environment variable that a recipe may name can be its beginning."""
_FIRST, _LAST = date(1900, 1, 1), date(2200, 12, 31)
Day = Annotated[date, Field(ge=_FIRST, le=_LAST)]
"""A day that calendars and archives can reckon with."""
MOST_EXTENT_M = 1_000_000.0
"""Largest extent of a layer, metres: UTM's scale is off by less than 2 % within half of it beyond a zone."""
MOST_PIXELS = 16_384
"""Pixels along an edge of a sample."""
LEAST_M, LEAST_SPACING_M, MOST_M = 0.01, 10.0, 20_000_000.0
"""Shortest length of a pixel; of a grid's or a block's edge; and half the way around the Earth, metres."""
