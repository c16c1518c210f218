"""Legends of weak labels and the crosswalk of each to one common taxonomy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    import numpy as np
    from numpy.typing import NDArray

GroundClass = Literal[
    "water",
    "trees",
    "shrub",
    "grass",
    "crops",
    "built",
    "bare",
    "snow and ice",
    "wetland",
    "moss and lichen",
]
"""Name of a class of the common taxonomy that ground can have."""
CommonClass = Literal["unknown", GroundClass]
"""The same, or 'unknown': no class."""
COMMON_CLASSES: tuple[str, ...] = get_args(CommonClass)
"""The common taxonomy, code = position, 0 = unknown. The join of WorldCover's and Dynamic World's legends."""


EDITED_SINCE = "edited_since"
"""Column of the catalogue: share of OpenStreetMap's labelled pixels whose object was edited after the image's day."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelClass:
    """One class of a legend."""

    code: int
    """Value in the raster, 0..65,535."""
    name: str
    """The product's own name of the class."""
    colour: str
    """'#rrggbb' for pictures."""
    common: str
    """Name in COMMON_CLASSES this class maps to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Legend:
    """A product's classes."""

    product: str
    """Product name, for example 'ESA WorldCover'."""
    nodata: int
    """Value that means 'no label here'."""
    classes: tuple[LabelClass, ...]
    """Every class, in code order."""
    source: str
    """Source of the table."""
    fills: tuple[int, ...] = ()
    """Other values that mean 'no label here' in the product; they become `nodata`."""
    crosswalk: str = ""
    """Name and SHA-256 of the crosswalk behind the classes; '' where the recipe states them."""

    @property
    def dtype(self) -> str:
        """Numpy dtype of the raster: the smallest unsigned one that holds every code and `nodata`."""
        return "uint8" if max([self.nodata, *(c.code for c in self.classes)]) <= 255 else "uint16"

    def common_of(self) -> dict[int, int]:
        """Code -> code in COMMON_CLASSES."""
        return {c.code: COMMON_CLASSES.index(c.common) for c in self.classes}

    def common(self, classes: NDArray[np.integer], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Codes (any shape) as codes of COMMON_CLASSES, 0 where `valid` is False or the class has no place there."""
        import numpy as np

        table = np.zeros(1 << 16, np.uint8)
        for code, common in self.common_of().items():
            table[code] = common
        return np.where(valid, table[np.where(valid, classes, 0)], 0).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """One label product on one sample's grid."""

    label: str
    """Name of the label layer in the recipe and on disk: 'worldcover', 'dynamicworld', 'openstreetmap'."""
    classes: NDArray[np.unsignedinteger]
    """(y, x), `legend.dtype`, class codes of the product's own legend; `legend.nodata` where there is none."""
    valid: NDArray[np.bool_]
    """(y, x), True = a label is there."""
    legend: Legend
    """The legend the codes belong to."""
    version: str
    """Product version or OSM snapshot date, for example 'v200'."""
    year: int
    """Year the label describes."""
    date_gap_days: int | None
    """Days from the label's period to the image it labels (0 = inside the period); None without a dated image."""
    item_ids: tuple[str, ...]
    """Source items, in mosaicking order."""
    licence: str
    """SPDX id of the labels."""
    more: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Name of a further array of the layer ('confidence') -> its pixels, as the dataset stores them."""
    measures: Mapping[str, float | None] = field(default_factory=dict)
    """Further column of the catalogue ('confidence') -> value of this sample; None = not known."""

    @property
    def stored(self) -> NDArray[np.unsignedinteger]:
        """(y, x) `classes` as the dataset stores them: `legend.nodata` where `valid` is False."""
        import numpy as np

        return np.where(self.valid, self.classes, np.dtype(self.legend.dtype).type(self.legend.nodata))


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorFeature:
    """One OpenStreetMap object that touches a sample, with its raw tags."""

    osm_id: str
    """'n123', 'w123' or 'r123' (area from a multipolygon relation)."""
    kind: str
    """'point', 'line' or 'area'."""
    tags: dict[str, str]
    """Raw tags: untrusted text, data and never an instruction, a path or a query."""
    wkb: bytes
    """Geometry clipped to the footprint, well-known binary, in the sample's CRS (metres)."""
    area_m2: float
    """Area inside the footprint, square metres (0 for points and lines)."""
    length_m: float
    """Length inside the footprint, metres (0 for points and areas)."""


@dataclass(frozen=True, kw_only=True)
class VectorLayer:
    """All OpenStreetMap objects of one sample."""

    features: tuple[VectorFeature, ...]
    """Sorted by osm_id; a closed way may be a line along its edge and then an area."""
    snapshot: date
    """Date of the extract."""
    licence: str = "ODbL-1.0"
    """SPDX id."""
    channels: NDArray[np.uint8] | None = None
    """(channel, y, x), 1 where an object of the channel lies; None where the recipe asks for none."""
