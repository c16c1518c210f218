"""Interface of a labeller: turns rasters of an archive or objects of an extract into one label map per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.access.chips import Reduce
    from pipelines.access.openstreetmap.extract import Extract
    from pipelines.access.openstreetmap.features import OsmFeature
    from schemas.label import LabelMap, Legend, VectorLayer
    from schemas.place import Place
    from schemas.provider import AnyProvider
    from schemas.scene import Candidate, Scene

BAND = "classes"
"""Name of the one band of a raster label's scene (`Scene.assets`, `Scene.radiometry`)."""


@dataclass(frozen=True, kw_only=True)
class LabelChip:
    """Pixels of a label product as read onto one sample's grid."""

    classes: NDArray[np.generic]
    """(y, x), numbers as delivered, nearest neighbour."""
    valid: NDArray[np.bool_]
    """(y, x), True = the raster covers this pixel and holds no fill there."""


class RasterLabeller(Protocol):
    """A label product with rasters in an archive."""

    @property
    def name(self) -> str:
        """Name of the label layer: the recipe's `kind`."""
        ...

    @property
    def legend(self) -> Legend:
        """Codes, names, colours and the crosswalk."""
        ...

    @property
    def reduce(self) -> Reduce | None:
        """Composite of the maps of one candidate; None = the first map with a valid pixel wins."""
        ...

    def scene(self, item: Mapping[str, Any], provider_name: str, provider: AnyProvider) -> Scene:
        """One STAC item as a scene.

        Raises:
            ItemRefused: the item lacks a fact that its pixels cannot be read right without.
        """
        ...

    def candidates(self, scenes: Sequence[Scene], place: Place, reference_time: datetime | None) -> list[Candidate]:
        """Maps that could label the place, best first; [] if there is none.

        `reference_time` is the time of the image that is labelled; None = the sample has no dated image, then the
        newest map is the best.
        """
        ...

    def label(
        self,
        place: Place,
        candidate: Candidate,
        scenes: Mapping[str, Scene],
        chip: LabelChip,
        reference_time: datetime | None,
    ) -> LabelMap:
        """Pixels and provenance as a label map; `scenes` is item id -> scene.

        Raises:
            UnknownCodeError: a valid pixel holds a code that the legend does not know.
        """
        ...


class VectorLabeller(Protocol):
    """A label made from map objects."""

    @property
    def name(self) -> str:
        """Name of the label layer: the recipe's `kind`."""
        ...

    @property
    def legend(self) -> Legend:
        """Codes, names, colours and the crosswalk."""
        ...

    def layers(
        self,
        place: Place,
        resolution_m: float,
        features: Sequence[OsmFeature],
        extract: Extract,
        reference_time: datetime | None,
    ) -> tuple[LabelMap, VectorLayer]:
        """The objects that touch the place, rasterised at `resolution_m` metres, and as a list."""
        ...


class UnknownCodeError(ValueError):
    """A raster holds a class code that its legend does not know; the message is one line."""
