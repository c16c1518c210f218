"""Channels of a map: each is where objects with certain tags lie; any number of them, in one array of 0 and 1."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from schemas.declared import BandName
from schemas.modality import STATIC_DENSITY, Band, Layer, Modality

LAYER = "openstreetmap_channels"
"""Name of the layer on disk, in the catalogue and in the ledger."""
ARRAY = "channels"
ANY = "*"
"""Any value but 'no'."""
_Tag = Annotated[str, Field(min_length=1, max_length=255)]


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


Condition = Annotated[dict[_Tag, _Tag | Annotated[tuple[_Tag, ...], Field(min_length=1)]], Field(min_length=1)]
"""Key of a tag -> the value it must have, a list of which it must have one, or '*': all keys must fit."""
Channel = Annotated[
    tuple[Condition, ...],
    Field(min_length=1, max_length=64),
    BeforeValidator(_listed, json_schema_input_type=Condition | tuple[Condition, ...]),
]
"""Conditions of which one must fit."""
Channels = Annotated[dict[BandName, Channel], Field(max_length=256)]
"""Channel -> what lies in it."""


def matches(channel: tuple[dict[str, str | tuple[str, ...]], ...], tags: dict[str, str]) -> bool:
    """Whether an object with these tags lies in a channel."""
    return any(all(_fits(tags.get(key), wanted) for key, wanted in one.items()) for one in channel)


def _fits(value: str | None, wanted: str | tuple[str, ...]) -> bool:
    if value is None:
        return False
    return value != "no" if wanted == ANY else value == wanted or (isinstance(wanted, tuple) and value in wanted)


def modality_of(channels: dict[str, Channel], resolution_m: float, licence: str, attribution: str) -> Modality:
    """The layer of channels as the factory knows it: uint8, 1 where an object lies, else 0."""
    return Modality(
        name=LAYER,
        title="OpenStreetMap objects by channel: 1 where one lies",
        layers=(
            Layer(
                name=ARRAY,
                bands=tuple(Band(name=name) for name in channels),
                resolution_m=resolution_m,
                dtype="uint8",
                nodata=None,
                kind="continuous",
                kernel="nearest",
                unit="1",
            ),
        ),
        dated=False,
        cloud_layer=None,
        licence=licence,
        attribution=attribution,
        density=STATIC_DENSITY,
    )
